"""The names of languages in English, and the codes that a browser understands."""

from functools import cache

import langcodes
from babel import Locale

from hybrid_ir.files.languages import find_canonical_code


@cache
def name_language(code: str) -> str:
    """Returns the English name of a language, with its script and region where the code has them.

    A code that is not known, such as one of a benchmark's own, is its own name.
    """
    canonical = find_canonical_code(code)
    if canonical is None:
        return code
    english = Locale("en")
    tag = langcodes.Language.get(canonical)
    name = english.languages.get(tag.language)
    if name is None:
        return code
    details = []
    if tag.script is not None:
        details.append(english.scripts.get(tag.script, tag.script))
    if tag.territory is not None:
        details.append(english.territories.get(tag.territory, tag.territory))
    if not details:
        return name
    return f"{name} ({', '.join(details)})"


@cache
def get_language_attribute(code: str) -> str:
    """Returns the value of the attribute `lang` for a code; empty, which is unknown, for others."""
    return find_canonical_code(code) or ""
