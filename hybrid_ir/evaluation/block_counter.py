"""Counts the passages of a batch above the relevant passages of a block of queries.

Shapes: B queries of a block, R relevant passages of a query (short rows are filled), N passages,
L languages, K relevant passages of a query in one language, P pairs of a query and a passage,
U those of them that differ, D width.
"""

from collections.abc import Sequence

import torch

from hybrid_ir.evaluation.exact_scores import RelevantPassages
from hybrid_ir.evaluation.passage_batch import PassageBatch, cut_dimensions, split_evenly
from hybrid_ir.evaluation.rank_table import ALL_LANGUAGES, OWN_LANGUAGE
from hybrid_ir.evaluation.score_bands import ScoreBands
from hybrid_ir.evaluation.sorted_rows import is_above, search_rows
from hybrid_ir.evaluation.top_k import ScoreListener

PASSAGES_AT_ONCE = 2048  # whose scores are held at once
# A score in doubt costs so much more than another one that float64, which leaves fewer, is quicker
# where their share is larger.
LARGEST_DOUBTFUL_SHARE = 1 / 64
FEWEST_DOUBTFUL = 4096  # below which nothing is started again
# up to so many relevant passages of one language are compared with each score, not searched
MOST_COMPARED = 8


class TooManyDoubtsError(Exception):
    """Too many scores lie so near to that of a relevant passage that float32 cannot decide."""


