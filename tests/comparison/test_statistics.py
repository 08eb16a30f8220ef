"""Means, spreads and tests of all systems in many cells."""

import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

from hybrid_ir.comparison.build_sections import build_sections
from hybrid_ir.comparison.comparison import compare
from hybrid_ir.comparison.load import load_results
from hybrid_ir.comparison.statistics import (
    Resampling,
    adjust_family,
    compare_with_baselines,
)
from hybrid_ir.evaluation.rank_table import VIEWS
from hybrid_ir.evaluation.significance import adjust_holm
from tests.support.comparison_results import (
    build_benchmark,
    build_card,
    build_training,
    write_result,
)

FEW = Resampling(flips=50, resamples=50)


@pytest.mark.parametrize("metric", ["map", "recall@10", "rank_distance"])
@pytest.mark.parametrize("micro", [False, True])
def test_means_are_those_of_metrics_json(compared, metric, micro):
    section = compared.benchmarks[0].section
    cells = {view: section.select_settings(view) for view in VIEWS}
    key = "micro_over_questions" if micro else "macro_over_settings"

    grid = compare_with_baselines(section, metric, cells, FEW, micro)

    for place, system in enumerate(section.systems):
        recorded = np.empty((len(system.results), len(VIEWS)))
        for seed, result in enumerate(system.results):
            for cell, view in enumerate(VIEWS):
                mean = result.metrics[key][view][metric]
                recorded[seed, cell] = np.nan if mean is None else mean
        assert grid.mean[place] == pytest.approx(recorded.mean(0), nan_ok=True, abs=1e-12)
        if len(recorded) > 1:  # the spread is that over seeds
            spread = recorded.std(0, ddof=1)
            assert grid.sd[place] == pytest.approx(spread, nan_ok=True, abs=1e-12)
    for system, baseline in section.tested_systems:
        difference = grid.mean[system] - grid.mean[baseline]
        assert grid.difference[system] == pytest.approx(difference, nan_ok=True, abs=1e-12)


def test_order_of_rows_and_names_of_questions_change_nothing(compared, sweep, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(sweep, copy)
    random = np.random.default_rng(0)
    for path in copy.rglob("per_query.parquet"):
        table = pq.read_table(path)
        table = table.take(random.permutation(len(table)))
        names = [f"renamed {name[::-1]}" for name in table["question_id"].to_pylist()]
        place = table.column_names.index("question_id")
        pq.write_table(table.set_column(place, "question_id", [names]), path)
    (copied_section,) = build_sections(load_results([copy]))

    grids = []
    for section in (compared.benchmarks[0].section, copied_section):
        cells = {"all": section.select_settings("cross")}
        grids.append(compare_with_baselines(section, "map", cells, Resampling(flips=4000)))

    before, after = grids
    assert after.mean == pytest.approx(before.mean, abs=1e-12)
    assert after.standardised == pytest.approx(before.standardised, nan_ok=True)
    # Each question has another coin now.
    assert after.p == pytest.approx(before.p, nan_ok=True, abs=0.05)


def test_stars_are_holm_over_tables_1_and_2_together(compared):
    grids = compared.benchmarks[0].macro.grids
    family = np.concatenate([grid.p.ravel() for grid in grids])
    adjusted = np.concatenate([grid.adjusted_p.ravel() for grid in grids])
    stars = 0
    for file in ("table1_macro", "table2_macro"):
        for row in compared.get_table(file).rows:
            stars += sum(cell.mark != "" for cell in row.cells)

    # Three systems have a baseline; there are M, C and Mul mAP and rank distance.
    assert np.isfinite(family).sum() == 3 * 4
    assert adjusted == pytest.approx(adjust_holm(family), nan_ok=True)
    assert stars == (adjusted < 0.05).sum() > 0


def test_many_cells_still_leave_room_for_a_star(compared):
    """With few flips and a large family, Holm's smallest p would be above .05 for any data."""
    section = compared.benchmarks[0].section
    cells = {str(number): section.select_settings("cross") for number in range(200)}

    grid = compare_with_baselines(section, "map", cells, Resampling(flips=10))

    assert np.nanmin(adjust_family([grid])[0].adjusted_p) < 0.05


def test_systems_that_are_identical_get_no_star(tmp_path):
    benchmark = build_benchmark(15)
    for seed in (1, 2):
        for sampler in ("x_x_mono", "x_y", "hybrid"):
            card = build_card(benchmark, build_training(sampler, seed))
            write_result(tmp_path / f"{sampler}{seed}", benchmark, card, seed=100 + seed)

    comparison = compare([tmp_path], flips=200, resamples=50)

    for table in comparison.tables:
        for row in table.rows:
            assert not any(cell.mark for cell in row.cells)
    assert np.nanmin(comparison.benchmarks[0].macro.views.p) == 1


@pytest.mark.parametrize(("tests", "flips"), [(0, 1000), (10, 1000), (11, 1100), (200, 20_000)])
def test_large_families_get_more_flips_than_asked_for(tests, flips):
    assert Resampling(flips=1000).count_flips(tests) == flips
