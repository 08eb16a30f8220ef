"""Leads: which system has the best mean, and whether chance explains that it is above the next."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from hybrid_ir.comparison.section import Section
from hybrid_ir.comparison.statistics import (
    SIGNIFICANT,
    Grid,
    Resampling,
    adjust_family,
    compare_pairs,
)
from hybrid_ir.comparison.table import format_value
from hybrid_ir.evaluation.significance import adjust_holm


@dataclass(frozen=True)
class Difference:
    """By how much the leading system of a mean is better than another one.

    Attributes:
        system: The place of the other system.
        size: By how much the leading system is better, never negative.
        p: The p value of that difference after Holm, NaN where it was not tested.
    """

    system: int
    size: float
    p: float

    @property
    def is_significant(self) -> bool:
        """Whether chance alone does not explain the difference."""
        return self.p < SIGNIFICANT

    @property
    def was_tested(self) -> bool:
        """Whether the difference was tested."""
        return not np.isnan(self.p)


@dataclass(frozen=True)
class Lead:
    """Which system leads in one mean, and by how much.

    Attributes:
        view: The view of the mean.
        metric: Its metric.
        winner: The place of the system that leads.
        value: Its mean.
        tied: The places of other systems whose mean is shown with the same digits.
        over_next: The difference from the next best system, None where there is no other one.
        over_baseline: The difference from the winner's baseline, None where it has none or that is
            the next best.
        passed_over: The places of systems whose mean is better and that may not lead.
    """

    view: str
    metric: str
    winner: int
    value: float
    tied: tuple[int, ...]
    over_next: Difference | None
    over_baseline: Difference | None
    passed_over: tuple[int, ...]


def find_lead(section: Section, grid: Grid, cell: int) -> Lead | None:
    """Finds the leading system of a cell of a grid, None where no system has a mean."""
    systems = grid.order_systems(cell)
    leaders = _drop_unfit_leaders(systems, grid)
    if not leaders:
        return None
    winner = leaders[0]
    values = grid.mean[:, cell]
    text = format_value(float(values[winner]), grid.metric)
    tied = []
    for system in leaders[1:]:
        if grid.may_lead[system] and format_value(float(values[system]), grid.metric) == text:
            tied.append(system)
    over_next = None
    if len(leaders) > 1:
        over_next = _compare(section, grid, cell, winner, leaders[1])
    over_baseline = None
    baseline = section.baselines[winner]
    if baseline in leaders[2:]:
        over_baseline = _compare(section, grid, cell, winner, baseline)
    return Lead(
        view=grid.cells[cell],
        metric=grid.metric,
        winner=winner,
        value=float(values[winner]),
        tied=tuple(tied),
        over_next=over_next,
        over_baseline=over_baseline,
        passed_over=tuple(system for system in systems if system not in leaders),
    )


def _drop_unfit_leaders(systems: list[int], grid: Grid) -> list[int]:
    """Returns ordered systems from the first one on that may lead."""
    for number, system in enumerate(systems):
        if grid.may_lead[system]:
            return systems[number:]
    return []


def _compare(section: Section, grid: Grid, cell: int, winner: int, other: int) -> Difference:
    """Returns the difference of two systems with the p value of its test.

    It is that of the tables where one of the two is the baseline of the other.
    """
    if section.baselines[winner] == other:
        p = grid.adjusted_p[winner, cell]
    elif section.baselines[other] == winner:
        p = grid.adjusted_p[other, cell]
    else:
        p = grid.lead_p[cell]
    size = abs(grid.mean[winner, cell] - grid.mean[other, cell])
    return Difference(other, float(size), float(p))


def compare_with_best(
    section: Section,
    metric: str,
    cell: Mapping[str, np.ndarray],
    resampling: Resampling,
    micro: bool,
) -> Grid:
    """Tests every system against the one with the best mean in a cell: a family of its own.

    Args:
        section: The systems of one benchmark.
        metric: A column of per_query.parquet.
        cell: The name of the cell and its mask (S) of settings.
        resampling: How the tests are drawn.
        micro: Whether the mean is over rows and not over settings.
    """
    means = compare_pairs(section, [], metric, cell, resampling, micro)
    systems = means.order_systems(0)
    pairs = [(system, systems[0]) for system in systems[1:]]
    return adjust_family([compare_pairs(section, pairs, metric, cell, resampling, micro)])[0]


def find_weak_systems(quality: Grid) -> np.ndarray:
    """Returns which systems (A) are below the best one by more than chance explains.

    Args:
        quality: The systems against the best one in one cell, see `compare_with_best`.
    """
    return quality.adjusted_p[:, 0] < SIGNIFICANT


def compare_leads(
    section: Section,
    grids: list[Grid],
    cells: Mapping[str, np.ndarray],
    resampling: Resampling,
    micro: bool,
) -> list[Grid]:
    """Tests the leading system of every cell against the next best one.

    Pairs of a system and its baseline were tested before and are left out. The others of all grids
    are one family.

    Args:
        section: The systems of one benchmark.
        grids: The tested means.
        cells: The mask (S) of the settings of every cell by its name.
        resampling: How the tests are drawn.
        micro: Whether the means are over rows and not over settings.

    Returns:
        The grids with their `lead_p`.
    """
    lead_p = [np.full(len(grid.cells), np.nan) for grid in grids]
    for grid, p_K in zip(grids, lead_p, strict=True):
        for number, name in enumerate(grid.cells):
            leaders = _drop_unfit_leaders(grid.order_systems(number), grid)[:2]
            if len(leaders) < 2:
                continue
            winner, other = leaders
            if section.baselines[winner] == other or section.baselines[other] == winner:
                continue
            cell = {name: cells[name]}
            tested = compare_pairs(section, [(winner, other)], grid.metric, cell, resampling, micro)
            p_K[number] = tested.p[winner, 0]
    adjusted = adjust_holm(np.concatenate(lead_p))
    tested_grids = []
    start = 0
    for grid in grids:
        end = start + len(grid.cells)
        tested_grids.append(replace(grid, lead_p=adjusted[start:end]))
        start = end
    return tested_grids
