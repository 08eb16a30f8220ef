"""Heat maps of how a system differs from its baseline by query and passage language."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hybrid_ir.comparison.section import Section
from hybrid_ir.comparison.statistics import SIGNIFICANT, Grid
from hybrid_ir.comparison.style import name_figure, use_paper_style
from hybrid_ir.comparison.table import get_metric_title

_NUMBERS_UP_TO = 16  # languages whose cells in a heat map have room for a number


@use_paper_style
def draw_pair_heat_map(section: Section, system: int, grid: Grid) -> Figure | None:
    """Draws the difference of a system from its baseline by query and passage language.

    Blue is better; a bold number is significant. The grid is that of `compare_language_pairs`.
    The maps of all systems have one scale, and cells and scale have one unit.
    """
    size = len(section.languages)
    differences, significant = arrange_pairs(section.languages, system, grid)
    if np.isnan(differences).all():
        return None
    factor = 100 if is_share(grid.metric) else 1
    differences = factor * differences
    limit = factor * (float(np.nanmax(np.abs(grid.difference))) or 1.0)
    inches = min(max(3.4, 0.42 * size + 1.2), 9.0)
    # This layout is for axes of a fixed aspect: with another one labels would be cut off.
    figure = Figure(figsize=(inches + 0.9, inches), layout="compressed")
    axes = figure.subplots()
    image = axes.pcolormesh(
        differences,
        cmap="RdBu" if grid.higher_is_better else "RdBu_r",
        vmin=-limit,
        vmax=limit,
        rasterized=size > _NUMBERS_UP_TO,
    )
    axes.set_aspect("equal")
    axes.invert_yaxis()
    font_size = min(9.0, 60 * inches / size)
    rotation = 90 if size > _NUMBERS_UP_TO else 0
    centres = np.arange(size) + 0.5
    axes.set_xticks(centres, section.languages, fontsize=font_size, rotation=rotation)
    axes.set_yticks(centres, section.languages, fontsize=font_size)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set(xlabel="passages in", ylabel="queries in")
    if size <= _NUMBERS_UP_TO:
        _write_differences(axes, differences, significant, limit, grid.metric)
    baseline = section.systems[section.baselines[system]].label
    name_figure(figure, f"{section.title}\n{section.systems[system].label} minus {baseline}")
    bar = figure.colorbar(image, ax=axes, fraction=0.05, pad=0.02)
    bar.outline.set_visible(False)
    bar.set_label(f"difference in {describe_pair_unit(grid.metric)}")
    return figure


def is_share(metric: str) -> bool:
    """Returns whether a metric is a share, whose cells in a heat map are in hundredths."""
    return "rank" not in metric or "normalised" in metric


def describe_pair_unit(metric: str) -> str:
    """Returns what the numbers of a heat map are."""
    title = get_metric_title(metric)
    return f"{title}, in hundredths" if is_share(metric) else title


def format_pair_difference(value: float, metric: str) -> str:
    """Returns a number of a heat map, in hundredths where the metric is a share."""
    return _write_difference(100 * value if is_share(metric) else value, metric)


def _write_difference(value: float, metric: str) -> str:
    """Returns a difference in the unit of a heat map with its sign, a zero without."""
    text = f"{value:+.1f}" if is_share(metric) else f"{value:+.0f}"
    if float(text) == 0:
        text = text[1:]
    return text.replace("-", "−")


def arrange_pairs(
    languages: Sequence[str], system: int, grid: Grid
) -> tuple[np.ndarray, np.ndarray]:
    """Returns a system's differences by query and passage language, and which are significant."""
    places = {language: place for place, language in enumerate(languages)}
    differences = np.full((len(languages), len(languages)), np.nan)
    significant = np.zeros((len(languages), len(languages)), bool)
    for cell, name in enumerate(grid.cells):
        query_language, passage_language = name.split(" → ")
        place = (places[query_language], places[passage_language])
        differences[place] = grid.difference[system, cell]
        significant[place] = grid.adjusted_p[system, cell] < SIGNIFICANT
    return differences, significant


def _write_differences(
    axes: Axes, differences: np.ndarray, significant: np.ndarray, limit: float, metric: str
) -> None:
    """Writes the numbers of a heat map, which are in its unit already."""
    for (row, column), value in np.ndenumerate(differences):
        if np.isnan(value):
            continue
        axes.text(
            column + 0.5,
            row + 0.5,
            _write_difference(value, metric),
            ha="center",
            va="center",
            fontsize=6.5,
            fontweight="bold" if significant[row, column] else "normal",
            color="white" if abs(value) > 0.6 * limit else "black",
        )
