"""Section: the systems measured on one benchmark, with their rows of per_query.parquet aligned.

Shapes: V rows (a query in one pool) in the order of view, pool and query, C questions, S settings
(view, query language and pool), A systems, N seeds of a system.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hybrid_ir.comparison.load import Result
from hybrid_ir.comparison.systems import System
from hybrid_ir.evaluation.rank_table import VIEWS
from hybrid_ir.evaluation.significance import ClusteredValues

# The columns of per_query.parquet that say what a row is about. All others are metrics.
KEY_COLUMNS = ("view", "query", "question_id", "query_language", "passage_language")
_NAMED_MODELS = 3  # in a title; the labels of systems name them all
# Largest difference of a mean in metrics.json from that of its rows, for means up to 1.
_TOLERANCE = 1e-6


@dataclass(frozen=True, eq=False)
class Rows:
    """What the rows of a per_query.parquet are about, in one order whatever that of the file.

    Attributes:
        order_V: The permutation that sorts the columns of the file into this order.
        query_V: The number of the query.
        cluster_V: Index into `questions`.
        setting_V: Index into `settings`.
        questions: C ids.
        settings: S triples of view, query language, and passage language or "all".
    """

    order_V: np.ndarray
    query_V: np.ndarray
    cluster_V: np.ndarray
    setting_V: np.ndarray
    questions: np.ndarray
    settings: tuple[tuple[str, str, str], ...]

    def equals(self, other: "Rows") -> bool:
        """Returns whether both are about the same queries, questions and settings."""
        return (
            self.settings == other.settings
            and np.array_equal(self.query_V, other.query_V)
            and np.array_equal(self.cluster_V, other.cluster_V)
            and np.array_equal(self.setting_V, other.setting_V)
            and np.array_equal(self.questions, other.questions)
        )


@dataclass(frozen=True, eq=False)
class MetricValues:
    """A metric of every system.

    Attributes:
        averaged: For each system, its values averaged over seeds within every row.
        setting_means: For each system the means (N, S) of each seed over the rows of a setting, NaN
            where the metric is defined for no row.
    """

    averaged: tuple[ClusteredValues, ...]
    setting_means: tuple[np.ndarray, ...]


@dataclass(frozen=True, eq=False)
class Section:
    """The systems that were measured on one benchmark with the same choices.

    Attributes:
        name: The name of the benchmark, with its choices where there are several sections of it.
        stem: The beginning of the names of the section's files.
        systems: The systems in the order of tables.
        baselines: For each system the place of the one it is tested against, or None.
        rows: What the rows of all results are about.
        orders: For each result folder the permutation that sorts its columns into that order.
        notes: What readers should know about the results.
        query_texts: The texts of the benchmark's queries, if its data were loaded.
    """

    name: str
    stem: str
    systems: tuple[System, ...]
    baselines: tuple[int | None, ...]
    rows: Rows
    orders: dict[Path, np.ndarray]
    notes: tuple[str, ...]
    query_texts: Sequence[str] | None = None
    _loaded_metrics: dict[str, MetricValues] = field(default_factory=dict, repr=False)

    @property
    def results(self) -> list[Result]:
        """The results of all systems."""
        results = []
        for system in self.systems:
            results += system.results
        return results

    @property
    def first_result(self) -> Result:
        """The result whose description of the benchmark stands for all."""
        return self.systems[0].results[0]

    @property
    def benchmark(self) -> str:
        """The name of the benchmark without its choices."""
        return self.first_result.benchmark

    @property
    def benchmark_metrics(self) -> dict[str, Any]:
        """The benchmark as metrics.json describes it."""
        return self.first_result.metrics["benchmark"]

    @property
    def benchmark_card(self) -> dict[str, Any]:
        """The benchmark as the first card with a record of it does, empty where none has one."""
        for result in self.results:
            if result.benchmark_card:
                return result.benchmark_card
        return {}

    @property
    def sha256(self) -> str | None:
        """The hash of the benchmark's content, if a card holds it."""
        for result in self.results:
            digest = result.benchmark_card.get("sha256")
            if digest:
                return digest
        return None

    @property
    def languages(self) -> list[str]:
        """The languages of the benchmark."""
        return self.benchmark_metrics["languages"]

    @property
    def title(self) -> str:
        """The name with that of the model, or of the models, for pictures that stand alone."""
        models = list(dict.fromkeys(system.model for system in self.systems))
        if len(models) > _NAMED_MODELS:
            models = [*models[:_NAMED_MODELS], "…"]
        return f"{self.name}, {', '.join(models)}"

    @property
    def tested_systems(self) -> list[tuple[int, int]]:
        """The places of every system that has a baseline, and of its baseline."""
        pairs = []
        for system, baseline in enumerate(self.baselines):
            if baseline is not None:
                pairs.append((system, baseline))
        return pairs

    def describe_baselines(self) -> str:
        """Returns the label of the one baseline, or words where there are several or none."""
        labels = {self.systems[baseline].label for _, baseline in self.tested_systems}
        return labels.pop() if len(labels) == 1 else "its baseline"

    def list_trained_once(self, places: Iterable[int]) -> list[str]:
        """Returns the labels of those of some systems that were trained with one seed only."""
        labels = []
        for place in places:
            system = self.systems[place]
            if len(system.results) == 1 and system.results[0].seed is not None:
                labels.append(system.label)
        return labels

    def select_settings(
        self,
        view: str,
        query_languages: Iterable[str] | None = None,
        passage_languages: Iterable[str] | None = None,
    ) -> np.ndarray:
        """Returns a mask (S) of the settings of a view, of some languages or of all."""
        mask = []
        for setting_view, query_language, passage_language in self.rows.settings:
            has_view = setting_view == view
            has_query = query_languages is None or query_language in query_languages
            has_passage = passage_languages is None or passage_language in passage_languages
            mask.append(has_view and has_query and has_passage)
        return np.array(mask)

    def list_metrics(self) -> list[str]:
        """Returns the names of the metrics in per_query.parquet."""
        columns = pq.read_schema(self.first_result.folder / "per_query.parquet").names
        return [name for name in columns if name not in KEY_COLUMNS]

    def read_values(self, result: Result, metric: str) -> np.ndarray:
        """Reads the metric of every row (V) of one result. Raises ValueError if it has none."""
        path = result.folder / "per_query.parquet"
        if metric not in self.list_metrics():
            raise ValueError(
                f"{path} has no column {metric!r}: choose one of {', '.join(self.list_metrics())}"
            )
        column = _read_per_query_columns(path, [metric])[metric].to_numpy()
        return column.astype(float)[self.orders[result.folder]]

    def average_over_seeds(self, system: int, metric: str) -> np.ndarray:
        """Returns the metric of every row (V), averaged over the seeds of a system."""
        values = [self.read_values(result, metric) for result in self.systems[system].results]
        return np.mean(values, axis=0)

    def load_metric(self, metric: str) -> MetricValues:
        """Loads a metric of every system; the second call returns what the first one loaded.

        Raises:
            ValueError: The metric is not defined for the same rows in all results, or the means in
                metrics.json are not those of the rows.
        """
        if metric not in self._loaded_metrics:
            values = self._compute_metric(metric)
            _require_means_of_rows(self, metric, values)
            self._loaded_metrics[metric] = values
        return self._loaded_metrics[metric]

    def _compute_metric(self, metric: str) -> MetricValues:
        shape = (len(self.rows.questions), len(self.rows.settings))
        reference_CS = None
        averaged = []
        setting_means = []
        for system in self.systems:
            seeds = []
            for result in system.results:
                values_V = self.read_values(result, metric)
                clustered = ClusteredValues.from_rows(
                    values_V, self.rows.cluster_V, self.rows.setting_V, shape
                )
                if reference_CS is None:
                    reference_CS = clustered.counts_CS
                if not np.array_equal(clustered.counts_CS, reference_CS):
                    raise ValueError(
                        f"{metric} is not defined for the same rows in {result.folder} and "
                        f"{self.first_result.folder}: measure both with the same version"
                    )
                seeds.append(clustered)
            sums_CS = sum(seed.sums_CS for seed in seeds) / len(seeds)
            averaged.append(ClusteredValues(sums_CS, seeds[0].counts_CS))
            setting_means.append(np.array([_average_settings(seed) for seed in seeds]))
        return MetricValues(tuple(averaged), tuple(setting_means))


