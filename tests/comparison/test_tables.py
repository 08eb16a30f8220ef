"""Tables: the paper's layout and numbers, and formats that hold any text."""

import csv
import io
import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_ir.comparison import formats
from hybrid_ir.comparison.everything import compare, write_tables
from hybrid_ir.comparison.grid import Resampling, adjust, measure
from hybrid_ir.comparison.results import read_results
from hybrid_ir.comparison.section import build_sections
from hybrid_ir.comparison.table import Cell, Column, Row, Table
from hybrid_ir.evaluation.significance import adjust_holm
from tests.support.comparison_results import (
    card_of,
    rows_of,
    small_benchmark,
    table_named,
    training_of,
    write_result,
)


def test_tables_1_and_2_hold_the_macro_means_of_metrics_json(compared, sweep):
    found = rows_of(table_named(compared, "table1_macro"))
    said = [
        json.loads((sweep / f"hybrid_seed{seed}" / "metrics.json").read_text())[
            "macro_over_settings"
        ]
        for seed in (1, 2)
    ]
    cells = found["hybrid", "2"]
    for cell, view in zip(cells, ("mono", "cross", "multi"), strict=True):
        values = [means[view]["map"] for means in said]
        assert cell.value == pytest.approx(np.mean(values)) and cell.sd == pytest.approx(
            np.std(values, ddof=1)
        )
        assert cell.text == f"{np.mean(values):.4f}"
    assert found["untrained", "1"][0].sd is None
    distance = rows_of(table_named(compared, "table2_macro"))["hybrid", "2"][0]
    assert distance.value == pytest.approx(
        np.mean([means["multi"]["rank_distance"] for means in said])
    )


def test_every_difference_from_a_baseline_has_an_interval_around_it(compared):
    for file in ("made_r_effects_macro", "made_r_effects_micro"):
        table = table_named(compared, file)
        names = [column.name for column in table.columns]
        assert len(table.rows) == 3 * 4  # three systems; M, C and Mul mAP and rank distance
        for row in table.rows:
            cell = dict(zip(names, row.cells, strict=True))
            assert cell["difference"].value == pytest.approx(
                cell["mean"].value - cell["baseline"].value
            )
            assert cell["95% from"].value <= cell["difference"].value <= cell["to"].value
            assert 0 < cell["p"].value <= cell["p Holm"].value <= 1


def test_bold_is_the_best_of_ours_and_lower_is_better_for_distance(compared):
    for file, pick in (("table1_macro", max), ("table2_macro", min)):
        table = table_named(compared, file)
        for k in range(len(table.columns)):
            best = pick(row.cells[k].value for row in table.rows if row.ours)
            assert [row.cells[k].value for row in table.rows if row.cells[k].best] == [best]


def test_stars_are_holm_over_tables_1_and_2_together(compared):
    head = compared.parts[0].macro
    family = np.concatenate([grid.p.ravel() for grid in head.grids])
    assert (
        np.isfinite(family).sum() == 3 * 4
    )  # three systems with a baseline, M, C, Mul and rank distance
    adjusted = np.concatenate([grid.adjusted.ravel() for grid in head.grids])
    assert adjusted == pytest.approx(adjust_holm(family), nan_ok=True)
    cells = [
        cell
        for file in ("table1_macro", "table2_macro")
        for row in table_named(compared, file).rows
        for cell in row.cells
    ]
    assert sum(cell.star for cell in cells) == (adjusted < 0.05).sum() > 0
    assert "*" in formats.to_markdown(table_named(compared, "table1_macro"))


def test_many_cells_still_leave_room_for_a_star(compared):
    """With few flips and a large family Holm's smallest p would be above .05 whatever the data."""
    section = compared.parts[0].section
    cells = {str(i): section.mask("cross") for i in range(200)}
    grid = adjust([measure(section, "map", cells, Resampling(flips=10))])[0]
    assert np.nanmin(grid.adjusted) < 0.05


