"""Table: the one record that is written to the terminal, Markdown, LaTeX, CSV, JSON and HTML."""

import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from hybrid_ir.comparison.statistics import SIGNIFICANT, Grid
from hybrid_ir.evaluation.report import format_number

_METRIC_TITLES = {
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
VIEW_NAMES = {"mono": "monolingual", "cross": "cross-lingual", "multi": "multilingual"}
VIEWS_NOTE = (
    "M: question and passages in one language. C: in two different languages. Mul: one pool of the "
    "passages of all languages."
)
ONE_SEED_MARK = "†"
_NO_VALUE = "·"


def get_metric_title(metric: str) -> str:
    """Returns the name by which readers know a metric."""
    return _METRIC_TITLES.get(metric, metric)


@dataclass(frozen=True)
class Cell:
    """A value as it is shown and as it was computed.

    Attributes:
        text: The value as it is shown.
        value: The value, None where there is none.
        sd: The standard deviation over seeds.
        sd_text: The same as it is shown.
        p: The p value after Holm's correction, where the value was tested.
        best: Whether it is shown as the best of its column.
        one_seed: Whether the system or its baseline was trained with one seed only.
    """

    text: str = _NO_VALUE
    value: float | str | None = None
    sd: float | None = None
    sd_text: str = ""
    p: float | None = None
    best: bool = False
    one_seed: bool = False

    @property
    def mark(self) -> str:
        """A star where the test is significant, a dagger where so is one seed of a training."""
        if self.p is None or self.p >= SIGNIFICANT:
            return ""
        return ONE_SEED_MARK if self.one_seed else "*"

    @property
    def full_text(self) -> str:
        """The value with its standard deviation and its star."""
        text = self.text
        if self.sd_text:
            text += f" ± {self.sd_text}"
        if self.mark:
            text += f" {self.mark}"
        return text


@dataclass(frozen=True)
class Column:
    """A column of values; neighbours with one `group` share a heading."""

    name: str
    group: str = ""

    @property
    def title(self) -> str:
        """The name with that of its group."""
        return f"{self.group} {self.name}".strip()


@dataclass(frozen=True)
class Row:
    """A row of labels and values, measured by us or printed in the paper."""

    labels: tuple[str, ...]
    cells: tuple[Cell, ...]
    from_paper: bool = False

    @property
    def origin(self) -> str:
        """Whose numbers they are."""
        return "paper" if self.from_paper else "ours"


@dataclass(frozen=True)
class Table:
    """A table of a report.

    Attributes:
        file: The stem of its CSV file.
        title: Its title.
        heads: The names of the columns of labels.
        columns: The columns of values.
        rows: The rows.
        note: What readers need to understand it.
        most_rows: How many rows are shown where the CSV file has more: half of them from the top,
            half from the bottom. None for all.
    """

    file: str
    title: str
    heads: tuple[str, ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    note: str = ""
    most_rows: int | None = None

    def shorten(self) -> "Table":
        """Returns the table as people see it, with at most `most_rows` rows."""
        if self.most_rows is None or len(self.rows) <= self.most_rows:
            return self
        half = self.most_rows // 2
        labels = ("…",) + ("",) * (len(self.heads) - 1)
        gap = Row(labels, tuple(Cell("") for _ in self.columns))
        count = f"{self.most_rows} of {len(self.rows)} rows; all are in {self.file}.csv."
        return replace(
            self,
            rows=(*self.rows[:half], gap, *self.rows[-half:]),
            note=f"{self.note} {count}".strip(),
            most_rows=None,
        )

    def select_columns(self, names: Collection[str]) -> "Table":
        """Returns the table with some of its columns, since a terminal is narrow."""
        kept = [place for place, column in enumerate(self.columns) if column.name in names]
        return self.keep_columns(kept)

    def drop_empty_columns(self) -> "Table":
        """Returns the table without columns in which no row has a value.

        A monolingual benchmark has no cross-lingual values.
        """
        kept = []
        for place in range(len(self.columns)):
            if any(row.cells[place].value is not None for row in self.rows):
                kept.append(place)
        return self.keep_columns(kept)

    def keep_columns(self, places: Sequence[int]) -> "Table":
        """Returns the table with the columns at some places, in their order."""
        rows = []
        for row in self.rows:
            rows.append(replace(row, cells=tuple(row.cells[place] for place in places)))
        columns = tuple(self.columns[place] for place in places)
        return replace(self, columns=columns, rows=tuple(rows))

    def has_values_of(self, other: "Table") -> bool:
        """Returns whether both tables show the same rows and values."""
        if len(self.rows) != len(other.rows):
            return False
        for row, other_row in zip(self.rows, other.rows, strict=True):
            texts = [cell.full_text for cell in row.cells]
            other_texts = [cell.full_text for cell in other_row.cells]
            if row.labels != other_row.labels or texts != other_texts:
                return False
        return True

    @property
    def caption(self) -> str:
        """The title without the number of the paper's table, since LaTeX writes numbers itself."""
        caption = re.sub(r"^Table \d+( \(micro\))?: ", "", self.title)
        if caption != self.title and caption[:2].islower():
            caption = caption[0].upper() + caption[1:]
        return caption

    def list_groups(self) -> list[tuple[str, int]]:
        """Returns the name and the size of each group of neighbouring columns."""
        groups: list[tuple[str, int]] = []
        for column in self.columns:
            if groups and groups[-1][0] == column.group:
                groups[-1] = (column.group, groups[-1][1] + 1)
            else:
                groups.append((column.group, 1))
        return groups


def describe_marks(baseline: str, family: str, has_one_seed: bool) -> str:
    """Returns what the star means, and the dagger where there may be one.

    Args:
        baseline: What systems are tested against.
        family: The tests over which Holm's correction goes.
        has_one_seed: Whether a system or a baseline was trained with one seed only.
    """
    note = f"* differs from {baseline}, p < .05 after Holm over {family}."
    if has_one_seed:
        note += (
            f" {ONE_SEED_MARK} the same, but one of the two was trained with one seed only: "
            "another seed may turn it round."
        )
    return note


def format_value(value: float, metric: str, signed: bool = False) -> str:
    """Returns a value of a metric as text, with a plus where it is `signed` and positive."""
    text = format_number(value, metric)
    if signed and value > 0:
        return f"+{text}"
    return text.replace("-", "−")


def build_mean_cell(grid: Grid, system: int, column: int, mark_best: bool = True) -> Cell:
    """Returns the mean over seeds with its standard deviation.

    It has a star where it differs from the baseline, and is marked where its text is that of the
    best system.
    """
    value = float(grid.mean[system, column])
    sd = float(grid.sd[system, column])
    p = float(grid.adjusted_p[system, column])
    if math.isnan(value):
        return Cell()
    text = format_value(value, grid.metric)
    has_rivals = len(grid.mean) > 1
    best_text = format_value(grid.find_best(column), grid.metric)
    return Cell(
        text=text,
        value=value,
        sd=None if math.isnan(sd) else sd,
        sd_text="" if math.isnan(sd) else format_value(sd, grid.metric),
        p=None if math.isnan(p) else p,
        best=mark_best and has_rivals and text == best_text,
        one_seed=bool(grid.one_seed[system]),
    )


def build_value_cell(value: float | None, metric: str, signed: bool = False) -> Cell:
    """Returns a value of a metric without anything beside it."""
    if value is None or math.isnan(value):
        return Cell()
    return Cell(format_value(value, metric, signed), float(value))


def build_p_cell(p: float) -> Cell:
    """Returns a p value with four digits and without the zero before the point."""
    if math.isnan(p):
        return Cell()
    if p < 0.0001:
        text = "<.0001"
    elif p < 1:
        text = f"{p:.4f}".removeprefix("0")
    else:
        text = "1"
    return Cell(text, float(p))


def build_text_cell(text: str) -> Cell:
    """Returns a text as a value."""
    return Cell(text, text)


def list_distinct_tables(tables: Sequence[Table]) -> list[Table]:
    """Returns the tables without those that show the values of an earlier one again.

    Means over rows are those over settings where all settings have as many rows.
    """
    distinct: list[Table] = []
    for table in tables:
        if not any(table.has_values_of(earlier) for earlier in distinct):
            distinct.append(table)
    return distinct
