"""The numbers of a study: latency by stage and language, and whether checkpoints take equally long.

Checkpoints are compared by two one-sided tests (Schuirmann 1987) on paired log ratios, with a
bootstrap over questions.
"""

# R rounds, U units, G clusters (questions), B resamples

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any, Literal

import numpy as np

from hybrid_ir.latency.settings import Search
from hybrid_ir.latency.study import Study, Timings

FEWEST_CLUSTERS = 10  # resampling fewer says nothing about the spread
RESAMPLED_AT_ONCE = 250  # resamples held in memory

REFERENCE = "torch_fp32"  # with which other backends are compared
Row = dict[str, Any]
Verdict = Literal[
    "equivalent", "different", "slightly different but within the margin", "inconclusive"
]


@dataclass(frozen=True)
class Equivalence:
    """How much slower a second checkpoint is than a first.

    Mean and median are of log ratios: 0.01 is 1% slower. Their intervals hold 90%.

    Args:
        p: the larger one of the two one-sided tests, below 0.05 if the mean's interval is inside
            the margin; None if there are too few questions.
        questions: the number of clusters.
        verdict: what the interval of the mean says.
    """

    mean: float
    mean_low: float
    mean_high: float
    median: float
    median_low: float
    median_high: float
    p: float | None
    questions: int
    verdict: Verdict


def compare_latencies(
    first_RU: np.ndarray,
    second_RU: np.ndarray,
    clusters_U: np.ndarray,
    margin: float = 0.05,
    resamples: int = 2000,
    seed: int = 0,
) -> Equivalence:
    """Compares the latencies of two checkpoints on the same units.

    A unit's value is log(median over rounds of the second / that of the first). Clusters are
    resampled as a whole, since the translations of a question are no independent samples. Two
    one-sided tests at 5% (Schuirmann 1987) are read off the 90% percentile interval of the mean:
    it must lie inside +-log(1 + margin).

    Args:
        first_RU: latencies of the first checkpoint, above 0.
        second_RU: latencies of the second checkpoint, above 0.
        clusters_U: number of the question of each unit.
        margin: share by which latencies of the same speed may differ.
        resamples: number of resamples.
        seed: of the resamples.

    Raises:
        ValueError: shapes differ, or a latency is not above 0.
    """
    _require_pairs(first_RU, second_RU, clusters_U)
    ratio_U = np.log(np.median(second_RU, axis=0)) - np.log(np.median(first_RU, axis=0))
    _, clusters_U = np.unique(clusters_U, return_inverse=True)
    questions = int(clusters_U.max()) + 1
    rng = np.random.default_rng(seed)
    means_B, medians_B = resample_clusters(ratio_U, clusters_U, resamples, rng)
    mean_low, mean_high = np.quantile(means_B, [0.05, 0.95])
    median_low, median_high = np.quantile(medians_B, [0.05, 0.95])

    bound = np.log1p(margin)
    p = None
    verdict: Verdict = "inconclusive"
    if questions >= FEWEST_CLUSTERS:
        p = _compute_p_value(means_B, bound)
        verdict = decide(mean_low, mean_high, bound)
    return Equivalence(
        mean=float(ratio_U.mean()),
        mean_low=float(mean_low),
        mean_high=float(mean_high),
        median=float(np.median(ratio_U)),
        median_low=float(median_low),
        median_high=float(median_high),
        p=p,
        questions=questions,
        verdict=verdict,
    )


def _require_pairs(first_RU: np.ndarray, second_RU: np.ndarray, clusters_U: np.ndarray) -> None:
    """Raises ValueError unless the latencies are those of the same units, and all above 0."""
    are_paired = first_RU.shape == second_RU.shape and first_RU.shape[1:] == clusters_U.shape
    if not are_paired or first_RU.size == 0:
        raise ValueError(
            f"latencies of shapes {first_RU.shape} and {second_RU.shape} with {clusters_U.shape} "
            "clusters are not paired: give rounds x units twice, and a cluster per unit"
        )
    if first_RU.min() <= 0 or second_RU.min() <= 0:
        raise ValueError(
            "a latency of 0 or less has no ratio: the clock of this machine is too coarse for such "
            "a stage"
        )


