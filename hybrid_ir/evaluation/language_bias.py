"""Language bias in the multilingual ranking, as functions of a RankTable.

Shapes: Q queries, R relevant passages of a query (short rows are filled), L languages.
"""

from typing import Any

import numpy as np
from scipy import stats

from hybrid_ir.evaluation.metrics import ABOVE_OF_FILLING, Ranks, average_precision
from hybrid_ir.evaluation.rank_table import EVERY, RankTable


def compute_expected_ranks(table: RankTable) -> np.ndarray:
    """Rank of each relevant passage in the pool of all languages, the mean over its ties (Q, R); NaN where filled."""
    ranks_QR = 1 + table.above[:, :, EVERY] + table.tied[:, :, EVERY] / 2
    return np.where(table.relevant_languages >= 0, ranks_QR, np.nan)


def compute_one_target(table: RankTable) -> np.ndarray:
    """Mean 1 / rank by query language and answer language (L, L), each answer alone: its twins leave the pool.

    What would be found if only this language had the answer. A model without bias has a flat row. NaN where nothing is.
    """
    present_QR = table.relevant_languages >= 0
    above_QR, tied_QR = (
        counts[:, :, EVERY].astype(np.int64) for counts in (table.above, table.tied)
    )
    for other in range(present_QR.shape[1]):
        both_QR = present_QR & present_QR[:, other : other + 1]
        both_QR[:, other] = False
        above_QR -= (table.scores[:, other : other + 1] > table.scores) & both_QR
        tied_QR -= (table.scores[:, other : other + 1] == table.scores) & both_QR
    query_P, place_P = present_QR.nonzero()
    alone = Ranks(
        above_QR[query_P, place_P, None],
        tied_QR[query_P, place_P, None],
        np.ones((len(query_P), 1), bool),
        np.ones(len(query_P), int),
        ABOVE_OF_FILLING,
    )
    return average_cells(
        np.asarray(table.query_languages)[query_P],
        table.relevant_languages[query_P, place_P],
        average_precision(alone),
        len(table.languages),
    )


def average_cells(
    rows_P: np.ndarray, columns_P: np.ndarray, values_P: np.ndarray, size: int
) -> np.ndarray:
    """Mean of the values of each cell of a square matrix, NaN where there are none."""
    cells_P = rows_P * size + columns_P
    sums, counts = (np.bincount(cells_P, weights, size * size) for weights in (values_P, None))
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan).reshape(size, size)


def compute_diagonal_gap(cells_LL: np.ndarray) -> float:
    """Mean of the diagonal minus mean of the rest; NaN where either is empty."""
    diagonal, rest = np.diag(cells_LL), cells_LL[~np.eye(len(cells_LL), dtype=bool)]
    if np.isnan(diagonal).all() or np.isnan(rest).all():
        return float("nan")
    return float(np.nanmean(diagonal) - np.nanmean(rest))


def find_best_ranks(table: RankTable) -> np.ndarray:
    """Rank of the best relevant passage in each language (Q, L), NaN where a query has none."""
    ranks_QR = compute_expected_ranks(table)
    codes = range(len(table.languages))
    best_QL = np.stack(
        [np.where(table.relevant_languages == code, ranks_QR, np.inf).min(1) for code in codes], 1
    )
    return np.where(np.isinf(best_QL), np.nan, best_QL)


def run_friedman_test(table: RankTable) -> dict[str, Any]:
    """Does the language of a passage decide its place? A Friedman test over queries, passage language as factor.

    For each query language: statistic, p, Kendall's W (0 no preference, 1 the same order for every query) and the mean place
    of each passage language among the translations (1 is first). Only queries with relevant passages in all languages count
    (the best one of each); where there are none, the reason stands instead.
    """
    best_QL, languages = find_best_ranks(table), table.languages
    whole_Q = ~np.isnan(best_QL).any(1)
    if len(languages) < 3 or not whole_Q.any():
        return {"reason": "needs queries with relevant passages in all of at least three languages"}
    found: dict[str, Any] = {
        "queries": int(whole_Q.sum()),
        "queries_left_out": int((~whole_Q).sum()),
        "by_query_language": {},
    }
    for code, language in enumerate(languages):
        rows = best_QL[whole_Q & (np.asarray(table.query_languages) == code)]
        if len(rows) < 2:
            continue
        places = stats.rankdata(rows, axis=1)
        if (places == places[:, :1]).all():
            statistic, p = 0.0, 1.0  # everything ties
        else:
            statistic, p = stats.friedmanchisquare(*rows.T)
        found["by_query_language"][language] = {
            "queries": len(rows),
            "statistic": float(statistic),
            "p": float(p),
            "kendalls_w": float(statistic / (len(rows) * (len(languages) - 1))),
            "mean_place": dict(zip(languages, places.mean(0).tolist(), strict=True)),
        }
    values = [row["kendalls_w"] for row in found["by_query_language"].values()]
    return {**found, "kendalls_w": float(np.mean(values)) if values else float("nan")}


def compute_peer(table: RankTable) -> dict[str, Any]:
    """Probability of Equal Expected Rank: p of a Kruskal-Wallis test of ranks by language, mean over queries (2405.00978).

    As its authors compute it: H = (n - 1) SS between languages / SS total, of the ranks in the whole pool; one relevance level.
    With one relevant passage a language H does not depend on the ranks at all: such queries are refused, and counted.
    """
    ranks_QR, values, refused = compute_expected_ranks(table), [], 0
    for ranks_R, languages_R in zip(ranks_QR, table.relevant_languages, strict=True):
        there = languages_R >= 0
        sizes = np.bincount(languages_R[there], minlength=len(table.languages))
        groups = int((sizes > 0).sum())
        if groups < 2 or there.sum() <= groups:
            refused += 1
            continue
        values.append(compute_equal_rank_probability(ranks_R[there], languages_R[there]))
    if not values:
        return {
            "reason": "no query has two relevant passages in one of at least two languages: PEER would be a constant"
        }
    return {"peer": float(np.mean(values)), "queries": len(values), "queries_refused": refused}


def compute_equal_rank_probability(ranks_N: np.ndarray, groups_N: np.ndarray) -> float:
    """p of the chi-square approximation; 1 where all ranks are equal."""
    total = np.square(ranks_N - ranks_N.mean()).sum()
    if total == 0:
        return 1.0
    codes = np.unique(groups_N)
    between = sum(
        (groups_N == code).sum() * (ranks_N[groups_N == code].mean() - ranks_N.mean()) ** 2
        for code in codes
    )
    return float(stats.chi2.sf((len(ranks_N) - 1) * between / total, len(codes) - 1))


def compute_language_bias(table: RankTable) -> dict[str, Any]:
    """Everything above as plain values; undefined ones are NaN."""
    cells = compute_one_target(table)
    return {
        "one_target": {"cells": cells.tolist(), "diagonal_gap": compute_diagonal_gap(cells)},
        "friedman": run_friedman_test(table),
        "peer": compute_peer(table),
    }
