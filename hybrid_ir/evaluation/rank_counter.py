"""Counts how many passages score above each relevant passage, while the passages stream by.

Shapes: Q queries (in a block, those of the block), R relevant passages of a query (short rows end
in -1), U distinct relevant passages in the order of their rows, L languages, N passages, W windows
of them (N where a passage has one vector), D width, P pairs of a query and a passage.
"""

from collections.abc import Sequence

import numpy as np
import torch

from hybrid_ir.evaluation.block_counter import BlockCounter, TooManyDoubtsError
from hybrid_ir.evaluation.block_threads import run_blocks
from hybrid_ir.evaluation.exact_scores import PassageVectors, RelevantPassages, require_finite
from hybrid_ir.evaluation.passage_batch import (
    PassageBatch,
    multiplies_in_float32,
    split_evenly,
)
from hybrid_ir.evaluation.rank_table import RankTable, list_relevant_rows, pad_rows
from hybrid_ir.evaluation.score_bands import MOST_CELLS
from hybrid_ir.evaluation.top_k import ScoreListener
from hybrid_ir.types import Benchmark

# passages gathered before they are counted: what is prepared for each query and batch, such as
# sorted scores of its relevant passages, should be little beside its scores
PASSAGES_PER_COUNT = 1 << 15
QUERIES_AT_ONCE = 512
VALUES_AT_ONCE = 1 << 22  # of a block, where queries have many relevant passages


