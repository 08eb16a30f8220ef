"""The script of texts, by which a country's code in the place of a language's is noticed."""

import unicodedata
from collections import Counter
from collections.abc import Iterable
from itertools import islice

import langcodes
from babel import Locale
from babel.localedata import locale_identifiers

from hybrid_ir.files.languages import find_canonical_code, find_language_of_country

TEXTS_LOOKED_AT = 100
CHARACTERS_LOOKED_AT = 200  # of each text
# Scripts by the first word of the Unicode names of their letters.
SCRIPT_OF_NAME = {
    "ARABIC": "Arab",
    "ARMENIAN": "Armn",
    "BENGALI": "Beng",
    "CJK": "Hani",
    "CYRILLIC": "Cyrl",
    "DEVANAGARI": "Deva",
    "ETHIOPIC": "Ethi",
    "GEORGIAN": "Geor",
    "GREEK": "Grek",
    "GUJARATI": "Gujr",
    "GURMUKHI": "Guru",
    "HANGUL": "Kore",
    "HEBREW": "Hebr",
    "HIRAGANA": "Jpan",
    "KANNADA": "Knda",
    "KATAKANA": "Jpan",
    "KHMER": "Khmr",
    "LAO": "Laoo",
    "LATIN": "Latn",
    "MALAYALAM": "Mlym",
    "MYANMAR": "Mymr",
    "ORIYA": "Orya",
    "SINHALA": "Sinh",
    "TAMIL": "Taml",
    "TELUGU": "Telu",
    "THAI": "Thai",
    "TIBETAN": "Tibt",
}
HAN_SCRIPTS = ("Hans", "Hant", "Jpan", "Kore")  # scripts that are written with Han characters, too


def explain_wrong_script(code: str, texts: Iterable[str]) -> str | None:
    """Explains that a code is that of a country whose language the texts are in.

    `kr` is Kanuri, `sa` Sanskrit and `am` Amharic: known codes, but texts in the script of Korean,
    Arabic or Armenian say that the country was meant.

    Args:
        code: a known language code.
        texts: texts that are said to be in this language; a few are enough.

    Returns:
        The error text, or None if nothing speaks against the code.
    """
    country = code.strip().lower()
    language = find_canonical_code(code)
    meant = find_language_of_country(country) if len(country) == 2 else None
    if meant is None or language is None or meant == language:
        return None
    script = find_main_script(texts)
    if script == "Latn":
        return None  # many languages are transliterated, and placeholders are English
    if script is None or _is_written_in(language, script) or not _is_written_in(meant, script):
        return None
    own_name = _get_name(language)
    meant_name = _get_name(meant)
    return (
        f"{code!r} is the code of {own_name}, but the texts are in the script of {meant_name}: did "
        f"you mean {meant!r}?"
    )


def find_main_script(texts: Iterable[str]) -> str | None:
    """Returns the script of most letters of the first texts; None for an unknown one or none."""
    counts: Counter[str] = Counter()
    for text in islice(texts, TEXTS_LOOKED_AT):
        for character in text[:CHARACTERS_LOOKED_AT]:
            if character.isalpha():
                counts[_find_script(character)] += 1
    if not counts:
        return None
    # A Japanese text has kana among its Han characters, a Chinese one has none.
    if counts["Jpan"] and counts["Hani"]:
        counts["Jpan"] += counts.pop("Hani")
    script, _ = counts.most_common(1)[0]
    return script or None


def _find_script(character: str) -> str:
    name = unicodedata.name(character, "")
    return SCRIPT_OF_NAME.get(name.split(" ")[0], "")


def _is_written_in(language: str, script: str) -> bool:
    usual_script = langcodes.Language.get(language).maximize().script
    if script == usual_script or (script == "Hani" and usual_script in HAN_SCRIPTS):
        return True
    return f"{language}_{script}" in locale_identifiers()  # as sr_Latn


def _get_name(language: str) -> str:
    return Locale("en").languages.get(language.split("-")[0], language)
