"""Some passages of the corpus, in the order of their languages, and their approximate scores.

Shapes: B queries of a block, R relevant passages of a query, N passages of the batch, W windows of
them, D width.
"""

import itertools
import math
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch

from hybrid_ir.evaluation.exact_scores import PassageVectors, bound_rounding_error

# Products are summed in parts of so many dimensions, and the sums of the parts once more: the
# bound of the rounding error grows with the length of a sum, and what lies within the bound of a
# relevant passage has to be computed exactly.
DIMENSIONS_AT_ONCE = 128
FLOAT32_UNIT = 2.0**-24  # largest relative error of one rounding in float32
# Longer vectors are multiplied in float64. Below this length float32 cannot overflow, and what is
# lost where it underflows is less than FLOAT32_FLOOR.
LONGEST_IN_FLOAT32 = 2.0**20
FLOAT32_FLOOR = 2.0**-80
# zero vectors have no rounding error, and a band without width would miss their ties
SMALLEST_MARGIN = torch.finfo(torch.float64).tiny


def bound_product_error(width: int) -> float:
    """Bounds the error of `PassageBatch.score` in float32, as a share of the product of lengths.

    A sum of n terms in any order is wrong by at most n u / (1 - n u) times the sum of their sizes
    (Higham 2002, Accuracy and Stability of Numerical Algorithms, section 3.1), with u = 2^-24. Two
    more roundings are those of vectors that were float64.
    """
    parts = math.ceil(width / DIMENSIONS_AT_ONCE)
    terms = min(width, DIMENSIONS_AT_ONCE) + parts + 2
    bound = terms * FLOAT32_UNIT / (1 - terms * FLOAT32_UNIT)
    # those of float64 are the errors of the exact scores, of lengths and of margins
    return bound + bound_rounding_error(width)


def multiplies_in_float32(device: torch.device) -> bool:
    """Returns whether torch's product of float32 matrices keeps all 24 bits of its factors.

    It does not where someone has allowed TF32 or bfloat16 for it.
    """
    probe = torch.full((64, 64), 1 + 2.0**-23, device=device)
    identity = torch.eye(64, device=device)
    with torch.autocast(device.type, enabled=False):
        return bool((probe @ identity == probe).all())


def cut_dimensions(vectors_AD: torch.Tensor, dtype: torch.dtype) -> list[torch.Tensor]:
    """Returns vectors in a type, for float32 in parts of DIMENSIONS_AT_ONCE dimensions."""
    if dtype == torch.float64:
        return [vectors_AD.double()]
    parts = vectors_AD.float().split(DIMENSIONS_AT_ONCE, dim=1)
    return [part.contiguous() for part in parts]


