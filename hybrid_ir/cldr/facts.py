"""Facts of CLDR that hold in every language: kind, subject, values."""

from functools import cache
from typing import NamedTuple

from babel.core import get_global

from hybrid_ir.cldr import places, vocabulary
from hybrid_ir.cldr.entities import Entity

# Asked by a city of the territory, query and passage share no name: matching strings cannot answer such a question.
ASKED_BY_CITY = (
    "currency",
    "currency_since",
    "old_currency",
    "official_language",
    "continent",
    "first_day",
    "weekend",
)
ASKED_BY_ONLY_CITY = (
    "time_zone",
)  # where there are more, each has a time zone of its own to be asked for


class Fact(NamedTuple):
    """One statement, and the entities that a question about it may name: the subject, perhaps also a city in it."""

    kind: str
    subject: Entity
    values: tuple[Entity, ...]
    askers: tuple[Entity, ...]

    @property
    def home(self) -> Entity:
        """Whose facts it belongs to: a city that is alone in its territory shares the territory's."""
        if self.subject.noun == "city":
            territory = get_global("zone_territories")[self.subject.code]
            if len(places.cities_by_territory()[territory]) == 1:
                return Entity("territory", territory)
        return self.subject


@cache
def all_facts() -> tuple[Fact, ...]:
    """Every fact, sorted by kind and subject, whether or not a language can name its parts."""
    statements = {**places.statements(), **vocabulary.statements()}
    facts = []
    for turn, ((kind, subject), values) in enumerate(sorted(statements.items())):
        cities = (
            places.cities_by_territory().get(subject.code, ())
            if subject.noun == "territory"
            else ()
        )
        asked = kind in ASKED_BY_CITY or (kind in ASKED_BY_ONLY_CITY and len(cities) == 1)
        city = (
            (cities[turn % len(cities)],) if asked and cities else ()
        )  # in turns, so that every city is asked by
        facts.append(Fact(kind, subject, tuple(values), (subject, *city)))
    return tuple(facts)
