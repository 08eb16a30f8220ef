"""The three views of one RankTable: monolingual, cross-lingual, multilingual; and what they say about every query.

Shapes: Q queries, R relevant passages of a query, L languages, V rows: a query in one view and pool.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from hybrid_ir.evaluation.metrics import ABOVE_OF_FILLING, Ranks, compute_metrics
from hybrid_ir.evaluation.rank_table import EVERY, OWN, RankTable
from hybrid_ir.evaluation.relevant_passages import pad_rows
from hybrid_ir.types import Benchmark

VIEWS = ("mono", "cross", "multi")
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
ALL = -1  # the passage language of the multilingual pool


@dataclass(frozen=True)
class Setting:
    """The mean over the queries of one language against one pool."""

    view: str
    query_language: str
    passage_language: str  # "all" in the multilingual view
    queries: int
    means: dict[str, float]


@dataclass(frozen=True)
class Results:
    """The value of every metric for every query in every view: V rows, in the order of views, pools and queries.

    A metric that is not defined for a row is NaN and left out of means.
    """

    benchmark: Benchmark
    view: np.ndarray  # V, index into VIEWS
    query: np.ndarray  # V, row of the benchmark
    query_language: np.ndarray  # V, index into the languages
    passage_language: np.ndarray  # V, index into the languages, ALL in the multilingual view
    values: dict[str, np.ndarray]  # V each
    left_out: dict[
        str, int
    ]  # per view: queries (in cross: queries times other languages) with nothing relevant there
    pool_sizes: dict[str, int]  # passages per language
    table: RankTable
    loss: float | None = None  # InfoNCE over the whole corpus, mean over queries
    observed: dict[str, Any] = field(
        default_factory=dict
    )  # what else was seen while passages streamed by

    @classmethod
    def of(
        cls,
        table: RankTable,
        benchmark: Benchmark,
        metrics: Sequence[str] = RETRIEVAL,
        metrics_across_languages: Sequence[str] = ACROSS_LANGUAGES,
    ) -> "Results":
        """All three views; `metrics_across_languages` only in the multilingual one, where they mean something."""
        if benchmark.grades is not None:
            table = replace(table, grades=pad_rows(benchmark.grades, float))
        parts = []
        for view, language, queries, ranks in iterate_pools(table):
            names = [*metrics, *metrics_across_languages] if view == "multi" else metrics
            parts.append((VIEWS.index(view), language, queries, compute_metrics(ranks, names)))
        sizes = [len(queries) for _, _, queries, _ in parts]
        query = np.concatenate([queries for _, _, queries, _ in parts])
        values = {
            name: np.concatenate(
                [found.get(name, np.full(len(rows), np.nan)) for *_, rows, found in parts]
            )
            for name in dict.fromkeys([*metrics, *metrics_across_languages])
        }
        view = np.repeat([view for view, *_ in parts], sizes)
        possible = len(table.query_languages) * np.array([1, len(table.languages) - 1, 1])
        left_out = possible - np.bincount(view, minlength=len(VIEWS))
        return cls(
            benchmark=benchmark,
            view=view,
            query=query,
            query_language=np.asarray(table.query_languages)[query],
            passage_language=np.repeat([language for _, language, *_ in parts], sizes),
            values=values,
            left_out=dict(zip(VIEWS, left_out.tolist(), strict=True)),
            pool_sizes=dict(zip(table.languages, table.pool_sizes.tolist(), strict=True)),
            table=table,
            # as float32: below that the order shows in which batches and processes were summed
            loss=None if table.losses is None else float(np.float32(mean_of_defined(table.losses))),
        )

    @cached_property
    def settings(self) -> list[Setting]:
        """Every pair of query language and pool that has queries, in the order of views."""
        names = self.benchmark.languages
        # one number per view, query language and pool: a hundred languages make millions of rows
        columns = np.ravel_multi_index(
            (self.view, self.query_language, self.passage_language - ALL),
            (len(VIEWS), len(names), len(names) + 1),
        )
        keys, place, sizes = np.unique(columns, return_inverse=True, return_counts=True)
        order = np.argsort(place, kind="stable")
        bounds = np.cumsum(sizes)[:-1]
        cells = {name: np.split(values[order], bounds) for name, values in self.values.items()}
        return [
            Setting(
                VIEWS[view],
                names[query],
                "all" if passage == ALL else names[passage],
                int(size),
                {name: mean_of_defined(cell[i]) for name, cell in cells.items()},
            )
            for i, (view, query, passage, size) in enumerate(
                zip(*split_setting_keys(keys, len(names)), sizes.tolist(), strict=True)
            )
        ]

    def macro(self, view: str) -> dict[str, float]:
        """Mean over settings, as the paper reports."""
        rows = [setting.means for setting in self.settings if setting.view == view]
        return {
            name: mean_of_defined(np.array([row[name] for row in rows])) for name in self.values
        }

    def micro(self, view: str) -> dict[str, float]:
        """Mean over questions, as LAReQA reports."""
        chosen = self.view == VIEWS.index(view)
        return {name: mean_of_defined(values[chosen]) for name, values in self.values.items()}

    def matrix(self, metric: str = "map") -> np.ndarray:
        """Mean by query language and passage language (L, L): monolingual on the diagonal; NaN where nothing is."""
        row = {language: i for i, language in enumerate(self.benchmark.languages)}
        cells = np.full((len(row), len(row)), np.nan)
        for setting in self.settings:
            if setting.view != "multi":
                cells[row[setting.query_language], row[setting.passage_language]] = setting.means[
                    metric
                ]
        return cells

    def summary(self) -> dict[str, float]:
        """The loss and the macro means as one flat record, "mono/map" and so on; without what is undefined."""
        found = {
            f"{view}/{name}": value for view in VIEWS for name, value in self.macro(view).items()
        }
        loss = {} if self.loss is None else {"loss": self.loss}
        return loss | {name: value for name, value in found.items() if not np.isnan(value)}

    def undefined(self, view: str) -> dict[str, int]:
        """How many queries of a view have no value of a metric that other queries of it have."""
        chosen = self.view == VIEWS.index(view)
        missing = {name: np.isnan(values[chosen]) for name, values in self.values.items()}
        return {
            name: int(rows.sum()) for name, rows in missing.items() if rows.any() and not rows.all()
        }

    def columns(self) -> pa.Table:
        """Everything per query, as columns of equal length with names instead of numbers."""

        def named(places: np.ndarray, names: Sequence[str]) -> pa.DictionaryArray:
            return pa.DictionaryArray.from_arrays(
                pa.array(places.astype(np.int32)), pa.array(list(names), pa.string())
            )

        languages = [*self.benchmark.languages, "all"]
        questions = {
            name: place
            for place, name in enumerate(dict.fromkeys(map(str, self.benchmark.question_ids)))
        }
        question_of = np.array([questions[str(name)] for name in self.benchmark.question_ids])
        return pa.table(
            {
                "view": named(self.view, VIEWS),
                "query": self.query,
                "question_id": named(question_of[self.query], questions),
                "query_language": named(self.query_language, languages),
                "passage_language": named(
                    self.passage_language % len(languages), languages
                ),  # ALL is the last
                **self.values,
            }
        )


def split_setting_keys(keys: np.ndarray, languages: int) -> tuple[list[int], list[int], list[int]]:
    """View, query language and passage language of each key of a setting."""
    view, query, passage = np.unravel_index(keys, (len(VIEWS), languages, languages + 1))
    return view.tolist(), query.tolist(), (passage + ALL).tolist()


def iterate_pools(table: RankTable) -> Iterator[tuple[str, int, np.ndarray, Ranks]]:
    """View, passage language, queries with something relevant in that pool, and their ranks."""
    query_languages = np.asarray(table.query_languages)
    for view in ("mono", "cross"):
        for language in range(len(table.languages)):
            asked = (query_languages == language) == (view == "mono")
            yield view, language, *select_ranks(table, language, asked)
    yield "multi", ALL, *select_ranks(table, ALL, np.ones(len(query_languages), bool))


def select_ranks(table: RankTable, language: int, asked_Q: np.ndarray) -> tuple[np.ndarray, Ranks]:
    """The queries asked that have relevant passages in the pool of a language (or ALL), and the ranks of these."""
    present_QR = (
        table.relevant_languages >= 0 if language == ALL else table.relevant_languages == language
    )
    queries_V = (asked_Q & present_QR.any(1)).nonzero()[0]
    present_VR = present_QR[queries_V]
    above_VR, tied_VR = (
        counts[queries_V, :, EVERY if language == ALL else OWN].astype(np.int64)
        for counts in (table.above, table.tied)
    )
    count_V = present_VR.sum(1)
    above_VR = np.where(present_VR, above_VR, ABOVE_OF_FILLING)
    order_VR = np.argsort(above_VR, axis=1, kind="stable")[:, : count_V.max(initial=1)]
    own_VR = (
        table.relevant_languages[queries_V] == np.asarray(table.query_languages)[queries_V, None]
    )
    pool_size = int(table.pool_sizes.sum() if language == ALL else table.pool_sizes[language])
    grade_VR = (
        None if table.grades is None else np.take_along_axis(table.grades[queries_V], order_VR, 1)
    )
    sorted_VR = (
        np.take_along_axis(values_VR, order_VR, 1) for values_VR in (above_VR, tied_VR, own_VR)
    )
    return queries_V, Ranks(*sorted_VR, count_V, pool_size, grade_VR)


def mean_of_defined(values: np.ndarray) -> float:
    """Mean of the values that are defined, NaN when none is."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")
