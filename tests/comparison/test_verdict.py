"""The answer in three sentences agrees with the numbers, and is honest about its certainty."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_ir.comparison.comparison import compare
from hybrid_ir.comparison.comparison_tables import MainMeans
from hybrid_ir.comparison.table import format_value
from hybrid_ir.comparison.verdict import build_verdict, find_lead
from tests.support.comparison_results import (
    SMALL_BENCHMARK,
    build_benchmark,
    build_card,
    build_training,
    write_result,
)

WORDS = ("within one language", "across two languages", "in one pool of all languages")
VALUES = st.lists(st.floats(0, 1), min_size=4, max_size=4)
P_VALUES = st.lists(st.sampled_from([0.001, 0.049, 0.05, 0.6]), min_size=3, max_size=3)


def replace_means(means: MainMeans, view_means: list, p_values: list) -> MainMeans:
    """Returns means with other values (systems, views) and p values (systems)."""
    values = np.array(view_means).T
    adjusted = np.full(values.shape, np.nan)
    for (system, _), p in zip(means.section.tested_systems, p_values, strict=True):
        adjusted[system] = p
    return replace(means, views=replace(means.views, mean=values, adjusted_p=adjusted))


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
@given(st.lists(VALUES, min_size=3, max_size=3), P_VALUES)
def test_certainty_follows_the_tests(compared, view_means, p_values):
    means = replace_means(compared.benchmarks[0].macro, view_means, p_values)

    verdict = build_verdict(means)

    leads = [find_lead(means.section, means.views, place) for place in range(3)]
    open_leads = [lead for lead in leads if not lead.tied]
    sure = [lead for lead in open_leads if lead.p < 0.05]
    assert ("more than chance explains" in verdict.sentences[1]) == bool(sure)
    unsure = [lead for lead in open_leads if lead.p >= 0.05]
    assert ("may be chance" in verdict.sentences[1]) == bool(unsure)
    if verdict.is_certain:
        assert len(sure) == 3 - len(leads) + len(open_leads) > 0


def test_the_difference_is_that_of_the_means(compared):
    means = compared.benchmarks[0].macro
    for grid, place in means.list_means():
        lead = find_lead(means.section, grid, place)
        best = np.nanmax if grid.higher_is_better else np.nanmin
        assert lead.value == best(grid.mean[:, place])
        other = grid.mean[lead.other, place]
        assert lead.difference == pytest.approx(abs(lead.value - other))


def test_the_system_with_the_least_rank_distance_has_least_language_bias(compared):
    means = compared.benchmarks[0].macro
    winner = means.section.systems[int(np.nanargmin(means.distance.mean[:, 0]))]

    bias = build_verdict(means).sentences[2]

    assert bias.startswith(f"Language bias is least with {winner.label}: ")
    assert "no preference would give about 25%" in bias


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
