"""Section: the systems measured on one benchmark, their rows aligned and summed by question and setting.

Shapes: V rows (a query in one pool) in the order of view, pool and query, C questions, S settings, A systems.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from hybrid_ir.comparison.results import Result
from hybrid_ir.comparison.rows import KEYS, Rows, read_rows
from hybrid_ir.comparison.systems import System, baselines_of, group
from hybrid_ir.evaluation.significance import Clustered
from hybrid_ir.types import Benchmark

VIEWS = ("mono", "cross", "multi")
CHECKED = {"map": VIEWS, "rank_distance": ("multi",)}  # recomputed from per_query.parquet and held against metrics.json


@dataclass(frozen=True, eq=False)
class Measured:
    """A metric of every system: averaged over seeds within every row, and the setting means of each seed."""

    averaged: tuple[Clustered, ...]  # A
    seeds: tuple[np.ndarray, ...]  # A arrays (seeds, S); NaN where nothing is defined


@dataclass(frozen=True, eq=False)
class Section:
    """One benchmark; `texts` are its queries by row, if somebody read them."""

    name: str
    systems: tuple[System, ...]
    baselines: tuple[int | None, ...]  # per system, the one it is tested against
    rows: Rows
    orders: dict[Path, np.ndarray]
    notes: tuple[str, ...]
    texts: Sequence[str] | None = None
    _measured: dict[str, Measured] = field(default_factory=dict, repr=False)

    @property
    def first(self) -> Result:
        return self.systems[0].results[0]

    @property
    def languages(self) -> list[str]:
        return self.first.metrics["benchmark"]["languages"]

    def mask(self, view: str, asked: Iterable[str] | None = None, pool: Iterable[str] | None = None) -> np.ndarray:
        """True (S) for the settings of a view whose query and passage languages are among those given."""
        return np.array([v == view and (asked is None or q in asked) and (pool is None or p in pool)
                         for v, q, p in self.rows.settings])

    def metrics(self) -> list[str]:
        return [name for name in pq.read_schema(self.first.folder / "per_query.parquet").names if name not in KEYS]

    def values(self, result: Result, metric: str) -> np.ndarray:
        """The metric of every row (V) of one result."""
        path = result.folder / "per_query.parquet"
        if metric not in pq.read_schema(path).names:
            raise ValueError(f"{path} has no column {metric!r}: choose one of {', '.join(self.metrics())}")
        column = pq.read_table(path, columns=[metric])[metric].to_numpy()
        return column.astype(float)[self.orders[result.folder]]

    def measure(self, metric: str) -> Measured:
        """ValueError when the metric is not defined for the same rows in all results."""
        if metric not in self._measured:
            shape = (len(self.rows.questions), len(self.rows.settings))
            averaged, seeds = [], []
            for system in self.systems:
                found = [Clustered.of(self.values(result, metric), self.rows.cluster_V, self.rows.setting_V, shape)
                         for result in system.results]
                for result, one in zip(system.results, found, strict=True):
                    if not np.array_equal(one.counts_CS, (averaged or found)[0].counts_CS):
                        raise ValueError(f"{metric} is not defined for the same rows in {result.folder} and {self.first.folder}: "
                                         "measure both with the same version")
                averaged.append(Clustered(sum(one.sums_CS for one in found) / len(found), found[0].counts_CS))
                counts_S = found[0].counts_CS.sum(0)
                seeds.append(np.array([np.where(counts_S > 0, one.sums_CS.sum(0) / np.maximum(counts_S, 1), np.nan)
                                       for one in found]))
            self._measured[metric] = Measured(tuple(averaged), tuple(seeds))
        return self._measured[metric]


def sections(results: Sequence[Result], baseline: str | None = None) -> list[Section]:
    """One section per benchmark, in the order met.

    Raises:
        ValueError: results of one benchmark with different data, choices or pools, or that cannot be paired; all of them.
    """
    names = list(dict.fromkeys(result.benchmark for result in results))
    parts, wrong = {name: [result for result in results if result.benchmark == name] for name in names}, []
    for theirs in parts.values():
        wrong += differences(theirs)
    if wrong:
        raise ValueError("; ".join(wrong))
    return [section(name, theirs, baseline) for name, theirs in parts.items()]


def with_texts(section: Section, benchmark: Benchmark) -> Section:
    """ValueError when the benchmark is not the one that was measured."""
    said = section.first.metrics["benchmark"]
    mine = {"name": benchmark.name, "choices": benchmark.source.choices, "queries": len(benchmark.queries),
            "languages": list(benchmark.languages)}
    wrong = [f"{key} is {value} here but {said[key]} in the results" for key, value in mine.items() if value != said[key]]
    if wrong:
        raise ValueError(f"benchmark={section.name}: {'; '.join(wrong)}: give the keys that the results were measured with, such "
                         f"as benchmark.{section.name}.max_queries")
    return replace(section, texts=benchmark.queries)


def differences(results: Sequence[Result]) -> list[str]:
    """Why results of one benchmark are not comparable with the first; what nobody wrote down is not compared."""
    def facts(result: Result) -> dict:
        card, measured = result.card.get("benchmark") or {}, result.metrics["benchmark"]
        return {"sha256": card.get("sha256"), "choices": measured["choices"], "pool": measured["pool"],
                "queries": measured["queries"]}
    wrong, known = [], {}
    for result in results:
        for key, value in facts(result).items():
            if value is None:
                continue
            first, where = known.setdefault(key, (value, result.folder))
            if first != value:
                wrong.append(f"{result.benchmark}: {key} is {value} in {result.folder} but {first} in {where}: these numbers "
                             "cannot stand in one table, measure both the same way or compare them apart")
                break
    return wrong


def section(name: str, results: Sequence[Result], baseline: str | None) -> Section:
    systems, notes = group(results)
    rows, wrong = {}, []
    for system in systems:
        for result in system.results:
            rows[result.folder] = read_rows(result.folder / "per_query.parquet")
    (first, base), *others = rows.items()
    wrong += [f"{folder} and {first} do not hold the same queries, questions and pools: measure both the same way"
              for folder, one in others if not base.same(one)]
    if wrong:
        raise ValueError("; ".join(wrong))
    orders = {folder: one.order_V for folder, one in rows.items()}
    unknown = [str(result.folder) for result in results if not (result.card.get("benchmark") or {}).get("sha256")]
    if unknown and len(results) > 1:
        notes.append(f"nobody wrote down a hash of the data of {', '.join(unknown)}: only choices and pool sizes were compared")
    made = Section(name, tuple(systems), tuple(baselines_of(systems, baseline)), base, orders, tuple(notes))
    require_metrics_json(made)
    return made


def require_metrics_json(section: Section) -> None:
    """ValueError naming every result whose macro means are not those of its own rows."""
    wrong = []
    for metric, views in CHECKED.items():
        for system, means_S in zip(section.systems, section.measure(metric).seeds, strict=True):
            for result, row_S in zip(system.results, means_S, strict=True):
                for view in views:
                    mine, said = row_S[section.mask(view)], result.metrics["macro_over_settings"][view][metric]
                    mine = mine[~np.isnan(mine)]
                    if (said is None) != (not len(mine)) or (said is not None and abs(mine.mean() - said) > 1e-6 * max(1, said)):
                        wrong.append(f"{result.folder}: {view} {metric} is {said} in metrics.json but "
                                     f"{mine.mean() if len(mine) else None} over the rows of per_query.parquet: measure it again")
    if wrong:
        raise ValueError("; ".join(wrong))
