"""What CLDR can name, and the tables of `babel` that relate these things."""

from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

from babel.core import get_global


class Entity(NamedTuple):
    """Something with a name in every language: `Entity("territory", "AF")`, `Entity("month", "6")`."""

    noun: str  # territory, city, language, script, currency, zone, month, quarter, day, unit, quantity or year
    code: str


Statements = Mapping[tuple[str, Entity], list[Entity]]  # (kind, subject) -> values
LONGEST_LIST = 8  # a passage that names more is no answer but a catalogue: such a fact is left out


def entities(noun: str, codes) -> list[Entity]:
    """Things of one noun in the order of their codes, each once."""
    return [Entity(noun, code) for code in sorted(set(codes))]


@cache
def territory_codes() -> list[str]:
    """Countries and dependencies; not the world, the unknown region or Antarctica, which has stations but no people."""
    return sorted(set(get_global("territory_zones")) - {"001", "ZZ", "AQ"})


def likely(tag: str) -> tuple[str, str, str]:
    """Language, script and territory of CLDR's likely subtags; empty strings where it knows none."""
    parts = get_global("likely_subtags").get(tag, "").split("_")
    language, script, territory = parts if len(parts) == 3 else ("", "", "")
    return language, script, territory if territory in get_global("territory_zones") else ""
