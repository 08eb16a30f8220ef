"""PassageVectors: passages as one vector each, or as several windows of which the best one scores.

Shapes: N passages, W windows of all of them (N where each has one), D width, B queries, P pairs of query and passage.
"""

from dataclasses import dataclass

import torch

from hybrid_ir.evaluation.exact_scores import compute_paired_dots, find_first_equal


@dataclass(frozen=True)
class PassageVectors:
    """Some passages; passage i has the `count_N[i]` windows that follow `first_N[i]`, and scores as the best of them."""

    vectors_WD: torch.Tensor
    first_N: torch.Tensor
    count_N: torch.Tensor

    @classmethod
    def of(
        cls, rows_W: torch.Tensor, vectors_WD: torch.Tensor
    ) -> tuple[torch.Tensor, "PassageVectors"]:
        """The distinct rows (N) and their vectors; windows of one passage repeat its row, one after the other."""
        rows_N, count_N = rows_W.unique_consecutive(return_counts=True)
        return rows_N, cls(vectors_WD, count_N.cumsum(0) - count_N, count_N)

    def __len__(self) -> int:
        return len(self.first_N)

    @property
    def single(self) -> bool:
        return len(self) == len(self.vectors_WD)

    def scores(self, queries_BD: torch.Tensor) -> torch.Tensor:
        """Scores (B, N) by a matrix product in float64, exact up to its rounding."""
        scores_BW = queries_BD.double() @ self.vectors_WD.double().T
        if self.single:
            return scores_BW
        owner_BW = (
            torch.arange(len(self), device=self.first_N.device)
            .repeat_interleave(self.count_N)
            .expand(len(queries_BD), -1)
        )
        return scores_BW.new_full((len(queries_BD), len(self)), -torch.inf).scatter_reduce_(
            1, owner_BW, scores_BW, "amax"
        )

    def paired(
        self, queries_QD: torch.Tensor, query_P: torch.Tensor, passage_P: torch.Tensor
    ) -> torch.Tensor:
        """Scores (P) of pairs, the same to the last bit in any batch and order."""
        if self.single:
            return compute_paired_dots(queries_QD, self.vectors_WD, query_P, passage_P)
        pair_X = torch.arange(len(passage_P), device=passage_P.device).repeat_interleave(
            self.count_N[passage_P]
        )
        start_P = self.count_N[passage_P].cumsum(0) - self.count_N[passage_P]
        window_X = (
            self.first_N[passage_P[pair_X]]
            + torch.arange(len(pair_X), device=pair_X.device)
            - start_P[pair_X]
        )
        scores_X = compute_paired_dots(queries_QD, self.vectors_WD, query_P[pair_X], window_X)
        return scores_X.new_full((len(passage_P),), -torch.inf).scatter_reduce_(
            0, pair_X, scores_X, "amax"
        )

    def first_equal(self) -> torch.Tensor:
        """For each passage the first one that must score alike (N); passages of several windows stand for themselves."""
        return (
            find_first_equal(self.vectors_WD)
            if self.single
            else torch.arange(len(self), device=self.first_N.device)
        )
