"""Holds the value of every metric for every query in the three views, and averages them.

Shapes: Q queries, L languages, V rows: one query in one view and pool.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from hybrid_ir.evaluation.metrics import compute_metrics
from hybrid_ir.evaluation.rank_table import (
    MULTILINGUAL,
    VIEWS,
    PoolRanks,
    RankTable,
    add_judgements,
    drop_low_grades,
    iterate_pools,
)
from hybrid_ir.types import Benchmark

RETRIEVAL = ("map", "ndcg@10", "recall@1", "recall@10", "recall@100", "mrr@10", "tie_rate")
ACROSS_LANGUAGES = (
    "rank_distance",
    "rank_distance_excess",
    "rank_distance_normalised",
    "max_rank",
    "max_rank_normalised",
    "complete@20",
    "complete@100",
    "tlr@20",
    "lpr@1",
)
# Metrics of which the lower value is the better one.
LOWER_IS_BETTER = (
    "rank_distance",
    "rank_distance_excess",
    "rank_distance_normalised",
    "max_rank",
    "tie_rate",
)


@dataclass(frozen=True)
class Setting:
    """The means over the queries of one language against one pool."""

    view: str
    query_language: str
    passage_language: str  # "all" in the multilingual view
    queries: int
    means: dict[str, float]

    def to_row(self) -> dict[str, Any]:
        """Returns the setting as one flat row of a table."""
        row = {
            "view": self.view,
            "query_language": self.query_language,
            "passage_language": self.passage_language,
            "queries": self.queries,
        }
        row.update(self.means)
        return row


@dataclass(frozen=True, repr=False)
class Results:
    """The value of every metric for every query in every view.

    There are V rows, in the order of views, pools and queries. A metric that is not defined for a
    row is NaN and left out of means.
    """

    benchmark: Benchmark
    view: np.ndarray  # V, index into VIEWS
    query: np.ndarray  # V, row of the benchmark
    query_language: np.ndarray  # V, index into the languages
    passage_language: np.ndarray  # V, index into the languages, MULTILINGUAL in that view
    values: dict[str, np.ndarray]  # V each
    # per view: queries (in cross: queries times other languages) with nothing relevant there
    queries_without_relevant: dict[str, int]
    pool_sizes: dict[str, int]  # passages per language
    table: RankTable
    loss: float | None = None  # InfoNCE over the whole corpus, mean over queries
    # what needs the vectors or the top of the rankings, and not only ranks: see StreamedRanking
    geometry: dict[str, Any] = field(default_factory=dict)
    # whether relevant passages that are not in the corpus count as never found
    count_missing: bool = True
    metrics: Sequence[str] = RETRIEVAL
    metrics_across_languages: Sequence[str] = ACROSS_LANGUAGES

    @classmethod
    def from_table(
        cls,
        table: RankTable,
        benchmark: Benchmark,
        metrics: Sequence[str] = RETRIEVAL,
        metrics_across_languages: Sequence[str] = ACROSS_LANGUAGES,
        count_missing: bool | None = None,
    ) -> "Results":
        """Computes metrics in all three views.

        Args:
            table: the counts of the benchmark.
            benchmark: of the table.
            metrics: computed in every view.
            metrics_across_languages: computed in the multilingual view only, where they mean
                something.
            count_missing: whether relevant passages that are not in the corpus count as never
                found, or are left out; by default as the benchmark says.
        """
        if count_missing is None:
            count_missing = benchmark.count_missing
        table = add_judgements(table, benchmark, count_missing)
        pools = list(iterate_pools(table))
        least_grade = benchmark.least_relevant_grade
        relevant_pools = pools
        if least_grade > 0:
            relevant_pools = list(iterate_pools(drop_low_grades(table, least_grade)))
        sizes = [len(pool.queries_V) for pool in pools]
        view = np.repeat([VIEWS.index(pool.view) for pool in pools], sizes)
        query = np.concatenate([pool.queries_V for pool in pools])
        loss = None
        if table.losses is not None:
            # as float32: below that the order shows in which batches and processes were summed
            loss = float(np.float32(mean_of_defined(table.losses)))
        return cls(
            benchmark=benchmark,
            view=view,
            query=query,
            query_language=np.asarray(table.query_languages)[query],
            passage_language=np.repeat([pool.passage_language for pool in pools], sizes),
            values=_compute_values(pools, relevant_pools, metrics, metrics_across_languages),
            queries_without_relevant=_count_queries_without_relevant(table, view),
            pool_sizes=dict(zip(table.languages, table.pool_sizes.tolist(), strict=True)),
            table=table,
            loss=loss,
            count_missing=count_missing,
            metrics=metrics,
            metrics_across_languages=metrics_across_languages,
        )

    def recount(self, count_missing: bool) -> "Results":
        """Returns the results with the other treatment of passages that are not in the corpus.

        Args:
            count_missing: whether such passages count as never found, or are left out.
        """
        if count_missing == self.count_missing:
            return self
        results = Results.from_table(
            self.table, self.benchmark, self.metrics, self.metrics_across_languages, count_missing
        )
        return replace(results, geometry=self.geometry)

    @property
    def relevant_table(self) -> RankTable:
        """The counts of the passages that are relevant enough for all measures but nDCG."""
        least_grade = self.benchmark.least_relevant_grade
        if least_grade > 0:
            return drop_low_grades(self.table, least_grade)
        return self.table

    def __repr__(self) -> str:
        """Returns a short text: a benchmark may hold millions of others."""
        means = {view: round(self.macro(view).get("map", float("nan")), 4) for view in VIEWS}
        return f"Results({self.benchmark!r}, map={means})"

    @cached_property
    def settings(self) -> list[Setting]:
        """The means of every query language and pool that has queries, in the order of views."""
        languages = self.benchmark.languages
        # one number per view, query language and pool: a hundred languages make millions of rows
        shape = (len(VIEWS), len(languages), len(languages) + 1)
        passage_place = self.passage_language - MULTILINGUAL  # from 0 on, MULTILINGUAL first
        keys = np.ravel_multi_index((self.view, self.query_language, passage_place), shape)
        keys, place, sizes = np.unique(keys, return_inverse=True, return_counts=True)
        order = np.argsort(place, kind="stable")
        bounds = np.cumsum(sizes)[:-1]
        cells = {name: np.split(values[order], bounds) for name, values in self.values.items()}
        views, query_languages, passage_places = np.unravel_index(keys, shape)
        settings = []
        for i in range(len(keys)):
            passage_language = int(passage_places[i]) + MULTILINGUAL
            setting = Setting(
                view=VIEWS[views[i]],
                query_language=languages[query_languages[i]],
                passage_language=(
                    "all" if passage_language == MULTILINGUAL else languages[passage_language]
                ),
                queries=int(sizes[i]),
                means={name: mean_of_defined(cell[i]) for name, cell in cells.items()},
            )
            settings.append(setting)
        return settings

    def macro(self, view: str) -> dict[str, float]:
        """Averages over the settings of a view, as the paper reports."""
        settings = [setting for setting in self.settings if setting.view == view]
        means = {}
        for name in self.values:
            means[name] = mean_of_defined(np.array([setting.means[name] for setting in settings]))
        return means

    def micro(self, view: str) -> dict[str, float]:
        """Averages over the questions of a view, as LAReQA reports."""
        is_in_view = self.view == VIEWS.index(view)
        return {name: mean_of_defined(values[is_in_view]) for name, values in self.values.items()}

    def matrix(self, metric: str = "map") -> np.ndarray:
        """Arranges the means of a metric by query language and passage language (L, L).

        The diagonal is monolingual. A cell without queries is NaN.
        """
        languages = self.benchmark.languages
        place = {language: i for i, language in enumerate(languages)}
        cells = np.full((len(languages), len(languages)), np.nan)
        for setting in self.settings:
            if setting.view != "multi":
                row = place[setting.query_language]
                column = place[setting.passage_language]
                cells[row, column] = setting.means[metric]
        return cells

    def summary(self) -> dict[str, float]:
        """Returns the loss and the macro means as one flat record, named "mono/map" and so on.

        What is undefined is left out.
        """
        summary = {}
        if self.loss is not None:
            summary["loss"] = self.loss
        for view in VIEWS:
            for name, value in self.macro(view).items():
                if not np.isnan(value):
                    summary[f"{view}/{name}"] = value
        return summary

    def count_undefined_queries(self, view: str) -> dict[str, int]:
        """Counts the queries of a view that have no value of a metric that other queries have."""
        is_in_view = self.view == VIEWS.index(view)
        counts = {}
        for name, values in self.values.items():
            is_undefined = np.isnan(values[is_in_view])
            if is_undefined.any() and not is_undefined.all():
                counts[name] = int(is_undefined.sum())
        return counts

    def to_arrow(self) -> pa.Table:
        """Returns every value of every query as a table, with names instead of numbers."""
        languages = [*self.benchmark.languages, "all"]
        passage_place = np.where(
            self.passage_language == MULTILINGUAL, len(languages) - 1, self.passage_language
        )
        question_ids = [str(question) for question in self.benchmark.question_ids]
        questions = {name: place for place, name in enumerate(dict.fromkeys(question_ids))}
        question_of_Q = np.array([questions[name] for name in question_ids])
        columns = {
            "view": _encode_names(self.view, VIEWS),
            "query": self.query,
            "question_id": _encode_names(question_of_Q[self.query], questions),
            "query_language": _encode_names(self.query_language, languages),
            "passage_language": _encode_names(passage_place, languages),
        }
        columns.update(self.values)
        return pa.table(columns)


def mean_of_defined(values: np.ndarray) -> float:
    """Averages the values that are not NaN; NaN when there are none."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")


