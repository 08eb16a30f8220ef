"""The measures of language bias that have a name, each one number."""

from typing import Any

import numpy as np

from hybrid_ir.bias.answer_places import DEPTH, FOUND, HIDDEN, NOT_FOUND, AnswerPlaces
from hybrid_ir.evaluation.bias_rows import compute_share_of_neighbours
from hybrid_ir.evaluation.rank_table import VIEWS
from hybrid_ir.evaluation.results import Results, mean_of_defined

# What is measured of the answers in other languages than the question; the same of those in its own
# language begins with OWN.
SHARES_OF_ANSWERS = ("found", "hidden", "not_found", "hidden.by_chance", "lost")
OWN = "own."
# Everything that can be measured of texts with known answers.
MEASURES = (
    *SHARES_OF_ANSWERS,
    *(OWN + name for name in SHARES_OF_ANSWERS),
    "mono.map",
    "cross.map",
    "multi.map",
    "rank_distance",
    "rank_distance.median",
    "rank_distance.share",
    "own_language_share",
    "own_language_share.fair",
    "same_language_neighbours",
    "same_language_neighbours.fair",
)


def compute_measures(results: Results, places: AnswerPlaces) -> dict[str, float | None]:
    """Computes all MEASURES; what these texts do not tell is None.

    `found`, `hidden` and `not_found` are shares of the answers in other languages than the question
    and sum to 1. `hidden.by_chance` is the share that would be hidden if the languages of the
    rankings were a shuffle.
    `lost` is what is hidden beyond that, as a share of the answers that the model can find: those
    that are found or hidden. `NAME.map` is the mean average precision of a view.
    """
    measures: dict[str, float | None] = dict.fromkeys(MEASURES)
    is_across_P = places.is_across_P
    measures |= _share_answers(places, is_across_P)
    for name, share in _share_answers(places, ~is_across_P).items():
        measures[OWN + name] = share
    for view in VIEWS:
        measures[f"{view}.map"] = to_plain(results.macro(view).get("map"))
    distances = results.values["rank_distance"][results.view == VIEWS.index("multi")]
    distances = distances[~np.isnan(distances)]
    measures["rank_distance"] = to_plain(results.macro("multi").get("rank_distance"))
    if len(distances):
        median = float(np.median(distances))
        measures["rank_distance.median"] = median
        measures["rank_distance.share"] = median / sum(results.pool_sizes.values())
    measures["own_language_share"] = _average_own_share(results)
    measures["own_language_share.fair"] = _average_fair_share(results)
    neighbours = results.geometry.get("same_language_neighbours")
    measures["same_language_neighbours"] = to_plain(neighbours)
    sizes = list(results.pool_sizes.values())
    measures["same_language_neighbours.fair"] = compute_share_of_neighbours(sizes)
    return measures


def _share_answers(places: AnswerPlaces, is_asked_P: np.ndarray) -> dict[str, float | None]:
    """Returns SHARES_OF_ANSWERS of some answers, None without any."""
    if not is_asked_P.any():
        return dict.fromkeys(SHARES_OF_ANSWERS)
    fate_P = places.fate_P[is_asked_P]
    found = float((fate_P == FOUND).mean())
    hidden = float((fate_P == HIDDEN).mean())
    by_chance = float(places.chance_P[is_asked_P].mean())
    can_be_found = found + hidden
    return {
        "found": found,
        "hidden": hidden,
        "not_found": float((fate_P == NOT_FOUND).mean()),
        "hidden.by_chance": by_chance,
        "lost": (hidden - by_chance) / can_be_found if can_be_found > 0 else None,
    }


def to_plain(value: Any) -> float | None:
    """Returns a number as Python has it, None for NaN."""
    return None if value is None or np.isnan(value) else float(value)


def _average_own_share(results: Results) -> float | None:
    """Returns the share of the question's language among the first DEPTH passages."""
    mix_LL = np.array(results.geometry[f"language_mix@{DEPTH}"], float)
    return to_plain(mean_of_defined(np.diag(mix_LL)))


def _average_fair_share(results: Results) -> float | None:
    """Returns the share of a question's language in the collection, as the mean over languages."""
    sizes_L = np.array(list(results.pool_sizes.values()), float)
    queries_L = np.bincount(results.benchmark.query_languages, minlength=len(sizes_L))
    shares_L = sizes_L / sizes_L.sum()
    return to_plain(shares_L[queries_L > 0].mean())
