"""Measures: with ties, the average over every order of the tied passages; without, the plain definitions."""

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


def ranks_of(
    scores: list[int], relevant: list[bool], own: list[bool], grades: list[int] | None = None
) -> Ranks:
    """One query, its pool given by scores; relevant passages in order of rank."""
    scores, rows = np.array(scores), np.flatnonzero(relevant)
    rows = rows[np.argsort(-scores[rows], kind="stable")]
    above = [(scores > scores[row]).sum() for row in rows]
    tied = [(scores == scores[row]).sum() - 1 for row in rows]
    own_rows = np.array(own)[rows]
    graded = None if grades is None else np.array(grades, float)[rows][None]
    return Ranks(
        np.array([above]),
        np.array([tied]),
        np.array([own_rows]),
        np.array([len(rows)]),
        len(scores),
        graded,
    )


def plain(order: list[int], relevant: list[bool], own: list[bool]) -> dict[str, float]:
    """The textbook values of one strict ranking of the pool, for METRICS."""
    hits = np.array([relevant[row] for row in order])
    ranks = np.flatnonzero(hits) + 1
    mine = np.array([own[row] for row in order if relevant[row]])
    gain = hits / np.log2(np.arange(len(order)) + 2)
    ideal = np.sort(hits)[::-1] / np.log2(np.arange(len(order)) + 2)
    distance = ranks.max() - ranks.min() if len(ranks) > 1 else np.nan
    values = {
        "map": np.mean(np.arange(1, len(ranks) + 1) / ranks),
        "rank_distance": distance,
        "rank_distance_excess": distance - len(ranks) + 1,
        "rank_distance_normalised": distance / len(order),
        "max_rank": ranks.max(),
        "lpr@1": float(mine[0]) if mine.any() and not mine.all() else np.nan,
        "tlr@2": (ranks[~mine] <= 2).mean() if (~mine).any() else np.nan,
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


def orders(scores: list[int]):
    """Every ranking of the pool that the scores allow."""
    levels = sorted(set(scores), reverse=True)
    groups = [[row for row, score in enumerate(scores) if score == level] for level in levels]
    for arrangement in product(*(permutations(group) for group in groups)):
        yield [row for group in arrangement for row in group]


@st.composite
def pools(draw):
    size = draw(st.integers(1, 6))
    column = lambda values: draw(st.lists(values, min_size=size, max_size=size))  # noqa: E731
    scores, relevant, own = column(st.integers(0, 3)), column(st.booleans()), column(st.booleans())
    relevant[draw(st.integers(0, size - 1))] = True
    return scores, relevant, own


@settings(max_examples=150, deadline=None)
@given(pools())
def test_ties_get_the_average_over_all_orders(pool):
    scores, relevant, own = pool
    values = compute_metrics(ranks_of(*pool), METRICS)
    every = [plain(order, relevant, own) for order in orders(scores)]
    for name in METRICS:
        expected = np.mean([one[name] for one in every])
        np.testing.assert_allclose(values[name], [expected], rtol=1e-12, atol=1e-13, err_msg=name)


@settings(max_examples=50, deadline=None)
@given(st.lists(pools(), min_size=2, max_size=5))
def test_queries_do_not_influence_each_other(several):
    """A batch of queries with different numbers of relevant passages gives the values of each query alone."""
    alone = [ranks_of(*pool) for pool in several]
    width = max(ranks.above_VR.shape[1] for ranks in alone)

    def rows(name: str, filling: int) -> np.ndarray:
        short = (getattr(ranks, name)[0] for ranks in alone)
        return np.stack(
            [np.pad(row, (0, width - len(row)), constant_values=filling) for row in short]
        )

    together = Ranks(
        rows("above_VR", np.iinfo(np.int32).max),
        rows("tied_VR", 0),
        rows("own_VR", 0),
        np.concatenate([ranks.count_V for ranks in alone]),
        alone[0].pool_size,
    )
    names = [
        name for name in METRICS if name != "rank_distance_normalised"
    ]  # the pools differ in size here
    for name, values in compute_metrics(together, names).items():
        expected = [compute_metrics(ranks, [name])[name][0] for ranks in alone]
        np.testing.assert_allclose(values, expected, rtol=1e-13, err_msg=name)


def test_by_hand():
    ranks = ranks_of(
        [5, 4, 3, 3], [False, True, False, True], [False, True, False, False]
    )  # ranks 2, and 3 or 4
    values = compute_metrics(
        ranks,
        ["map", "rank_distance", "lpr@1", "tlr@3", "tie_rate", "complete@3", "max_rank_normalised"],
    )
    assert values["map"][0] == pytest.approx((1 / 2 + (2 / 3 + 2 / 4) / 2) / 2)
    assert values["rank_distance"][0] == 1.5 and values["lpr@1"][0] == 1
    assert values["tlr@3"][0] == values["tie_rate"][0] == values["complete@3"][0] == 0.5
    assert values["max_rank_normalised"][0] == pytest.approx(100 * (2 - np.log2(3.5)))


@pytest.mark.parametrize(
    ("ranks", "pool", "expected"),
    [
        ([1, 2], 8, 100),
        ([3, 4], 8, 50),
        ([1, 8], 8, 0),
        ([4], 16, 50),
        ([1], 2, 100),
        ([2], 2, 0),
        ([1, 2], 3, 100),
        ([1, 2, 3], 3, np.nan),
        ([1], 1, np.nan),
    ],
)
def test_the_normalised_last_rank_by_hand(ranks, pool, expected):
    """In logarithms, 100 where the relevant passages come first and 0 where one is last; undefined where both are the same."""
    relevant = [rank in ranks for rank in range(1, pool + 1)]
    found = compute_metrics(
        ranks_of([-rank for rank in range(pool)], relevant, relevant), ["max_rank_normalised"]
    )
    assert found["max_rank_normalised"] == pytest.approx([expected], nan_ok=True)


@pytest.mark.parametrize("size", [10, 10_000, 10_000_000])
def test_large_pools_and_large_ties_stay_exact(size):
    """One relevant passage in a tie of n: AP is the mean of 1 / rank."""
    for above, tied in ((0, size - 1), (size // 2, 1), (size - 2, 1)):
        one = Ranks(
            np.array([[above]]), np.array([[tied]]), np.array([[True]]), np.array([1]), size
        )
        expected = (1 / np.arange(above + 1, above + tied + 2)).mean()
        np.testing.assert_allclose(compute_metrics(one, ["map"])["map"], [expected], rtol=1e-7)


def test_unknown_metrics_are_all_named():
    with pytest.raises(ValueError, match=r"\['mpa', 'ndcg', 'recall@0', 'map@3'\].*choose from"):
        compute_metrics(ranks_of([1], [True], [True]), ["map", "mpa", "ndcg", "recall@0", "map@3"])


@settings(max_examples=100, deadline=None)
@given(pools(), st.lists(st.integers(1, 4), min_size=6, max_size=6), st.integers(1, 7))
def test_graded_gains_of_tied_passages_get_the_average_over_all_orders(pool, grades, k):
    scores, relevant, own = pool
    gains = np.where(relevant, grades[: len(scores)], 0)
    discounts = 1 / np.log2(np.arange(len(scores)) + 2)
    ideal = (np.sort(gains)[::-1] * discounts)[:k].sum()
    every = [(gains[order] * discounts)[:k].sum() / ideal for order in orders(scores)]
    value = compute_metrics(ranks_of(scores, relevant, own, gains.tolist()), [f"ndcg@{k}"])[
        f"ndcg@{k}"
    ]
    np.testing.assert_allclose(value, [np.mean(every)], rtol=1e-12)


@given(st.integers(0, 10**6), st.integers(2, 40))
@settings(max_examples=30, deadline=None)
def test_scikit_learn_agrees_on_untied_scores(seed, size):
    rng = np.random.default_rng(seed)
    scores, relevant = rng.permutation(size), rng.random(size) < 0.4
    relevant[rng.integers(size)] = True
    values = compute_metrics(
        ranks_of(scores.tolist(), relevant.tolist(), [True] * size), ["map", "ndcg@5"]
    )
    assert values["map"][0] == pytest.approx(average_precision_score(relevant, scores))
    assert values["ndcg@5"][0] == pytest.approx(
        ndcg_score(relevant[None].astype(int), scores[None], k=5)
    )
    grades = relevant * rng.integers(1, 4, size)
    value = compute_metrics(
        ranks_of(scores.tolist(), relevant.tolist(), [True] * size, grades.tolist()), ["ndcg@5"]
    )["ndcg@5"]
    assert value[0] == pytest.approx(ndcg_score(grades[None], scores[None], k=5))
