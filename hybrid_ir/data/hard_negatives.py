"""Hard negatives of pairs as ids of passages, and how lists in imported records become ids."""

# R records, P pairs, K hard negatives of the pair that has the most

from collections.abc import Iterator, Sequence
from itertools import zip_longest

import numpy as np
import pyarrow as pa

PAIRS_PER_BLOCK = 1 << 18
LARGEST_INT32 = (1 << 31) - 1


class HardNegatives:
    """The hard negatives of P pairs, where a pair with many costs the others no memory.

    By rows it reads like an array (P, K) in which -1 fills the rows of pairs that have fewer:
    `negatives[pairs]` gives an array (..., K).

    Args:
        ids: ids of passages, those of the first pair first.
        starts: where the ids of each pair begin, and last the number of all ids (P + 1).
        most: K, where it is known already.
    """

    def __init__(self, ids: np.ndarray, starts: np.ndarray, most: int | None = None):
        self.ids = ids
        self.starts = starts
        if most is None:
            most = int(np.diff(starts).max(initial=0))
        self.shape = (len(starts) - 1, most)

    @classmethod
    def from_array(cls, negatives_PK: "np.ndarray | HardNegatives") -> "HardNegatives":
        """Converts an array (P, K) in which -1 stands for none."""
        if isinstance(negatives_PK, HardNegatives):
            return negatives_PK
        available_PK = negatives_PK >= 0
        starts = np.concatenate([[0], np.cumsum(available_PK.sum(1))])
        return cls(negatives_PK[available_PK], starts)

    @classmethod
    def number_after_passages(cls, passages_P: np.ndarray, counts_P: np.ndarray) -> "HardNegatives":
        """Returns negatives whose ids follow directly on the id of the passage of their pair.

        Args:
            passages_P: the passage of each pair.
            counts_P: how many negatives each pair has.
        """
        starts = np.concatenate([[0], np.cumsum(counts_P)])
        # The id at place i of a pair is passage + 1 + (i - start): the first part is the same for
        # all negatives of a pair, the second one counts on.
        first_ids = np.repeat(narrow_ids(passages_P + 1 - starts[:-1]), counts_P)
        return cls(first_ids + narrow_ids(np.arange(starts[-1])), starts)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows) -> np.ndarray:
        starts = np.asarray(self.starts[:-1][rows], np.int64)
        ends = np.asarray(self.starts[1:][rows], np.int64)
        places = starts[..., None] + np.arange(self.shape[1])
        available = places < ends[..., None]
        negatives = np.full(places.shape, -1)
        negatives[available] = self.ids[places[available]]
        return negatives

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return self[:].astype(dtype or np.int64)

    def iterate_id_blocks(
        self, order_P: np.ndarray, size: int = PAIRS_PER_BLOCK
    ) -> Iterator[np.ndarray]:
        """Yields the ids with the pairs in another order, those of `size` pairs at a time."""
        for first in range(0, len(order_P), size):
            pairs = order_P[first : first + size]
            starts = self.starts[pairs]
            counts = self.starts[pairs + 1] - starts
            starts_in_block = np.cumsum(counts) - counts
            offsets = np.repeat(starts - starts_in_block, counts)
            yield self.ids[offsets + np.arange(counts.sum())]


def narrow_ids(ids: np.ndarray) -> np.ndarray:
    """Returns ids as int32 if they fit, which is half the memory, otherwise as int64."""
    fits = not ids.size or ids.max() <= LARGEST_INT32
    return ids.astype(np.int32 if fits else np.int64, copy=False)


def flatten_negatives(
    negatives: dict[str, pa.Array], rows: int
) -> tuple[dict[str, list[str | None]], np.ndarray]:
    """Puts the negatives of all records one after another.

    The i-th negative of a record is the same passage in every language. One that is missing in all
    languages is dropped.

    Args:
        negatives: for each language a list of texts, or null, per record (R).
        rows: R.

    Returns:
        The texts of all negatives by language, for languages that have any, and how many negatives
        each record has (R).
    """
    languages = list(negatives)
    counts_R = np.zeros(rows, np.int64)
    texts: dict[str, list[str | None]] = {language: [] for language in languages}
    columns = [column.to_pylist() for column in negatives.values()]
    for record, lists in enumerate(zip(*columns, strict=True)):
        # A null is a record without negatives in this language.
        lists_of_texts = [() if texts_or_null is None else texts_or_null for texts_or_null in lists]
        for translations in zip_longest(*lists_of_texts):
            if all(text is None for text in translations):
                continue
            counts_R[record] += 1
            for language, text in zip(languages, translations, strict=True):
                texts[language].append(text)
    return _drop_empty_languages(texts), counts_R


def _drop_empty_languages(texts: dict[str, list[str | None]]) -> dict[str, list[str | None]]:
    """Returns the languages in which there is at least one text."""
    kept = {}
    for language, column in texts.items():
        if any(text is not None for text in column):
            kept[language] = column
    return kept


def interleave_negatives(
    passages_R: pa.Array, negatives: Sequence[str | None] | None, counts_R: np.ndarray
) -> pa.Array:
    """Returns the passages of one language, each followed by its negatives.

    Args:
        passages_R: the passage of each record.
        negatives: the negatives of all records as `flatten_negatives` orders them; None if this
            language has none, which makes them all null.
        counts_R: how many negatives each record has.
    """
    total = int(counts_R.sum())
    if not total:
        return passages_R
    if negatives is None:
        negative_texts = pa.nulls(total, pa.string())
    else:
        negative_texts = pa.array(negatives, pa.string())
    records = np.arange(len(counts_R))
    record_of_text = np.concatenate([records, np.repeat(records, counts_R)])
    # The sort is stable, so the passage of a record stays before its negatives.
    order = np.argsort(record_of_text, kind="stable")
    return pa.concat_arrays([passages_R, negative_texts]).take(pa.array(order))
