"""The exact places of chosen passages in a ranking, however deep they are.

Shapes: N passages, B passages of a block, T passages whose places are asked for, D width.
"""

import numpy as np
import torch

from hybrid_ir.evaluation.exact_scores import compute_paired_dots
from hybrid_ir.index.search_methods import bound_float32_error
from hybrid_ir.index.vectors import VectorSource


@torch.inference_mode()
def find_exact_places(
    vectors: VectorSource,
    query_D: torch.Tensor,
    rows_T: np.ndarray,
    is_allowed_N: np.ndarray | None = None,
) -> np.ndarray:
    """Finds the places of some passages in the ranking of all passages.

    The order is that of `ExactSearch`: by the score in float64, and by row where scores are equal.
    A product in float32 decides all comparisons but those within its rounding error.

    Args:
        vectors: of all passages.
        query_D: the vector of the query, float32.
        rows_T: the passages whose places are asked for.
        is_allowed_N: which passages are in the ranking; None for all.

    Returns:
        Their places (T), from 1.
    """
    query_1D = query_D[None]
    zeros_T = torch.zeros(len(rows_T), dtype=torch.int64)
    scores_T = compute_paired_dots(
        query_1D, vectors.take(rows_T), zeros_T, torch.arange(len(rows_T))
    )
    before_T = np.zeros(len(rows_T), np.int64)
    for start, block_BD in vectors.iterate_blocks():
        rows_B = torch.arange(start, start + len(block_BD))
        if is_allowed_N is not None:
            is_allowed_B = torch.from_numpy(is_allowed_N[start : start + len(block_BD)])
            rows_B = rows_B[is_allowed_B]
            block_BD = block_BD[is_allowed_B]
        if len(block_BD) == 0:
            continue
        scores_B = (block_BD @ query_D).double()
        lengths = query_D.double().norm() * block_BD.norm(dim=1).max()
        margin = bound_float32_error(block_BD.shape[1]) * lengths
        for place, row in enumerate(rows_T.tolist()):
            score = scores_T[place]
            above = int((scores_B > score + margin).sum())
            doubtful = ((scores_B - score).abs() <= margin).nonzero()[:, 0]
            exact = compute_paired_dots(query_1D, block_BD, torch.zeros_like(doubtful), doubtful)
            is_tie_before = (exact == score) & (rows_B[doubtful] < row)
            before_T[place] += above + int(((exact > score) | is_tie_before).sum())
    return before_T + 1
