"""The paper's tables 1 and 2 over all benchmarks, and what stands behind every star in them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hybrid_ir.comparison import paper
from hybrid_ir.comparison.grid import Grid, Resampling, adjust, measure
from hybrid_ir.comparison.section import VIEWS, Section
from hybrid_ir.comparison.table import (
    TITLES,
    VIEW_TITLES,
    Cell,
    Column,
    Row,
    Table,
    cell_of,
    p_cell,
    plain_cell,
    text_cell,
    without_empty_columns,
)

STARS = (
    "* differs from the baseline, p < .05 after Holm over tables 1 and 2 of the benchmark. Bold: best of ours. "
    "± standard deviation over seeds."
)


@dataclass(frozen=True, eq=False)
class Headline:
    """The reported means of a benchmark: one family of tests."""

    section: Section
    views: Grid  # the chosen metric in the three views
    distance: Grid  # rank distance

    @property
    def grids(self) -> tuple[Grid, Grid]:
        return self.views, self.distance

    @property
    def cells(self) -> list[tuple[Grid, int]]:
        """Every reported mean as its grid and column."""
        return [(grid, k) for grid in self.grids for k in range(len(grid.cells))]


def headline(section: Section, metric: str, chance: Resampling, micro: bool = False) -> Headline:
    cells = {view: section.mask(view) for view in VIEWS}
    views = measure(section, metric, cells, chance, micro, intervals=True)
    distance = measure(
        section, "rank_distance", {"multi": cells["multi"]}, chance, micro, intervals=True
    )
    return Headline(section, *adjust([views, distance]))


def table1(
    headlines: Sequence[Headline], metric: str, with_paper: bool, micro: bool = False
) -> Table:
    return means_table(headlines, 0, metric, with_paper, micro, "table1")


def table2(headlines: Sequence[Headline], with_paper: bool, micro: bool = False) -> Table:
    return means_table(headlines, 1, "rank_distance", with_paper, micro, "table2")


def means_table(
    headlines: Sequence[Headline], which: int, metric: str, with_paper: bool, micro: bool, file: str
) -> Table:
    """Rows are systems, columns the benchmarks' views; Table 1 shows the chosen metric, Table 2 rank distance."""
    columns, labels = [], {}
    for one in headlines:
        grid = one.grids[which]
        columns += [
            (one, grid, k, Column(VIEW_TITLES[view], one.section.name))
            for k, view in enumerate(grid.cells)
        ]
        for system in one.section.systems:
            labels[system.label] = max(labels.get(system.label, 0), len(system.results))
    places = {
        one: {system.label: i for i, system in enumerate(one.section.systems)} for one in headlines
    }
    rows = [
        Row(
            (label, str(seeds)),
            tuple(
                cell_of(grid, places[one][label], k) if label in places[one] else Cell()
                for one, grid, k, _ in columns
            ),
        )
        for label, seeds in labels.items()
    ]
    printed, notes = (
        paper_rows([(one.section, grid.cells[k]) for one, grid, k, _ in columns], metric)
        if (with_paper and not micro)
        else ([], [])
    )
    rows += printed
    mean = "mean over rows (micro)" if micro else "mean over settings (macro)"
    shown, kept = without_empty_columns([column for *_, column in columns], rows)
    direction = ", lower is more even" if metric == "rank_distance" else ""
    title = f"Table {file[-1]}{' (micro)' if micro else ''}: {TITLES.get(metric, metric)}{direction}, {mean}"
    return Table(
        f"{file}_{'micro' if micro else 'macro'}",
        title,
        ("system", "seeds"),
        shown,
        kept,
        " ".join([STARS, *model_note(headlines), *notes]),
        marks=True,
    )


def model_note(headlines: Sequence[Headline]) -> list[str]:
    """Which model it is, where labels do not say."""
    systems = [system for one in headlines for system in one.section.systems]
    return (
        [f"Model: {systems[0].model}."]
        if systems and systems[0].label != systems[0].long_label
        else []
    )


