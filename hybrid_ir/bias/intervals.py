"""95% intervals of the measures of bias, by resampling groups of questions.

What rises and falls together is drawn together: the translations of a question, and questions that
share an answer.
"""

from collections.abc import Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from hybrid_ir.bias.answer_places import FATES, FOUND, HIDDEN, AnswerPlaces
from hybrid_ir.bias.measures import OWN
from hybrid_ir.evaluation.rank_table import VIEWS
from hybrid_ir.evaluation.results import Results
from hybrid_ir.evaluation.significance import ClusteredValues, compute_bootstrap_interval

SEED = 1  # of the resamples
OUTSIDE = 0.05  # probability that a number is outside of its interval


def group_questions(question_ids: Sequence[str], places: AnswerPlaces) -> np.ndarray:
    """Returns the group of each query (Q), counted from 0.

    Queries are in one group if they are translations of each other (one question id), or have an
    answer in common, also by way of others.

    Args:
        question_ids: of the queries (Q).
        places: of the known answers that count.
    """
    questions, question_Q = np.unique(np.array(question_ids), return_inverse=True)
    answers, answer_P = np.unique(places.row_P, return_inverse=True)
    size = len(questions) + len(answers)
    question_P = question_Q[places.query_P]
    links = coo_array(
        (np.ones(len(question_P), np.int8), (question_P, len(questions) + answer_P)),
        shape=(size, size),
    )
    labels = connected_components(links, directed=False)[1][: len(questions)]
    return np.unique(labels, return_inverse=True)[1][question_Q]


def compute_intervals(
    results: Results, places: AnswerPlaces, group_Q: np.ndarray
) -> dict[str, list[float]]:
    """Computes the interval of each measure that is a mean over answers or over queries.

    Args:
        results: of an evaluation.
        places: of its known answers.
        group_Q: of `group_questions`.

    Returns:
        The lower and the upper end by the name of the measure; none for what these texts do not
        tell.
    """
    intervals: dict[str, list[float]] = {}
    is_across_P = places.is_across_P
    for prefix, is_asked_P in (("", is_across_P), (OWN, ~is_across_P)):
        if is_asked_P.any():
            group_P = group_Q[places.query_P[is_asked_P]]
            shares = _compute_shares(places, is_asked_P, group_P)
            intervals |= {prefix + name: ends for name, ends in shares.items()}
    # A setting is a query language and a collection, as in the means that are reported.
    setting_V = results.query_language * (len(results.pool_sizes) + 1) + results.passage_language
    for view, metric, name in (
        ("mono", "map", "mono.map"),
        ("cross", "map", "cross.map"),
        ("multi", "map", "multi.map"),
        ("multi", "rank_distance", "rank_distance"),
    ):
        is_in_view_V = results.view == VIEWS.index(view)
        ends = _resample_settings(
            results.values[metric][is_in_view_V],
            group_Q[results.query[is_in_view_V]],
            setting_V[is_in_view_V],
        )
        if ends is not None:
            intervals[name] = ends
    return intervals


def _compute_shares(
    places: AnswerPlaces, is_asked_P: np.ndarray, group_P: np.ndarray
) -> dict[str, list[float]]:
    """Returns the intervals of the shares of some answers, by name."""
    fate_P = places.fate_P[is_asked_P]
    ones_P = np.ones(len(fate_P))
    intervals = {}
    for fate, name in enumerate(FATES):
        ends = _resample_ratio((fate_P == fate).astype(float), ones_P, group_P)
        if ends is not None:
            intervals[name] = _widen_certainty(ends, len(np.unique(group_P)))
    can_be_found_P = (fate_P == FOUND) | (fate_P == HIDDEN)
    excess_P = (fate_P == HIDDEN) - places.chance_P[is_asked_P]
    ends = _resample_ratio(excess_P, can_be_found_P.astype(float), group_P)
    if ends is not None and (fate_P == HIDDEN).any():
        intervals["lost"] = ends
    elif ends is not None:
        # Nothing is hidden in any resample, though the next question might lose its answer.
        groups = len(np.unique(group_P[can_be_found_P]))
        intervals["lost"] = [ends[0], _widen_certainty([0.0, 0.0], groups)[1]]
    return intervals


def _resample_ratio(
    numerator_P: np.ndarray, denominator_P: np.ndarray, group_P: np.ndarray
) -> list[float] | None:
    """Returns the interval of a ratio of sums; None if groups are too few or nothing is counted."""
    _, group_P = np.unique(group_P, return_inverse=True)
    sums_G = np.bincount(group_P, numerator_P)
    counts_G = np.bincount(group_P, denominator_P)
    if (counts_G > 0).sum() < 2:
        return None
    return _resample(ClusteredValues(sums_G[:, None], counts_G[:, None]))


def _resample_settings(
    values_V: np.ndarray, group_V: np.ndarray, setting_V: np.ndarray
) -> list[float] | None:
    """Returns the interval of the mean over settings of the mean over rows (V), NaN left out."""
    is_defined_V = ~np.isnan(values_V)
    groups, group_V = np.unique(group_V[is_defined_V], return_inverse=True)
    settings, setting_V = np.unique(setting_V[is_defined_V], return_inverse=True)
    if len(groups) < 2:
        return None
    shape = (len(groups), len(settings))
    return _resample(ClusteredValues.from_rows(values_V[is_defined_V], group_V, setting_V, shape))


def _resample(clustered: ClusteredValues) -> list[float]:
    """Returns the interval of the mean over all settings."""
    every_setting_S1 = np.ones((clustered.sums_CS.shape[1], 1), bool)
    low_K, high_K = compute_bootstrap_interval(
        clustered, every_setting_S1, np.random.default_rng(SEED), level=1 - OUTSIDE
    )
    return [float(low_K[0]), float(high_K[0])]


def _widen_certainty(ends: list[float], groups: int) -> list[float]:
    """Returns an interval that has a width also if all groups say 0, or all say 1.

    No resample differs then, though the next group might. The exact interval of so many
    independent trials takes the place of that of the resamples (Clopper and Pearson 1934).
    """
    widest = 1 - (OUTSIDE / 2) ** (1 / groups)
    if ends == [0.0, 0.0]:
        return [0.0, widest]
    if ends == [1.0, 1.0]:
        return [1 - widest, 1.0]
    return ends
