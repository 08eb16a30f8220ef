"""The relevant passages of every query: which rows, in which languages, with which exact scores.

Shapes: Q queries, R relevant passages of a query (short rows are filled), U distinct relevant passages, P = 2 pools.
"""

from collections.abc import Sequence

import numpy as np
import torch

from hybrid_ir.evaluation.passage_vectors import PassageVectors
from hybrid_ir.evaluation.rank_table import EVERY, OWN

BLOCK = 1 << 20  # comparisons held at once


class RelevantPassages:
    """Relevant rows (Q, R) with their exact scores and languages; `passages_U` follow `relevant_rows`."""

    def __init__(
        self,
        rows_QR: torch.Tensor,
        rows_U: torch.Tensor,
        queries_QD: torch.Tensor,
        passages_U: PassageVectors,
        languages_U: torch.Tensor,
    ):
        self.rows_QR, self.rows_U = rows_QR, rows_U
        self.present_QR = rows_QR >= 0
        query_P = self.present_QR.nonzero()[:, 0]
        place_P = torch.searchsorted(rows_U, rows_QR[self.present_QR])
        self.scores_QR = torch.full(
            rows_QR.shape, torch.inf, dtype=torch.float64, device=rows_QR.device
        )
        self.scores_QR[self.present_QR] = passages_U.paired(queries_QD, query_P, place_P)
        self.languages_QR = torch.full_like(rows_QR, -1)
        self.languages_QR[self.present_QR] = languages_U[place_P]
        self.best_Q = self.scores_QR.masked_fill(~self.present_QR, -torch.inf).amax(1)
        self.best_Q[~self.present_QR.any(1)] = torch.nan  # no relevant passage, no loss

    def count_among_themselves(self, above_QRP: torch.Tensor, tied_QRP: torch.Tensor) -> None:
        """Add the other relevant passages of the query above, and tied with, each relevant passage, in place."""
        queries, width, _ = above_QRP.shape
        itself_RR = torch.eye(width, dtype=torch.bool, device=self.rows_QR.device)
        step = max(1, BLOCK // width**2)
        for start in range(0, queries, step):
            block = slice(start, start + step)
            scores_BR, present_BR, languages_BR = (
                self.scores_QR[block],
                self.present_QR[block],
                self.languages_QR[block],
            )
            both_BRR = present_BR[:, :, None] & present_BR[:, None, :] & ~itself_RR
            same_BRR = languages_BR[:, :, None] == languages_BR[:, None, :]
            higher_BRR = (scores_BR[:, None, :] > scores_BR[:, :, None]) & both_BRR
            equal_BRR = (scores_BR[:, None, :] == scores_BR[:, :, None]) & both_BRR
            for counts_QRP, found_BRR in ((above_QRP, higher_BRR), (tied_QRP, equal_BRR)):
                counts_QRP[block, :, OWN] += (found_BRR & same_BRR).sum(2, dtype=torch.int32)
                counts_QRP[block, :, EVERY] += found_BRR.sum(2, dtype=torch.int32)

    def losses(self, weights_Q: torch.Tensor, temperature: float) -> torch.Tensor:
        """InfoNCE of each relevant passage against all that are not relevant, mean over a query's relevant passages.

        `weights_Q` is the sum of exp((score - best relevant score) / temperature) over what is not relevant.
        """
        own_QR = ((self.scores_QR - self.best_Q[:, None]) / temperature).masked_fill(
            ~self.present_QR, torch.nan
        )
        return ((own_QR.exp() + weights_Q[:, None]).log() - own_QR).nanmean(1)


def list_relevant_rows(relevant_QR: np.ndarray) -> np.ndarray:
    """The distinct relevant passages, in the order in which their embeddings are wanted."""
    return np.unique(relevant_QR[relevant_QR >= 0])


def pad_rows(relevant: Sequence[np.ndarray], dtype: type = np.int64) -> np.ndarray:
    """The relevant rows of each query (or their grades) as one array (Q, R), short rows filled with -1."""
    relevant_QR = np.full((len(relevant), max(map(len, relevant), default=1) or 1), -1, dtype)
    for row, found in zip(relevant_QR, relevant, strict=True):
        row[: len(found)] = found
    return relevant_QR
