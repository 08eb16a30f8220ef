"""Table: the one record from which terminal, Markdown, LaTeX, CSV, JSON and HTML are written."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from hybrid_ir.comparison.grid import Grid
from hybrid_ir.evaluation.report import format_number

ALPHA = 0.05
TITLES = {
    "map": "mAP",
    "rank_distance": "rank distance",
    "ndcg@10": "nDCG@10",
    "mrr@10": "MRR@10",
    "recall@1": "R@1",
    "recall@10": "R@10",
    "recall@100": "R@100",
    "lpr@1": "own language first",
}
VIEW_TITLES = {"mono": "M", "cross": "C", "multi": "Mul"}
NOTHING = "·"


@dataclass(frozen=True)
class Cell:
    """A value as it is shown, and as it was computed; None where there is nothing."""

    text: str = NOTHING
    value: float | str | None = None
    sd: float | None = None  # over seeds
    sd_text: str = ""
    p: float | None = None  # after Holm
    best: bool = False

    @property
    def star(self) -> bool:
        return self.p is not None and self.p < ALPHA

    @property
    def plain(self) -> str:
        return (
            self.text + (f" ± {self.sd_text}" if self.sd_text else "") + (" *" if self.star else "")
        )


@dataclass(frozen=True)
class Column:
    name: str
    group: str = ""

    @property
    def title(self) -> str:
        return f"{self.group} {self.name}".strip()


@dataclass(frozen=True)
class Row:
    labels: tuple[str, ...]
    cells: tuple[Cell, ...]
    ours: bool = True  # False: the paper's


@dataclass(frozen=True)
class Table:
    """`heads` name the label columns; `file` is the stem of its CSV."""

    file: str
    title: str
    heads: tuple[str, ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    note: str = ""
    marks: bool = False  # whether stars and bold mean something here
    shown: int | None = (
        None  # rows on paper, where the CSV has more: half of the top, half of the bottom
    )

    @property
    def short(self) -> "Table":
        """The table as people see it."""
        if self.shown is None or len(self.rows) <= self.shown:
            return self
        top, bottom = self.rows[: self.shown // 2], self.rows[-(self.shown // 2) :]
        gap = Row(("…",) + ("",) * (len(self.heads) - 1), tuple(Cell("") for _ in self.columns))
        note = f"{self.note} {self.shown} of {len(self.rows)} rows; all are in {self.file}.csv.".strip()
        return Table(
            self.file, self.title, self.heads, self.columns, (*top, gap, *bottom), note, self.marks
        )

    def only(self, *names: str) -> "Table":
        """The table with some of its columns: a terminal is narrow."""
        places = [i for i, column in enumerate(self.columns) if column.name in names]
        rows = tuple(replace(row, cells=tuple(row.cells[i] for i in places)) for row in self.rows)
        return replace(self, columns=tuple(self.columns[i] for i in places), rows=rows)

    @property
    def groups(self) -> list[tuple[str, int]]:
        """Neighbouring columns of one group, as (name, how many)."""
        found: list[tuple[str, int]] = []
        for column in self.columns:
            if found and found[-1][0] == column.group:
                found[-1] = (column.group, found[-1][1] + 1)
            else:
                found.append((column.group, 1))
        return found


@dataclass(frozen=True)
class Formatted:
    """How the numbers of one metric are written."""

    metric: str
    signed: bool = field(default=False)

    def __call__(self, value: float) -> str:
        text = format_number(value, self.metric)
        return f"+{text}" if self.signed and value > 0 else text.replace("-", "−")


def cell_of(grid: Grid, system: int, column: int, mark: bool = True) -> Cell:
    """The mean over seeds with its standard deviation, bold where it is the best shown, starred where it differs."""
    value, sd, p = (float(values[system, column]) for values in (grid.mean, grid.sd, grid.adjusted))
    if math.isnan(value):
        return Cell()
    write = Formatted(grid.metric)
    return Cell(
        write(value),
        value,
        None if math.isnan(sd) else sd,
        "" if math.isnan(sd) else write(sd),
        None if math.isnan(p) else p,
        mark and len(grid.mean) > 1 and write(value) == write(grid.best(column)),
    )


def plain_cell(value: float | None, metric: str, signed: bool = False) -> Cell:
    missing = value is None or math.isnan(value)
    return Cell() if missing else Cell(Formatted(metric, signed)(value), float(value))


def p_cell(p: float) -> Cell:
    if math.isnan(p):
        return Cell()
    return Cell(
        "<.0001" if p < 0.0001 else f"{p:.4f}".removeprefix("0") if p < 1 else "1", float(p)
    )


def text_cell(text: str) -> Cell:
    return Cell(text, text)


def without_empty_columns(
    columns: Sequence[Column], rows: Sequence[Row]
) -> tuple[tuple[Column, ...], tuple[Row, ...]]:
    """Leave out columns in which no row has a value: a monolingual benchmark has no cross-lingual ones."""
    kept = [i for i in range(len(columns)) if any(row.cells[i].value is not None for row in rows)]
    return (
        tuple(columns[i] for i in kept),
        tuple(Row(row.labels, tuple(row.cells[i] for i in kept), row.ours) for row in rows),
    )
