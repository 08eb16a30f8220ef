"""Keeps the top of the rankings while passages stream by, and writes it as TREC run files.

Shapes: Q queries, B queries of a block, N passages of a batch, K kept, L languages,
W processes of a distributed run.
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
from hybrid_ir.files.atomic import write_atomically
from hybrid_ir.types import Benchmark

# scores up to 1 that equal to so many decimals tie: a matrix product may round one score
# differently in different batches
DIGITS = 12


class ScoreListener(Protocol):
    """An object that sees all scores that a RankCounter counts."""

    def take(
        self, first_query: int, scores_BN: torch.Tensor, rows_N: torch.Tensor, language: int
    ) -> None:
        """Takes scores in, which it must not change.

        Args:
            first_query: row of the first query of the block.
            scores_BN: scores of some passages for the queries of the block.
            rows_N: rows of the passages in the corpus.
            language: of the passages.
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
        """Takes in the scores of some passages of one language, see `ScoreListener`."""
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
            return shares_QL / places_Q[:, None]


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
