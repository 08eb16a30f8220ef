"""Measures language bias of the multilingual ranking, and the geometry of the vectors behind it.

Shapes: Q queries, R relevant passages of a query (short rows are filled), L languages, P relevant
passages of all queries, M passages of a sample, N passages of a batch, D width of the vectors.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from scipy import stats

from hybrid_ir.evaluation.bias_rows import OWN_LANGUAGE_EXPECTED
from hybrid_ir.evaluation.metrics import ABOVE_OF_FILLING, Ranks, average_precision
from hybrid_ir.evaluation.rank_table import ALL_LANGUAGES, RankTable
from hybrid_ir.evaluation.selection import hash_id
from hybrid_ir.evaluation.sorted_rows import NO_GROUP, count_higher_and_equal
from hybrid_ir.evaluation.top_k import TopK

SAMPLE_SIZE = 1000  # passages whose neighbours are looked for
NEIGHBOURS = 10


def compute_language_bias(table: RankTable) -> dict[str, Any]:
    """Computes the measures of language bias that follow from ranks, as plain values.

    What is undefined is NaN.
    """
    cells_LL = compute_one_target(table)
    return {
        OWN_LANGUAGE_EXPECTED: compute_expected_own_language(table),
        "one_target": {"cells": cells_LL.tolist(), "diagonal_gap": compute_diagonal_gap(cells_LL)},
        "friedman": run_friedman_test(table),
        "peer": compute_peer(table),
    }


def compute_expected_own_language(table: RankTable) -> float:
    """Computes how often the best answer is in the query's language if that decides nothing.

    Any answer of a query is then as likely to be the best one, so that it is the share of them that
    are in the query's language: averaged as `lpr@1` is, over the queries of each language for which
    that is defined, and over the languages. NaN where it is defined for none.
    """
    present_QR = table.relevant_languages >= 0
    query_languages_Q = np.asarray(table.query_languages)
    own_Q = (table.relevant_languages == query_languages_Q[:, None]).sum(1)
    answers_Q = present_QR.sum(1)
    is_defined_Q = (own_Q > 0) & (own_Q < answers_Q)
    share_Q = own_Q / np.maximum(answers_Q, 1)
    means = []
    for language in np.unique(query_languages_Q[is_defined_Q]):
        means.append(share_Q[is_defined_Q & (query_languages_Q == language)].mean())
    return float(np.mean(means)) if means else float("nan")


def compute_expected_ranks(table: RankTable) -> np.ndarray:
    """Computes the rank of each relevant passage in the pool of all languages (Q, R).

    A passage that ties has the mean rank of its tie group. NaN fills short rows.
    """
    above_QR = table.above[:, :, ALL_LANGUAGES]
    tied_QR = table.tied[:, :, ALL_LANGUAGES]
    ranks_QR = 1 + above_QR + tied_QR / 2
    return np.where(table.relevant_languages >= 0, ranks_QR, np.nan)


def compute_one_target(table: RankTable) -> np.ndarray:
    """Averages 1 / rank of each relevant passage alone, by query and passage language (L, L).

    The other relevant passages leave the pool: this is what would be found if only this language
    had the answer. A model without bias has flat rows. NaN where there are no relevant passages.
    """
    present_QR = table.relevant_languages >= 0
    groups_QR = np.where(present_QR, 0, NO_GROUP)
    higher_QR, equal_QR = count_higher_and_equal(
        torch.from_numpy(np.ascontiguousarray(table.scores)), torch.from_numpy(groups_QR)
    )
    above_QR = table.above[:, :, ALL_LANGUAGES].astype(np.int64) - higher_QR.numpy()
    tied_QR = table.tied[:, :, ALL_LANGUAGES].astype(np.int64) - equal_QR.numpy()
    query_P, place_P = present_QR.nonzero()
    ranks = Ranks(
        above_VR=above_QR[query_P, place_P, None],
        tied_VR=tied_QR[query_P, place_P, None],
        same_language_VR=np.ones((len(query_P), 1), bool),
        count_V=np.ones(len(query_P), int),
        pool_size=ABOVE_OF_FILLING,  # average precision does not ask for it
    )
    return average_cells(
        np.asarray(table.query_languages)[query_P],
        table.relevant_languages[query_P, place_P],
        average_precision(ranks),
        len(table.languages),
    )


def average_cells(
    rows_P: np.ndarray, columns_P: np.ndarray, values_P: np.ndarray, size: int
) -> np.ndarray:
    """Averages values by row and column of a square matrix; NaN in a cell without values."""
    cells_P = rows_P * size + columns_P
    sums = np.bincount(cells_P, values_P, size * size)
    counts = np.bincount(cells_P, minlength=size * size)
    means = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    return means.reshape(size, size)


def compute_diagonal_gap(cells_LL: np.ndarray) -> float:
    """Computes the mean of the diagonal minus the mean of the rest; NaN where either is empty."""
    diagonal = np.diag(cells_LL)
    rest = cells_LL[~np.eye(len(cells_LL), dtype=bool)]
    if np.isnan(diagonal).all() or np.isnan(rest).all():
        return float("nan")
    return float(np.nanmean(diagonal) - np.nanmean(rest))


def find_best_ranks(table: RankTable) -> np.ndarray:
    """Finds the rank of the best relevant passage in each language (Q, L), NaN without one."""
    ranks_QR = compute_expected_ranks(table)
    query_A, place_A = (table.relevant_languages >= 0).nonzero()
    best_QL = np.full((len(ranks_QR), len(table.languages)), np.inf)
    cells = (query_A, table.relevant_languages[query_A, place_A])
    np.minimum.at(best_QL, cells, ranks_QR[query_A, place_A])
    return np.where(np.isinf(best_QL), np.nan, best_QL)


def run_friedman_test(table: RankTable) -> dict[str, Any]:
    """Tests whether the language of a passage decides its place among its translations.

    This is a Friedman test over the queries of each language, with the language of the best
    relevant passage as factor. Only queries with relevant passages in all languages count.

    Returns:
        For each query language the statistic, p, Kendall's W (0: no preference, 1: the same order
        for every query) and the mean place of each passage language (1 is first), and the mean of
        W. Where no query counts, the reason stands instead.
    """
    languages = table.languages
    best_QL = find_best_ranks(table)
    has_all_languages_Q = ~np.isnan(best_QL).any(1)
    if len(languages) < 3 or not has_all_languages_Q.any():
        return {"reason": "needs queries with relevant passages in all of at least three languages"}
    by_query_language = {}
    for code, language in enumerate(languages):
        is_asked_Q = np.asarray(table.query_languages) == code
        ranks_QL = best_QL[has_all_languages_Q & is_asked_Q]
        if len(ranks_QL) >= 2:
            by_query_language[language] = _test_passage_languages(ranks_QL, languages)
    values = [test["kendalls_w"] for test in by_query_language.values()]
    return {
        "queries": int(has_all_languages_Q.sum()),
        "queries_left_out": int((~has_all_languages_Q).sum()),
        "by_query_language": by_query_language,
        "kendalls_w": float(np.mean(values)) if values else float("nan"),
    }


def _test_passage_languages(ranks_QL: np.ndarray, languages: Sequence[str]) -> dict[str, Any]:
    """Runs the Friedman test of the queries of one language."""
    places_QL = stats.rankdata(ranks_QL, axis=1)
    all_tie = (places_QL == places_QL[:, :1]).all()
    if all_tie:
        statistic = 0.0
        p = 1.0
    else:
        statistic, p = stats.friedmanchisquare(*ranks_QL.T)
    return {
        "queries": len(ranks_QL),
        "statistic": float(statistic),
        "p": float(p),
        "kendalls_w": float(statistic / (len(ranks_QL) * (len(languages) - 1))),
        "mean_place": dict(zip(languages, places_QL.mean(0).tolist(), strict=True)),
    }


def compute_peer(table: RankTable) -> dict[str, Any]:
    """Computes the Probability of Equal Expected Rank (PEER, 2405.00978).

    It is the p of a Kruskal-Wallis test of ranks by language, averaged over queries, with one
    relevance level, as its authors compute it: H = (n - 1) times the sum of squares between
    languages over the total one, of the ranks in the whole pool. With one relevant passage per
    language, H does not depend on the ranks at all: such queries are refused, and counted.
    """
    ranks_QR = compute_expected_ranks(table)
    values = []
    refused = 0
    for ranks_R, languages_R in zip(ranks_QR, table.relevant_languages, strict=True):
        is_present_R = languages_R >= 0
        sizes_L = np.bincount(languages_R[is_present_R], minlength=len(table.languages))
        languages_with_answers = int((sizes_L > 0).sum())
        if languages_with_answers < 2 or is_present_R.sum() <= languages_with_answers:
            refused += 1
            continue
        values.append(
            compute_equal_rank_probability(ranks_R[is_present_R], languages_R[is_present_R])
        )
    if not values:
        return {
            "reason": "no query has two relevant passages in one of at least two languages: PEER "
            "would be a constant"
        }
    return {"peer": float(np.mean(values)), "queries": len(values), "queries_refused": refused}


def compute_equal_rank_probability(ranks_N: np.ndarray, groups_N: np.ndarray) -> float:
    """Computes p of a Kruskal-Wallis test by its chi-square approximation; 1 for equal ranks."""
    total = np.square(ranks_N - ranks_N.mean()).sum()
    if total == 0:
        return 1.0
    groups = np.unique(groups_N)
    between = 0
    for group in groups:
        is_in_group = groups_N == group
        between += is_in_group.sum() * (ranks_N[is_in_group].mean() - ranks_N.mean()) ** 2
    return float(stats.chi2.sf((len(ranks_N) - 1) * between / total, len(groups) - 1))


def compute_alignment(table: RankTable) -> dict[str, float]:
    """Averages the squared distance of queries and their relevant passages, as unit vectors.

    This is alignment with alpha 2 (Wang and Isola 2020, equation 1), of pairs in one language, of
    pairs in two, and of all pairs; NaN where there are none.
    """
    present_QR = table.relevant_languages >= 0
    query_language_Q1 = np.asarray(table.query_languages)[:, None]
    same_language_QR = table.relevant_languages == query_language_Q1
    distance_QR = 2 - 2 * table.scores
    groups = {
        "same_language": present_QR & same_language_QR,
        "other_language": present_QR & ~same_language_QR,
        "all": present_QR,
    }
    alignment = {}
    for name, is_in_group_QR in groups.items():
        distances = distance_QR[is_in_group_QR]
        alignment[name] = float(distances.mean()) if len(distances) else float("nan")
    return alignment


def compute_uniformity(vectors_MD: torch.Tensor) -> float:
    """Computes the log of the mean of exp(-2 squared distance) over pairs of different vectors.

    This is uniformity with t 2 (Wang and Isola 2020, equation 2); NaN for fewer than two vectors.
    """
    if len(vectors_MD) < 2:
        return float("nan")
    distances = torch.pdist(vectors_MD.double())
    return float(distances.square().mul(-2).exp().mean().log())


def sample_rows(
    rows: np.ndarray, passage_ids: Sequence[str], size: int = SAMPLE_SIZE
) -> np.ndarray:
    """Chooses passages by a hash of their ids: the same ones in any order of the corpus.

    Args:
        rows: of the corpus, to choose from.
        passage_ids: of the whole corpus.
        size: how many to choose at most.

    Returns:
        The chosen rows, ascending.
    """

    def hash_passage(place: int) -> tuple[int, str]:
        return hash_id(passage_ids[int(rows[place])])

    places = sorted(range(len(rows)), key=hash_passage)[:size]
    return np.sort(rows[places])


class NeighbourLanguages:
    """The nearest passages of a sample of passages, found while the corpus streams by.

    Args:
        rows_M: rows of the sample in the corpus.
        vectors_MD: their vectors, of length 1.
        languages_M: their languages.
    """

    def __init__(self, rows_M: np.ndarray, vectors_MD: torch.Tensor, languages_M: np.ndarray):
        self.vectors_MD = vectors_MD.double()
        self.languages_M = languages_M
        self.top = TopK(len(rows_M), NEIGHBOURS, left_out_Q=rows_M)

    def add(self, rows_N: np.ndarray, vectors_ND: torch.Tensor, languages_N: np.ndarray) -> None:
        """Takes in some passages of the corpus."""
        for language in np.unique(languages_N):
            is_of_language = languages_N == language
            vectors = vectors_ND[torch.from_numpy(is_of_language).to(vectors_ND.device)]
            scores = self.vectors_MD @ vectors.double().T
            rows = torch.from_numpy(rows_N[is_of_language]).to(vectors_ND.device)
            self.top.take(0, scores, rows, int(language))

    def compute_same_language_share(self) -> float:
        """Averages over the sample the share of the nearest passages that are in its language."""
        neighbours_MK = self.top.languages_QK.numpy()
        if len(neighbours_MK) == 0:
            return float("nan")
        is_kept_MK = neighbours_MK >= 0
        is_same_MK = (neighbours_MK == self.languages_M[:, None]) & is_kept_MK
        return float(np.mean(is_same_MK.sum(1) / np.maximum(is_kept_MK.sum(1), 1)))
