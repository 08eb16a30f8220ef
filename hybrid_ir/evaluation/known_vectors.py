"""Holds the vectors that every process must know before it can count: queries, relevant passages.

Shapes: Q queries, N passages of a benchmark, W vectors, P processes, D width.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torchmetrics import Metric

from hybrid_ir.distributed import get_rank
from hybrid_ir.evaluation.encoding import EncodedRows

HELD = ("query_rows", "query_vectors", "relevant_rows", "relevant_vectors")


@dataclass(frozen=True)
class GatheredVectors:
    """What all processes hold.

    Attributes:
        held: by the names of HELD, a tensor for each process.
        seen_queries_PQ: 1 for the queries that a process has seen.
        seen_passages_PN: likewise for passages.
        this_process: the number of this one.
    """

    held: dict[str, list[torch.Tensor]]
    seen_queries_PQ: torch.Tensor
    seen_passages_PN: torch.Tensor
    this_process: int

    @property
    def seen_queries_Q(self) -> torch.Tensor:
        """1 for the queries that some process has seen."""
        return self.seen_queries_PQ.amax(0)

    @property
    def seen_passages_N(self) -> torch.Tensor:
        """1 for the passages that some process has seen."""
        return self.seen_passages_PN.amax(0)

    @property
    def first_process_N(self) -> np.ndarray:
        """The first process that has seen each passage, which is the one that counts it."""
        return self.seen_passages_PN.cpu().numpy().argmax(0)

    @property
    def is_counted_here_N(self) -> np.ndarray:
        """Which passages this process counts."""
        is_seen_here_N = self.seen_passages_PN[self.this_process].cpu().numpy() > 0
        return is_seen_here_N & (self.first_process_N == self.this_process)


class KnownVectors(Metric):
    """The queries and relevant passages of a benchmark, first of this process, then of all.

    `gather` and `accept` exchange them by the reduction of torchmetrics. They also settle which
    process counts a passage that several processes encoded, as Lightning's distributed sampler has
    them do.

    Args:
        queries: number of queries.
        passages: number of passages.
        options: those of every `torchmetrics.Metric`.
    """

    full_state_update = False

    def __init__(self, queries: int, passages: int, **options: Any):
        super().__init__(**options)
        for name in HELD:
            self.add_state(name, [], None)
        # which texts were seen: here, and after `accept` in any process
        self.add_state("seen_queries", torch.zeros(queries, dtype=torch.uint8), None)
        self.add_state("seen_passages", torch.zeros(passages, dtype=torch.uint8), None)
        self.add_state("shared", torch.zeros((), dtype=torch.uint8), None)

    @property
    def is_shared(self) -> bool:
        """Whether the vectors are those of all processes."""
        return bool(self.shared)

    def find_new(self, role: str, rows_W: np.ndarray) -> np.ndarray:
        """Finds the rows that were not seen in an earlier update, and notes them as seen.

        Args:
            role: `query` or `passage`.
            rows_W: rows of the benchmark.

        Returns:
            A mask (W).
        """
        name = "seen_queries" if role == "query" else "seen_passages"
        seen = make_writable(getattr(self, name))
        setattr(self, name, seen)
        rows = torch.from_numpy(rows_W).to(seen.device)
        is_new_W = seen[rows] == 0
        seen[rows] = 1
        return is_new_W.cpu().numpy()

    def update(self, kind: str, rows_W: np.ndarray, vectors_WD: torch.Tensor) -> None:
        """Holds some vectors.

        Args:
            kind: `query` or `relevant`.
            rows_W: rows of the queries or passages.
            vectors_WD: their vectors.
        """
        getattr(self, f"{kind}_rows").append(torch.from_numpy(rows_W).to(vectors_WD.device))
        getattr(self, f"{kind}_vectors").append(vectors_WD)

    def compute(self) -> None:
        """Has nothing to compute: what is wanted are the vectors themselves."""

    def gather(self, should_sync: bool) -> "GatheredVectors":
        """Gathers the vectors of all processes, and keeps what is held as it is.

        Args:
            should_sync: whether processes exchange at all; every process must then call this.
        """
        for name in HELD:
            setattr(self, name, [self._join(name)])
        queries = len(self.seen_queries)
        passages = len(self.seen_passages)
        with self.sync_context(dist_sync_fn=self.dist_sync_fn, should_sync=should_sync):
            return GatheredVectors(
                held={name: getattr(self, name) for name in HELD},
                seen_queries_PQ=self.seen_queries.view(-1, queries),
                seen_passages_PN=self.seen_passages.view(-1, passages),
                this_process=get_rank(self.process_group) if self._is_synced else 0,
            )

    def accept(self, gathered: "GatheredVectors") -> None:
        """Holds the vectors of all processes from now on, in the order of their rows."""
        held = gathered.held
        self._keep_queries(held["query_rows"], held["query_vectors"])
        self._keep_relevant(
            held["relevant_rows"], held["relevant_vectors"], gathered.first_process_N
        )
        self.seen_queries = gathered.seen_queries_Q
        self.seen_passages = gathered.seen_passages_N
        self.shared = torch.ones_like(self.shared)

    def _join(self, name: str) -> torch.Tensor:
        """Returns what is held under a name as one tensor, empty where nothing is."""
        tensors = getattr(self, name)
        if len(tensors) == 1:
            return tensors[0]
        if tensors:
            return torch.cat(tensors)
        if name.endswith("_rows"):
            return torch.zeros(0, dtype=torch.int64, device=self.device)
        return torch.zeros(0, 0, device=self.device)

    def _keep_queries(self, rows: list[torch.Tensor], vectors: list[torch.Tensor]) -> None:
        """Keeps the vectors of all queries, each of the first process that has it."""
        rows_W, vectors_WD = join_processes(rows, vectors)
        rows_W, order_W = rows_W.sort(stable=True)
        is_first_W = torch.ones_like(rows_W, dtype=torch.bool)
        is_first_W[1:] = rows_W[1:] != rows_W[:-1]
        self.query_rows = [rows_W[is_first_W]]
        self.query_vectors = [vectors_WD[order_W[is_first_W]]]

    def _keep_relevant(
        self, rows: list[torch.Tensor], vectors: list[torch.Tensor], first_process_N: np.ndarray
    ) -> None:
        """Keeps all windows of the relevant passages, each of the first process that has it."""
        first_process = torch.from_numpy(first_process_N).to(self.device)
        kept_rows = []
        kept_vectors = []
        for process, (rows_W, vectors_WD) in enumerate(zip(rows, vectors, strict=True)):
            is_kept_W = first_process[rows_W] == process
            kept_rows.append(rows_W[is_kept_W])
            kept_vectors.append(vectors_WD[is_kept_W])
        rows_W, vectors_WD = join_processes(kept_rows, kept_vectors)
        rows_W, order_W = rows_W.sort(stable=True)
        self.relevant_rows = [rows_W]
        self.relevant_vectors = [vectors_WD[order_W]]

    def get_queries(self) -> EncodedRows:
        """Returns the queries that are held, after `accept` in the order of their rows."""
        return self._get("query", "queries")

    def get_relevant(self) -> EncodedRows:
        """Returns the relevant passages that are held, after `accept` in order of their rows."""
        return self._get("relevant", "relevant")

    def _get(self, kind: str, stage: str) -> EncodedRows:
        rows_W = self._join(f"{kind}_rows")
        return EncodedRows(stage, rows_W.cpu().numpy(), self._join(f"{kind}_vectors"))


def join_processes(
    rows: list[torch.Tensor], vectors: list[torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Joins the rows and vectors of all processes; one without rows may not know the width."""
    with_rows = [tensor for tensor in vectors if len(tensor)]
    if not with_rows:
        return torch.cat(rows), vectors[0]
    return torch.cat(rows), torch.cat(with_rows)


def make_writable(tensor: torch.Tensor) -> torch.Tensor:
    """Returns a tensor that can be changed in place: one of inference mode cannot outside of it."""
    if tensor.is_inference() and not torch.is_inference_mode_enabled():
        return tensor.clone()
    return tensor
