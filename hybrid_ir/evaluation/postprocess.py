"""Training-free corrections of language bias: of each language's vectors, what only tells the language is taken away.

All are estimated on a split that has a name and stands on the card. Shapes: N vectors, D width, L languages, R components.
"""

from collections.abc import Sequence
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
        return cls(
            0,
            torch.zeros(width, dtype=torch.float64),
            torch.zeros(width, width, dtype=torch.float64),
        )

    def add(self, vectors_ND: torch.Tensor) -> None:
        vectors_ND = vectors_ND.double().cpu()
        self.count += len(vectors_ND)
        self.sum_D += vectors_ND.sum(0)
        self.outer_DD += vectors_ND.T @ vectors_ND


class EstimationSplit:
    """What the corrections need of the vectors of a benchmark: moments by role and language, and of parallel passages the mean.

    A passage of several windows counts as the mean of their vectors.
    """

    def __init__(self, benchmark: Benchmark):
        self.benchmark, self.name = benchmark, benchmark.name
        self.moments: dict[tuple[Role, str], Moments] = {}
        # passages that answer one question in several languages are translations of each other
        self.answers = {int(row) for rows in benchmark.relevant for row in rows}
        self.vectors: dict[int, torch.Tensor] = {}

    def add(self, role: Role, rows_W: np.ndarray, vectors_WD: torch.Tensor) -> None:
        rows_N, place_W, count_N = np.unique(rows_W, return_inverse=True, return_counts=True)
        place_W = torch.from_numpy(place_W.ravel())
        vectors_ND = torch.zeros(len(rows_N), vectors_WD.shape[1], dtype=torch.float64)
        vectors_ND.index_add_(0, place_W, vectors_WD.cpu().double()).div_(
            torch.from_numpy(count_N)[:, None]
        )
        languages_N = (
            self.benchmark.query_languages if role == "query" else self.benchmark.passage_languages
        )[rows_N]
        for language in np.unique(languages_N):
            mine_N = torch.from_numpy(languages_N == language)
            key = (role, self.benchmark.languages[language])
            self.moments.setdefault(key, Moments.none(vectors_ND.shape[1])).add(vectors_ND[mine_N])
        if role == "passage":
            self.vectors |= {
                row: vectors_ND[place]
                for place, row in enumerate(rows_N.tolist())
                if row in self.answers
            }

    def of(self, role: Role, language: str) -> Moments:
        if (role, language) not in self.moments:
            raise ValueError(
                f"postprocess_on={self.name} has no {role} in '{language}', only in "
                f"{sorted({name for _, name in self.moments})}: choose a split with every language of the benchmark"
            )
        return self.moments[role, language]

    def offset(self, language: str, source: str) -> torch.Tensor:
        """Mean difference of a language's passages and their translations in the source language, question by question."""
        pairs = find_translations(self.benchmark, language, source)
        means = [
            [torch.stack([self.vectors[int(row)] for row in rows]).mean(0) for rows in pair]
            for pair in pairs
        ]
        return torch.stack([theirs - origin for theirs, origin in means]).mean(0)

    def counts(self) -> dict[str, dict[str, int]]:
        """Vectors by role and language, for the card."""
        return {
            role: {
                name: moments.count
                for (side, name), moments in self.moments.items()
                if side == role
            }
            for role in ("query", "passage")
        }