def _compute_p_value(means_B: np.ndarray, bound: float) -> float:
    """Computes the larger p value of the two one-sided tests from the means of resamples."""
    resamples_beyond = max((means_B >= bound).sum(), (means_B <= -bound).sum())
    return float((1 + resamples_beyond) / (len(means_B) + 1))


def decide(low: float, high: float, bound: float) -> Verdict:
    """Decides what an interval says about a difference of at most `bound`."""
    if low > bound or high < -bound:
        return "different"
    if -bound < low and high < bound:
        contains_zero = low <= 0 <= high
        return "equivalent" if contains_zero else "slightly different but within the margin"
    return "inconclusive"


def resample_clusters(
    values_U: np.ndarray, clusters_U: np.ndarray, resamples: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draws whole clusters with replacement; returns means and medians (B,) of their values.

    Of an even number of values the median is the lower one of the two in the middle.
    """
    sums_G = np.bincount(clusters_U, values_U)
    sizes_G = np.bincount(clusters_U)
    equal_shares_G = np.full(len(sizes_G), 1 / len(sizes_G))
    order_U = np.argsort(values_U)
    sorted_values_U = values_U[order_U]
    means = []
    medians = []
    for start in range(0, resamples, RESAMPLED_AT_ONCE):
        number = min(RESAMPLED_AT_ONCE, resamples - start)
        drawn_BG = rng.multinomial(len(sizes_G), equal_shares_G, number)
        means.append(drawn_BG @ sums_G / (drawn_BG @ sizes_G))
        # each value counts as often as its cluster was drawn
        counts_BU = drawn_BG[:, clusters_U[order_U]]
        ranks_BU = np.cumsum(counts_BU, axis=1, dtype=np.int32)
        middle_B = (2 * ranks_BU >= ranks_BU[:, -1:]).argmax(1)
        medians.append(sorted_values_U[middle_B])
    return np.concatenate(means), np.concatenate(medians)


def compute_quantiles(ns: np.ndarray) -> dict[str, float]:
    """Computes mean and percentiles over all rounds and units, in milliseconds.

    Percentiles are linear between neighbours, as numpy's default.
    """
    p50, p95, p99 = np.percentile(ns, [50, 95, 99])
    return {
        "mean": float(ns.mean()) / 1e6,
        "p50": float(p50) / 1e6,
        "p95": float(p95) / 1e6,
        "p99": float(p99) / 1e6,
    }


def build_latency_rows(study: Study) -> list[Row]:
    """Builds a row per batch size, contestant and search.

    `per_query` is a unit's total over the number of its queries. `encode_speed` is how many times
    as fast as torch in float32 the same checkpoint encodes: see `compare_with_torch`.
    """
    rows = []
    for timings, contestant, search in _iterate_measurements(study):
        stages = timings.get_stages(contestant, search)
        total_RU = stages["total"]
        queries_U = timings.units.queries_U
        queries_per_ns = queries_U.sum() * len(total_RU) / total_RU.sum()
        milliseconds = {stage: compute_quantiles(ns_RU) for stage, ns_RU in stages.items()}
        milliseconds["per_query"] = compute_quantiles(total_RU / queries_U)
        rows.append(
            {
                **_name_measurement(study, contestant, search),
                "batch_size": timings.units.batch_size,
                "units": len(timings.units),
                "queries_per_unit": float(queries_U.mean()),
                "queries_per_second": float(queries_per_ns * 1e9),
                "encode_speed": compare_with_torch(study, timings, contestant),
                "ms": milliseconds,
            }
        )
    return rows


def compare_with_torch(study: Study, timings: Timings, contestant: int) -> float | None:
    """Returns how many times as fast as torch in float32 a backend encodes; None without torch.

    It is the median over units of the ratio of both, each the median of its rounds. Both take
    turns on every unit, so the length of a query and a slow minute of the machine cancel.
    """
    checkpoint, _ = study.contestants[contestant]
    if (checkpoint, REFERENCE) not in study.contestants:
        return None
    reference = list(study.contestants).index((checkpoint, REFERENCE))
    reference_U = np.median(timings.get_stages(reference, 0)["encode"], axis=0)
    backend_U = np.median(timings.get_stages(contestant, 0)["encode"], axis=0)
    return float(np.median(reference_U / backend_U))


def build_language_rows(study: Study) -> list[Row]:
    """Builds the same rows per query language, with its tokens per query; most tokens first."""
    language_Q = study.benchmark.query_languages
    rows = []
    for timings, contestant, search in _iterate_measurements(study):
        stages = timings.get_stages(contestant, search)
        units = timings.units
        checkpoint, _ = study.contestants[contestant]
        tokens_Q = study.tokens[checkpoint]
        for language in np.unique(units.languages_U):
            is_language_U = units.languages_U == language
            tokens = tokens_Q[language_Q == language]
            milliseconds = {}
            for stage, ns_RU in stages.items():
                milliseconds[stage] = compute_quantiles(ns_RU[:, is_language_U])
            rows.append(
                {
                    **_name_measurement(study, contestant, search),
                    "batch_size": units.batch_size,
                    "language": study.benchmark.languages[language],
                    "queries": len(tokens),
                    "tokens_per_query": {
                        "mean": float(tokens.mean()),
                        "p95": float(np.percentile(tokens, 95)),
                    },
                    "ms": milliseconds,
                }
            )
    places = {language: place for place, language in enumerate(sort_languages_by_tokens(study))}
    # the sort is stable: contestants keep their order
    return sorted(rows, key=lambda row: places[row["language"]])


def sort_languages_by_tokens(study: Study) -> list[str]:
    """Returns the languages that have queries, most tokens per query first.

    Tokens are those of the first checkpoint.
    """
    tokens_Q = study.tokens[study.checkpoints[0]]
    language_Q = study.benchmark.query_languages
    means = {
        int(language): tokens_Q[language_Q == language].mean() for language in np.unique(language_Q)
    }
    sorted_languages = sorted(means, key=means.get, reverse=True)
    return [study.benchmark.languages[language] for language in sorted_languages]


def build_equivalence_rows(study: Study, margin: float, seed: int) -> list[Row]:
    """Builds a row for every pair of checkpoints under one backend; intervals are shares.

    Compared are the encoding, and the total with each search.
    """
    stages: list[tuple[int, Search | None]] = [(0, None), *enumerate(study.searches)]
    rows = []
    for timings, backend in product(study.timings, study.backends):
        contestants = []
        for number, (_, contestant_backend) in enumerate(study.contestants):
            if contestant_backend == backend:
                contestants.append(number)
        for first, second in combinations(contestants, 2):
            for number, search in stages:
                stage = "encode" if search is None else "total"
                result = compare_latencies(
                    timings.get_stages(first, number)[stage],
                    timings.get_stages(second, number)[stage],
                    timings.units.clusters_U,
                    margin,
                    seed=seed,
                )
                rows.append(
                    {
                        "first": study.contestants[first][0],
                        "second": study.contestants[second][0],
                        "backend": backend,
                        "batch_size": timings.units.batch_size,
                        "search": None if search is None else search.kind,
                        "pool": None if search is None else search.pool,
                        "stage": stage,
                        "slower": _compute_shares(result),
                        "p": result.p,
                        "margin": margin,
                        "questions": result.questions,
                        "verdict": result.verdict,
                    }
                )
    return rows


def _compute_shares(equivalence: Equivalence) -> dict[str, float]:
    """Converts log ratios to shares: 0.01 is 1% slower."""
    names = ("mean", "mean_low", "mean_high", "median", "median_low", "median_high")
    return {name: math.expm1(getattr(equivalence, name)) for name in names}


def _iterate_measurements(study: Study) -> Iterator[tuple[Timings, int, int]]:
    """Yields the timings of each batch size with each number of a contestant and of a search."""
    return product(study.timings, range(len(study.contestants)), range(len(study.searches)))


def _name_measurement(study: Study, contestant: int, search: int) -> Row:
    checkpoint, backend = study.contestants[contestant]
    return {
        "checkpoint": checkpoint,
        "backend": backend,
        "search": study.searches[search].kind,
        "pool": study.searches[search].pool,
    }