def _average_settings(clustered: ClusteredValues) -> np.ndarray:
    """Returns the mean (S) over the rows of each setting, NaN where there are none."""
    counts_S = clustered.counts_CS.sum(0)
    return np.where(counts_S > 0, clustered.sums_CS.sum(0) / np.maximum(counts_S, 1), np.nan)


def _require_means_of_rows(section: Section, metric: str, values: MetricValues) -> None:
    """Raises ValueError naming every result whose macro means are not those of its own rows."""
    problems = []
    for system, means_NS in zip(section.systems, values.setting_means, strict=True):
        for result, means_S in zip(system.results, means_NS, strict=True):
            for view, recorded_means in result.metrics["macro_over_settings"].items():
                if view not in VIEWS or metric not in recorded_means:
                    continue
                recorded = recorded_means[metric]
                view_means = means_S[section.select_settings(view)]
                view_means = view_means[~np.isnan(view_means)]
                computed = view_means.mean() if len(view_means) else None
                if not _is_same_mean(recorded, computed):
                    problems.append(
                        f"{result.folder}: {view} {metric} is {recorded} in metrics.json but "
                        f"{computed} over the rows of per_query.parquet: measure it again"
                    )
    if problems:
        raise ValueError("; ".join(problems))


def _is_same_mean(recorded: float | None, computed: float | None) -> bool:
    if recorded is None or computed is None:
        return recorded is None and computed is None
    return abs(computed - recorded) <= _TOLERANCE * max(1, recorded)


