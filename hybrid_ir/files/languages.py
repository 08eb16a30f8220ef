"""Language codes: which are known, and what a wrong one may have meant."""

from difflib import get_close_matches
from functools import cache

from babel import Locale
from babel.core import get_global

NO_GUESS = ("mul", "und", "zxx")  # several languages, an unknown one, none


@cache
def load_language_names() -> dict[str, str]:
    """English names by code, of CLDR."""
    return dict(Locale("en").languages)


@cache
def explain_wrong_code(code: str) -> str | None:
    """What is wrong with a code, and what to write; None for a language, with script or region (zh, zh-Hant, pt_BR)."""
    language, *subtags = code.replace("_", "-").split("-")
    if (
        language in load_language_names()
        and language == language.lower()
        and all(part.isalnum() and 2 <= len(part) <= 4 for part in subtags)
    ):
        return None
    guesses = [
        get_global("language_aliases").get(language.lower()),
        *(other for other, name in load_language_names().items() if name.lower() == code.lower()),
        language.lower(),
        *get_close_matches(code, load_language_names()),
    ]
    guess = next(
        (guess for guess in guesses if guess in load_language_names() and guess not in NO_GUESS),
        None,
    )
    meant = (
        f", did you mean {guess!r} ({load_language_names()[guess]})?"
        if guess in load_language_names()
        else ""
    )
    return f"the language code {code!r} is not known{meant or ': use one like en, de or zh-Hant'}"
