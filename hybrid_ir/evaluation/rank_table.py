"""Holds the counts from which every measure follows, and reads the ranks of a pool off them.

Shapes: Q queries, R relevant passages of a query (short rows are filled), K those of one pool, M
relevant passages that are not in the corpus, V queries of a pool, L languages, A relevant passages
of all queries, P = 2 pools in which a relevant passage is counted.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hybrid_ir.evaluation.metrics import ABOVE_OF_FILLING, OUTSIDE_POOL, Ranks
from hybrid_ir.types import Benchmark

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
    # Q, M float64, gains of relevant passages that are not in the corpus and count as never found,
    # filled with 0; None for none
    missing_grades: np.ndarray | None = None
    missing_languages: np.ndarray | None = None  # Q, M, their languages, -1 for an unknown one
    # Q, language of the passage that is the query itself and in none of its pools, -1 for none
    own_languages: np.ndarray | None = None


@dataclass(frozen=True)
class PoolRanks:
    """The queries of one view that have something relevant in one pool, and the ranks of that."""

    view: str
    passage_language: int  # MULTILINGUAL for the pool of all languages
    queries_V: np.ndarray  # rows of the benchmark
    ranks: Ranks


def add_judgements(table: RankTable, benchmark: Benchmark, count_missing: bool) -> RankTable:
    """Returns a table with what a benchmark says of its passages besides what was counted.

    Args:
        table: the counts of the benchmark.
        benchmark: of the table.
        count_missing: whether relevant passages that are not in the corpus count as never found.
    """
    grades = benchmark.grades
    missing_grades = None
    missing_languages = None
    if count_missing and benchmark.count_missing_passages():
        missing_grades = pad_rows(benchmark.missing_grades, float, filling=0)
        missing_languages = pad_rows(benchmark.list_missing_languages())
        if grades is None:
            grades = [np.ones(len(rows)) for rows in benchmark.relevant]
    own_languages = None
    if benchmark.own_passages is not None:
        rows_Q = np.asarray(benchmark.own_passages)
        own_languages = np.full(len(rows_Q), -1)
        has_own_Q = rows_Q >= 0
        own_languages[has_own_Q] = np.asarray(benchmark.passage_languages)[rows_Q[has_own_Q]]
    return replace(
        table,
        grades=None if grades is None else pad_rows(grades, float),
        missing_grades=missing_grades,
        missing_languages=missing_languages,
        own_languages=own_languages,
    )


def drop_low_grades(table: RankTable, least_grade: float) -> RankTable:
    """Returns a table in which passages of a lower grade are not relevant, but in the pools."""
    is_low_QR = np.zeros(table.relevant.shape, bool)
    if table.grades is not None:
        is_low_QR = (table.relevant >= 0) & (table.grades < least_grade)
    missing_grades = table.missing_grades
    if missing_grades is not None:
        missing_grades = np.where(missing_grades < least_grade, 0.0, missing_grades)
    return replace(
        table,
        relevant=np.where(is_low_QR, -1, table.relevant),
        relevant_languages=np.where(is_low_QR, -1, table.relevant_languages),
        scores=np.where(is_low_QR, np.inf, table.scores),
        grades=None if table.grades is None else np.where(is_low_QR, -1.0, table.grades),
        missing_grades=missing_grades,
    )


def list_relevant_rows(relevant_QR: np.ndarray) -> np.ndarray:
    """Lists the distinct relevant passages in the order in which their vectors are wanted."""
    return np.unique(relevant_QR[relevant_QR >= 0])


def pad_rows(
    relevant: Sequence[np.ndarray], dtype: type = np.int64, filling: int = -1
) -> np.ndarray:
    """Joins the relevant rows of all queries, or their grades: an array (Q, R), short rows filled.

    Args:
        relevant: an array for each query.
        dtype: of the result.
        filling: what stands behind a row that is shorter than the longest one.
    """
    longest = max((len(rows) for rows in relevant), default=1)
    relevant_QR = np.full((len(relevant), max(longest, 1)), filling, dtype)
    for query, rows in enumerate(relevant):
        relevant_QR[query, : len(rows)] = rows
    return relevant_QR


def iterate_pools(table: RankTable) -> Iterator[PoolRanks]:
    """Yields the ranks in every pool, in the order of views and languages."""
    query_languages_Q = np.asarray(table.query_languages)
    pairs_of_language = _sort_by_language(table)
    for language, pairs in enumerate(pairs_of_language):
        place_QK, present_QK = _arrange_places(*pairs, len(query_languages_Q))
        is_asked_Q = query_languages_Q == language
        yield select_ranks(table, "mono", language, is_asked_Q, place_QK, present_QK)
    for language, pairs in enumerate(pairs_of_language):
        place_QK, present_QK = _arrange_places(*pairs, len(query_languages_Q))
        is_asked_Q = query_languages_Q != language
        yield select_ranks(table, "cross", language, is_asked_Q, place_QK, present_QK)
    present_QR = table.relevant_languages >= 0
    place_QR = np.broadcast_to(np.arange(present_QR.shape[1]), present_QR.shape)
    every_query_Q = np.ones(len(query_languages_Q), bool)
    yield select_ranks(table, "multi", MULTILINGUAL, every_query_Q, place_QR, present_QR)


def _sort_by_language(table: RankTable) -> list[tuple[np.ndarray, np.ndarray]]:
    """Finds the query and the place of each relevant passage, for every language, in their order.

    With this, a pool of one language costs as much as it has relevant passages, not as the table
    has: all pools of a hundred languages together cost as much as the pool of all languages.
    """
    languages_QR = table.relevant_languages
    order_A = np.argsort(languages_QR.ravel().astype(np.int16), kind="stable")
    sorted_languages_A = languages_QR.ravel()[order_A]
    edges = np.searchsorted(sorted_languages_A, np.arange(len(table.languages) + 1)).tolist()
    pairs = []
    for start, end in itertools.pairwise(edges):
        pairs.append(np.divmod(order_A[start:end], languages_QR.shape[1]))
    return pairs


def _arrange_places(
    query_A: np.ndarray, place_A: np.ndarray, queries: int
) -> tuple[np.ndarray, np.ndarray]:
    """Arranges places of relevant passages by query.

    Args:
        query_A: the query of each relevant passage, ascending.
        place_A: its place in the row of the query.
        queries: number of queries.

    Returns:
        The places of each query (Q, K), 0 behind a short row, and which of them are places.
    """
    count_Q = np.bincount(query_A, minlength=queries)
    first_Q = np.cumsum(count_Q) - count_Q
    place_QK = np.zeros((queries, max(count_Q.max(initial=0), 1)), np.int64)
    place_QK[query_A, np.arange(len(query_A)) - first_Q[query_A]] = place_A
    return place_QK, np.arange(place_QK.shape[1]) < count_Q[:, None]


def select_ranks(
    table: RankTable,
    view: str,
    language: int,
    is_asked_Q: np.ndarray,
    place_QK: np.ndarray,
    present_QK: np.ndarray,
) -> PoolRanks:
    """Selects the ranks of the relevant passages in one pool, sorted for each query.

    Args:
        table: the counts.
        view: to which the pool belongs.
        language: of the pool, or MULTILINGUAL.
        is_asked_Q: which queries ask this pool; those with nothing relevant in it are left out,
            unless a relevant passage that is not in the corpus counts as never found in it.
        place_QK: where the relevant passages of the pool stand in the rows of the table.
        present_QK: which of these places there are.
    """
    pool = ALL_LANGUAGES if language == MULTILINGUAL else OWN_LANGUAGE
    is_measured_Q = is_asked_Q & present_QK.any(1)
    has_missing = table.missing_grades is not None
    if has_missing:
        is_missing_QM = table.missing_grades > 0
        if language != MULTILINGUAL:  # of an unknown language nobody knows the pool
            is_missing_QM &= table.missing_languages == language
        is_measured_Q |= is_asked_Q & is_missing_QM.any(1)
    queries_V = is_measured_Q.nonzero()[0]
    present_VR = present_QK[queries_V]
    cells = (queries_V[:, None], place_QK[queries_V])
    above_VR = table.above[*cells, pool].astype(np.int64)
    above_VR = np.where(present_VR, above_VR, ABOVE_OF_FILLING)
    tied_VR = table.tied[*cells, pool].astype(np.int64)
    query_language_V1 = np.asarray(table.query_languages)[queries_V, None]
    same_language_VR = table.relevant_languages[cells] == query_language_V1
    grade_VR = None if table.grades is None else table.grades[cells]
    if has_missing:
        missing_VM = table.missing_grades[queries_V]
        is_missing_VM = is_missing_QM[queries_V]
        same_language_VM = table.missing_languages[queries_V] == query_language_V1
        above_VM = np.where(is_missing_VM, OUTSIDE_POOL, ABOVE_OF_FILLING)
        present_VR = np.concatenate([present_VR, is_missing_VM], axis=1)
        above_VR = np.concatenate([above_VR, above_VM], axis=1)
        tied_VR = np.concatenate([tied_VR, np.zeros_like(above_VM)], axis=1)
        same_language_VR = np.concatenate([same_language_VR, same_language_VM], axis=1)
        grade_VR = np.concatenate([grade_VR, missing_VM], axis=1)
    count_V = present_VR.sum(1)
    order_VR = np.argsort(above_VR, axis=1, kind="stable")[:, : count_V.max(initial=1)]
    if grade_VR is not None:
        grade_VR = np.take_along_axis(grade_VR, order_VR, 1)
    ranks = Ranks(
        above_VR=np.take_along_axis(above_VR, order_VR, 1),
        tied_VR=np.take_along_axis(tied_VR, order_VR, 1),
        same_language_VR=np.take_along_axis(same_language_VR, order_VR, 1),
        count_V=count_V,
        pool_size=_count_pool(table, language, queries_V),
        grade_VR=grade_VR,
    )
    return PoolRanks(view, language, queries_V, ranks)


def _count_pool(table: RankTable, language: int, queries_V: np.ndarray) -> int | np.ndarray:
    """Counts the passages of a pool, for each query (V) where some leave out their own passage."""
    if language == MULTILINGUAL:
        pool_size = int(table.pool_sizes.sum())
    else:
        pool_size = int(table.pool_sizes[language])
    if table.own_languages is None:
        return pool_size
    own_language_V = table.own_languages[queries_V]
    leaves_out_V = own_language_V >= 0
    if language != MULTILINGUAL:
        leaves_out_V = own_language_V == language
    return pool_size - leaves_out_V.astype(np.int64)