def paper_rows(columns: Sequence[tuple[Section, str]], metric: str) -> tuple[list[Row], list[str]]:
    """The paper's systems in columns of a benchmark and a view, as far as its numbers are comparable, and why not."""
    rows, beside = [], {section: paper.beside(*section.described) for section, _ in columns}
    known: set[Section] = set()  # where the paper has numbers of this metric, shown or not
    for theirs in paper.systems():
        values = [theirs.mean(section.benchmark, view, metric) for section, view in columns]
        known |= {
            section
            for (section, _), value in zip(columns, values, strict=True)
            if value is not None
        }
        shown = [
            value if beside[section].means else None
            for (section, _), value in zip(columns, values, strict=True)
        ]
        if any(value is not None for value in shown):
            rows.append(
                Row(
                    (theirs.label, ""),
                    tuple(paper_cell(value, metric) for value in shown),
                    ours=False,
                )
            )
    return rows, [
        f"{section.name}: {found.note}"
        for section, found in beside.items()
        if found.note and section in known
    ]


def paper_cell(value: float | None, metric: str) -> Cell:
    """With as many digits as the paper's Table 1 has."""
    return (
        plain_cell(value, metric)
        if value is None or metric != "map"
        else Cell(f"{value:.3f}", value)
    )


def effects_table(one: Headline, micro: bool = False) -> Table:
    """Every tested difference of a benchmark: interval, p, and how large it is."""
    labels = [system.label for system in one.section.systems]
    several = len({base for base in one.section.baselines if base is not None}) > 1
    rows = []
    for i, base in enumerate(one.section.baselines):
        for grid, k in one.cells:
            if base is not None and not np.isnan(grid.p[i, k]):
                name = f"{VIEW_TITLES[grid.cells[k]]} {TITLES.get(grid.metric, grid.metric)}"
                rows.append(
                    Row(
                        (labels[i], *([labels[base]] if several else []), name),
                        effect_cells(grid, i, k, base),
                    )
                )
    note = (
        "Interval: cluster bootstrap, not corrected for their number. Standardised: difference over the standard deviation "
        "of the questions' differences. Better, worse: share of questions."
    )
    kind = "micro" if micro else "macro"
    only = next((labels[base] for base in one.section.baselines if base is not None), "")
    title = (
        f"{one.section.name}: differences from {'the baseline' if several else only} ({kind} means)"
    )
    columns = (
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
    return Table(
        f"{one.section.stem}_effects_{kind}",
        title,
        ("system", *(["baseline"] if several else []), "measure"),
        tuple(Column(name) for name in columns),
        tuple(rows),
        note,
    )


def effect_cells(grid: Grid, i: int, k: int, base: int) -> tuple[Cell, ...]:
    values = [
        (grid.mean[i, k], False),
        (grid.mean[base, k], False),
        (grid.difference[i, k], True),
        (grid.low[i, k], True),
        (grid.high[i, k], True),
    ]
    size = float(grid.standardised[i, k])
    shares = [Cell(f"{share[i, k]:.0%}", float(share[i, k])) for share in (grid.better, grid.worse)]
    return (
        *(plain_cell(value, grid.metric, signed) for value, signed in values),
        p_cell(grid.p[i, k]),
        p_cell(grid.adjusted[i, k]),
        Cell() if np.isnan(size) else Cell(f"{size:+.2f}".replace("-", "−"), size),
        *shares,
    )


def systems_table(section: Section) -> Table:
    """Who is compared, on which seeds, against whom."""
    columns = ("baseline", "seeds", "results")
    rows = [
        Row(
            (system.label,),
            (
                text_cell("" if base is None else section.systems[base].label),
                text_cell(" ".join("none" if seed is None else str(seed) for seed in system.seeds)),
                Cell(str(len(system.results)), len(system.results)),
            ),
        )
        for system, base in zip(section.systems, section.baselines, strict=True)
    ]
    return Table(
        f"{section.stem}_systems",
        f"{section.name}: systems",
        ("system",),
        tuple(Column(name) for name in columns),
        tuple(rows),
    )
