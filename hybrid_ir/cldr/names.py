"""The name of an entity in a language, straight from the locale data of `babel`."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from functools import cache

from babel.core import Locale, get_global
from babel.lists import format_list
from babel.localedata import LocaleDataDict, load
from babel.units import get_unit_name

from hybrid_ir.cldr.entities import Entity, likely


class Names:
    """Names in one language; None where it has none of its own, never a code or a name of another language.

    `quantities` are names that CLDR does not have. `forms` tell things apart that a language calls alike, by noun:
    Thai names Danish and Denmark with one word, so `{"language": "ภาษา{}"}`.
    """

    def __init__(
        self,
        language: str,
        quantities: Mapping[str, str] | None = None,
        forms: Mapping[str, str] | None = None,
    ):
        self.locale = Locale.parse(language)
        self.quantities, self.forms = quantities or {}, forms or {}
        self.latin = likely(language)[1] == "Latn"
        self.calendar = calendar_of(language)
        self._find = cache(self._find)  # per object, so that a language's names go when it goes
        self._join = cache(self._join)

    def __call__(self, entity: Entity) -> str | None:
        return self._find(entity)

    def join(self, values: Sequence[Entity]) -> str | None:
        """ "Persian and Pashto": a list as this language writes it; None where one name is missing."""
        return self._join(tuple(values))

    def _join(self, values: tuple[Entity, ...]) -> str | None:
        names = [self(value) for value in values]
        return None if None in names else format_list(names, locale=self.locale)

    def _find(self, entity: Entity) -> str | None:
        noun, code = entity
        if noun in ("year", "quantity"):  # the one needs no name, the other is not CLDR's
            return code if noun == "year" else self.quantities.get(code)
        name = (getattr(self, f"_{noun}")(code) or "").strip()
        if not name or name == code:
            return None
        before, after = self.forms.get(noun, "{}").split("{}")
        return name if before and name.startswith(before) else before + name + after

    def _territory(self, code: str) -> str | None:
        return self.locale.territories.get(code)

    def _language(self, code: str) -> str | None:
        return self.locale.languages.get(code)

    def _script(self, code: str) -> str | None:
        return self.locale.scripts.get(code)

    def _currency(self, code: str) -> str | None:
        return self.locale.currencies.get(code)

    def _city(self, zone: str) -> str | None:
        for known in (zone, *older_names(zone)):
            if city := self.locale.time_zones.get(known, {}).get("city"):
                return city
        # CLDR's rule: without an entry the name is the last part of the zone's. It is right for Latin letters only.
        return zone.rsplit("/", 1)[1].replace("_", " ") if self.latin else None

    def _zone(self, code: str) -> str | None:
        forms = self.locale.meta_zones.get(code, {}).get("long", {})
        return next(
            (forms[form] for form in ("generic", "standard") if isinstance(forms.get(form), str)),
            None,
        )

    def _month(self, number: str) -> str | None:
        return self.calendar["months"]["stand-alone"]["wide"].get(int(number))

    def _quarter(self, number: str) -> str | None:
        return self.calendar["quarters"]["stand-alone"]["wide"].get(int(number))

    def _day(self, number: str) -> str | None:
        return self.calendar["days"]["stand-alone"]["wide"].get(int(number))

    def _unit(self, code: str) -> str | None:
        if code not in self.locale.unit_display_names:
            return None
        # Many languages give only the short form where it is the same as the long one.
        name = get_unit_name(code, "long", self.locale) or get_unit_name(code, "short", self.locale)
        return name if name and any(letter.isalpha() for letter in name) else None


@cache
def older_names(zone: str) -> tuple[str, ...]:
    """IANA's former names of a zone, which CLDR keeps as its keys ("Asia/Calcutta")."""
    return tuple(sorted(old for old, new in get_global("zone_aliases").items() if new == zone))


def calendar_of(language: str) -> LocaleDataDict:
    """Months, days and quarters, copied: babel resolves an alias in place, in data that other languages share,

    and would then give the German quarters to every language that inherits them from the root.
    """
    data = load(language)
    return LocaleDataDict(deepcopy({part: data[part] for part in ("months", "days", "quarters")}))
