"""Computes scores that are the same to the last bit in any batch, any order and on any device.

Shapes: A and B rows, Q queries (here those of a block), R relevant passages, N passages,
P pairs of two rows, D width, T = 2 R edges of bands.
"""

import math

import torch
import torch.nn.functional as F

PRODUCTS_AT_ONCE = 1 << 18  # products held at once: 2 MB stay in the cache


def compute_paired_dots(
    left_AD: torch.Tensor, right_BD: torch.Tensor, left_P: torch.Tensor, right_P: torch.Tensor
) -> torch.Tensor:
    """Computes the dot products of chosen pairs of rows in float64.

    A matrix product adds in an order that depends on the shape of the batch, so that equal vectors
    may get unequal scores. Here the products of a pair are folded in half until one number is
    left. Every step is elementwise, so the result does not depend on the other pairs.

    Args:
        left_AD: vectors.
        right_BD: vectors of the same width.
        left_P: row of `left_AD` of each pair.
        right_P: row of `right_BD` of each pair.

    Returns:
        The dot product of row `left_P[i]` with row `right_P[i]`, for every i (P).
    """
    width = left_AD.shape[1]
    padding = (1 << max(width - 1, 0).bit_length()) - width
    step = max(1, PRODUCTS_AT_ONCE // (width + padding))
    dots = [left_P.new_empty(0, dtype=torch.float64)]
    for start in range(0, len(left_P), step):
        left = left_AD[left_P[start : start + step]].double()
        right = right_BD[right_P[start : start + step]].double()
        products = left * right  # exact for float32 inputs
        products = F.pad(products, (0, padding))
        while products.shape[1] > 1:
            half = products.shape[1] // 2
            products = products[:, :half] + products[:, half:]
        dots.append(products[:, 0])
    return torch.cat(dots)


def find_first_equal(vectors_AD: torch.Tensor) -> torch.Tensor:
    """Finds for each row the first row that holds the same vector (A).

    Rows are compared by a signature. Two different vectors may share one; the later of them then
    stands for itself, which costs time but is never wrong.
    """
    rows_A = torch.arange(len(vectors_AD), device=vectors_AD.device)
    probe_1D = torch.arange(1, vectors_AD.shape[1] + 1, device=vectors_AD.device).sqrt()[None]
    signature_A = compute_paired_dots(vectors_AD, probe_1D, rows_A, torch.zeros_like(rows_A))
    group_A = signature_A.unique(return_inverse=True)[1]
    first_of_group_A = rows_A.new_full((len(rows_A),), len(rows_A))
    first_of_group_A = first_of_group_A.scatter_reduce(0, group_A, rows_A, "amin")
    first_A = first_of_group_A[group_A]
    is_equal_A = (vectors_AD[first_A] == vectors_AD).all(1)
    return torch.where(is_equal_A, first_A, rows_A)


def bound_rounding_error(width: int) -> float:
    """Bounds how far a float64 dot product of unit vectors can be from `compute_paired_dots`.

    In any order of n terms the error is at most n u / (1 - n u) times the product of the norms
    (Higham 2002, Accuracy and Stability of Numerical Algorithms, section 3.1), with u = 2^-53.
    The fold has depth log2 n. The factor 2 covers the rounding of norms and of score +- bound.
    """
    terms = width + math.ceil(math.log2(max(width, 2))) + 2
    return 2 * terms * 2.0**-53


def require_finite(vectors_AD: torch.Tensor, what: str, rows_A: torch.Tensor | None = None) -> None:
    """Checks that vectors hold neither NaN nor infinity.

    Args:
        vectors_AD: the vectors.
        what: what they are vectors of, for the error.
        rows_A: the row of the benchmark that each vector belongs to; by default its place.

    Raises:
        ValueError: Some vector is not finite; the error has their number and the first row.
    """
    bad = (~torch.isfinite(vectors_AD).all(dim=1)).nonzero()[:, 0]
    if len(bad) == 0:
        return
    first = int(bad[0])
    if rows_A is not None:
        first = int(rows_A[first])
    raise ValueError(
        f"{len(bad)} of {len(vectors_AD)} {what} embeddings hold NaN or infinity, first at row "
        f"{first}: the model has diverged or overflowed; load an earlier checkpoint, or encode in "
        "fp32 or bf16 instead of fp16."
    )


class ScoreBands:
    """The intervals around the scores of relevant passages in which rounding could decide a rank.

    A score above a band is above the relevant passage for certain, a score below it is not. What
    lies inside, in (score - margin, score + margin], must be computed exactly.

    Args:
        scores_QR: exact scores of the relevant passages of some queries; +inf fills short rows.
        margin_Q1: half the width of the bands of a query.
    """

    def __init__(self, scores_QR: torch.Tensor, margin_Q1: torch.Tensor):
        upper_QR = scores_QR + margin_Q1
        edges_QT, order_QT = torch.cat([scores_QR - margin_Q1, upper_QR], dim=1).sort(dim=1)
        is_lower_edge_QT = order_QT < scores_QR.shape[1]
        open_bands_QT = torch.where(is_lower_edge_QT, 1, -1).cumsum(1)
        self.edges_QT = edges_QT
        # bucket i holds the scores between edge i-1 and edge i; it is in doubt while a band is open
        self.is_in_doubt_QT = F.pad(open_bands_QT, (1, 0)) > 0
        self.first_bucket_above_QR = torch.searchsorted(edges_QT, upper_QR, right=True)

    def count(self, scores_QN: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Counts the scores above each band.

        Returns:
            How many scores are above each band and inside no other one (Q, R), and the pairs of a
            query and a passage whose score lies inside some band (P, 2).
        """
        bucket_QN = torch.searchsorted(self.edges_QT, scores_QN, out_int32=True)
        buckets = self.is_in_doubt_QT.shape[1]
        query_Q1 = torch.arange(len(scores_QN), dtype=torch.int32, device=scores_QN.device)[:, None]
        first_bucket_Q1 = query_Q1 * buckets
        counts = torch.bincount(
            (bucket_QN + first_bucket_Q1).flatten(), minlength=len(scores_QN) * buckets
        )
        counts_QT = counts.view(-1, buckets)
        certain_QT = counts_QT.masked_fill(self.is_in_doubt_QT, 0)
        from_bucket_up_QT = certain_QT.flip(1).cumsum(1).flip(1)
        above_QR = from_bucket_up_QT.gather(1, self.first_bucket_above_QR)
        # most queries have no score in doubt: only the others are looked at again
        doubtful_Q = (counts_QT != certain_QT).any(1).nonzero()[:, 0]
        doubtful_buckets = bucket_QN[doubtful_Q].long()
        pairs_P2 = self.is_in_doubt_QT[doubtful_Q].gather(1, doubtful_buckets).nonzero()
        pairs_P2[:, 0] = doubtful_Q[pairs_P2[:, 0]]
        return above_QR, pairs_P2