class PassageBatch:
    """Some passages in the order of their languages.

    Args:
        rows_W: row in the corpus of each vector; the windows of a passage stand together.
        vectors_WD: the vectors.
        languages_W: language of each vector.
    """

    def __init__(self, rows_W: torch.Tensor, vectors_WD: torch.Tensor, languages_W: torch.Tensor):
        if (languages_W[1:] < languages_W[:-1]).any():
            languages_W, order_W = languages_W.sort(stable=True)
            rows_W = rows_W[order_W]
            vectors_WD = vectors_WD[order_W]
        self.rows_N, self.passages = PassageVectors.from_windows(rows_W, vectors_WD)
        self.languages_N = languages_W[self.passages.first_N]
        self.sorted_rows_N, self.order_N = self.rows_N.sort()
        lengths_W = torch.linalg.vector_norm(vectors_WD, dim=1, dtype=torch.float64)
        self.longest = float(lengths_W.max())
        # where each language begins and ends
        languages, sizes = self.languages_N.unique_consecutive(return_counts=True)
        ends = sizes.cumsum(0)
        self.language_runs = list(
            zip(languages.tolist(), (ends - sizes).tolist(), ends.tolist(), strict=True)
        )

        self.device = vectors_WD.device
        self._parts: dict[torch.dtype, list[torch.Tensor]] = {}

    def __len__(self) -> int:
        return len(self.rows_N)

    @cached_property
    def first_equal_N(self) -> torch.Tensor | None:
        """The first passage of the same language with the same vector; None if all differ."""
        parts = []
        for _, start, end in self.language_runs:
            parts.append(self.passages.select(start, end).find_first_equal() + start)
        first_equal_N = torch.cat(parts)
        places_N = torch.arange(len(self), device=first_equal_N.device)
        return None if bool((first_equal_N == places_N).all()) else first_equal_N

    def find_crowded_out(self, depth: int) -> torch.Tensor | None:
        """Finds passages that cannot be among the `depth` best (N), None for no such passage.

        They have so many equals earlier in the corpus. One more may be missing in a ranking, since
        it is the query itself.
        """
        if self.first_equal_N is None:
            return None
        # each group of equals together, in the order of the corpus
        order_N = self.order_N[self.first_equal_N[self.order_N].argsort(stable=True)]
        group_N = self.first_equal_N[order_N]
        places_N = torch.arange(len(self), device=group_N.device)
        starts_N = torch.where(group_N != group_N.roll(1), places_N, 0)
        earlier_equals_N = places_N - starts_N.cummax(0).values
        is_crowded_out_N = torch.zeros(len(self), dtype=torch.bool, device=group_N.device)
        is_crowded_out_N[order_N] = earlier_equals_N > depth
        return is_crowded_out_N

    def list_language_runs(self, start: int, end: int) -> list[tuple[int, int, int]]:
        """Lists the languages from passage `start` to `end`: each with its part of these."""
        runs = []
        for language, first, last in self.language_runs:
            if first < end and last > start:
                runs.append((language, max(first, start) - start, min(last, end) - start))
        return runs

    def find_columns(self, wanted_BR: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Finds rows of the corpus among these passages.

        Args:
            wanted_BR: rows to find; a negative one is not there.

        Returns:
            Whether each row is there, and its place if so (B, R).
        """
        place_BR = torch.searchsorted(self.sorted_rows_N, wanted_BR).clamp_(max=len(self) - 1)
        return self.sorted_rows_N[place_BR] == wanted_BR, self.order_N[place_BR]

    def score(self, query_parts: Sequence[torch.Tensor], start: int, end: int) -> torch.Tensor:
        """Computes the scores of the passages from `start` to `end`, up to a margin.

        Args:
            query_parts: the queries, as `cut_dimensions` gives them in the type to multiply in.
            start: the first passage.
            end: the one after the last.
        """
        part = self.passages.select(start, end)
        first_window = int(self.passages.first_N[start])
        windows = slice(first_window, first_window + len(part.vectors_WD))
        passage_parts = self._cut_vectors(query_parts[0].dtype)
        with torch.autocast(self.device.type, enabled=False):
            scores_BW = query_parts[0] @ passage_parts[0][windows].T
            sums_BW = torch.empty_like(scores_BW)
            for queries_BD, passages_WD in zip(query_parts[1:], passage_parts[1:], strict=True):
                scores_BW += torch.mm(queries_BD, passages_WD[windows].T, out=sums_BW)
        return part.take_best(scores_BW)

    def prepare(self, dtype: torch.dtype) -> None:
        """Computes what several threads need, once, before they start."""
        self._cut_vectors(dtype)
        _ = self.first_equal_N

    def _cut_vectors(self, dtype: torch.dtype) -> list[torch.Tensor]:
        if dtype not in self._parts:
            self._parts[dtype] = cut_dimensions(self.passages.vectors_WD, dtype)
        return self._parts[dtype]

    def compute_margin(self, queries_BD: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """Bounds how far a score in a type can be from the exact one, for each query (B, 1)."""
        width = queries_BD.shape[1]
        lengths_B1 = torch.linalg.vector_norm(queries_BD, dim=1, keepdim=True, dtype=torch.float64)
        if dtype == torch.float64:
            margin_B1 = bound_rounding_error(width) * self.longest * lengths_B1
            return margin_B1.clamp_(min=SMALLEST_MARGIN)
        return bound_product_error(width) * self.longest * lengths_B1 + FLOAT32_FLOOR

    def fits_float32(self, longest_query: float) -> bool:
        """Returns whether no product of these passages and queries up to a length overflows."""
        return max(self.longest, longest_query) <= LONGEST_IN_FLOAT32


def split_evenly(count: int, largest: int) -> list[tuple[int, int]]:
    """Cuts things into equal parts of up to `largest`, and returns where each begins and ends."""
    parts = max(1, math.ceil(count / largest))
    edges = np.linspace(0, count, parts + 1).astype(int).tolist()
    return list(itertools.pairwise(edges))
