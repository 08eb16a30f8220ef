"""Ranks by counting: how many passages of each language score above each relevant passage, while passages stream by.

Shapes: Q queries, B queries of a block, R relevant passages of a query (short rows end in -1), U distinct relevant
passages in the order of their rows, L languages, N passages of a batch, W windows of them (N where a passage has one
vector), D width, P pairs of query and passage.
"""

from collections.abc import Sequence

import numpy as np
import torch

from hybrid_ir.evaluation.exact_scores import bound_rounding_error, require_finite
from hybrid_ir.evaluation.passage_vectors import PassageVectors
from hybrid_ir.evaluation.rank_table import EVERY, OWN, RankTable
from hybrid_ir.evaluation.relevant_passages import RelevantPassages, list_relevant_rows, pad_rows
from hybrid_ir.evaluation.score_bands import ScoreBands
from hybrid_ir.evaluation.top_k import ScoreListener
from hybrid_ir.types import Benchmark

SCORES_AT_ONCE = 1 << 20  # scores held at once: 8 MB, measured quickest on two cores
PASSAGES_PER_COUNT = (
    1 << 14
)  # passages gathered before they are counted: every language then has enough for a matrix product


class RankCounter:
    """Counts, for every query and relevant passage, the passages above it; `add` each passage of the corpus once.

    A passage may come as several windows, its row repeated: its score is that of its best window.

    The counts are those of exact float64 scores: a matrix product decides all but the scores within its rounding
    error of a relevant passage's, and `paired_dots` decides those. So batching, order, sharding and device change
    nothing. Counters that saw different passages `merge`; across processes, sum every tensor of `sums()`.
    With a temperature the table also has the InfoNCE loss, each relevant passage against all that are not relevant.
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
    ):
        rows_U = list_relevant_rows(relevant_QR)
        rows_W = rows_U if relevant_rows_W is None else np.asarray(relevant_rows_W)
        if not len(queries_QD) == len(relevant_QR) == len(query_languages_Q):
            raise ValueError(
                f"{len(queries_QD)} query embeddings for the {len(relevant_QR)} queries of the benchmark."
            )
        if not len(rows_W) == len(relevant_vectors_WD) or not np.array_equal(
            np.unique(rows_W), rows_U
        ):
            raise ValueError(
                f"{len(relevant_vectors_WD)} embeddings for {len(rows_U)} distinct relevant passages."
            )
        require_finite(queries_QD, "query")
        require_finite(relevant_vectors_WD, "relevant passage", rows_W)
        # MPS has no float64, on which exactness rests
        self.device = torch.device("cpu") if queries_QD.device.type == "mps" else queries_QD.device
        self.queries_QD = queries_QD.to(self.device)
        self.query_languages, self.languages = np.asarray(query_languages_Q), tuple(languages)
        known_U, vectors_U = PassageVectors.of(
            self._ids(rows_W), relevant_vectors_WD.to(self.device)
        )
        self.relevant = RelevantPassages(
            self._ids(relevant_QR),
            known_U,
            self.queries_QD,
            vectors_U,
            self._ids(relevant_languages_U),
        )
        self.temperature, self.listeners = temperature, listeners
        self._finished = False
        self._waiting: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
        counts = (*relevant_QR.shape, 2)
        self._sums = {
            "above": torch.zeros(counts, dtype=torch.int32, device=self.device),
            "tied": torch.zeros(counts, dtype=torch.int32, device=self.device),
            "pool_sizes": torch.zeros(len(self.languages), dtype=torch.int64, device=self.device),
            "seen": torch.zeros(
                len(rows_U), dtype=torch.int64, device=self.device
            ),  # must end as all ones
        }
        if (
            temperature is not None
        ):  # of exp((score - best relevant score) / temperature) over what is not relevant
            self._sums["weights"] = torch.zeros(
                len(queries_QD), dtype=torch.float64, device=self.device
            )

    def _ids(self, values) -> torch.Tensor:
        return torch.as_tensor(values).long().to(self.device)

    def add(self, rows_W, vectors_WD: torch.Tensor, languages_W) -> None:
        """Take passages, given as rows in the corpus, embeddings and languages; windows of a passage stand together."""
        rows_W, vectors_WD, languages_W = (
            self._ids(rows_W),
            vectors_WD.to(self.device),
            self._ids(languages_W),
        )
        assert len(rows_W) == len(vectors_WD) == len(languages_W)
        require_finite(vectors_WD, "passage", rows_W)
        self._waiting.append((rows_W, vectors_WD, languages_W))
        if sum(len(rows) for rows, *_ in self._waiting) >= PASSAGES_PER_COUNT:
            self._flush()

    def _flush(self) -> None:
        if not self._waiting:
            return
        rows_W, vectors_WD, languages_W = map(torch.cat, zip(*self._waiting, strict=True))
        self._waiting = []
        for language in languages_W.unique().tolist():
            chosen = languages_W == language
            rows_N, passages = PassageVectors.of(rows_W[chosen], vectors_WD[chosen].double())
            self._sums["pool_sizes"][language] += len(rows_N)
            known_N = torch.isin(rows_N, self.relevant.rows_U)
            place_P = torch.searchsorted(self.relevant.rows_U, rows_N[known_N])
            self._sums["seen"] += torch.bincount(place_P, minlength=len(self.relevant.rows_U))
            self._count(rows_N, passages, language)

    def _count(self, rows_N: torch.Tensor, passages: PassageVectors, language: int) -> None:
        relevant_QR = self.relevant.rows_QR
        ordered_N, order_N = rows_N.sort()
        place_QR = torch.searchsorted(ordered_N, relevant_QR).clamp_(max=len(rows_N) - 1)
        found_QR, column_QR = ordered_N[place_QR] == relevant_QR, order_N[place_QR]
        first_N = passages.first_equal()
        margin = (
            bound_rounding_error(passages.vectors_WD.shape[1])
            * passages.vectors_WD.norm(dim=1).max()
        )
        tiny = torch.finfo(
            torch.float64
        ).tiny  # zero vectors have no rounding, and a band without width would miss their ties
        step = max(1, SCORES_AT_ONCE // max(len(passages.vectors_WD), 2 * relevant_QR.shape[1]))
        for start in range(0, len(relevant_QR), step):
            block = slice(start, start + step)
            queries_BD = self.queries_QD[block].double()
            scores_BN = passages.scores(queries_BD)
            for listener in self.listeners:
                listener.take(start, scores_BN, rows_N, language)
            # relevant passages are compared with each other in table(), so none of them counts here
            query_P, relevant_P = found_QR[block].nonzero(as_tuple=True)
            scores_BN[query_P, column_QR[block][query_P, relevant_P]] = -torch.inf
            bands = ScoreBands(
                self.relevant.scores_QR[block],
                (margin * queries_BD.norm(dim=1, keepdim=True)).clamp(min=tiny),
            )
            above_BR, inside = bands.count(scores_BN)
            self._tally("above", block, above_BR, language)
            # equal vectors are decided once: a collapsed model has nothing else
            keys_P, times_P = ((inside[:, 0] + start) * len(rows_N) + first_N[inside[:, 1]]).unique(
                return_counts=True
            )
            self._settle(keys_P // len(rows_N), keys_P % len(rows_N), times_P, passages, language)
            if self.temperature is not None:
                shifted_BN = scores_BN.sub_(self.relevant.best_Q[block, None]).div_(
                    self.temperature
                )
                self._sums["weights"][block] += shifted_BN.exp_().sum(1)

    def _tally(
        self, name: str, queries: slice | torch.Tensor, counts_XR: torch.Tensor, language: int
    ) -> None:
        """Add counts of passages of a language to the pool of all languages, and where it is the relevant passage's own."""
        own_XR = (self.relevant.languages_QR[queries] == language) * counts_XR
        for pool, counted_XR in ((OWN, own_XR), (EVERY, counts_XR)):
            target_QR = self._sums[name][:, :, pool]
            if isinstance(queries, slice):
                target_QR[queries] += counted_XR
            else:  # a query may be named several times
                target_QR.index_add_(0, queries, counted_XR.int())

    def _settle(self, query_P, passage_P, times_P, passages: PassageVectors, language: int) -> None:
        """Decide pairs of a query and a passage, each `times`, that are too close for the matrix product."""
        for part in torch.arange(len(query_P), device=self.device).split(SCORES_AT_ONCE // 8):
            scores_P1 = passages.paired(self.queries_QD, query_P[part], passage_P[part])[:, None]
            relevant_PR, times_P1 = (
                self.relevant.scores_QR[query_P[part]],
                times_P[part, None].int(),
            )
            self._tally("above", query_P[part], (scores_P1 > relevant_PR) * times_P1, language)
            self._tally("tied", query_P[part], (scores_P1 == relevant_PR) * times_P1, language)

    def sums(self) -> dict[str, torch.Tensor]:
        """The state: tensors that add up over counters of the same queries that saw different passages."""
        self._flush()
        return self._sums

    def merge(self, other: "RankCounter") -> "RankCounter":
        """Take over the counts of a counter of the same queries that saw other passages."""
        same = torch.equal(self.relevant.scores_QR, other.relevant.scores_QR.to(self.device))
        assert same, "counters of different queries or relevant passages"
        theirs = other.sums()
        for name, total in self.sums().items():
            total += theirs[name].to(self.device)
        return self

    def table(self) -> RankTable:
        """The finished counts: call it once, at the end.

        Raises:
            ValueError: a relevant passage was not added, or added more than once.
        """
        sums, relevant = self.sums(), self.relevant
        assert not self._finished, "the table was already made"
        wrong = (sums["seen"] != 1).nonzero()[:, 0]
        if len(wrong):
            row, times = int(relevant.rows_U[wrong[0]]), int(sums["seen"][wrong[0]])
            raise ValueError(
                f"{len(wrong)} of {len(relevant.rows_U)} relevant passages were not added exactly once, first row "
                f"{row} ({times} times): add every passage of the corpus once, over all processes together."
            )
        relevant.count_among_themselves(sums["above"], sums["tied"])
        self._finished = True
        losses = (
            None
            if self.temperature is None
            else relevant.losses(sums["weights"], self.temperature).cpu().numpy()
        )
        return RankTable(
            above=sums["above"].cpu().numpy(),
            tied=sums["tied"].cpu().numpy(),
            relevant=relevant.rows_QR.cpu().numpy(),
            relevant_languages=relevant.languages_QR.cpu().numpy(),
            scores=relevant.scores_QR.cpu().numpy(),
            query_languages=self.query_languages,
            pool_sizes=sums["pool_sizes"].cpu().numpy(),
            languages=self.languages,
            losses=losses,
        )


def rank_benchmark(
    queries_QD: torch.Tensor,
    passages_ND: torch.Tensor,
    benchmark: Benchmark,
    temperature: float | None = None,
) -> RankTable:
    """The table of a whole benchmark whose embeddings are in memory."""
    relevant_QR = pad_rows(benchmark.relevant)
    rows_U, languages_N = list_relevant_rows(relevant_QR), np.asarray(benchmark.passage_languages)
    if len(passages_ND) != len(languages_N):
        raise ValueError(
            f"{len(passages_ND)} embeddings for the {len(languages_N)} passages of {benchmark.name}."
        )
    vectors_UD = passages_ND[torch.as_tensor(rows_U).to(passages_ND.device)]
    counter = RankCounter(
        queries_QD,
        benchmark.query_languages,
        relevant_QR,
        vectors_UD,
        languages_N[rows_U],
        benchmark.languages,
        temperature,
    )
    for start in range(0, len(passages_ND), PASSAGES_PER_COUNT):
        rows = np.arange(start, min(start + PASSAGES_PER_COUNT, len(passages_ND)))
        counter.add(rows, passages_ND[start : start + PASSAGES_PER_COUNT], languages_N[rows])
    return counter.table()