class RankCounter:
    """Counts, for every query and relevant passage, the passages that score above it.

    Add each passage of the corpus once, in any order and any batches, then ask for the table. A
    passage may come as several windows, its row repeated: its score is that of its best window.

    The counts are those of exact float64 scores. A matrix product in float32 decides all scores
    except those within its rounding error of a relevant passage's score, and `compute_paired_dots`
    decides those. So batching, order, sharding and device change nothing. Where several processes
    count different passages, sum every tensor of `sums()` over them.

    Args:
        queries_QD: vectors of the queries.
        query_languages_Q: their languages, as indices into `languages`.
        relevant_QR: rows in the corpus of the relevant passages, filled with -1.
        relevant_vectors_WD: vectors of the distinct relevant passages.
        relevant_languages_U: languages of the distinct relevant passages, ascending by row.
        languages: of the benchmark.
        temperature: if given, the table has the InfoNCE loss, too: each relevant passage against
            all that are not relevant.
        relevant_rows_W: row of each vector of a relevant passage, where one has several windows.
        listeners: see every score, too.
        own_rows_Q: row of the passage that is the query itself and is not in its ranking, -1 for
            none; None where no query has one.

    Raises:
        ValueError: The numbers of vectors do not fit, or some vector is not finite.
    """

    def __init__(
        self,
        queries_QD: torch.Tensor,
        query_languages_Q: np.ndarray,
        relevant_QR: np.ndarray,
        relevant_vectors_WD: torch.Tensor,
        relevant_languages_U: np.ndarray,
        languages: Sequence[str],
        temperature: float | None = None,
        relevant_rows_W: np.ndarray | None = None,
        listeners: Sequence[ScoreListener] = (),
        own_rows_Q: np.ndarray | None = None,
    ):
        rows_U = list_relevant_rows(relevant_QR)
        rows_W = rows_U if relevant_rows_W is None else np.asarray(relevant_rows_W)
        if not len(queries_QD) == len(relevant_QR) == len(query_languages_Q):
            raise ValueError(
                f"{len(queries_QD)} query embeddings for the {len(relevant_QR)} queries of the "
                "benchmark."
            )
        has_all_rows = np.array_equal(np.unique(rows_W), rows_U)
        if len(rows_W) != len(relevant_vectors_WD) or not has_all_rows:
            raise ValueError(
                f"{len(relevant_vectors_WD)} embeddings for {len(rows_U)} distinct relevant "
                "passages."
            )
        require_finite(queries_QD, "query")
        require_finite(relevant_vectors_WD, "relevant passage", rows_W)
        self.device = queries_QD.device
        if self.device.type == "mps":  # it has no float64, on which exactness rests
            self.device = torch.device("cpu")
        self.queries_QD = queries_QD.to(self.device)
        self.query_languages = np.asarray(query_languages_Q)
        self.languages = tuple(languages)
        distinct_rows_U, vectors_U = PassageVectors.from_windows(
            self._to_ids(rows_W), relevant_vectors_WD.to(self.device)
        )
        self.relevant = RelevantPassages(
            rows_QR=self._to_ids(relevant_QR),
            rows_U=distinct_rows_U,
            queries_QD=self.queries_QD,
            passages_U=vectors_U,
            languages_U=self._to_ids(relevant_languages_U),
        )
        self.temperature = temperature
        self.listeners = listeners
        self.own_rows_Q1 = None
        if own_rows_Q is not None:
            self.own_rows_Q1 = self._to_ids(own_rows_Q)[:, None]
        self._waiting: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
        lengths_Q = torch.linalg.vector_norm(self.queries_QD, dim=1, dtype=torch.float64)
        self._longest_query = float(lengths_Q.max()) if len(lengths_Q) else 0.0
        # the loss is a sum of scores, which float32 would round
        is_float32_enough = temperature is None and multiplies_in_float32(self.device)
        self._dtype = torch.float32 if is_float32_enough else torch.float64
        self._sums = create_sums(relevant_QR, languages, temperature, self.device)

    def _to_ids(self, values) -> torch.Tensor:
        return torch.as_tensor(values).long().to(self.device)

    def count_into(self, sums: dict[str, torch.Tensor]) -> None:
        """Adds all further counts to these tensors, see `create_sums`."""
        self._sums = sums

    def add(self, rows_W, vectors_WD: torch.Tensor, languages_W) -> None:
        """Takes in some passages.

        Args:
            rows_W: row in the corpus of each vector; the windows of a passage stand together.
            vectors_WD: the vectors.
            languages_W: language of each vector.

        Raises:
            ValueError: Some vector is not finite.
        """
        rows_W = self._to_ids(rows_W)
        vectors_WD = vectors_WD.to(self.device)
        languages_W = self._to_ids(languages_W)
        assert len(rows_W) == len(vectors_WD) == len(languages_W)
        require_finite(vectors_WD, "passage", rows_W)
        self._waiting.append((rows_W, vectors_WD, languages_W))
        if sum(len(rows) for rows, *_ in self._waiting) >= PASSAGES_PER_COUNT:
            self._count_waiting()

    def _count_waiting(self) -> None:
        """Counts the passages that wait."""
        if not self._waiting:
            return
        rows_W, vectors_WD, languages_W = map(torch.cat, zip(*self._waiting, strict=True))
        self._waiting = []
        batch = PassageBatch(rows_W, vectors_WD, languages_W)
        languages = len(self.languages)
        self._sums["pool_sizes"] += torch.bincount(batch.languages_N, minlength=languages)
        relevant_rows = batch.rows_N[torch.isin(batch.rows_N, self.relevant.rows_U)]
        place_P = torch.searchsorted(self.relevant.rows_U, relevant_rows)
        self._sums["seen"] += torch.bincount(place_P, minlength=len(self.relevant.rows_U))
        if not batch.fits_float32(self._longest_query):
            self._dtype = torch.float64
        batch.prepare(self._dtype)
        relevant_width = self.relevant.rows_QR.shape[1]
        largest_block = max(
            1, min(QUERIES_AT_ONCE, VALUES_AT_ONCE // (MOST_CELLS + relevant_width))
        )
        edges = split_evenly(len(self.queries_QD), largest_block)
        blocks = [(batch, slice(start, end)) for start, end in edges if end > start]
        run_blocks(self._count_block, blocks, self.device)

    def _count_block(self, batch: PassageBatch, block: slice) -> None:
        """Counts some passages for a block of queries."""
        own_rows_B1 = None if self.own_rows_Q1 is None else self.own_rows_Q1[block]
        counter = self._create_block_counter(batch, block)
        try:
            counter.count(own_rows_B1, self.listeners, self.temperature)
        except TooManyDoubtsError:
            # for all further blocks, too: a model has collapsed or it has not
            self._dtype = torch.float64
            counter = self._create_block_counter(batch, block)
            counter.count(own_rows_B1, self.listeners, self.temperature)
        self._sums["above"][block] += counter.above_BRP.int()
        self._sums["tied"][block] += counter.tied_BRP.int()
        if self.temperature is not None:
            self._sums["weights"][block] += counter.weights_B

    def _create_block_counter(self, batch: PassageBatch, block: slice) -> BlockCounter:
        return BlockCounter(
            self.relevant,
            block,
            self.queries_QD[block],
            batch,
            len(self.languages),
            self._dtype,
        )

    def sums(self) -> dict[str, torch.Tensor]:
        """Returns all counts, which can be summed over counters that saw different passages."""
        self._count_waiting()
        return self._sums

    def table(self) -> RankTable:
        """Finishes counting and returns the counts.

        Raises:
            ValueError: A relevant passage was not added, or was added more than once.
        """
        return self.build_table(self.sums())

    def build_table(self, sums: dict[str, torch.Tensor]) -> RankTable:
        """Returns counts as a table.

        Args:
            sums: of all counters that saw passages of the corpus; they stay as they are.

        Raises:
            ValueError: A relevant passage was not added, or was added more than once.
        """
        relevant = self.relevant
        not_once = (sums["seen"] != 1).nonzero()[:, 0]
        if len(not_once):
            row = int(relevant.rows_U[not_once[0]])
            times = int(sums["seen"][not_once[0]])
            raise ValueError(
                f"{len(not_once)} of {len(relevant.rows_U)} relevant passages were not added "
                f"exactly once, first row {row} ({times} times): add every passage of the corpus "
                "once, over all processes together."
            )
        above_QRP = sums["above"].to(torch.int32, copy=True)
        tied_QRP = sums["tied"].to(torch.int32, copy=True)
        relevant.count_each_other(above_QRP, tied_QRP)
        losses = None
        if self.temperature is not None:
            losses = relevant.compute_losses(sums["weights"], self.temperature).cpu().numpy()
        return RankTable(
            above=above_QRP.cpu().numpy(),
            tied=tied_QRP.cpu().numpy(),
            relevant=relevant.rows_QR.cpu().numpy(),
            relevant_languages=relevant.languages_QR.cpu().numpy(),
            scores=relevant.scores_QR.cpu().numpy(),
            query_languages=self.query_languages,
            pool_sizes=sums["pool_sizes"].cpu().numpy(),
            languages=self.languages,
            losses=losses,
        )


def create_sums(
    relevant_QR: np.ndarray,
    languages: Sequence[str],
    temperature: float | None = None,
    device: torch.device | str = "cpu",
) -> dict[str, torch.Tensor]:
    """Returns zeros for all that is counted.

    Args:
        relevant_QR: rows in the corpus of the relevant passages, filled with -1.
        languages: of the benchmark.
        temperature: of the loss; None for no loss.
        device: where they are counted.

    Raises:
        ValueError: The temperature is not above 0.
    """
    if temperature is not None and not temperature > 0:
        raise ValueError(f"temperature={temperature} must be above 0, or None for no loss")

    def zeros(*size: int, dtype: torch.dtype) -> torch.Tensor:
        return torch.zeros(*size, dtype=dtype, device=device)

    sums = {
        "above": zeros(*relevant_QR.shape, 2, dtype=torch.int32),
        "tied": zeros(*relevant_QR.shape, 2, dtype=torch.int32),
        "pool_sizes": zeros(len(languages), dtype=torch.int64),
        # of each distinct relevant passage; must end as all ones
        "seen": zeros(len(list_relevant_rows(relevant_QR)), dtype=torch.int64),
    }
    if temperature is not None:
        # of exp((score - best relevant score) / temperature) over what is not relevant
        sums["weights"] = zeros(len(relevant_QR), dtype=torch.float64)
    return sums


def rank_benchmark(
    queries_QD: torch.Tensor,
    passages_ND: torch.Tensor,
    benchmark: Benchmark,
    temperature: float | None = None,
) -> RankTable:
    """Ranks a benchmark whose vectors are all in memory.

    Args:
        queries_QD: a vector for each query.
        passages_ND: a vector for each passage.
        benchmark: says what is relevant.
        temperature: of the InfoNCE loss; None for no loss.

    Raises:
        ValueError: The numbers of vectors do not fit, or some vector is not finite.
    """
    relevant_QR = pad_rows(benchmark.relevant)
    rows_U = list_relevant_rows(relevant_QR)
    languages_N = np.asarray(benchmark.passage_languages)
    if len(passages_ND) != len(languages_N):
        raise ValueError(
            f"{len(passages_ND)} embeddings for the {len(languages_N)} passages of "
            f"{benchmark.name}."
        )
    counter = RankCounter(
        queries_QD=queries_QD,
        query_languages_Q=benchmark.query_languages,
        relevant_QR=relevant_QR,
        relevant_vectors_WD=passages_ND[torch.as_tensor(rows_U).to(passages_ND.device)],
        relevant_languages_U=languages_N[rows_U],
        languages=benchmark.languages,
        temperature=temperature,
        own_rows_Q=benchmark.own_passages,
    )
    for start in range(0, len(passages_ND), PASSAGES_PER_COUNT):
        rows = np.arange(start, min(start + PASSAGES_PER_COUNT, len(passages_ND)))
        counter.add(rows, passages_ND[start : start + PASSAGES_PER_COUNT], languages_N[rows])
    return counter.table()
