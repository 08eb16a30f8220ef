"""Holds the counts from which every measure follows, and reads the ranks of a pool off them.

Shapes: Q queries, R relevant passages of a query (short rows are filled), V queries of a pool,
L languages, P = 2 pools in which a relevant passage is counted.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hybrid_ir.evaluation.metrics import ABOVE_OF_FILLING, Ranks

VIEWS = ("mono", "cross", "multi")
# the two pools in which a relevant passage is counted
OWN_LANGUAGE = 0  # the passages of its own language: the monolingual and cross-lingual rankings
ALL_LANGUAGES = 1  # the passages of all languages: the multilingual ranking
MULTILINGUAL = -1  # stands for the language of a pool that holds all languages


@dataclass(frozen=True)
class RankTable:
    """For each relevant passage of each query, how many passages outrank it in two pools."""

    above: np.ndarray  # Q, R, P int32: passages of the pool that score strictly above passage r
    tied: np.ndarray  # Q, R, P int32: other passages of the pool with exactly the score of r
    relevant: np.ndarray  # Q, R rows of the corpus, filled with -1
    relevant_languages: np.ndarray  # Q, R, filled with -1
    scores: np.ndarray  # Q, R float64, filled with +inf
    query_languages: np.ndarray  # Q
    pool_sizes: np.ndarray  # L
    languages: tuple[str, ...]
    grades: np.ndarray | None = None  # Q, R float64, gains of nDCG; None: all the same
    losses: np.ndarray | None = None  # Q, InfoNCE over the whole corpus; NaN without relevant ones


@dataclass(frozen=True)
class PoolRanks:
    """The queries of one view that have something relevant in one pool, and the ranks of that."""

    view: str
    passage_language: int  # MULTILINGUAL for the pool of all languages
    queries_V: np.ndarray  # rows of the benchmark
    ranks: Ranks


def list_relevant_rows(relevant_QR: np.ndarray) -> np.ndarray:
    """Lists the distinct relevant passages in the order in which their vectors are wanted."""
    return np.unique(relevant_QR[relevant_QR >= 0])


def pad_rows(relevant: Sequence[np.ndarray], dtype: type = np.int64) -> np.ndarray:
    """Joins the relevant rows of all queries, or their grades: an array (Q, R) filled with -1."""
    longest = max((len(rows) for rows in relevant), default=1)
    relevant_QR = np.full((len(relevant), max(longest, 1)), -1, dtype)
    for query, rows in enumerate(relevant):
        relevant_QR[query, : len(rows)] = rows
    return relevant_QR


def iterate_pools(table: RankTable) -> Iterator[PoolRanks]:
    """Yields the ranks in every pool, in the order of views and languages."""
    query_languages_Q = np.asarray(table.query_languages)
    for language in range(len(table.languages)):
        yield select_ranks(table, "mono", language, query_languages_Q == language)
    for language in range(len(table.languages)):
        yield select_ranks(table, "cross", language, query_languages_Q != language)
    every_query_Q = np.ones(len(query_languages_Q), bool)
    yield select_ranks(table, "multi", MULTILINGUAL, every_query_Q)


def select_ranks(table: RankTable, view: str, language: int, is_asked_Q: np.ndarray) -> PoolRanks:
    """Selects the ranks of the relevant passages in one pool, sorted for each query.

    Args:
        table: the counts.
        view: to which the pool belongs.
        language: of the pool, or MULTILINGUAL.
        is_asked_Q: which queries ask this pool; those with nothing relevant in it are left out.
    """
    if language == MULTILINGUAL:
        pool = ALL_LANGUAGES
        pool_size = int(table.pool_sizes.sum())
        present_QR = table.relevant_languages >= 0
    else:
        pool = OWN_LANGUAGE
        pool_size = int(table.pool_sizes[language])
        present_QR = table.relevant_languages == language
    queries_V = (is_asked_Q & present_QR.any(1)).nonzero()[0]
    present_VR = present_QR[queries_V]
    count_V = present_VR.sum(1)
    above_VR = table.above[queries_V, :, pool].astype(np.int64)
    above_VR = np.where(present_VR, above_VR, ABOVE_OF_FILLING)
    tied_VR = table.tied[queries_V, :, pool].astype(np.int64)
    query_language_V1 = np.asarray(table.query_languages)[queries_V, None]
    same_language_VR = table.relevant_languages[queries_V] == query_language_V1
    order_VR = np.argsort(above_VR, axis=1, kind="stable")[:, : count_V.max(initial=1)]
    grade_VR = None
    if table.grades is not None:
        grade_VR = np.take_along_axis(table.grades[queries_V], order_VR, 1)
    ranks = Ranks(
        above_VR=np.take_along_axis(above_VR, order_VR, 1),
        tied_VR=np.take_along_axis(tied_VR, order_VR, 1),
        same_language_VR=np.take_along_axis(same_language_VR, order_VR, 1),
        count_V=count_V,
        pool_size=pool_size,
        grade_VR=grade_VR,
    )
    return PoolRanks(view, language, queries_V, ranks)
