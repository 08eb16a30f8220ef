"""Significance: p values that are uniform where nothing differs, intervals that cover, by hand."""

from dataclasses import dataclass
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_ir.evaluation import significance
from hybrid_ir.evaluation.significance import (
    ClusteredValues,
    adjust_holm,
    compute_bootstrap_interval,
    compute_effect,
    compute_randomisation_p_values,
)

SETTINGS = 4
ALL_SETTINGS = np.ones((SETTINGS, 1), bool)  # one cell that holds every setting
SEEDS = st.integers(0, 10**6)


@dataclass
class Rows:
    """Paired differences of two systems, one row for each question and setting."""

    values_V: np.ndarray
    cluster_V: np.ndarray
    setting_V: np.ndarray
    clusters: int

    def cluster(self) -> ClusteredValues:
        """The rows with the questions as clusters."""
        shape = (self.clusters, SETTINGS)
        return ClusteredValues.from_rows(self.values_V, self.cluster_V, self.setting_V, shape)

    def cluster_by_row(self) -> ClusteredValues:
        """The rows as if they were independent."""
        every_row = np.arange(len(self.values_V))
        shape = (len(self.values_V), SETTINGS)
        return ClusteredValues.from_rows(self.values_V, every_row, self.setting_V, shape)


def draw_rows(rng: np.random.Generator, clusters: int) -> Rows:
    """Differences with mean 0 that share most of their variance within a question.

    Settings have different numbers of rows, so that their means weigh rows unequally.
    """
    shared_variance = 0.97
    cluster_V = np.repeat(np.arange(clusters), SETTINGS)
    setting_V = np.tile(np.arange(SETTINGS), clusters)
    shared_V = np.sqrt(shared_variance) * rng.normal(size=clusters)[cluster_V]
    own_V = np.sqrt(1 - shared_variance) * rng.normal(size=len(cluster_V))
    is_kept_V = rng.random(len(cluster_V)) > 0.2 * setting_V / SETTINGS
    values_V = shared_V + own_V
    return Rows(values_V[is_kept_V], cluster_V[is_kept_V], setting_V[is_kept_V], clusters)


def compute_p(clustered: ClusteredValues, rng: np.random.Generator, flips: int = 10_000) -> float:
    """p of the mean over all settings."""
    contributions = clustered.compute_contributions(ALL_SETTINGS)
    return compute_randomisation_p_values(contributions, rng, flips)[0]


def compute_exact_p(contributions_CK: np.ndarray) -> np.ndarray:
    """The share of all sign vectors that are as extreme as the observed one."""
    signs = np.array(list(product([1, -1], repeat=len(contributions_CK))))
    observed = np.abs(contributions_CK.sum(0))
    return (np.abs(signs @ contributions_CK) >= observed - 1e-9).mean(0)


def distance_to_uniform(p: np.ndarray) -> float:
    """Kolmogorov and Smirnov's statistic times the root of the sample size.

    It is above 1.63 in 1 of 100 uniform samples.
    """
    p = np.sort(p)
    size = len(p)
    above = (np.arange(1, size + 1) / size - p).max()
    below = (p - np.arange(size) / size).max()
    return max(above, below) * np.sqrt(size)


def test_p_is_uniform_where_nothing_differs_and_a_test_of_rows_is_not():
    rng = np.random.default_rng(1)
    by_cluster = []
    by_row = []
    for _ in range(400):
        rows = draw_rows(rng, 40)
        by_cluster.append(compute_p(rows.cluster(), rng, 499))
        by_row.append(compute_p(rows.cluster_by_row(), rng, 499))
    by_cluster = np.array(by_cluster)
    by_row = np.array(by_row)
    assert distance_to_uniform(by_cluster) < 1.63
    assert 0.02 < (by_cluster < 0.05).mean() < 0.09
    assert distance_to_uniform(by_row) > 4
    assert (by_row < 0.05).mean() > 0.2


def test_p_of_a_clear_difference_is_least_and_never_zero():
    """The observed signs count, too."""
    rng = np.random.default_rng(2)
    rows = draw_rows(rng, 200)
    rows.values_V += 0.5
    assert compute_p(rows.cluster(), rng, 999) == 1 / 1000


