"""Tests differences of means over settings, with the questions as clusters.

The translations of a question rise and fall together, so a question, not a row, is what is
flipped and resampled.

Shapes: V rows (a query in one pool), C clusters (questions), S settings (query language and pool),
K cells (reported means, each the mean over some settings of the mean over their rows), F sign
flips, B resamples.
"""

from dataclasses import dataclass

import numpy as np

EXACT_UP_TO = 12  # clusters: up to 4,096 sign vectors are enumerated
VALUES_AT_ONCE = 1 << 23  # values held by a block of flips or resamples
ROUNDING = 1e-12  # relative: sums in another order differ by that much


@dataclass(frozen=True)
class ClusteredValues:
    """Sums and numbers of the defined values by cluster and setting."""

    sums_CS: np.ndarray
    counts_CS: np.ndarray

    @classmethod
    def from_rows(
        cls,
        values_V: np.ndarray,
        cluster_V: np.ndarray,
        setting_V: np.ndarray,
        shape: tuple[int, int],
    ) -> "ClusteredValues":
        """Sums rows by cluster and setting.

        Args:
            values_V: of the rows; NaN is left out.
            cluster_V: cluster of each row.
            setting_V: setting of each row.
            shape: numbers of clusters and settings.
        """
        clusters, settings = shape
        is_defined_V = ~np.isnan(values_V)
        place_V = cluster_V[is_defined_V].astype(np.int64) * settings + setting_V[is_defined_V]
        sums = np.bincount(place_V, values_V[is_defined_V], clusters * settings)
        counts = np.bincount(place_V, minlength=clusters * settings)
        return cls(sums.reshape(shape).astype(float), counts.reshape(shape).astype(float))

    def pool_cells(self, cells_SK: np.ndarray) -> "ClusteredValues":
        """Takes the rows of each cell as one setting.

        The mean of a cell is then the mean over its rows (micro), not over its settings (macro).
        """
        weights_SK = cells_SK.astype(float)
        return ClusteredValues(self.sums_CS @ weights_SK, self.counts_CS @ weights_SK)

    def compute_contributions(self, cells_SK: np.ndarray) -> np.ndarray:
        """Computes each cluster's share (C, K) of the mean of each cell.

        The sum over clusters is the mean. NaN for a cell in which nothing is defined.
        """
        counts_S = self.counts_CS.sum(0)
        used_SK = cells_SK & (counts_S > 0)[:, None]
        settings_K = used_SK.sum(0)
        weights_SK = used_SK / np.maximum(counts_S, 1)[:, None] / np.maximum(settings_K, 1)
        return np.where(settings_K > 0, self.sums_CS @ weights_SK, np.nan)

    def compute_means(self, cells_SK: np.ndarray) -> np.ndarray:
        """Computes the mean of each cell (K)."""
        return self.compute_contributions(cells_SK).sum(0)


