"""The figures of a comparison. Each function returns None where there is nothing to draw."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hybrid_ir.comparison.comparison_tables import MainMeans
from hybrid_ir.comparison.identities import ALPHA_KEYS
from hybrid_ir.comparison.load import Result
from hybrid_ir.comparison.section import Section
from hybrid_ir.comparison.statistics import SIGNIFICANT
from hybrid_ir.comparison.style import (
    COLOURS,
    LINES,
    MARKERS,
    SystemStyle,
    add_legend_below,
    build_panels,
    name_figure,
    use_paper_style,
)
from hybrid_ir.comparison.systems import System
from hybrid_ir.comparison.table import VIEW_NAMES, format_value, get_metric_title
from hybrid_ir.evaluation.rank_table import VIEWS
from hybrid_ir.pages.svg import INK

_CURVE_POINTS = 400  # of a distribution: more than a printer shows
_FEWEST_STEPS = 2  # points that make a line
_FEWEST_SHARES = 3  # monolingual shares that make a curve
_PANEL_HEIGHT = 2.3  # inches
# The titles of the training curves, and the logged metrics they show.
_TRAINING_METRICS = {
    "Monolingual mAP": "val/mono/map",
    "Cross-lingual mAP": "val/cross/map",
    "Multilingual mAP": "val/multi/map",
    "Rank distance": "val/multi/rank_distance",
}


@use_paper_style
def draw_intervals(means: MainMeans, styles: Mapping[str, SystemStyle]) -> Figure | None:
    """Draws the difference of each system from its baseline with its interval.

    A marker is filled where the p value after Holm's correction is below .05, and half filled
    where that rests on one seed of a training.
    """
    section = means.section
    systems = [system for system, _ in section.tested_systems]
    shown_means = []
    titles = []
    for grid, place in means.list_means():
        if not np.isnan(grid.difference[:, place]).all():
            shown_means.append((grid, place))
            titles.append(
                f"{VIEW_NAMES[grid.cells[place]].capitalize()} {get_metric_title(grid.metric)}"
            )
    if not systems or not shown_means:
        return None
    figure, panels = build_panels(titles, 0.26 * len(systems) + 0.95, sharey=True)
    for panel, (grid, place) in zip(panels, shown_means, strict=True):
        for height, system in enumerate(systems):
            style = styles[section.systems[system].label]
            is_significant = grid.adjusted_p[system, place] < SIGNIFICANT
            panel.plot(
                [grid.low[system, place], grid.high[system, place]],
                [height, height],
                color=style.color,
                lw=2,
                solid_capstyle="butt",
            )
            panel.plot(
                grid.difference[system, place],
                height,
                style.marker,
                color=style.color,
                mfc=style.color if is_significant else "white",
                mfcalt="white",
                fillstyle="left" if is_significant and grid.one_seed[system] else "full",
                ms=6,
                mew=1.3,
            )
        panel.axvline(0, color=INK, lw=0.8)
        panel.grid(axis="x")
        labels = [section.systems[system].label for system in systems]
        panel.set_yticks(range(len(systems)), labels)
        panel.set_ylim(len(systems) - 0.5, -0.5)
        panel.xaxis.set_major_locator(MaxNLocator(4))
        better_side = "right" if grid.higher_is_better else "left"
        panel.set_xlabel(f"difference, better to the {better_side}")
    name_figure(figure, f"{section.title}: differences from {section.describe_baselines()}")
    return figure


@use_paper_style
def draw_distance_distribution(
    section: Section, styles: Mapping[str, SystemStyle]
) -> Figure | None:
    """Draws the share of queries whose relevant passages lie within a rank distance.

    All seeds of a system are taken together.
    """
    figure, (axes,) = build_panels(["Rank distance in the multilingual pool"], 3.4)
    figure.set_size_inches(0.8 * figure.get_size_inches()[0] / 0.62, 3.9)
    for system in section.systems:
        values = _read_distances(section, system)
        values = np.sort(values[~np.isnan(values)])
        if not len(values):
            return None
        shares = np.linspace(0, 1, min(_CURVE_POINTS, len(values)))
        style = styles[system.label]
        axes.plot(
            np.maximum(np.quantile(values, shares, method="inverted_cdf"), 1),
            shares,
            label=system.label,
            drawstyle="steps-post",
            color=style.color,
            linestyle=style.linestyle,
        )
        median = float(np.median(values))
        axes.plot(max(median, 1), 0.5, style.marker, color=style.color, ms=5)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.xaxis.set_minor_formatter("")
    axes.set(
        xlabel="rank distance (log scale); marker: median",
        ylabel="share of queries at or below",
        ylim=(0, 1),
    )
    axes.grid()
    add_legend_below(figure, [axes])
    name_figure(figure, section.title)
    return figure


def describe_median_distances(section: Section) -> str:
    """Returns the medians of the distribution as text, for readers who do not see the figure."""
    medians = []
    for system in section.systems:
        values = _read_distances(section, system)
        if not np.isnan(values).all():
            median = format_value(float(np.nanmedian(values)), "rank_distance")
            medians.append(f"{system.label}: median {median}")
    return "; ".join(medians)


def _read_distances(section: Section, system: System) -> np.ndarray:
    """Reads the rank distances of all seeds of a system."""
    return np.concatenate(
        [section.read_values(result, "rank_distance") for result in system.results]
    )


@use_paper_style
def draw_metric_against_alpha(section: Section, metric: str) -> Figure | None:
    """Draws a metric against the share of monolingual batches.

    A curve is the mean over seeds with one standard deviation, where there are several seeds, and
    every seed is a dot.
    """
    families = find_alpha_families(section)
    first_system_NS = section.load_metric(metric).setting_means[0]
    shown = []
    for view in VIEWS:
        if np.isfinite(first_system_NS[:, section.select_settings(view)]).any():
            shown.append((view, metric))
    if section.select_settings("multi").any() and metric != "rank_distance":
        shown.append(("multi", "rank_distance"))
    if not families or not shown:
        return None
    titles = [f"{VIEW_NAMES[view].capitalize()} {get_metric_title(name)}" for view, name in shown]
    figure, panels = build_panels(titles, _PANEL_HEIGHT)
    for panel, (view, name) in zip(panels, shown, strict=True):
        for number, (label, members) in enumerate(families.items()):
            seeds = []
            for system in members:
                means_NS = section.load_metric(name).setting_means[system]
                seeds.append(np.nanmean(means_NS[:, section.select_settings(view)], axis=1))
            shares = [section.systems[system].alpha for system in members]
            _draw_alpha_curve(panel, shares, seeds, number, label)
        panel.set(xlabel="monolingual share (alpha)", xlim=(-0.04, 1.04))
        panel.grid()
    add_legend_below(figure, panels)
    name_figure(figure, section.title)
    return figure


def find_alpha_families(section: Section) -> dict[str, list[int]]:
    """Finds systems that differ in nothing but the share of monolingual batches.

    Returns:
        For the name of each family with at least three shares, the places of its systems in the
        order of their shares.
    """
    members_by_identity: dict[str, list[int]] = defaultdict(list)
    for place, system in enumerate(section.systems):
        if system.alpha is None:
            continue
        identity = {}
        for key, value in system.identity.items():
            if key not in ALPHA_KEYS:
                identity[key] = value
        members_by_identity[json.dumps(identity, sort_keys=True, default=str)].append(place)
    families: dict[str, list[int]] = {}
    for encoded_identity, members in members_by_identity.items():
        shares = {section.systems[place].alpha for place in members}
        if len(shares) < _FEWEST_SHARES:
            continue
        identity = json.loads(encoded_identity)
        name = f"{identity['model']}, plan by {identity.get('training/level', 'batch')}"
        if name in families:
            name = f"{name} ({len(families) + 1})"
        families[name] = sorted(members, key=lambda place: section.systems[place].alpha)
    return families


def _draw_alpha_curve(
    axes: Axes, shares: Sequence[float], seeds: Sequence[np.ndarray], number: int, label: str
) -> None:
    """Draws the curve of one family; for each share there are the means of its seeds."""
    colour = COLOURS[number % len(COLOURS)]
    means = []
    deviations = []
    for values in seeds:
        means.append(values.mean())
        # One seed has no deviation, which is not a deviation of zero.
        deviations.append(values.std(ddof=1) if len(values) > 1 else np.nan)
    axes.errorbar(
        shares,
        np.array(means),
        np.array(deviations),
        color=colour,
        linestyle=LINES[number % len(LINES)],
        label=label,
        capsize=3,
        elinewidth=1,
    )
    for share, values in zip(shares, seeds, strict=True):
        axes.plot(
            [share] * len(values),
            values,
            MARKERS[number % len(MARKERS)],
            color=colour,
            ms=3.5,
            alpha=0.8,
            mew=0,
        )


@use_paper_style
def draw_system_curves(section: Section, styles: Mapping[str, SystemStyle]) -> Figure | None:
    """Draws validation metrics over the steps of each training, one line for each seed.

    A training that was validated once has no curve.
    """
    shown = {}
    for title, metric in _TRAINING_METRICS.items():
        if any(_select_steps(result, metric) for result in section.results):
            shown[title] = metric
    if not shown:
        return None
    figure, panels = build_panels(list(shown), _PANEL_HEIGHT)
    for panel, metric in zip(panels, shown.values(), strict=True):
        for system in section.systems:
            _draw_training_curve(panel, system, metric, styles[system.label])
        panel.set(xlabel="step")
        panel.grid()
    add_legend_below(figure, panels)
    name_figure(figure, section.title)
    return figure


def _select_steps(result: Result, metric: str) -> list[dict]:
    """Returns the logged rows of a metric, none where there are too few for a line."""
    rows = [row for row in result.steps if metric in row]
    return rows if len(rows) >= _FEWEST_STEPS else []


def _draw_training_curve(axes: Axes, system: System, metric: str, style: SystemStyle) -> None:
    label: str | None = system.label
    for result in system.results:
        rows = _select_steps(result, metric)
        if not rows:
            continue
        axes.plot(
            [row["step"] for row in rows],
            [row[metric] for row in rows],
            color=style.color,
            linestyle=style.linestyle,
            marker=style.marker,
            ms=2.5,
            lw=1,
            alpha=0.85,
            label=label,
        )
        label = None  # a system is in the legend once