def test_systems_that_are_identical_get_no_star(tmp_path):
    for seed in range(1, 4):
        for name in ("x_x_mono", "x_y", "hybrid"):
            write_result(
                tmp_path / f"{name}{seed}",
                small_benchmark(15),
                0.9,
                0.3,
                100 + seed,
                card_of(small_benchmark(15), training_of(name, seed)),
            )
    made = compare(
        build_sections(read_results([tmp_path])), chance=Resampling(flips=200, resamples=50)
    )
    assert not any(cell.star for table in made.tables for row in table.rows for cell in row.cells)
    assert np.nanmin(made.parts[0].macro.views.p) == 1


TEXT = st.text(
    st.sampled_from("|_&$%#{}~^\\<>*`[]±−→ ") | st.characters(exclude_categories=["Cs", "Cc"]),
    max_size=12,
)


def table_of(texts: list[str]) -> Table:
    label, group, name, shown, note = texts
    return Table(
        "a_file",
        note,
        (label,),
        (Column(name, group), Column(label)),
        (
            Row((label,), (Cell(shown, shown, 0.5, "0.5", 0.01, True), Cell())),
            Row((name,), (Cell(), Cell("1", 1.0)), False),
        ),
        note,
        True,
    )


@given(st.lists(TEXT, min_size=5, max_size=5))
@settings(max_examples=60, deadline=None)
def test_any_text_stays_text_in_every_format(texts):
    table = table_of(texts)
    rows = list(csv.reader(io.StringIO(formats.to_csv(table))))
    assert (
        rows[0][0] == texts[0]
        and rows[1][:2] == [texts[0], texts[3]]
        and len({len(row) for row in rows}) == 1
    )
    for line in formats.to_markdown(table).splitlines():
        if line.startswith("| "):
            assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) == 4 and "<" not in line
    latex = formats.latex_text("".join(texts))
    bare = re.sub(r"\\text\w+\{\}|\\[&%$#_{}]|\\ldots\{\}|\$\\\w+\$|\$-\$", "", latex)
    assert not set("&%$#_{}~^\\<>|") & set(bare)
    assert json.loads(json.dumps(formats.table_to_dict(table)))["rows"][0]["labels"] == [texts[0]]


def test_rich_shows_markup_as_text(compared):
    from rich.console import Console

    console = Console(width=100, record=True, file=io.StringIO())
    console.print(
        formats.to_rich_table(table_of(["[red]label[/]", "group", "[bold]", "[link]", "note"]))
    )
    assert "[red]label[/]" in console.export_text()


def test_latex_is_booktabs_with_as_many_cells_as_columns(compared):
    for table in compared.tables:
        text = formats.to_latex(table)
        columns = len(table.heads) + len(table.columns)
        assert text.count(r"\toprule") == text.count(r"\bottomrule") == 1
        body = text[text.rindex(r"\midrule" if r"\midrule" in text else r"\toprule") :]
        assert all(
            len(re.findall(r"(?<!\\)&", line)) == columns - 1
            for line in body.splitlines()
            if line.endswith(r"\\")
        )


def test_files_are_written(compared, tmp_path):
    write_tables(compared, tmp_path)
    found = json.loads((tmp_path / "comparison.json").read_text())
    assert found["benchmarks"]["made_r"]["systems"][1]["seeds"] == [1, 2]
    assert found["tables"]["table1_macro"]["rows"][0]["labels"] == ["untrained", "1"]
    assert {path.stem for path in tmp_path.glob("*.csv")} == {
        table.file for table in compared.tables
    }
    assert (
        "\\begin{tabular}" in (tmp_path / "tables.tex").read_text()
        and "| system |" in (tmp_path / "tables.md").read_text()
    )


def test_flips_are_as_many_as_asked_for_and_more_for_large_families():
    assert [Resampling(flips=1000).flips_for(tests) for tests in (0, 10, 11, 200)] == [
        1000,
        1000,
        1100,
        20_000,
    ]
