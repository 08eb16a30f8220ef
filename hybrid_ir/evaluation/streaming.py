"""StreamedRanking: vectors in, in the order queries, relevant passages, other passages; results out."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from hybrid_ir.evaluation.ranking import RankCounter, padded, relevant_rows
from hybrid_ir.evaluation.views import Results
from hybrid_ir.types import Benchmark


class StreamedRanking:
    """Ranks a benchmark while its texts are encoded; holds queries and relevant passages, never the other passages.

    With `center` each language's mean vector is subtracted first, from queries and passages by their own means: the
    training-free baseline against language bias. The means are those of the benchmark itself, so all is held.
    """

    def __init__(self, benchmark: Benchmark, temperature: float | None = None, center: bool = False):
        self.benchmark, self.temperature, self.center = benchmark, temperature, center
        self.held: dict[str, list[tuple[np.ndarray, torch.Tensor]]] = {"queries": [], "relevant": [], "others": []}
        self.counter: RankCounter | None = None
        self.added = [0, 0]  # passages, queries

    def add(self, stage: str, rows: Sequence[np.ndarray], vectors_BD: torch.Tensor) -> None:
        """Take the vectors of some texts; `rows[i]` are all rows of queries or passages that have text i."""
        texts_N = torch.from_numpy(np.repeat(np.arange(len(rows)), [len(group) for group in rows])).to(vectors_BD.device)
        self.held[stage].append((np.concatenate(rows), vectors_BD.detach()[texts_N]))
        self.added[stage == "queries"] += len(texts_N)
        if stage == "others" and not self.center:
            self._start()
            self._count(*self._take("others"))

    def results(self) -> Results:
        """The finished counts and every metric; ValueError where not all texts of the benchmark were added."""
        expected = [len(self.benchmark.passages), len(self.benchmark.queries)]
        if self.added != expected:
            raise ValueError(f"{self.benchmark.name}: {self.added[1]:,} of {expected[1]:,} queries and {self.added[0]:,} of "
                             f"{expected[0]:,} passages were encoded; ranks need the whole pool. Remove "
                             "trainer.limit_test_batches, and set trainer.limit_val_batches to 1.0, or 0 for no validation")
        if self.center:
            self._subtract_means()
        self._start()
        if self.held["others"]:
            self._count(*self._take("others"))
        return Results.of(self.counter.table(), self.benchmark)

    def _subtract_means(self) -> None:
        for stages, languages in ((("queries",), self.benchmark.query_languages),
                                  (("relevant", "others"), self.benchmark.passage_languages)):
            held = [part for stage in stages for part in self.held[stage]]
            languages_N = torch.from_numpy(np.concatenate([languages[rows] for rows, _ in held]))
            vectors_ND = torch.cat([vectors for _, vectors in held])
            for language in languages_N.unique():
                mine_N = (languages_N == language).to(vectors_ND.device)
                vectors_ND[mine_N] -= vectors_ND[mine_N].double().mean(0).float()
            parts = F.normalize(vectors_ND, dim=-1).split([len(rows) for rows, _ in held])
            for stage in stages:
                self.held[stage] = [(rows, part) for (rows, _), part in zip(self.held[stage], parts, strict=False)]
                parts = parts[len(self.held[stage]):]

    def _start(self) -> None:
        """With queries and relevant passages complete, the thresholds are known and counting can begin."""
        if self.counter is not None:
            return
        query_rows_Q, queries_QD = self._take("queries")
        rows_N, vectors_ND = self._take("relevant")
        benchmark = self.benchmark
        relevant_QR = padded(benchmark.relevant)
        rows_U = relevant_rows(relevant_QR)
        places_U = torch.from_numpy(np.searchsorted(rows_N, rows_U))
        self.counter = RankCounter(queries_QD, benchmark.query_languages[query_rows_Q], relevant_QR, vectors_ND[places_U],
                                   benchmark.passage_languages[rows_U], benchmark.languages, self.temperature)
        self._count(rows_N, vectors_ND)

    def _count(self, rows_N: np.ndarray, vectors_ND: torch.Tensor) -> None:
        self.counter.add(rows_N, vectors_ND, self.benchmark.passage_languages[rows_N])

    def _take(self, stage: str) -> tuple[np.ndarray, torch.Tensor]:
        """All held vectors of a stage in the order of their rows; nothing is held any more."""
        rows_N = np.concatenate([rows for rows, _ in self.held[stage]])
        vectors_ND = torch.cat([vectors for _, vectors in self.held[stage]])
        self.held[stage] = []
        order_N = np.argsort(rows_N, kind="stable")
        return rows_N[order_N], vectors_ND[torch.from_numpy(order_N).to(vectors_ND.device)]

