"""Language codes: their one canonical form, and what an unknown one may have meant."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import cache

import langcodes
from babel import Locale
from babel.core import get_global
from babel.languages import get_official_languages

# Codes that CLDR knows but nobody means: several languages, an unknown language, no language.
NO_LANGUAGES = ("mul", "und", "zxx")


@cache
def _load_language_names() -> dict[str, str]:
    """Returns the English name of every language code that CLDR knows."""
    return dict(Locale("en").languages)


@cache
def find_canonical_code(code: str) -> str | None:
    """Finds the canonical form of a language code (BCP 47, with the aliases of CLDR).

    Case, underscores, blanks around it, three letters for two and a script that goes without
    saying do not distinguish languages: EN, eng and eng_Latn are en, zh_cn is zh-CN, and zho_Hans
    is zh-Hans.

    Returns:
        The canonical form, or None if the code is not known.
    """
    try:
        canonical = langcodes.standardize_tag(code.strip(), macro=True)
    except langcodes.LanguageTagError:
        return None
    tag = langcodes.Language.get(canonical)
    if canonical in NO_LANGUAGES:
        return canonical
    if canonical == "nan" or _is_pair_of_languages(code.strip()):
        return None
    # The registry has thousands of codes of three letters, such as tmp and old, which are likelier
    # to be the name of a folder; with a script (acm_Arab, as in FLORES) they are meant.
    is_meant = tag.language in _load_language_names() or tag.script is not None
    if is_meant and langcodes.tag_is_valid(canonical):
        return canonical
    return None


def canonicalize_language(code: str) -> str:
    """Returns the canonical form of a language code. Raises ValueError if it is not known."""
    problem = explain_wrong_code(code)
    if problem:
        raise ValueError(problem)
    return find_canonical_code(code)


@cache
def explain_wrong_code(code: str) -> str | None:
    """Explains what is wrong with a language code and what to write instead.

    A code may have a script and a region, like zh, zh-Hant or pt_BR.

    Returns:
        The error text, or None if the code is a known one.
    """
    if find_canonical_code(code) is not None:
        return None
    if code.strip().lower() == "nan":
        return (
            f"the language code {code!r} is what pandas makes of a missing one; Min Nan Chinese is "
            "nan-Hant here"
        )
    if _is_pair_of_languages(code.strip()):
        return (
            f"the language code {code!r} seems to be a pair of languages, and no language of a "
            "country: name one language, and write its region in capitals, as in en-GB"
        )
    return f"the language code {code!r} is not known{_write_hint(code)}"


def _is_pair_of_languages(code: str) -> bool:
    """Returns whether a code such as en-de is rather two languages than one in a country.

    So it is in small letters, as pairs are written, where the second is a language, too, and the
    first one is not official in a country with the code of the second.
    """
    language, separator, other = code.replace("_", "-").partition("-")
    if not separator or len(other) != 2 or code != code.lower():
        return False
    if other not in _load_language_names():
        return False
    official = get_official_languages(other.upper(), de_facto=True)
    return language not in [name.split("_")[0] for name in official]


def _write_hint(code: str) -> str:
    """Returns the end of the message for an unknown code: the likeliest known one, or examples."""
    names = _load_language_names()
    for guess in _guess_codes(code):
        if guess in names and guess not in NO_LANGUAGES:
            return f", did you mean {guess!r} ({names[guess]})?"
    return ": use one like en, de or zh-Hant"


def _guess_codes(code: str) -> Iterator[str | None]:
    """Yields what a code may have meant, the likeliest first; None or an unknown code may occur."""
    language = code.strip().replace("_", "-").split("-")[0].lower()
    yield get_global("language_aliases").get(language)
    for known_code, name in _load_language_names().items():
        if name.lower() == code.strip().lower():
            yield known_code
    yield language
    yield find_language_of_country(language)
    yield from get_close_matches(code, _load_language_names(), cutoff=0.75)


def find_language_of_country(code: str) -> str | None:
    """Returns the language that most people of a country speak officially: ja for jp or JP."""
    for language in get_official_languages(code.upper(), de_facto=True):
        return language.split("_")[0]
    return None


def match_languages(codes: Iterable[str], known: Iterable[str]) -> tuple[list[str], list[str]]:
    """Matches language codes, in any spelling, with those that some data has.

    A code that the data has is taken as it is, so that codes of a benchmark's own, such as
    eng_Latn, keep their meaning.

    Args:
        codes: what was asked for.
        known: the codes that there are.

    Returns:
        The codes of the data that were meant, each once, in the order of `codes`; and the codes
        that match none.
    """
    known_codes = list(known)
    by_canonical = {}
    for code in known_codes:
        by_canonical.setdefault(find_canonical_code(code) or code, code)
    matched = []
    unknown = []
    for code in codes:
        match = code if code in known_codes else by_canonical.get(find_canonical_code(code))
        if match is None:
            unknown.append(code)
        elif match not in matched:
            matched.append(match)
    return matched, unknown


def respell_languages(codes: Sequence[str] | None, known: Iterable[str]) -> list[str] | None:
    """Returns codes in the spelling of some data; those that it does not have stay as they are."""
    if codes is None:
        return None
    respelled = []
    for code in codes:
        matched, _ = match_languages([code], known)
        respelled += matched or [code]
    return respelled


def find_spellings_of_one_language(codes: Iterable[str]) -> list[tuple[str, ...]]:
    """Finds codes that differ only in what goes without saying, such as zh, zh-Hans and zh-CN.

    Returns:
        The codes of each language that has several, sorted.
    """
    by_full_form: dict[str, list[str]] = {}
    for code in sorted(set(codes)):
        canonical = find_canonical_code(code)
        if canonical is not None and canonical not in NO_LANGUAGES:
            full_form = str(langcodes.Language.get(canonical).maximize())
            by_full_form.setdefault(full_form, []).append(code)
    return [tuple(spellings) for spellings in by_full_form.values() if len(spellings) > 1]


def describe_spellings(codes: Iterable[str]) -> list[str]:
    """Returns a warning for each language that comes under several codes."""
    warnings = []
    for spellings in find_spellings_of_one_language(codes):
        name = langcodes.Language.get(find_canonical_code(spellings[0])).language
        language = _load_language_names().get(name, name)
        warnings.append(
            f"{', '.join(spellings)} are counted as different languages, though each of them is "
            f"{language} as it is usually written: give their texts one code if they are one "
            "language"
        )
    return warnings


def group_spellings(codes: Iterable[str]) -> Mapping[str, Sequence[str]]:
    """Groups codes by their canonical form; a code that is not known is its own group."""
    groups: dict[str, list[str]] = {}
    for code in codes:
        groups.setdefault(find_canonical_code(code) or code, []).append(code)
    return groups
