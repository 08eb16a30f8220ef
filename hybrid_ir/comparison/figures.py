"""Pictures of differences: intervals, language pairs, and how far apart the relevant passages of a query rank."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hybrid_ir.comparison.grid import Grid
from hybrid_ir.comparison.section import Section
from hybrid_ir.comparison.style import INK, legend_below, panels, styled
from hybrid_ir.comparison.table import ALPHA, TITLES, Formatted
from hybrid_ir.comparison.tables import Headline

WORDS = {"mono": "Monolingual", "cross": "Cross-lingual", "multi": "Multilingual"}
NUMBERS_UP_TO = 16  # languages whose cells have room for a number
POINTS = 400  # of a distribution's curve: more than a printer shows


@styled
def forest(head: Headline, looks: Mapping[str, dict]) -> Figure | None:
    """Difference of each system from its baseline with its interval; filled where Holm's p is below .05."""
    section = head.section
    systems = [i for i, base in enumerate(section.baselines) if base is not None]
    wanted = [(grid, k) for grid, k in head.cells if not np.isnan(grid.difference[:, k]).all()]
    if not systems or not wanted:
        return None
    titles = [
        f"{WORDS[grid.cells[k]]} {TITLES.get(grid.metric, grid.metric)}" for grid, k in wanted
    ]
    figure, axes = panels(titles, 0.26 * len(systems) + 0.95, sharey=True)
    for one, (grid, k) in zip(axes, wanted, strict=True):
        for place, i in enumerate(systems):
            style, value = looks[section.systems[i].label], grid.difference[i, k]
            filled = style["color"] if grid.adjusted[i, k] < ALPHA else "white"
            one.plot(
                [grid.low[i, k], grid.high[i, k]],
                [place, place],
                color=style["color"],
                lw=2,
                solid_capstyle="butt",
            )
            one.plot(value, place, style["marker"], color=style["color"], mfc=filled, ms=6, mew=1.3)
        one.axvline(0, color=INK, lw=0.8)
        one.grid(axis="x")
        one.set_yticks(range(len(systems)), [section.systems[i].label for i in systems])
        one.set_ylim(len(systems) - 0.5, -0.5)
        one.xaxis.set_major_locator(MaxNLocator(4))
        better = "right" if grid.higher_is_better else "left"
        one.set_xlabel(f"difference, better to the {better}")
    return figure


@styled
def pair_heat_map(section: Section, system: int, grid: Grid) -> Figure | None:
    """Difference of a system from its baseline by query and passage language; blue is better, bold is beyond chance."""
    languages, size = section.languages, len(section.languages)
    place = {name: i for i, name in enumerate(languages)}
    cells, strong = np.full((size, size), np.nan), np.zeros((size, size), bool)
    for k, name in enumerate(grid.cells):
        query, passage = name.split(" → ")
        cells[place[query], place[passage]] = grid.difference[system, k]
        strong[place[query], place[passage]] = grid.adjusted[system, k] < ALPHA
    if np.isnan(cells).all():
        return None
    limit = float(np.nanmax(np.abs(cells))) or 1.0
    inches = min(max(3.4, 0.42 * size + 1.2), 9.0)
    figure = Figure(
        figsize=(inches + 0.9, inches), layout="compressed"
    )  # for axes of fixed aspect: nothing is cut off
    axes = figure.subplots()
    image = axes.pcolormesh(
        cells,
        cmap="RdBu" if grid.higher_is_better else "RdBu_r",
        vmin=-limit,
        vmax=limit,
        rasterized=size > NUMBERS_UP_TO,
    )
    axes.set_aspect("equal")
    axes.invert_yaxis()
    letters = min(9.0, 60 * inches / size)
    rotation = 90 if size > NUMBERS_UP_TO else 0
    axes.set_xticks(np.arange(size) + 0.5, languages, fontsize=letters, rotation=rotation)
    axes.set_yticks(np.arange(size) + 0.5, languages, fontsize=letters)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set(xlabel="passages in", ylabel="queries in")
    if size <= NUMBERS_UP_TO:
        write_differences(axes, cells, strong, limit, grid.metric)
    bar = figure.colorbar(image, ax=axes, fraction=0.05, pad=0.02)
    bar.outline.set_visible(False)
    bar.set_label(f"difference in {TITLES.get(grid.metric, grid.metric)}")
    return figure


def write_differences(
    axes: Axes, cells: np.ndarray, strong: np.ndarray, limit: float, metric: str
) -> None:
    """In hundredths where the measure is a share."""
    share = "rank" not in metric or "normalised" in metric
    for (row, column), value in np.ndenumerate(cells):
        if not np.isnan(value):
            text = f"{100 * value:+.1f}" if share else f"{value:+.0f}"
            axes.text(
                column + 0.5,
                row + 0.5,
                text.replace("-", "−"),
                ha="center",
                va="center",
                fontsize=6.5,
                fontweight="bold" if strong[row, column] else "normal",
                color="white" if abs(value) > 0.6 * limit else "black",
            )


@styled
def distance_distribution(section: Section, looks: Mapping[str, dict]) -> Figure | None:
    """Share of the queries whose relevant passages lie within a rank distance; all seeds of a system together."""
    figure, (axes,) = panels(["Rank distance in the multilingual pool"], 3.4)
    figure.set_size_inches(0.8 * figure.get_size_inches()[0] / 0.62, 3.9)
    for system in section.systems:
        values = np.concatenate(
            [section.values(result, "rank_distance") for result in system.results]
        )
        values = np.sort(values[~np.isnan(values)])
        if not len(values):
            return None
        shares = np.linspace(0, 1, min(POINTS, len(values)))
        style = looks[system.label]
        axes.plot(
            np.maximum(np.quantile(values, shares, method="inverted_cdf"), 1),
            shares,
            label=system.label,
            drawstyle="steps-post",
            color=style["color"],
            linestyle=style["linestyle"],
        )
        middle = float(np.median(values))
        axes.plot(max(middle, 1), 0.5, style["marker"], color=style["color"], ms=5)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.xaxis.set_minor_formatter("")
    axes.set(
        xlabel="rank distance (log scale); marker: median",
        ylabel="share of queries at or below",
        ylim=(0, 1),
    )
    axes.grid()
    legend_below(figure, [axes])
    return figure


def median_distances(section: Section) -> str:
    """The distribution in words, for readers who do not see the picture."""
    write, told = Formatted("rank_distance"), []
    for system in section.systems:
        values = np.concatenate(
            [section.values(result, "rank_distance") for result in system.results]
        )
        if not np.isnan(values).all():
            told.append(f"{system.label}: median {write(float(np.nanmedian(values)))}")
    return "; ".join(told)
