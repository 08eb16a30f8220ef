"""The equivalence test on simulated latencies: its size, its power, and what must not move it."""

# R rounds, U units, G clusters

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from hybrid_ir.latency.statistics import compare_latencies, decide, resample_clusters

ROUNDS, QUESTIONS, LANGUAGES = 3, 80, 4
CLUSTERS_U = np.tile(np.arange(QUESTIONS), LANGUAGES)
TRIALS = 120


def simulated(
    ratio: float, seed: int, noise: float = 0.08, question_noise: float = 0.15
) -> tuple[np.ndarray, np.ndarray]:
    """Latencies (R, U) of two checkpoints; the second is about `ratio` times the first."""
    rng = np.random.default_rng([7, seed])
    length_U = np.exp(rng.normal(0, 0.5, len(CLUSTERS_U)))
    effect_G = np.exp(rng.normal(np.log(ratio), question_noise, QUESTIONS))
    first, second = (
        np.exp(rng.normal(16, noise, (ROUNDS, len(CLUSTERS_U)))) * length_U for _ in range(2)
    )
    return first, second * effect_G[CLUSTERS_U]


def share_called(verdicts: set[str], ratio: float, **choices) -> float:
    return np.mean(
        [
            compare_latencies(*simulated(ratio, seed, **choices), CLUSTERS_U, resamples=300).verdict
            in verdicts
            for seed in range(TRIALS)
        ]
    )


@pytest.mark.parametrize("ratio", [1.05, 1 / 1.05])
def test_at_the_edge_of_the_margin_it_calls_equivalent_once_in_twenty(ratio):
    """The effect varies by question: units without clusters would pass as equal far too often."""
    share = share_called({"equivalent", "slightly different but within the margin"}, ratio)
    assert (
        0.01 <= share <= 0.11
    )  # 5 %, with the limits of 120 trials and a little liberty of the percentile interval


def test_equal_checkpoints_are_found_equal():
    assert share_called({"equivalent"}, 1.0, question_noise=0.03) >= 0.8
    assert share_called({"different"}, 1.0, question_noise=0.03) == 0


def test_a_difference_beyond_the_margin_is_found():
    assert share_called({"different"}, 1.2) >= 0.95


def test_a_small_difference_is_told_from_none():
    assert (
        share_called({"slightly different but within the margin"}, 1.02, question_noise=0.02) >= 0.9
    )


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 999), drift=st.floats(0.1, 3))
def test_drift_that_hits_all_checkpoints_changes_nothing(seed, drift):
    """A machine slows down by the same factor for both checkpoints of a visit."""
    first_RU, second_RU = simulated(1.03, seed)
    drift_U = np.exp(np.linspace(0, drift, len(CLUSTERS_U)))
    plain, drifted = (
        compare_latencies(first_RU * d, second_RU * d, CLUSTERS_U, resamples=50)
        for d in (1.0, drift_U)
    )
    assert (
        plain.verdict == drifted.verdict
        and plain.mean == pytest.approx(drifted.mean)
        and plain.p == drifted.p
    )


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 999))
def test_swapping_the_checkpoints_changes_only_the_sign(seed):
    first_RU, second_RU = simulated(1.04, seed)
    there, back = (
        compare_latencies(*pair, CLUSTERS_U, resamples=200)
        for pair in ((first_RU, second_RU), (second_RU, first_RU))
    )
    assert there.mean == pytest.approx(-back.mean) and there.mean_low == pytest.approx(
        -back.mean_high
    )
    assert there.verdict == back.verdict


def test_one_outlier_among_the_rounds_is_outvoted():
    first_RU, second_RU = simulated(1.0, 3)
    spoiled_RU = second_RU.copy()
    spoiled_RU[0] = (
        100 * spoiled_RU[0].max()
    )  # one round of three in which the machine did something else
    clean = compare_latencies(first_RU, second_RU, CLUSTERS_U)
    assert abs(compare_latencies(first_RU, spoiled_RU, CLUSTERS_U).mean - clean.mean) < 0.1


