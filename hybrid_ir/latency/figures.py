"""Box plots of a study: by checkpoint and stage, and by query language beside its tokens."""

from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hybrid_ir.files.atomic import write_atomically
from hybrid_ir.latency.statistics import sort_languages_by_tokens
from hybrid_ir.latency.study import STAGES, Study

# for colour-blind readers
COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#F0E442",
    "#000000",
)
LARGEST_WIDTH = 16.0  # inches
BOX_STYLE = {
    "whis": (5, 95),
    "showfliers": False,
    "patch_artist": True,
    "medianprops": {"color": "black"},
}


def draw_stages(study: Study, path: Path) -> None:
    """Draws a row per batch size and search, a column per stage and a box per contestant.

    Writes a PNG and an SVG of this name.
    """
    labels = [f"{checkpoint}, {backend}" for checkpoint, backend in study.contestants]
    checkpoint_colours = _choose_colours(study)
    colours = [checkpoint_colours[checkpoint] for checkpoint, _ in study.contestants]
    lines = list(product(study.timings, range(len(study.searches))))
    height = len(lines) * (0.9 + 0.2 * len(labels)) + 0.5
    figure = Figure(figsize=(LARGEST_WIDTH, min(1.5 * LARGEST_WIDTH, height)), layout="constrained")
    grid = figure.subplots(len(lines), len(STAGES), squeeze=False, sharey=True)
    for (timings, search), grid_line in zip(lines, grid, strict=True):
        for stage, axes in zip(STAGES, grid_line, strict=True):
            values = []
            for contestant in range(len(labels)):
                values.append(timings.get_stages(contestant, search)[stage])
            _draw_boxes(axes, values, range(len(labels)), colours, vertical=False)
            title = f"{stage}, batch {timings.units.batch_size}"
            if stage == "search":
                title += f", {study.searches[search]}"
            axes.set_title(title, fontsize=9)
            axes.set_xlabel("ms", fontsize=8)
            axes.set_xlim(0, None)
            axes.grid(axis="x", alpha=0.3)
            axes.tick_params(labelsize=8)
    grid[0, 0].set_yticks(range(len(labels)), labels)
    grid[0, 0].set_ylim(len(labels) - 0.5, -0.5)
    figure.suptitle(f"{study.benchmark.name}: box 25 to 75%, whiskers 5 to 95%")
    _save(figure, path)


def draw_languages(study: Study, path: Path) -> None:
    """Draws the total of the first batch size, backend and search per language and checkpoint.

    The language with most tokens per query comes first; the tokens are drawn below. Writes a PNG
    and an SVG of this name.
    """
    languages = sort_languages_by_tokens(study)
    language_numbers = [study.benchmark.languages.index(language) for language in languages]
    first_backend = study.backends[0]
    contestants = []
    for number, (_, backend) in enumerate(study.contestants):
        if backend == first_backend:
            contestants.append(number)
    wanted_width = 0.35 * len(languages) * max(1, len(contestants) / 2) + 1.5
    width = min(max(6.0, wanted_width), LARGEST_WIDTH)
    # in points: of a hundred languages each still has its own label
    label_size = min(9.0, 55 * width / len(languages))
    figure = Figure(figsize=(width, 6), layout="constrained")
    upper, lower = figure.subplots(2, 1, height_ratios=[3, 1], sharex=True)
    _draw_language_totals(upper, study, contestants, language_numbers)
    _draw_language_tokens(lower, study, language_numbers)
    lower.set_xticks(range(len(languages)), languages, rotation=90, fontsize=label_size)
    lower.set_xlim(-0.7, len(languages) - 0.3)
    columns = min(4, len(contestants))
    figure.legend(loc="outside upper center", ncols=columns, frameon=False, fontsize=8)
    _save(figure, path)


def _draw_language_totals(
    axes: Axes, study: Study, contestants: Sequence[int], language_numbers: Sequence[int]
) -> None:
    """Draws the boxes of the contestants side by side at each language."""
    timings = study.timings[0]
    units = timings.units
    colours = _choose_colours(study)
    for place, contestant in enumerate(contestants):
        checkpoint, _ = study.contestants[contestant]
        total_RU = timings.get_stages(contestant, 0)["total"]
        values = [total_RU[:, units.languages_U == number] for number in language_numbers]
        shift = (place + 0.5) / len(contestants) - 0.5
        _draw_boxes(
            axes,
            values,
            np.arange(len(language_numbers)) + 0.8 * shift,
            [colours[checkpoint]] * len(language_numbers),
            vertical=True,
            width=0.7 / len(contestants),
        )
        axes.plot(
            [], [], color=colours[checkpoint], linewidth=6, label=checkpoint
        )  # for the legend
    axes.set(
        ylabel="ms",
        ylim=(0, None),
        title=f"{study.benchmark.name}: batch {units.batch_size}, {study.backends[0]}, "
        f"{study.searches[0]}",
    )
    axes.grid(axis="y", alpha=0.3)


def _draw_language_tokens(axes: Axes, study: Study, language_numbers: Sequence[int]) -> None:
    tokens_Q = study.tokens[study.checkpoints[0]]
    language_Q = study.benchmark.query_languages
    means = [tokens_Q[language_Q == number].mean() for number in language_numbers]
    axes.bar(range(len(means)), means, color="#777777")
    axes.set(ylabel="tokens per query", xlabel="query language")


def _draw_boxes(
    axes: Axes,
    values_ns: Sequence[np.ndarray],
    places: Sequence[float],
    colours: Sequence[str],
    vertical: bool,
    width: float = 0.6,
) -> None:
    """Draws a box per array of nanoseconds, on an axis of milliseconds."""
    boxes = axes.boxplot(
        [ns.ravel() / 1e6 for ns in values_ns],
        positions=list(places),
        widths=width,
        vert=vertical,
        manage_ticks=False,
        **BOX_STYLE,
    )
    for box, colour in zip(boxes["boxes"], colours, strict=True):
        box.set(facecolor=colour, alpha=0.7, linewidth=0.6)


def _choose_colours(study: Study) -> dict[str, str]:
    """Returns the colour of each checkpoint, the same in all figures."""
    colours = {}
    for number, checkpoint in enumerate(study.checkpoints):
        colours[checkpoint] = COLOURS[number % len(COLOURS)]
    return colours


def _save(figure: Figure, path: Path) -> None:
    for kind in ("png", "svg"):
        with write_atomically(path.with_suffix(f".{kind}")) as file:
            figure.savefig(file, format=kind, dpi=150)
