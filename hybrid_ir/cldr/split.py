"""Which facts are held out, and which other facts make good wrong answers."""

# F facts, K hard negatives

from collections import Counter
from collections.abc import Sequence

import numpy as np

SPLIT_SEED = 2408_10536  # fixed: runs with different seeds are compared on the same held-out facts
HELD_OUT = {"test": 0.12, "dev": 0.05}


def split_facts(homes: Sequence[str]) -> np.ndarray:
    """`train`, `dev` or `test` for each fact (F); every entity with a held-out fact keeps one for training."""
    split_F = np.full(len(homes), "train", dtype="<U5")
    left = Counter(homes)
    order = iter(np.random.default_rng(SPLIT_SEED).permutation(len(homes)))
    for name, share in HELD_OUT.items():
        wanted = round(share * len(homes))
        while wanted and (i := next(order, None)) is not None:
            if left[homes[i]] > 1:
                split_F[i] = name
                left[homes[i]] -= 1
                wanted -= 1
    return split_F


def facts_of_same_entity(homes: Sequence[str]) -> np.ndarray:
    """For each fact the other facts of its entity (F, K), in order, filled up with -1."""
    by_home: dict[str, list[int]] = {}
    for i, home in enumerate(homes):
        by_home.setdefault(home, []).append(i)
    width = max((len(rows) for rows in by_home.values()), default=1) - 1
    others_FK = np.full((len(homes), width), -1, dtype=np.int64)
    for i, home in enumerate(homes):
        others = [other for other in by_home[home] if other != i]
        others_FK[i, : len(others)] = others
    return others_FK
