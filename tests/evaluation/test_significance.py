"""Significance: p values that are uniform where nothing differs, intervals that cover, and hand-computed references."""

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

LANGUAGES = 4


def shared_questions(
    rng: np.random.Generator, clusters: int, within: float = 0.97, missing: float = 0.2
):
    """Paired differences with mean 0: V rows that share `within` of their variance with the translations of the question.

    Settings have different numbers of rows; the setting means weigh them unequally.
    """
    cluster_V, setting_V = (
        grid.ravel()
        for grid in np.meshgrid(np.arange(clusters), np.arange(LANGUAGES), indexing="ij")
    )
    noise = np.sqrt(within) * rng.normal(size=clusters)[cluster_V] + np.sqrt(
        1 - within
    ) * rng.normal(size=len(cluster_V))
    kept = rng.random(len(cluster_V)) > missing * setting_V / LANGUAGES
    return noise[kept], cluster_V[kept], setting_V[kept]


def clustered(values, cluster, setting, clusters):
    return ClusteredValues.of(values, cluster, setting, (clusters, LANGUAGES))


EVERY = np.ones((LANGUAGES, 1), bool)


def distance_to_uniform(p: np.ndarray) -> float:
    """Kolmogorov and Smirnov's statistic times the root of the sample size: above 1.63 in 1 of 100 uniform samples."""
    p, n = np.sort(p), len(p)
    return max((np.arange(1, n + 1) / n - p).max(), (p - np.arange(n) / n).max()) * np.sqrt(n)


def test_p_is_uniform_where_nothing_differs_and_a_test_of_rows_would_not_be():
    rng, by_cluster, by_row = np.random.default_rng(1), [], []
    for _ in range(400):
        values, cluster, setting = shared_questions(rng, 40)
        by_cluster.append(
            compute_randomisation_p_values(
                clustered(values, cluster, setting, 40).contributions(EVERY), rng, 499
            )[0]
        )
        rows = ClusteredValues.of(values, np.arange(len(values)), setting, (len(values), LANGUAGES))
        by_row.append(compute_randomisation_p_values(rows.contributions(EVERY), rng, 499)[0])
    by_cluster, by_row = np.array(by_cluster), np.array(by_row)
    assert distance_to_uniform(by_cluster) < 1.63 and 0.02 < (by_cluster < 0.05).mean() < 0.09
    assert distance_to_uniform(by_row) > 4 and (by_row < 0.05).mean() > 0.2


def test_a_real_difference_is_found():
    rng = np.random.default_rng(2)
    values, cluster, setting = shared_questions(rng, 200)
    shifted = clustered(values + 0.5, cluster, setting, 200)
    assert (
        compute_randomisation_p_values(shifted.contributions(EVERY), rng, 999)[0] == 1 / 1000
    )  # never 0: the observed signs count too


@given(st.integers(0, 10**6), st.integers(1, 8))
@settings(max_examples=25, deadline=None)
def test_exact_p_is_that_of_all_swaps_of_whole_questions(seed, clusters):
    """The oracle swaps the systems' labels of a question and computes the reported mean anew, row by row."""
    rng = np.random.default_rng(seed)
    values, cluster, setting = shared_questions(rng, clusters)
    values = np.round(values, 1)  # ties among the statistics

    def macro(rows):
        return np.mean([rows[setting == s].mean() for s in np.unique(setting)])

    observed = abs(macro(values))
    statistics = [
        abs(macro(values * np.array(signs)[cluster])) for signs in product([1, -1], repeat=clusters)
    ]
    expected = np.mean([value >= observed - 1e-9 for value in statistics])
    found = compute_randomisation_p_values(
        clustered(values, cluster, setting, clusters).contributions(EVERY), rng
    )
    assert found[0] == pytest.approx(expected, abs=1e-12)


def test_many_flips_come_near_the_exact_p():
    rng = np.random.default_rng(5)
    contributions = rng.normal(0.3, 1, (13, 3))  # one more than is enumerated
    signs = np.array(list(product([1, -1], repeat=13)))
    exact = (np.abs(signs @ contributions) >= np.abs(contributions.sum(0)) - 1e-9).mean(0)
    assert compute_randomisation_p_values(contributions, rng, 20_000) == pytest.approx(
        exact, abs=0.015
    )


@pytest.mark.parametrize("at_once", [1, 12 * 7, 1 << 23])
def test_twelve_questions_are_enumerated_in_blocks_of_any_size(monkeypatch, at_once):
    contributions = np.random.default_rng(6).normal(0.4, 1, (12, 2))
    signs = np.array(list(product([1, -1], repeat=12)))
    expected = (np.abs(signs @ contributions) >= np.abs(contributions.sum(0)) - 1e-9).mean(0)
    monkeypatch.setattr(significance, "VALUES_AT_ONCE", at_once)
    assert compute_randomisation_p_values(contributions, None) == pytest.approx(
        expected, abs=1e-12
    )  # nothing is drawn


@pytest.mark.parametrize("number", [1, 99, 100, 104])
def test_as_many_flips_and_resamples_are_drawn_as_asked_in_blocks_of_any_size(monkeypatch, number):
    """Where nothing differs every flip is as extreme: p is 1 only if all that are divided by were drawn."""
    data = clustered(*shared_questions(np.random.default_rng(7), 20), 20)
    whole = compute_bootstrap_interval(data, EVERY, np.random.default_rng(8), number)
    assert (whole[0] == whole[1]) == (number == 1)  # a single resample has no width
    monkeypatch.setattr(significance, "VALUES_AT_ONCE", 20 * 13)
    assert (
        compute_randomisation_p_values(np.zeros((20, 1)), np.random.default_rng(8), number)[0] == 1
    )
    np.testing.assert_array_equal(
        compute_bootstrap_interval(data, EVERY, np.random.default_rng(8), number), whole
    )


