"""The tables of a study as plain rows: stages, languages, and the comparison of checkpoints."""

# R rounds, U units

import math
from itertools import combinations, product
from typing import Any

import numpy as np

from hybrid_ir.latency.equivalence import equivalence
from hybrid_ir.latency.study import Study

Row = dict[str, Any]


def quantiles(ns: np.ndarray) -> dict[str, float]:
    """Mean and percentiles over all rounds and units, milliseconds; linear between neighbours, as numpy's default."""
    p50, p95, p99 = np.percentile(ns, [50, 95, 99])
    return {
        name: float(value) / 1e6
        for name, value in (("mean", ns.mean()), ("p50", p50), ("p95", p95), ("p99", p99))
    }


def latency_rows(study: Study) -> list[Row]:
    """A row per batch size, contestant and search; `per_query` is a unit's total over its queries."""
    rows = []
    for timings, v, s in product(
        study.timings, range(len(study.contestants)), range(len(study.searches))
    ):
        stages, queries_U = timings.stages(v, s), timings.units.queries_U
        rows.append(
            {
                **named(study, v, s),
                "batch_size": timings.units.batch_size,
                "units": len(timings.units),
                "queries_per_unit": float(queries_U.mean()),
                "queries_per_second": float(
                    queries_U.sum() * len(stages["total"]) / stages["total"].sum() * 1e9
                ),
                "ms": {
                    **{stage: quantiles(ns_RU) for stage, ns_RU in stages.items()},
                    "per_query": quantiles(stages["total"] / queries_U),
                },
            }
        )
    return rows


def language_rows(study: Study) -> list[Row]:
    """The same per query language, with its tokens per query; most tokens first."""
    language_Q, rows = study.benchmark.query_languages, []
    for timings, v, s in product(
        study.timings, range(len(study.contestants)), range(len(study.searches))
    ):
        stages, units = timings.stages(v, s), timings.units
        tokens_Q = study.tokens[study.contestants[v][0]]
        for language in np.unique(units.languages_U):
            mine_U, tokens = units.languages_U == language, tokens_Q[language_Q == language]
            rows.append(
                {
                    **named(study, v, s),
                    "batch_size": units.batch_size,
                    "language": study.benchmark.languages[language],
                    "queries": len(tokens),
                    "tokens_per_query": {
                        "mean": float(tokens.mean()),
                        "p95": float(np.percentile(tokens, 95)),
                    },
                    "ms": {stage: quantiles(ns_RU[:, mine_U]) for stage, ns_RU in stages.items()},
                }
            )
    order = {language: i for i, language in enumerate(by_tokens(study))}
    return sorted(
        rows, key=lambda row: order[row["language"]]
    )  # stable: contestants keep their order


def by_tokens(study: Study) -> list[str]:
    """Languages that have queries, most tokens per query first, by the reading of the first checkpoint."""
    tokens_Q, language_Q = study.tokens[study.checkpoints[0]], study.benchmark.query_languages
    mean = {
        int(language): tokens_Q[language_Q == language].mean() for language in np.unique(language_Q)
    }
    return [
        study.benchmark.languages[language] for language in sorted(mean, key=mean.get, reverse=True)
    ]


def equivalence_rows(study: Study, margin: float, seed: int) -> list[Row]:
    """Every pair of checkpoints under one backend: encode, and the total with each search; intervals are shares."""
    rows = []
    for timings, backend in product(study.timings, study.backends):
        mine = [v for v, (_, found) in enumerate(study.contestants) if found == backend]
        for first, second in combinations(mine, 2):
            for s, search in [(0, None), *enumerate(study.searches)]:
                stage = "total" if search else "encode"
                found = equivalence(
                    timings.stages(first, s)[stage],
                    timings.stages(second, s)[stage],
                    timings.units.clusters_U,
                    margin,
                    seed=seed,
                )
                kind = (
                    {"search": search.kind, "pool": search.pool}
                    if search
                    else {"search": None, "pool": None}
                )
                shares = {
                    name: math.expm1(getattr(found, name))
                    for name in (
                        "mean",
                        "mean_low",
                        "mean_high",
                        "median",
                        "median_low",
                        "median_high",
                    )
                }
                rows.append(
                    {
                        "first": study.contestants[first][0],
                        "second": study.contestants[second][0],
                        "backend": backend,
                        "batch_size": timings.units.batch_size,
                        **kind,
                        "stage": stage,
                        "slower": shares,
                        "p": found.p,
                        "margin": margin,
                        "questions": found.questions,
                        "verdict": found.verdict,
                    }
                )
    return rows


def named(study: Study, contestant: int, search: int) -> Row:
    checkpoint, backend = study.contestants[contestant]
    return {
        "checkpoint": checkpoint,
        "backend": backend,
        "search": study.searches[search].kind,
        "pool": study.searches[search].pool,
    }
