"""Pictures of measures along something: the share of monolingual batches, and the steps of a training."""

import json
from collections import defaultdict
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hybrid_ir.comparison.figures import WORDS
from hybrid_ir.comparison.identity import ALPHA_KEYS
from hybrid_ir.comparison.section import VIEWS, Section
from hybrid_ir.comparison.style import COLOURS, LINES, MARKERS, legend_below, panels, styled
from hybrid_ir.comparison.systems import System
from hybrid_ir.comparison.table import TITLES

STEP_KEYS = {
    "Monolingual mAP": "val/mono/map",
    "Cross-lingual mAP": "val/cross/map",
    "Multilingual mAP": "val/multi/map",
    "Rank distance": "val/multi/rank_distance",
}


def alpha_families(section: Section) -> dict[str, list[int]]:
    """Systems that differ in nothing but the monolingual share, where there are at least three shares: name -> systems."""
    found: dict[str, list[int]] = defaultdict(list)
    for i, system in enumerate(section.systems):
        if system.alpha is not None:
            rest = {key: value for key, value in system.identity.items() if key not in ALPHA_KEYS}
            found[json.dumps(rest, sort_keys=True, default=str)].append(i)
    families = {}
    for rest, members in found.items():
        if len({section.systems[i].alpha for i in members}) >= 3:
            known = json.loads(rest)
            name = f"{known['model']}, plan by {known.get('training/level', 'batch')}"
            families[name if name not in families else f"{name} ({len(families) + 1})"] = sorted(
                members, key=lambda i: section.systems[i].alpha
            )
    return families


@styled
def measure_against_alpha(section: Section, metric: str) -> Figure | None:
    """Mean over seeds, a bar of one standard deviation where there are several, and every seed as a dot."""
    families = alpha_families(section)
    wanted = [
        (view, metric)
        for view in VIEWS
        if np.isfinite(section.measure(metric).seeds[0][:, section.mask(view)]).any()
    ]
    wanted += (
        [("multi", "rank_distance")]
        if section.mask("multi").any() and metric != "rank_distance"
        else []
    )
    if not families or not wanted:
        return None
    figure, axes = panels([f"{WORDS[view]} {TITLES.get(name, name)}" for view, name in wanted], 2.3)
    for one, (view, name) in zip(axes, wanted, strict=True):
        for number, (label, members) in enumerate(families.items()):
            draw_alpha(one, section, members, view, name, number, label)
        one.set(xlabel="monolingual share (alpha)", xlim=(-0.04, 1.04))
        one.grid()
    legend_below(figure, axes)
    return figure


def draw_alpha(
    axes: Axes,
    section: Section,
    members: list[int],
    view: str,
    metric: str,
    number: int,
    label: str,
) -> None:
    seeds = [
        np.nanmean(section.measure(metric).seeds[i][:, section.mask(view)], axis=1) for i in members
    ]
    shares = [section.systems[i].alpha for i in members]
    colour = COLOURS[number % len(COLOURS)]
    means = np.array([values.mean() for values in seeds])
    spread = np.array(
        [values.std(ddof=1) if len(values) > 1 else np.nan for values in seeds]
    )  # one seed has none, not zero
    axes.errorbar(
        shares,
        means,
        spread,
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


@styled
def training_curves(section: Section, looks: Mapping[str, dict]) -> Figure | None:
    """Validation measures over the steps of each training, one line a seed."""
    keys = {
        title: key
        for title, key in STEP_KEYS.items()
        if any(
            key in row
            for system in section.systems
            for result in system.results
            for row in result.steps
        )
    }
    if not keys:
        return None
    figure, axes = panels(list(keys), 2.3)
    for one, key in zip(axes, keys.values(), strict=True):
        for system in section.systems:
            draw_steps(one, system, key, looks[system.label])
        one.set(xlabel="step")
        one.grid()
    legend_below(figure, axes)
    return figure


def draw_steps(axes: Axes, system: System, key: str, style: dict) -> None:
    label: str | None = system.label
    for result in system.results:
        steps = [(row["step"], row[key]) for row in result.steps if key in row]
        if steps:
            axes.plot(
                *zip(*steps, strict=True),
                color=style["color"],
                linestyle=style["linestyle"],
                marker=style["marker"],
                ms=2.5,
                lw=1,
                alpha=0.85,
                label=label,
            )
            label = None  # once in the legend
