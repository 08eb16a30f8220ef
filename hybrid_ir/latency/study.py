"""What a latency measurement times together, and all that it found, as arrays and as a table."""

# R rounds, U units, V contestants, S stages: tokenise, encode, then one per search
# Q queries, W rows of the table

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from hybrid_ir.latency.settings import Search
from hybrid_ir.types import Benchmark

STAGES = ("tokenise", "encode", "search", "total")  # of a unit with one search
# places on the axis S; further searches follow the first
TOKENISE = 0
ENCODE = 1
FIRST_SEARCH = 2


@dataclass(frozen=True)
class Units:
    """What is timed as one: a query, or a batch of queries of one language.

    Args:
        batch_size: queries of a unit, at most.
        rows: the rows of the queries of each unit (U).
        languages_U: index into the languages of the benchmark.
        clusters_U: number of the question across languages; of a batch its first question's.
    """

    batch_size: int
    rows: Sequence[np.ndarray]
    languages_U: np.ndarray
    clusters_U: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def queries_U(self) -> np.ndarray:
        """The number of queries of each unit."""
        return np.array([len(rows) for rows in self.rows])


def cut_into_units(benchmark: Benchmark, batch_size: int) -> Units:
    """Cuts all queries, within their language, into batches that differ by at most one query.

    Batches of parallel queries hold the same questions in every language.
    """
    distinct_questions = dict.fromkeys(benchmark.question_ids)
    numbers = {question: number for number, question in enumerate(distinct_questions)}
    clusters_Q = np.array([numbers[question] for question in benchmark.question_ids])
    batches: list[np.ndarray] = []
    languages: list[int] = []
    for language in range(len(benchmark.languages)):
        rows = np.flatnonzero(benchmark.query_languages == language)
        if len(rows) == 0:
            continue
        rows = rows[np.argsort(clusters_Q[rows], kind="stable")]
        number_of_batches = -(-len(rows) // batch_size)  # rounded up
        batches += np.array_split(rows, number_of_batches)
        languages += [language] * number_of_batches
    return Units(
        batch_size,
        rows=batches,
        languages_U=np.array(languages),
        clusters_U=np.array([clusters_Q[rows[0]] for rows in batches]),
    )


@dataclass(frozen=True)
class Timings:
    """Nanoseconds of every stage of every unit, for each contestant and round."""

    units: Units
    ns_RUVS: np.ndarray

    def get_stages(self, contestant: int, search: int) -> dict[str, np.ndarray]:
        """Returns the nanoseconds (R, U) of tokenise, encode, search and their total."""
        ns_RUS = self.ns_RUVS[:, :, contestant]
        tokenise_RU = ns_RUS[..., TOKENISE]
        encode_RU = ns_RUS[..., ENCODE]
        search_RU = ns_RUS[..., FIRST_SEARCH + search]
        return {
            "tokenise": tokenise_RU,
            "encode": encode_RU,
            "search": search_RU,
            "total": tokenise_RU + encode_RU + search_RU,
        }


@dataclass(frozen=True)
class Study:
    """All that one measurement found.

    Args:
        benchmark: whose queries were timed.
        contestants: checkpoint and backend of each.
        searches: what was searched with.
        tokens: tokens (Q) of the queries by checkpoint.
        timings: one for each batch size.
    """

    benchmark: Benchmark
    contestants: Sequence[tuple[str, str]]
    searches: Sequence[Search]
    tokens: dict[str, np.ndarray]
    timings: Sequence[Timings]

    @property
    def checkpoints(self) -> list[str]:
        """The checkpoints, each once, in the order of the contestants."""
        return list(dict.fromkeys(checkpoint for checkpoint, _ in self.contestants))

    @property
    def backends(self) -> list[str]:
        """The backends, each once, in the order of the contestants."""
        return list(dict.fromkeys(backend for _, backend in self.contestants))

    def build_table(self) -> pa.Table:
        """Builds a table with a row per batch size, round, unit, contestant and search.

        tokenise_ns and encode_ns are measured once for all searches of a unit and stand in the row
        of each. `query` is the row of the unit's first query in the benchmark, `tokens` are those
        of all its queries.
        """
        return pa.concat_tables([self._build_rows(timings) for timings in self.timings])

    def _build_rows(self, timings: Timings) -> pa.Table:
        units = timings.units
        ns_RUVS = timings.ns_RUVS
        rounds, unit_count, contestant_count, _ = ns_RUVS.shape
        shape = (rounds, unit_count, contestant_count, len(self.searches))
        indices = np.indices(shape, np.int32)
        round_W, unit_W, contestant_W, search_W = (axis.ravel() for axis in indices)
        tokens_VU = self._count_tokens(units)
        first_U = np.array([rows[0] for rows in units.rows])
        pools = np.array([search.pool for search in self.searches])
        checkpoints = [checkpoint for checkpoint, _ in self.contestants]
        backends = [backend for _, backend in self.contestants]
        kinds = [search.kind for search in self.searches]
        questions = list(self.benchmark.question_ids)
        languages = list(self.benchmark.languages)
        language_W = units.languages_U[unit_W].astype(np.int32)
        return pa.table(
            {
                "checkpoint": _build_dictionary_column(contestant_W, checkpoints),
                "backend": _build_dictionary_column(contestant_W, backends),
                "batch_size": np.full(len(round_W), units.batch_size, np.int32),
                "search": _build_dictionary_column(search_W, kinds),
                "pool": pools[search_W],
                "round": round_W,
                "query": first_U[unit_W],
                "question": _build_dictionary_column(first_U[unit_W].astype(np.int32), questions),
                "language": _build_dictionary_column(language_W, languages),
                "queries": units.queries_U[unit_W],
                "tokens": tokens_VU[contestant_W, unit_W],
                "tokenise_ns": np.repeat(ns_RUVS[..., TOKENISE].ravel(), len(self.searches)),
                "encode_ns": np.repeat(ns_RUVS[..., ENCODE].ravel(), len(self.searches)),
                "search_ns": ns_RUVS[..., FIRST_SEARCH:].ravel(),
            }
        )

    def _count_tokens(self, units: Units) -> np.ndarray:
        """Returns the tokens (V, U) of all queries of a unit, as each contestant reads them."""
        tokens_V = []
        for checkpoint, _ in self.contestants:
            tokens_Q = self.tokens[checkpoint]
            tokens_V.append([tokens_Q[rows].sum() for rows in units.rows])
        return np.array(tokens_V)


def _build_dictionary_column(index_W: np.ndarray, names: list[str]) -> pa.DictionaryArray:
    """Builds a column of texts from their places in a list, in which a name may stand twice."""
    distinct = list(dict.fromkeys(names))
    places = {name: place for place, name in enumerate(distinct)}
    renumbered = np.array([places[name] for name in names], np.int32)
    return pa.DictionaryArray.from_arrays(renumbered[index_W], distinct)
