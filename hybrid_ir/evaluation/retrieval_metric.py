"""The measures of multilingual retrieval as a `torchmetrics.Metric`, for any training loop.

Shapes: Q queries, N passages of a benchmark, W vectors of an update (a passage may have several,
its windows), D width.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torchmetrics import Metric

from hybrid_ir.distributed import get_world_size
from hybrid_ir.evaluation.encoding import EncodedRows, mark_relevant
from hybrid_ir.evaluation.exact_scores import require_finite
from hybrid_ir.evaluation.known_vectors import KnownVectors, make_writable
from hybrid_ir.evaluation.rank_counter import RankCounter, create_sums
from hybrid_ir.evaluation.rank_table import list_relevant_rows, pad_rows
from hybrid_ir.evaluation.results import ACROSS_LANGUAGES, RETRIEVAL, Results
from hybrid_ir.evaluation.selection import require_relevant_passages
from hybrid_ir.evaluation.top_k import ScoreListener
from hybrid_ir.types import Benchmark


class CountingObserver(Protocol):
    """An object that sees what a metric counts, for measures that need more than ranks."""

    def start(self, queries: EncodedRows, relevant: EncodedRows) -> Sequence[ScoreListener]:
        """Takes the vectors that all processes know, and returns what listens to the scores."""

    def count(self, encoded: EncodedRows) -> None:
        """Takes passages that this process counts now."""


class MultilingualRetrieval(Metric):
    """Ranks a benchmark while its texts are encoded: mono-, cross- and multilingual retrieval.

    Give `update` the vectors of every query and every passage, in any order and any chunks, then
    `compute` returns `Results`: every measure of every query in every view, and their means
    (`results.summary()` is a flat dictionary of floats for logging). Scores are inner products,
    and the ranks are exact: chunks, order and the number of processes change nothing.

    A passage is counted and forgotten once all queries and relevant passages are there; until then
    it is held. So give those first, and memory depends on them alone. Where several processes
    encode different texts, each holds its other passages until `compute`, since only an exchange
    tells it that all queries are there. `share` is that exchange: call it in every process after
    the queries and the relevant passages, and later passages are forgotten at once.

    A text that comes again, in another update or another process, is ignored, as the sampler that
    Lightning puts in repeats texts to fill the last batch. Only a passage that two processes
    encode after `share` cannot be ignored any more; `compute` then raises an error.

    A part of the texts has no ranks. Calling the metric (`forward`) is the same as `update` and
    returns None, `compute` before the end raises an error, and metrics cannot be merged. In a
    `MetricCollection`, use `compute_groups=False`.

    Args:
        benchmark: that is ranked.
        temperature: of the InfoNCE loss over the whole corpus (`results.loss`); None for no loss.
        metrics: computed in every view.
        metrics_across_languages: computed in the multilingual view only.
        observer: sees what is counted, too.
        options: those of every `torchmetrics.Metric`.

    Raises:
        ValueError: No query of the benchmark has a relevant passage.
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = None

    def __init__(
        self,
        benchmark: Benchmark,
        temperature: float | None = None,
        metrics: Sequence[str] = RETRIEVAL,
        metrics_across_languages: Sequence[str] = ACROSS_LANGUAGES,
        observer: CountingObserver | None = None,
        **options: Any,
    ):
        super().__init__(**options)
        require_relevant_passages(benchmark)
        self.benchmark = benchmark
        self.temperature = temperature
        self.metrics = metrics
        self.metrics_across_languages = metrics_across_languages
        self.observer = observer
        self.known = KnownVectors(len(benchmark.queries), len(benchmark.passages), **options)
        self._is_relevant_N = mark_relevant(benchmark)
        self._relevant_rows = torch.from_numpy(np.flatnonzero(self._is_relevant_N))
        self._width: int | None = None
        sums = create_sums(pad_rows(benchmark.relevant), benchmark.languages, temperature)
        self._names_of_sums = tuple(sums)
        for name, zeros in sums.items():
            self.add_state(name, zeros, "sum")
        # how often each passage was counted: must end as all ones
        self.add_state("counted", torch.zeros(len(benchmark.passages), dtype=torch.uint8), "sum")
        # passages that are held; none are left when processes exchange
        self.add_state("waiting_rows", [], None)
        self.add_state("waiting_vectors", [], None)
        self._counter: RankCounter | None = None
        self._listeners: Sequence[ScoreListener] | None = None
        self._is_finished = False  # whether results were computed since the last reset

    def update(
        self,
        vectors: torch.Tensor,
        rows: Sequence[int] | np.ndarray | torch.Tensor | None = None,
        role: str = "passage",
    ) -> None:
        """Takes in the vectors of some queries or passages, as float32.

        Args:
            vectors: (W, D), on any device; they are counted on that of the metric.
            rows: (W), the row of the benchmark that each vector belongs to. A passage that is
                scored by its best window has its row several times, in one update. None stands for
                all queries or all passages in their order.
            role: `query` or `passage`.

        Raises:
            ValueError: The shape, a row or the role is wrong, some vector is not finite, or there
                are results already, which vectors of another encoder would not change.
        """
        if self._is_finished:
            raise ValueError("compute() has given the results of all texts: reset() the metric")
        rows_W = self._read_rows(vectors, rows, role)
        if len(rows_W) == 0:
            return
        self._width = vectors.shape[1]
        # checked here, and not only when they are counted after hours of encoding
        require_finite(vectors, role, rows_W)
        is_new_W = self.known.find_new(role, rows_W)
        if self.known.is_shared and role == "query":
            return  # all queries are known
        if not is_new_W.any():
            return
        vectors_WD = vectors.detach()
        if not is_new_W.all():
            vectors_WD = vectors_WD[torch.from_numpy(is_new_W).to(vectors.device)]
            rows_W = rows_W[is_new_W]
        # a copy, since the caller may fill the same memory with the next texts
        vectors_WD = vectors_WD.to(self.device, torch.float32, copy=True)
        if role == "query":
            self.known.update("query", rows_W, vectors_WD)
        else:
            self._add_passages(rows_W, vectors_WD)
        if self.known.is_shared or get_world_size() > 1:
            return
        if self._are_all_known(self.known.seen_queries, self.known.seen_passages):
            self.share()

    def _read_rows(self, vectors: torch.Tensor, rows: Any, role: str) -> np.ndarray:
        """Returns the rows of vectors (W). Raises ValueError if they do not fit."""
        if role not in ("query", "passage"):
            raise ValueError(f"role={role!r} must be query or passage")
        texts = self.benchmark.queries if role == "query" else self.benchmark.passages
        if not isinstance(vectors, torch.Tensor) or vectors.ndim != 2:
            shape = tuple(getattr(vectors, "shape", ()))
            raise ValueError(f"vectors of shape {shape} must be a tensor with a row for each text")
        if self._width is not None and vectors.shape[1] != self._width:
            raise ValueError(
                f"vectors of width {vectors.shape[1]} after vectors of width {self._width}: all "
                "texts need one encoder; reset() the metric before the vectors of another one"
            )
        if rows is None:
            rows = range(len(texts))
        rows_W = torch.as_tensor(rows).cpu().numpy()
        if rows_W.size == 0:
            rows_W = rows_W.astype(np.int64)
        if rows_W.ndim != 1 or len(rows_W) != len(vectors) or rows_W.dtype.kind not in "iu":
            raise ValueError(
                f"{len(vectors)} vectors and rows of shape {rows_W.shape} and type "
                f"{rows_W.dtype}: say for each vector which of the {len(texts)} rows of the "
                f"benchmark's {role} texts it belongs to"
            )
        if len(rows_W) and (rows_W.min() < 0 or rows_W.max() >= len(texts)):
            raise ValueError(
                f"rows from {rows_W.min()} to {rows_W.max()} must be rows of the {len(texts)} "
                f"{role} texts of {self.benchmark.name}, from 0 to {len(texts) - 1}"
            )
        return rows_W.astype(np.int64)

    def _add_passages(self, rows_W: np.ndarray, vectors_WD: torch.Tensor) -> None:
        """Holds passages that are new, or counts them where everything needed is known."""
        if len(np.unique(rows_W)) < len(rows_W):  # the windows of a passage must stand together
            order_W = np.argsort(rows_W, kind="stable")
            rows_W = rows_W[order_W]
            vectors_WD = vectors_WD[torch.from_numpy(order_W).to(vectors_WD.device)]
        if self.known.is_shared:
            self._count(rows_W, vectors_WD)
            return
        is_relevant_W = self._is_relevant_N[rows_W]
        is_relevant = torch.from_numpy(is_relevant_W).to(vectors_WD.device)
        if is_relevant_W.any():
            self.known.update("relevant", rows_W[is_relevant_W], vectors_WD[is_relevant])
        self.waiting_rows.append(torch.from_numpy(rows_W).to(self.device))
        self.waiting_vectors.append(vectors_WD)

    def _are_all_known(self, queries: torch.Tensor, passages: torch.Tensor) -> bool:
        """Whether masks of queries and passages have all queries and all relevant passages."""
        if not queries.all():
            return False
        return bool(passages[self._relevant_rows.to(passages.device)].all())

    def share(self) -> None:
        """Exchanges the queries and relevant passages of all processes, and starts to count.

        From then on passages are counted and forgotten as they come. In a distributed run every
        process must call this, after the queries and relevant passages that it encodes. Without
        a call, `compute` does it.

        Raises:
            ValueError: Some query or relevant passage is missing in all processes.
        """
        if self.known.is_shared:
            return
        gathered = self.known.gather(should_sync=self._to_sync)
        if not self._are_all_known(gathered.seen_queries_Q, gathered.seen_passages_N):
            self._raise_incomplete(gathered.seen_queries_Q, gathered.seen_passages_N)
        self.known.accept(gathered)
        is_counted_here_N = gathered.is_counted_here_N
        queries = self.known.get_queries()
        if self.observer is not None:
            self._listeners = self.observer.start(queries, self.known.get_relevant())
        waiting = list(zip(self.waiting_rows, self.waiting_vectors, strict=True))
        self.waiting_rows = []
        self.waiting_vectors = []
        for rows, vectors_WD in waiting:
            rows_W = rows.cpu().numpy()
            is_counted_W = is_counted_here_N[rows_W]
            if is_counted_W.any():
                is_counted = torch.from_numpy(is_counted_W).to(vectors_WD.device)
                self._count(rows_W[is_counted_W], vectors_WD[is_counted])

    def _count(self, rows_W: np.ndarray, vectors_WD: torch.Tensor) -> None:
        """Counts some passages."""
        languages_W = np.asarray(self.benchmark.passage_languages)[rows_W]
        self._get_counter().add(rows_W, vectors_WD, languages_W)
        if self.observer is not None:
            self.observer.count(EncodedRows("others", rows_W, vectors_WD))
        self.counted = make_writable(self.counted)
        self.counted[torch.from_numpy(np.unique(rows_W)).to(self.counted.device)] += 1

    def _get_counter(self) -> RankCounter:
        """Returns the counter, which adds to the states of this metric as they are now."""
        if self._counter is None:
            self._counter = self._build_counter()
        sums = {}
        for name in self._names_of_sums:
            setattr(self, name, make_writable(getattr(self, name)))
            sums[name] = getattr(self, name)
        self._counter.count_into(sums)
        return self._counter

    def _build_counter(self) -> RankCounter:
        benchmark = self.benchmark
        queries = self.known.get_queries()
        relevant = self.known.get_relevant()
        relevant_QR = pad_rows(benchmark.relevant)
        rows_U = list_relevant_rows(relevant_QR)
        return RankCounter(
            queries_QD=queries.vectors_ND,
            query_languages_Q=benchmark.query_languages,
            relevant_QR=relevant_QR,
            relevant_vectors_WD=relevant.vectors_ND,
            relevant_languages_U=np.asarray(benchmark.passage_languages)[rows_U],
            languages=benchmark.languages,
            temperature=self.temperature,
            relevant_rows_W=relevant.rows_N,
            listeners=self._listeners or (),
            own_rows_Q=benchmark.own_passages,
        )

    def _finish_counting(self) -> None:
        """Adds what the counter has not counted yet to the states."""
        if self._counter is not None:
            self._get_counter().sums()

    def sync(self, *arguments: Any, should_sync: bool = True, **options: Any) -> None:
        """Sums the counts of all processes, after each has counted what it still holds."""
        if should_sync and not self._is_synced:
            self.share()
            self._finish_counting()
        super().sync(*arguments, should_sync=should_sync, **options)

    def compute(self) -> Results:
        """Computes every measure; every process gets the same.

        Raises:
            ValueError: Not all texts of the benchmark were given, or a passage was counted in two
                processes.
        """
        if not self._is_synced:
            self.share()
            self._finish_counting()
        self._require_each_once()
        sums = {name: getattr(self, name) for name in self._names_of_sums}
        table = self._get_counter_as_it_is().build_table(sums)
        self._is_finished = True
        return Results.from_table(
            table, self.benchmark, self.metrics, self.metrics_across_languages
        )

    def _get_counter_as_it_is(self) -> RankCounter:
        """Returns the counter without giving it states to add to, which are sums by now."""
        if self._counter is None:
            self._counter = self._build_counter()
        return self._counter

    def _require_each_once(self) -> None:
        """Raises ValueError unless each passage was counted once, over all processes."""
        if not self.counted.all():
            self._raise_incomplete(self.known.seen_queries, self.counted)
        repeated = (self.counted > 1).nonzero()[:, 0]
        if len(repeated):
            raise ValueError(
                f"{self.benchmark.name}: {len(repeated):,} passages were encoded by several "
                f"processes after share(), first row {int(repeated[0])}; give each process other "
                "passages (use_distributed_sampler=False and a sampler that repeats nothing), or "
                "leave share() out, and what is repeated is ignored"
            )

    def _raise_incomplete(self, queries: torch.Tensor, passages: torch.Tensor) -> None:
        """Raises the error for a pool of which not all texts were given."""
        query_count = int((queries > 0).sum())
        passage_count = int((passages > 0).sum())
        raise ValueError(
            f"{self.benchmark.name}: {query_count:,} of {len(queries):,} queries and "
            f"{passage_count:,} of {len(passages):,} passages were encoded; ranks need the whole "
            "pool. Remove trainer.limit_test_batches, and set trainer.limit_val_batches to 1.0, "
            "or 0 for no validation"
        )

    def forward(self, *arguments: Any, **options: Any) -> None:
        """Does what `update` does: a part of the texts has no ranks that could be returned."""
        self.update(*arguments, **options)

    def merge_state(self, incoming_state: Any) -> None:
        """Raises NotImplementedError: ranks are counted against vectors, which cannot be merged."""
        raise NotImplementedError(
            "two MultilingualRetrieval metrics cannot be merged: give one of them all texts"
        )

    def reset(self) -> None:
        """Forgets all texts."""
        super().reset()
        self.known.reset()
        self._counter = None
        self._listeners = None
        self._width = None
        self._is_finished = False

    def persistent(self, mode: bool = False) -> None:
        """Sets whether the states, with all vectors that are held, are in the state_dict."""
        super().persistent(mode)
        self.known.persistent(mode)

    def state_dict(self, *arguments: Any, **options: Any) -> dict[str, Any]:
        """Returns the states if they are persistent; by default, as in torchmetrics, none is."""
        self._finish_counting()
        return super().state_dict(*arguments, **options)

    def _load_from_state_dict(self, *arguments: Any) -> None:
        super()._load_from_state_dict(*arguments)
        self._counter = None  # it is built again from the states

    def __getstate__(self) -> dict[str, Any]:
        self._finish_counting()
        return {**super().__getstate__(), "_counter": None}

    def _apply(self, fn: Callable, exclude_state: Sequence[str] = "") -> "MultilingualRetrieval":
        """Moves the states to another device; what Apple's GPUs cannot count stays on the CPU."""
        if fn(torch.zeros(1)).device.type == "mps":  # it has no float64, on which exactness rests
            return self
        self._finish_counting()
        self._counter = None
        return super()._apply(fn, exclude_state)

    def _wrap_compute(self, compute: Callable) -> Callable:
        """Keeps torchmetrics from copying results, and undoes its exchange after an error."""
        wrapped = super()._wrap_compute(lambda: _Opaque(compute()))

        def compute_results() -> Results:
            try:
                return wrapped().results
            except Exception:
                if self._is_synced:
                    self.unsync()
                raise

        return compute_results


class _Opaque:
    """Results that torchmetrics does not look into, since it cannot copy a frozen dataclass."""

    def __init__(self, results: Results):
        self.results = results