@given(st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_order_and_names_of_rows_and_questions_change_nothing(seed):
    rng = np.random.default_rng(seed)
    values, cluster, setting = shared_questions(rng, 9)
    order, names = rng.permutation(len(values)), rng.permutation(9)
    first, second = (
        clustered(values, cluster, setting, 9),
        clustered(values[order], names[cluster[order]], setting[order], 9),
    )
    assert first.means(EVERY) == pytest.approx(second.means(EVERY), abs=1e-12)
    assert compute_randomisation_p_values(
        first.contributions(EVERY), rng
    ) == compute_randomisation_p_values(second.contributions(EVERY), rng)
    for name, value in vars(compute_effect(first, EVERY)).items():
        assert value == pytest.approx(vars(compute_effect(second, EVERY))[name])


def test_contributions_sum_to_the_mean_over_settings_without_what_is_undefined():
    rng = np.random.default_rng(3)
    values, cluster, setting = shared_questions(rng, 30)
    values[setting == 2] = np.nan  # a whole setting, and single rows
    values[::7] = np.nan
    data = clustered(values, cluster, setting, 30)
    means = [np.nanmean(values[setting == s]) for s in (0, 1, 3)]
    cells = np.array([[1, 1, 0], [1, 0, 0], [1, 0, 1], [1, 1, 0]], bool)
    expected = [np.mean(means), np.mean([means[0], means[2]]), np.nan]
    assert data.means(cells) == pytest.approx(expected, nan_ok=True)
    assert data.pooled(cells).means(np.eye(3, dtype=bool))[0] == pytest.approx(np.nanmean(values))
    assert np.isnan(compute_randomisation_p_values(data.contributions(cells), rng)[2])
    assert np.isnan(compute_bootstrap_interval(data, cells, rng, 50)[0]).tolist() == [
        False,
        False,
        True,
    ]


def test_intervals_cover_the_truth_as_often_as_they_say():
    rng, covered, too_often = np.random.default_rng(4), 0, 0
    for _ in range(300):
        values, cluster, setting = shared_questions(rng, 80)
        low, high = compute_bootstrap_interval(
            clustered(values, cluster, setting, 80), EVERY, rng, 400
        )
        covered += low[0] <= 0 <= high[0]
        rows = ClusteredValues.of(values, np.arange(len(values)), setting, (len(values), LANGUAGES))
        low, high = compute_bootstrap_interval(rows, EVERY, rng, 200)
        too_often += low[0] <= 0 <= high[0]
    assert 0.90 < covered / 300 < 0.98
    assert too_often / 300 < 0.8  # rows as if they were independent


def test_the_interval_of_a_mean_of_ratios_by_hand():
    """Two questions: a resample has them (2, 0), (1, 1) or (0, 2) times; setting 1 knows only the first question."""
    values, cluster, setting = np.array([1.0, 3.0, 10.0]), np.array([0, 1, 0]), np.array([0, 0, 1])
    low, high = compute_bootstrap_interval(
        clustered(values, cluster, setting, 2), EVERY, np.random.default_rng(0), 4_000, 0.9999
    )
    assert (low[0], high[0]) == (
        3.0,
        6.0,
    )  # (0, 2): only setting 0, so 3; (1, 1): (2 + 10) / 2 = 6; (2, 0): 5.5


def test_holm_by_hand():
    """Holm's example: sorted .01 .02 .03 .04 times 4 3 2 1, each at least the one before."""
    assert adjust_holm(np.array([0.01, 0.04, 0.03, 0.02])) == pytest.approx(
        [0.04, 0.06, 0.06, 0.06]
    )
    assert adjust_holm(np.array([0.001, 0.9, np.nan, 0.5])) == pytest.approx(
        [0.003, 1, np.nan, 1], nan_ok=True
    )
    square = np.array([[0.01, 0.02], [0.2, 0.04]])
    assert adjust_holm(square) == pytest.approx(np.array([[0.04, 0.06], [0.2, 0.08]]))
    assert adjust_holm(np.array([])).size == 0


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_is_never_below_p_and_rejects_at_least_as_much_as_bonferroni(p):
    p = np.array(p)
    adjusted = adjust_holm(p)
    assert (adjusted >= p).all() and (adjusted <= np.minimum(1, p * len(p)) + 1e-12).all()
    assert (np.diff(adjusted[np.argsort(p, kind="stable")]) >= 0).all()


def test_effect_sizes_by_hand():
    """Three questions in one setting with differences 1, 2, -3, and one that the cell does not hold."""
    data = ClusteredValues.of(
        np.array([1.0, 2.0, -3.0, 9.0]),
        np.array([0, 1, 2, 3]),
        np.array([0, 0, 0, 1]),
        (4, LANGUAGES),
    )
    one = np.array([[True], [False], [False], [False]])
    assert compute_effect(data, one).difference[0] == 0 and compute_effect(data, one).better[
        0
    ] == pytest.approx(2 / 3)
    lower = compute_effect(data, one, higher_is_better=False)
    assert lower.better[0] == pytest.approx(1 / 3) and lower.worse[0] == pytest.approx(2 / 3)
    shifted = ClusteredValues(data.sums_CS + data.counts_CS, data.counts_CS)
    assert compute_effect(shifted, one).standardised[0] == pytest.approx(
        1 / np.std([2, 3, -2], ddof=1)
    )
