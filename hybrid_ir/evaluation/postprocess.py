"""Training-free corrections of language bias: of each language's vectors, what only tells the language is taken away.

All are estimated on a split that has a name and stands on the card. Shapes: N vectors, D width, L languages, R components.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F

from hybrid_ir.types import Benchmark, Role


class Correction(Protocol):
    """Vectors of texts in a language, without what tells the language."""

    def __call__(self, role: Role, language: str, vectors_ND: torch.Tensor) -> torch.Tensor:
        """Float64 in and out."""


@dataclass
class Moments:
    """Number, sum and sum of outer products of the vectors of one language and role, added up as they stream by."""

    count: int
    sum_D: torch.Tensor
    outer_DD: torch.Tensor

    @classmethod
    def none(cls, width: int) -> "Moments":
        return cls(0, torch.zeros(width, dtype=torch.float64), torch.zeros(width, width, dtype=torch.float64))

    def add(self, vectors_ND: torch.Tensor) -> None:
        vectors_ND = vectors_ND.double().cpu()
        self.count += len(vectors_ND)
        self.sum_D += vectors_ND.sum(0)
        self.outer_DD += vectors_ND.T @ vectors_ND


class Split:
    """What the corrections need of the vectors of a benchmark: moments by role and language, and parallel passages."""

    def __init__(self, benchmark: Benchmark):
        self.benchmark, self.name = benchmark, benchmark.name
        self.moments: dict[tuple[Role, str], Moments] = {}
        # passages that answer one question in several languages are translations of each other
        self.answers = {int(row) for rows in benchmark.relevant for row in rows}
        self.vectors: dict[int, torch.Tensor] = {}

    def add(self, role: Role, rows_N: np.ndarray, vectors_ND: torch.Tensor) -> None:
        languages = self.benchmark.query_languages if role == "query" else self.benchmark.passage_languages
        for language in np.unique(languages[rows_N]):
            mine = torch.from_numpy(languages[rows_N] == language).to(vectors_ND.device)
            key = (role, self.benchmark.languages[language])
            self.moments.setdefault(key, Moments.none(vectors_ND.shape[1])).add(vectors_ND[mine])
        if role == "passage":
            for place, row in enumerate(rows_N.tolist()):
                if row in self.answers and row not in self.vectors:
                    self.vectors[row] = vectors_ND[place].double().cpu()

    def of(self, role: Role, language: str) -> Moments:
        if (role, language) not in self.moments:
            raise ValueError(f"postprocess_on={self.name} has no {role} in '{language}', only in "
                             f"{sorted({name for _, name in self.moments})}: choose a split with every language of the benchmark")
        return self.moments[role, language]

    def offset(self, language: str, source: str) -> torch.Tensor:
        """Mean difference of a language's passages and their translations in the source language, question by question."""
        names, codes = self.benchmark.languages, self.benchmark.passage_languages
        differences, seen = [], set()
        for question, rows in zip(self.benchmark.question_ids, self.benchmark.relevant, strict=True):
            sides = [[self.vectors[int(row)] for row in rows if names[codes[row]] == side] for side in (language, source)]
            if question not in seen and all(sides):
                seen.add(question)
                differences.append(torch.stack(sides[0]).mean(0) - torch.stack(sides[1]).mean(0))
        if not differences:
            raise ValueError(f"postprocess=shift needs passages that answer one question in '{language}' and in "
                             f"postprocess_source='{source}', and {self.name} has none: choose another split or source")
        return torch.stack(differences).mean(0)


def center(split: Split) -> Correction:
    """Subtract the mean vector of the language, queries and passages each by their own."""
    def corrected(role: Role, language: str, vectors_ND: torch.Tensor) -> torch.Tensor:
        moments = split.of(role, language)
        return vectors_ND - (moments.sum_D / moments.count).to(vectors_ND.device)
    return corrected


def lir(split: Split, components: int = 1) -> Correction:
    """Language Information Removal: project the language's first principal directions away (Yang et al. 2021, 2109.04727).

    The directions are the first left singular vectors of the language's uncentred vectors: eigenvectors of their outer products.
    """
    found: dict[tuple[Role, str], torch.Tensor] = {}

    def corrected(role: Role, language: str, vectors_ND: torch.Tensor) -> torch.Tensor:
        if (role, language) not in found:
            moments = split.of(role, language)
            if not 1 <= components < min(moments.count, len(moments.sum_D)):
                raise ValueError(f"postprocess_components={components} must be at least 1 and less than the {moments.count} "
                                 f"vectors of '{language}' and their width {len(moments.sum_D)}")
            found[role, language] = torch.linalg.eigh(moments.outer_DD).eigenvectors[:, -components:].to(vectors_ND.device)
        axes_DR = found[role, language]
        return vectors_ND - (vectors_ND @ axes_DR) @ axes_DR.T
    return corrected


def shift(split: Split, source: str = "en") -> Correction:
    """Subtract from passages their language's mean offset to translations in the source language (SHIFT, 2606.18801).

    Index-side: queries stay as they are, and so do passages in the source language.
    """
    found: dict[str, torch.Tensor] = {}

    def corrected(role: Role, language: str, vectors_ND: torch.Tensor) -> torch.Tensor:
        if role == "query" or language == source:
            return vectors_ND
        if language not in found:
            found[language] = split.offset(language, source).to(vectors_ND.device)
        return vectors_ND - found[language]
    return corrected


NAMES = ("none", "center", "lir", "shift")


def correction(name: str, split: Split | None, components: int = 1, source: str = "en") -> Correction | None:
    """The correction of a name, None for `none`."""
    if name == "none":
        return None
    assert split is not None
    return {"center": center, "lir": lambda s: lir(s, components), "shift": lambda s: shift(s, source)}[name](split)


def apply(fix: Correction, benchmark: Benchmark, role: Role, rows_N: np.ndarray, vectors_ND: torch.Tensor,
          unit_length: bool) -> torch.Tensor:
    """Corrected vectors of some rows, of length 1 again where the model compares by cosine."""
    codes = (benchmark.query_languages if role == "query" else benchmark.passage_languages)[rows_N]
    out_ND = vectors_ND.double()
    for language in np.unique(codes):
        mine = torch.from_numpy(codes == language).to(out_ND.device)
        out_ND[mine] = fix(role, benchmark.languages[language], out_ND[mine])
    return (F.normalize(out_ND, dim=-1) if unit_length else out_ND).float()


def require(names: Iterable[str], on: str | None) -> None:
    """ValueError for an unknown correction, or one that does not say where it is estimated."""
    wrong = [name for name in names if name not in NAMES]
    if wrong:
        raise ValueError(f"postprocess={wrong} must be of {', '.join(NAMES)}")
    if on is None and set(names) - {"none"}:
        raise ValueError("postprocess_on is missing: say on which texts the means and components are estimated: the name of "
                         "another benchmark, or `test` for the very queries and passages that are measured")