def test_the_value_is_the_log_ratio_of_medians():
    first_RU, second_RU = (
        np.array([[1.0, 10], [2, 20], [9, 90]]),
        np.array([[4.0, 10], [3, 50], [5, 40]]),
    )
    found = compare_latencies(first_RU, second_RU, np.arange(2))
    assert found.mean == pytest.approx(np.log([4 / 2, 40 / 20]).mean())
    assert found.verdict == "inconclusive" and found.p is None  # two questions say nothing


@pytest.mark.parametrize(("ratio", "margin"), [(1.03, 0.05), (1 / 1.03, 0.05), (1.08, 0.1)])
def test_interval_and_p_are_those_of_normal_theory_where_there_are_many_questions(ratio, margin):
    drawn_U = np.random.default_rng(11).normal(size=400)
    logs_U = np.log(ratio) + 0.25 * (drawn_U - drawn_U.mean()) / drawn_U.std()
    found = compare_latencies(
        np.ones((1, 400)), np.exp(logs_U)[None], np.arange(400), margin, resamples=20_000
    )
    error = 0.25 / 20
    ends = np.log(ratio) + error * stats.norm.ppf([0.05, 0.95])
    assert (found.mean_low, found.mean_high) == pytest.approx(ends, abs=error / 15)
    beyond = stats.norm.cdf((abs(np.log(ratio)) - np.log(1 + margin)) / error)
    assert (
        0.02 < beyond < 0.5
        and found.p == pytest.approx(beyond, abs=0.01)
        and found.questions == 400
    )
    around = np.quantile(
        logs_U, 0.5 + np.array([-1.645, 1.645]) / 40
    )  # of the median: a binomial number is below it
    assert (found.median_low, found.median_high) == pytest.approx(around, abs=error / 3)


def test_p_is_never_0_and_needs_ten_questions():
    same = np.ones((1, 10))
    assert compare_latencies(same, same, np.arange(10), resamples=99).p == 1 / 100
    assert compare_latencies(same, same, np.arange(10), resamples=99).verdict == "equivalent"
    few = compare_latencies(same, same, np.repeat(np.arange(9), [1] * 8 + [2]), resamples=99)
    assert few.p is None and few.verdict == "inconclusive" and few.questions == 9


@settings(max_examples=25, deadline=None)
@given(sizes=st.lists(st.integers(1, 5), min_size=1, max_size=8), seed=st.integers(0, 99))
def test_resamples_are_those_of_repeated_clusters(sizes, seed):
    """Against the plain way: draw clusters, join their values, take mean and lower median."""
    clusters_U = np.repeat(np.arange(len(sizes)), sizes)
    values_U = np.random.default_rng(seed).normal(size=len(clusters_U))
    means_B, medians_B = resample_clusters(values_U, clusters_U, 20, np.random.default_rng(seed))
    drawn_BG = np.random.default_rng(seed).multinomial(
        len(sizes), np.full(len(sizes), 1 / len(sizes)), 20
    )
    for drawn_G, mean, median in zip(drawn_BG, means_B, medians_B, strict=True):
        values = np.sort(np.repeat(values_U, drawn_G[clusters_U]))
        assert mean == pytest.approx(values.mean()) and median == values[(len(values) - 1) // 2]


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (-0.01, 0.02, "equivalent"),
        (0.01, 0.02, "slightly different but within the margin"),
        (0.06, 0.09, "different"),
        (-0.09, -0.06, "different"),
        (-0.06, 0.01, "inconclusive"),
        (0.02, 0.08, "inconclusive"),
        (-0.9, 0.9, "inconclusive"),
    ],
)
def test_verdicts(low, high, said):
    assert decide(low, high, 0.05) == said


def test_latencies_that_are_not_paired_are_refused():
    with pytest.raises(ValueError, match="are not paired"):
        compare_latencies(np.ones((3, 4)), np.ones((3, 5)), np.arange(4))
    with pytest.raises(ValueError, match="has no ratio"):
        compare_latencies(np.ones((3, 4)), np.zeros((3, 4)), np.arange(4))
