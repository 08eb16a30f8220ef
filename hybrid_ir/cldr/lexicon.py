"""A bilingual lexicon that comes with CLDR: what things are called in every language."""

from functools import cache

from babel.core import Locale

from hybrid_ir.cldr.entities import Entity, entities, territory_codes
from hybrid_ir.cldr.names import Names

LANGUAGE = Locale("en").languages
CURRENCY = Locale("en").currencies


@cache
def things() -> tuple[Entity, ...]:
    """Territories, languages, currencies, months and days."""
    months, days = (map(str, range(start, stop)) for start, stop in ((1, 13), (0, 7)))
    return (
        *entities("territory", territory_codes()),
        *entities("language", LANGUAGE),
        *entities("currency", CURRENCY),
        *entities("month", months),
        *entities("day", days),
    )


@cache
def names_in(language: str) -> dict[Entity, str]:
    """The name of each of them in a language; none in one that CLDR has no data for."""
    try:
        names = Names(language)
    except (ValueError, LookupError):  # babel does not know the language
        return {}
    return {thing: name for thing in things() if (name := names(thing))}
