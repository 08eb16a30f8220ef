"""What gains and what loses: query languages, and pairs of query and passage language."""

from dataclasses import replace

import numpy as np

from hybrid_ir.comparison.grid import Grid, Resampling, adjust, differences_only, measure
from hybrid_ir.comparison.section import VIEWS, Section
from hybrid_ir.comparison.table import (
    TITLES,
    VIEW_TITLES,
    Column,
    Row,
    Table,
    p_cell,
    plain_cell,
    without_empty_columns,
)

LIST = 16  # pairs shown where there are more
PAIRS_TESTED_UP_TO = (
    30  # languages: 122 have 14,884 pairs, and Holm would need 100 sign flips for each
)


def pair_grid(section: Section, metric: str, chance: Resampling) -> Grid:
    """Every pair of query and passage language as a cell "query → passage", monolingual pairs included; one family.

    Differences alone where there are many languages.
    """
    places = {
        f"{q} → {p}": i for i, (view, q, p) in enumerate(section.rows.settings) if view != "multi"
    }
    if len(section.languages) > PAIRS_TESTED_UP_TO:
        return differences_only(section, metric, places)
    one_setting = np.eye(len(section.rows.settings), dtype=bool)
    cells = {name: one_setting[i] for name, i in places.items()}
    return adjust([measure(section, metric, cells, chance, intervals=True)])[0]


def change_tables(section: Section, metric: str, chance: Resampling, pairs: Grid) -> list[Table]:
    """What gains and what loses, sorted: query languages in each view, then pairs of languages."""
    views = {view: section.mask(view) for view in VIEWS if section.mask(view).any()}
    cells = {
        f"{language}, {VIEW_TITLES[view]}": section.mask(view, asked=[language])
        for view in views
        for language in section.languages
    }
    languages = adjust([measure(section, metric, cells, chance, intervals=True)])[0]
    return [
        change_table(section, i, grid, what)
        for i, base in enumerate(section.baselines)
        if base is not None
        for grid, what in ((languages, "languages"), (pairs, "pairs"))
    ]


def change_table(section: Section, system: int, grid: Grid, what: str) -> Table:
    label, base = section.systems[system].label, section.systems[section.baselines[system]].label
    sign = -1 if grid.higher_is_better else 1
    order = [
        k
        for k in np.argsort(sign * grid.difference[system], kind="stable")
        if not np.isnan(grid.difference[system, k])
    ]
    rows = []
    for k in order:
        ends = [
            plain_cell(values[system, k], grid.metric, signed=True)
            for values in (grid.difference, grid.low, grid.high)
        ]
        # a star where the corrected test says so, whatever the uncorrected interval shows
        first = replace(ends[0], p=p_cell(grid.adjusted[system, k]).value)
        rows.append(
            Row(
                (grid.cells[k],),
                (first, *ends[1:], p_cell(grid.p[system, k]), p_cell(grid.adjusted[system, k])),
            )
        )
    columns = tuple(Column(name) for name in ("difference", "95% from", "to", "p", "p Holm"))
    note = f"Best first. * p < .05 after Holm over all systems and {what}; intervals are not corrected."
    if np.isnan(grid.p).all():
        columns, rows = without_empty_columns(columns, rows)
        note = (
            f"Best first. Differences alone: with more than {PAIRS_TESTED_UP_TO} languages there are too many pairs to test; "
            "the table by query language has tests."
        )
    kind = "query languages" if what == "languages" else "pairs of query and passage language"
    title = (
        f"{section.name}: {kind}, {TITLES.get(grid.metric, grid.metric)} of {label} minus {base}"
    )
    head = "query language, view" if what == "languages" else "pair"
    return Table(
        f"{section.stem}_{what}_{system}", title, (head,), columns, tuple(rows), note, shown=LIST
    )
