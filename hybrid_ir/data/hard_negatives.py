"""Hard negatives: as ids of passages pair by pair, and how the lists of imported records become such ids."""

# R records, P pairs, K hard negatives

from collections.abc import Iterator, Sequence
from itertools import zip_longest

import numpy as np
import pyarrow as pa


def flatten_negatives(
    negatives: dict[str, pa.Array], rows: int
) -> tuple[dict[str, list[str | None]], np.ndarray]:
    """Negatives one after another in each language, and how many each record has; an i-th one is the same in all of them."""
    languages, counts = list(negatives), np.zeros(rows, np.int64)
    texts: dict[str, list[str | None]] = {language: [] for language in languages}
    for number, lists in enumerate(
        zip(*(own.to_pylist() for own in negatives.values()), strict=True)
    ):
        for together in zip_longest(*(row or () for row in lists)):
            if any(text is not None for text in together):
                counts[number] += 1
                for language, text in zip(languages, together, strict=True):
                    texts[language].append(text)
    return {
        language: own for language, own in texts.items() if any(text is not None for text in own)
    }, counts


def interleave_negatives(
    passages_R: pa.Array, negatives: Sequence[str | None] | None, counts_R: np.ndarray
) -> pa.Array:
    """Passages, each with its negatives after it; all of those are missing where none are given."""
    total = int(counts_R.sum())
    if not total:
        return passages_R
    own = pa.nulls(total, pa.string()) if negatives is None else pa.array(negatives, pa.string())
    owners = np.concatenate(
        [np.arange(len(counts_R)), np.repeat(np.arange(len(counts_R)), counts_R)]
    )
    return pa.concat_arrays([passages_R, own]).take(pa.array(np.argsort(owners, kind="stable")))


class HardNegatives:
    """Hard negatives of pairs (P), each with as many as it has: so that one pair with many costs the others nothing.

    `ids` are passages one after another, `starts` (P + 1) where those of each pair begin. By rows it is an array (..., K) for
    the most that any pair has, filled with -1.
    """

    def __init__(self, ids: np.ndarray, starts: np.ndarray, most: int | None = None):
        self.ids, self.starts = ids, starts
        self.shape = len(starts) - 1, int(np.diff(starts).max(initial=0)) if most is None else most

    @classmethod
    def of(cls, negatives_PK: "np.ndarray | HardNegatives") -> "HardNegatives":
        """From an array (P, K) in which -1 is none."""
        if isinstance(negatives_PK, HardNegatives):
            return negatives_PK
        there_PK = negatives_PK >= 0
        return cls(negatives_PK[there_PK], np.concatenate([[0], np.cumsum(there_PK.sum(1))]))

    @classmethod
    def following(cls, passages_P: np.ndarray, counts_P: np.ndarray) -> "HardNegatives":
        """Those whose ids follow the passage of their pair."""
        starts = np.concatenate([[0], np.cumsum(counts_P)])
        return cls(
            np.repeat(narrow_ids(passages_P + 1 - starts[:-1]), counts_P)
            + narrow_ids(np.arange(starts[-1])),
            starts,
        )

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows) -> np.ndarray:
        starts, ends = (
            np.asarray(self.starts[:-1][rows], np.int64),
            np.asarray(self.starts[1:][rows], np.int64),
        )
        places = starts[..., None] + np.arange(self.shape[1])
        there = places < ends[..., None]
        found = np.full(places.shape, -1)
        found[there] = self.ids[places[there]]
        return found

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return self[:].astype(dtype or np.int64)

    def blocks(self, order_P: np.ndarray, size: int = 1 << 18) -> Iterator[np.ndarray]:
        """The ids with the pairs in another order, some pairs at a time."""
        for start in range(0, len(order_P), size):
            rows = order_P[start : start + size]
            counts = self.starts[rows + 1] - self.starts[rows]
            yield self.ids[
                np.repeat(self.starts[rows] - np.cumsum(counts) + counts, counts)
                + np.arange(counts.sum())
            ]


def narrow_ids(ids: np.ndarray) -> np.ndarray:
    """Ids in half the bytes where they fit."""
    return (
        ids.astype(np.int32, copy=False)
        if not ids.size or ids.max() < 1 << 31
        else ids.astype(np.int64, copy=False)
    )
