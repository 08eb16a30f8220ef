"""The paper's tables 1 and 2 over all benchmarks, and what stands behind every star in them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from hybrid_ir.comparison import paper
from hybrid_ir.comparison.leads import compare_leads, compare_with_best, find_weak_systems
from hybrid_ir.comparison.section import Section
from hybrid_ir.comparison.statistics import (
    Grid,
    Resampling,
    adjust_family,
    compare_with_baselines,
)
from hybrid_ir.comparison.table import (
    VIEW_TITLES,
    VIEWS_NOTE,
    Cell,
    Column,
    Row,
    Table,
    build_mean_cell,
    build_p_cell,
    build_text_cell,
    build_value_cell,
    describe_marks,
    get_metric_title,
)
from hybrid_ir.evaluation.rank_table import VIEWS

_MEANS_NOTE = "Bold: best of ours. ± standard deviation over seeds."
_EFFECTS_NOTE = (
    "Interval: cluster bootstrap, not corrected for their number. Standardised: difference over "
    "the standard deviation of the questions' differences. Better, worse: share of questions."
)
_EFFECTS_COLUMNS = (
    "mean",
    "baseline",
    "difference",
    "95% from",
    "to",
    "p",
    "p Holm",
    "standardised",
    "better",
    "worse",
)


@dataclass(frozen=True, eq=False)
class MainMeans:
    """The means of a benchmark in tables 1 and 2, whose tests are one family.

    Attributes:
        section: The systems of the benchmark.
        views: The main metric in the three views.
        distance: Rank distance in the multilingual view. A system whose mAP there is below that of
            the best by more than chance explains may not lead in it.
        quality: That mAP, each system against the best: a family of its own.
    """

    section: Section
    views: Grid
    distance: Grid
    quality: Grid

    @property
    def grids(self) -> tuple[Grid, Grid]:
        """The grids of tables 1 and 2."""
        return self.views, self.distance

    def list_means(self) -> list[tuple[Grid, int]]:
        """Returns the grid and the place of the cell of every mean."""
        means = []
        for grid in self.grids:
            for place in range(len(grid.cells)):
                means.append((grid, place))
        return means


def compute_main_means(
    section: Section, metric: str, resampling: Resampling, micro: bool = False
) -> MainMeans:
    """Computes and tests the means of a benchmark, macro or `micro`."""
    cells = {view: section.select_settings(view) for view in VIEWS}
    views = compare_with_baselines(section, metric, cells, resampling, micro, intervals=True)
    distance = compare_with_baselines(
        section, "rank_distance", {"multi": cells["multi"]}, resampling, micro, intervals=True
    )
    adjusted_views, adjusted_distance = adjust_family([views, distance])
    multi = {"multi": cells["multi"]}
    quality = compare_with_best(section, "map", multi, resampling, micro)
    may_lead = ~find_weak_systems(quality)
    adjusted_distance = replace(adjusted_distance, may_lead=may_lead)
    if metric.startswith("rank_distance"):
        adjusted_views = replace(adjusted_views, may_lead=may_lead)
    views, distance = compare_leads(
        section, [adjusted_views, adjusted_distance], cells, resampling, micro
    )
    return MainMeans(section, views, distance, quality)


def build_overview_tables(
    means: Sequence[MainMeans], metric: str, with_paper: bool, micro: bool
) -> list[Table]:
    """Builds tables 1 and 2 over all benchmarks, those of them that have a column.

    Args:
        means: The means of each benchmark.
        metric: The metric of Table 1.
        with_paper: Whether the paper's own rows stand below.
        micro: Whether these are means over rows, which the paper does not report.
    """
    with_paper = with_paper and not micro
    table1_columns = []
    table2_columns = []
    for benchmark in means:
        for place, view in enumerate(benchmark.views.cells):
            table1_columns.append(_MeanColumn(benchmark.section, benchmark.views, place, view))
        table2_columns.append(_MeanColumn(benchmark.section, benchmark.distance, 0, "multi"))
    tables = [
        _build_means_table(1, table1_columns, metric, with_paper, micro),
        _build_means_table(2, table2_columns, "rank_distance", with_paper, micro),
    ]
    return [table for table in tables if table.columns]


@dataclass(frozen=True, eq=False)
class _MeanColumn:
    """A column of Table 1 or 2: a cell of a benchmark's grid."""

    section: Section
    grid: Grid
    place: int
    view: str


