"""Language codes: which are known, and what an unknown one may have meant."""

from collections.abc import Iterator
from difflib import get_close_matches
from functools import cache

from babel import Locale
from babel.core import get_global

# Codes that CLDR knows but nobody means: several languages, an unknown language, no language.
NO_LANGUAGES = ("mul", "und", "zxx")


@cache
def _load_language_names() -> dict[str, str]:
    """Returns the English name of every language code that CLDR knows."""
    return dict(Locale("en").languages)


@cache
def explain_wrong_code(code: str) -> str | None:
    """Explains what is wrong with a language code and what to write instead.

    A code may have a script and a region, like zh, zh-Hant or pt_BR.

    Returns:
        The error text, or None if the code is a known one.
    """
    if _is_known(code):
        return None
    return f"the language code {code!r} is not known{_write_hint(code)}"


def _is_known(code: str) -> bool:
    language, *subtags = _split_code(code)
    if language != language.lower() or language not in _load_language_names():
        return False
    return all(subtag.isalnum() and 2 <= len(subtag) <= 4 for subtag in subtags)


def _write_hint(code: str) -> str:
    """Returns the end of the message for an unknown code: the likeliest known one, or examples."""
    names = _load_language_names()
    for guess in _guess_codes(code):
        if guess in names and guess not in NO_LANGUAGES:
            return f", did you mean {guess!r} ({names[guess]})?"
    return ": use one like en, de or zh-Hant"


def _guess_codes(code: str) -> Iterator[str | None]:
    """Yields what a code may have meant, the likeliest first; None or an unknown code may occur."""
    language = _split_code(code)[0]
    yield get_global("language_aliases").get(language.lower())
    for known_code, name in _load_language_names().items():
        if name.lower() == code.lower():
            yield known_code
    yield language.lower()
    yield from get_close_matches(code, _load_language_names())


def _split_code(code: str) -> list[str]:
    return code.replace("_", "-").split("-")