@given(SEEDS, st.integers(1, 8))
@settings(max_examples=25, deadline=None)
def test_exact_p_is_that_of_all_swaps_of_whole_questions(seed, clusters):
    """The oracle swaps the systems' labels of a question and computes the mean row by row."""
    rng = np.random.default_rng(seed)
    rows = draw_rows(rng, clusters)
    rows.values_V = np.round(rows.values_V, 1)  # ties among the statistics
    observed = compute_macro_mean(rows.values_V, rows.setting_V)
    is_extreme = []
    for signs in product([1, -1], repeat=clusters):
        swapped_V = rows.values_V * np.array(signs)[rows.cluster_V]
        statistic = compute_macro_mean(swapped_V, rows.setting_V)
        is_extreme.append(abs(statistic) >= abs(observed) - 1e-9)
    assert compute_p(rows.cluster(), rng) == pytest.approx(np.mean(is_extreme), abs=1e-12)


def compute_macro_mean(values_V: np.ndarray, setting_V: np.ndarray) -> float:
    """The mean over settings of the means over their rows."""
    means = [values_V[setting_V == setting].mean() for setting in np.unique(setting_V)]
    return float(np.mean(means))


def test_many_flips_come_near_the_exact_p():
    rng = np.random.default_rng(5)
    contributions = rng.normal(0.3, 1, (13, 3))  # one cluster more than is enumerated
    p = compute_randomisation_p_values(contributions, rng, 20_000)
    assert p == pytest.approx(compute_exact_p(contributions), abs=0.015)


@pytest.mark.parametrize("values_at_once", [1, 12 * 7, 1 << 23])
def test_twelve_questions_are_enumerated_in_blocks_of_any_size(monkeypatch, values_at_once):
    contributions = np.random.default_rng(6).normal(0.4, 1, (12, 2))
    monkeypatch.setattr(significance, "VALUES_AT_ONCE", values_at_once)
    p = compute_randomisation_p_values(contributions, None)  # nothing is drawn
    assert p == pytest.approx(compute_exact_p(contributions), abs=1e-12)


@pytest.mark.parametrize("number", [1, 99, 100, 104])
def test_as_many_resamples_are_drawn_as_asked_in_blocks_of_any_size(monkeypatch, number):
    data = draw_rows(np.random.default_rng(7), 20).cluster()
    in_one_block = compute_bootstrap_interval(data, ALL_SETTINGS, np.random.default_rng(8), number)
    monkeypatch.setattr(significance, "VALUES_AT_ONCE", 20 * 13)
    in_blocks = compute_bootstrap_interval(data, ALL_SETTINGS, np.random.default_rng(8), number)
    np.testing.assert_array_equal(in_blocks, in_one_block)
    has_no_width = in_one_block[0] == in_one_block[1]
    assert has_no_width == (number == 1)


@pytest.mark.parametrize("number", [1, 99, 100, 104])
def test_as_many_flips_are_drawn_as_asked_in_blocks_of_any_size(monkeypatch, number):
    """Where nothing differs every flip is as extreme: p is 1 if all were drawn."""
    monkeypatch.setattr(significance, "VALUES_AT_ONCE", 20 * 13)
    p = compute_randomisation_p_values(np.zeros((20, 1)), np.random.default_rng(8), number)
    assert p[0] == 1


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_order_and_names_of_rows_and_questions_change_nothing(seed):
    rng = np.random.default_rng(seed)
    rows = draw_rows(rng, 9)
    order = rng.permutation(len(rows.values_V))
    names = rng.permutation(9)
    renamed = Rows(
        rows.values_V[order], names[rows.cluster_V[order]], rows.setting_V[order], rows.clusters
    )
    first = rows.cluster()
    second = renamed.cluster()
    means = first.compute_means(ALL_SETTINGS)
    assert second.compute_means(ALL_SETTINGS) == pytest.approx(means, abs=1e-12)
    assert compute_p(second, rng) == compute_p(first, rng)
    first_effect = vars(compute_effect(first, ALL_SETTINGS))
    second_effect = vars(compute_effect(second, ALL_SETTINGS))
    for name, value in first_effect.items():
        assert second_effect[name] == pytest.approx(value)