class LanguageParts:
    """The relevant passages of some queries, sorted by language and then by score.

    Attributes:
        order_BR: the place of each among the relevant passages of its query.
        scores_BR: their scores.
        starts_BL: where each language begins in a row; with one column more, where the last ends.
        most_L: the largest number of relevant passages of a query in each language.
    """

    def __init__(self, scores_BR: torch.Tensor, languages_BR: torch.Tensor, languages: int):
        by_score_BR = scores_BR.argsort(1)
        by_language_BR = languages_BR.gather(1, by_score_BR).argsort(dim=1, stable=True)
        self.order_BR = by_score_BR.gather(1, by_language_BR)
        self.scores_BR = scores_BR.gather(1, self.order_BR)
        sorted_languages_BR = languages_BR.gather(1, self.order_BR)
        edges = torch.arange(languages + 1, device=scores_BR.device)
        self.starts_BL = torch.searchsorted(
            sorted_languages_BR, edges.expand(len(scores_BR), -1).contiguous()
        )
        self.most_L = self.starts_BL.diff(dim=1).amax(0).tolist()

    def find_place(self, language: int, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Finds the relevant passage of a number in a language.

        Returns:
            Its place among those of each query (B, 1), any where there is none, and whether there
            is one (B, 1).
        """
        place_B1 = self.starts_BL[:, language, None] + number
        is_there_B1 = place_B1 < self.starts_BL[:, language + 1, None]
        return self.order_BR.gather(1, place_B1.clamp(max=self.order_BR.shape[1] - 1)), is_there_B1


class HiddenPassages:
    """Passages of a batch that do not count for some queries.

    Args:
        batch: the passages.
        rows_BR: rows of the corpus that are hidden from each query, filled with -1.
    """

    def __init__(self, batch: PassageBatch, rows_BR: torch.Tensor):
        is_here_BR, place_BR = batch.find_columns(rows_BR)
        query_P = is_here_BR.nonzero()[:, 0]
        self.place_P, order_P = place_BR[is_here_BR].sort()
        self.query_P = query_P[order_P]

    def hide(self, scores_BN: torch.Tensor, start: int) -> None:
        """Sets their scores to -inf, among those of the passages from `start` on."""
        edges = torch.tensor([start, start + scores_BN.shape[1]], device=scores_BN.device)
        first, last = torch.searchsorted(self.place_P, edges).tolist()
        part = slice(first, last)
        scores_BN[self.query_P[part], self.place_P[part] - start] = -torch.inf


class BlockCounter:
    """Counts the passages of a batch for a block of queries.

    Args:
        relevant: of all queries.
        block: the queries that are counted.
        queries_BD: their vectors.
        batch: the passages.
        languages: number of languages.
        dtype: of the matrix product.

    Attributes:
        above_BRP: passages above each relevant passage, by pool, without the relevant ones.
        tied_BRP: passages with the same score.
        weights_B: for a temperature, the sum of exp((score - best relevant score) / temperature).
    """

    def __init__(
        self,
        relevant: RelevantPassages,
        block: slice,
        queries_BD: torch.Tensor,
        batch: PassageBatch,
        languages: int,
        dtype: torch.dtype,
    ):
        self.block = block
        self.batch = batch
        self.queries_BD = queries_BD
        self.dtype = dtype
        self.scores_BR = relevant.scores_QR[block]
        self.best_B1 = relevant.best_Q[block, None]
        self.margin_B1 = batch.compute_margin(queries_BD, dtype)
        self.parts = LanguageParts(self.scores_BR, relevant.languages_QR[block], languages)
        self.bands = ScoreBands(self.scores_BR, self.margin_B1, dtype)
        self.language_bands: dict[int, ScoreBands] = {}
        self.relevant_passages = HiddenPassages(batch, relevant.rows_QR[block])
        shape = (*self.scores_BR.shape, 2)
        self.above_BRP = torch.zeros(shape, dtype=torch.int64, device=queries_BD.device)
        self.tied_BRP = torch.zeros_like(self.above_BRP)
        self.weights_B = queries_BD.new_zeros(len(queries_BD), dtype=torch.float64)
        self._doubtful: list[tuple[torch.Tensor, torch.Tensor]] = []

    def count(
        self,
        own_rows_B1: torch.Tensor | None = None,
        listeners: Sequence[ScoreListener] = (),
        temperature: float | None = None,
    ) -> None:
        """Counts all passages of the batch.

        Args:
            own_rows_B1: row of the passage that is the query itself and does not count.
            listeners: see every score.
            temperature: of the weights; None for none.

        Raises:
            TooManyDoubtsError: Another type would be quicker. Nothing was changed.
        """
        own_passages = None
        if own_rows_B1 is not None:
            own_passages = HiddenPassages(self.batch, own_rows_B1)
        block_listeners = []
        for listener in listeners:
            block_listeners.append(
                listener.open_block(self.batch, self.block.start, self.margin_B1)
            )
        query_parts = cut_dimensions(self.queries_BD, self.dtype)
        for start, end in split_evenly(len(self.batch), PASSAGES_AT_ONCE):
            scores_BN = self.batch.score(query_parts, start, end)
            if own_passages is not None:
                own_passages.hide(scores_BN, start)
            for listener in block_listeners:
                listener.take(scores_BN, start)
            # relevant passages are compared with each other at the end, so none counts here
            self.relevant_passages.hide(scores_BN, start)
            if temperature is not None:
                shifted_BN = scores_BN.sub(self.best_B1).div_(temperature)
                self.weights_B += shifted_BN.exp_().sum(1)
            query_P, column_P = self.bands.add(scores_BN)
            self._note_doubts(query_P, column_P + start)
            scores_BN[query_P, column_P] = -torch.inf
            self._count_own_languages(scores_BN, start)
        self.above_BRP[:, :, ALL_LANGUAGES] += self.bands.count_above()
        for language, bands in self.language_bands.items():
            self._add_to_language(language, bands.count_above())
        self._count_exactly()
        for listener in block_listeners:
            listener.finish(self.queries_BD)

    def _note_doubts(self, query_P: torch.Tensor, place_P: torch.Tensor) -> None:
        """Keeps pairs that must be computed exactly."""
        self._doubtful.append((query_P, place_P))
        if self.dtype == torch.float64:
            return
        doubts = sum(len(queries) for queries, _ in self._doubtful)
        scores = len(self.queries_BD) * len(self.batch)
        if doubts > max(FEWEST_DOUBTFUL, LARGEST_DOUBTFUL_SHARE * scores):
            raise TooManyDoubtsError

    def _count_own_languages(self, scores_BN: torch.Tensor, start: int) -> None:
        """Counts the scores above the relevant passages of the same language."""
        end = start + scores_BN.shape[1]
        for language, first, last in self.batch.list_language_runs(start, end):
            most = self.parts.most_L[language]
            if most > MOST_COMPARED:
                if language not in self.language_bands:
                    self.language_bands[language] = self._build_language_bands(language)
                self.language_bands[language].add(scores_BN[:, first:last].contiguous())
                continue
            for number in range(most):
                place_B1, is_there_B1 = self.parts.find_place(language, number)
                limit_B1 = self.bands.upper_QR.gather(1, place_B1)
                limit_B1 = limit_B1.masked_fill(~is_there_B1, torch.inf)
                is_above_BN = is_above(scores_BN[:, first:last], limit_B1)
                above_B1 = is_above_BN.sum(1, keepdim=True, dtype=torch.int64)
                self.above_BRP[:, :, OWN_LANGUAGE].scatter_add_(1, place_B1, above_B1)

    def _build_language_bands(self, language: int) -> ScoreBands:
        """Returns the bands of the relevant passages of a language alone."""
        scores = []
        for number in range(self.parts.most_L[language]):
            place_B1, is_there_B1 = self.parts.find_place(language, number)
            score_B1 = self.scores_BR.gather(1, place_B1)
            scores.append(score_B1.masked_fill(~is_there_B1, torch.inf))
        return ScoreBands(torch.cat(scores, 1), self.margin_B1, self.dtype)

    def _add_to_language(self, language: int, counts_BK: torch.Tensor) -> None:
        """Adds counts of the relevant passages of a language, in the order of their numbers."""
        for number in range(counts_BK.shape[1]):
            place_B1, is_there_B1 = self.parts.find_place(language, number)
            count_B1 = counts_BK[:, number, None] * is_there_B1
            self.above_BRP[:, :, OWN_LANGUAGE].scatter_add_(1, place_B1, count_B1)

    def _count_exactly(self) -> None:
        """Decides the pairs that a matrix product leaves in doubt."""
        query_P, place_P = map(torch.cat, zip(*self._doubtful, strict=True))
        if len(query_P) == 0:
            return
        query_U, place_U, times_U = self._join_equal_pairs(query_P, place_P)
        score_U = self.batch.passages.compute_paired_scores(self.queries_BD, query_U, place_U)
        language_U = self.batch.languages_N[place_U]
        sorted_BR, order_BR = self.scores_BR.sort(1)
        zeros_U = torch.zeros_like(query_U)
        of_all = (sorted_BR, order_BR, zeros_U, zeros_U + sorted_BR.shape[1])
        starts_BL = self.parts.starts_BL
        of_own_language = (
            self.parts.scores_BR,
            self.parts.order_BR,
            starts_BL[query_U, language_U],
            starts_BL[query_U, language_U + 1],
        )
        for pool, candidates in ((ALL_LANGUAGES, of_all), (OWN_LANGUAGE, of_own_language)):
            above_BR, tied_BR = count_in_parts(query_U, score_U, times_U, *candidates)
            self.above_BRP[:, :, pool] += above_BR
            self.tied_BRP[:, :, pool] += tied_BR

    def _join_equal_pairs(
        self, query_P: torch.Tensor, place_P: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Joins pairs of equal vectors: a collapsed model has nothing else.

        Returns:
            The queries, the places of passages, and how often each of these pairs counts (U).
        """
        first_equal_N = self.batch.first_equal_N
        if first_equal_N is None:
            return query_P, place_P, torch.ones_like(query_P)
        passages = len(self.batch)
        pair_U, times_U = (query_P * passages + first_equal_N[place_P]).unique(return_counts=True)
        return pair_U // passages, pair_U % passages, times_U


def count_in_parts(
    query_U: torch.Tensor,
    score_U: torch.Tensor,
    times_U: torch.Tensor,
    sorted_BR: torch.Tensor,
    order_BR: torch.Tensor,
    low_U: torch.Tensor,
    high_U: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Counts exact scores above relevant passages, and those that tie with them.

    Args:
        query_U: the query of each score.
        score_U: the scores.
        times_U: how often each counts.
        sorted_BR: scores of relevant passages; each score is compared with a sorted part of a row.
        order_BR: the place of these passages among the relevant ones of their query.
        low_U: where the part of each score begins.
        high_U: where it ends.

    Returns:
        How many scores are above each relevant passage, and how many tie (B, R).
    """
    first_U = search_rows(sorted_BR, query_U, score_U, low_U, high_U)
    last_U = search_rows(sorted_BR, query_U, score_U, first_U, high_U, right=True)
    # a score is above the passages from low to first, and ties with those from first to last
    above_BR = _add_to_ranges(sorted_BR, query_U, low_U, first_U, times_U)
    tied_BR = _add_to_ranges(sorted_BR, query_U, first_U, last_U, times_U)
    zeros_BR = torch.zeros_like(above_BR)
    return zeros_BR.scatter(1, order_BR, above_BR), zeros_BR.scatter(1, order_BR, tied_BR)


def _add_to_ranges(
    like_BR: torch.Tensor,
    query_U: torch.Tensor,
    start_U: torch.Tensor,
    end_U: torch.Tensor,
    times_U: torch.Tensor,
) -> torch.Tensor:
    """Returns, for each place of each row, the times of the ranges that hold it (B, R)."""
    queries, width = like_BR.shape
    changes = torch.zeros(queries * (width + 1), dtype=torch.int64, device=like_BR.device)
    first_place_U = query_U * (width + 1)
    changes.index_add_(0, first_place_U + start_U, times_U)
    changes.index_add_(0, first_place_U + end_U, -times_U)
    return changes.view(queries, width + 1).cumsum(1)[:, :-1]