def _compute_values(
    pools: Sequence[PoolRanks],
    relevant_pools: Sequence[PoolRanks],
    metrics: Sequence[str],
    metrics_across_languages: Sequence[str],
) -> dict[str, np.ndarray]:
    """Computes the metrics of all pools.

    Args:
        pools: the ranks of all passages with a grade, for nDCG.
        relevant_pools: the ranks of those with a grade that counts as relevant, for all others.
        metrics: computed in every view.
        metrics_across_languages: computed in the multilingual view only.

    Returns:
        One array (V) each, NaN where a view lacks a metric or a query has nothing relevant.
    """
    all_metrics = list(dict.fromkeys([*metrics, *metrics_across_languages]))
    parts: dict[str, list[np.ndarray]] = {name: [] for name in all_metrics}
    for pool, relevant_pool in zip(pools, relevant_pools, strict=True):
        names = all_metrics if pool.view == "multi" else metrics
        graded_names = [name for name in names if name.startswith("ndcg@")]
        other_names = [name for name in names if name not in graded_names]
        values = compute_metrics(pool.ranks, graded_names)
        place_V = np.searchsorted(pool.queries_V, relevant_pool.queries_V)
        for name, relevant_values in compute_metrics(relevant_pool.ranks, other_names).items():
            values[name] = np.full(len(pool.queries_V), np.nan)
            values[name][place_V] = relevant_values
        undefined_V = np.full(len(pool.queries_V), np.nan)
        for name in all_metrics:
            parts[name].append(values.get(name, undefined_V))
    return {name: np.concatenate(arrays) for name, arrays in parts.items()}


def count_possible_queries(queries: int, languages: int) -> dict[str, int]:
    """Counts per view how often a query asks a pool: in cross, that of every other language."""
    return {"mono": queries, "cross": queries * (languages - 1), "multi": queries}


def _count_queries_without_relevant(table: RankTable, view_V: np.ndarray) -> dict[str, int]:
    """Counts per view what could be asked and has no row."""
    possible = count_possible_queries(len(table.query_languages), len(table.languages))
    counts = {}
    for number, view in enumerate(VIEWS):
        counts[view] = possible[view] - int((view_V == number).sum())
    return counts


def _encode_names(places: np.ndarray, names: Iterable[str]) -> pa.DictionaryArray:
    """Returns a column of names, each of which is stored once."""
    return pa.DictionaryArray.from_arrays(
        pa.array(places.astype(np.int32)), pa.array(list(names), pa.string())
    )
