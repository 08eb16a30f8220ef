"""The equivalence test on simulated latencies: its size, its power, and what must not move it."""

# R rounds, U units, G clusters (questions), B resamples

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from hybrid_ir.latency.statistics import compare_latencies, decide, resample_clusters

ROUNDS = 3
QUESTIONS = 80
LANGUAGES = 4
CLUSTERS_U = np.tile(np.arange(QUESTIONS), LANGUAGES)
TRIALS = 120
WITHIN_MARGIN = "slightly different but within the margin"
SEEDS = st.integers(0, 999)


def simulate_latencies(
    ratio: float, seed: int, noise: float = 0.08, question_noise: float = 0.15
) -> tuple[np.ndarray, np.ndarray]:
    """Draws latencies (R, U) of two checkpoints; the second is about `ratio` times the first."""
    rng = np.random.default_rng([7, seed])
    length_U = np.exp(rng.normal(0, 0.5, len(CLUSTERS_U)))
    effect_G = np.exp(rng.normal(np.log(ratio), question_noise, QUESTIONS))
    shape = (ROUNDS, len(CLUSTERS_U))
    first_RU = np.exp(rng.normal(16, noise, shape)) * length_U
    second_RU = np.exp(rng.normal(16, noise, shape)) * length_U
    return first_RU, second_RU * effect_G[CLUSTERS_U]


def measure_share(verdicts: set[str], ratio: float, **noise: float) -> float:
    """Returns the share of simulated comparisons that get one of the verdicts."""
    hits = 0
    for seed in range(TRIALS):
        first_RU, second_RU = simulate_latencies(ratio, seed, **noise)
        result = compare_latencies(first_RU, second_RU, CLUSTERS_U, resamples=300)
        hits += result.verdict in verdicts
    return hits / TRIALS


@pytest.mark.parametrize("ratio", [1.05, 1 / 1.05])
def test_at_the_edge_of_the_margin_one_in_twenty_is_called_equivalent(ratio):
    """The effect varies by question: units without clusters would pass as equal far too often."""
    share = measure_share({"equivalent", WITHIN_MARGIN}, ratio)
    # 5%, with the spread of 120 trials, and since a percentile interval is a little short
    assert 0.01 <= share <= 0.11


def test_equal_checkpoints_are_called_equivalent():
    assert measure_share({"equivalent"}, 1.0, question_noise=0.03) >= 0.8
    assert measure_share({"different"}, 1.0, question_noise=0.03) == 0


def test_a_difference_beyond_the_margin_is_found():
    assert measure_share({"different"}, 1.2) >= 0.95


def test_a_small_difference_is_not_called_equivalent():
    assert measure_share({WITHIN_MARGIN}, 1.02, question_noise=0.02) >= 0.9


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS, drift=st.floats(0.1, 3))
def test_drift_that_hits_all_checkpoints_changes_nothing(seed, drift):
    """A machine slows down by the same factor for both checkpoints of a visit."""
    first_RU, second_RU = simulate_latencies(1.03, seed)
    drift_U = np.exp(np.linspace(0, drift, len(CLUSTERS_U)))
    steady = compare_latencies(first_RU, second_RU, CLUSTERS_U, resamples=50)
    drifting = compare_latencies(first_RU * drift_U, second_RU * drift_U, CLUSTERS_U, resamples=50)
    assert drifting.verdict == steady.verdict
    assert drifting.mean == pytest.approx(steady.mean)
    assert drifting.p == steady.p


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS)
def test_swapping_the_checkpoints_changes_only_the_sign(seed):
    first_RU, second_RU = simulate_latencies(1.04, seed)
    result = compare_latencies(first_RU, second_RU, CLUSTERS_U, resamples=200)
    swapped = compare_latencies(second_RU, first_RU, CLUSTERS_U, resamples=200)
    assert swapped.mean == pytest.approx(-result.mean)
    assert swapped.mean_high == pytest.approx(-result.mean_low)
    assert swapped.verdict == result.verdict


def test_one_disturbed_round_of_three_is_outvoted():
    first_RU, second_RU = simulate_latencies(1.0, 3)
    disturbed_RU = second_RU.copy()
    disturbed_RU[0] = 100 * disturbed_RU[0].max()  # the machine did something else
    expected = compare_latencies(first_RU, second_RU, CLUSTERS_U)
    result = compare_latencies(first_RU, disturbed_RU, CLUSTERS_U)
    assert abs(result.mean - expected.mean) < 0.1