def read_rows(path: Path) -> Rows:
    """Reads what the rows of a per_query.parquet are about.

    Raises:
        ValueError: The file is damaged, key columns are missing, or a row comes twice.
    """
    table = _read_per_query_columns(path, KEY_COLUMNS)
    view_names, view_V = _encode_column(table["view"])
    questions, cluster_V = _encode_column(table["question_id"])
    query_language_names, query_language_V = _encode_column(table["query_language"])
    passage_language_names, passage_language_V = _encode_column(table["passage_language"])
    query_V = table["query"].to_numpy()

    order_V = np.lexsort((query_V, passage_language_V, view_V))
    query_V = query_V[order_V]
    view_V = view_V[order_V]
    query_language_V = query_language_V[order_V]
    passage_language_V = passage_language_V[order_V]
    repeated = (np.diff(query_V) == 0) & (np.diff(view_V) == 0) & (np.diff(passage_language_V) == 0)
    if repeated.any():
        raise ValueError(
            f"{path}: query {query_V[:-1][repeated][0]} comes twice in one view and pool: measure "
            "the model again"
        )

    sizes = (len(view_names), len(query_language_names), len(passage_language_names))
    combined_V = np.ravel_multi_index((view_V, query_language_V, passage_language_V), sizes)
    combinations, setting_V = np.unique(combined_V, return_inverse=True)
    settings = []
    for view, query_language, passage_language in zip(
        *np.unravel_index(combinations, sizes), strict=True
    ):
        setting = (
            str(view_names[view]),
            str(query_language_names[query_language]),
            str(passage_language_names[passage_language]),
        )
        settings.append(setting)
    return Rows(order_V, query_V, cluster_V[order_V], setting_V, questions, tuple(settings))


def _encode_column(column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the distinct texts of a column in order, and for each row the place of its text."""
    encoded = pc.dictionary_encode(column.combine_chunks())
    texts = encoded.dictionary.to_numpy(zero_copy_only=False).astype(str)
    names, places = np.unique(texts, return_inverse=True)
    return names, places[encoded.indices.to_numpy()]


def _read_per_query_columns(path: Path, columns: Sequence[str]) -> pa.Table:
    """Reads some columns of a per_query.parquet.

    Raises ValueError for a file that is cut or damaged, that lacks the key columns or mAP, or whose
    columns hold something else than an evaluation writes.
    """
    try:
        schema = pq.read_schema(path)
        missing = [name for name in (*KEY_COLUMNS, "map") if name not in schema.names]
        if missing:
            raise ValueError(f"{path} lacks the columns {missing}: measure the model again")
        table = pq.read_table(path, columns=list(columns))
    except (pa.ArrowException, OSError) as error:
        raise ValueError(
            f"{path} is cut or damaged ({str(error).splitlines()[0]}): measure the model again"
        ) from error
    unexpected = []
    for name in columns:
        if table[name].null_count or not _is_expected_type(name, table[name].type):
            unexpected.append(name)
    if unexpected:
        raise ValueError(
            f"{path}: the columns {unexpected} hold nothing in some rows, or not what an "
            "evaluation writes: measure the model again"
        )
    return table


def _is_expected_type(column: str, kind: pa.DataType) -> bool:
    if column == "query":
        return pa.types.is_integer(kind)
    if column in KEY_COLUMNS:
        value_type = kind.value_type if pa.types.is_dictionary(kind) else kind
        return pa.types.is_string(value_type) or pa.types.is_large_string(value_type)
    return pa.types.is_floating(kind)
