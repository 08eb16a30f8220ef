"""95 % intervals of the measures of bias, by resampling questions.

The translations of a question are drawn together, since they rise and fall together.
"""

import numpy as np

from hybrid_ir.bias.answer_places import FATES, AnswerPlaces
from hybrid_ir.evaluation.rank_table import VIEWS
from hybrid_ir.evaluation.results import Results
from hybrid_ir.evaluation.significance import ClusteredValues, compute_bootstrap_interval

SEED = 1  # of the resamples


def compute_intervals(
    results: Results, places: AnswerPlaces, fate_P: np.ndarray
) -> dict[str, list[float]]:
    """Computes the interval of each measure that is a mean over answers or over queries.

    Args:
        results: of an evaluation.
        places: of its known answers.
        fate_P: what becomes of each of them, as an index into FATES (P).

    Returns:
        The lower and the upper end by the name of the measure; none for what these texts do not
        tell.
    """
    questions, question_Q = np.unique(np.array(results.benchmark.question_ids), return_inverse=True)
    intervals = {}
    is_across_P = places.is_across_P
    cluster_P = question_Q[places.query_P[is_across_P]]
    for fate, name in enumerate(FATES):
        is_fate_P = (fate_P[is_across_P] == fate).astype(float)
        setting_P = np.zeros(len(cluster_P), np.int64)
        _add_interval(intervals, name, is_fate_P, cluster_P, setting_P, len(questions))
    # A setting is a query language and a collection, as in the means that are reported.
    setting_V = results.query_language * (len(results.pool_sizes) + 1) + results.passage_language
    for view, metric, name in (
        ("mono", "map", "mono.map"),
        ("cross", "map", "cross.map"),
        ("multi", "map", "multi.map"),
        ("multi", "rank_distance", "rank_distance"),
    ):
        is_in_view_V = results.view == VIEWS.index(view)
        _add_interval(
            intervals,
            name,
            results.values[metric][is_in_view_V],
            question_Q[results.query[is_in_view_V]],
            np.unique(setting_V[is_in_view_V], return_inverse=True)[1],
            len(questions),
        )
    return intervals


def _add_interval(
    intervals: dict[str, list[float]],
    name: str,
    values_V: np.ndarray,
    cluster_V: np.ndarray,
    setting_V: np.ndarray,
    clusters: int,
) -> None:
    """Adds the interval of the mean over settings, unless nothing is defined.

    Args:
        intervals: by name, to be added to.
        name: of the measure.
        values_V: one for each row (V); NaN is left out.
        cluster_V: the question of each row.
        setting_V: the setting of each row, counted from 0 without a gap.
        clusters: the number of questions.
    """
    if np.isnan(values_V).all():  # also where there are no rows
        return
    settings = int(setting_V.max()) + 1
    clustered = ClusteredValues.from_rows(values_V, cluster_V, setting_V, (clusters, settings))
    low_K, high_K = compute_bootstrap_interval(
        clustered, np.ones((settings, 1), bool), np.random.default_rng(SEED)
    )
    intervals[name] = [float(low_K[0]), float(high_K[0])]
