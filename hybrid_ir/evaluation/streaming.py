"""Ranks a benchmark while its texts are encoded, with the top of its rankings and its geometry.

The ranks are those of the metric `MultilingualRetrieval`. Vectors come in the order queries,
relevant passages, other passages. In a distributed run the processes encode different texts: all
of them get all queries and relevant passages, and each counts the other passages that it encoded.

Shapes: Q queries, W vectors of relevant passages, M relevant passages of a sample, N rows of a
chunk, L languages, D width of the vectors.
"""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from hybrid_ir.evaluation.encoding import EncodedRows
from hybrid_ir.evaluation.language_bias import (
    NeighbourLanguages,
    compute_uniformity,
    sample_rows,
)
from hybrid_ir.evaluation.results import Results
from hybrid_ir.evaluation.retrieval_metric import MultilingualRetrieval
from hybrid_ir.evaluation.top_k import ScoreListener, TopK
from hybrid_ir.types import Benchmark

TOP_PASSAGES = 10  # passages at the top whose languages are counted
UNIT_TOLERANCE = 1e-3  # how far the length of a unit vector may be from 1


class StreamedRanking:
    """Ranks a benchmark while its texts are encoded.

    It holds the vectors of the queries and the relevant passages, never those of the others.

    Args:
        benchmark: that is ranked.
        temperature: of the InfoNCE loss over the whole corpus; None for no loss.
        run_depth: how many passages at the top of every query are kept for a run file.
        with_geometry: measure the languages at the top of the rankings and the geometry of the
            vectors, too, which costs more than the ranks.
        has_windows: passages may come as several windows; they then have no single place in space,
            and no geometry.

    Raises:
        ValueError: No query of the benchmark has a relevant passage.
    """

    def __init__(
        self,
        benchmark: Benchmark,
        temperature: float | None = None,
        run_depth: int = 0,
        with_geometry: bool = False,
        has_windows: bool = False,
    ):
        self.benchmark = benchmark
        self.temperature = temperature
        self.run_depth = run_depth
        self.with_geometry = with_geometry
        self.has_windows = has_windows
        self.metric = MultilingualRetrieval(benchmark, temperature, observer=self)
        self.runs: dict[str, TopK] = {}  # the top of the ranking by view, where it is wanted
        self._neighbours: NeighbourLanguages | None = None
        self._top: TopK | None = None

    def add(self, encoded: EncodedRows) -> None:
        """Takes in the vectors of a chunk; all windows of a passage come at once.

        Raises:
            ValueError: Some vector is not finite.
        """
        if encoded.vectors_ND.device != self.metric.device:
            self.metric.to(encoded.vectors_ND.device)
        if encoded.stage == "others":
            # also for a chunk without rows: all processes have to exchange what they hold before
            # any of them goes on
            self.metric.share()
        self.metric.update(encoded.vectors_ND, encoded.rows_N, encoded.role)

    def results(self) -> Results:
        """Finishes the counts and computes every metric.

        Raises:
            ValueError: Not all texts of the benchmark were added.
        """
        results = self.metric.compute()
        tops = [self._top, *self.runs.values()]
        if self._neighbours is not None:
            tops.append(self._neighbours.top)
        for top in tops:
            if top is not None:
                top.merge_ranks()
        return replace(results, geometry=self._measure_geometry())

    def start(self, queries: EncodedRows, relevant: EncodedRows) -> Sequence[ScoreListener]:
        """Creates what listens to the scores, see `CountingObserver`."""
        longest_query = queries.vectors_ND.norm(dim=1).max()
        longest_passage = relevant.vectors_ND.norm(dim=1).max()
        if self.with_geometry and not self.has_windows:
            self._neighbours = self._sample_neighbours(relevant)
        query_languages_Q = self.benchmark.query_languages[queries.rows_N]
        return self._create_tops(query_languages_Q, float(longest_query * longest_passage))

    def count(self, encoded: EncodedRows) -> None:
        """Looks for neighbours among passages that are counted, see `CountingObserver`."""
        if self._neighbours is not None:
            languages_N = self.benchmark.passage_languages[encoded.rows_N]
            self._neighbours.add(encoded.rows_N, encoded.vectors_ND, languages_N)

    def _create_tops(
        self, query_languages_Q: np.ndarray, largest_score: float
    ) -> list[ScoreListener]:
        """Creates the tops of the rankings that are wanted."""
        queries = len(query_languages_Q)
        listeners: list[ScoreListener] = []
        if self.with_geometry:
            # twice as deep as asked for, because of ties at the edge
            self._top = TopK(queries, 2 * TOP_PASSAGES, largest=largest_score)
            listeners.append(self._top)
        if self.run_depth:
            self.runs = {
                "mono": TopK(queries, self.run_depth, query_languages_Q, largest=largest_score),
                "multi": TopK(queries, self.run_depth, largest=largest_score),
            }
            listeners += self.runs.values()
        return listeners

    def _sample_neighbours(self, relevant: EncodedRows) -> NeighbourLanguages | None:
        """Samples relevant passages, to look for their neighbours; None unless of unit length."""
        distance_to_unit_W = (relevant.vectors_ND.norm(dim=1) - 1).abs()
        if not distance_to_unit_W.max() < UNIT_TOLERANCE:
            return None
        sample_M = sample_rows(np.unique(relevant.rows_N), self.benchmark.passage_ids)
        place_M = torch.from_numpy(np.searchsorted(relevant.rows_N, sample_M))
        vectors_MD = relevant.vectors_ND[place_M.to(relevant.vectors_ND.device)]
        return NeighbourLanguages(sample_M, vectors_MD, self.benchmark.passage_languages[sample_M])

    def _measure_geometry(self) -> dict[str, Any]:
        """Measures the languages at the top of the rankings and the geometry of the vectors."""
        if not self.with_geometry:
            return {}
        geometry: dict[str, Any] = {f"language_mix@{TOP_PASSAGES}": self._measure_language_mix()}
        if self._neighbours is not None:
            geometry["same_language_neighbours"] = self._neighbours.compute_same_language_share()
            geometry["uniformity"] = compute_uniformity(self._neighbours.vectors_MD)
        return geometry

    def _measure_language_mix(self) -> list[list[float]]:
        """Averages the share of each language at the top by query language (L, L)."""
        benchmark = self.benchmark
        shares_QL = self._top.compute_language_shares(TOP_PASSAGES, len(benchmark.languages))
        mix = []
        with warnings.catch_warnings():  # a language without queries has no mean
            warnings.simplefilter("ignore", RuntimeWarning)
            for code in range(len(benchmark.languages)):
                mix.append(np.nanmean(shares_QL[benchmark.query_languages == code], 0))
        return np.stack(mix).tolist()
