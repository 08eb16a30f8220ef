"""Computes scores that are the same to the last bit in any batch, any order, on any device."""

import math
from dataclasses import dataclass

import torch

from hybrid_ir.evaluation.rank_table import ALL_LANGUAGES, OWN_LANGUAGE
from hybrid_ir.evaluation.sorted_rows import NO_GROUP, count_higher_and_equal

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
    step = max(1, PRODUCTS_AT_ONCE // max(width, 1))
    dots = [left_P.new_empty(0, dtype=torch.float64)]
    for start in range(0, len(left_P), step):
        left = left_AD[left_P[start : start + step]].double()  # a copy, which may be overwritten
        right = right_BD[right_P[start : start + step]].double()
        dots.append(_add_in_halves(left.mul_(right)))  # exact products for float32 inputs
    return torch.cat(dots)


def _add_in_halves(terms_PD: torch.Tensor) -> torch.Tensor:
    """Sums each row (P), as if zeros filled it to a power of two. Overwrites the terms."""
    width = terms_PD.shape[1]
    if width == 0:
        return terms_PD.new_zeros(len(terms_PD))
    half = 1 << (max(width - 1, 0).bit_length())
    while half > 1:
        half //= 2
        terms_PD[:, : width - half] += terms_PD[:, half:width]
        width = half
    return terms_PD[:, 0].clone()  # a view would keep all terms


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

    def select(self, start: int, end: int) -> "PassageVectors":
        """Returns some passages that stand together."""
        first_window = int(self.first_N[start])
        last_window = int(self.first_N[end - 1] + self.count_N[end - 1])
        return PassageVectors(
            self.vectors_WD[first_window:last_window],
            self.first_N[start:end] - first_window,
            self.count_N[start:end],
        )

    def take_best(self, scores_QW: torch.Tensor) -> torch.Tensor:
        """Returns the score of the best window of each passage (Q, N)."""
        if self.has_one_window_each:
            return scores_QW
        passages_N = torch.arange(len(self), device=self.first_N.device)
        passage_QW = passages_N.repeat_interleave(self.count_N).expand(len(scores_QW), -1)
        scores_QN = scores_QW.new_full((len(scores_QW), len(self)), -torch.inf)
        return scores_QN.scatter_reduce_(1, passage_QW, scores_QW, "amax")

    def compute_scores(self, queries_QD: torch.Tensor) -> torch.Tensor:
        """Computes all scores (Q, N) by a matrix product in float64, exact up to its rounding."""
        return self.take_best(queries_QD.double() @ self.vectors_WD.double().T)

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
        every_language_QR = torch.where(self.present_QR, 0, NO_GROUP)
        groups_of_pool = {ALL_LANGUAGES: every_language_QR, OWN_LANGUAGE: self.languages_QR}
        for pool, groups_QR in groups_of_pool.items():
            higher_QR, equal_QR = count_higher_and_equal(self.scores_QR, groups_QR)
            above_QRP[:, :, pool] += higher_QR
            tied_QRP[:, :, pool] += equal_QR

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
