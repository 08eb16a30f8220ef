"""Base languages: `eng_Latn` of one corpus is `en` of another."""

from functools import cache

from babel import Locale
from babel.core import get_global

# individual languages of ISO 639-3 whose macrolanguage has the code that corpora use; CLDR keeps them apart
MACRO = {"acm": "ar", "apc": "ar", "ars": "ar", "ary": "ar", "arz": "ar", "pbt": "ps", "fuv": "ff"}
NO_LANGUAGE = {
    "und",
    "mul",
    "mis",
    "zxx",
}  # CLDR's codes for undetermined, several, uncoded and none


@cache
def base_language(code: str) -> str | None:
    """The shortest code of a language, whatever its script or region; None for a code that CLDR does not know."""
    bare = code.replace("-", "_").partition("_")[0].lower()
    bare = MACRO.get(bare, bare)
    found = get_global("language_aliases").get(bare, bare).partition("_")[0]
    return found if found in Locale("en").languages and found not in NO_LANGUAGE else None
