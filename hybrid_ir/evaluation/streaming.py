"""StreamedRanking: vectors in, in the order queries, relevant passages, other passages; results out.

Ranks of a distributed run take different texts: all get all queries and relevant passages, each counts its own others.
"""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from hybrid_ir.distributed import gather_uneven, sum_over_ranks
from hybrid_ir.evaluation.exact_scores import require_finite
from hybrid_ir.evaluation.geometry import NeighbourLanguages, compute_uniformity, sample_rows
from hybrid_ir.evaluation.rank_counter import RankCounter
from hybrid_ir.evaluation.relevant_passages import list_relevant_rows, pad_rows
from hybrid_ir.evaluation.results import Results
from hybrid_ir.evaluation.top_k import ScoreListener, TopK
from hybrid_ir.types import Benchmark

MIX = 10  # passages at the top whose languages are counted
NO_ROWS = np.zeros(0, np.int64)
UNIT = 1e-3  # how far the length of a unit vector may be from 1


class StreamedRanking:
    """Ranks a benchmark while its texts are encoded; holds queries and relevant passages, never the other passages.

    Args:
        temperature: of the InfoNCE loss over the whole corpus; None for no loss.
        run_depth: so many passages at the top of every query are kept for a run file.
        whole: also what costs more than the ranks: the languages at the top, the geometry.
        windowed: passages may come as several windows; they then have no single place in space, and no geometry.

    Raises:
        ValueError: the benchmark asks nothing.
    """

    def __init__(
        self,
        benchmark: Benchmark,
        temperature: float | None = None,
        run_depth: int = 0,
        whole: bool = False,
        windowed: bool = False,
    ):
        if not len(benchmark.queries) or not any(map(len, benchmark.relevant)):
            raise ValueError(
                f"{benchmark.name}: no query has a relevant passage, so there is nothing to measure; choose other "
                "languages, or more of max_queries"
            )
        self.windowed = windowed
        self.benchmark, self.temperature, self.run_depth, self.whole = (
            benchmark,
            temperature,
            run_depth,
            whole,
        )
        self.held: dict[str, list[tuple[np.ndarray, torch.Tensor]]] = {
            "queries": [],
            "relevant": [],
            "others": [],
        }
        self.counter: RankCounter | None = None
        self.neighbours: NeighbourLanguages | None = None
        self.mix: TopK | None = None
        self.runs: dict[str, TopK] = {}  # by view
        self.added = [0, 0]  # passages, queries
        self.device = torch.device("cpu")  # then that of the vectors

    def add(self, stage: str, rows: Sequence[np.ndarray], vectors_BD: torch.Tensor) -> None:
        """Take the vectors of some texts; `rows[i]` are all rows of queries or passages that have text i."""
        texts_N = torch.from_numpy(
            np.repeat(np.arange(len(rows)), [len(group) for group in rows])
        ).to(vectors_BD.device)
        self.take(stage, np.concatenate([NO_ROWS, *rows]), vectors_BD.detach()[texts_N])

    def take(self, stage: str, rows_N: np.ndarray, vectors_ND: torch.Tensor) -> None:
        """Take the vectors of some rows; a row that is repeated has several windows, and is added in one go."""
        require_finite(
            vectors_ND, "query" if stage == "queries" else "passage", rows_N
        )  # now, not after hours of encoding
        self.added[stage == "queries"] += len(np.unique(rows_N))
        self.device = vectors_ND.device
        if stage != "others":
            self.held[stage].append((rows_N, vectors_ND))
        else:
            self._start()  # also for no rows: all ranks have to exchange what they hold before any of them goes on
            if len(rows_N):
                self._count(rows_N, vectors_ND)

    def results(self) -> Results:
        """The finished counts and every metric; ValueError where not all texts of the benchmark were added."""
        expected = [len(self.benchmark.passages), len(self.benchmark.queries)]
        added = sum_over_ranks(torch.tensor(self.added, device=self.device)).tolist()
        if added != expected:
            raise ValueError(
                f"{self.benchmark.name}: {added[1]:,} of {expected[1]:,} queries and {added[0]:,} of "
                f"{expected[0]:,} passages were encoded; ranks need the whole pool. Remove "
                "trainer.limit_test_batches, and set trainer.limit_val_batches to 1.0, or 0 for no validation"
            )
        self._start()
        for total in self.counter.sums().values():
            total.copy_(sum_over_ranks(total))
        for top in self.tops():
            top.merge_ranks()
        return replace(Results.of(self.counter.table(), self.benchmark), observed=self._observed())

    def _observed(self) -> dict[str, Any]:
        """Languages at the top by query language, and the geometry of relevant passages; NaN where it is not defined."""
        if not self.whole:
            return {}
        benchmark = self.benchmark
        shares_QL = self.mix.language_shares(MIX, len(benchmark.languages))
        with warnings.catch_warnings():  # a language without queries has no mean
            warnings.simplefilter("ignore", RuntimeWarning)
            mix_LL = [
                np.nanmean(shares_QL[benchmark.query_languages == code], 0)
                for code in range(len(benchmark.languages))
            ]
        found = {f"language_mix@{MIX}": np.stack(mix_LL).tolist()}
        if self.neighbours:
            found["same_language_neighbours"] = self.neighbours.same_language_share()
            found["uniformity"] = compute_uniformity(self.neighbours.vectors_MD)
        return found

    def _start(self) -> None:
        """With queries and relevant passages complete, the thresholds are known and counting can begin."""
        if self.counter is not None:
            return
        own = self.held["relevant"]
        query_rows_Q, queries_QD = self._take("queries")
        rows_W, vectors_WD = self._take("relevant")
        benchmark = self.benchmark
        relevant_QR = pad_rows(benchmark.relevant)
        rows_U = list_relevant_rows(relevant_QR)
        asked_Q = benchmark.query_languages[query_rows_Q]
        if len(rows_W) > len(rows_U):  # windows, or passages that read like a relevant one
            known_W = np.isin(rows_W, rows_U)
            rows_W, vectors_WD = (
                rows_W[known_W],
                vectors_WD[torch.from_numpy(known_W).to(vectors_WD.device)],
            )
        listeners = self._listeners(
            asked_Q, float(queries_QD.norm(dim=1).max() * vectors_WD.norm(dim=1).max())
        )
        if self.whole and not self.windowed and (vectors_WD.norm(dim=1) - 1).abs().max() < UNIT:
            chosen = sample_rows(rows_U, benchmark.passage_ids)
            vectors_MD = vectors_WD[
                torch.from_numpy(np.searchsorted(rows_W, chosen)).to(vectors_WD.device)
            ]
            self.neighbours = NeighbourLanguages(
                chosen, vectors_MD, benchmark.passage_languages[chosen]
            )
        self.counter = RankCounter(
            queries_QD,
            asked_Q,
            relevant_QR,
            vectors_WD,
            benchmark.passage_languages[rows_U],
            benchmark.languages,
            self.temperature,
            rows_W,
            listeners,
        )
        for rows_N, vectors_ND in own:
            self._count(rows_N, vectors_ND)

    def _listeners(self, asked_Q: np.ndarray, largest: float) -> list[ScoreListener]:
        """The tops of the rankings that are wanted; `largest` is about how large a score may be."""
        if self.whole:
            self.mix = TopK(
                len(asked_Q), 2 * MIX, largest=largest
            )  # twice as deep, for ties at the edge
        if self.run_depth:
            self.runs = {
                "mono": TopK(len(asked_Q), self.run_depth, asked_Q, largest=largest),
                "multi": TopK(len(asked_Q), self.run_depth, largest=largest),
            }
        return [*([self.mix] if self.mix else []), *self.runs.values()]

    def tops(self) -> list[TopK]:
        return [
            top
            for top in (self.mix, *self.runs.values(), self.neighbours and self.neighbours.top)
            if top
        ]

    def _count(self, rows_N: np.ndarray, vectors_ND: torch.Tensor) -> None:
        languages_N = self.benchmark.passage_languages[rows_N]
        self.counter.add(rows_N, vectors_ND, languages_N)
        if self.neighbours:
            self.neighbours.add(rows_N, vectors_ND, languages_N)

    def _take(self, stage: str) -> tuple[np.ndarray, torch.Tensor]:
        """All vectors of a stage, of all ranks, in the order of their rows; nothing is held any more."""
        vectors_ND = gather_uneven(torch.cat([vectors for _, vectors in self.held[stage]]))
        rows_N = gather_uneven(
            torch.from_numpy(np.concatenate([rows for rows, _ in self.held[stage]])).to(
                vectors_ND.device
            )
        )
        self.held[stage] = []
        rows_N, order_N = rows_N.sort(stable=True)
        return rows_N.cpu().numpy(), vectors_ND[order_N]
