"""Paired tests, intervals and effect sizes of means over settings, with the questions as clusters.

The translations of a question rise and fall together, so a question, not a row, is what is flipped and resampled.

Shapes: V rows (a query in one pool), C clusters (questions), S settings (query language and pool), K cells (reported
means, each the mean over some settings of the mean over their rows), F sign flips, B resamples.
"""

from dataclasses import dataclass

import numpy as np

EXACT_UP_TO = 12  # clusters: 4,096 sign vectors are enumerated
AT_ONCE = 1 << 23  # values held by a block of flips or resamples


@dataclass(frozen=True)
class ClusteredValues:
    """What is left of per-row values for everything below: sums and numbers of defined rows, by cluster and setting."""

    sums_CS: np.ndarray
    counts_CS: np.ndarray

    @classmethod
    def of(
        cls,
        values_V: np.ndarray,
        cluster_V: np.ndarray,
        setting_V: np.ndarray,
        shape: tuple[int, int],
    ) -> "ClusteredValues":
        """Rows whose value is NaN are left out; `shape` is (C, S)."""
        defined_V = ~np.isnan(values_V)
        place_V = cluster_V[defined_V].astype(np.int64) * shape[1] + setting_V[defined_V]
        sums, counts = (
            np.bincount(place_V, weights, shape[0] * shape[1]).reshape(shape).astype(float)
            for weights in (values_V[defined_V], None)
        )
        return cls(sums, counts)

    def pooled(self, cells_SK: np.ndarray) -> "ClusteredValues":
        """The rows of each cell as one setting: its mean is the mean over rows (micro), not over settings (macro)."""
        weights_SK = cells_SK.astype(float)
        return ClusteredValues(self.sums_CS @ weights_SK, self.counts_CS @ weights_SK)

    def contributions(self, cells_SK: np.ndarray) -> np.ndarray:
        """Each cluster's share (C, K) of the cell's mean: their sum over clusters is the mean; NaN where nothing is defined."""
        counts_S = self.counts_CS.sum(0)
        there_SK = cells_SK & (counts_S > 0)[:, None]
        settings_K = there_SK.sum(0)
        weights_SK = there_SK / np.maximum(counts_S, 1)[:, None] / np.maximum(settings_K, 1)
        return np.where(settings_K > 0, self.sums_CS @ weights_SK, np.nan)

    def means(self, cells_SK: np.ndarray) -> np.ndarray:
        """The mean of each cell (K)."""
        return self.contributions(cells_SK).sum(0)


