"""Which passages are known to answer a query: those of all its pairs in a corpus."""

# P pairs, N passage ids, Q queries, C candidates of a pair, E listed combinations of a query and a
# passage, X and Y values of two arrays, T pairs of equal ones or numbers of ranges

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

POSITIVES = "positives.npy"  # the keys in the folder of a stored corpus


class KnownPositives:
    """The passages that a corpus pairs with each query, in whatever pair.

    A query is known by its content id, so a translation of a query, or the same question asked
    again, has the same passages. Only queries with more than one passage id are listed: the
    passage of the only pair needs no list, and a corpus without such queries has an empty one.

    Args:
        pairs: ids of query and passage of each pair (P, 2).
        query_content_N: content id of each query.
        content_N: content id of each passage.
        path: the file with the keys, where they were computed when the corpus was written. Without
            it they are computed in memory when they are first needed.
    """

    def __init__(
        self,
        pairs: np.ndarray,
        query_content_N: np.ndarray,
        content_N: np.ndarray,
        path: Path | None = None,
    ):
        self.pairs = pairs
        self.query_content_N = query_content_N
        self.content_N = content_N
        self.path = path

    def map_keys(self) -> None:
        """Maps the file of the keys, so that it may be deleted afterwards."""
        self.__dict__["keys"] = self.keys
        self.path = None

    def __getstate__(self) -> dict[str, Any]:
        # Another process maps the file itself instead of receiving a copy of it.
        state = dict(self.__dict__)
        if self.path is not None:
            state.pop("keys", None)
        return state

    @cached_property
    def keys(self) -> np.ndarray:
        """The list (E): content id of the query * N + passage id, ascending and each once."""
        if self.path is not None:
            return np.load(self.path, mmap_mode="r").view(np.ndarray)
        return _list_keys(self.pairs, self.query_content_N, len(self.content_N))

    def find_passages(self, query_contents_Q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Finds the passages of queries; those of a query with only one are not listed.

        Args:
            query_contents_Q: content ids of queries.

        Returns:
            The place of the query in `query_contents_Q` and a passage id, for each of the listed
            passages (E).
        """
        first_keys_Q = np.asarray(query_contents_Q, np.int64) * len(self.content_N)
        # Both ends of a query one after the other: they lie on one page of the file.
        limits_Q2 = np.stack([first_keys_Q, first_keys_Q + len(self.content_N)], axis=1)
        starts_Q, ends_Q = np.searchsorted(self.keys, limits_Q2).T
        places_E = np.repeat(np.arange(len(first_keys_Q)), ends_Q - starts_Q)
        keys_E = self.keys[_expand_ranges(starts_Q, ends_Q)]
        return places_E, keys_E - first_keys_Q[places_E]

    def mark_positives(self, pairs_P2: np.ndarray, candidates_PC: np.ndarray) -> np.ndarray:
        """Marks candidates that say the same as a known positive of the query of their pair.

        Args:
            pairs_P2: ids of query and passage of some pairs of the corpus.
            candidates_PC: passage ids for each of these pairs, -1 for none.

        Returns:
            Booleans (P, C), False for -1.
        """
        content_PC = self._get_content(np.maximum(candidates_PC, 0))
        is_positive_PC = content_PC == self._get_content(pairs_P2[:, 1])[:, None]
        query_contents_P = np.asarray(self.query_content_N[pairs_P2[:, 0]])
        query_contents_Q, places_P = np.unique(query_contents_P, return_inverse=True)
        places_E, passages_E = self.find_passages(query_contents_Q)
        if len(places_E):
            # A number for each combination of a query and a content.
            positives_E = places_E * len(self.content_N) + self._get_content(passages_E)
            combinations_PC = places_P.reshape(-1, 1) * len(self.content_N) + content_PC
            is_positive_PC |= np.isin(combinations_PC, positives_E)
        return is_positive_PC & (candidates_PC >= 0)

    def _get_content(self, passages: np.ndarray) -> np.ndarray:
        return np.asarray(self.content_N[passages], np.int64)


def pair_equal_values(values_X: np.ndarray, others_Y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs every value with every equal one of another array.

    Returns:
        Their places in `values_X` and in `others_Y`, in ascending order of the first (T).
    """
    order_Y = np.argsort(others_Y, kind="stable")
    starts_X = np.searchsorted(others_Y[order_Y], values_X, "left")
    ends_X = np.searchsorted(others_Y[order_Y], values_X, "right")
    places_T = np.repeat(np.arange(len(values_X)), ends_X - starts_X)
    return places_T, order_Y[_expand_ranges(starts_X, ends_X)]


def _expand_ranges(starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Returns the numbers of all ranges from a start to before its end, one range after another."""
    counts = ends - starts
    ends_in_result = np.cumsum(counts)
    offsets_T = np.repeat(starts - (ends_in_result - counts), counts)
    return offsets_T + np.arange(len(offsets_T))


def _list_keys(pairs: np.ndarray, query_content_N: np.ndarray, passages: int) -> np.ndarray:
    """Returns the keys of KnownPositives."""
    query_contents_P = query_content_N[pairs[:, 0]]
    pair_counts = np.bincount(query_contents_P)
    rows = np.flatnonzero(pair_counts[query_contents_P] > 1)
    keys = query_contents_P[rows].astype(np.int64) * passages
    keys += pairs[rows, 1]
    keys.sort()
    is_first = np.ones(len(keys), bool)
    is_first[1:] = keys[1:] != keys[:-1]
    keys = keys[is_first]
    # A query whose pairs all have one passage is dropped again.
    queries = keys // passages
    is_same_as_next = queries[1:] == queries[:-1]
    has_several = np.zeros(len(keys), bool)
    has_several[1:] |= is_same_as_next
    has_several[:-1] |= is_same_as_next
    return keys[has_several]
