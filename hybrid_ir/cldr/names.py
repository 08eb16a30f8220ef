"""Entities that CLDR can name, and their names in a language, from the locale data of `babel`."""

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from functools import cache
from typing import NamedTuple

from babel.core import Locale, UnknownLocaleError, get_global
from babel.lists import format_list
from babel.localedata import LocaleDataDict, load
from babel.units import get_unit_name

# The world, the unknown region, and Antarctica, which has stations but no people.
NO_TERRITORIES = {"001", "ZZ", "AQ"}


class Entity(NamedTuple):
    """Something with a name in every language, as `Entity("territory", "AF")`.

    Args:
        noun: territory, city, language, script, currency, zone, month, quarter, day, unit,
            quantity or year.
        code: of CLDR, such as "AF", "Asia/Kabul" or "6".
    """

    noun: str
    code: str

    def __str__(self) -> str:
        return f"{self.noun}:{self.code}"


def list_entities(noun: str, codes: Iterable[str]) -> list[Entity]:
    """Returns entities of one noun in the order of their codes, each of them once."""
    return [Entity(noun, code) for code in sorted(set(codes))]


@cache
def list_territory_codes() -> list[str]:
    """Returns the codes of countries and dependencies, sorted."""
    return sorted(set(get_global("territory_zones")) - NO_TERRITORIES)


def expand_likely_subtags(tag: str) -> tuple[str, str, str]:
    """Returns the likely language, script and territory of a tag, such as "und_Cyrl".

    They are empty where CLDR knows none; so is a territory that is no country.
    """
    parts = get_global("likely_subtags").get(tag, "").split("_")
    if len(parts) != 3:
        return "", "", ""
    language, script, territory = parts
    if territory not in get_global("territory_zones"):
        territory = ""
    return language, script, territory


class Names:
    """The names of entities in one language.

    A name is None where the language has none: it is never a code or a name of another language.

    Args:
        language: code of the language.
        quantities: names of quantities by code, which CLDR does not have.
        patterns: by noun, for a language that gives two things the same name. Thai names Danish
            and Denmark with one word, so `{"language": "ภาษา{}"}` makes the difference.

    Raises:
        UnknownLocaleError, ValueError: If `babel` does not know the language.
    """

    def __init__(
        self,
        language: str,
        quantities: Mapping[str, str] | None = None,
        patterns: Mapping[str, str] | None = None,
    ):
        self._locale = Locale.parse(language)
        self._quantities = quantities or {}
        self._patterns = patterns or {}
        _, script, _ = expand_likely_subtags(language)
        self._is_latin = script == "Latn"
        self._calendar = _copy_calendar(language)
        self._finders = {
            "territory": self._find_territory,
            "language": self._find_language,
            "script": self._find_script,
            "currency": self._find_currency,
            "city": self._find_city,
            "zone": self._find_zone,
            "month": self._find_month,
            "quarter": self._find_quarter,
            "day": self._find_day,
            "unit": self._find_unit,
        }
        # Cached by object, so that the names of a language are freed with it.
        self._find_cached = cache(self._find_uncached)
        self._join_cached = cache(self._join_uncached)

    def find(self, entity: Entity) -> str | None:
        """Returns the name of an entity, or None."""
        return self._find_cached(entity)

    def join(self, entities: Sequence[Entity]) -> str | None:
        """Returns a list as the language writes it ("Persian and Pashto").

        It is None if one of the names is missing.
        """
        return self._join_cached(tuple(entities))

    def _join_uncached(self, entities: tuple[Entity, ...]) -> str | None:
        names = [self.find(entity) for entity in entities]
        if None in names:
            return None
        return format_list(names, locale=self._locale)

    def _find_uncached(self, entity: Entity) -> str | None:
        noun, code = entity
        if noun == "year":
            return code
        if noun == "quantity":
            return self._quantities.get(code)
        name = (self._finders[noun](code) or "").strip()
        if not name or name == code:
            return None
        before, after = self._patterns.get(noun, "{}").split("{}")
        if before and name.startswith(before):
            return name
        return before + name + after

    def _find_territory(self, code: str) -> str | None:
        return self._locale.territories.get(code)

    def _find_language(self, code: str) -> str | None:
        return self._locale.languages.get(code)

    def _find_script(self, code: str) -> str | None:
        return self._locale.scripts.get(code)

    def _find_currency(self, code: str) -> str | None:
        return self._locale.currencies.get(code)

    def _find_city(self, zone: str) -> str | None:
        for known_zone in (zone, *list_older_zone_names(zone)):
            city = self._locale.time_zones.get(known_zone, {}).get("city")
            if city:
                return city
        # The rule of CLDR: without an entry, the city is the last part of the name of the zone.
        # This is right for languages in Latin letters only.
        return zone.rsplit("/", 1)[1].replace("_", " ") if self._is_latin else None

    def _find_zone(self, code: str) -> str | None:
        long_names = self._locale.meta_zones.get(code, {}).get("long", {})
        for variant in ("generic", "standard"):
            if isinstance(long_names.get(variant), str):
                return long_names[variant]
        return None

    def _find_month(self, number: str) -> str | None:
        return self._calendar["months"]["stand-alone"]["wide"].get(int(number))

    def _find_quarter(self, number: str) -> str | None:
        return self._calendar["quarters"]["stand-alone"]["wide"].get(int(number))

    def _find_day(self, number: str) -> str | None:
        return self._calendar["days"]["stand-alone"]["wide"].get(int(number))

    def _find_unit(self, code: str) -> str | None:
        if code not in self._locale.unit_display_names:
            return None
        # Many languages give only the short name where it is the same as the long one.
        name = get_unit_name(code, "long", self._locale)
        if not name:
            name = get_unit_name(code, "short", self._locale)
        has_letter = any(letter.isalpha() for letter in name or "")
        return name if has_letter else None


@cache
def list_older_zone_names(zone: str) -> tuple[str, ...]:
    """Returns former names of a time zone, which CLDR keeps as its keys ("Asia/Calcutta")."""
    aliases = get_global("zone_aliases")
    return tuple(sorted(old for old, new in aliases.items() if new == zone))


def _copy_calendar(language: str) -> LocaleDataDict:
    """Returns the names of months, days and quarters, copied from the data of babel.

    Babel resolves an alias in place, in data that other languages share. Without a copy, German
    quarters would go to every language that inherits its own from the root.
    """
    data = load(language)
    return LocaleDataDict(deepcopy({part: data[part] for part in ("months", "days", "quarters")}))


@cache
def _list_lexicon_entities() -> tuple[Entity, ...]:
    """Returns what a bilingual lexicon has: territories, languages, currencies, months, days."""
    english = Locale("en")
    return (
        *list_entities("territory", list_territory_codes()),
        *list_entities("language", english.languages),
        *list_entities("currency", english.currencies),
        *list_entities("month", map(str, range(1, 13))),
        *list_entities("day", map(str, range(7))),
    )


@cache
def collect_lexicon_names(language: str) -> dict[Entity, str]:
    """Returns the names of territories, languages, currencies, months and days in a language.

    They are a bilingual lexicon together with those of another language. A language that CLDR
    does not know has none.
    """
    try:
        names = Names(language)
    except (ValueError, LookupError, UnknownLocaleError):
        return {}
    lexicon = {}
    for entity in _list_lexicon_entities():
        name = names.find(entity)
        if name is not None:
            lexicon[entity] = name
    return lexicon
