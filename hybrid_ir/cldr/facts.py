"""The facts of CLDR that hold in every language, and which of them are held out."""

# F facts, K hard negatives

from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from babel.core import Locale, get_global

from hybrid_ir.cldr.names import (
    Entity,
    expand_likely_subtags,
    list_territory_codes,
)
from hybrid_ir.cldr.places import (
    LONGEST_LIST,
    Statements,
    collect_place_statements,
    group_cities_by_territory,
)

# Kinds of facts about a territory that questions may ask for by naming a city in it. Query and
# passage then share no name, so matching strings cannot answer the question.
ASKED_BY_CITY = (
    "currency",
    "currency_since",
    "old_currency",
    "official_language",
    "continent",
    "first_day",
    "weekend",
)
# Where there are several cities, each has a time zone of its own.
ASKED_BY_ONLY_CITY = ("time_zone",)

# A unit is called "length-kilometer" in CLDR. These first parts are quantities, others are not.
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
# Nobody measures in these, or their names read oddly.
NO_UNITS = {
    "temperature-generic",
    "force-kilowatt-hour-per-100-kilometer",
    "duration-night",
    "duration-quarter",
    "speed-light-speed",
    "length-mile-scandinavian",
}
WORLD = "001"  # the territory of Esperanto

SPLIT_SEED = 240810536  # fixed, since runs of all seeds are compared on the same held-out facts
HELD_OUT = {"test": 0.12, "dev": 0.05}  # shares of the facts


class Fact(NamedTuple):
    """One statement of CLDR.

    Args:
        kind: such as "currency".
        subject: what the statement is about.
        values: what it says of the subject.
        question_subjects: the entities that questions may ask for it by: the subject, and perhaps
            a city in it.
    """

    kind: str
    subject: Entity
    values: tuple[Entity, ...]
    question_subjects: tuple[Entity, ...]

    @property
    def entity(self) -> Entity:
        """The entity that the fact belongs to.

        This is its subject; but the only city of a territory shares the facts of the territory.
        """
        if self.subject.noun == "city":
            territory = get_global("zone_territories")[self.subject.code]
            if len(group_cities_by_territory()[territory]) == 1:
                return Entity("territory", territory)
        return self.subject


@cache
def collect_facts() -> tuple[Fact, ...]:
    """Returns every fact, sorted by kind and subject, whether or not a language can name it."""
    statements = {**collect_place_statements(), **_collect_other_statements()}
    facts = []
    for number, ((kind, subject), values) in enumerate(sorted(statements.items())):
        question_subjects = [subject]
        cities = ()
        if subject.noun == "territory":
            cities = group_cities_by_territory().get(subject.code, ())
        is_asked_by_city = kind in ASKED_BY_CITY
        if len(cities) == 1 and kind in ASKED_BY_ONLY_CITY:
            is_asked_by_city = True
        if cities and is_asked_by_city:
            # The facts of a territory take its cities in turn, so that each of them is used.
            question_subjects.append(cities[number % len(cities)])
        facts.append(Fact(kind, subject, tuple(values), tuple(question_subjects)))
    return tuple(facts)


def _collect_other_statements() -> Statements:
    """Returns the statements about everything that is no place."""
    statements = _invert_place_statements()
    for language in _list_spoken_languages():
        _, script, territory = expand_likely_subtags(language)
        subject = Entity("language", language)
        statements["script", subject].append(Entity("script", script))
        if territory != WORLD:
            statements["main_country", subject].append(Entity("territory", territory))
        statements["script_languages", Entity("script", script)].append(subject)
    for tag in get_global("likely_subtags"):
        if tag.startswith("und_") and len(tag) == len("und_Xxxx"):
            _, script, territory = expand_likely_subtags(tag)
            subject = Entity("script", script)
            statements["script_country", subject].append(Entity("territory", territory))
    statements.update(_describe_calendar())
    statements.update(_describe_units())

    kept = {}
    for (kind, subject), values in statements.items():
        distinct = sorted(set(values))
        # Without a code, CLDR does not know the script or territory of a language.
        has_codes = subject.code and all(entity.code for entity in distinct)
        if has_codes and len(distinct) <= LONGEST_LIST:
            kept[kind, subject] = distinct
    return kept