def find_translations(
    benchmark: Benchmark, language: str, source: str
) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each question with relevant passages in both languages, their rows in the language and in the source language.

    Raises:
        ValueError: there is no such question.
    """
    names, codes = list(benchmark.languages), np.asarray(benchmark.passage_languages)
    found: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    if language in names and source in names:
        for question, rows in zip(benchmark.question_ids, benchmark.relevant, strict=True):
            if question not in found:
                pair = (
                    rows[codes[rows] == names.index(language)],
                    rows[codes[rows] == names.index(source)],
                )
                if len(pair[0]) and len(pair[1]):
                    found[question] = pair
    if not found:
        raise ValueError(
            f"postprocess=shift needs passages that answer one question in '{language}' and in "
            f"postprocess_source='{source}', and {benchmark.name} has none: choose another split or source"
        )
    return list(found.values())


def build_centering(split: EstimationSplit) -> Correction:
    """Subtract the mean vector of the language, queries and passages each by their own."""

    def corrected(role: Role, language: str, vectors_ND: torch.Tensor) -> torch.Tensor:
        moments = split.of(role, language)
        return vectors_ND - (moments.sum_D / moments.count).to(vectors_ND.device)

    return corrected


def build_language_removal(split: EstimationSplit, components: int = 1) -> Correction:
    """Language Information Removal: project the language's first principal directions away (Yang et al. 2021, 2109.04727).

    The directions are the first left singular vectors of the language's uncentred vectors: eigenvectors of their outer products.
    """
    found: dict[tuple[Role, str], torch.Tensor] = {}

    def corrected(role: Role, language: str, vectors_ND: torch.Tensor) -> torch.Tensor:
        if (role, language) not in found:
            moments = split.of(role, language)
            if not 1 <= components < min(moments.count, len(moments.sum_D)):
                raise ValueError(
                    f"postprocess_components={components} must be at least 1 and less than the {moments.count} "
                    f"vectors of '{language}' and their width {len(moments.sum_D)}"
                )
            found[role, language] = (
                torch.linalg.eigh(moments.outer_DD)
                .eigenvectors[:, -components:]
                .to(vectors_ND.device)
            )
        axes_DR = found[role, language]
        return vectors_ND - (vectors_ND @ axes_DR) @ axes_DR.T

    return corrected


def build_shift(split: EstimationSplit, source: str = "en") -> Correction:
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


CORRECTION_NAMES = ("none", "center", "lir", "shift")


def build_correction(
    name: str, split: EstimationSplit | None, components: int = 1, source: str = "en"
) -> Correction | None:
    """The correction of a name, None for `none`."""
    if name == "none":
        return None
    assert split is not None
    return {
        "center": build_centering,
        "lir": lambda s: build_language_removal(s, components),
        "shift": lambda s: build_shift(s, source),
    }[name](split)


def apply_correction(
    fix: Correction,
    benchmark: Benchmark,
    role: Role,
    rows_N: np.ndarray,
    vectors_ND: torch.Tensor,
    unit_length: bool,
) -> torch.Tensor:
    """Corrected vectors of some rows, of length 1 again where the model compares by cosine."""
    codes = (benchmark.query_languages if role == "query" else benchmark.passage_languages)[rows_N]
    out_ND = vectors_ND.double().clone()
    for language in np.unique(codes):
        mine = torch.from_numpy(codes == language).to(out_ND.device)
        out_ND[mine] = fix(role, benchmark.languages[language], out_ND[mine])
    return (F.normalize(out_ND, dim=-1) if unit_length else out_ND).float()


def require_corrections(names: Sequence[str], on: str | None) -> None:
    """ValueError for an unknown correction, none at all, or one that does not say where it is estimated."""
    wrong = [name for name in names if name not in CORRECTION_NAMES]
    if wrong or not names:
        raise ValueError(
            f"postprocess={wrong or list(names)} must be at least one, and only some of {', '.join(CORRECTION_NAMES)}"
        )
    if on is None and set(names) - {"none"}:
        raise ValueError(
            "postprocess_on is missing: say on which texts the means and components are estimated: the name of "
            "another benchmark, or `test` for the very queries and passages that are measured"
        )


def require_split(
    names: Sequence[str], benchmark: Benchmark, split: Benchmark, components: int, source: str
) -> None:
    """ValueError, before anything is encoded, for a correction that cannot be estimated on the split for the benchmark."""
    asked = {
        "query": set(np.unique(benchmark.query_languages)),
        "passage": set(np.unique(benchmark.passage_languages)),
    }
    there = {
        "query": set(np.unique(split.query_languages)),
        "passage": set(np.unique(split.passage_languages)),
    }
    for role in asked if {"center", "lir"} & set(names) else ():
        has = {split.languages[code] for code in there[role]}
        lacking = sorted({benchmark.languages[code] for code in asked[role]} - has)
        if lacking:
            raise ValueError(
                f"postprocess_on={split.name} has no {role} in {lacking}, only in {sorted(has)}: choose a split "
                "with every language of the benchmark"
            )
    if "lir" in names and components < 1:
        raise ValueError(f"postprocess_components={components} must be at least 1")
    if "shift" in names:
        for code in sorted(asked["passage"]):
            if benchmark.languages[code] != source:
                find_translations(split, benchmark.languages[code], source)