def compute_randomisation_p_values(
    contributions_CK: np.ndarray, rng: np.random.Generator, flips: int = 10_000
) -> np.ndarray:
    """Two-sided p (K) of the paired cluster randomisation test.

    Under the null hypothesis the two systems are exchangeable within a question, so the sign of each cluster's
    contribution to the difference is a coin; the statistic is the difference of the reported means itself. Up to 12
    clusters all sign vectors are enumerated, the observed one among them. Else p = (1 + as extreme) / (1 + flips).
    """
    clusters, cells = contributions_CK.shape
    observed_K = np.abs(contributions_CK.sum(0))
    limit_K = observed_K - 1e-12 * np.abs(contributions_CK).sum(
        0
    )  # sums in another order differ by rounding
    exact = clusters <= EXACT_UP_TO
    total = 2**clusters if exact else flips
    extreme_K = np.zeros(cells, np.int64)
    step = max(1, AT_ONCE // max(clusters, cells))
    for start in range(0, total, step):
        size = min(step, total - start)
        if exact:
            bits_FC = np.arange(start, start + size)[:, None] >> np.arange(clusters) & 1
        else:
            bits_FC = rng.integers(0, 2, (size, clusters), dtype=np.int8)
        extreme_K += (np.abs((2.0 * bits_FC - 1) @ contributions_CK) >= limit_K).sum(0)
    p_K = extreme_K / total if exact else (1 + extreme_K) / (1 + total)
    return np.where(np.isnan(observed_K), np.nan, p_K)


def compute_bootstrap_interval(
    clustered: ClusteredValues,
    cells_SK: np.ndarray,
    rng: np.random.Generator,
    resamples: int = 2_000,
    level: float = 0.95,
) -> tuple[np.ndarray, np.ndarray]:
    """Percentile interval (K, K) of each cell's mean, resampling clusters.

    A setting of a resample is a ratio of sums, since the number of its rows varies too; a setting that a resample does
    not meet leaves that resample's mean, as it leaves the reported one.
    """
    clusters, settings = clustered.sums_CS.shape
    cells_SK = cells_SK & (clustered.counts_CS.sum(0) > 0)[:, None]
    means = []
    step = max(1, AT_ONCE // max(clusters, settings))
    for start in range(0, resamples, step):
        times_BC = rng.multinomial(
            clusters, np.full(clusters, 1 / clusters), min(step, resamples - start)
        ).astype(float)
        counts_BS = times_BC @ clustered.counts_CS
        ratio_BS = (times_BC @ clustered.sums_CS) / np.maximum(counts_BS, 1)
        met_BK = (counts_BS > 0).astype(float) @ cells_SK
        means.append(np.where(met_BK > 0, ratio_BS @ cells_SK / np.maximum(met_BK, 1), np.nan))
    tail, means_BK = (1 - level) / 2, np.concatenate(means)
    ends_2K = np.full((2, cells_SK.shape[1]), np.nan)
    known_K = ~np.isnan(means_BK).all(0)
    ends_2K[:, known_K] = np.nanquantile(means_BK[:, known_K], [tail, 1 - tail], axis=0)
    return ends_2K[0], ends_2K[1]


def adjust_holm(p: np.ndarray) -> np.ndarray:
    """Holm's step-down adjusted p values (Holm 1979), of any shape; NaN stays and is no part of the family."""
    adjusted = np.full(p.shape, np.nan)
    known = ~np.isnan(p)
    order = np.argsort(p[known])
    stepped = np.maximum.accumulate(p[known][order] * np.arange(len(order), 0, -1)).clip(max=1)
    placed = np.empty_like(stepped)
    placed[order] = stepped
    adjusted[known] = placed
    return adjusted


@dataclass(frozen=True)
class EffectSizes:
    """How large a difference is; K each."""

    difference: np.ndarray  # of the reported means
    standardised: (
        np.ndarray
    )  # difference / standard deviation over clusters of the clusters' differences
    better: (
        np.ndarray
    )  # share of the clusters with rows in the cell whose difference is on the good side
    worse: np.ndarray


def compute_effect(
    difference: ClusteredValues, cells_SK: np.ndarray, higher_is_better: bool = True
) -> EffectSizes:
    """Effect sizes of a difference of two systems.

    A cluster's difference is scaled so that the mean over the clusters with rows in the cell is the reported difference.
    """
    contributions_CK = difference.contributions(cells_SK)
    there_CK = difference.counts_CS @ cells_SK > 0
    clusters_K = there_CK.sum(0)
    differences_CK = np.where(there_CK, contributions_CK * clusters_K, np.nan)
    mean_K = contributions_CK.sum(0)
    squares_K = np.where(there_CK, (differences_CK - mean_K) ** 2, 0).sum(0)
    spread_K = np.sqrt(squares_K / np.maximum(clusters_K - 1, 1))
    standardised_K = np.divide(
        mean_K, spread_K, out=np.full_like(mean_K, np.nan), where=spread_K > 0
    )
    rounding_CK = 1e-12 * np.nanmax(np.abs(differences_CK), axis=0, initial=0)
    up_K, down_K = (
        (sign * differences_CK > rounding_CK).sum(0) / np.maximum(clusters_K, 1) for sign in (1, -1)
    )
    better_K, worse_K = (up_K, down_K) if higher_is_better else (down_K, up_K)
    return EffectSizes(mean_K, standardised_K, better_K, worse_K)
