"""Tables: the paper's layout and numbers, and renderings that hold any text."""

import csv
import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from hybrid_ir.comparison import rendering
from hybrid_ir.comparison.table import Cell, Column, Row, Table, list_distinct_tables
from tests.support.comparison_results import get_cells_by_labels

SPECIAL_LETTERS = st.sampled_from("|_&$%#{}~^\\<>*`[]±−→ ")
TEXTS = st.text(SPECIAL_LETTERS | st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)


def test_tables_1_and_2_hold_the_macro_means_of_metrics_json(compared, sweep):
    means = []
    for seed in (1, 2):
        metrics = json.loads((sweep / f"hybrid_seed{seed}" / "metrics.json").read_text())
        means.append(metrics["macro_over_settings"])
    table1 = get_cells_by_labels(compared.get_table("table1_macro"))
    table2 = get_cells_by_labels(compared.get_table("table2_macro"))

    for cell, view in zip(table1["hybrid", "2"], ("mono", "cross", "multi"), strict=True):
        values = [mean[view]["map"] for mean in means]
        assert cell.value == pytest.approx(np.mean(values))
        assert cell.sd == pytest.approx(np.std(values, ddof=1))
        assert cell.text == f"{np.mean(values):.4f}"
    assert table1["untrained", "1"][0].sd is None
    distances = [mean["multi"]["rank_distance"] for mean in means]
    assert table2["hybrid", "2"][0].value == pytest.approx(np.mean(distances))


@pytest.mark.parametrize("kind", ["macro", "micro"])
def test_every_difference_from_a_baseline_has_an_interval_around_it(compared, kind):
    table = compared.get_table(f"made_r_effects_{kind}")
    names = [column.name for column in table.columns]

    # Three systems with a baseline; M, C and Mul mAP and rank distance.
    assert len(table.rows) == 3 * 4
    for row in table.rows:
        values = dict(zip(names, [cell.value for cell in row.cells], strict=True))
        assert values["difference"] == pytest.approx(values["mean"] - values["baseline"])
        assert values["95% from"] <= values["difference"] <= values["to"]
        assert 0 < values["p"] <= values["p Holm"] <= 1


@pytest.mark.parametrize(("file", "choose_best"), [("table1_macro", max), ("table2_macro", min)])
def test_bold_is_the_best_of_ours(compared, file, choose_best):
    """Lower is better for rank distance."""
    table = compared.get_table(file)
    rows = [row for row in table.rows if not row.from_paper]

    for place in range(len(table.columns)):
        cells = [row.cells[place] for row in rows]
        best = choose_best(cell.value for cell in cells)
        assert [cell.value for cell in cells if cell.best] == [best]


def build_table(label: str, group: str, name: str, shown: str, note: str) -> Table:
    """Builds a table with some texts in all places."""
    cell = Cell(shown, shown, sd=0.5, sd_text="0.5", p=0.01, best=True)
    return Table(
        file="a_file",
        title=note,
        heads=(label,),
        columns=(Column(name, group), Column(label)),
        rows=(
            Row((label,), (cell, Cell())),
            Row((name,), (Cell(), Cell("1", 1.0)), from_paper=True),
        ),
        note=note,
    )


@given(st.lists(TEXTS, min_size=5, max_size=5))
@settings(max_examples=60, deadline=None)
def test_any_text_stays_text_in_every_rendering(texts):
    table = build_table(*texts)

    rows = list(csv.reader(io.StringIO(rendering.to_csv(table))))
    assert rows[0][0] == texts[0]
    assert rows[1][:2] == [texts[0], texts[3]]
    assert len({len(row) for row in rows}) == 1

    for line in rendering.to_markdown(table).splitlines():
        if line.startswith("| "):
            assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) == 4
            assert "<" not in line

    latex = rendering.escape_latex("".join(texts))
    commands = r"\\text\w+\{\}|\\[&%$#_{}]|\\ldots\{\}|\$\\\w+\$|\$-\$"
    assert not set("&%$#_{}~^\\<>|") & set(re.sub(commands, "", latex))

    content = json.loads(json.dumps(rendering.to_json_object(table)))
    assert content["rows"][0]["labels"] == [texts[0]]


def test_rich_shows_markup_as_text():
    table = build_table("[red]label[/]", "group", "[bold]", "[link]", "note")
    console = Console(width=100, record=True, file=io.StringIO())

    console.print(rendering.to_rich_table(table))

    assert "[red]label[/]" in console.export_text()


def test_latex_is_booktabs_with_as_many_cells_as_columns(compared):
    for table in compared.tables:
        text = rendering.to_latex(table)
        assert text.count(r"\toprule") == text.count(r"\bottomrule") == 1
        body = text[text.rindex(r"\midrule") :]
        for line in body.splitlines():
            if line.endswith(r"\\"):
                cells = len(re.findall(r"(?<!\\)&", line)) + 1
                assert cells == len(table.heads) + len(table.columns)


def test_stars_are_written(compared):
    table = compared.get_table("table1_macro")

    assert r"\*" in rendering.to_markdown(table).split("---:")[-1]
    assert "$^{*}$" in rendering.to_latex(table)


def test_the_tables_are_written_to_files(compared, tmp_path):
    compared.save_tables(tmp_path)

    content = json.loads((tmp_path / "comparison.json").read_text())
    assert content["benchmarks"]["made_r"]["systems"][1]["seeds"] == [1, 2]
    assert content["tables"]["table1_macro"]["rows"][0]["labels"] == ["untrained", "1"]
    csv_files = {path.stem for path in tmp_path.glob("*.csv")}
    assert csv_files == {table.file for table in compared.tables}
    assert "\\begin{tabular}" in (tmp_path / "tables.tex").read_text()
    assert "| system |" in (tmp_path / "tables.md").read_text()


def test_a_terminal_gets_all_columns_whole_however_narrow_it_is():
    label = "multilingual-e5-small / query_prefix='query: '"
    columns = tuple(Column(name, f"benchmark {number}") for number in range(3) for name in "MC")
    cells = tuple(Cell(f"0.{number}234", 0.1, sd_text="0.0012", p=0.01) for number in range(6))
    table = Table("wide", "Wide", ("system",), columns, (Row((label,), cells),), note="A note.")
    for width in (60, 100, 200):
        console = Console(width=width, file=io.StringIO(), record=True)

        for part in rendering.to_rich_tables(table, width):
            console.print(part)

        printed = console.export_text()
        assert "…" not in printed
        assert max(len(line) for line in printed.splitlines()) <= width
        for number in range(6):
            assert printed.count(f"0.{number}234 ± 0.0012 *") == 1
        assert printed.count("A note.") == 1
    (whole,) = rendering.to_rich_tables(table, 200)
    assert len(whole.columns) == 7


def test_captions_of_latex_have_no_number_of_their_own(compared):
    for table in compared.tables:
        assert r"\caption{Table" not in rendering.to_latex(table)
    assert r"\caption{Rank distance, lower" in rendering.to_latex(
        compared.get_table("table2_macro")
    )


def test_a_table_with_the_values_of_another_is_shown_once(compared):
    table = compared.get_table("table1_macro")
    again = replace(table, file="again", title="Again")
    other = replace(table, rows=table.rows[:-1])

    assert list_distinct_tables([table, again, other]) == [table, other]
