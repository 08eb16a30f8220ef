"""Which languages the set can be built in."""

from collections.abc import Sequence
from functools import cache

from babel.core import get_global
from babel.localedata import locale_identifiers

from hybrid_ir.cldr.facts import Fact, all_facts
from hybrid_ir.cldr.names import Names

XQUAD = ("ar", "de", "el", "en", "es", "hi", "ru", "th", "tr", "vi", "zh")  # those with templates
NAMED_SHARE = 0.6  # of the facts: a language that CLDR gives fewer names would mostly be holes
SAMPLED = 8  # every eighth fact tells as much about 300 locales as all would, in a second
# Kinds that a value alone tells apart: "Sunday" may be the first day of a week or a part of its end.
TOLD_BY_VALUE = (
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


def resolve(languages: str | Sequence[str] | None) -> tuple[str, ...]:
    """`xquad` (or None), `all` or codes, as sorted codes; ValueError names every code that CLDR does not name enough in."""
    if languages in (None, "xquad"):
        return XQUAD
    if languages == "all":
        return all_languages()
    codes = tuple(sorted({languages} if isinstance(languages, str) else set(languages)))
    unknown = [code for code in codes if code not in XQUAD and code not in all_languages()]
    if unknown or not codes:
        raise ValueError(
            f"no embedded facts in {', '.join(unknown) or 'no language at all'}: use languages=xquad "
            f"({' '.join(XQUAD)}), languages=all, or a list of codes out of {' '.join(all_languages())}."
        )
    return codes


@cache
def all_languages() -> tuple[str, ...]:
    """Top-level languages of CLDR, without those that repeat another (nn, ht), that name enough of the facts."""
    facts = [fact for fact in all_facts() if fact.kind in TOLD_BY_VALUE][::SAMPLED]
    codes = [
        code
        for code in locale_identifiers()
        if "_" not in code and code not in get_global("parent_exceptions")
    ]
    return tuple(code for code in sorted(codes) if named_share(code, facts) >= NAMED_SHARE)


def named_share(language: str, facts: Sequence[Fact]) -> float:
    names = Names(language)
    return sum(
        names(fact.subject) is not None and names(fact.values[0]) is not None for fact in facts
    ) / len(facts)
