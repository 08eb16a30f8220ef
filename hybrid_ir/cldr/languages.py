"""The languages that the embedded data set can be built in."""

from collections.abc import Sequence
from functools import cache

from babel.core import get_global
from babel.localedata import locale_identifiers

from hybrid_ir.cldr.facts import Fact, collect_facts
from hybrid_ir.cldr.names import Names
from hybrid_ir.files.languages import match_languages

XQUAD = ("ar", "de", "el", "en", "es", "hi", "ru", "th", "tr", "vi", "zh")  # those with templates
# The share of the facts that a language must name; with fewer, most texts would be missing.
REQUIRED_SHARE = 0.6
# Every eighth fact says as much about 300 locales as all would, in a second.
SAMPLING_STEP = 8
# Kinds of facts that can be recognised by a value. Sunday is no such value: it may be the first day
# of a week or a part of its end.
KINDS_KNOWN_BY_VALUE = (
    "continent",
    "country",
    "currency",
    "main_country",
    "official_language",
    "old_currency",
    "script",
    "time_zone",
    "users",
    "zone_city",
)


def resolve_languages(languages: str | Sequence[str] | None) -> tuple[str, ...]:
    """Returns the languages of a set as sorted codes.

    Args:
        languages: `xquad` (or None), `all`, a code or a list of codes, in any spelling.

    Raises:
        ValueError: If CLDR does not name enough of the facts in a language.
    """
    if languages in (None, "xquad"):
        return XQUAD
    if languages == "all":
        return list_supported_languages()
    if isinstance(languages, str):
        languages = [languages]
    codes, others = match_languages(languages, XQUAD)
    unknown: list[str] = []
    if others:
        more_codes, unknown = match_languages(others, list_supported_languages())
        codes += more_codes
    if unknown or not codes:
        raise ValueError(
            f"no embedded facts in {', '.join(unknown) or 'no language at all'}: use "
            f"languages=xquad ({' '.join(XQUAD)}), languages=all, or a list of codes out of "
            f"{' '.join(list_supported_languages())}."
        )
    return tuple(sorted(set(codes)))


@cache
def list_supported_languages() -> tuple[str, ...]:
    """Returns the languages of CLDR that name enough of the facts, sorted.

    Variants with script or territory are left out, and those that repeat another one (nn, ht).
    """
    facts = [fact for fact in collect_facts() if fact.kind in KINDS_KNOWN_BY_VALUE]
    sample = facts[::SAMPLING_STEP]
    codes = []
    for code in sorted(locale_identifiers()):
        is_variant = "_" in code or code in get_global("parent_exceptions")
        if not is_variant and _compute_named_share(code, sample) >= REQUIRED_SHARE:
            codes.append(code)
    return tuple(codes)


def _compute_named_share(language: str, facts: Sequence[Fact]) -> float:
    """Returns for which share of the facts a language has names of subject and first value."""
    names = Names(language)
    named = 0
    for fact in facts:
        if names.find(fact.subject) is not None and names.find(fact.values[0]) is not None:
            named += 1
    return named / len(facts)
