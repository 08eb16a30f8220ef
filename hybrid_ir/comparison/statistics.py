"""Tests every system against its baseline, or against another one, in many cells at once.

Shapes: A systems, K cells, S settings, N seeds of a system, C questions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hybrid_ir.comparison.section import Section
from hybrid_ir.evaluation.results import LOWER_IS_BETTER
from hybrid_ir.evaluation.significance import (
    ClusteredValues,
    adjust_holm,
    compute_bootstrap_interval,
    compute_effect,
    compute_randomisation_p_values,
)

# The level below which a p value, after Holm's correction, is significant.
SIGNIFICANT = 0.05
# Sign flips for each test of a family: with fewer, no p value could be small enough for Holm.
_FLIPS_PER_TEST = 100


@dataclass(frozen=True)
class Resampling:
    """How the tests and intervals are drawn. One seed gives one report.

    Attributes:
        seed: The seed of both.
        flips: Sign flips of the randomisation test.
        resamples: Resamples of the bootstrap.
        level: The share of resamples that an interval holds.
    """

    seed: int = 1
    flips: int = 10_000
    resamples: int = 5_000
    level: float = 0.95

    def count_flips(self, tests: int) -> int:
        """Returns the number of sign flips for a family of tests.

        A large family gets more of them, because the smallest p value that Holm's correction can
        leave must stay below .05.
        """
        return max(self.flips, _FLIPS_PER_TEST * tests)


@dataclass(frozen=True, eq=False)
class Grid:
    """A metric of all systems in some cells, and how it differs from that of their baselines.

    A cell is the mean over some settings. All arrays but the last three are (A, K). Means are over
    seeds, and all that compares a system with its baseline is NaN where it has none.

    Attributes:
        metric: The name of the metric.
        cells: The names of the cells.
        mean: Means over seeds.
        sd: Standard deviations over seeds (divided by N - 1), NaN where there is one seed.
        difference: Differences from the baseline.
        p: Two-sided p values of the randomisation test.
        adjusted_p: The same after Holm over a family, NaN until `adjust_family`.
        low: Lower ends of the intervals of the differences.
        high: Upper ends.
        standardised: Differences over the standard deviation of the questions' differences.
        better: Shares of the questions on which the system is better than its baseline.
        worse: Shares of the questions on which it is worse.
        one_seed: For each system (A) whether it or its baseline was trained with one seed only, so
            that no test can tell what another seed would change.
        lead_p: For each cell (K) the p value of its leading system against the next best, after
            Holm over such tests: see `leads.py`. NaN where that pair was not tested by itself.
        may_lead: For each system (A) whether it may be called the best. What finds nothing is not
            called even.
    """

    metric: str
    cells: tuple[str, ...]
    mean: np.ndarray
    sd: np.ndarray
    difference: np.ndarray
    p: np.ndarray
    adjusted_p: np.ndarray
    low: np.ndarray
    high: np.ndarray
    standardised: np.ndarray
    better: np.ndarray
    worse: np.ndarray
    one_seed: np.ndarray
    lead_p: np.ndarray
    may_lead: np.ndarray

    @property
    def higher_is_better(self) -> bool:
        """Whether the higher value of the metric is the better one."""
        return self.metric not in LOWER_IS_BETTER

    def find_best(self, cell: int) -> float:
        """Returns the best mean in a cell, NaN where no system has one."""
        systems = self.order_systems(cell)
        return float(self.mean[systems[0], cell]) if systems else float("nan")

    def order_systems(self, cell: int) -> list[int]:
        """Returns the systems that have a mean in a cell, the best first."""
        values = self.mean[:, cell]
        systems = [system for system in range(len(values)) if not np.isnan(values[system])]
        sign = -1 if self.higher_is_better else 1
        return sorted(systems, key=lambda system: sign * values[system])


def compare_with_baselines(
    section: Section,
    metric: str,
    cells: Mapping[str, np.ndarray],
    resampling: Resampling,
    micro: bool = False,
    intervals: bool = False,
) -> Grid:
    """Tests every system against its baseline in every cell, see `compare_pairs`."""
    pairs = section.tested_systems
    return compare_pairs(section, pairs, metric, cells, resampling, micro, intervals)


def compare_pairs(
    section: Section,
    pairs: Sequence[tuple[int, int]],
    metric: str,
    cells: Mapping[str, np.ndarray],
    resampling: Resampling,
    micro: bool = False,
    intervals: bool = False,
) -> Grid:
    """Tests systems against others in every cell.

    Args:
        section: The systems of one benchmark.
        pairs: The places of each tested system and of the other one, which is its baseline in
            everything that the grid holds.
        metric: A column of per_query.parquet.
        cells: For each name a mask (S) of the settings of a cell.
        resampling: How tests and intervals are drawn. Each system draws from the same seed.
        micro: False for the mean over a cell's settings of the mean over their rows (macro), True
            for the mean over all rows of the cell.
        intervals: Whether the intervals are computed.
    """
    values = section.load_metric(metric)
    cells_SK = np.stack(list(cells.values()), axis=1)
    mean, sd = _average_cells(section, metric, cells_SK, micro)
    grid = _build_empty_grid(section, metric, tuple(cells), mean, sd)
    flips = resampling.count_flips(len(pairs) * len(cells))
    for system, baseline in pairs:
        clustered = values.averaged[system]
        baseline_clustered = values.averaged[baseline]
        paired = ClusteredValues(
            clustered.sums_CS - baseline_clustered.sums_CS, clustered.counts_CS
        )
        paired_cells = cells_SK
        if micro:
            # All rows of a cell count as one setting.
            paired = paired.pool_cells(cells_SK)
            paired_cells = np.eye(len(cells), dtype=bool)
        rng = np.random.default_rng(resampling.seed)
        grid.p[system] = compute_randomisation_p_values(
            paired.compute_contributions(paired_cells), rng, flips
        )
        if intervals:
            low_K, high_K = compute_bootstrap_interval(
                paired, paired_cells, rng, resampling.resamples, resampling.level
            )
            grid.low[system] = low_K
            grid.high[system] = high_K
        effect = compute_effect(paired, paired_cells, grid.higher_is_better)
        grid.difference[system] = effect.difference
        grid.standardised[system] = effect.standardised
        grid.better[system] = effect.better
        grid.worse[system] = effect.worse
    return grid


def compute_differences(section: Section, metric: str, cells: Mapping[str, int]) -> Grid:
    """Returns means and differences without tests.

    Args:
        section: The systems of one benchmark.
        metric: A column of per_query.parquet.
        cells: For each name the place of the one setting that is the cell.
    """
    places = list(cells.values())
    seeds = [means_NS[:, places] for means_NS in section.load_metric(metric).setting_means]
    mean, sd = _average_seeds(seeds)
    grid = _build_empty_grid(section, metric, tuple(cells), mean, sd)
    for system, baseline in section.tested_systems:
        grid.difference[system] = mean[system] - mean[baseline]
    return grid


def adjust_family(grids: Sequence[Grid]) -> list[Grid]:
    """Returns the grids with p values after Holm's correction over all their tests: one family."""
    if not grids:
        return []
    adjusted = adjust_holm(np.concatenate([grid.p.ravel() for grid in grids]))
    adjusted_grids = []
    start = 0
    for grid in grids:
        part = adjusted[start : start + grid.p.size]
        adjusted_grids.append(replace(grid, adjusted_p=part.reshape(grid.p.shape)))
        start += grid.p.size
    return adjusted_grids


