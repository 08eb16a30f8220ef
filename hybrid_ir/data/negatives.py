"""Hard negatives of imported records: lists of texts by language become ids of passages."""

# P pairs, K hard negatives

from collections.abc import Sequence
from itertools import zip_longest

import numpy as np
import pyarrow as pa


def flattened(negatives: dict[str, pa.Array], rows: int) -> tuple[dict[str, list[str | None]], np.ndarray]:
    """Negatives one after another in each language, and how many each record has; an i-th one is the same in all of them."""
    languages, counts = list(negatives), np.zeros(rows, np.int64)
    texts: dict[str, list[str | None]] = {language: [] for language in languages}
    for number, lists in enumerate(zip(*(own.to_pylist() for own in negatives.values()), strict=True)):
        for together in zip_longest(*(row or () for row in lists)):
            if any(text is not None for text in together):
                counts[number] += 1
                for language, text in zip(languages, together, strict=True):
                    texts[language].append(text)
    return texts, counts


def padded(negatives: Sequence[tuple[int, np.ndarray]]) -> np.ndarray:
    """Ids of the negatives of each pair (P, K), -1 where it has fewer; of parts, each with its first id and how many each has."""
    counts_P = np.concatenate([np.empty(0, np.int64), *(counts for _, counts in negatives)])
    starts_P = np.concatenate([np.empty(0, np.int64), *(first + np.cumsum(counts) - counts for first, counts in negatives)])
    places_K = np.arange(counts_P.max(initial=0))
    if not counts_P.size or starts_P[-1] + counts_P[-1] < 1 << 31:  # half the memory, for there may be many pairs
        starts_P, places_K = starts_P.astype(np.int32), places_K.astype(np.int32)
    return np.where(places_K < counts_P[:, None], starts_P[:, None] + places_K, starts_P.dtype.type(-1))