def _list_spoken_languages() -> list[str]:
    """Returns the languages that people of a territory speak: no ancient or constructed ones."""
    languages_of_territory = get_global("territory_languages")
    languages = set()
    for territory in list_territory_codes():
        for code in languages_of_territory.get(territory, ()):
            if "_" not in code:  # with a script, it is a variant of another one
                languages.add(code)
    return sorted(languages)


def _invert_place_statements() -> defaultdict[tuple[str, Entity], list[Entity]]:
    """Returns statements about places from the other end: who uses a currency, language or zone."""
    inverse_kinds = {
        ("currency", "territory"): "users",
        ("official_language", "territory"): "official_in",
        ("time_zone", "territory"): "zone_territories",
        ("time_zone", "city"): "zone_cities",
    }
    statements: defaultdict[tuple[str, Entity], list[Entity]] = defaultdict(list)
    for (kind, subject), values in collect_place_statements().items():
        inverse_kind = inverse_kinds.get((kind, subject.noun))
        if inverse_kind is not None:
            for value in values:
                statements[inverse_kind, value].append(subject)
    return statements


def _describe_calendar() -> Statements:
    """Returns which month or day follows which, and the quarter of each month.

    What comes before is not asked for: the passage of the fact that follows would be right, too.
    """
    statements = {}
    for month in range(1, 13):
        subject = Entity("month", str(month))
        statements["next_month", subject] = [Entity("month", str(month % 12 + 1))]
        statements["quarter", subject] = [Entity("quarter", str((month + 2) // 3))]
    for day in range(7):
        statements["next_day", Entity("day", str(day))] = [Entity("day", str((day + 1) % 7))]
    return statements


def _describe_units() -> Statements:
    """Returns the quantity that each unit measures."""
    statements = {}
    for name in set(Locale.parse("en").unit_display_names) - NO_UNITS:
        quantity = name.split("-")[0]
        if quantity in QUANTITIES:
            statements["measures", Entity("unit", name)] = [Entity("quantity", quantity)]
    return statements


@cache
def assign_splits() -> dict[Fact, str]:
    """Returns the split of every fact: `train`, `dev` or `test`.

    It does not depend on the languages of a set, so no set trains on what another one holds out.
    """
    facts = collect_facts()
    splits = split_by_entity([fact.entity for fact in facts])
    return dict(zip(facts, splits, strict=True))


def split_by_entity(entities: Sequence[Hashable]) -> list[str]:
    """Draws the facts to hold out, so that every entity keeps a fact for training.

    Args:
        entities: the entity that each fact belongs to.

    Returns:
        `train`, `dev` or `test` for each fact.
    """
    splits = ["train"] * len(entities)
    training_facts = Counter(entities)
    order = iter(np.random.default_rng(SPLIT_SEED).permutation(len(entities)))
    for split, share in HELD_OUT.items():
        missing = round(share * len(entities))
        while missing > 0:
            number = next(order, None)
            if number is None:  # every fact was considered
                break
            if training_facts[entities[number]] > 1:
                splits[number] = split
                training_facts[entities[number]] -= 1
                missing -= 1
    return splits


def keep_trained_entities(facts: Sequence[Fact]) -> list[Fact]:
    """Returns the facts of entities that still have a fact to train on among them."""
    split_of_fact = assign_splits()
    trained = {fact.entity for fact in facts if split_of_fact[fact] == "train"}
    return [fact for fact in facts if fact.entity in trained]


def find_facts_of_same_entity(entities: Sequence[Hashable]) -> np.ndarray:
    """Returns for each fact the other facts of its entity (F, K), in order; -1 fills the rows.

    Args:
        entities: the entity that each fact belongs to (F).
    """
    facts_of_entity: dict[Hashable, list[int]] = {}
    for fact, entity in enumerate(entities):
        facts_of_entity.setdefault(entity, []).append(fact)
    most = max((len(facts) for facts in facts_of_entity.values()), default=1)
    others_FK = np.full((len(entities), most - 1), -1, dtype=np.int64)
    for fact, entity in enumerate(entities):
        others = [other for other in facts_of_entity[entity] if other != fact]
        others_FK[fact, : len(others)] = others
    return others_FK
