"""Tables by query language, as the paper's tables 3 to 8, 12 and 13 are."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hybrid_ir.comparison import paper
from hybrid_ir.comparison.build_sections import build_file_stems
from hybrid_ir.comparison.section import VIEWS, Section
from hybrid_ir.comparison.statistics import (
    Grid,
    Resampling,
    adjust_family,
    compare_with_baselines,
)
from hybrid_ir.comparison.table import (
    VIEW_TITLES,
    Column,
    Row,
    Table,
    build_mean_cell,
    build_value_cell,
    get_metric_title,
)

LANGUAGES_NOTE = (
    "* differs from the baseline, p < .05 after Holm over this table, systems of other models "
    "included. Bold: best of ours."
)


@dataclass(frozen=True)
class _Block:
    """A group of columns of a table by language: a metric in a view."""

    title: str
    view: str
    metric: str


def build_language_tables(
    section: Section, metric: str, resampling: Resampling, with_paper: bool
) -> list[Table]:
    """Builds the tables by language of a benchmark.

    There is a table for each model and kind of metric: query languages down, systems across, the
    paper's last. Models of the paper that were not measured have tables of their own.
    """
    tables = []
    for name, blocks in _choose_blocks(section, metric).items():
        tables += _build_tables_of_blocks(section, name, blocks, resampling, with_paper)
    return [table for table in tables if table.columns]


def _choose_blocks(section: Section, metric: str) -> dict[str, list[_Block]]:
    """Returns the tables of a benchmark: for each name its groups of columns."""
    if section.benchmark.startswith("miracl"):
        metrics = ("ndcg@10", "recall@100")
        return {"miracl": [_Block(get_metric_title(name), "mono", name) for name in metrics]}
    metric_blocks = []
    recall_blocks = []
    for view in VIEWS:
        title = f"{VIEW_TITLES[view]} {get_metric_title(metric)}"
        metric_blocks.append(_Block(title, view, metric))
        recall = paper.RECALL_BY_VIEW[view]
        title = f"{VIEW_TITLES[view]} {get_metric_title(recall)}"
        recall_blocks.append(_Block(title, view, recall))
    # Where rank distance is the main metric, the last table takes the place of the first.
    return {
        metric: metric_blocks,
        "recall": recall_blocks,
        "rank_distance": [_Block("Mul rank distance", "multi", "rank_distance")],
    }


def _build_tables_of_blocks(
    section: Section,
    name: str,
    blocks: Sequence[_Block],
    resampling: Resampling,
    with_paper: bool,
) -> list[Table]:
    """Builds the tables of one kind of metric, whose tests are one family."""
    grids = []
    for block in blocks:
        cells = _select_languages(section, block.view)
        grids.append(compare_with_baselines(section, block.metric, cells, resampling))
    grids = adjust_family(grids)
    metric_titles = dict.fromkeys(get_metric_title(block.metric) for block in blocks)
    file = f"{section.stem}_languages_{name}"
    title = f"{section.name}: {' and '.join(metric_titles)} by query language"
    paper_note = _describe_comparability(section, blocks) if with_paper else ""
    may_show_languages = _check_comparability(section).languages

    models = list(dict.fromkeys(system.model for system in section.systems))
    tables = []
    for model, stem in zip(models, build_file_stems(models), strict=True):
        systems = []
        for place, system in enumerate(section.systems):
            if system.model == model:
                systems.append(place)
        paper_systems = []
        if with_paper and model in paper.MODEL_BY_CARD_NAME:
            paper_systems = paper.list_paper_systems([paper.MODEL_BY_CARD_NAME[model]])
        note = LANGUAGES_NOTE
        if paper_systems or not may_show_languages:
            note = f"{LANGUAGES_NOTE} {paper_note}".strip()
        columns = _LanguageColumns(section, blocks, grids, systems, paper_systems)
        model_file = f"{file}_{stem}" if len(models) > 1 else file
        tables.append(_build_language_table(columns, model_file, f"{title}, {model}", note))
    if with_paper:
        measured_models = {paper.MODEL_BY_CARD_NAME.get(model) for model in models}
        for model, model_title in paper.MODEL_TITLES.items():
            if model in measured_models:
                continue
            columns = _LanguageColumns(
                section, blocks, grids, [], paper.list_paper_systems([model])
            )
            paper_title = f"{title}, {model_title} in the paper"
            tables.append(
                _build_language_table(columns, f"{file}_paper_{model}", paper_title, paper_note)
            )
    return tables


def _select_languages(section: Section, view: str) -> dict[str, np.ndarray]:
    """Returns a cell for each query language, and one for their mean."""
    cells = {}
    for language in section.languages:
        cells[language] = section.select_settings(view, query_languages=[language])
    cells["mean"] = section.select_settings(view)
    return cells


def _check_comparability(section: Section) -> paper.Comparability:
    return paper.check_comparability(section.benchmark_metrics, section.benchmark_card)


def _describe_comparability(section: Section, blocks: Sequence[_Block]) -> str:
    """Returns the note on the paper's numbers, if it has any of these metrics."""
    for system in paper.list_paper_systems():
        for block in blocks:
            for language in section.languages:
                value = system.get_language_value(
                    section.benchmark, language, block.view, block.metric
                )
                if value is not None:
                    return _check_comparability(section).note
    return ""


@dataclass(frozen=True)
class _LanguageColumns:
    """What is in a table by language.

    Attributes:
        section: The benchmark.
        blocks: The groups of columns.
        grids: For each block the means by language.
        systems: The places of the measured systems in each block.
        paper_systems: The paper's systems in each block.
    """

    section: Section
    blocks: Sequence[_Block]
    grids: Sequence[Grid]
    systems: Sequence[int]
    paper_systems: Sequence[paper.PaperSystem]


def _build_language_table(table: _LanguageColumns, file: str, title: str, note: str) -> Table:
    section = table.section
    columns = []
    for block in table.blocks:
        columns += [Column(section.systems[place].label, block.title) for place in table.systems]
        columns += [Column(system.label, block.title) for system in table.paper_systems]
    rows = []
    for place, language in enumerate([*section.languages, "mean"]):
        rows.append(_build_language_row(table, place, language))
    return Table(
        file=file,
        title=title,
        heads=("query language",),
        columns=tuple(columns),
        rows=tuple(rows),
        note=note,
    ).drop_empty_columns()


def _build_language_row(table: _LanguageColumns, place: int, language: str) -> Row:
    """Returns the row of a language, or of their mean, which is at a place of the grids."""
    comparability = _check_comparability(table.section)
    is_comparable = comparability.means if language == "mean" else comparability.languages
    mark_best = len(table.systems) > 1
    cells = []
    for block, grid in zip(table.blocks, table.grids, strict=True):
        for system in table.systems:
            cells.append(build_mean_cell(grid, system, place, mark_best))
        for paper_system in table.paper_systems:
            value = None
            if is_comparable:
                value = paper_system.get_language_value(
                    table.section.benchmark, language, block.view, block.metric
                )
            cells.append(build_value_cell(value, block.metric))
    return Row((language,), tuple(cells), from_paper=not table.systems)
