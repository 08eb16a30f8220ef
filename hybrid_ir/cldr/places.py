"""What CLDR says about territories and about the cities of their time zones."""

from collections.abc import Mapping
from datetime import date
from functools import cache

from babel.core import Locale, get_global
from babel.languages import get_official_languages, get_territory_language_info
from babel.localedata import exists
from babel.numbers import get_territory_currencies

from hybrid_ir.cldr.names import (
    Entity,
    list_entities,
    list_older_zone_names,
    list_territory_codes,
)

# (kind, subject) -> values, as ("official_language", territory AF) -> [Persian, Pashto].
Statements = Mapping[tuple[str, Entity], list[Entity]]
# A statement with more values would be a catalogue and no answer to a question.
LONGEST_LIST = 8
# The first part of the name of a zone. It tells the continent of a territory only if it is the
# same for all of its zones, and it tells none for the zones of the oceans.
CONTINENTS = {"Africa": "002", "America": "019", "Asia": "142", "Europe": "150", "Pacific": "009"}
TWO_CONTINENTS = {"TR"}  # its one zone is in Europe, most of its land in Asia
MOST_OLD_CURRENCIES = 4
SPOKEN_BY_PERCENT = 1.0  # of the people of a territory
LOCALES_PER_TERRITORY = 2  # of its most spoken languages, which must agree on the week


@cache
def group_cities_by_territory() -> dict[str, tuple[Entity, ...]]:
    """Returns the cities that time zones are named after, by the code of their territory."""
    zones_by_territory: dict[str, list[str]] = {}
    for zone, territory in get_global("zone_territories").items():
        if territory in list_territory_codes() and "/" in zone and not zone.startswith("Etc/"):
            zones_by_territory.setdefault(territory, []).append(zone)
    cities_by_territory = {}
    for territory, zones in zones_by_territory.items():
        cities_by_territory[territory] = tuple(list_entities("city", zones))
    return cities_by_territory


@cache
def collect_place_statements() -> Statements:
    """Returns all statements about territories and cities; those without a value are left out."""
    statements: dict[tuple[str, Entity], list[Entity]] = {}
    for code in list_territory_codes():
        subject = Entity("territory", code)
        _add_statements(statements, subject, _describe_money(code))
        _add_statements(statements, subject, _describe_languages(code))
        _add_statements(statements, subject, _describe_time(code))
        _add_statements(statements, subject, _describe_week(code))
    for territory, cities in group_cities_by_territory().items():
        for city in cities:
            statements["country", city] = [Entity("territory", territory)]
            zone = _find_meta_zone(city.code)
            # For a single city the statement about its territory says it already.
            if zone and len(cities) > 1:
                statements["time_zone", city] = [Entity("zone", zone)]
    return statements


def _add_statements(
    statements: dict[tuple[str, Entity], list[Entity]],
    subject: Entity,
    values_by_kind: Mapping[str, list[Entity]],
) -> None:
    """Adds the statements about a subject that have a value and not too many."""
    for kind, values in values_by_kind.items():
        if 0 < len(values) <= LONGEST_LIST:
            statements[kind, subject] = values


def _describe_money(territory: str) -> dict[str, list[Entity]]:
    """Returns the legal tender of today, since when, and what it replaced."""
    history = get_territory_currencies(territory, date.min, date.max, include_details=True)
    current = [row for row in history if row["to"] is None]
    current_codes = {row["currency"] for row in current}
    old_codes = {row["currency"] for row in history} - current_codes
    if len(old_codes) > MOST_OLD_CURRENCIES:
        old_codes = set()
    # With two currencies it would not be clear which of them is meant.
    years = []
    if len(current) == 1 and current[0]["from"]:
        years.append(str(current[0]["from"].year))
    return {
        "currency": list_entities("currency", current_codes),
        "currency_since": list_entities("year", years),
        "old_currency": list_entities("currency", old_codes),
    }


def _describe_languages(territory: str) -> dict[str, list[Entity]]:
    """Returns the official languages, and the others that more than a few people speak."""
    # Scripts are cut off: "uz_Arab" is Uzbek.
    official = {code.split("_")[0] for code in get_official_languages(territory, de_facto=True)}
    spoken = set()
    for code, row in get_territory_language_info(territory).items():
        if row["population_percent"] >= SPOKEN_BY_PERCENT:
            spoken.add(code.split("_")[0])
    others = spoken - official if official else set()
    return {
        "official_language": list_entities("language", official),
        "other_language": list_entities("language", others),
    }


def _describe_time(territory: str) -> dict[str, list[Entity]]:
    """Returns the city, time zone and continent, where the whole territory has only one."""
    cities = group_cities_by_territory().get(territory, ())
    zones = {_find_meta_zone(city.code) for city in cities}
    continents = {city.code.split("/")[0] for city in cities}
    statements: dict[str, list[Entity]] = {}
    if len(cities) == 1:
        statements["zone_city"] = list(cities)
    if len(zones) == 1 and None not in zones:
        statements["time_zone"] = list_entities("zone", zones)
    is_known = continents <= set(CONTINENTS) and territory not in TWO_CONTINENTS
    if len(continents) == 1 and is_known:
        codes = [CONTINENTS[name] for name in continents]
        statements["continent"] = list_entities("territory", codes)
    return statements


def _find_meta_zone(zone: str) -> str | None:
    """Returns the zone that people name ("Central European Time"), None if CLDR has none for it."""
    for name in (zone, *list_older_zone_names(zone)):
        meta_zone = get_global("meta_zones").get(name)
        if meta_zone:
            return meta_zone
    return None


def _describe_week(territory: str) -> dict[str, list[Entity]]:
    """Returns the first day and the weekend, where the most spoken languages agree on them."""
    weeks = set()
    for name in _list_locales(territory)[:LOCALES_PER_TERRITORY]:
        locale = Locale.parse(name)
        weeks.add((locale.first_week_day, locale.weekend_start, locale.weekend_end))
    if len(weeks) != 1:
        return {}
    first, start, end = weeks.pop()
    weekend = [start] if start == end else [start, end]
    return {
        "first_day": [Entity("day", str(first))],
        "weekend": [Entity("day", str(day)) for day in weekend],
    }


def _list_locales(territory: str) -> list[str]:
    """Returns the locales of a territory that have a week of their own, most spoken first."""
    spoken = get_territory_language_info(territory)
    by_speakers = sorted(spoken, key=lambda code: (-spoken[code]["population_percent"], code))
    locales = [f"{code}_{territory}" for code in by_speakers]
    return [locale for locale in locales if _has_own_week(locale)]


def _has_own_week(locale: str) -> bool:
    """Returns whether the week of a locale is that of its own territory.

    It is not for pt_ST: babel lets it inherit from pt_PT, and with the words also the Sunday of
    Portugal, which is false there.
    """
    parent = get_global("parent_exceptions").get(locale, "")
    return exists(locale) and parent.split("_")[-1] not in list_territory_codes()
