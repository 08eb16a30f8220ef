"""All that one measurement found, as arrays, and its columns for a file."""

# R rounds, U units, V contestants, S stages; Q queries, W rows of the file

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from hybrid_ir.latency.measure import ENCODE, SEARCH, TOKENISE, Timings
from hybrid_ir.latency.settings import Search
from hybrid_ir.types import Benchmark


@dataclass(frozen=True)
class Study:
    """Contestants (checkpoint, backend), searches, tokens (Q,) of each checkpoint's queries, timings of each batch size."""

    benchmark: Benchmark
    contestants: Sequence[tuple[str, str]]
    searches: Sequence[Search]
    tokens: dict[str, np.ndarray]
    timings: Sequence[Timings]

    @property
    def checkpoints(self) -> list[str]:
        return list(dict.fromkeys(checkpoint for checkpoint, _ in self.contestants))

    @property
    def backends(self) -> list[str]:
        return list(dict.fromkeys(backend for _, backend in self.contestants))

    def table(self) -> pa.Table:
        """A row per batch size, round, unit, contestant and search.

        tokenise_ns and encode_ns are measured once for all searches of a unit and stand in the row of each.
        `query` is the row of the unit's first query in the benchmark, `tokens` are those of all its queries.
        """
        return pa.concat_tables([self._rows(timings) for timings in self.timings])

    def _rows(self, timings: Timings) -> pa.Table:
        rounds, count, contestants, _ = timings.ns_RUVS.shape
        shape = (rounds, count, contestants, len(self.searches))
        round_W, unit_W, contestant_W, search_W = (
            axis.ravel() for axis in np.indices(shape, np.int32)
        )
        units, ns_RUVS = timings.units, timings.ns_RUVS
        tokens_VU = np.array(
            [
                [self.tokens[checkpoint][rows].sum() for rows in units.rows]
                for checkpoint, _ in self.contestants
            ]
        )
        first_U = np.array([rows[0] for rows in units.rows])

        def over_searches(stage: int) -> np.ndarray:
            return np.repeat(ns_RUVS[..., stage].ravel(), len(self.searches))

        return pa.table(
            {
                "checkpoint": named(
                    contestant_W, [checkpoint for checkpoint, _ in self.contestants]
                ),
                "backend": named(contestant_W, [backend for _, backend in self.contestants]),
                "batch_size": np.full(len(round_W), units.batch_size, np.int32),
                "search": named(search_W, [search.kind for search in self.searches]),
                "pool": np.array([search.pool for search in self.searches])[search_W],
                "round": round_W,
                "query": first_U[unit_W],
                "question": named(
                    first_U[unit_W].astype(np.int32), list(self.benchmark.question_ids)
                ),
                "language": named(
                    units.languages_U[unit_W].astype(np.int32), list(self.benchmark.languages)
                ),
                "queries": units.queries_U[unit_W],
                "tokens": tokens_VU[contestant_W, unit_W],
                "tokenise_ns": over_searches(TOKENISE),
                "encode_ns": over_searches(ENCODE),
                "search_ns": ns_RUVS[..., SEARCH:].ravel(),
            }
        )


def named(index_W: np.ndarray, names: list[str]) -> pa.DictionaryArray:
    """Texts by their place in a list, as one column; a name may stand in the list twice."""
    distinct = list(dict.fromkeys(names))
    place = {name: i for i, name in enumerate(distinct)}
    renumbered = np.array([place[name] for name in names], np.int32)
    return pa.DictionaryArray.from_arrays(renumbered[index_W], distinct)
