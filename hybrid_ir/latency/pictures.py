"""Box plots of a study: by checkpoint and stage, and by query language beside the tokens of its queries."""

from itertools import product
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hybrid_ir.files.atomic import write_atomically
from hybrid_ir.latency.study import Study
from hybrid_ir.latency.summary import by_tokens
from hybrid_ir.latency.tables import STAGES

COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#F0E442",
    "#000000",
)  # for colour-blind readers
LARGEST = 16.0  # inches
BOX = {
    "whis": (5, 95),
    "showfliers": False,
    "patch_artist": True,
    "medianprops": {"color": "black"},
}


def by_stage(study: Study, path: Path) -> None:
    """A row per batch size and search, a column per stage, a box per contestant; PNG and SVG of this name are written."""
    labels, colours = (
        [f"{checkpoint}, {backend}" for checkpoint, backend in study.contestants],
        colours_of(study),
    )
    lines = list(product(study.timings, enumerate(study.searches)))
    figure = Figure(
        figsize=(LARGEST, min(1.5 * LARGEST, len(lines) * (0.9 + 0.2 * len(labels)) + 0.5)),
        layout="constrained",
    )
    grid = figure.subplots(len(lines), len(STAGES), squeeze=False, sharey=True)
    for (timings, (s, search)), line in zip(lines, grid, strict=True):
        for stage, axes in zip(STAGES, line, strict=True):
            boxes = [timings.stages(v, s)[stage] for v in range(len(labels))]
            draw(
                axes,
                boxes,
                range(len(labels)),
                [colours[checkpoint] for checkpoint, _ in study.contestants],
                False,
            )
            what = f", {search}" if stage == "search" else ""
            axes.set_title(f"{stage}, batch {timings.units.batch_size}{what}", fontsize=9)
            axes.set_xlabel("ms", fontsize=8)
            axes.set_xlim(0, None)
            axes.grid(axis="x", alpha=0.3)
            axes.tick_params(labelsize=8)
    grid[0, 0].set_yticks(range(len(labels)), labels)
    grid[0, 0].set_ylim(len(labels) - 0.5, -0.5)
    figure.suptitle(f"{study.benchmark.name}: box 25 to 75 %, whiskers 5 to 95 %")
    save(figure, path)


def by_language(study: Study, path: Path) -> None:
    """Total of the first batch size, backend and search per language and checkpoint; most tokens per query first."""
    languages, timings = by_tokens(study), study.timings[0]
    colours = colours_of(study)
    drawn = [v for v, (_, backend) in enumerate(study.contestants) if backend == study.backends[0]]
    width = min(max(6.0, 0.35 * len(languages) * max(1, len(drawn) / 2) + 1.5), LARGEST)
    letters = min(
        9.0, 55 * width / len(languages)
    )  # points: a hundred languages still have each its own label
    figure = Figure(figsize=(width, 6), layout="constrained")
    upper, lower = figure.subplots(2, 1, height_ratios=[3, 1], sharex=True)
    index = [study.benchmark.languages.index(language) for language in languages]
    for place, v in enumerate(drawn):
        total_RU, shift = timings.stages(v, 0)["total"], (place + 0.5) / len(drawn) - 0.5
        draw(
            upper,
            [total_RU[:, timings.units.languages_U == i] for i in index],
            np.arange(len(index)) + 0.8 * shift,
            [colours[study.contestants[v][0]]] * len(index),
            True,
            0.7 / len(drawn),
        )
        upper.plot(
            [],
            [],
            color=colours[study.contestants[v][0]],
            linewidth=6,
            label=study.contestants[v][0],
        )
    tokens_Q, language_Q = study.tokens[study.checkpoints[0]], study.benchmark.query_languages
    lower.bar(range(len(index)), [tokens_Q[language_Q == i].mean() for i in index], color="#777777")
    lower.set_xticks(range(len(index)), languages, rotation=90, fontsize=letters)
    lower.set_xlim(-0.7, len(index) - 0.3)
    lower.set(ylabel="tokens per query", xlabel="query language")
    upper.set(
        ylabel="ms",
        ylim=(0, None),
        title=f"{study.benchmark.name}: batch {timings.units.batch_size}, {study.backends[0]}, {study.searches[0]}",
    )
    upper.grid(axis="y", alpha=0.3)
    figure.legend(loc="outside upper center", ncols=min(4, len(drawn)), frameon=False, fontsize=8)
    save(figure, path)


def draw(
    axes: Axes,
    values: list[np.ndarray],
    places,
    colours: list[str],
    upright: bool,
    width: float = 0.6,
) -> None:
    boxes = axes.boxplot(
        [ns.ravel() / 1e6 for ns in values],
        positions=list(places),
        widths=width,
        vert=upright,
        manage_ticks=False,
        **BOX,
    )
    for box, colour in zip(boxes["boxes"], colours, strict=True):
        box.set(facecolor=colour, alpha=0.7, linewidth=0.6)


def colours_of(study: Study) -> dict[str, str]:
    """A checkpoint has one colour in all pictures."""
    return {checkpoint: COLOURS[i % len(COLOURS)] for i, checkpoint in enumerate(study.checkpoints)}


def save(figure: Figure, path: Path) -> None:
    for kind in ("png", "svg"):
        with write_atomically(path.with_suffix(f".{kind}")) as file:
            figure.savefig(file, format=kind, dpi=150)
