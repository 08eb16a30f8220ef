"""Section: the systems measured on one benchmark, their rows aligned and summed by question and setting.

Shapes: V rows (a query in one pool) in the order of view, pool and query, C questions, S settings, A systems.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from hybrid_ir.comparison.baselines import baselines_of, is_named, require_named
from hybrid_ir.comparison.identity import identity_of
from hybrid_ir.comparison.results import Result
from hybrid_ir.comparison.rows import KEYS, Rows, read_columns, read_rows
from hybrid_ir.comparison.splitting import Measurements, split
from hybrid_ir.comparison.systems import System, group
from hybrid_ir.evaluation.significance import ClusteredValues

VIEWS = ("mono", "cross", "multi")
CHECKED = ("map", "rank_distance")  # in every comparison; other measures when they are asked for


@dataclass(frozen=True, eq=False)
class Measured:
    """A metric of every system: averaged over seeds within every row, and the setting means of each seed."""

    averaged: tuple[ClusteredValues, ...]  # A
    seeds: tuple[np.ndarray, ...]  # A arrays (seeds, S); NaN where nothing is defined


@dataclass(frozen=True, eq=False)
class Section:
    """One benchmark in one form; `texts` are its queries by row, if somebody read them."""

    name: str
    stem: str  # of the names of its files
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
    def benchmark(self) -> str:
        """Its own name, whatever the section is called."""
        return self.first.benchmark

    @property
    def described(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The benchmark as metrics.json and a card tell of it; the latter empty where there is no card."""
        cards = (result.card.get("benchmark") for result in self.results)
        return self.first.metrics["benchmark"], next(filter(None, cards), {})

    @property
    def sha256(self) -> str | None:
        """Of the benchmark's content, where a card tells."""
        return next(
            (
                found
                for result in self.results
                if (found := (result.card.get("benchmark") or {}).get("sha256"))
            ),
            None,
        )

    @property
    def results(self) -> list[Result]:
        return [result for system in self.systems for result in system.results]

    @property
    def languages(self) -> list[str]:
        return self.first.metrics["benchmark"]["languages"]

    def mask(
        self, view: str, asked: Iterable[str] | None = None, pool: Iterable[str] | None = None
    ) -> np.ndarray:
        """True (S) for the settings of a view whose query and passage languages are among those given."""
        return np.array(
            [
                v == view and (asked is None or q in asked) and (pool is None or p in pool)
                for v, q, p in self.rows.settings
            ]
        )

    def metrics(self) -> list[str]:
        return [
            name
            for name in pq.read_schema(self.first.folder / "per_query.parquet").names
            if name not in KEYS
        ]

    def values(self, result: Result, metric: str) -> np.ndarray:
        """The metric of every row (V) of one result."""
        path = result.folder / "per_query.parquet"
        if metric not in pq.read_schema(path).names:
            raise ValueError(
                f"{path} has no column {metric!r}: choose one of {', '.join(self.metrics())}"
            )
        column = read_columns(path, [metric])[metric].to_numpy()
        return column.astype(float)[self.orders[result.folder]]

    def measure(self, metric: str) -> Measured:
        """ValueError when the metric is not defined for the same rows in all results, or metrics.json says something else."""
        if metric not in self._measured:
            shape = (len(self.rows.questions), len(self.rows.settings))
            averaged, seeds = [], []
            for system in self.systems:
                found = [
                    ClusteredValues.of(
                        self.values(result, metric), self.rows.cluster_V, self.rows.setting_V, shape
                    )
                    for result in system.results
                ]
                for result, one in zip(system.results, found, strict=True):
                    if not np.array_equal(one.counts_CS, (averaged or found)[0].counts_CS):
                        raise ValueError(
                            f"{metric} is not defined for the same rows in {result.folder} and {self.first.folder}: "
                            "measure both with the same version"
                        )
                averaged.append(
                    ClusteredValues(
                        sum(one.sums_CS for one in found) / len(found), found[0].counts_CS
                    )
                )
                counts_S = found[0].counts_CS.sum(0)
                seeds.append(
                    np.array(
                        [
                            np.where(
                                counts_S > 0, one.sums_CS.sum(0) / np.maximum(counts_S, 1), np.nan
                            )
                            for one in found
                        ]
                    )
                )
            require_metrics_json(self, metric, seeds)
            self._measured[metric] = Measured(tuple(averaged), tuple(seeds))
        return self._measured[metric]


def build_sections(results: Sequence[Result], baseline: str | None = None) -> list[Section]:
    """One section per benchmark and its choices, in the order met.

    Raises:
        ValueError: results that cannot stand in one table or cannot be paired, or a baseline that is in no section.
    """
    parts = split(results)
    one_model = len({identity_of(result)["model"] for result in results}) == 1
    groups = [group(part.results, one_model) for part in parts]
    require_named([systems for systems, _ in groups], baseline)
    return [
        build_section(part, systems, notes, baseline)
        for part, (systems, notes) in zip(parts, groups, strict=True)
    ]


def build_section(
    part: Measurements, systems: Sequence[System], notes: Sequence[str], baseline: str | None
) -> Section:
    """Where no system is the baseline that was named for another benchmark, as if none was named."""
    rows = {
        result.folder: read_rows(result.folder / "per_query.parquet")
        for system in systems
        for result in system.results
    }
    (first, base), *others = rows.items()
    wrong = [
        f"{folder} and {first} do not hold the same queries, questions and pools: measure both the same way"
        for folder, one in others
        if not base.same(one)
    ]
    if wrong:
        raise ValueError("; ".join(wrong))
    orders, notes = {folder: one.order_V for folder, one in rows.items()}, list(notes)
    unknown = [
        str(result.folder)
        for result in part.results
        if not (result.card.get("benchmark") or {}).get("sha256")
    ]
    if unknown and len(part.results) > 1:
        notes.append(
            f"nobody wrote down a hash of the data of {', '.join(unknown)}: only choices and pool sizes were compared"
        )
    if baseline is not None and not is_named(systems, baseline):
        notes.append(
            f"{part.name}: baseline={baseline} is no system here, so the baseline is chosen as if none was named"
        )
        baseline = None
    baselines, told = baselines_of(systems, baseline)
    made = Section(
        part.name,
        part.stem,
        tuple(systems),
        tuple(baselines),
        base,
        orders,
        (*notes, *(f"{part.name}: {note}" for note in told)),
    )
    for metric in CHECKED:
        made.measure(metric)
    return made


def require_metrics_json(section: Section, metric: str, seeds: Sequence[np.ndarray]) -> None:
    """ValueError naming every result whose macro means are not those of its own rows; `seeds` as in Measured."""
    wrong = []
    for system, means_S in zip(section.systems, seeds, strict=True):
        for result, row_S in zip(system.results, means_S, strict=True):
            for view, means in result.metrics["macro_over_settings"].items():
                if view not in VIEWS or metric not in means:
                    continue
                mine, said = row_S[section.mask(view)], means[metric]
                mine = mine[~np.isnan(mine)]
                if (said is None) != (not len(mine)) or (
                    said is not None and abs(mine.mean() - said) > 1e-6 * max(1, said)
                ):
                    wrong.append(
                        f"{result.folder}: {view} {metric} is {said} in metrics.json but "
                        f"{mine.mean() if len(mine) else None} over the rows of per_query.parquet: measure it again"
                    )
    if wrong:
        raise ValueError("; ".join(wrong))
