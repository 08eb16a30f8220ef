"""Facts about languages, scripts, currencies, time zones, months, days and units."""

from collections import defaultdict

from babel.core import Locale, get_global

from hybrid_ir.cldr import places
from hybrid_ir.cldr.entities import LONGEST_LIST, Entity, Statements, likely, territory_codes

# The quantity is the first part of CLDR's name of a unit ("length-kilometer"); the other parts name no quantity.
QUANTITIES = (
    "acceleration",
    "angle",
    "area",
    "digital",
    "duration",
    "energy",
    "force",
    "frequency",
    "length",
    "mass",
    "power",
    "pressure",
    "speed",
    "temperature",
    "volume",
)
NO_UNITS = {
    "temperature-generic",
    "force-kilowatt-hour-per-100-kilometer",
    "duration-night",
    "duration-quarter",
    "speed-light-speed",
    "length-mile-scandinavian",
}  # nobody measures in these, or their names read oddly


def statements() -> Statements:
    """(kind, subject) -> values for everything that is no place."""
    found = inverted()
    for language in spoken_languages():
        _, script, territory = likely(language)
        found["script", Entity("language", language)].append(Entity("script", script))
        if territory != "001":  # the world: Esperanto has no main country
            found["main_country", Entity("language", language)].append(
                Entity("territory", territory)
            )
        found["script_languages", Entity("script", script)].append(Entity("language", language))
    for tag in get_global("likely_subtags"):
        if tag.startswith("und_") and len(tag) == len("und_Xxxx"):
            _, script, territory = likely(tag)
            found["script_country", Entity("script", script)].append(Entity("territory", territory))
    found |= calendar() | units()
    return {
        key: sorted(set(values))
        for key, values in found.items()
        if len(set(values)) <= LONGEST_LIST and all(entity.code for entity in (key[1], *values))
    }


def spoken_languages() -> list[str]:
    """Languages that people of some territory speak: no ancient, constructed or script-tagged ones."""
    rows = get_global("territory_languages")
    return sorted(
        {
            code
            for territory in territory_codes()
            for code in rows.get(territory, ())
            if "_" not in code
        }
    )


def inverted() -> defaultdict[tuple[str, Entity], list[Entity]]:
    """Statements about territories and cities, asked from the other end: who uses this currency, language, zone."""
    found: defaultdict[tuple[str, Entity], list[Entity]] = defaultdict(list)
    other_end = {
        ("currency", "territory"): "users",
        ("official_language", "territory"): "official_in",
        ("time_zone", "territory"): "zone_territories",
        ("time_zone", "city"): "zone_cities",
    }
    for (kind, subject), values in places.statements().items():
        for value in values if (kind, subject.noun) in other_end else ():
            found[other_end[kind, subject.noun], value].append(subject)
    return found


def calendar() -> Statements:
    """What follows what; the reverse ("what comes before") would have a second right passage and is not asked."""
    found = {}
    for month in range(1, 13):
        found["next_month", Entity("month", str(month))] = [Entity("month", str(month % 12 + 1))]
        found["quarter", Entity("month", str(month))] = [Entity("quarter", str((month + 2) // 3))]
    for day in range(7):
        found["next_day", Entity("day", str(day))] = [Entity("day", str((day + 1) % 7))]
    return found


def units() -> Statements:
    names = set(Locale.parse("en").unit_display_names) - NO_UNITS
    return {
        ("measures", Entity("unit", name)): [Entity("quantity", name.split("-")[0])]
        for name in names
        if name.split("-")[0] in QUANTITIES
    }
