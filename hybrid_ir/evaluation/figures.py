"""The pictures of a run: a language matrix, and curves over its steps."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from hybrid_ir.evaluation.results import Results
from hybrid_ir.types import Benchmark

LARGEST = 16.0  # inches
NUMBERS_UP_TO = 16  # languages whose cells have room for a number
COLOURS = {
    "mono": "#0072B2",
    "cross": "#D55E00",
    "multi": "#009E73",
}  # told apart by colour-blind readers


def draw_heat_map(results: Results, path: Path) -> None:
    """mAP by query language (row) and passage language (column); the last column is the pool of all languages."""
    languages, cells = results.benchmark.languages, results.matrix("map")
    multi = {s.query_language: s.means["map"] for s in results.settings if s.view == "multi"}
    column = np.array([[multi.get(language, np.nan)] for language in languages])
    size, letters = choose_figure_size(len(languages))
    figure = Figure(figsize=(size + 1.6, size), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[len(languages), 1], sharey=True)
    draw_cells(left, cells, languages, languages, letters)
    image = draw_cells(right, column, languages, ["all"], letters)
    left.set(xlabel="passages in", ylabel="queries in")
    figure.suptitle(f"{results.benchmark.name}: mAP by language")
    figure.colorbar(image, ax=right, fraction=0.9, pad=0.3, label="mAP")
    save_figure(figure, path)


def draw_one_target(benchmark: Benchmark, cells: list[list[float | None]], path: Path) -> None:
    """Mean 1 / rank of each answer language alone in the pool of all languages, by query language (row)."""
    languages = benchmark.languages
    values = np.array([[np.nan if value is None else value for value in row] for row in cells])
    size, letters = choose_figure_size(len(languages))
    figure = Figure(figsize=(size + 1, size), layout="constrained")
    axes = figure.subplots()
    image = draw_cells(axes, values, languages, languages, letters)
    axes.set(xlabel="the only answer is in", ylabel="queries in")
    figure.suptitle(f"{benchmark.name}: 1 / rank of one answer among all languages")
    figure.colorbar(image, ax=axes, label="mean 1 / rank")
    save_figure(figure, path)


def choose_figure_size(languages: int) -> tuple[float, float]:
    """Inches of a square with so many rows, and points of a letter: a hundred languages still have each its own line."""
    size = min(max(4.0, 0.45 * languages + 1.8), LARGEST)
    return size, min(10.0, 60 * size / languages)


def draw_cells(
    axes: Axes, values: np.ndarray, rows: Sequence[str], columns: Sequence[str], letters: float
) -> AxesImage:
    """Shares as coloured cells, with their numbers where there is room."""
    image = axes.imshow(values, cmap="viridis", vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(
        range(len(columns)),
        columns,
        rotation=90 if len(rows) > NUMBERS_UP_TO else 0,
        fontsize=letters,
    )
    axes.set_yticks(range(len(rows)), rows, fontsize=letters)
    axes.tick_params(length=0)
    if len(rows) <= NUMBERS_UP_TO:
        write_numbers(axes, values)
    return image


def write_numbers(axes: Axes, values: np.ndarray) -> None:
    for (row, column), value in np.ndenumerate(values):
        if not np.isnan(value):
            axes.text(
                column,
                row,
                f"{value:.2f}".lstrip("0") if value < 1 else "1.0",
                ha="center",
                va="center",
                fontsize=8,
                color="white" if value < 0.6 else "black",
            )


def draw_training_curves(metrics: Path, path: Path) -> None:
    """Loss over steps, and the validation's mAP in the three views and rank distance, as far as they were measured."""
    rows = (
        [json.loads(line) for line in metrics.read_text().splitlines()] if metrics.exists() else []
    )  # a very short run
    logged = {name for row in rows for name in row}
    losses = {
        "train/loss": ("training batches", {}),
        "val/loss": ("validation, whole pool", {"marker": "o"}),
    }
    maps = {
        f"val/{view}/map": (view, {"color": colour, "marker": "o"})
        for view, colour in COLOURS.items()
    }
    distances = {"val/multi/rank_distance": ("rank distance", {"color": "#CC79A7", "marker": "o"})}
    panels = {"loss": losses, "validation mAP": maps, "validation rank distance": distances}
    measured = {
        title: curves
        for title, curves in panels.items()
        if title == "loss" or logged & curves.keys()
    }
    figure = Figure(figsize=(4 * len(measured) + 0.6, 3.6), layout="constrained")
    for axes, (title, curves) in zip(
        figure.subplots(1, len(measured), squeeze=False)[0], measured.items(), strict=True
    ):
        for name in (name for name in curves if name in logged):
            label, style = curves[name]
            axes.plot(
                *zip(*((row["step"], row[name]) for row in rows if name in row), strict=True),
                label=label,
                **style,
            )
        axes.set(title=title, xlabel="step")
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend(frameon=False)
        if title == "validation mAP":
            axes.set_ylim(0, 1)
    save_figure(figure, path)


def save_figure(figure: Figure, path: Path) -> None:
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=150)
