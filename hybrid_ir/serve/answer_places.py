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
    scores_N, margin = _compute_scores(vectors, query_D)
    rows_N = torch.arange(len(scores_N))
    if is_allowed_N is not None:
        is_allowed_N = torch.from_numpy(is_allowed_N)
        scores_N = scores_N[is_allowed_N]
        rows_N = rows_N[is_allowed_N]
    places_T = np.ones(len(rows_T), np.int64)
    for place, row in enumerate(rows_T.tolist()):
        score = scores_T[place]
        above = int((scores_N > score + margin).sum())
        places_T[place] += above
        is_doubtful_N = ((scores_N - score).abs() <= margin) & (rows_N != row)
        doubtful_rows = rows_N[is_doubtful_N]
        if len(doubtful_rows) == 0:
            continue
        zeros = torch.zeros_like(doubtful_rows)
        doubtful = vectors.take(doubtful_rows.numpy())
        exact = compute_paired_dots(query_1D, doubtful, zeros, torch.arange(len(doubtful_rows)))
        is_tie_before = (exact == score) & (doubtful_rows < row)
        places_T[place] += int(((exact > score) | is_tie_before).sum())
    return places_T


def _compute_scores(vectors: VectorSource, query_D: torch.Tensor) -> tuple[torch.Tensor, float]:
    """Returns all scores (N) by a product in float32, and a bound of their rounding errors."""
    parts = [torch.zeros(0, dtype=torch.float64)]
    longest = 0.0
    for _, block_BD in vectors.iterate_blocks():
        parts.append((block_BD @ query_D).double())
        longest = max(longest, float(block_BD.norm(dim=1).max()))
    length = float(query_D.double().norm())
    return torch.cat(parts), bound_float32_error(vectors.width) * length * longest
