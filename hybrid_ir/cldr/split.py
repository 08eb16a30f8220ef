"""Which facts are held out, and which other facts make good wrong answers."""

# F facts, K hard negatives

from collections import Counter
from collections.abc import Sequence
from functools import cache

import numpy as np

from hybrid_ir.cldr.facts import Fact, all_facts

SPLIT_SEED = 240810536  # fixed: runs with different seeds are compared on the same held-out facts
HELD_OUT = {"test": 0.12, "dev": 0.05}


@cache
def split_of() -> dict[Fact, str]:
    """The split of every fact, whatever the languages: what one choice of languages trains on, none holds out."""
    facts = all_facts()
    return dict(zip(facts, split_facts([fact.home for fact in facts]), strict=True))


def split_facts(homes: Sequence) -> list[str]:
    """`train`, `dev` or `test` for each fact, by the entity it belongs to, which keeps a fact for training."""
    splits = ["train"] * len(homes)
    left = Counter(homes)
    order = iter(np.random.default_rng(SPLIT_SEED).permutation(len(homes)))
    for name, share in HELD_OUT.items():
        wanted = round(share * len(homes))
        while wanted and (i := next(order, None)) is not None:
            if left[homes[i]] > 1:
                splits[i] = name
                left[homes[i]] -= 1
                wanted -= 1
    return splits


def with_training_fact(facts: Sequence[Fact]) -> list[Fact]:
    """Without held-out facts of an entity whose training facts the chosen languages cannot all name."""
    trained = {fact.home for fact in facts if split_of()[fact] == "train"}
    return [fact for fact in facts if fact.home in trained]


def facts_of_same_entity(homes: Sequence) -> np.ndarray:
    """For each fact the other facts of its entity (F, K), in order, filled up with -1."""
    by_home: dict = {}
    for i, home in enumerate(homes):
        by_home.setdefault(home, []).append(i)
    width = max((len(rows) for rows in by_home.values()), default=1) - 1
    others_FK = np.full((len(homes), width), -1, dtype=np.int64)
    for i, home in enumerate(homes):
        others = [other for other in by_home[home] if other != i]
        others_FK[i, : len(others)] = others
    return others_FK
