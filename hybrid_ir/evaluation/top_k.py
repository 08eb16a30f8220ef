"""Keeps the top of the rankings while passages stream by, and writes it as TREC run files.

Shapes: Q queries, B queries of a block, N passages of a batch, K kept, L languages, P pairs of a
query and a passage, A what is kept and candidates together, W processes of a distributed run.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

import numpy as np
import torch

from hybrid_ir.distributed import gather_uneven, get_rank
from hybrid_ir.evaluation.passage_batch import PassageBatch
from hybrid_ir.evaluation.sorted_rows import find_true, is_above
from hybrid_ir.files.atomic import write_atomically
from hybrid_ir.types import Benchmark

# scores up to 1 that equal to so many decimals tie: a matrix product may round one score
# differently in different batches
DIGITS = 12
PASSAGES_PER_GROUP = 16  # of which only the best score is sorted


class BlockListener(Protocol):
    """An object that sees the scores of a block of queries for the passages of a batch."""

    def take(self, scores_BN: torch.Tensor, start: int) -> None:
        """Takes scores in, which it must not change.

        Args:
            scores_BN: approximate scores, -inf for a passage that is not in the ranking of a query.
            start: the place in the batch of the first of these passages.
        """

    def finish(self, queries_BD: torch.Tensor) -> None:
        """Learns that it has seen all passages of the batch.

        Args:
            queries_BD: the vectors of the queries, for exact scores.
        """


class ScoreListener(Protocol):
    """An object that sees all scores that a RankCounter counts.

    Blocks of different queries may be counted by several threads at once.
    """

    def open_block(
        self, batch: PassageBatch, first_query: int, margin_B1: torch.Tensor
    ) -> BlockListener:
        """Returns what sees the scores of a block of queries.

        Args:
            batch: the passages.
            first_query: row of the first query of the block.
            margin_B1: how far a score of a query may be from the exact one.
        """


class TopK:
    """The best passages of every query; equal scores stand in the order of their rows.

    Args:
        queries: number of queries.
        depth: passages kept of each.
        query_languages_Q: keep only passages in the query's language; None for all languages.
        left_out_Q: a row for each query that is passed over, -1 for none.
        largest: about how large a score may be; 1 for unit vectors.
    """

    def __init__(
        self,
        queries: int,
        depth: int,
        query_languages_Q: np.ndarray | None = None,
        left_out_Q: np.ndarray | None = None,
        largest: float = 1.0,
    ):
        self.depth = depth
        self.digits = DIGITS - math.ceil(math.log10(max(largest, 1.0)))
        self.query_languages_Q = None
        if query_languages_Q is not None:
            self.query_languages_Q = torch.as_tensor(np.asarray(query_languages_Q)).long()
        self.left_out_Q = None
        if left_out_Q is not None:
            self.left_out_Q = torch.as_tensor(left_out_Q).long()
        self.scores_QK = torch.full((queries, depth), -torch.inf, dtype=torch.float64)
        self.rows_QK = torch.full((queries, depth), -1)
        self.languages_QK = torch.full((queries, depth), -1)

    def take(
        self, first_query: int, scores_BN: torch.Tensor, rows_N: torch.Tensor, language: int
    ) -> None:
        """Takes in the exact scores of some passages of one language.

        Args:
            first_query: row of the first query of the block.
            scores_BN: scores of the passages for the queries of the block.
            rows_N: rows of the passages in the corpus.
            language: of the passages.
        """
        query_B = torch.arange(first_query, first_query + len(scores_BN))
        if self.query_languages_Q is not None:
            is_asked_B = self.query_languages_Q[query_B] == language
            query_B = query_B[is_asked_B]
            scores_BN = scores_BN[is_asked_B.to(scores_BN.device)]
        if len(query_B) == 0:
            return
        if self.left_out_Q is not None:
            is_left_out_BN = self.left_out_Q[query_B, None].to(rows_N.device) == rows_N
            scores_BN = scores_BN.masked_fill(is_left_out_BN, -torch.inf)
        rounded_BN = scores_BN.round(decimals=self.digits)
        column_BK = find_top_columns(rounded_BN, rows_N, min(self.depth, len(rows_N)))
        best_BK = scores_BN.gather(1, column_BK).round(decimals=self.digits)
        rows_BK = rows_N[column_BK].cpu()
        self._merge(query_B, best_BK.cpu(), rows_BK, torch.full_like(rows_BK, language))

    def _merge(
        self,
        query_B: torch.Tensor,
        scores_BK: torch.Tensor,
        rows_BK: torch.Tensor,
        languages_BK: torch.Tensor,
    ) -> None:
        """Joins candidates to what is kept of some queries, and keeps the best of both."""
        scores = torch.cat([self.scores_QK[query_B], scores_BK], 1)
        rows = torch.cat([self.rows_QK[query_B], rows_BK], 1)
        languages = torch.cat([self.languages_QK[query_B], languages_BK], 1)
        # by row, then stably by score: equal scores stay in the order of their rows
        by_row = rows.argsort(dim=1)
        by_score = scores.gather(1, by_row).argsort(stable=True, dim=1, descending=True)
        order = by_row.gather(1, by_score)[:, : self.depth]
        self.scores_QK[query_B] = scores.gather(1, order)
        self.rows_QK[query_B] = rows.gather(1, order)
        self.languages_QK[query_B] = languages.gather(1, order)

    def open_block(
        self, batch: PassageBatch, first_query: int, margin_B1: torch.Tensor
    ) -> "TopCandidates":
        """Returns what finds the best passages of a batch, see `ScoreListener`."""
        return TopCandidates(self, batch, first_query, margin_B1)

    def merge_pairs(
        self,
        queries: slice,
        query_P: np.ndarray,
        rows_P: np.ndarray,
        scores_P: np.ndarray,
        languages_P: np.ndarray,
    ) -> None:
        """Joins candidates to what is kept of a block of queries, and keeps the best of both.

        Args:
            queries: the block.
            query_P: the query of each candidate, as its place in the block.
            rows_P: the row of each candidate.
            scores_P: the score of each candidate, rounded.
            languages_P: the language of each candidate.
        """
        count = queries.stop - queries.start
        kept_query_A = np.repeat(np.arange(count), self.depth)
        query_A = np.concatenate([kept_query_A, query_P])
        rows_A = np.concatenate([self.rows_QK[queries].numpy().ravel(), rows_P])
        scores_A = np.concatenate([self.scores_QK[queries].numpy().ravel(), scores_P])
        languages_A = np.concatenate([self.languages_QK[queries].numpy().ravel(), languages_P])
        order_A = np.lexsort((rows_A, -scores_A, query_A))
        count_B = np.bincount(query_A, minlength=count)
        first_B = np.cumsum(count_B) - count_B
        kept_BK = order_A[first_B[:, None] + np.arange(self.depth)]
        self.scores_QK[queries] = torch.from_numpy(scores_A[kept_BK])
        self.rows_QK[queries] = torch.from_numpy(rows_A[kept_BK])
        self.languages_QK[queries] = torch.from_numpy(languages_A[kept_BK])

    def merge_ranks(self) -> None:
        """Takes in what the other processes saw, each of them other passages of the corpus."""
        scores_WQK = gather_uneven(self.scores_QK[None])
        rows_WQK = gather_uneven(self.rows_QK[None])
        languages_WQK = gather_uneven(self.languages_QK[None])
        every_query = torch.arange(len(self.scores_QK))
        for process in range(len(scores_WQK)):
            if process != get_rank():
                self._merge(
                    every_query, scores_WQK[process], rows_WQK[process], languages_WQK[process]
                )

    def compute_language_shares(self, k: int, languages: int) -> np.ndarray:
        """Computes the share of each language in the first k of every query (Q, L).

        Passages that tie at place k share what is left of the k places. This is exact unless the
        tie goes on behind the kept depth, so keep more than k.

        Args:
            k: how many passages count.
            languages: number of languages.

        Returns:
            The shares, NaN for a query of which no passage is kept.
        """
        scores_QK = self.scores_QK.numpy()
        languages_QK = self.languages_QK.numpy()
        is_kept_QK = languages_QK >= 0
        places_Q = np.minimum(is_kept_QK.sum(1), k)
        last_place_Q1 = np.maximum(places_Q - 1, 0)[:, None]
        last_score_Q1 = np.take_along_axis(scores_QK, last_place_Q1, 1)
        is_above_QK = is_kept_QK & (scores_QK > last_score_Q1)
        is_tied_QK = is_kept_QK & (scores_QK == last_score_Q1)
        room_Q1 = places_Q[:, None] - is_above_QK.sum(1, keepdims=True)
        tied_Q1 = np.maximum(is_tied_QK.sum(1, keepdims=True), 1)
        weights_QK = is_above_QK + is_tied_QK * room_Q1 / tied_Q1
        shares = []
        for language in range(languages):
            shares.append((weights_QK * (languages_QK == language)).sum(1))
        shares_QL = np.stack(shares, 1)
        with np.errstate(invalid="ignore"):
            # Parts of places that tie may sum to a little more than all places.
            return np.minimum(shares_QL / places_Q[:, None], 1)


class TopCandidates:
    """Finds the passages of a batch that may be at the top of the rankings of some queries.

    Their approximate scores say which, with room for errors; the exact scores of these few decide.

    Args:
        top: what is kept of every query.
        batch: the passages.
        first_query: row of the first query of the block.
        margin_B1: how far a score of a query may be from the exact one.
    """

    def __init__(self, top: TopK, batch: PassageBatch, first_query: int, margin_B1: torch.Tensor):
        self.top = top
        self.batch = batch
        self.queries = slice(first_query, first_query + len(margin_B1))
        # scores that are equal after rounding tie, so that a lower one may come first
        tie = 10.0**-top.digits
        kept_B1 = top.scores_QK[self.queries, -1:].to(margin_B1.device)
        self.limit_B1 = kept_B1 - margin_B1 - tie
        # of the best score of a group of passages the exact one is lower by the margin at most
        self.room_B1 = 2 * margin_B1 + tie
        self.best_BK = margin_B1.new_full((len(margin_B1), top.depth), -torch.inf)
        self.parts: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
        self.is_asked_BL = None
        if top.query_languages_Q is not None:
            query_languages_B1 = top.query_languages_Q[self.queries, None].to(margin_B1.device)
            languages = torch.arange(int(batch.languages_N.max()) + 1, device=margin_B1.device)
            self.is_asked_BL = query_languages_B1 == languages
        self.is_crowded_out_N = batch.find_crowded_out(top.depth)

    def take(self, scores_BN: torch.Tensor, start: int) -> None:
        """Takes in the approximate scores of some passages, see `BlockListener`."""
        end = start + scores_BN.shape[1]
        if self.is_asked_BL is not None:
            is_asked_BN = self.is_asked_BL[:, self.batch.languages_N[start:end]]
            scores_BN = scores_BN.masked_fill(~is_asked_BN, -torch.inf)
        self._raise_limit(scores_BN)
        is_candidate_BN = is_above(scores_BN, self._round_limit(scores_BN.dtype))
        if self.is_crowded_out_N is not None:
            is_candidate_BN &= ~self.is_crowded_out_N[start:end]
        query_P, column_P = find_true(is_candidate_BN)
        self.parts.append((query_P, column_P + start, scores_BN[query_P, column_P]))

    def _round_limit(self, dtype: torch.dtype) -> torch.Tensor:
        """Returns the limit in the type of the scores, no higher than it is (B, 1)."""
        limit_B1 = self.limit_B1.to(dtype)
        return torch.nextafter(limit_B1, torch.full_like(limit_B1, -torch.inf))

    def _raise_limit(self, scores_BN: torch.Tensor) -> None:
        """Raises the score that a candidate must have, by what is known of these passages.

        The best passages of disjoint groups are different passages: the worst of the `depth` best
        of them is not above the place where the ranking is cut. Groups cost less to sort.
        """
        passages = scores_BN.shape[1]
        groups = passages // PASSAGES_PER_GROUP
        if groups >= 2 * self.top.depth:
            grouped = scores_BN[:, : groups * PASSAGES_PER_GROUP]
            scores_BN = grouped.unflatten(1, (PASSAGES_PER_GROUP, groups)).amax(1)
        joined = torch.cat([self.best_BK.to(scores_BN.dtype), scores_BN], 1)
        self.best_BK = joined.topk(self.top.depth, dim=1).values
        lowest_B1 = self.best_BK[:, -1:].double() - self.room_B1
        self.limit_B1 = torch.maximum(self.limit_B1, lowest_B1)

    def finish(self, queries_BD: torch.Tensor) -> None:
        """Computes the exact scores of the candidates, and keeps the best."""
        query_P, place_P, score_P = map(torch.cat, zip(*self.parts, strict=True))
        is_kept_P = score_P > self._round_limit(score_P.dtype)[query_P, 0]
        query_P = query_P[is_kept_P]
        place_P = place_P[is_kept_P]
        if len(query_P) == 0:
            return
        exact_P = self.batch.passages.compute_paired_scores(queries_BD, query_P, place_P)
        self.top.merge_pairs(
            self.queries,
            query_P.cpu().numpy(),
            self.batch.rows_N[place_P].cpu().numpy(),
            exact_P.round(decimals=self.top.digits).cpu().numpy(),
            self.batch.languages_N[place_P].cpu().numpy(),
        )


def find_top_columns(scores_BN: torch.Tensor, rows_N: torch.Tensor, k: int) -> torch.Tensor:
    """Finds the columns of the k best scores of each query (B, K), in no order.

    Of the passages that tie at the edge it takes those that come first in the corpus.
    """
    order_N = rows_N.argsort()
    scores_BN = scores_BN[:, order_N]
    edge_B1 = scores_BN.topk(k, dim=1).values[:, -1:]
    is_above_BN = scores_BN > edge_B1
    is_tied_BN = scores_BN == edge_B1
    room_B1 = k - is_above_BN.sum(1, keepdim=True)
    is_chosen_BN = is_above_BN | (is_tied_BN & (is_tied_BN.cumsum(1) <= room_B1))
    return order_N[is_chosen_BN.nonzero()[:, 1].view(len(scores_BN), k)]


def write_trec_runs(runs: Mapping[str, TopK], benchmark: Benchmark, tag: str, folder: Path) -> None:
    """Writes the top of the rankings and their judgements for any other tool of the field.

    Each view gets `run.{view}.trec` with lines `query Q0 passage rank score tag`, and
    `qrels.{view}.trec`. The id of a query is `{language}:{question}:{row}`, since one question is
    asked in many languages, and may be asked twice in one.

    Args:
        runs: the top of the ranking in each view.
        benchmark: that was ranked.
        tag: name of the system.
        folder: where the files go.
    """
    if not runs:
        return
    query_ids = []
    for row, question in enumerate(benchmark.question_ids):
        language = benchmark.languages[int(benchmark.query_languages[row])]
        query_ids.append(f"{language}:{quote_blanks(question)}:{row}")
    for view, top in runs.items():
        run_lines = _format_run(top, query_ids, benchmark, tag)
        _write_lines(run_lines, folder / f"run.{view}.trec")
        judgement_lines = _format_judgements(view, query_ids, benchmark)
        _write_lines(judgement_lines, folder / f"qrels.{view}.trec")


def _write_lines(lines: Iterable[str], place: Path) -> None:
    with write_atomically(place) as path, open(path, "w", encoding="utf-8") as file:
        file.writelines(lines)


def _format_run(top: TopK, query_ids: list[str], benchmark: Benchmark, tag: str) -> Iterator[str]:
    tag = quote_blanks(tag)
    for query_id, rows_K, scores_K in zip(query_ids, top.rows_QK, top.scores_QK, strict=True):
        ranked = zip(rows_K.tolist(), scores_K.tolist(), strict=True)
        for rank, (row, score) in enumerate(ranked, start=1):
            if row >= 0:
                passage_id = quote_blanks(benchmark.passage_ids[row])
                yield f"{query_id} Q0 {passage_id} {rank} {score:.12f} {tag}\n"


def _format_judgements(view: str, query_ids: list[str], benchmark: Benchmark) -> Iterator[str]:
    passage_languages_N = np.asarray(benchmark.passage_languages)
    missing_languages = benchmark.list_missing_languages()
    for query, query_id in enumerate(query_ids):
        for place, row in enumerate(benchmark.relevant[query].tolist()):
            grade = 1.0 if benchmark.grades is None else float(benchmark.grades[query][place])
            is_own_language = passage_languages_N[row] == benchmark.query_languages[query]
            if view == "multi" or is_own_language:
                passage_id = quote_blanks(benchmark.passage_ids[row])
                yield f"{query_id} 0 {passage_id} {grade:g}\n"
        if benchmark.missing_grades is not None and benchmark.count_missing:
            # their ids are not kept, and no run has them
            languages = missing_languages[query].tolist()
            for place, grade in enumerate(benchmark.missing_grades[query].tolist()):
                is_own_language = languages[place] == benchmark.query_languages[query]
                if view != "multi" and not is_own_language:
                    continue
                yield f"{query_id} 0 not-in-corpus:{query_id}:{place} {grade:g}\n"


def quote_blanks(text: str) -> str:
    """Replaces blanks, which end a field of a run file, by %20 and so on.

    The percent sign is replaced, too, so that different ids stay different.
    """
    return re.sub(r"[\s%]", lambda match: quote(match[0]), str(text))
