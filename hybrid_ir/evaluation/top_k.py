"""What stands at the top of the rankings, kept while passages stream by.

Shapes: Q queries, B queries of a block, N passages of a batch, K kept, L languages.
"""

import math
from typing import Protocol

import numpy as np
import torch

from hybrid_ir.distributed import gather_uneven, get_rank

DIGITS = 12  # scores up to 1 that equal to so many decimals tie: a matrix product may round the same score differently


class ScoreListener(Protocol):
    """What else wants to see the scores that a RankCounter counts."""

    def take(
        self, first_query: int, scores_BN: torch.Tensor, rows_N: torch.Tensor, language: int
    ) -> None:
        """Scores of some passages of one language for the queries from `first_query` on; not to be changed."""


class TopK:
    """The best `depth` passages of every query; equal scores in the order of their rows in the corpus.

    Args:
        query_languages_Q: keep only passages in the query's language; None for all languages.
        left_out_Q: a row per query that is passed over, -1 for none.
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
        self.query_languages_Q = (
            None
            if query_languages_Q is None
            else torch.as_tensor(np.asarray(query_languages_Q)).long()
        )
        self.left_out_Q = None if left_out_Q is None else torch.as_tensor(left_out_Q).long()
        self.scores_QK = torch.full((queries, depth), -torch.inf, dtype=torch.float64)
        self.rows_QK = torch.full((queries, depth), -1)
        self.languages_QK = torch.full((queries, depth), -1)

    def take(
        self, first_query: int, scores_BN: torch.Tensor, rows_N: torch.Tensor, language: int
    ) -> None:
        asked_B = torch.arange(first_query, first_query + len(scores_BN))
        if self.query_languages_Q is not None:
            mine_B = self.query_languages_Q[asked_B] == language
            asked_B, scores_BN = asked_B[mine_B], scores_BN[mine_B.to(scores_BN.device)]
        if not len(asked_B):
            return
        if self.left_out_Q is not None:
            scores_BN = scores_BN.masked_fill(
                self.left_out_Q[asked_B, None].to(rows_N.device) == rows_N, -torch.inf
            )
        place_BK = find_top_columns(
            scores_BN.round(decimals=self.digits), rows_N, min(self.depth, len(rows_N))
        )
        best_BK = scores_BN.gather(1, place_BK).round(decimals=self.digits)
        rows_BK = rows_N[place_BK].cpu()
        self._merge(asked_B, best_BK.cpu(), rows_BK, torch.full_like(rows_BK, language))

    def _merge(
        self,
        asked_B: torch.Tensor,
        scores_BK: torch.Tensor,
        rows_BK: torch.Tensor,
        languages_BK: torch.Tensor,
    ) -> None:
        scores = torch.cat([self.scores_QK[asked_B], scores_BK], 1)
        rows = torch.cat([self.rows_QK[asked_B], rows_BK], 1)
        languages = torch.cat([self.languages_QK[asked_B], languages_BK], 1)
        by_row = rows.argsort(
            dim=1
        )  # then stably by score: equal scores stay in the order of their rows
        by_score = scores.gather(1, by_row).argsort(stable=True, dim=1, descending=True)
        order = by_row.gather(1, by_score)[:, : self.depth]
        self.scores_QK[asked_B], self.rows_QK[asked_B] = (
            scores.gather(1, order),
            rows.gather(1, order),
        )
        self.languages_QK[asked_B] = languages.gather(1, order)

    def merge_ranks(self) -> None:
        """Take in what the other ranks of a distributed run have seen, each other passages of the corpus."""
        found = [
            gather_uneven(values_QK[None])
            for values_QK in (self.scores_QK, self.rows_QK, self.languages_QK)
        ]
        every = torch.arange(len(self.scores_QK))
        for other in range(len(found[0])):
            if other != get_rank():
                self._merge(every, *(values_WQK[other] for values_WQK in found))

    def language_shares(self, k: int, languages: int) -> np.ndarray:
        """Share of each language in the first k of every query (Q, L); passages that tie at place k share what is left.

        Exact unless the tie goes on behind the kept depth: keep more than k. NaN where fewer than one passage is kept.
        """
        scores_QK, there_QK = self.scores_QK.numpy(), self.languages_QK.numpy() >= 0
        filled_Q = np.minimum(there_QK.sum(1), k)
        last_Q1 = np.take_along_axis(scores_QK, np.maximum(filled_Q - 1, 0)[:, None], 1)
        above_QK, tied_QK = there_QK & (scores_QK > last_Q1), there_QK & (scores_QK == last_Q1)
        room_Q1 = filled_Q[:, None] - above_QK.sum(1, keepdims=True)
        weights_QK = above_QK + tied_QK * room_Q1 / np.maximum(tied_QK.sum(1, keepdims=True), 1)
        shares_QL = np.stack(
            [
                (weights_QK * (self.languages_QK.numpy() == language)).sum(1)
                for language in range(languages)
            ],
            1,
        )
        with np.errstate(invalid="ignore"):
            return shares_QL / filled_Q[:, None]


def find_top_columns(scores_BN: torch.Tensor, rows_N: torch.Tensor, k: int) -> torch.Tensor:
    """Columns of the k best scores (B, K) in no order; of those that tie at the edge the first rows of the corpus."""
    order_N = rows_N.argsort()
    scores_BN = scores_BN[:, order_N]
    edge_B1 = scores_BN.topk(k, dim=1).values[:, -1:]
    above_BN, tied_BN = scores_BN > edge_B1, scores_BN == edge_B1
    room_B1 = k - above_BN.sum(1, keepdim=True)
    chosen_BN = above_BN | (tied_BN & (tied_BN.cumsum(1) <= room_B1))
    return order_N[chosen_BN.nonzero()[:, 1].view(len(scores_BN), k)]
