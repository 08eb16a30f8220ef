"""Hard negatives of imported records: lists of texts by language become ids of passages."""

# R records, P pairs, K hard negatives

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
    return {language: own for language, own in texts.items() if any(text is not None for text in own)}, counts


def interleaved(passages_R: pa.Array, negatives: Sequence[str | None] | None, counts_R: np.ndarray) -> pa.Array:
    """Passages, each with its negatives after it; all of those are missing where none are given."""
    total = int(counts_R.sum())
    if not total:
        return passages_R
    own = pa.nulls(total, pa.string()) if negatives is None else pa.array(negatives, pa.string())
    owners = np.concatenate([np.arange(len(counts_R)), np.repeat(np.arange(len(counts_R)), counts_R)])
    return pa.concat_arrays([passages_R, own]).take(pa.array(np.argsort(owners, kind="stable")))


def padded(first_P: np.ndarray, counts_P: np.ndarray) -> np.ndarray:
    """Ids of the negatives of each pair (P, K), -1 where it has fewer; from the first and the number of each."""
    places_K = np.arange(counts_P.max(initial=0))
    if not first_P.size or first_P[-1] + counts_P[-1] < 1 << 31:  # half the memory, for there may be many pairs
        first_P, places_K = first_P.astype(np.int32), places_K.astype(np.int32)
    return np.where(places_K < counts_P[:, None], first_P[:, None] + places_K, first_P.dtype.type(-1))
