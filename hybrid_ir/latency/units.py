"""What is timed as one: a query, or a batch of queries of one language."""

# Q queries, U units

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hybrid_ir.types import Benchmark


@dataclass(frozen=True)
class Units:
    """Rows of the benchmark that are timed together; `clusters_U` numbers their questions across languages."""

    batch_size: int
    rows: Sequence[np.ndarray]  # U arrays of rows of the queries
    languages_U: np.ndarray  # index into the languages of the benchmark
    clusters_U: np.ndarray  # of a batch: its first question

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def queries_U(self) -> np.ndarray:
        return np.array([len(rows) for rows in self.rows])


def units(benchmark: Benchmark, batch_size: int) -> Units:
    """All queries, cut within their language into batches of at most `batch_size` that differ by at most one query.

    Batches of parallel queries hold the same questions in every language.
    """
    number = {question: i for i, question in enumerate(dict.fromkeys(benchmark.question_ids))}
    clusters_Q = np.array([number[question] for question in benchmark.question_ids])
    rows, languages = [], []
    for language in range(len(benchmark.languages)):
        mine = np.flatnonzero(benchmark.query_languages == language)
        if len(mine):
            mine = mine[np.argsort(clusters_Q[mine], kind="stable")]
            batches = np.array_split(mine, -(-len(mine) // batch_size))
            rows += batches
            languages += [language] * len(batches)
    return Units(
        batch_size, rows, np.array(languages), np.array([clusters_Q[batch[0]] for batch in rows])
    )
