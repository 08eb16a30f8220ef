"""Ranks a benchmark while its texts are encoded.

Vectors come in the order queries, relevant passages, other passages. In a distributed run the
processes encode different texts: all of them get all queries and relevant passages, and each
counts the other passages that it encoded.

Shapes: Q queries, U distinct relevant passages, W windows of them (U where each passage has one),
M relevant passages of a sample, N rows of a chunk, L languages, D width of the vectors.
"""

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from hybrid_ir.distributed import gather_uneven, sum_over_ranks
from hybrid_ir.evaluation.encoding import EncodedRows
from hybrid_ir.evaluation.exact_scores import require_finite
from hybrid_ir.evaluation.language_bias import (
    NeighbourLanguages,
    compute_uniformity,
    sample_rows,
)
from hybrid_ir.evaluation.rank_counter import RankCounter
from hybrid_ir.evaluation.rank_table import list_relevant_rows, pad_rows
from hybrid_ir.evaluation.results import Results
from hybrid_ir.evaluation.top_k import ScoreListener, TopK
from hybrid_ir.types import STAGES, Benchmark

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
        require_relevant_passages(benchmark)
        self.benchmark = benchmark
        self.temperature = temperature
        self.run_depth = run_depth
        self.with_geometry = with_geometry
        self.has_windows = has_windows
        self.runs: dict[str, TopK] = {}  # the top of the ranking by view, where it is wanted
        self._held: dict[str, list[EncodedRows]] = {stage: [] for stage in STAGES}
        self._counter: RankCounter | None = None
        self._neighbours: NeighbourLanguages | None = None
        self._top: TopK | None = None
        self._passages_added = 0
        self._queries_added = 0
        self._device = torch.device("cpu")  # then that of the vectors

    def add(self, encoded: EncodedRows) -> None:
        """Takes in the vectors of a chunk; all windows of a passage come at once.

        Raises:
            ValueError: Some vector is not finite.
        """
        # checked here, and not only when the counter checks it after hours of encoding
        require_finite(encoded.vectors_ND, encoded.role, encoded.rows_N)
        texts = len(np.unique(encoded.rows_N))
        if encoded.role == "query":
            self._queries_added += texts
        else:
            self._passages_added += texts
        self._device = encoded.vectors_ND.device
        if encoded.stage != "others":
            self._held[encoded.stage].append(encoded)
            return
        # also for a chunk without rows: all processes have to exchange what they hold before any
        # of them goes on
        self._start_counting()
        if len(encoded.rows_N):
            self._count(encoded)

    def results(self) -> Results:
        """Finishes the counts and computes every metric.

        Raises:
            ValueError: Not all texts of the benchmark were added.
        """
        self._require_all_texts()
        self._start_counting()
        for total in self._counter.sums().values():
            total.copy_(sum_over_ranks(total))
        tops = [self._top, *self.runs.values()]
        if self._neighbours is not None:
            tops.append(self._neighbours.top)
        for top in tops:
            if top is not None:
                top.merge_ranks()
        results = Results.from_table(self._counter.table(), self.benchmark)
        return replace(results, geometry=self._measure_geometry())

    def _require_all_texts(self) -> None:
        expected = [len(self.benchmark.passages), len(self.benchmark.queries)]
        added_here = torch.tensor([self._passages_added, self._queries_added], device=self._device)
        added = sum_over_ranks(added_here).tolist()
        if added != expected:
            raise ValueError(
                f"{self.benchmark.name}: {added[1]:,} of {expected[1]:,} queries and {added[0]:,} "
                f"of {expected[0]:,} passages were encoded; ranks need the whole pool. Remove "
                "trainer.limit_test_batches, and set trainer.limit_val_batches to 1.0, or 0 for "
                "no validation"
            )

    def _start_counting(self) -> None:
        """Creates the counter, once all queries and relevant passages are there."""
        if self._counter is not None:
            return
        benchmark = self.benchmark
        held_here = self._held["relevant"]
        queries = self._gather("queries")
        relevant = self._gather("relevant")
        relevant_QR = pad_rows(benchmark.relevant)
        rows_U = list_relevant_rows(relevant_QR)
        if len(relevant.rows_N) > len(rows_U):
            # there are windows, or passages that read like a relevant one and are none
            is_relevant_W = np.isin(relevant.rows_N, rows_U)
            relevant = _select(relevant, is_relevant_W)
        query_languages_Q = benchmark.query_languages[queries.rows_N]
        longest_query = queries.vectors_ND.norm(dim=1).max()
        longest_passage = relevant.vectors_ND.norm(dim=1).max()
        listeners = self._create_tops(query_languages_Q, float(longest_query * longest_passage))
        if self.with_geometry and not self.has_windows:
            self._neighbours = self._sample_neighbours(rows_U, relevant)
        self._counter = RankCounter(
            queries_QD=queries.vectors_ND,
            query_languages_Q=query_languages_Q,
            relevant_QR=relevant_QR,
            relevant_vectors_WD=relevant.vectors_ND,
            relevant_languages_U=benchmark.passage_languages[rows_U],
            languages=benchmark.languages,
            temperature=self.temperature,
            relevant_rows_W=relevant.rows_N,
            listeners=listeners,
            own_rows_Q=benchmark.own_passages,
        )
        for encoded in held_here:
            self._count(encoded)

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

    def _sample_neighbours(
        self, rows_U: np.ndarray, relevant: EncodedRows
    ) -> NeighbourLanguages | None:
        """Samples relevant passages, to look for their neighbours; None unless of unit length."""
        distance_to_unit_W = (relevant.vectors_ND.norm(dim=1) - 1).abs()
        if not distance_to_unit_W.max() < UNIT_TOLERANCE:
            return None
        sample_M = sample_rows(rows_U, self.benchmark.passage_ids)
        place_M = torch.from_numpy(np.searchsorted(relevant.rows_N, sample_M))
        vectors_MD = relevant.vectors_ND[place_M.to(relevant.vectors_ND.device)]
        return NeighbourLanguages(sample_M, vectors_MD, self.benchmark.passage_languages[sample_M])

    def _count(self, encoded: EncodedRows) -> None:
        languages_N = self.benchmark.passage_languages[encoded.rows_N]
        self._counter.add(encoded.rows_N, encoded.vectors_ND, languages_N)
        if self._neighbours is not None:
            self._neighbours.add(encoded.rows_N, encoded.vectors_ND, languages_N)

    def _gather(self, stage: str) -> EncodedRows:
        """Returns all vectors of a stage, of all processes, in the order of their rows.

        They are no longer held afterwards.
        """
        held = self._held[stage]
        self._held[stage] = []
        vectors_ND = gather_uneven(torch.cat([encoded.vectors_ND for encoded in held]))
        rows_N = torch.from_numpy(np.concatenate([encoded.rows_N for encoded in held]))
        rows_N = gather_uneven(rows_N.to(vectors_ND.device))
        rows_N, order_N = rows_N.sort(stable=True)
        return EncodedRows(stage, rows_N.cpu().numpy(), vectors_ND[order_N])

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


def require_relevant_passages(benchmark: Benchmark) -> None:
    """Raises ValueError for a benchmark in which no query has a relevant passage."""
    if not any(len(rows) for rows in benchmark.relevant):
        raise ValueError(
            f"{benchmark.name}: no query has a relevant passage, so there is nothing to measure; "
            "choose other languages, or more of max_queries"
        )


def _select(encoded: EncodedRows, is_chosen_N: np.ndarray) -> EncodedRows:
    """Selects some rows of a chunk."""
    chosen_N = torch.from_numpy(is_chosen_N).to(encoded.vectors_ND.device)
    return EncodedRows(encoded.stage, encoded.rows_N[is_chosen_N], encoded.vectors_ND[chosen_N])
