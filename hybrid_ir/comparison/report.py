"""report.html: one file with all tables and figures; the figures are also files of their own."""

import html
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from hybrid_ir.comparison import figures
from hybrid_ir.comparison.build_sections import build_anchor
from hybrid_ir.comparison.section import Section
from hybrid_ir.comparison.style import SystemStyle, choose_styles, embed_svg, save_report_figure
from hybrid_ir.comparison.table import format_value, get_metric_title
from hybrid_ir.evaluation.results import LOWER_IS_BETTER
from hybrid_ir.files.atomic import write_text_atomically

if TYPE_CHECKING:  # a comparison writes its report, so it imports this file
    from hybrid_ir.comparison.comparison import ComparedBenchmark, Comparison

_MOST_EXAMPLES = 3  # gains, and as many losses


@dataclass(frozen=True)
class ReportFigure:
    """A figure in the page."""

    name: str  # of its files in figures/
    caption: str
    svg: Markup


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
    """What the page shows of one benchmark."""

    benchmark: "ComparedBenchmark"
    anchor: str
    figures: dict[str, list[ReportFigure]] = field(default_factory=dict)
    examples: list[tuple[str, str, list[Example]]] = field(default_factory=list)

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
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template_path = files("hybrid_ir.comparison").joinpath("report.html.jinja")
    template = environment.from_string(template_path.read_text(encoding="utf-8"))
    page = template.render(
        comparison=comparison,
        chapters=chapters,
        metric_title=get_metric_title(comparison.metric),
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
    name = section.name
    stem = section.stem
    chapter = _Chapter(benchmark, _build_id(stem))
    _add_figure(
        chapter,
        "effects",
        figures.draw_intervals(benchmark.macro, styles),
        folder,
        f"{stem}_effects",
        f"Difference of each system from its baseline on {name}, with "
        f"{comparison.resampling.level:.0%} intervals. Filled markers: p < .05 after Holm.",
    )
    _add_figure(
        chapter,
        "distances",
        figures.draw_distance_distribution(section, styles),
        folder,
        f"{stem}_rank_distance",
        f"Distribution of rank distance over the queries of {name}. "
        f"{figures.describe_median_distances(section)}.",
    )
    _add_heat_maps(chapter, comparison.metric, folder)
    _add_figure(
        chapter,
        "alpha",
        figures.draw_metric_against_alpha(section, comparison.metric),
        folder,
        f"{stem}_alpha",
        f"{name} against the share of monolingual batches: mean and one standard deviation over "
        "seeds, each seed a dot.",
    )
    _add_figure(
        chapter,
        "steps",
        figures.draw_system_curves(section, styles),
        folder,
        f"{stem}_training",
        "Validation measures over the steps of training, one line a seed.",
    )
    for system, baseline in section.tested_systems:
        examples = choose_examples(section, system, comparison.metric)
        if examples:
            label = section.systems[system].label
            baseline_label = section.systems[baseline].label
            chapter.examples.append((label, baseline_label, examples))
    return chapter


def _add_heat_maps(chapter: _Chapter, metric: str, folder: Path) -> None:
    """Adds a heat map of the pairs of languages for each system that has a baseline."""
    section = chapter.benchmark.section
    pairs = chapter.benchmark.pairs
    if np.isnan(pairs.p).all():
        tests = "too many pairs to be tested"
    else:
        tests = "bold: p < .05 after Holm over all pairs and systems"
    for system, baseline in section.tested_systems:
        label = section.systems[system].label
        baseline_label = section.systems[baseline].label
        _add_figure(
            chapter,
            "changes",
            figures.draw_pair_heat_map(section, system, pairs),
            folder,
            f"{section.stem}_pairs_{system}",
            f"{section.name}: {get_metric_title(metric)} of {label} minus {baseline_label} by "
            "query and passage language, in hundredths where it is a share. Blue is better; "
            f"{tests}.",
        )


def _add_figure(
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
    name = re.sub(r"[^\w.-]+", "_", name)
    save_report_figure(figure, folder, name)
    svg = (folder / f"{name}.svg").read_text(encoding="utf-8")
    embedded = Markup(embed_svg(svg, _build_id(name), html.escape(caption)))
    chapter.figures.setdefault(heading, []).append(ReportFigure(name, caption, embedded))


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
