"""Measures: with ties the average over every order of the tied passages, else the definitions."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, ndcg_score

from hybrid_ir.evaluation.metrics import Ranks, compute_metrics

METRICS = (
    "map",
    "recall@1",
    "recall@3",
    "ndcg@1",
    "ndcg@4",
    "mrr@1",
    "mrr@3",
    "mrr@10",
    "rank_distance",
    "rank_distance_excess",
    "rank_distance_normalised",
    "max_rank",
    "complete@3",
    "complete@6",
    "tlr@2",
    "lpr@1",
)


@dataclass
class Pool:
    """The pool of one query: a value for each passage."""

    scores: list[int]
    is_relevant: list[bool]
    is_own_language: list[bool]


def rank_pool(pool: Pool, grades: list[int] | None = None) -> Ranks:
    """The ranks of one query, its relevant passages in the order of their scores."""
    scores = np.array(pool.scores)
    rows = np.flatnonzero(pool.is_relevant)
    rows = rows[np.argsort(-scores[rows], kind="stable")]
    above = [(scores > scores[row]).sum() for row in rows]
    tied = [(scores == scores[row]).sum() - 1 for row in rows]
    return Ranks(
        above_VR=np.array([above]),
        tied_VR=np.array([tied]),
        same_language_VR=np.array(pool.is_own_language)[rows][None],
        count_V=np.array([len(rows)]),
        pool_size=len(scores),
        grade_VR=None if grades is None else np.array(grades, float)[rows][None],
    )


def compute_textbook_values(order: list[int], pool: Pool) -> dict[str, float]:
    """The values of METRICS for one strict ranking of a pool, by their definitions."""
    hits = np.array([pool.is_relevant[row] for row in order])
    ranks = np.flatnonzero(hits) + 1
    is_own = np.array([pool.is_own_language[row] for row in order if pool.is_relevant[row]])
    discounts = np.log2(np.arange(len(order)) + 2)
    gain = hits / discounts
    ideal = np.sort(hits)[::-1] / discounts
    distance = ranks.max() - ranks.min() if len(ranks) > 1 else np.nan
    values = {
        "map": np.mean(np.arange(1, len(ranks) + 1) / ranks),
        "rank_distance": distance,
        "rank_distance_excess": distance - len(ranks) + 1,
        "rank_distance_normalised": distance / len(order),
        "max_rank": ranks.max(),
        "lpr@1": float(is_own[0]) if is_own.any() and not is_own.all() else np.nan,
        "tlr@2": (ranks[~is_own] <= 2).mean() if (~is_own).any() else np.nan,
    }
    for k in (1, 3):
        values[f"recall@{k}"] = (ranks <= k).mean()
    for k in (1, 4):
        values[f"ndcg@{k}"] = gain[:k].sum() / ideal[:k].sum()
    for k in (1, 3, 10):
        values[f"mrr@{k}"] = 1 / ranks[0] if ranks[0] <= k else 0
    for k in (3, 6):
        values[f"complete@{k}"] = float(ranks.max() <= k)
    return values


def iterate_orders(scores: list[int]) -> Iterator[list[int]]:
    """Every ranking of the pool that the scores allow."""
    groups = []
    for level in sorted(set(scores), reverse=True):
        tied_rows = [row for row, score in enumerate(scores) if score == level]
        groups.append(permutations(tied_rows))
    for arrangement in product(*groups):
        yield [int(row) for row in np.concatenate(arrangement)]


@st.composite
def pools(draw) -> Pool:
    size = draw(st.integers(1, 6))
    scores = draw(st.lists(st.integers(0, 3), min_size=size, max_size=size))
    is_relevant = draw(st.lists(st.booleans(), min_size=size, max_size=size))
    is_relevant[draw(st.integers(0, size - 1))] = True
    is_own_language = draw(st.lists(st.booleans(), min_size=size, max_size=size))
    return Pool(scores, is_relevant, is_own_language)


@settings(max_examples=150, deadline=None)
@given(pools())
def test_ties_get_the_average_over_all_orders(pool):
    values = compute_metrics(rank_pool(pool), METRICS)
    orders = iterate_orders(pool.scores)
    textbook_values = [compute_textbook_values(order, pool) for order in orders]
    for name in METRICS:
        expected = np.mean([each[name] for each in textbook_values])
        np.testing.assert_allclose(values[name], [expected], rtol=1e-12, atol=1e-13, err_msg=name)


@settings(max_examples=50, deadline=None)
@given(st.lists(pools(), min_size=2, max_size=5))
def test_queries_do_not_influence_each_other(several_pools):
    """Queries with different numbers of relevant passages have the values of each alone."""
    alone = [rank_pool(pool) for pool in several_pools]
    together = Ranks(
        above_VR=stack_rows([ranks.above_VR for ranks in alone], np.iinfo(np.int32).max),
        tied_VR=stack_rows([ranks.tied_VR for ranks in alone], 0),
        same_language_VR=stack_rows([ranks.same_language_VR for ranks in alone], 0),
        count_V=np.concatenate([ranks.count_V for ranks in alone]),
        pool_size=alone[0].pool_size,
    )
    # the pools differ in size, which this metric depends on
    names = [name for name in METRICS if name != "rank_distance_normalised"]
    for name, values in compute_metrics(together, names).items():
        expected = [compute_metrics(ranks, [name])[name][0] for ranks in alone]
        np.testing.assert_allclose(values, expected, rtol=1e-13, err_msg=name)


def stack_rows(rows: list[np.ndarray], filling: int) -> np.ndarray:
    """Rows (1, R) of different lengths as one array, the short ones filled."""
    width = max(row.shape[1] for row in rows)
    padded = []
    for row in rows:
        padding = (0, width - row.shape[1])
        padded.append(np.pad(row, ((0, 0), padding), constant_values=filling))
    return np.concatenate(padded)


def test_metrics_of_a_small_pool_by_hand():
    """The relevant passages have rank 2, and rank 3 or 4."""
    pool = Pool([5, 4, 3, 3], [False, True, False, True], [False, True, False, False])
    names = ["map", "rank_distance", "lpr@1", "tlr@3", "tie_rate", "complete@3"]
    values = compute_metrics(rank_pool(pool), [*names, "max_rank_normalised"])
    assert values["map"][0] == pytest.approx((1 / 2 + (2 / 3 + 2 / 4) / 2) / 2)
    assert values["rank_distance"][0] == 1.5
    assert values["lpr@1"][0] == 1
    assert values["tlr@3"][0] == 0.5
    assert values["tie_rate"][0] == 0.5
    assert values["complete@3"][0] == 0.5
    assert values["max_rank_normalised"][0] == pytest.approx(100 * (2 - np.log2(3.5)))


@pytest.mark.parametrize(
    ("ranks", "pool_size", "expected"),
    [
        ([1, 2], 8, 100),
        ([3, 4], 8, 50),
        ([1, 8], 8, 0),
        ([4], 16, 50),
        ([1, 2, 6], 16, 100 * (4 - np.log2(6)) / (4 - np.log2(3))),
        ([1], 2, 100),
        ([2], 2, 0),
        ([1, 2], 3, 100),
        ([1, 2, 3], 3, np.nan),
        ([1], 1, np.nan),
    ],
)
def test_the_normalised_last_rank_by_hand(ranks, pool_size, expected):
    """100 where the relevant passages come first, 0 where one is last, undefined where both are."""
    scores = [-rank for rank in range(1, pool_size + 1)]
    is_relevant = [rank in ranks for rank in range(1, pool_size + 1)]
    ranks = rank_pool(Pool(scores, is_relevant, is_relevant))
    values = compute_metrics(ranks, ["max_rank_normalised"])
    assert values["max_rank_normalised"] == pytest.approx([expected], nan_ok=True)


@pytest.mark.parametrize("size", [10, 10_000, 10_000_000])
def test_large_pools_and_large_ties_stay_exact(size):
    """The average precision of one relevant passage in a tie is the mean of 1 / rank."""
    for above, tied in ((0, size - 1), (size // 2, 1), (size - 2, 1)):
        ranks = Ranks(
            above_VR=np.array([[above]]),
            tied_VR=np.array([[tied]]),
            same_language_VR=np.array([[True]]),
            count_V=np.array([1]),
            pool_size=size,
        )
        expected = (1 / np.arange(above + 1, above + tied + 2)).mean()
        np.testing.assert_allclose(compute_metrics(ranks, ["map"])["map"], [expected], rtol=1e-7)


def test_unknown_metrics_are_all_named():
    ranks = rank_pool(Pool([1], [True], [True]))
    with pytest.raises(ValueError, match=r"\['mpa', 'ndcg', 'recall@0', 'map@3'\].*choose from"):
        compute_metrics(ranks, ["map", "mpa", "ndcg", "recall@0", "map@3"])


@settings(max_examples=100, deadline=None)
@given(pools(), st.lists(st.integers(1, 4), min_size=6, max_size=6), st.integers(1, 7))
def test_graded_gains_of_tied_passages_get_the_average_over_all_orders(pool, grades, k):
    gains = np.where(pool.is_relevant, grades[: len(pool.scores)], 0)
    discounts = 1 / np.log2(np.arange(len(gains)) + 2)
    ideal = (np.sort(gains)[::-1] * discounts)[:k].sum()
    values = []
    for order in iterate_orders(pool.scores):
        values.append((gains[order] * discounts)[:k].sum() / ideal)
    metric = f"ndcg@{k}"
    value = compute_metrics(rank_pool(pool, gains.tolist()), [metric])[metric]
    np.testing.assert_allclose(value, [np.mean(values)], rtol=1e-12)


@given(st.integers(0, 10**6), st.integers(2, 40))
@settings(max_examples=30, deadline=None)
def test_scikit_learn_agrees_on_untied_scores(seed, size):
    rng = np.random.default_rng(seed)
    scores = rng.permutation(size)
    is_relevant = rng.random(size) < 0.4
    is_relevant[rng.integers(size)] = True
    grades = is_relevant * rng.integers(1, 4, size)
    pool = Pool(scores.tolist(), is_relevant.tolist(), [True] * size)
    values = compute_metrics(rank_pool(pool), ["map", "ndcg@5"])
    graded = compute_metrics(rank_pool(pool, grades.tolist()), ["ndcg@5"])
    expected_ap = average_precision_score(is_relevant, scores)
    assert values["map"][0] == pytest.approx(expected_ap)
    expected_ndcg = ndcg_score(is_relevant[None].astype(int), scores[None], k=5)
    assert values["ndcg@5"][0] == pytest.approx(expected_ndcg)
    expected_graded = ndcg_score(grades[None], scores[None], k=5)
    assert graded["ndcg@5"][0] == pytest.approx(expected_graded)
