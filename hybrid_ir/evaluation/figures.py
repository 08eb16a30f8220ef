"""Draws the pictures of a run: matrices of languages, and curves over its steps."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from hybrid_ir.evaluation.results import Results
from hybrid_ir.files.atomic import write_atomically
from hybrid_ir.files.json_lines import read_log_rows
from hybrid_ir.types import Benchmark

LARGEST_FIGURE = 16.0  # inches
FEWEST_POINTS = 2  # of a curve
NUMBERS_UP_TO = 16  # languages whose cells have room for a number
# colours that colour-blind readers can distinguish
COLOUR_OF_VIEW = {"mono": "#0072B2", "cross": "#D55E00", "multi": "#009E73"}
COLOUR_OF_DISTANCE = "#CC79A7"

# what is drawn of a training: the name that was logged, and the style of its curve
LOSS_CURVES: dict[str, dict[str, Any]] = {
    "train/loss": {"label": "training batches"},
    "val/loss": {"label": "validation, whole pool", "marker": "o"},
}
MAP_CURVES = {
    f"val/{view}/map": {"label": view, "color": colour, "marker": "o"}
    for view, colour in COLOUR_OF_VIEW.items()
}
DISTANCE_CURVES = {
    "val/multi/rank_distance": {
        "label": "rank distance",
        "color": COLOUR_OF_DISTANCE,
        "marker": "o",
    }
}


def draw_heat_map(results: Results, path: Path, model: str = "") -> None:
    """Draws mAP by query language (row) and passage language (column).

    The last column is the pool of all languages.

    Args:
        results: what was measured.
        path: of the picture.
        model: what was measured with, for the title.
    """
    languages = results.benchmark.languages
    cells = results.matrix("map")
    places = {language: place for place, language in enumerate(languages)}
    multilingual = np.full((len(languages), 1), np.nan)
    for setting in results.settings:
        if setting.view == "multi":
            multilingual[places[setting.query_language], 0] = setting.means["map"]
    size, letters = choose_figure_size(len(languages))
    figure = Figure(figsize=(size + 1.6, size), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[len(languages), 1], sharey=True)
    draw_cells(left, cells, languages, languages, letters)
    image = draw_cells(right, multilingual, languages, ["all"], letters)
    left.set(xlabel="passages in", ylabel="queries in")
    figure.suptitle(_write_title(model, results.benchmark, "mAP by language"))
    figure.colorbar(image, ax=right, fraction=0.9, pad=0.3, label="mAP")
    save_figure(figure, path)


def draw_one_target(
    benchmark: Benchmark, cells: list[list[float | None]], path: Path, model: str = ""
) -> None:
    """Draws the mean of 1 / rank of an answer that is alone in the pool of all languages.

    Args:
        benchmark: that was measured.
        cells: by query language (row) and language of the answer (column), None for none.
        path: of the picture.
        model: what was measured with, for the title.
    """
    languages = benchmark.languages
    values = np.array(cells, dtype=float)  # None becomes NaN
    size, letters = choose_figure_size(len(languages))
    figure = Figure(figsize=(size + 1, size), layout="constrained")
    axes = figure.subplots()
    image = draw_cells(axes, values, languages, languages, letters)
    axes.set(xlabel="the only answer is in", ylabel="queries in")
    words = "1 / rank of one answer among all languages"
    figure.suptitle(_write_title(model, benchmark, words))
    figure.colorbar(image, ax=axes, label="mean 1 / rank")
    save_figure(figure, path)


def _write_title(model: str, benchmark: Benchmark, words: str) -> str:
    """Returns the title of a picture: the model on the benchmark, and what is shown below it."""
    subject = f"{model} on {benchmark.name}" if model else benchmark.name
    return f"{subject}\n{words}"


def choose_figure_size(languages: int) -> tuple[float, float]:
    """Chooses the side of a square with so many rows in inches, and the size of letters in points.

    Even of a hundred languages each has its own line.
    """
    size = min(max(4.0, 0.45 * languages + 1.8), LARGEST_FIGURE)
    return size, min(10.0, 60 * size / languages)


def draw_cells(
    axes: Axes, values: np.ndarray, rows: Sequence[str], columns: Sequence[str], letters: float
) -> AxesImage:
    """Draws shares as coloured cells, with their numbers where there is room."""
    has_room = len(rows) <= NUMBERS_UP_TO
    image = axes.imshow(values, cmap="viridis", vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(range(len(columns)), columns, rotation=0 if has_room else 90, fontsize=letters)
    axes.set_yticks(range(len(rows)), rows, fontsize=letters)
    axes.tick_params(length=0)
    if has_room:
        _write_numbers(axes, values)
    return image


def _write_numbers(axes: Axes, values: np.ndarray) -> None:
    for (row, column), value in np.ndenumerate(values):
        if np.isnan(value):
            continue
        text = f"{value:.2f}".lstrip("0") if value < 1 else "1.0"
        colour = "white" if value < 0.6 else "black"
        axes.text(column, row, text, ha="center", va="center", fontsize=8, color=colour)


def draw_training_curves(metrics: Path, path: Path, run: str = "") -> None:
    """Draws the loss, the mAP of the views and the rank distance over the steps of a training.

    What was measured less than twice has no curve and is left out.

    Args:
        metrics: the file metrics.jsonl of the run; a very short run has none.
        path: of the picture.
        run: what the picture is about, for the title.
    """
    rows = read_log_rows(metrics)
    times: Counter[str] = Counter()
    for row in rows:
        times.update(row.keys())
    logged = {name for name, count in times.items() if count >= FEWEST_POINTS}
    panels = {"loss": LOSS_CURVES}
    if logged & MAP_CURVES.keys():
        panels["validation mAP"] = MAP_CURVES
    if logged & DISTANCE_CURVES.keys():
        panels["validation rank distance"] = DISTANCE_CURVES
    figure = Figure(figsize=(4 * len(panels) + 0.6, 3.6), layout="constrained")
    all_axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (title, curves) in zip(all_axes, panels.items(), strict=True):
        for name, style in curves.items():
            measured = [row for row in rows if name in row]
            if name in logged:
                steps = [row["step"] for row in measured]
                axes.plot(steps, [row[name] for row in measured], **style)
        axes.set(title=title, xlabel="step")
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend(frameon=False)
        else:
            axes.text(0.5, 0.5, "measured less than twice", ha="center", transform=axes.transAxes)
        if title == "validation mAP":
            axes.set_ylim(0, 1)
    if run:
        figure.suptitle(run)
    save_figure(figure, path)


def save_figure(figure: Figure, path: Path) -> None:
    """Writes a figure to a file, in the format that its name says."""
    FigureCanvasAgg(figure)
    with write_atomically(path) as file:
        figure.savefig(file, format=path.suffix.removeprefix("."), dpi=150)
