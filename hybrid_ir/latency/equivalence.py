"""Whether two checkpoints take the same time: two one-sided tests on paired log ratios, by a bootstrap over questions."""

# R rounds, U units, G clusters (questions), B resamples

from dataclasses import dataclass
from typing import Literal

import numpy as np

FEWEST = 10  # clusters; resampling fewer says nothing about the spread
AT_ONCE = 250  # resamples held in memory

Verdict = Literal[
    "equivalent", "different", "slightly different but within the margin", "inconclusive"
]


@dataclass(frozen=True)
class Equivalence:
    """Log ratios, second over first: 0.01 is 1 % slower. Intervals hold 90 %."""

    mean: float
    mean_low: float
    mean_high: float
    median: float
    median_low: float
    median_high: float
    p: (
        float | None
    )  # of the two one-sided tests, the larger one: below 0.05 the mean's interval is inside the margin
    questions: int
    verdict: Verdict


def equivalence(
    first_RU: np.ndarray,
    second_RU: np.ndarray,
    clusters_U: np.ndarray,
    margin: float = 0.05,
    resamples: int = 2000,
    seed: int = 0,
) -> Equivalence:
    """Compare latencies of two checkpoints on the same units.

    A unit's value is log(median over rounds of the second / that of the first). Clusters are resampled whole, since the
    translations of a question are no independent samples; with fewer than FEWEST of them there is no p. Two one-sided
    tests at 5 % (Schuirmann 1987) are read off the 90 % percentile interval of the mean: it must lie inside
    +-log(1 + margin).

    Raises:
        ValueError: shapes differ, or a latency is not above 0.
    """
    if (
        first_RU.shape != second_RU.shape
        or first_RU.shape[1:] != clusters_U.shape
        or not first_RU.size
    ):
        raise ValueError(
            f"latencies of shapes {first_RU.shape} and {second_RU.shape} with {clusters_U.shape} clusters are not "
            "paired: give rounds x units twice, and a cluster per unit"
        )
    if first_RU.min() <= 0 or second_RU.min() <= 0:
        raise ValueError(
            "a latency of 0 or less has no ratio: the clock of this machine is too coarse for such a stage"
        )
    ratio_U = np.log(np.median(second_RU, axis=0)) - np.log(np.median(first_RU, axis=0))
    clusters_U = np.unique(clusters_U, return_inverse=True)[1]
    means_B, medians_B = resampled(ratio_U, clusters_U, resamples, np.random.default_rng(seed))
    (low, high), (median_low, median_high) = (
        np.quantile(values, [0.05, 0.95]) for values in (means_B, medians_B)
    )
    bound, questions = np.log1p(margin), int(clusters_U.max()) + 1
    p = (1 + max((means_B >= bound).sum(), (means_B <= -bound).sum())) / (resamples + 1)
    enough = questions >= FEWEST
    return Equivalence(
        float(ratio_U.mean()),
        float(low),
        float(high),
        float(np.median(ratio_U)),
        float(median_low),
        float(median_high),
        float(p) if enough else None,
        questions,
        verdict(low, high, bound) if enough else "inconclusive",
    )


def verdict(low: float, high: float, bound: float) -> Verdict:
    """What an interval says about a difference of at most `bound`."""
    if low > bound or high < -bound:
        return "different"
    if -bound < low and high < bound:
        return "equivalent" if low <= 0 <= high else "slightly different but within the margin"
    return "inconclusive"


def resampled(
    values_U: np.ndarray, clusters_U: np.ndarray, resamples: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Means and medians (B,) of the values when whole clusters are drawn with replacement."""
    sums_G, sizes_G = np.bincount(clusters_U, values_U), np.bincount(clusters_U)
    order_U = np.argsort(values_U)
    means, medians = [], []
    for start in range(0, resamples, AT_ONCE):
        drawn_BG = rng.multinomial(
            len(sizes_G), np.full(len(sizes_G), 1 / len(sizes_G)), min(AT_ONCE, resamples - start)
        )
        means.append(drawn_BG @ sums_G / (drawn_BG @ sizes_G))
        below_BU = np.cumsum(drawn_BG[:, clusters_U[order_U]], axis=1, dtype=np.int32)
        middle_B = (2 * below_BU >= below_BU[:, -1:]).argmax(
            1
        )  # each value counts as often as its cluster was drawn
        medians.append(values_U[order_U][middle_B])
    return np.concatenate(means), np.concatenate(medians)
