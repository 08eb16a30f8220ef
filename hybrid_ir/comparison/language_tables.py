"""Tables by language: the paper's tables 3 to 8 and 12, 13, gains and losses, seen against unseen."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from hybrid_ir.comparison import paper
from hybrid_ir.comparison.grid import Chance, Grid, adjust, measure
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
    without_empty_columns,
)

Blocks = Mapping[str, tuple[str, str]]  # title of a group of columns -> view and metric
LIST = 16  # pairs shown where there are more
NOTE = "* differs from the baseline, p < .05 after Holm over this table, systems of other models included. Bold: best of ours."


def language_blocks(section: Section, metric: str) -> dict[str, Blocks]:
    """The tables by language that a benchmark gets: name -> groups of columns."""
    if section.name.startswith("miracl"):
        return {"miracl": {TITLES[name]: ("mono", name) for name in ("ndcg@10", "recall@100")}}
    title = TITLES.get(metric, metric)
    return {metric: {f"{VIEW_TITLES[view]} {title}": (view, metric) for view in VIEWS},
            "recall": {f"{VIEW_TITLES[view]} {TITLES[name]}": (view, name) for view, name in paper.RECALL.items()},
            "rank_distance": {"Mul rank distance": ("multi", "rank_distance")}}


def language_tables(section: Section, metric: str, chance: Chance, with_paper: bool) -> list[Table]:
    """One table per model and kind of measure; query languages down, systems across, the paper's last."""
    tables = []
    for name, blocks in language_blocks(section, metric).items():
        grids = adjust([measure(section, wanted, by_language(section, view), chance) for view, wanted in blocks.values()])
        columns = dict(zip(blocks, grids, strict=True))
        models = list(dict.fromkeys(system.model for system in section.systems))
        for model in models:
            ours = [i for i, system in enumerate(section.systems) if system.model == model]
            theirs = paper.systems(paper.NAMES[model]) if with_paper and model in paper.NAMES else []
            file = f"{section.name}_languages_{name}" + (f"_{model}" if len(models) > 1 else "")
            title = f"{section.name}: {name_of(blocks)} by query language, {model}"
            tables.append(language_table(section, file, title, columns, blocks, ours, theirs))
        for model in paper.MODELS if with_paper else ():
            if model not in {paper.NAMES.get(ours) for ours in models}:
                table = language_table(section, f"{section.name}_languages_{name}_paper_{model}",
                                       f"{section.name}: {name_of(blocks)} by query language, {paper.MODELS[model]} in the paper",
                                       columns, blocks, [], paper.systems(model))
                tables += [table] if table.columns else []
    return [table for table in tables if table.columns]


def name_of(blocks: Blocks) -> str:
    """Measures of a table, each once."""
    return " and ".join(dict.fromkeys(TITLES.get(metric, metric) for _, metric in blocks.values()))


def by_language(section: Section, view: str) -> dict[str, np.ndarray]:
    """A cell per query language, and their mean."""
    return {language: section.mask(view, asked=[language]) for language in section.languages} | {"mean": section.mask(view)}


def language_table(section: Section, file: str, title: str, grids: Mapping[str, Grid], blocks: Blocks, ours: Sequence[int],
                   theirs: Sequence[paper.PaperSystem]) -> Table:
    columns = [Column(section.systems[i].label, group) for group in blocks for i in ours]
    columns += [Column(system.label, group) for group in blocks for system in theirs]
    rows = []
    for k, language in enumerate([*section.languages, "mean"]):
        cells: list[Cell] = [cell_of(grids[group], i, k, mark=len(ours) > 1) for group in blocks for i in ours]
        cells += [plain_cell(system.language(section.name, language, view, metric), metric)
                  for view, metric in blocks.values() for system in theirs]
        rows.append(Row((language,), tuple(cells), ours=bool(ours)))
    shown, kept = without_empty_columns(columns, rows)
    order = sorted(range(len(shown)), key=lambda i: list(blocks).index(shown[i].group))  # ours and the paper's side by side
    kept = tuple(Row(row.labels, tuple(row.cells[i] for i in order), row.ours) for row in kept)
    return Table(file, title, ("query language",), tuple(shown[i] for i in order), kept, NOTE if ours else "", marks=bool(ours))


