"""Computes the measures of retrieval from ranks.

A measure is a function of `Ranks` that gives one value per query. Where scores tie, it gives the
expected value over all orders of the tied passages, so that it depends neither on document ids nor
on their order (McSherry and Najork 2008, Computing Information Retrieval Performance Measures
Efficiently in the Presence of Tied Scores). Without ties every value is that of trec_eval.

Shapes: V queries of a view, R relevant passages of a query (short rows are filled), K ranks.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

# `above` of the filling of short rows: it sorts to the end, and ties with nothing
ABOVE_OF_FILLING = np.iinfo(np.int32).max
# `above` of a relevant passage that is not in the corpus: it is never found. Such passages stand
# after all that are ranked, and before the filling.
OUTSIDE_POOL = ABOVE_OF_FILLING - 1


@dataclass(frozen=True)
class TieGroup:
    """One group of passages with equal scores for each query, of which some are relevant."""

    above_V: np.ndarray  # passages that score higher
    size_V: np.ndarray  # passages of the group
    relevant_V: np.ndarray  # relevant passages of the group


@dataclass(frozen=True)
class Ranks:
    """Where the relevant passages of some queries are in the ranking of a pool.

    Every query has at least one relevant passage there, or one that is missing in the corpus.
    """

    above_VR: np.ndarray  # passages of the pool that score above, ascending along R
    tied_VR: np.ndarray  # other passages of the pool with the same score
    same_language_VR: np.ndarray  # bool: the relevant passage is in the language of its query
    count_V: np.ndarray  # relevant passages of the query; what follows in its row is filling
    pool_size: int | np.ndarray  # passages; one number per query (V) where these differ
    grade_VR: np.ndarray | None = None  # gains of nDCG; None: all the same

    @cached_property
    def present_VR(self) -> np.ndarray:
        """Which places of a row hold a relevant passage."""
        return np.arange(self.above_VR.shape[1]) < self.count_V[:, None]

    @cached_property
    def missing_VR(self) -> np.ndarray:
        """Which places of a row hold a relevant passage that is not in the corpus."""
        return self.above_VR == OUTSIDE_POOL

    @cached_property
    def has_missing_V(self) -> np.ndarray:
        """Whether a query has a relevant passage that is not in the corpus."""
        return self.missing_VR.any(1)

    @cached_property
    def relevant_above_VR(self) -> np.ndarray:
        """Relevant passages that score above this one: the place where its tie group starts."""
        places = np.arange(self.above_VR.shape[1])
        starts = np.ones_like(self.present_VR)
        starts[:, 1:] = self.above_VR[:, 1:] != self.above_VR[:, :-1]
        return np.maximum.accumulate(np.where(starts, places, 0), axis=1)

    @cached_property
    def relevant_tied_VR(self) -> np.ndarray:
        """Relevant passages in the tie group of this one, itself included."""
        places = np.arange(self.above_VR.shape[1])
        ends = np.ones_like(self.present_VR)
        ends[:, :-1] = self.above_VR[:, 1:] != self.above_VR[:, :-1]
        last = np.where(ends, places, places[-1])
        last = np.minimum.accumulate(last[:, ::-1], axis=1)[:, ::-1]
        return last - self.relevant_above_VR + 1

    def select_tie_group(self, place_V: np.ndarray) -> TieGroup:
        """Selects the tie group of the relevant passage at a place of each row."""
        rows_V = np.arange(len(place_V))
        return TieGroup(
            above_V=self.above_VR[rows_V, place_V],
            size_V=self.tied_VR[rows_V, place_V] + 1,
            relevant_V=self.relevant_tied_VR[rows_V, place_V],
        )

    @property
    def first_group(self) -> TieGroup:
        """The tie group of the best relevant passage of each query."""
        return self.select_tie_group(np.zeros_like(self.count_V))

    @property
    def last_group(self) -> TieGroup:
        """The tie group of the worst relevant passage of each query."""
        return self.select_tie_group(self.count_V - 1)

    def average(self, values_VR: np.ndarray, where_VR: np.ndarray | None = None) -> np.ndarray:
        """Averages values over the relevant passages of each query.

        Args:
            values_VR: a value per relevant passage.
            where_VR: which of them count; by default all.

        Returns:
            The means (V), NaN for a query of which none counts.
        """
        if where_VR is None:
            where_VR = self.present_VR
        count_V = where_VR.sum(1)
        sum_V = np.where(where_VR, values_VR, 0.0).sum(1)
        return np.where(count_V > 0, sum_V / np.maximum(count_V, 1), np.nan)


def compute_metrics(ranks: Ranks, metrics: Sequence[str]) -> dict[str, np.ndarray]:
    """Computes metrics that are named like "map" or "ndcg@10".

    Returns:
        One value per query (V) for each name.

    Raises:
        ValueError: Some names are unknown; the error lists all of them.
    """
    unknown = [name for name in metrics if not is_known_metric(name)]
    if unknown:
        choices = [*METRICS, *(f"{name}@k" for name in CUT_OFF_METRICS)]
        raise ValueError(
            f"unknown metrics {unknown}: choose from {choices}, with k a whole number from 1."
        )
    values = {}
    for name in metrics:
        if name in METRICS:
            values[name] = METRICS[name](ranks)
        else:
            family, _, cut_off = name.partition("@")
            values[name] = CUT_OFF_METRICS[family](ranks, int(cut_off))
    return values


def is_known_metric(name: str) -> bool:
    """Returns whether there is a metric of this name, with a cut-off where it needs one."""
    if name in METRICS:
        return True
    family, _, cut_off = name.partition("@")
    return family in CUT_OFF_METRICS and cut_off.isdecimal() and int(cut_off) > 0


def average_precision(ranks: Ranks) -> np.ndarray:
    """Computes average precision: the mean over relevant passages of the precision at their rank.

    The value of each tie group is a closed form.
    """
    above = ranks.above_VR.astype(float)
    size = ranks.tied_VR + 1.0
    # sum of 1 / rank over the ranks of the tie group
    sum_of_reciprocals = np.where(
        size == 1, 1 / (above + 1), _digamma(above + size + 1) - _digamma(above + 1)
    )
    # at the i-th place of a group, expect (i - 1) of its other relevant passages times this share
    # to be before
    share = (ranks.relevant_tied_VR - 1) / np.maximum(size - 1, 1)
    precision = (
        (ranks.relevant_above_VR + 1) * sum_of_reciprocals
        + share * (size - (above + 1) * sum_of_reciprocals)
    ) / size
    return ranks.average(np.where(ranks.missing_VR, 0.0, precision))


def recall(ranks: Ranks, k: int) -> np.ndarray:
    """Computes the share of the relevant passages that are among the first k."""
    return ranks.average(probability_in_top(ranks, k))


def probability_in_top(ranks: Ranks, k: int) -> np.ndarray:
    """Computes the probability of each relevant passage to be among the first k (V, R)."""
    probability_VR = np.clip((k - ranks.above_VR) / (ranks.tied_VR + 1), 0, 1)
    return np.where(ranks.missing_VR, 0.0, probability_VR)


def ndcg(ranks: Ranks, k: int) -> np.ndarray:
    """Computes the normalised discounted cumulative gain of the first k.

    The gain is the grade and the discount log2(rank + 1). The ideal ranking has the highest grades
    first, as in trec_eval.
    """
    discount_K = 1 / np.log2(np.arange(1, k + 1) + 1)
    sum_of_discounts = np.concatenate([[0.0], np.cumsum(discount_K)])
    start = ranks.above_VR
    size = ranks.tied_VR + 1
    discount_of_group = (
        sum_of_discounts[np.minimum(start + size, k)] - sum_of_discounts[np.minimum(start, k)]
    )
    expected_VR = discount_of_group / size
    grade_VR = 1.0 if ranks.grade_VR is None else ranks.grade_VR
    grade_VR = np.where(ranks.present_VR, grade_VR, 0.0)
    ideal_VK = np.sort(grade_VR, axis=1)[:, ::-1][:, :k]
    return (grade_VR * expected_VR).sum(1) / (ideal_VK @ discount_K[: ideal_VK.shape[1]])


def reciprocal_rank(ranks: Ranks, k: int) -> np.ndarray:
    """Computes 1 / rank of the first relevant passage, 0 if it is beyond rank k."""
    group = ranks.first_group
    value = np.zeros(len(group.above_V))
    # probability that the first relevant passage of the group is its j-th passage
    probability = group.relevant_V / group.size_V
    for j in range(1, k + 1):
        rank = group.above_V + j
        value += np.where(rank <= k, probability / rank, 0)
        others_left = np.maximum(group.size_V - j - group.relevant_V + 1, 0)
        probability = probability * others_left / np.maximum(group.size_V - j, 1)
    return value


def complete(ranks: Ranks, k: int) -> np.ndarray:
    """Returns whether all relevant passages are among the first k (Complete@k, 2604.05684)."""
    group = ranks.last_group
    room = np.clip(k - group.above_V, 0, group.size_V)
    probability = np.ones(len(room))
    for i in range(group.relevant_V.max(initial=0)):
        fits = np.maximum(room - i, 0) / np.maximum(group.size_V - i, 1)
        probability *= np.where(i < group.relevant_V, fits, 1)
    return probability


def max_rank(ranks: Ranks) -> np.ndarray:
    """Returns the rank of the last relevant passage (Max@R, 2604.05684).

    NaN for a query with a relevant passage that is not in the corpus and so has no rank.
    """
    group = ranks.last_group
    rank_V = group.above_V + (group.size_V + 1) * group.relevant_V / (group.relevant_V + 1)
    return np.where(ranks.has_missing_V, np.nan, rank_V)


def min_rank(ranks: Ranks) -> np.ndarray:
    """Returns the rank of the first relevant passage, NaN where one is not in the corpus."""
    group = ranks.first_group
    rank_V = group.above_V + (group.size_V + 1) / (group.relevant_V + 1)
    return np.where(ranks.has_missing_V, np.nan, rank_V)


def max_rank_normalised(ranks: Ranks) -> np.ndarray:
    """Maps the rank of the last relevant passage to a logarithmic scale of 0 to 100 (2604.05684).

    100 means that the relevant passages come first, 0 that the last of them ends the ranking.
    """
    log_pool = np.log2(np.maximum(ranks.pool_size, 1))
    span = log_pool - np.log2(ranks.count_V)
    value = 100 * (log_pool - np.log2(max_rank(ranks))) / np.where(span > 0, span, 1)
    return np.where(span > 0, value, np.nan)


def rank_distance(ranks: Ranks) -> np.ndarray:
    """Returns the rank of the last minus that of the first relevant passage (2408.10536).

    NaN for a query with a single relevant passage.
    """
    return np.where(ranks.count_V > 1, max_rank(ranks) - min_rank(ranks), np.nan)


def rank_distance_excess(ranks: Ranks) -> np.ndarray:
    """Returns the rank distance beyond the least possible one."""
    return rank_distance(ranks) - (ranks.count_V - 1)


def rank_distance_normalised(ranks: Ranks) -> np.ndarray:
    """Returns the rank distance as a share of the pool."""
    return rank_distance(ranks) / ranks.pool_size


def other_languages_recall(ranks: Ranks, k: int) -> np.ndarray:
    """Computes recall of what is not in the query's language (TLR, 2606.18801).

    Passages that are not in the corpus are taken to be in the query's language.
    """
    other_language_VR = ranks.present_VR & ~ranks.same_language_VR
    return ranks.average(probability_in_top(ranks, k), other_language_VR)


def own_language_first(ranks: Ranks) -> np.ndarray:
    """Returns whether the best relevant passage is in the query's language (LPR@1).

    NaN unless a query has relevant passages in its own and in other languages, in the corpus.
    """
    ranked_VR = ranks.present_VR & ~ranks.missing_VR
    has_own_V = (ranked_VR & ranks.same_language_VR).any(1)
    has_other_V = (ranked_VR & ~ranks.same_language_VR).any(1)
    is_best_VR = ranked_VR & (ranks.relevant_above_VR == 0)
    share_V = ranks.average(ranks.same_language_VR, is_best_VR)
    return np.where(has_own_V & has_other_V, share_V, np.nan)


def tie_rate(ranks: Ranks) -> np.ndarray:
    """Computes the share of the relevant passages that tie with some other passage."""
    return ranks.average(ranks.tied_VR > 0)


def _digamma(values: np.ndarray) -> np.ndarray:
    return torch.special.digamma(torch.from_numpy(values)).numpy()


METRICS: dict[str, Callable[[Ranks], np.ndarray]] = {
    "map": average_precision,
    "rank_distance": rank_distance,
    "rank_distance_excess": rank_distance_excess,
    "rank_distance_normalised": rank_distance_normalised,
    "max_rank": max_rank,
    "max_rank_normalised": max_rank_normalised,
    "lpr@1": own_language_first,
    "tie_rate": tie_rate,
}
CUT_OFF_METRICS: dict[str, Callable[[Ranks, int], np.ndarray]] = {
    "recall": recall,
    "ndcg": ndcg,
    "mrr": reciprocal_rank,
    "complete": complete,
    "tlr": other_languages_recall,
}
