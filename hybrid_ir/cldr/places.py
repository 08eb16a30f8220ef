"""Facts about territories and their time-zone cities."""

from datetime import date
from functools import cache

from babel.core import Locale, get_global
from babel.languages import get_official_languages, get_territory_language_info
from babel.localedata import exists
from babel.numbers import get_territory_currencies

from hybrid_ir.cldr.entities import LONGEST_LIST, Entity, Statements, entities, territory_codes
from hybrid_ir.cldr.names import older_names

# A zone's name tells its continent only where the whole territory agrees, and the ocean zones tell none.
CONTINENTS = {"Africa": "002", "America": "019", "Asia": "142", "Europe": "150", "Pacific": "009"}
TWO_CONTINENTS = {"TR"}  # its one zone is in Europe, most of its land in Asia
MOST_OLD_CURRENCIES = 4
SPOKEN_BY_PERCENT = 1.0


@cache
def cities_by_territory() -> dict[str, tuple[Entity, ...]]:
    cities: dict[str, list[str]] = {}
    for zone, territory in get_global("zone_territories").items():
        if territory in territory_codes() and "/" in zone and not zone.startswith("Etc/"):
            cities.setdefault(territory, []).append(zone)
    return {territory: tuple(entities("city", zones)) for territory, zones in cities.items()}


def meta_zone(zone: str) -> str | None:
    """The zone that people name ("Central European Time"), where CLDR maps the IANA zone or an older name of it."""
    names = (zone, *older_names(zone))
    return next((found for name in names if (found := get_global("meta_zones").get(name))), None)


@cache
def statements() -> Statements:
    """(kind, subject) -> values for every territory and city; an empty list of values is left out."""
    found: dict[tuple[str, Entity], list[Entity]] = {}
    for code in territory_codes():
        subject = Entity("territory", code)
        by_kind = money(code) | tongues(code) | time(code) | week(code)
        found |= {
            (kind, subject): values
            for kind, values in by_kind.items()
            if 0 < len(values) <= LONGEST_LIST
        }
    for territory, cities in cities_by_territory().items():
        for city in cities:
            found["country", city] = [Entity("territory", territory)]
            zone = meta_zone(city.code)
            if zone and len(cities) > 1:  # of one city alone the territory's own fact says it
                found["time_zone", city] = [Entity("zone", zone)]
    return found


def money(territory: str) -> dict[str, list[Entity]]:
    """Legal tender of today, since when, and what it replaced."""
    history = get_territory_currencies(territory, date.min, date.max, include_details=True)
    now = [row for row in history if row["to"] is None]
    old = {row["currency"] for row in history} - {row["currency"] for row in now}
    since = (
        [str(now[0]["from"].year)] if len(now) == 1 and now[0]["from"] else []
    )  # of two, "since" would mean neither
    return {
        "currency": entities("currency", (row["currency"] for row in now)),
        "currency_since": entities("year", since),
        "old_currency": entities("currency", old if len(old) <= MOST_OLD_CURRENCIES else ()),
    }


def tongues(territory: str) -> dict[str, list[Entity]]:
    """Languages of the state, and the others that more than a few people speak; scripts ("uz_Arab") are cut off."""
    official = [code.split("_")[0] for code in get_official_languages(territory, de_facto=True)]
    spoken = [
        code.split("_")[0]
        for code, row in get_territory_language_info(territory).items()
        if row["population_percent"] >= SPOKEN_BY_PERCENT
    ]
    others = set(spoken) - set(official) if official else ()
    return {
        "official_language": entities("language", official),
        "other_language": entities("language", others),
    }


def time(territory: str) -> dict[str, list[Entity]]:
    """Only what is true of the whole territory: the first of several zones would be a false fact."""
    cities = cities_by_territory().get(territory, ())
    zones = {meta_zone(city.code) for city in cities}
    continents = {city.code.split("/")[0] for city in cities}
    known = (
        continents <= set(CONTINENTS) and len(continents) == 1 and territory not in TWO_CONTINENTS
    )
    return {
        "zone_city": list(cities) if len(cities) == 1 else [],
        "time_zone": entities("zone", zones) if len(zones) == 1 and None not in zones else [],
        "continent": entities("territory", (CONTINENTS[name] for name in continents))
        if known
        else [],
    }


def week(territory: str) -> dict[str, list[Entity]]:
    """First day and weekend, where the locales of the territory's two most spoken languages agree on them."""
    spoken = get_territory_language_info(territory)
    by_speakers = sorted(spoken, key=lambda code: (-spoken[code]["population_percent"], code))
    locales = [
        Locale.parse(name) for code in by_speakers if has_own_week(name := f"{code}_{territory}")
    ][:2]
    days = {(locale.first_week_day, locale.weekend_start, locale.weekend_end) for locale in locales}
    if len(days) != 1:
        return {}
    first, start, end = days.pop()
    free = [start] if start == end else [start, end]
    return {
        "first_day": [Entity("day", str(first))],
        "weekend": [Entity("day", str(day)) for day in free],
    }


def has_own_week(locale: str) -> bool:
    """Not pt_ST: babel lets it inherit from pt_PT, and with the words also Portugal's Sunday, which is false there."""
    parent = get_global("parent_exceptions").get(locale, "")
    return exists(locale) and parent.split("_")[-1] not in territory_codes()
