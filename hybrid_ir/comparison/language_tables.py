"""Tables by language: the paper's tables 3 to 8 and 12, 13."""

from collections.abc import Mapping, Sequence

import numpy as np

from hybrid_ir.comparison import paper
from hybrid_ir.comparison.grid import Grid, Resampling, adjust, measure
from hybrid_ir.comparison.section import VIEWS, Section
from hybrid_ir.comparison.splitting import stems
from hybrid_ir.comparison.table import (
    TITLES,
    VIEW_TITLES,
    Cell,
    Column,
    Row,
    Table,
    cell_of,
    plain_cell,
    without_empty_columns,
)

Blocks = Mapping[str, tuple[str, str]]  # title of a group of columns -> view and metric
NOTE = "* differs from the baseline, p < .05 after Holm over this table, systems of other models included. Bold: best of ours."


def language_blocks(section: Section, metric: str) -> dict[str, Blocks]:
    """The tables by language that a benchmark gets: name -> groups of columns."""
    if section.benchmark.startswith("miracl"):
        return {"miracl": {TITLES[name]: ("mono", name) for name in ("ndcg@10", "recall@100")}}
    title = TITLES.get(metric, metric)
    return {
        metric: {f"{VIEW_TITLES[view]} {title}": (view, metric) for view in VIEWS},
        "recall": {
            f"{VIEW_TITLES[view]} {TITLES[name]}": (view, name)
            for view, name in paper.RECALL.items()
        },
        "rank_distance": {"Mul rank distance": ("multi", "rank_distance")},
    }


def language_tables(
    section: Section, metric: str, chance: Resampling, with_paper: bool
) -> list[Table]:
    """One table per model and kind of measure; query languages down, systems across, the paper's last."""
    tables = []
    models = list(dict.fromkeys(system.model for system in section.systems))
    endings = [f"_{stem}" if len(models) > 1 else "" for stem in stems(models)]
    for name, blocks in language_blocks(section, metric).items():
        grids = adjust(
            [
                measure(section, wanted, by_language(section, view), chance)
                for view, wanted in blocks.values()
            ]
        )
        columns, told = (
            dict(zip(blocks, grids, strict=True)),
            paper_note(section, blocks) if with_paper else "",
        )
        file, what = (
            f"{section.stem}_languages_{name}",
            f"{section.name}: {name_of(blocks)} by query language",
        )
        for model, ending in zip(models, endings, strict=True):
            ours = [i for i, system in enumerate(section.systems) if system.model == model]
            theirs = (
                paper.systems(paper.NAMES[model]) if with_paper and model in paper.NAMES else []
            )
            note = (
                f"{NOTE} {told}".strip()
                if theirs or not paper.beside(*section.described).rows
                else NOTE
            )
            tables.append(
                language_table(
                    section, file + ending, f"{what}, {model}", columns, blocks, ours, theirs, note
                )
            )
        for model in paper.MODELS if with_paper else ():
            if model not in {paper.NAMES.get(ours) for ours in models}:
                title = f"{what}, {paper.MODELS[model]} in the paper"
                tables.append(
                    language_table(
                        section,
                        f"{file}_paper_{model}",
                        title,
                        columns,
                        blocks,
                        [],
                        paper.systems(model),
                        told,
                    )
                )
    return [table for table in tables if table.columns]


def paper_note(section: Section, blocks: Blocks) -> str:
    """What is to be said of the paper's numbers, where it has any of these measures."""
    known = any(
        system.language(section.benchmark, language, view, metric) is not None
        for system in paper.systems()
        for view, metric in blocks.values()
        for language in section.languages
    )
    return paper.beside(*section.described).note if known else ""


def name_of(blocks: Blocks) -> str:
    """Measures of a table, each once."""
    return " and ".join(dict.fromkeys(TITLES.get(metric, metric) for _, metric in blocks.values()))


def by_language(section: Section, view: str) -> dict[str, np.ndarray]:
    """A cell per query language, and their mean."""
    return {language: section.mask(view, asked=[language]) for language in section.languages} | {
        "mean": section.mask(view)
    }


def language_table(
    section: Section,
    file: str,
    title: str,
    grids: Mapping[str, Grid],
    blocks: Blocks,
    ours: Sequence[int],
    theirs: Sequence[paper.PaperSystem],
    note: str,
) -> Table:
    columns = [Column(section.systems[i].label, group) for group in blocks for i in ours]
    columns += [Column(system.label, group) for group in blocks for system in theirs]
    beside, rows = paper.beside(*section.described), []
    for k, language in enumerate([*section.languages, "mean"]):
        cells: list[Cell] = [
            cell_of(grids[group], i, k, mark=len(ours) > 1) for group in blocks for i in ours
        ]
        comparable = beside.means if language == "mean" else beside.rows
        cells += [
            plain_cell(
                system.language(section.benchmark, language, view, metric) if comparable else None,
                metric,
            )
            for view, metric in blocks.values()
            for system in theirs
        ]
        rows.append(Row((language,), tuple(cells), ours=bool(ours)))
    shown, kept = without_empty_columns(columns, rows)
    order = sorted(
        range(len(shown)), key=lambda i: list(blocks).index(shown[i].group)
    )  # ours and the paper's side by side
    kept = tuple(Row(row.labels, tuple(row.cells[i] for i in order), row.ours) for row in kept)
    return Table(
        file,
        title,
        ("query language",),
        tuple(shown[i] for i in order),
        kept,
        note,
        marks=bool(ours),
    )