def test_contributions_sum_to_the_mean_over_settings_without_what_is_undefined():
    rng = np.random.default_rng(3)
    rows = draw_rows(rng, 30)
    rows.values_V[rows.setting_V == 2] = np.nan  # a whole setting, and single rows
    rows.values_V[::7] = np.nan
    data = rows.cluster()
    means = {s: np.nanmean(rows.values_V[rows.setting_V == s]) for s in (0, 1, 3)}
    cells = np.array([[1, 1, 0], [1, 0, 0], [1, 0, 1], [1, 1, 0]], bool)
    expected = [np.mean(list(means.values())), np.mean([means[0], means[3]]), np.nan]
    assert data.compute_means(cells) == pytest.approx(expected, nan_ok=True)
    pooled_means = data.pool_cells(cells).compute_means(np.eye(3, dtype=bool))
    assert pooled_means[0] == pytest.approx(np.nanmean(rows.values_V))
    assert np.isnan(compute_randomisation_p_values(data.compute_contributions(cells), rng)[2])
    low, _ = compute_bootstrap_interval(data, cells, rng, 50)
    assert np.isnan(low).tolist() == [False, False, True]


def test_intervals_cover_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(4)
    covers = []
    covers_by_row = []
    for number in range(300):
        rows = draw_rows(rng, 80)
        covers.append(covers_zero(rows.cluster(), rng, 300))
        if number % 4 == 0:
            covers_by_row.append(covers_zero(rows.cluster_by_row(), rng, 200))
    assert 0.90 < np.mean(covers) < 0.98
    assert np.mean(covers_by_row) < 0.8


def covers_zero(clustered: ClusteredValues, rng: np.random.Generator, resamples: int) -> bool:
    """Whether the interval of the mean over all settings covers the true difference."""
    low, high = compute_bootstrap_interval(clustered, ALL_SETTINGS, rng, resamples)
    return low[0] <= 0 <= high[0]


def test_the_interval_of_a_mean_of_ratios_by_hand():
    """A resample has two questions (2, 0), (1, 1) or (0, 2) times; setting 1 has only the first.

    Their means are 5.5, (2 + 10) / 2 = 6, and 3, of setting 0 alone.
    """
    rows = Rows(np.array([1.0, 3.0, 10.0]), np.array([0, 1, 0]), np.array([0, 0, 1]), 2)
    low, high = compute_bootstrap_interval(
        rows.cluster(), ALL_SETTINGS, np.random.default_rng(0), 4_000, level=0.9999
    )
    assert low[0] == 3
    assert high[0] == 6


def test_holm_by_hand():
    """Holm's example: sorted .01 .02 .03 .04 times 4 3 2 1, each at least the one before."""
    assert adjust_holm(np.array([0.01, 0.04, 0.03, 0.02])) == pytest.approx(
        [0.04, 0.06, 0.06, 0.06]
    )
    with_undefined = adjust_holm(np.array([0.001, 0.9, np.nan, 0.5]))
    assert with_undefined == pytest.approx([0.003, 1, np.nan, 1], nan_ok=True)
    square = adjust_holm(np.array([[0.01, 0.02], [0.2, 0.04]]))
    assert square == pytest.approx(np.array([[0.04, 0.06], [0.2, 0.08]]))
    assert adjust_holm(np.array([])).size == 0


@given(st.lists(st.floats(0, 1), max_size=12))
@settings(deadline=None)
def test_holm_is_never_below_p_and_rejects_at_least_as_much_as_bonferroni(p):
    p = np.array(p)
    adjusted = adjust_holm(p)
    assert (adjusted >= p).all()
    assert (adjusted <= np.minimum(1, p * len(p)) + 1e-12).all()
    assert (np.diff(adjusted[np.argsort(p, kind="stable")]) >= 0).all()


def test_effect_sizes_by_hand():
    """Three questions with differences 1, 2 and -3, and one that the cell does not hold."""
    rows = Rows(np.array([1.0, 2, -3, 9]), np.array([0, 1, 2, 3]), np.array([0, 0, 0, 1]), 4)
    data = rows.cluster()
    first_setting = np.array([[True], [False], [False], [False]])
    effect = compute_effect(data, first_setting)
    assert effect.difference[0] == 0
    assert effect.better[0] == pytest.approx(2 / 3)
    lower_is_better = compute_effect(data, first_setting, higher_is_better=False)
    assert lower_is_better.better[0] == pytest.approx(1 / 3)
    assert lower_is_better.worse[0] == pytest.approx(2 / 3)
    shifted = ClusteredValues(data.sums_CS + data.counts_CS, data.counts_CS)
    expected = 1 / np.std([2, 3, -2], ddof=1)
    assert compute_effect(shifted, first_setting).standardised[0] == pytest.approx(expected)
