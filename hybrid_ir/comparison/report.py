"""report.html: one file with all tables and figures; the figures are also files of their own."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

import numpy as np
from matplotlib.figure import Figure

from hybrid_ir.comparison import figures
from hybrid_ir.comparison.build_sections import build_anchor
from hybrid_ir.comparison.language_changes import PAIRS_TESTED_UP_TO
from hybrid_ir.comparison.leads import find_lead
from hybrid_ir.comparison.pair_heat_maps import (
    arrange_pairs,
    describe_pair_unit,
    draw_pair_heat_map,
    format_pair_difference,
)
from hybrid_ir.comparison.section import Section
from hybrid_ir.comparison.style import SystemStyle, choose_styles, save_report_figure
from hybrid_ir.comparison.table import (
    ONE_SEED_MARK,
    VIEW_NAMES,
    Table,
    format_value,
    get_metric_title,
    list_distinct_tables,
)
from hybrid_ir.comparison.verdict import ComparisonVerdict, build_verdict, join_words
from hybrid_ir.evaluation.results import LOWER_IS_BETTER
from hybrid_ir.files.atomic import write_text_atomically
from hybrid_ir.pages import (
    HeatMaps,
    KeyFigure,
    Picture,
    build_heat_maps,
    embed_svg,
    render_page,
)

if TYPE_CHECKING:  # a comparison writes its report, so it imports this file
    from hybrid_ir.comparison.comparison import ComparedBenchmark, Comparison

_MOST_EXAMPLES = 3  # gains, and as many losses


@dataclass(frozen=True)
class Example:
    """A query in one pool on which a system and its baseline differ.

    Attributes:
        language: The language of the query.
        pool: The language of the passages, or "all".
        query: The text of the query.
        value: The metric of the system, averaged over its seeds, as text.
        baseline_value: The same of its baseline.
        is_gain: Whether the system is the better one.
    """

    language: str
    pool: str
    query: str
    value: str
    baseline_value: str
    is_gain: bool


@dataclass
class _Chapter:
    """What the page shows of one benchmark.

    Attributes:
        benchmark: The compared systems.
        anchor: What its ids begin with.
        verdict: The answer in three sentences.
        key_figures: The numbers that stand beside the answer.
        pictures: The pictures by the name of their heading.
        heat_maps: The differences by pair of languages, None where there are too many languages.
        heat_map_files: For the name of each heat map the paths of the same as pictures.
        examples: For each system its label, that of its baseline and some questions.
    """

    benchmark: "ComparedBenchmark"
    anchor: str
    verdict: ComparisonVerdict
    key_figures: list[KeyFigure]
    pictures: dict[str, list[Picture]] = field(default_factory=dict)
    heat_maps: HeatMaps | None = None
    heat_map_files: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    examples: list[tuple[str, str, list[Example]]] = field(default_factory=list)

    @property
    def baselines(self) -> str:
        """The labels of the systems that others are tested against."""
        section = self.benchmark.section
        labels = [section.systems[baseline].label for _, baseline in section.tested_systems]
        return join_words(list(dict.fromkeys(labels)))

    @property
    def other_effects(self) -> list[Table]:
        """The tested differences of other means, where those are other numbers."""
        return list_distinct_tables(self.benchmark.tables["effects"])[1:]

    @property
    def has_tested_pairs(self) -> bool:
        """Whether the pairs of languages were tested."""
        return not np.isnan(self.benchmark.pairs.p).all()

    @property
    def cards(self) -> list[tuple[str, str]]:
        """A title and the card of every result."""
        cards = []
        for system in self.benchmark.section.systems:
            for result in system.results:
                seed = "no seed" if result.seed is None else f"seed {result.seed}"
                card = json.dumps(result.card, indent=2, ensure_ascii=False, default=str)
                cards.append((f"{system.label}, {seed}", card))
        return cards


def write_report_page(comparison: "Comparison", folder: Path) -> None:
    """Writes report.html, and figures/NAME.svg, NAME.pdf and NAME.png, to a folder."""
    labels = []
    for benchmark in comparison.benchmarks:
        labels += [system.label for system in benchmark.section.systems]
    styles = choose_styles(labels)
    chapters = []
    for benchmark in comparison.benchmarks:
        chapters.append(_build_chapter(comparison, benchmark, styles, folder / "figures"))
    names = [chapter.benchmark.section.title for chapter in chapters]
    page = render_page(
        "comparison/report.html.jinja",
        title="Comparison of retrieval systems",
        subject="; ".join(names),
        comparison=comparison,
        chapters=chapters,
        overview=list_distinct_tables(comparison.overview),
        metric=comparison.metric,
        metric_title=get_metric_title(comparison.metric),
        one_seed_mark=ONE_SEED_MARK,
    )
    write_text_atomically(folder / "report.html", page)


def _build_chapter(
    comparison: "Comparison",
    benchmark: "ComparedBenchmark",
    styles: Mapping[str, SystemStyle],
    folder: Path,
) -> _Chapter:
    """Draws and saves the figures of a benchmark and chooses its examples."""
    section = benchmark.section
    stem = section.stem
    chapter = _Chapter(
        benchmark,
        _build_id(stem),
        build_verdict(benchmark.macro),
        _choose_key_figures(benchmark),
    )
    _add_picture(
        chapter,
        "effects",
        figures.draw_intervals(benchmark.macro, styles),
        folder,
        f"{stem}_effects",
        f"{section.title}: difference of each system from {section.describe_baselines()}, with "
        f"{comparison.resampling.level:.0%} intervals. A filled marker: p < .05 after Holm. Half "
        "filled: the same, with one seed of a training.",
    )
    _add_heat_maps(chapter, folder)
    _add_picture(
        chapter,
        "distances",
        figures.draw_distance_distribution(section, styles),
        folder,
        f"{stem}_rank_distance",
        f"{section.title}: share of the questions whose answers lie within so many ranks. "
        f"{figures.describe_median_distances(section)}.",
    )
    _add_picture(
        chapter,
        "alpha",
        figures.draw_metric_against_alpha(section, comparison.metric),
        folder,
        f"{stem}_alpha",
        f"{section.title}: measures against the share of monolingual batches, mean and one "
        "standard deviation over seeds, each seed a dot.",
    )
    _add_picture(
        chapter,
        "steps",
        figures.draw_system_curves(section, styles),
        folder,
        f"{stem}_training",
        f"Systems of {section.title}: measures on the validation data over the steps of training, "
        "one line a seed.",
    )
    for system, baseline in section.tested_systems:
        examples = choose_examples(section, system, comparison.metric)
        if examples:
            label = section.systems[system].label
            baseline_label = section.systems[baseline].label
            chapter.examples.append((label, baseline_label, examples))
    return chapter


def _choose_key_figures(benchmark: "ComparedBenchmark") -> list[KeyFigure]:
    """Returns the best mean of each view, the least rank distance and the size of the benchmark."""
    section = benchmark.section
    key_figures = []
    for grid, place in benchmark.macro.list_means():
        lead = find_lead(section, grid, place)
        if lead is None:
            continue
        title = f"{get_metric_title(grid.metric)}, {VIEW_NAMES[lead.view]}"
        value = format_value(lead.value, grid.metric)
        names = [section.systems[system].label for system in (lead.winner, *lead.tied)]
        key_figures.append(KeyFigure(title, value, join_words(names)))
    questions = f"{len(section.rows.questions):,}"
    languages = f"in {len(section.languages)} languages"
    key_figures.append(KeyFigure("questions", questions, languages))
    return key_figures


def _add_heat_maps(chapter: _Chapter, folder: Path) -> None:
    """Adds the differences by pair of languages of each system that has a baseline.

    In the page they are tables of one scale. Where there are so many languages that nobody could
    read the numbers, they are pictures, of one scale, too.
    """
    section = chapter.benchmark.section
    pairs = chapter.benchmark.pairs
    title = get_metric_title(pairs.metric)
    is_readable = len(section.languages) <= PAIRS_TESTED_UP_TO
    values = {}
    significant = {}
    for system, baseline in section.tested_systems:
        figure = draw_pair_heat_map(section, system, pairs)
        if figure is None:
            continue
        labels = f"{section.systems[system].label} minus {section.systems[baseline].label}"
        name = f"{section.stem}_pairs_{system}"
        if is_readable:
            differences, strong = arrange_pairs(section.languages, system, pairs)
            values[labels] = differences.tolist()
            significant[labels] = strong.tolist()
            chapter.heat_map_files.append((labels, _save_picture(figure, folder, name)))
        else:
            caption = f"{section.title}: {title} of {labels}. Blue is better."
            _add_picture(chapter, "changes", figure, folder, name, caption)
    if values:
        chapter.heat_maps = build_heat_maps(
            values,
            rows=section.languages,
            columns=section.languages,
            row_head="queries in",
            column_head="passages in",
            unit=f"Difference in {describe_pair_unit(pairs.metric)}:",
            format_number=lambda value: format_pair_difference(value, pairs.metric),
            differences=True,
            higher_is_better=pairs.higher_is_better,
            strong=significant,
        )


def _save_picture(figure: Figure, folder: Path, name: str) -> tuple[str, ...]:
    """Saves a figure and returns the paths of its files, from the page."""
    stem = re.sub(r"[^\w.-]+", "_", name)
    save_report_figure(figure, folder, stem)
    return tuple(f"{folder.name}/{quote(stem)}.{kind}" for kind in ("pdf", "svg", "png"))


def _add_picture(
    chapter: _Chapter,
    heading: str,
    figure: Figure | None,
    folder: Path,
    name: str,
    caption: str,
) -> None:
    """Saves a figure and adds it to a chapter below a heading, where there is one."""
    if figure is None:
        return
    paths = _save_picture(figure, folder, name)
    stem = unquote(Path(paths[0]).stem)
    svg = (folder / f"{stem}.svg").read_text(encoding="utf-8")
    picture = Picture(caption, embed_svg(svg, _build_id(stem), caption), paths)
    chapter.pictures.setdefault(heading, []).append(picture)


def _build_id(text: str) -> str:
    """Returns a text as the id of a place in the page."""
    return f"id-{build_anchor(text)}"


def choose_examples(
    section: Section, system: int, metric: str, most: int = _MOST_EXAMPLES
) -> list[Example]:
    """Chooses the queries on which a system and its baseline differ most.

    They are of the multilingual view, or of the monolingual one where there is no other. A question
    is chosen in one language only, so that its translations do not fill the list.

    Args:
        section: The systems of one benchmark, with the texts of its queries.
        system: The place of the system.
        metric: The metric in which they differ.
        most: How many gains are chosen, and how many losses.

    Returns:
        The greatest gains, then the greatest losses. None where the system has no baseline or the
        texts are not loaded.
    """
    baseline = section.baselines[system]
    if baseline is None or section.query_texts is None:
        return []
    values_V = section.average_over_seeds(system, metric)
    baseline_values_V = section.average_over_seeds(baseline, metric)
    gains_V = values_V - baseline_values_V
    if metric in LOWER_IS_BETTER:
        gains_V = -gains_V
    rows = np.flatnonzero(_select_example_rows(section) & ~np.isnan(gains_V))
    rows_by_gain = rows[np.argsort(-gains_V[rows], kind="stable")]
    rows_by_loss = rows_by_gain[::-1]
    gained = rows_by_gain[gains_V[rows_by_gain] > 0]
    lost = rows_by_loss[gains_V[rows_by_loss] < 0]
    chosen_rows = _keep_one_row_per_question(section, gained, most)
    chosen_rows += _keep_one_row_per_question(section, lost, most)
    examples = []
    for row in chosen_rows:
        _, language, pool = section.rows.settings[section.rows.setting_V[row]]
        example = Example(
            language=language,
            pool=pool,
            query=section.query_texts[section.rows.query_V[row]],
            value=format_value(float(values_V[row]), metric),
            baseline_value=format_value(float(baseline_values_V[row]), metric),
            is_gain=bool(gains_V[row] > 0),
        )
        examples.append(example)
    return examples


def _select_example_rows(section: Section) -> np.ndarray:
    """Returns a mask (V) of the rows of the multilingual view, or of the monolingual one."""
    for view in ("multi", "mono"):
        mask_S = section.select_settings(view)
        if mask_S.any():
            return mask_S[section.rows.setting_V]
    return np.zeros(len(section.rows.query_V), bool)


def _keep_one_row_per_question(section: Section, rows: np.ndarray, most: int) -> list[int]:
    """Returns the first row of each of the first questions."""
    row_by_question: dict[int, int] = {}
    for row in rows:
        if len(row_by_question) == most:
            break
        row_by_question.setdefault(int(section.rows.cluster_V[row]), row)
    return list(row_by_question.values())
