"""Dot products that come out the same to the last bit in any batch, in any order and on any device.

Shapes: A and B rows, P pairs of them, D width.
"""

import math

import torch
import torch.nn.functional as F

CHUNK = 1 << 18  # products held at once: 2 MB stay in the cache


def compute_paired_dots(
    left_AD: torch.Tensor, right_BD: torch.Tensor, left_P: torch.Tensor, right_P: torch.Tensor
) -> torch.Tensor:
    """Dot product, in float64, of row left_P[i] with row right_P[i], for every i.

    A matrix product adds in an order that depends on the shape of the batch, so equal vectors may get unequal
    scores. Here the products are folded in half until one number is left: elementwise, hence always the same.
    """
    width = left_AD.shape[1]
    padding = (1 << max(width - 1, 0).bit_length()) - width
    step = max(1, CHUNK // (width + padding))
    dots = [left_P.new_empty(0, dtype=torch.float64)]
    for start in range(0, len(left_P), step):
        rows = slice(start, start + step)
        products = (
            left_AD[left_P[rows]].double() * right_BD[right_P[rows]].double()
        )  # exact for float32 inputs
        products = F.pad(products, (0, padding))
        while products.shape[1] > 1:
            half = products.shape[1] // 2
            products = products[:, :half] + products[:, half:]
        dots.append(products[:, 0])
    return torch.cat(dots)


def find_first_equal(vectors_AD: torch.Tensor) -> torch.Tensor:
    """For each row the first row with the same vector, itself where it is the first (A,)."""
    rows_A = torch.arange(len(vectors_AD), device=vectors_AD.device)
    probe_1D = torch.arange(1, vectors_AD.shape[1] + 1, device=vectors_AD.device).sqrt()[None]
    signature_A = compute_paired_dots(vectors_AD, probe_1D, rows_A, torch.zeros_like(rows_A))
    group_A = signature_A.unique(return_inverse=True)[1]
    first_A = rows_A.new_full((len(rows_A),), len(rows_A)).scatter_reduce(
        0, group_A, rows_A, "amin"
    )[group_A]
    # different vectors may share a signature: they then stand for themselves
    return torch.where((vectors_AD[first_A] == vectors_AD).all(1), first_A, rows_A)


def bound_rounding_error(width: int) -> float:
    """How far a float64 dot product by any order of summation can be from `paired_dots`, for unit vectors.

    Any order of n terms errs by at most n u / (1 - n u) times the product of the norms (Higham 2002, section 3.1),
    u = 2^-53; the fold has depth log2 n. The factor 2 covers the rounding of norms and of score +- bound.
    """
    terms = width + math.ceil(math.log2(max(width, 2))) + 2
    return 2 * terms * 2.0**-53


def require_finite(vectors_AD: torch.Tensor, what: str, rows_A: torch.Tensor | None = None) -> None:
    """ValueError with the number of rows that hold NaN or infinity, and the first of them."""
    bad = (~torch.isfinite(vectors_AD).all(dim=1)).nonzero()[:, 0]
    if len(bad):
        first = int(bad[0]) if rows_A is None else int(rows_A[int(bad[0])])
        raise ValueError(
            f"{len(bad)} of {len(vectors_AD)} {what} embeddings hold NaN or infinity, first at row {first}: the model "
            "has diverged or overflowed; load an earlier checkpoint, or encode in fp32 or bf16 instead of fp16."
        )
