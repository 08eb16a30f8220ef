"""Small corpora for tests of plans and batches."""

from collections.abc import Sequence

import numpy as np

from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.types import Source

SOURCE = Source("made", "texts made for a test", "none", "none")


def write_texts(
    role: str, languages: Sequence[str], available: np.ndarray
) -> dict[str, list[str | None]]:
    """Returns a text like "query a 3" for each language and id; None where it is not available.

    Args:
        role: first word of the texts.
        languages: codes.
        available: booleans (ids, languages).
    """
    texts = {}
    for column, language in enumerate(languages):
        texts[language] = [
            f"{role} {language} {i}" if available[i, column] else None
            for i in range(len(available))
        ]
    return texts


def pair_equal_ids(count: int) -> np.ndarray:
    """Returns pairs of query i and passage i."""
    return np.stack([np.arange(count), np.arange(count)], axis=1)


def build_parallel_corpus(
    pairs: int = 60, languages: str = "abcd", available: np.ndarray | None = None
) -> ParallelCorpus:
    """Returns a corpus whose queries and passages are available in the same languages.

    Args:
        pairs: number of pairs.
        languages: codes of one letter each.
        available: booleans (pairs, languages), all True by default.
    """
    if available is None:
        available = np.ones((pairs, len(languages)), bool)
    queries = write_texts("query", languages, available)
    passages = write_texts("passage", languages, available)
    return ParallelCorpus(queries, passages, pair_equal_ids(pairs), SOURCE)


def build_corpus_with_gaps(pairs: int = 40, seed: int = 0) -> ParallelCorpus:
    """Returns a corpus whose queries and passages lack different languages.

    No pair has the same id on both sides. The first 8 texts of each side are in all languages.
    """
    available = np.random.default_rng(seed).random((2, pairs, 3)) < 0.7
    available[:, :8] = True
    queries = write_texts("query", "abc", available[0])
    passages = write_texts("passage", "abc", available[1])
    query_ids = np.roll(np.arange(pairs), 3)
    return ParallelCorpus(
        queries, passages, np.stack([query_ids, np.arange(pairs)], axis=1), SOURCE
    )


def build_parallel_corpus_with_negatives(pairs: int = 12) -> ParallelCorpus:
    """Returns a corpus in "a" and "b" whose pairs have three hard negatives and one empty place.

    Every other passage is missing in "b".
    """
    available = np.ones((pairs, 2), bool)
    queries = write_texts("query", "ab", available)
    available[::2, 1] = False
    passages = write_texts("passage", "ab", available)
    rows = np.arange(pairs)
    empty = np.full(pairs, -1)
    negatives = np.stack(
        [(rows + 1) % pairs, (rows + 2) % pairs, (rows + 3) % pairs, empty], axis=1
    )
    return ParallelCorpus(queries, passages, pair_equal_ids(pairs), SOURCE, negatives)
