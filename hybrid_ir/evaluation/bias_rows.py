"""The measures of language bias in rows: what was measured, and what a model without bias has."""

from collections.abc import Iterable, Mapping
from typing import Any

from hybrid_ir.evaluation.number_format import UNDEFINED, format_fraction, format_number

# In metrics.json: how often the best answer would be in the question's language by chance alone.
OWN_LANGUAGE_EXPECTED = "own_language_first_expected"


def describe_language_bias(record: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Returns a row for each measure: its name, its value, and its value without bias.

    Without bias the answers of a question stand one below the other, so that their rank distance
    is the number of them less one; the first of them is in the question's own language as often as
    the answers are (results of earlier versions do not say how often); and the neighbours of a
    passage are in a language as often as that language is in the corpus.

    Args:
        record: the content of metrics.json.
    """
    bias = record["language_bias"]
    means = record["macro_over_settings"]["multi"]
    friedman = bias["friedman"]
    peer = bias["peer"]
    rows = [
        (
            "rank distance",
            format_number(means.get("rank_distance"), "rank_distance"),
            format_number(_compute_least_distance(means), "rank_distance"),
        ),
        (
            "own language first (lpr@1)",
            format_number(means.get("lpr@1"), "lpr@1"),
            format_fraction(bias.get(OWN_LANGUAGE_EXPECTED)),
        ),
        ("one-target gap", format_fraction(bias["one_target"]["diagonal_gap"]), "0"),
        _describe_value("Kendall's W of passage languages", friedman, "kendalls_w", "0"),
        _describe_value("PEER", peer, "peer", ".5"),
    ]
    if "same_language_neighbours" in bias:
        rows.append(
            (
                "same-language neighbours",
                format_fraction(bias["same_language_neighbours"]),
                format_fraction(compute_share_of_neighbours(record["benchmark"]["pool"].values())),
            )
        )
        same_language = format_fraction(bias["alignment"]["same_language"])
        other_language = format_fraction(bias["alignment"]["other_language"])
        rows.append(("alignment, same language", same_language, UNDEFINED))
        rows.append(("alignment, other language", other_language, same_language))
        name = "uniformity (lower is more even)"
        rows.append((name, format_fraction(bias["uniformity"]), UNDEFINED))
    return rows


def _describe_value(
    name: str, measured: Mapping[str, Any], key: str, without: str
) -> tuple[str, str, str]:
    """Returns the row of a measure that may be undefined, with the reason beside its name."""
    reason = measured.get("reason")
    if reason:
        return f"{name} ({reason})", format_fraction(measured.get(key)), UNDEFINED
    return name, format_fraction(measured.get(key)), without


def _compute_least_distance(means: Mapping[str, float | None]) -> float | None:
    """Returns the mean rank distance of answers that stand one below the other."""
    distance = means.get("rank_distance")
    excess = means.get("rank_distance_excess")
    if distance is None or excess is None:
        return None
    return distance - excess


def compute_share_of_neighbours(sizes: Iterable[int]) -> float | None:
    """Returns how often two passages that are drawn from a corpus are in one language.

    Args:
        sizes: passages of each language.

    Returns:
        The share; None for an empty corpus.
    """
    sizes = list(sizes)
    total = sum(sizes)
    if total == 0:
        return None
    return sum((size / total) ** 2 for size in sizes)