def _build_means_table(
    number: int, columns: Sequence[_MeanColumn], metric: str, with_paper: bool, micro: bool
) -> Table:
    """Rows are systems, columns the benchmarks' views."""
    rows = _build_system_rows(columns)
    notes = _describe_means(columns) + _describe_model(columns)
    if with_paper:
        paper_rows, paper_notes = _build_paper_rows(columns, metric)
        rows += paper_rows
        notes += paper_notes
    title = f"Table {number}"
    if micro:
        title += " (micro)"
    title += f": {get_metric_title(metric)}"
    if metric == "rank_distance":
        title += ", lower is more even"
    title += ", mean over rows (micro)" if micro else ", mean over settings (macro)"
    table = Table(
        file=f"table{number}_{'micro' if micro else 'macro'}",
        title=title,
        heads=("system", "seeds"),
        columns=tuple(Column(VIEW_TITLES[column.view], column.section.name) for column in columns),
        rows=tuple(rows),
        note=" ".join(notes),
    )
    return table.drop_empty_columns()


def _build_system_rows(columns: Sequence[_MeanColumn]) -> list[Row]:
    """Returns a row for each label, with empty cells where it was not measured."""
    seeds_by_label: dict[str, int] = {}
    for column in columns:
        for system in column.section.systems:
            seeds = seeds_by_label.get(system.label, 0)
            seeds_by_label[system.label] = max(seeds, len(system.results))
    rows = []
    for label, seeds in seeds_by_label.items():
        cells = []
        for column in columns:
            labels = [system.label for system in column.section.systems]
            if label in labels:
                cells.append(build_mean_cell(column.grid, labels.index(label), column.place))
            else:
                cells.append(Cell())
        rows.append(Row((label, str(seeds)), tuple(cells)))
    return rows


def _describe_means(columns: Sequence[_MeanColumn]) -> list[str]:
    """Returns what views, stars and bold numbers of the table are."""
    sections = {column.section for column in columns}
    baselines = {section.describe_baselines() for section in sections}
    baseline = baselines.pop() if len(baselines) == 1 else "its baseline"
    views = {column.view for column in columns}
    notes = [VIEWS_NOTE] if len(views) > 1 else []
    if any(section.tested_systems for section in sections):
        has_one_seed = any(column.grid.one_seed.any() for column in columns)
        family = "all main means of the benchmark"
        notes.append(describe_marks(baseline, family, has_one_seed))
    notes.append(_MEANS_NOTE)
    return notes


def _describe_model(columns: Sequence[_MeanColumn]) -> list[str]:
    """Returns which model it is, where the labels do not say so."""
    if not columns:
        return []
    systems = columns[0].section.systems
    if len({system.model for system in systems}) > 1:
        return []
    is_left_out = any(
        system.name is not None or system.label != system.long_label for system in systems
    )
    return [f"Model: {systems[0].model}."] if is_left_out else []


def _build_paper_rows(columns: Sequence[_MeanColumn], metric: str) -> tuple[list[Row], list[str]]:
    """Returns the paper's systems as far as its numbers are comparable, and notes why not.

    A benchmark gets a note only where the paper has numbers of this metric.
    """
    comparability = {}
    for column in columns:
        section = column.section
        comparability[section] = paper.check_comparability(
            section.benchmark_metrics, section.benchmark_card
        )
    sections_with_numbers = set()
    rows = []
    for system in paper.list_paper_systems():
        cells = []
        for column in columns:
            value = system.get_mean(column.section.benchmark, column.view, metric)
            if value is not None:
                sections_with_numbers.add(column.section)
            if not comparability[column.section].means:
                value = None
            cells.append(_build_paper_cell(value, metric))
        if any(cell.value is not None for cell in cells):
            rows.append(Row((system.label, ""), tuple(cells), from_paper=True))
    notes = []
    for section in comparability:
        note = comparability[section].note
        if note and section in sections_with_numbers:
            notes.append(f"{section.name}: {note}")
    return rows, notes


