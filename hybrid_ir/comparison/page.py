"""report.html: one file with everything in it, and the pictures also as files of their own."""

import html
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib.resources import files
from pathlib import Path

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from hybrid_ir.comparison import curves, figures
from hybrid_ir.comparison.everything import ComparedBenchmark, Comparison
from hybrid_ir.comparison.examples import Example, examples
from hybrid_ir.comparison.style import inline_svg, look, save
from hybrid_ir.comparison.table import TITLES
from hybrid_ir.files.atomic import write_text_atomically


@dataclass(frozen=True)
class Picture:
    name: str  # of its files in figures/
    caption: str
    svg: Markup


@dataclass
class Chapters:
    """The pictures and examples of one benchmark, by chapter."""

    part: ComparedBenchmark
    anchor: str
    pictures: dict[str, list[Picture]] = field(default_factory=dict)
    examples: list[tuple[str, str, list[Example]]] = field(default_factory=list)

    @property
    def cards(self) -> list[tuple[str, str]]:
        return [
            (
                f"{system.label}, " + ("no seed" if result.seed is None else f"seed {result.seed}"),
                json.dumps(result.card, indent=2, ensure_ascii=False, default=str),
            )
            for system in self.part.section.systems
            for result in system.results
        ]


def write_report_page(comparison: Comparison, folder: Path) -> None:
    """figures/NAME.{svg,pdf,png} and report.html."""
    looks = look(system.label for part in comparison.parts for system in part.section.systems)
    chapters = [
        chapters_of(comparison, part, looks, folder / "figures") for part in comparison.parts
    ]
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(
        files("hybrid_ir.comparison").joinpath("page.html.jinja").read_text(encoding="utf-8")
    )
    title = TITLES.get(comparison.metric, comparison.metric)
    page = template.render(
        comparison=comparison, chapters=chapters, chance=comparison.chance, title=title
    )
    write_text_atomically(folder / "report.html", page)


def chapters_of(
    comparison: Comparison, part: ComparedBenchmark, looks: Mapping[str, dict], folder: Path
) -> Chapters:
    section, metric = part.section, TITLES.get(comparison.metric, comparison.metric)
    name, stem = section.name, section.stem
    found = Chapters(part, anchor(stem))
    labels = [system.label for system in section.systems]
    compared = [(i, base) for i, base in enumerate(section.baselines) if base is not None]
    add = partial(add_picture, found, folder)
    add(
        "effects",
        f"{stem}_effects",
        figures.forest,
        (part.macro, looks),
        f"Difference of each system from its baseline on {name}, with {comparison.chance.level:.0%} intervals. "
        "Filled markers: p < .05 after Holm.",
    )
    add(
        "distances",
        f"{stem}_rank_distance",
        figures.distance_distribution,
        (section, looks),
        f"Distribution of rank distance over the queries of {name}. {figures.median_distances(section)}.",
    )
    tested = (
        "too many pairs to be tested"
        if np.isnan(part.pairs.p).all()
        else "bold: p < .05 after Holm over all pairs and systems"
    )
    for i, base in compared:
        add(
            "changes",
            f"{stem}_pairs_{i}",
            figures.pair_heat_map,
            (section, i, part.pairs),
            f"{name}: {metric} of {labels[i]} minus {labels[base]} by query and passage language, in hundredths where it is a "
            f"share. Blue is better; {tested}.",
        )
    add(
        "alpha",
        f"{stem}_alpha",
        curves.measure_against_alpha,
        (section, comparison.metric),
        f"{name} against the share of monolingual batches: mean and one standard deviation over seeds, each seed a dot.",
    )
    add(
        "steps",
        f"{stem}_training",
        curves.training_curves,
        (section, looks),
        "Validation measures over the steps of training, one line a seed.",
    )
    found.examples = [
        (labels[i], labels[base], chosen)
        for i, base in compared
        if (chosen := examples(section, i, comparison.metric))
    ]
    return found


def add_picture(
    chapters: Chapters,
    folder: Path,
    chapter: str,
    name: str,
    draw: Callable[..., Figure | None],
    arguments: tuple,
    caption: str,
) -> None:
    """Nothing where there is nothing to draw."""
    figure = draw(*arguments)
    if figure is None:
        return
    name = re.sub(r"[^\w.-]+", "_", name)
    save(figure, folder, name)
    svg = inline_svg(
        (folder / f"{name}.svg").read_text(encoding="utf-8"), anchor(name), html.escape(caption)
    )
    chapters.pictures.setdefault(chapter, []).append(Picture(name, caption, Markup(svg)))


def anchor(text: str) -> str:
    """A text as the id of a place in the page."""
    return "id-" + re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
