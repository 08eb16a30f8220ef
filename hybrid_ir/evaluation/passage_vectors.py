"""Holds passages as vectors, and the relevant passages of every query with their exact scores.

Shapes: N passages, W windows of all of them (N where each passage has one), Q queries, R relevant
passages of a query (short rows are filled), U distinct relevant passages, P pairs of a query and a
passage, X windows of these pairs, D width. A counts array ends in the two pools of a rank table.
"""

from dataclasses import dataclass

import torch

from hybrid_ir.evaluation.exact_scores import compute_paired_dots, find_first_equal
from hybrid_ir.evaluation.rank_table import ALL_LANGUAGES, OWN_LANGUAGE

COMPARISONS_AT_ONCE = 1 << 20  # comparisons of relevant passages with each other held at once


@dataclass(frozen=True)
class PassageVectors:
    """Some passages, each as one vector or as several windows of which the best one scores.

    Passage i has the `count_N[i]` windows that begin at `first_N[i]`.
    """

    vectors_WD: torch.Tensor
    first_N: torch.Tensor
    count_N: torch.Tensor

    @classmethod
    def from_windows(
        cls, rows_W: torch.Tensor, vectors_WD: torch.Tensor
    ) -> tuple[torch.Tensor, "PassageVectors"]:
        """Groups windows by passage.

        Args:
            rows_W: row in the corpus of each window; the windows of a passage stand together.
            vectors_WD: the vectors of the windows.

        Returns:
            The distinct rows (N), and the passages in their order.
        """
        rows_N, count_N = rows_W.unique_consecutive(return_counts=True)
        return rows_N, cls(vectors_WD, count_N.cumsum(0) - count_N, count_N)

    def __len__(self) -> int:
        return len(self.first_N)

    @property
    def has_one_window_each(self) -> bool:
        """Whether no passage has a second window."""
        return len(self) == len(self.vectors_WD)

    def compute_scores(self, queries_QD: torch.Tensor) -> torch.Tensor:
        """Computes all scores (Q, N) by a matrix product in float64, exact up to its rounding."""
        scores_QW = queries_QD.double() @ self.vectors_WD.double().T
        if self.has_one_window_each:
            return scores_QW
        passages_N = torch.arange(len(self), device=self.first_N.device)
        passage_QW = passages_N.repeat_interleave(self.count_N).expand(len(queries_QD), -1)
        scores_QN = scores_QW.new_full((len(queries_QD), len(self)), -torch.inf)
        return scores_QN.scatter_reduce_(1, passage_QW, scores_QW, "amax")

    def compute_paired_scores(
        self, queries_QD: torch.Tensor, query_P: torch.Tensor, passage_P: torch.Tensor
    ) -> torch.Tensor:
        """Computes the scores (P) of pairs, the same to the last bit in any batch and order."""
        if self.has_one_window_each:
            return compute_paired_dots(queries_QD, self.vectors_WD, query_P, passage_P)
        windows_P = self.count_N[passage_P]
        pair_X = torch.arange(len(passage_P), device=passage_P.device).repeat_interleave(windows_P)
        start_P = windows_P.cumsum(0) - windows_P
        place_in_pair_X = torch.arange(len(pair_X), device=pair_X.device) - start_P[pair_X]
        window_X = self.first_N[passage_P[pair_X]] + place_in_pair_X
        scores_X = compute_paired_dots(queries_QD, self.vectors_WD, query_P[pair_X], window_X)
        scores_P = scores_X.new_full((len(passage_P),), -torch.inf)
        return scores_P.scatter_reduce_(0, pair_X, scores_X, "amax")

    def find_first_equal(self) -> torch.Tensor:
        """Finds for each passage the first one that must get the same score (N).

        Passages of several windows are not compared: each stands for itself.
        """
        if self.has_one_window_each:
            return find_first_equal(self.vectors_WD)
        return torch.arange(len(self), device=self.first_N.device)


class RelevantPassages:
    """The relevant passages of every query: their rows, languages and exact scores.

    Args:
        rows_QR: rows in the corpus, filled with -1.
        rows_U: the distinct ones, ascending.
        queries_QD: vectors of the queries.
        passages_U: vectors of the distinct relevant passages.
        languages_U: their languages.
    """

    def __init__(
        self,
        rows_QR: torch.Tensor,
        rows_U: torch.Tensor,
        queries_QD: torch.Tensor,
        passages_U: PassageVectors,
        languages_U: torch.Tensor,
    ):
        self.rows_QR = rows_QR
        self.rows_U = rows_U
        self.present_QR = rows_QR >= 0
        query_P = self.present_QR.nonzero()[:, 0]
        place_P = torch.searchsorted(rows_U, rows_QR[self.present_QR])
        self.scores_QR = torch.full(
            rows_QR.shape, torch.inf, dtype=torch.float64, device=rows_QR.device
        )
        scores_P = passages_U.compute_paired_scores(queries_QD, query_P, place_P)
        self.scores_QR[self.present_QR] = scores_P
        self.languages_QR = torch.full_like(rows_QR, -1)
        self.languages_QR[self.present_QR] = languages_U[place_P]
        self.best_Q = self.scores_QR.masked_fill(~self.present_QR, -torch.inf).amax(1)
        self.best_Q[~self.present_QR.any(1)] = torch.nan  # no relevant passage, no loss

    def count_each_other(self, above_QRP: torch.Tensor, tied_QRP: torch.Tensor) -> None:
        """Adds to counts, in place, how the relevant passages of a query outrank each other.

        Args:
            above_QRP: passages above each relevant passage, by pool.
            tied_QRP: passages with the same score, by pool.
        """
        queries, width, _ = above_QRP.shape
        itself_RR = torch.eye(width, dtype=torch.bool, device=self.rows_QR.device)
        step = max(1, COMPARISONS_AT_ONCE // width**2)
        for start in range(0, queries, step):
            block = slice(start, start + step)
            scores_QR = self.scores_QR[block]
            present_QR = self.present_QR[block]
            languages_QR = self.languages_QR[block]
            both_QRR = present_QR[:, :, None] & present_QR[:, None, :] & ~itself_RR
            same_language_QRR = languages_QR[:, :, None] == languages_QR[:, None, :]
            higher_QRR = (scores_QR[:, None, :] > scores_QR[:, :, None]) & both_QRR
            equal_QRR = (scores_QR[:, None, :] == scores_QR[:, :, None]) & both_QRR
            for counts_QRP, counted_QRR in ((above_QRP, higher_QRR), (tied_QRP, equal_QRR)):
                own_language_QR = (counted_QRR & same_language_QRR).sum(2, dtype=torch.int32)
                counts_QRP[block, :, OWN_LANGUAGE] += own_language_QR
                counts_QRP[block, :, ALL_LANGUAGES] += counted_QRR.sum(2, dtype=torch.int32)

    def compute_losses(self, weights_Q: torch.Tensor, temperature: float) -> torch.Tensor:
        """Computes the InfoNCE loss of every query against all that is not relevant to it (Q).

        Args:
            weights_Q: sum of exp((score - best relevant score) / temperature) over the passages
                that are not relevant.
            temperature: of the loss.

        Returns:
            The mean over the relevant passages of a query, NaN where it has none.
        """
        logits_QR = (self.scores_QR - self.best_Q[:, None]) / temperature
        logits_QR = logits_QR.masked_fill(~self.present_QR, torch.nan)
        return ((logits_QR.exp() + weights_Q[:, None]).log() - logits_QR).nanmean(1)