def compute_randomisation_p_values(
    contributions_CK: np.ndarray, rng: np.random.Generator, flips: int = 10_000
) -> np.ndarray:
    """Runs the paired cluster randomisation test, two-sided.

    Under the null hypothesis the two systems are exchangeable within a question, so the sign of
    each cluster's contribution to the difference is a coin. The statistic is the difference of the
    reported means itself. Up to EXACT_UP_TO clusters all sign vectors are enumerated, the observed
    one among them; else p = (1 + as extreme) / (1 + flips).

    Args:
        contributions_CK: of each cluster to the difference of each cell.
        rng: draws the signs.
        flips: sign vectors drawn where they are not enumerated.

    Returns:
        p of each cell (K), NaN where the difference is undefined.
    """
    clusters, cells = contributions_CK.shape
    observed_K = np.abs(contributions_CK.sum(0))
    limit_K = observed_K - ROUNDING * np.abs(contributions_CK).sum(0)
    is_exact = clusters <= EXACT_UP_TO
    total = 2**clusters if is_exact else flips
    extreme_K = np.zeros(cells, np.int64)
    step = max(1, VALUES_AT_ONCE // max(clusters, cells))
    for start in range(0, total, step):
        size = min(step, total - start)
        if is_exact:
            bits_FC = np.arange(start, start + size)[:, None] >> np.arange(clusters) & 1
        else:
            bits_FC = rng.integers(0, 2, (size, clusters), dtype=np.int8)
        signs_FC = 2.0 * bits_FC - 1
        extreme_K += (np.abs(signs_FC @ contributions_CK) >= limit_K).sum(0)
    p_K = extreme_K / total if is_exact else (1 + extreme_K) / (1 + total)
    return np.where(np.isnan(observed_K), np.nan, p_K)


def compute_bootstrap_interval(
    clustered: ClusteredValues,
    cells_SK: np.ndarray,
    rng: np.random.Generator,
    resamples: int = 2_000,
    level: float = 0.95,
) -> tuple[np.ndarray, np.ndarray]:
    """Computes a percentile interval of the mean of each cell by resampling clusters.

    A setting of a resample is a ratio of sums, since the number of its rows varies, too. A setting
    that a resample does not meet leaves that resample's mean, as it leaves the reported one.

    Args:
        clustered: the values.
        cells_SK: which settings make up each cell.
        rng: draws the resamples.
        resamples: their number.
        level: share of resamples inside the interval.

    Returns:
        Lower and upper ends (K each), NaN for a cell in which nothing is defined.
    """
    clusters, settings = clustered.sums_CS.shape
    cells_SK = cells_SK & (clustered.counts_CS.sum(0) > 0)[:, None]
    means = []
    step = max(1, VALUES_AT_ONCE // max(clusters, settings))
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        times_BC = rng.multinomial(clusters, np.full(clusters, 1 / clusters), size).astype(float)
        counts_BS = times_BC @ clustered.counts_CS
        ratio_BS = (times_BC @ clustered.sums_CS) / np.maximum(counts_BS, 1)
        met_BK = (counts_BS > 0).astype(float) @ cells_SK
        means.append(np.where(met_BK > 0, ratio_BS @ cells_SK / np.maximum(met_BK, 1), np.nan))
    means_BK = np.concatenate(means)
    tail = (1 - level) / 2
    ends_2K = np.full((2, cells_SK.shape[1]), np.nan)
    is_known_K = ~np.isnan(means_BK).all(0)
    ends_2K[:, is_known_K] = np.nanquantile(means_BK[:, is_known_K], [tail, 1 - tail], axis=0)
    return ends_2K[0], ends_2K[1]


def adjust_holm(p: np.ndarray) -> np.ndarray:
    """Adjusts p values of any shape by Holm's step-down procedure (Holm 1979).

    NaN stays NaN and is no part of the family.
    """
    adjusted = np.full(p.shape, np.nan)
    is_known = ~np.isnan(p)
    order = np.argsort(p[is_known])
    factors = np.arange(len(order), 0, -1)
    ascending = np.maximum.accumulate(p[is_known][order] * factors).clip(max=1)
    in_place = np.empty_like(ascending)
    in_place[order] = ascending
    adjusted[is_known] = in_place
    return adjusted


@dataclass(frozen=True)
class EffectSizes:
    """How large a difference is; K each."""

    difference: np.ndarray  # of the reported means
    standardised: np.ndarray  # difference / standard deviation of the clusters' differences
    better: np.ndarray  # share of the clusters with rows in the cell that are on the good side
    worse: np.ndarray  # share of these clusters that are on the bad side


def compute_effect(
    difference: ClusteredValues, cells_SK: np.ndarray, higher_is_better: bool = True
) -> EffectSizes:
    """Computes effect sizes of a difference of two systems.

    A cluster's difference is scaled so that the mean over the clusters with rows in the cell is
    the reported difference.

    Args:
        difference: of the two systems' values.
        cells_SK: which settings make up each cell.
        higher_is_better: whether a positive difference is good.
    """
    contributions_CK = difference.compute_contributions(cells_SK)
    has_rows_CK = difference.counts_CS @ cells_SK > 0
    clusters_K = has_rows_CK.sum(0)
    differences_CK = np.where(has_rows_CK, contributions_CK * clusters_K, np.nan)
    mean_K = contributions_CK.sum(0)
    squares_K = np.where(has_rows_CK, (differences_CK - mean_K) ** 2, 0).sum(0)
    spread_K = np.sqrt(squares_K / np.maximum(clusters_K - 1, 1))
    standardised_K = np.divide(
        mean_K, spread_K, out=np.full_like(mean_K, np.nan), where=spread_K > 0
    )
    rounding_CK = ROUNDING * np.nanmax(np.abs(differences_CK), axis=0, initial=0)
    up_K = (differences_CK > rounding_CK).sum(0) / np.maximum(clusters_K, 1)
    down_K = (-differences_CK > rounding_CK).sum(0) / np.maximum(clusters_K, 1)
    return EffectSizes(
        difference=mean_K,
        standardised=standardised_K,
        better=up_K if higher_is_better else down_K,
        worse=down_K if higher_is_better else up_K,
    )
