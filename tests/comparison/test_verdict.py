"""The answer in three sentences agrees with the numbers, and is honest about its certainty."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_ir.comparison.comparison import compare
from hybrid_ir.comparison.comparison_tables import MainMeans, compute_main_means
from hybrid_ir.comparison.leads import find_lead
from hybrid_ir.comparison.statistics import Resampling, compare_pairs
from hybrid_ir.comparison.table import format_value
from hybrid_ir.comparison.verdict import build_verdict
from hybrid_ir.evaluation.significance import adjust_holm
from tests.support.comparison_results import (
    SMALL_BENCHMARK,
    build_benchmark,
    build_card,
    build_training,
    overwrite_keys,
    write_result,
)

WORDS = ("within one language", "across two languages", "in one pool of all languages")
VALUES = st.lists(st.floats(0, 1), min_size=4, max_size=4)
P_VALUES = st.lists(st.sampled_from([0.001, 0.049, 0.05, 0.6]), min_size=3, max_size=3)


def replace_means(
    means: MainMeans, view_means: list, p_values: list, lead_p: list | None = None
) -> MainMeans:
    """Returns means with other values (systems, views) and p values (systems), of leads (views)."""
    values = np.array(view_means).T
    adjusted = np.full(values.shape, np.nan)
    for (system, _), p in zip(means.section.tested_systems, p_values, strict=True):
        adjusted[system] = p
    views = replace(means.views, mean=values, adjusted_p=adjusted)
    if lead_p is not None:
        views = replace(views, lead_p=np.array(lead_p))
    return replace(means, views=views)


@settings(max_examples=60, deadline=None)
@given(st.lists(VALUES, min_size=3, max_size=3), P_VALUES)
def test_the_best_system_of_every_view_is_named_with_its_mean(compared, view_means, p_values):
    means = replace_means(compared.benchmarks[0].macro, view_means, p_values)
    labels = [system.label for system in means.section.systems]

    first, _, _ = build_verdict(means).sentences

    for words, values in zip(WORDS, view_means, strict=True):
        best = format_value(max(values), "map")
        assert f"{words} ({best}" in first
        before = first[: first.index(words)].removeprefix("On made_r, ")
        named = [label for label in labels if re.search(rf"\b{label}\b", before)]
        winners = [
            label
            for label, value in zip(labels, values, strict=True)
            if format_value(value, "map") == best
        ]
        assert set(winners) <= set(named)


@settings(max_examples=60, deadline=None)
@given(st.lists(VALUES, min_size=3, max_size=3), P_VALUES, P_VALUES)
def test_certainty_follows_the_tests(compared, view_means, p_values, lead_p):
    means = replace_means(compared.benchmarks[0].macro, view_means, p_values, lead_p)

    verdict = build_verdict(means)

    leads = [find_lead(means.section, means.views, cell) for cell in range(3)]
    open_leads = [lead for lead in leads if not lead.tied]
    p_of_next = [lead.over_next.p for lead in open_leads]
    p_of_baselines = [lead.over_baseline.p for lead in open_leads if lead.over_baseline]
    every_p = np.array(p_of_next + p_of_baselines)
    about_the_next = verdict.sentences[1].partition("; the difference from the baseline")[0]
    assert ("more than chance explains" in about_the_next) == any(p < 0.05 for p in p_of_next)
    assert ("more than chance explains" in verdict.sentences[1]) == bool((every_p < 0.05).any())
    assert ("may be chance" in verdict.sentences[1]) == bool((every_p >= 0.05).any())
    if verdict.is_certain:
        assert p_of_next
        assert max(p_of_next) < 0.05


def test_the_difference_is_that_of_the_means(compared):
    means = compared.benchmarks[0].macro
    for grid, cell in means.list_means():
        lead = find_lead(means.section, grid, cell)
        ordered = np.sort(grid.mean[:, cell])
        if grid.higher_is_better:
            ordered = ordered[::-1]
        assert lead.value == ordered[0]
        assert lead.over_next.size == pytest.approx(abs(ordered[0] - ordered[1]))
        if lead.over_baseline is not None:
            baseline = grid.mean[means.section.baselines[lead.winner], cell]
            assert lead.over_baseline.size == pytest.approx(abs(ordered[0] - baseline))


@pytest.fixture(scope="module")
def two_good_systems(tmp_path_factory):
    """A bad baseline and two systems that are equally good, with two seeds each."""
    root = tmp_path_factory.mktemp("two good")
    benchmark = build_benchmark(30)
    for sampler, noise in (("x_x_mono", 2.5), ("x_y", 0.9), ("hybrid", 0.9)):
        for seed in (1, 2):
            card = build_card(benchmark, build_training(sampler, seed))
            seed_of_vectors = seed + (10 if sampler == "hybrid" else 0)
            folder = root / f"{sampler}{seed}"
            write_result(folder, benchmark, card, noise=noise, seed=seed_of_vectors)
    return compare([root], flips=500, resamples=50)


def test_a_lead_is_over_the_next_best_and_not_over_the_baseline(two_good_systems):
    means = two_good_systems.benchmarks[0].macro
    baseline = next(iter(means.section.tested_systems))[1]

    verdict = build_verdict(means)

    assert np.nanmax(means.views.adjusted_p) < 0.05  # both are better than the baseline
    for cell in range(3):
        lead = find_lead(means.section, means.views, cell)
        assert lead.over_next.system not in (lead.winner, baseline)
        assert lead.over_next.p > 0.05
        assert lead.over_baseline.system == baseline
        assert lead.over_baseline.p < 0.05
    _, certainty, _ = verdict.sentences
    assert certainty.startswith("The lead over the next best within one language, across two")
    assert "may be chance" in certainty
    assert "the difference from the baseline x_x_mono within one language" in certainty
    assert not verdict.is_certain


def test_leads_that_no_table_tests_are_one_family(two_good_systems):
    means = two_good_systems.benchmarks[0].macro
    section = means.section
    resampling = two_good_systems.resampling
    raw_p = []
    leads = []
    for grid, cell in means.list_means():
        lead = find_lead(section, grid, cell)
        pair = (lead.winner, lead.over_next.system)
        mask = section.select_settings(grid.cells[cell])
        tested = compare_pairs(section, [pair], grid.metric, {"all": mask}, resampling)
        raw_p.append(tested.p[lead.winner, 0])
        leads.append(lead)

    assert len(raw_p) == 4
    adjusted = [lead.over_next.p for lead in leads]
    assert adjusted == pytest.approx(adjust_holm(np.array(raw_p)))


@pytest.fixture(scope="module")
def with_useless_system(tmp_path_factory):
    """A baseline, a good system, and one that finds nothing: its answers are all at the end."""
    root = tmp_path_factory.mktemp("useless")
    benchmark = build_benchmark(20)
    for sampler, noise, bias in (("x_x_mono", 0.9, 0.5), ("hybrid", 0.8, 0.2), ("x_y", 0.1, 0)):
        for seed in (1, 2):
            card = build_card(benchmark, build_training(sampler, seed))
            folder = root / f"{sampler}{seed}"
            upside_down = sampler == "x_y"
            write_result(folder, benchmark, card, noise, bias, seed, upside_down=upside_down)
    return compare([root], flips=500, resamples=50)


def test_a_system_that_finds_nothing_is_not_called_least_biased(with_useless_system):
    means = with_useless_system.benchmarks[0].macro
    labels = [system.label for system in means.section.systems]
    useless = labels.index("x_y")
    assert np.nanargmin(means.distance.mean[:, 0]) == useless

    _, _, bias = build_verdict(means).sentences

    assert bias.startswith("Language bias is least with hybrid: ")
    assert f"at a mAP of {means.quality.mean[labels.index('hybrid'), 0]:.4f}" in bias
    assert f"x_y ({means.distance.mean[useless, 0]:.1f} ranks, mAP" in bias
    assert "is not called less biased" in bias


def test_it_does_not_lead_where_rank_distance_is_the_main_metric(with_useless_system):
    section = with_useless_system.benchmarks[0].section

    means = compute_main_means(section, "rank_distance", Resampling(flips=200, resamples=20))

    first, _, _ = build_verdict(means).sentences
    assert first.startswith("On made_r, hybrid has the lowest, which is best, rank distance")


def test_the_system_with_the_least_rank_distance_has_least_language_bias(compared):
    means = compared.benchmarks[0].macro
    winner = means.section.systems[int(np.nanargmin(means.distance.mean[:, 0]))]

    bias = build_verdict(means).sentences[2]

    assert bias.startswith(f"Language bias is least with {winner.label}: ")
    assert "no preference would give 25.0%" in bias
    assert f"at a mAP of {np.nanmax(means.quality.mean[:, 0]):.4f}" in bias


def test_results_of_earlier_versions_do_not_say_what_no_preference_gives(sweep, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(sweep, copy)
    for path in copy.rglob("metrics.json"):
        language_bias = json.loads(path.read_text())["language_bias"]
        del language_bias["own_language_first_expected"]
        overwrite_keys(path, language_bias=language_bias)

    _, _, bias = build_verdict(
        compare([copy], flips=20, resamples=20).benchmarks[0].macro
    ).sentences

    assert "of the questions" in bias
    assert "no preference" not in bias


@pytest.fixture(scope="module")
def one_seed(tmp_path_factory):
    """Two systems that were trained once and differ much."""
    root = tmp_path_factory.mktemp("one seed")
    benchmark = build_benchmark(20)
    for sampler, noise in (("x_x_mono", 1.6), ("hybrid", 0.4)):
        card = build_card(benchmark, build_training(sampler))
        write_result(root / sampler, benchmark, card, noise=noise)
    return compare([root], flips=500, resamples=50)


def test_one_seed_of_a_training_makes_no_answer_certain(one_seed):
    verdict = build_verdict(one_seed.benchmarks[0].macro)

    assert "more than chance explains" in verdict.sentences[1]
    assert "x_x_mono and hybrid were trained with one seed only" in verdict.sentences[1]
    assert not verdict.is_certain


def test_one_seed_of_a_training_has_no_star(one_seed):
    marks = set()
    for table in one_seed.tables:
        for row in table.rows:
            marks.update(cell.mark for cell in row.cells)
        if "differs from" in table.note:
            assert "trained with one seed only" in table.note

    assert marks == {"", "†"}


def test_two_seeds_of_a_training_have_stars_and_the_baseline_a_name(compared):
    table = compared.get_table("table1_macro")

    assert {cell.mark for cell in table.rows[3].cells if cell.p is not None} <= {"", "*"}
    assert "* differs from x_x_mono, p < .05" in table.note


def test_a_system_alone_has_no_rival(tmp_path):
    card = build_card(SMALL_BENCHMARK, build_training("hybrid"))
    write_result(tmp_path / "hybrid", SMALL_BENCHMARK, card)

    verdict = build_verdict(compare([tmp_path], flips=20, resamples=20).benchmarks[0].macro)

    assert "hybrid has a mAP of" in verdict.sentences[0]
    assert "nothing is compared and nothing tested" in verdict.sentences[1]
    assert verdict.sentences[2].startswith("Language bias of hybrid: ")
    assert not verdict.is_certain


def test_a_benchmark_of_one_language_says_nothing_about_language_bias(compared):
    means = compared.benchmarks[0].macro
    distance = replace(means.distance, mean=np.full(means.distance.mean.shape, np.nan))

    verdict = build_verdict(replace(means, distance=distance))

    assert "says nothing about language bias" in verdict.sentences[2]