def pair_grid(section: Section, metric: str, chance: Chance) -> Grid:
    """Every pair of query and passage language as a cell "query → passage", monolingual pairs included; one family."""
    cells = {f"{q} → {p}": section.mask(view, [q], [p])
             for view, q, p in section.rows.settings if view != "multi"}
    return adjust([measure(section, metric, cells, chance, intervals=True)])[0]


def change_tables(section: Section, metric: str, chance: Chance, pairs: Grid) -> list[Table]:
    """What gains and what loses, sorted: query languages in each view, then pairs of languages."""
    views = {view: section.mask(view) for view in VIEWS if section.mask(view).any()}
    cells = {f"{language}, {VIEW_TITLES[view]}": section.mask(view, asked=[language])
             for view in views for language in section.languages}
    languages = adjust([measure(section, metric, cells, chance, intervals=True)])[0]
    return [change_table(section, i, grid, what) for i, base in enumerate(section.baselines) if base is not None
            for grid, what in ((languages, "languages"), (pairs, "pairs"))]


def change_table(section: Section, system: int, grid: Grid, what: str) -> Table:
    label, base = section.systems[system].label, section.systems[section.baselines[system]].label
    sign = -1 if grid.higher_is_better else 1
    order = [k for k in np.argsort(sign * grid.difference[system], kind="stable") if not np.isnan(grid.difference[system, k])]
    rows = []
    for k in order:
        ends = [plain_cell(values[system, k], grid.metric, signed=True) for values in (grid.difference, grid.low, grid.high)]
        # a star where the corrected test says so, whatever the uncorrected interval shows
        first = Cell(ends[0].text, ends[0].value, p=float(grid.adjusted[system, k]))
        rows.append(Row((grid.cells[k],), (first, *ends[1:], p_cell(grid.p[system, k]), p_cell(grid.adjusted[system, k]))))
    columns = tuple(Column(name) for name in ("difference", "95% from", "to", "p", "p Holm"))
    note = f"Best first. * p < .05 after Holm over all systems and {what}; intervals are not corrected."
    kind = "query languages" if what == "languages" else "pairs of query and passage language"
    title = f"{section.name}: {kind}, {TITLES.get(grid.metric, grid.metric)} of {label} minus {base}"
    head = "query language, view" if what == "languages" else "pair"
    return Table(f"{section.name}_{what}_{system}", title, (head,), columns, tuple(rows), note, shown=LIST)


def exposure(section: Section) -> Callable[[str], str]:
    """How the trained systems met a language: seen by all, unseen by all, or seen by some."""
    trained = [system.languages for system in section.systems if system.languages]

    def of(language: str) -> str:
        met = sum(language in languages for languages in trained)
        return "seen" if met == len(trained) else "unseen" if not met else "seen by some"
    return of


def seen_table(section: Section, metric: str, chance: Chance) -> Table | None:
    """Means over settings of languages that training saw and did not see; None where all are the same."""
    of, groups = exposure(section), {}
    for language in section.languages:
        groups.setdefault(of(language), []).append(language)
    if len(groups) < 2 or not any(system.languages for system in section.systems):
        return None

    def cells(view: str) -> Iterable[tuple[str, np.ndarray]]:
        for name, asked in groups.items():
            for other, pool in groups.items() if view == "cross" else ((name, None),):
                yield (f"{name} → {other}" if view == "cross" else name), section.mask(view, asked, pool or None)
    parts = {view: {name: mask for name, mask in cells(view) if mask.any()} for view in VIEWS}
    parts = {view: found for view, found in parts.items() if found}
    wanted = [(view, metric) for view in parts] + ([("multi", "rank_distance")] if "multi" in parts else [])
    grids = adjust([measure(section, name, parts[view], chance) for view, name in wanted])
    columns = [Column(cell, f"{VIEW_TITLES[view]} {TITLES.get(name, name)}") for (view, name) in wanted for cell in parts[view]]
    rows = [Row((system.label,), tuple(cell_of(grid, i, k) for grid in grids for k in range(len(grid.cells))))
            for i, system in enumerate(section.systems)]
    told = "; ".join(f"{name}: {', '.join(languages)}" for name, languages in groups.items())
    title = f"{section.name}: languages that training saw and did not see"
    return Table(f"{section.name}_seen", title, ("system",), tuple(columns), tuple(rows),
                 f"{told}. Cross: query → passage. {NOTE}", marks=True)
