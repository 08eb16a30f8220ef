"""Measures as functions of ranks; where scores tie, the expected value over all orders of the tied passages.

Passages with equal scores share their ranks at random, so a measure depends neither on document ids nor on their
order (McSherry and Najork 2008, Computing Information Retrieval Performance Measures Efficiently in the Presence of
Tied Scores). Without ties every value is trec_eval's.

Shapes: V queries of a view, R relevant passages of a query (short rows are filled).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

ABOVE_OF_FILLING = np.iinfo(
    np.int32
).max  # of `above` in short rows: sorted to the end, and tied with nothing


@dataclass(frozen=True)
class Ranks:
    """Where the relevant passages of some queries are in the ranking of a pool; every query has at least one."""

    above_VR: np.ndarray  # passages of the pool that score above, ascending along R
    tied_VR: np.ndarray  # other passages of the pool with the same score
    own_VR: np.ndarray  # bool, relevant passage is in the language of the query
    count_V: np.ndarray  # relevant passages of the query; what follows in its row is FILLING
    pool_size: int
    grade_VR: np.ndarray | None = None  # gains of nDCG; None: all the same

    @cached_property
    def present_VR(self) -> np.ndarray:
        return np.arange(self.above_VR.shape[1]) < self.count_V[:, None]

    @cached_property
    def better_VR(self) -> np.ndarray:
        """Relevant passages that score above this one: the place where its tie group starts."""
        starts = np.ones_like(self.present_VR)
        starts[:, 1:] = self.above_VR[:, 1:] != self.above_VR[:, :-1]
        return np.maximum.accumulate(np.where(starts, np.arange(starts.shape[1]), 0), axis=1)

    @cached_property
    def together_VR(self) -> np.ndarray:
        """Relevant passages in the tie group of this one, itself included."""
        places = np.arange(self.above_VR.shape[1])
        ends = np.ones_like(self.present_VR)
        ends[:, :-1] = self.above_VR[:, 1:] != self.above_VR[:, :-1]
        last = np.where(ends, places, places[-1])
        return np.minimum.accumulate(last[:, ::-1], axis=1)[:, ::-1] - self.better_VR + 1

    def group(self, place_V: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of the tie group at a place: passages above it, its size, and its relevant passages; each (V,)."""
        rows_V = np.arange(len(place_V))
        return (
            self.above_VR[rows_V, place_V],
            self.tied_VR[rows_V, place_V] + 1,
            self.together_VR[rows_V, place_V],
        )

    @property
    def first(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.group(np.zeros_like(self.count_V))

    @property
    def last(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.group(self.count_V - 1)

    def mean(self, values_VR: np.ndarray, where_VR: np.ndarray | None = None) -> np.ndarray:
        """Mean over the relevant passages of each query (or some of them; NaN where none)."""
        where_VR = self.present_VR if where_VR is None else where_VR
        count_V = where_VR.sum(1)
        return np.where(
            count_V > 0, np.where(where_VR, values_VR, 0.0).sum(1) / np.maximum(count_V, 1), np.nan
        )


def compute_metrics(ranks: Ranks, metrics: Sequence[str]) -> dict[str, np.ndarray]:
    """Values per query (V,) of metrics named like "map" or "ndcg@10"; ValueError lists every unknown name."""
    wrong = [name for name in metrics if not is_known_metric(name)]
    if wrong:
        choice = [*PLAIN_METRICS, *(f"{family}@k" for family in CUT_OFF_METRICS)]
        raise ValueError(
            f"unknown metrics {wrong}: choose from {choice}, with k a whole number from 1."
        )
    values = {}
    for name in metrics:
        family, _, k = name.partition("@")
        values[name] = (
            PLAIN_METRICS[name](ranks)
            if name in PLAIN_METRICS
            else CUT_OFF_METRICS[family](ranks, int(k))
        )
    return values


def is_known_metric(name: str) -> bool:
    family, _, k = name.partition("@")
    return name in PLAIN_METRICS or (family in CUT_OFF_METRICS and k.isdecimal() and int(k) > 0)


def average_precision(ranks: Ranks) -> np.ndarray:
    """Mean over relevant passages of precision at their rank; a closed form over each tie group."""
    above, size = ranks.above_VR.astype(float), ranks.tied_VR + 1.0
    # sum of 1 / rank over the ranks of the tie group
    reciprocal = np.where(
        size == 1, 1 / (above + 1), digamma(above + size + 1) - digamma(above + 1)
    )
    # at the i-th place of a group, expect (i - 1) of its other relevant passages times this share to be before
    share = (ranks.together_VR - 1) / np.maximum(size - 1, 1)
    return ranks.mean(
        ((ranks.better_VR + 1) * reciprocal + share * (size - (above + 1) * reciprocal)) / size
    )


def probability_in_top(ranks: Ranks, k: int) -> np.ndarray:
    """Probability that each relevant passage is among the first k (V, R)."""
    return np.clip((k - ranks.above_VR) / (ranks.tied_VR + 1), 0, 1)


def recall_at_k(ranks: Ranks, k: int) -> np.ndarray:
    return ranks.mean(probability_in_top(ranks, k))


def ndcg_at_k(ranks: Ranks, k: int) -> np.ndarray:
    """The gain is the grade, the discount log2(rank + 1); the ideal ranking has the highest grades first (as trec_eval's)."""
    discount_K = 1 / np.log2(np.arange(1, k + 1) + 1)
    total = np.concatenate([[0.0], np.cumsum(discount_K)])
    start, size = ranks.above_VR, ranks.tied_VR + 1
    expected_VR = (total[np.minimum(start + size, k)] - total[np.minimum(start, k)]) / size
    grade_VR = np.where(ranks.present_VR, 1.0 if ranks.grade_VR is None else ranks.grade_VR, 0.0)
    best_VK = np.sort(grade_VR, axis=1)[:, ::-1][:, :k]
    return (grade_VR * expected_VR).sum(1) / (best_VK @ discount_K[: best_VK.shape[1]])


def reciprocal_rank_at_k(ranks: Ranks, k: int) -> np.ndarray:
    """1 / rank of the first relevant passage, 0 beyond rank k."""
    above, size, relevant = ranks.first
    value, chance = (
        np.zeros(len(above)),
        relevant / size,
    )  # that the group's first relevant passage is its j-th
    for j in range(1, k + 1):
        value += np.where(above + j <= k, chance / (above + j), 0)
        chance = chance * np.maximum(size - j - relevant + 1, 0) / np.maximum(size - j, 1)
    return value


def complete_at_k(ranks: Ranks, k: int) -> np.ndarray:
    """Whether all relevant passages are among the first k."""
    above, size, relevant = ranks.last
    room, chance = np.clip(k - above, 0, size), np.ones(len(above))
    for i in range(relevant.max(initial=0)):
        chance *= np.where(i < relevant, np.maximum(room - i, 0) / np.maximum(size - i, 1), 1)
    return chance


def max_rank(ranks: Ranks) -> np.ndarray:
    above, size, relevant = ranks.last
    return above + (size + 1) * relevant / (relevant + 1)


def min_rank(ranks: Ranks) -> np.ndarray:
    above, size, relevant = ranks.first
    return above + (size + 1) / (relevant + 1)


def rank_distance(ranks: Ranks) -> np.ndarray:
    """Rank of the last minus rank of the first relevant passage (2408.10536); NaN where there is only one."""
    return np.where(ranks.count_V > 1, max_rank(ranks) - min_rank(ranks), np.nan)


def max_rank_normalised(ranks: Ranks) -> np.ndarray:
    """100 when the relevant passages come first, 0 when the last of them ends the ranking (2604.05684)."""
    pool = np.log2(max(ranks.pool_size, 1))
    span = pool - np.log2(ranks.count_V)
    return np.where(
        span > 0, 100 * (pool - np.log2(max_rank(ranks))) / np.where(span > 0, span, 1), np.nan
    )


def other_languages_recall_at_k(ranks: Ranks, k: int) -> np.ndarray:
    """Share found in the first k of the relevant passages that are not in the query's language (TLR, 2606.18801)."""
    return ranks.mean(probability_in_top(ranks, k), ranks.present_VR & ~ranks.own_VR)


def own_language_first(ranks: Ranks) -> np.ndarray:
    """Whether the best relevant passage is in the query's language; NaN unless there are some in it and some in others."""
    own_V, other_V = ((ranks.present_VR & side).any(1) for side in (ranks.own_VR, ~ranks.own_VR))
    return np.where(
        own_V & other_V, ranks.mean(ranks.own_VR, ranks.present_VR & (ranks.better_VR == 0)), np.nan
    )


def digamma(values: np.ndarray) -> np.ndarray:
    return torch.special.digamma(torch.from_numpy(values)).numpy()


PLAIN_METRICS: dict[str, Callable[[Ranks], np.ndarray]] = {
    "map": average_precision,
    "rank_distance": rank_distance,
    "rank_distance_excess": lambda ranks: (
        rank_distance(ranks) - (ranks.count_V - 1)
    ),  # over the best possible
    "rank_distance_normalised": lambda ranks: rank_distance(ranks) / ranks.pool_size,
    "max_rank": max_rank,
    "max_rank_normalised": max_rank_normalised,
    "lpr@1": own_language_first,
    "tie_rate": lambda ranks: ranks.mean(ranks.tied_VR > 0),
}
CUT_OFF_METRICS: dict[str, Callable[[Ranks, int], np.ndarray]] = {
    "recall": recall_at_k,
    "ndcg": ndcg_at_k,
    "mrr": reciprocal_rank_at_k,
    "complete": complete_at_k,
    "tlr": other_languages_recall_at_k,
}
