"""Tables by query language, as the paper's tables 3 to 8, 12 and 13 are."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from hybrid_ir.comparison import paper
from hybrid_ir.comparison.build_sections import build_file_stems
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
    build_value_cell,
    describe_marks,
    get_metric_title,
)
from hybrid_ir.evaluation.rank_table import VIEWS


def describe_language_marks(section: Section) -> str:
    """Returns what views, stars and bold numbers of a table by language are."""
    notes = [VIEWS_NOTE]
    if section.tested_systems:
        has_one_seed = bool(section.list_trained_once(range(len(section.systems))))
        family = "this table, systems of other models included"
        notes.append(describe_marks(section.describe_baselines(), family, has_one_seed))
    notes.append("Bold: best of ours.")
    return " ".join(notes)


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
        values = _compare_languages(section, name, blocks, resampling)
        paper_note = _describe_comparability(section, blocks) if with_paper else ""
        tables += _build_model_tables(values, paper_note, with_paper)
        if with_paper:
            tables += _build_paper_tables(values, paper_note)
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


@dataclass(frozen=True, eq=False)
class _LanguageValues:
    """The values of all tables of one kind of metric, whose tests are one family.

    Attributes:
        section: The benchmark.
        blocks: The groups of columns of each table.
        grids: For each block the means by language.
        file: The beginning of the tables' files.
        title: The beginning of their titles.
    """

    section: Section
    blocks: Sequence[_Block]
    grids: Sequence[Grid]
    file: str
    title: str

    def list_models(self) -> list[str]:
        """Returns the models that were measured."""
        return list(dict.fromkeys(system.model for system in self.section.systems))


def _compare_languages(
    section: Section, name: str, blocks: Sequence[_Block], resampling: Resampling
) -> _LanguageValues:
    grids = []
    for block in blocks:
        cells = _select_languages(section, block.view)
        grids.append(compare_with_baselines(section, block.metric, cells, resampling))
    metric_titles = dict.fromkeys(get_metric_title(block.metric) for block in blocks)
    return _LanguageValues(
        section=section,
        blocks=blocks,
        grids=adjust_family(grids),
        file=f"{section.stem}_languages_{name}",
        title=f"{section.name}: {' and '.join(metric_titles)} by query language",
    )


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


def _build_model_tables(values: _LanguageValues, paper_note: str, with_paper: bool) -> list[Table]:
    """Builds a table for each measured model, with the paper's systems of the same model."""
    has_comparable_languages = _check_comparability(values.section).languages
    models = values.list_models()
    tables = []
    for model, stem in zip(models, build_file_stems(models), strict=True):
        systems = []
        for place, system in enumerate(values.section.systems):
            if system.model == model:
                systems.append(place)
        paper_systems = []
        if with_paper and model in paper.MODEL_BY_CARD_NAME:
            paper_systems = paper.list_paper_systems([paper.MODEL_BY_CARD_NAME[model]])
        note = describe_language_marks(values.section)
        # Where the numbers are not left out, the note belongs to the tables that show them.
        if paper_systems or not has_comparable_languages:
            note = f"{note} {paper_note}".strip()
        table = _build_language_table(values, systems, paper_systems)
        file = f"{values.file}_{stem}" if len(models) > 1 else values.file
        tables.append(replace(table, file=file, title=f"{values.title}, {model}", note=note))
    return tables


def _build_paper_tables(values: _LanguageValues, paper_note: str) -> list[Table]:
    """Builds a table for each model of the paper that was not measured."""
    measured_models = {paper.MODEL_BY_CARD_NAME.get(model) for model in values.list_models()}
    tables = []
    for model, model_title in paper.MODEL_TITLES.items():
        if model in measured_models:
            continue
        table = _build_language_table(values, [], paper.list_paper_systems([model]))
        file = f"{values.file}_paper_{model}"
        title = f"{values.title}, {model_title} in the paper"
        tables.append(replace(table, file=file, title=title, note=paper_note))
    return tables


def _build_language_table(
    values: _LanguageValues,
    systems: Sequence[int],
    paper_systems: Sequence[paper.PaperSystem],
) -> Table:
    """Builds the table of some measured systems, given by their places, and some of the paper."""
    columns = []
    for block in values.blocks:
        for place in systems:
            columns.append(Column(values.section.systems[place].label, block.title))
        for paper_system in paper_systems:
            columns.append(Column(paper_system.label, block.title))
    rows = []
    for place, language in enumerate([*values.section.languages, "mean"]):
        cells = _build_language_cells(values, systems, paper_systems, place, language)
        rows.append(Row((language,), tuple(cells), from_paper=not systems))
    table = Table(
        file=values.file,
        title=values.title,
        heads=("query language",),
        columns=tuple(columns),
        rows=tuple(rows),
    )
    return table.drop_empty_columns()


def _build_language_cells(
    values: _LanguageValues,
    systems: Sequence[int],
    paper_systems: Sequence[paper.PaperSystem],
    place: int,
    language: str,
) -> list[Cell]:
    """Returns the cells of a language, or of their mean, which is at a place of the grids."""
    section = values.section
    comparability = _check_comparability(section)
    is_comparable = comparability.means if language == "mean" else comparability.languages
    cells = []
    for block, grid in zip(values.blocks, values.grids, strict=True):
        for system in systems:
            cells.append(build_mean_cell(grid, system, place, mark_best=len(systems) > 1))
        for paper_system in paper_systems:
            value = None
            if is_comparable:
                value = paper_system.get_language_value(
                    section.benchmark, language, block.view, block.metric
                )
            cells.append(build_value_cell(value, block.metric))
    return cells
