"""Grid: a metric of all systems in some cells, with what chance alone could have done.

Shapes: A systems, K cells, S settings, F sign flips, B resamples.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hybrid_ir.comparison.section import Section
from hybrid_ir.evaluation.significance import (
    ClusteredValues,
    adjust_holm,
    compute_bootstrap_interval,
    compute_effect,
    compute_randomisation_p_values,
)

LOWER_IS_BETTER = (
    "rank_distance",
    "rank_distance_excess",
    "rank_distance_normalised",
    "max_rank",
    "tie_rate",
)


@dataclass(frozen=True)
class Resampling:
    """How the tests and intervals are drawn; one seed gives one report."""

    seed: int = 1
    flips: int = 10_000
    resamples: int = 5_000
    level: float = 0.95

    def flips_for(self, tests: int) -> int:
        """More where many tests share a family: the smallest p that Holm can leave must stay below .05."""
        return max(self.flips, 100 * tests)


@dataclass(frozen=True, eq=False)
class Grid:
    """Means are over seeds; differences from the system's baseline are NaN where it has none. All (A, K)."""

    metric: str
    cells: tuple[str, ...]
    mean: np.ndarray
    sd: np.ndarray  # over seeds, ddof 1; NaN with one seed
    difference: np.ndarray
    p: np.ndarray
    adjusted: np.ndarray  # p after Holm over the family; NaN until `adjust`
    low: np.ndarray  # ends of the interval of the difference
    high: np.ndarray
    standardised: np.ndarray
    better: np.ndarray
    worse: np.ndarray

    @property
    def higher_is_better(self) -> bool:
        return self.metric not in LOWER_IS_BETTER

    def best(self, column: int) -> float:
        """NaN where nothing is defined."""
        values = self.mean[:, column][~np.isnan(self.mean[:, column])]
        return (
            float("nan")
            if not len(values)
            else float(values.max() if self.higher_is_better else values.min())
        )


def measure(
    section: Section,
    metric: str,
    cells: Mapping[str, np.ndarray],
    chance: Resampling,
    micro: bool = False,
    intervals: bool = False,
) -> Grid:
    """Test every system against its baseline in every cell; a cell is a mask (S) of settings.

    macro: the mean over a cell's settings of the mean over their rows. micro: the mean over all rows of the cell.
    """
    measured, cells_SK = section.measure(metric), np.stack(list(cells.values()), axis=1)
    counts_S = measured.averaged[0].counts_CS.sum(0)
    weights_SK = cells_SK * (counts_S[:, None] if micro else (counts_S > 0)[:, None])
    total_K = weights_SK.sum(0)
    seeds = [
        np.where(total_K > 0, np.nan_to_num(means) @ weights_SK / np.maximum(total_K, 1), np.nan)
        for means in measured.seeds
    ]  # A arrays (seeds, K)
    shape = (len(section.systems), len(cells))
    found = {
        name: np.full(shape, np.nan)
        for name in (
            "difference",
            "p",
            "adjusted",
            "low",
            "high",
            "standardised",
            "better",
            "worse",
        )
    }
    tests = sum(base is not None for base in section.baselines) * len(cells)
    for i, base in enumerate(section.baselines):
        if base is None:
            continue
        mine, theirs = measured.averaged[i], measured.averaged[base]
        paired, chosen = ClusteredValues(mine.sums_CS - theirs.sums_CS, mine.counts_CS), cells_SK
        if micro:
            paired, chosen = paired.pooled(cells_SK), np.eye(len(cells), dtype=bool)
        rng = np.random.default_rng(chance.seed)
        found["p"][i] = compute_randomisation_p_values(
            paired.contributions(chosen), rng, chance.flips_for(tests)
        )
        if intervals:
            found["low"][i], found["high"][i] = compute_bootstrap_interval(
                paired, chosen, rng, chance.resamples, chance.level
            )
        sizes = compute_effect(paired, chosen, metric not in LOWER_IS_BETTER)
        for name in ("difference", "standardised", "better", "worse"):
            found[name][i] = getattr(sizes, name)
    return Grid(
        metric,
        tuple(cells),
        mean=np.array([rows.mean(0) for rows in seeds]),
        sd=np.array(
            [
                rows.std(0, ddof=1) if len(rows) > 1 else np.full(len(cells), np.nan)
                for rows in seeds
            ]
        ),
        **found,
    )


def differences_only(section: Section, metric: str, cells: Mapping[str, int]) -> Grid:
    """Means and differences in single settings, given by their places, without tests."""
    places = list(cells.values())
    seeds = [means[:, places] for means in section.measure(metric).seeds]  # A arrays (seeds, K)
    mean = np.array([rows.mean(0) for rows in seeds])
    nothing = np.full(mean.shape, np.nan)
    difference = np.array(
        [
            nothing[i] if base is None else mean[i] - mean[base]
            for i, base in enumerate(section.baselines)
        ]
    )
    sd = np.array(
        [rows.std(0, ddof=1) if len(rows) > 1 else nothing[i] for i, rows in enumerate(seeds)]
    )
    return Grid(metric, tuple(cells), mean, sd, difference, *[nothing] * 7)


def adjust(grids: Sequence[Grid]) -> list[Grid]:
    """Holm over all tests of these grids: one family."""
    adjusted = (
        adjust_holm(np.concatenate([grid.p.ravel() for grid in grids])) if grids else np.empty(0)
    )
    ends = np.cumsum([grid.p.size for grid in grids])[:-1]
    return [
        replace(grid, adjusted=part.reshape(grid.p.shape))
        for grid, part in zip(grids, np.split(adjusted, ends), strict=True)
    ]