def test_the_value_is_the_log_ratio_of_medians():
    first_RU = np.array([[1.0, 10], [2, 20], [9, 90]])
    second_RU = np.array([[4.0, 10], [3, 50], [5, 40]])
    result = compare_latencies(first_RU, second_RU, np.arange(2))
    assert result.mean == pytest.approx(np.log([4 / 2, 40 / 20]).mean())
    # two questions say nothing
    assert result.verdict == "inconclusive"
    assert result.p is None


@pytest.mark.parametrize(("ratio", "margin"), [(1.03, 0.05), (1 / 1.03, 0.05), (1.08, 0.1)])
def test_with_many_questions_interval_and_p_are_those_of_normal_theory(ratio, margin):
    questions = 400
    spread = 0.25
    drawn_U = np.random.default_rng(11).normal(size=questions)
    logs_U = np.log(ratio) + spread * (drawn_U - drawn_U.mean()) / drawn_U.std()
    result = compare_latencies(
        np.ones((1, questions)),
        np.exp(logs_U)[None],
        np.arange(questions),
        margin,
        resamples=10_000,
    )
    assert result.questions == questions
    error = spread / np.sqrt(questions)
    ends = np.log(ratio) + error * stats.norm.ppf([0.05, 0.95])
    assert (result.mean_low, result.mean_high) == pytest.approx(ends, abs=error / 15)
    expected_p = stats.norm.cdf((abs(np.log(ratio)) - np.log(1 + margin)) / error)
    assert 0.02 < expected_p < 0.5
    assert result.p == pytest.approx(expected_p, abs=0.01)
    # how many values lie below the median of a resample is a binomial number
    median_ends = np.quantile(logs_U, 0.5 + np.array([-1.645, 1.645]) / 40)
    assert (result.median_low, result.median_high) == pytest.approx(median_ends, abs=error / 3)


def test_p_is_never_0():
    latencies_RU = np.ones((1, 10))
    result = compare_latencies(latencies_RU, latencies_RU, np.arange(10), resamples=99)
    assert result.p == 1 / 100
    assert result.verdict == "equivalent"


def test_fewer_than_ten_questions_have_no_p():
    latencies_RU = np.ones((1, 10))
    nine_questions_U = np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, 8])
    result = compare_latencies(latencies_RU, latencies_RU, nine_questions_U, resamples=99)
    assert result.p is None
    assert result.verdict == "inconclusive"
    assert result.questions == 9


@settings(max_examples=25, deadline=None)
@given(sizes=st.lists(st.integers(1, 5), min_size=1, max_size=8), seed=SEEDS)
def test_resamples_are_those_of_repeated_clusters(sizes, seed):
    """Against the plain way: draw clusters, join their values, take mean and lower median."""
    clusters_U = np.repeat(np.arange(len(sizes)), sizes)
    values_U = np.random.default_rng(seed).normal(size=len(clusters_U))
    means_B, medians_B = resample_clusters(values_U, clusters_U, 20, np.random.default_rng(seed))
    equal_shares_G = np.full(len(sizes), 1 / len(sizes))
    drawn_BG = np.random.default_rng(seed).multinomial(len(sizes), equal_shares_G, 20)
    for drawn_G, mean, median in zip(drawn_BG, means_B, medians_B, strict=True):
        values = np.sort(np.repeat(values_U, drawn_G[clusters_U]))
        assert mean == pytest.approx(values.mean())
        assert median == values[(len(values) - 1) // 2]


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (-0.01, 0.02, "equivalent"),
        (0.01, 0.02, WITHIN_MARGIN),
        (0.06, 0.09, "different"),
        (-0.09, -0.06, "different"),
        (-0.06, 0.01, "inconclusive"),
        (0.02, 0.08, "inconclusive"),
        (-0.9, 0.9, "inconclusive"),
    ],
)
def test_the_verdict_follows_from_the_interval(low, high, verdict):
    assert decide(low, high, 0.05) == verdict


def test_latencies_that_are_not_paired_are_refused():
    with pytest.raises(ValueError, match="are not paired"):
        compare_latencies(np.ones((3, 4)), np.ones((3, 5)), np.arange(4))


def test_latencies_of_zero_are_refused():
    with pytest.raises(ValueError, match="has no ratio"):
        compare_latencies(np.ones((3, 4)), np.zeros((3, 4)), np.arange(4))
