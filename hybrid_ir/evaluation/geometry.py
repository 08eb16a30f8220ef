"""The shape of the vector space: alignment, uniformity, and how often neighbours speak the same language.

Shapes: Q queries, R relevant passages of a query, M passages of the sample, N passages of a batch, D width.
"""

import zlib
from collections.abc import Sequence

import numpy as np
import torch

from hybrid_ir.evaluation.rank_table import RankTable
from hybrid_ir.evaluation.top_k import TopK

SAMPLE, NEIGHBOURS = 1000, 10


def compute_alignment(table: RankTable) -> dict[str, float]:
    """Mean squared distance of queries and their relevant passages, unit vectors (Wang and Isola 2020, eq. 1, alpha 2).

    Of pairs in one language, of pairs in two, and of all; NaN where there are none.
    """
    present_QR = table.relevant_languages >= 0
    same_QR = table.relevant_languages == np.asarray(table.query_languages)[:, None]
    distance_QR = 2 - 2 * table.scores
    groups = {
        "same_language": present_QR & same_QR,
        "other_language": present_QR & ~same_QR,
        "all": present_QR,
    }
    return {
        name: float(distance_QR[chosen].mean()) if chosen.any() else float("nan")
        for name, chosen in groups.items()
    }


def compute_uniformity(vectors_MD: torch.Tensor) -> float:
    """Log of the mean of exp(-2 squared distance) over pairs of different vectors (Wang and Isola 2020, eq. 2, t 2)."""
    if len(vectors_MD) < 2:
        return float("nan")
    distances = torch.pdist(vectors_MD.double())
    return float(distances.square().mul(-2).exp().mean().log())


def sample_rows(rows: np.ndarray, passage_ids: Sequence[str], size: int = SAMPLE) -> np.ndarray:
    """So many of the rows, by a hash of their ids: the same passages in any order of the corpus."""
    keys = [
        (zlib.crc32(str(passage_ids[int(row)]).encode()), str(passage_ids[int(row)]))
        for row in rows
    ]
    return np.sort(rows[sorted(range(len(rows)), key=keys.__getitem__)[:size]])


class NeighbourLanguages:
    """The nearest passages of a sample of passages, found while the corpus streams by."""

    def __init__(self, rows_M: np.ndarray, vectors_MD: torch.Tensor, languages_M: np.ndarray):
        self.vectors_MD, self.languages_M = vectors_MD.double(), languages_M
        self.top = TopK(len(rows_M), NEIGHBOURS, left_out_Q=rows_M)

    def add(self, rows_N: np.ndarray, vectors_ND: torch.Tensor, languages_N: np.ndarray) -> None:
        for language in np.unique(languages_N):
            mine = languages_N == language
            scores_MN = (
                self.vectors_MD
                @ vectors_ND[torch.from_numpy(mine).to(vectors_ND.device)].double().T
            )
            self.top.take(
                0, scores_MN, torch.from_numpy(rows_N[mine]).to(vectors_ND.device), int(language)
            )

    def same_language_share(self) -> float:
        """Share of the NEIGHBOURS nearest passages of a passage that are in its language, mean over the sample."""
        found = self.top.languages_QK.numpy()
        there = found >= 0
        same = (found == self.languages_M[:, None]) & there
        return (
            float(np.mean(same.sum(1) / np.maximum(there.sum(1), 1)))
            if len(found)
            else float("nan")
        )