def _build_paper_cell(value: float | None, metric: str) -> Cell:
    """Returns a cell with as many digits as the paper's Table 1 has."""
    if value is None or metric != "map":
        return build_value_cell(value, metric)
    return Cell(f"{value:.3f}", value)


def build_effects_tables(macro: MainMeans, micro: MainMeans) -> list[Table]:
    """Builds the tables of every tested difference of a benchmark, those that have a row."""
    tables = [_build_effects_table(macro, "macro"), _build_effects_table(micro, "micro")]
    return [table for table in tables if table.rows]


def _build_effects_table(means: MainMeans, kind: str) -> Table:
    """A row holds a system's difference in one mean: interval, p, and how large it is."""
    section = means.section
    labels = [system.label for system in section.systems]
    baselines = {baseline for _, baseline in section.tested_systems}
    has_several_baselines = len(baselines) > 1
    rows = []
    for system, baseline in section.tested_systems:
        for grid, place in means.list_means():
            if np.isnan(grid.p[system, place]):
                continue
            names = [labels[system]]
            if has_several_baselines:
                names.append(labels[baseline])
            names.append(f"{VIEW_TITLES[grid.cells[place]]} {get_metric_title(grid.metric)}")
            rows.append(Row(tuple(names), _build_effect_cells(grid, place, system, baseline)))
    if has_several_baselines:
        baseline_name = "the baseline"
        heads = ("system", "baseline", "measure")
    else:
        baseline_name = labels[section.tested_systems[0][1]] if section.tested_systems else ""
        heads = ("system", "measure")
    return Table(
        file=f"{section.stem}_effects_{kind}",
        title=f"{section.name}: differences from {baseline_name} ({kind} means)",
        heads=heads,
        columns=tuple(Column(name) for name in _EFFECTS_COLUMNS),
        rows=tuple(rows),
        note=_EFFECTS_NOTE,
    )


def _build_effect_cells(grid: Grid, place: int, system: int, baseline: int) -> tuple[Cell, ...]:
    standardised = float(grid.standardised[system, place])
    standardised_cell = Cell()
    if not np.isnan(standardised):
        standardised_cell = Cell(f"{standardised:+.2f}".replace("-", "−"), standardised)
    return (
        build_value_cell(grid.mean[system, place], grid.metric),
        build_value_cell(grid.mean[baseline, place], grid.metric),
        build_value_cell(grid.difference[system, place], grid.metric, signed=True),
        build_value_cell(grid.low[system, place], grid.metric, signed=True),
        build_value_cell(grid.high[system, place], grid.metric, signed=True),
        build_p_cell(grid.p[system, place]),
        build_p_cell(grid.adjusted_p[system, place]),
        standardised_cell,
        _build_share_cell(grid.better[system, place]),
        _build_share_cell(grid.worse[system, place]),
    )


def _build_share_cell(share: float) -> Cell:
    return Cell(f"{share:.0%}", float(share))


def build_systems_table(section: Section) -> Table:
    """Builds the table of what is compared: the systems, their seeds and their baselines."""
    rows = []
    for system, baseline in zip(section.systems, section.baselines, strict=True):
        baseline_label = "" if baseline is None else section.systems[baseline].label
        seeds = ["none" if seed is None else str(seed) for seed in system.seeds]
        cells = (
            build_text_cell(baseline_label),
            build_text_cell(" ".join(seeds)),
            Cell(str(len(system.results)), len(system.results)),
        )
        rows.append(Row((system.label,), cells))
    return Table(
        file=f"{section.stem}_systems",
        title=f"{section.name}: systems",
        heads=("system",),
        columns=(Column("baseline"), Column("seeds"), Column("results")),
        rows=tuple(rows),
    )