def _average_cells(
    section: Section, metric: str, cells_SK: np.ndarray, micro: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the mean (A, K) over seeds of each system in each cell, and the deviation."""
    values = section.load_metric(metric)
    counts_S = values.averaged[0].counts_CS.sum(0)
    setting_weights_S = counts_S if micro else counts_S > 0
    weights_SK = cells_SK * setting_weights_S[:, None]
    total_K = weights_SK.sum(0)
    seeds = []
    for means_NS in values.setting_means:
        weighted_NK = np.nan_to_num(means_NS) @ weights_SK / np.maximum(total_K, 1)
        seeds.append(np.where(total_K > 0, weighted_NK, np.nan))
    return _average_seeds(seeds)


def _average_seeds(seeds: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Returns mean and standard deviation (A, K) over the seeds of A arrays (N, K)."""
    means = []
    deviations = []
    for values_NK in seeds:
        means.append(values_NK.mean(0))
        if len(values_NK) > 1:
            deviations.append(values_NK.std(0, ddof=1))
        else:
            deviations.append(np.full(values_NK.shape[1], np.nan))
    return np.array(means), np.array(deviations)


def _build_empty_grid(
    section: Section, metric: str, cells: tuple[str, ...], mean: np.ndarray, sd: np.ndarray
) -> Grid:
    """Builds a grid that compares nothing yet."""
    one_seed = []
    for system, baseline in enumerate(section.baselines):
        places = [system] if baseline is None else [system, baseline]
        one_seed.append(bool(section.list_trained_once(places)))

    def empty() -> np.ndarray:
        return np.full(mean.shape, np.nan)

    return Grid(
        metric=metric,
        cells=cells,
        mean=mean,
        sd=sd,
        difference=empty(),
        p=empty(),
        adjusted_p=empty(),
        low=empty(),
        high=empty(),
        standardised=empty(),
        better=empty(),
        worse=empty(),
        one_seed=np.array(one_seed),
        lead_p=np.full(mean.shape[1], np.nan),
        may_lead=np.ones(len(mean), bool),
    )
