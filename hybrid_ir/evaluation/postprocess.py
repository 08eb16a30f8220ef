"""Corrects language bias without training: takes from vectors what only tells their language.

Every correction is estimated on a split that has a name and stands on the evaluation card.

Shapes: N vectors of texts, W vectors of windows (N where each text has one), D width,
R components.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F

from hybrid_ir.evaluation.encoding import EncodedRows
from hybrid_ir.types import Benchmark, Role

CORRECTION_NAMES = ("none", "center", "lir", "shift")
ROLES: tuple[Role, Role] = ("query", "passage")


class Correction(Protocol):
    """Changes the vectors of texts in one language so that they tell less of the language."""

    def __call__(self, role: Role, language: str, vectors_ND: torch.Tensor) -> torch.Tensor:
        """Returns the corrected vectors; float64 in and out."""


@dataclass
class Moments:
    """Number, sum and sum of outer products of vectors, added up as they stream by."""

    count: int
    sum_D: torch.Tensor
    outer_DD: torch.Tensor

    @classmethod
    def zeros(cls, width: int) -> "Moments":
        """Returns the moments of no vectors of this width."""
        return cls(
            count=0,
            sum_D=torch.zeros(width, dtype=torch.float64),
            outer_DD=torch.zeros(width, width, dtype=torch.float64),
        )

    def add(self, vectors_ND: torch.Tensor) -> None:
        """Takes in some vectors."""
        vectors_ND = vectors_ND.double().cpu()
        self.count += len(vectors_ND)
        self.sum_D += vectors_ND.sum(0)
        self.outer_DD += vectors_ND.T @ vectors_ND


class EstimationSplit:
    """What the corrections need of the vectors of a benchmark on which they are estimated.

    It keeps the moments by role and language, and the vectors of passages that answer a question:
    those that answer one question in several languages are translations of each other. A passage
    of several windows counts as the mean of their vectors.
    """

    def __init__(self, benchmark: Benchmark):
        self.benchmark = benchmark
        self.name = benchmark.name
        self.moments: dict[tuple[Role, str], Moments] = {}
        self.answer_rows: set[int] = set()
        for rows in benchmark.relevant:
            self.answer_rows.update(int(row) for row in rows)
        self.answer_vectors: dict[int, torch.Tensor] = {}

    def add(self, encoded: EncodedRows) -> None:
        """Takes in the vectors of a chunk; all windows of a passage come at once."""
        rows_N, vectors_ND = average_windows(encoded.rows_N, encoded.vectors_ND)
        languages_N = get_languages(self.benchmark, encoded.role)[rows_N]
        for language in np.unique(languages_N):
            is_of_language_N = torch.from_numpy(languages_N == language)
            key = (encoded.role, self.benchmark.languages[language])
            if key not in self.moments:
                self.moments[key] = Moments.zeros(vectors_ND.shape[1])
            self.moments[key].add(vectors_ND[is_of_language_N])
        if encoded.role == "passage":
            for place, row in enumerate(rows_N.tolist()):
                if row in self.answer_rows:
                    self.answer_vectors[row] = vectors_ND[place]

    def get_moments(self, role: Role, language: str) -> Moments:
        """Returns the moments of a role and language. Raises ValueError if there are none."""
        if (role, language) not in self.moments:
            languages = sorted({name for _, name in self.moments})
            raise ValueError(
                f"postprocess_on={self.name} has no {role} in '{language}', only in "
                f"{languages}: choose a split with every language of the benchmark"
            )
        return self.moments[role, language]

    def compute_offset(self, language: str, source: str) -> torch.Tensor:
        """Averages, over questions, the difference of passages and their translations (D).

        Args:
            language: of the passages.
            source: language of the translations.

        Raises:
            ValueError: No question has relevant passages in both languages.
        """
        differences = []
        for rows, source_rows in find_translations(self.benchmark, language, source):
            differences.append(self._average_answers(rows) - self._average_answers(source_rows))
        return torch.stack(differences).mean(0)

    def _average_answers(self, rows: np.ndarray) -> torch.Tensor:
        return torch.stack([self.answer_vectors[int(row)] for row in rows]).mean(0)

    def count_vectors(self) -> dict[str, dict[str, int]]:
        """Returns the number of vectors by role and language, for the card."""
        counts: dict[str, dict[str, int]] = {role: {} for role in ROLES}
        for (role, language), moments in self.moments.items():
            counts[role][language] = moments.count
        return counts


class Centering:
    """Subtracts the mean vector of the language, of queries and of passages each their own."""

    def __init__(self, split: EstimationSplit):
        self.split = split

    def __call__(self, role: Role, language: str, vectors_ND: torch.Tensor) -> torch.Tensor:
        """Returns the centred vectors."""
        moments = self.split.get_moments(role, language)
        return vectors_ND - (moments.sum_D / moments.count).to(vectors_ND.device)


class LanguageRemoval:
    """Language Information Removal (LIR, Yang et al. 2021, 2109.04727).

    It projects away the first principal directions of the language. These are the first left
    singular vectors of the language's uncentred vectors: eigenvectors of the sum of their outer
    products.

    Args:
        split: on which the directions are estimated.
        components: number of directions.
    """

    def __init__(self, split: EstimationSplit, components: int = 1):
        self.split = split
        self.components = components
        self._directions: dict[tuple[Role, str], torch.Tensor] = {}

    def __call__(self, role: Role, language: str, vectors_ND: torch.Tensor) -> torch.Tensor:
        """Returns the vectors without the directions of the language."""
        key = (role, language)
        if key not in self._directions:
            directions_DR = self._compute_directions(role, language)
            self._directions[key] = directions_DR.to(vectors_ND.device)
        directions_DR = self._directions[key]
        return vectors_ND - (vectors_ND @ directions_DR) @ directions_DR.T

    def _compute_directions(self, role: Role, language: str) -> torch.Tensor:
        moments = self.split.get_moments(role, language)
        width = len(moments.sum_D)
        if not 1 <= self.components < min(moments.count, width):
            raise ValueError(
                f"postprocess_components={self.components} must be at least 1 and less than the "
                f"{moments.count} vectors of '{language}' and their width {width}"
            )
        eigenvectors_DD = torch.linalg.eigh(moments.outer_DD).eigenvectors  # largest values last
        return eigenvectors_DD[:, -self.components :]


class Shift:
    """Moves passages towards their translations in a source language (SHIFT, 2606.18801).

    It subtracts the mean offset of a language's passages to their translations. It works on the
    index only: queries stay as they are, and so do passages in the source language.

    Args:
        split: on which the offsets are estimated.
        source: the source language.
    """

    def __init__(self, split: EstimationSplit, source: str = "en"):
        self.split = split
        self.source = source
        self._offsets: dict[str, torch.Tensor] = {}

    def __call__(self, role: Role, language: str, vectors_ND: torch.Tensor) -> torch.Tensor:
        """Returns the moved vectors."""
        if role == "query" or language == self.source:
            return vectors_ND
        if language not in self._offsets:
            offset_D = self.split.compute_offset(language, self.source)
            self._offsets[language] = offset_D.to(vectors_ND.device)
        return vectors_ND - self._offsets[language]


def build_correction(
    name: str, split: EstimationSplit | None, components: int = 1, source: str = "en"
) -> Correction | None:
    """Builds the correction of a name, None for `none`.

    Args:
        name: one of CORRECTION_NAMES.
        split: on which it is estimated.
        components: of `lir`.
        source: language of `shift`.
    """
    if name == "none":
        return None
    assert split is not None
    if name == "center":
        return Centering(split)
    if name == "lir":
        return LanguageRemoval(split, components)
    return Shift(split, source)


def apply_correction(
    correction: Correction, benchmark: Benchmark, encoded: EncodedRows, unit_length: bool
) -> EncodedRows:
    """Corrects the vectors of a chunk, language by language.

    Args:
        correction: to apply.
        benchmark: of the chunk.
        encoded: the vectors as they are.
        unit_length: give the corrected vectors length 1 again, for models that compare by cosine.
    """
    languages_N = get_languages(benchmark, encoded.role)[encoded.rows_N]
    vectors_ND = encoded.vectors_ND.double().clone()
    for language in np.unique(languages_N):
        is_of_language_N = torch.from_numpy(languages_N == language).to(vectors_ND.device)
        vectors_ND[is_of_language_N] = correction(
            encoded.role, benchmark.languages[language], vectors_ND[is_of_language_N]
        )
    if unit_length:
        vectors_ND = F.normalize(vectors_ND, dim=-1)
    return replace(encoded, vectors_ND=vectors_ND.float())


def average_windows(
    rows_W: np.ndarray, vectors_WD: torch.Tensor
) -> tuple[np.ndarray, torch.Tensor]:
    """Averages the vectors of each row.

    Returns:
        The distinct rows (N), ascending, and their mean vectors (N, D) in float64 on the CPU.
    """
    rows_N, place_W, count_N = np.unique(rows_W, return_inverse=True, return_counts=True)
    vectors_ND = torch.zeros(len(rows_N), vectors_WD.shape[1], dtype=torch.float64)
    vectors_ND.index_add_(0, torch.from_numpy(place_W.ravel()), vectors_WD.cpu().double())
    return rows_N, vectors_ND.div_(torch.from_numpy(count_N)[:, None])


def get_languages(benchmark: Benchmark, role: Role) -> np.ndarray:
    """Returns the language of every query or of every passage of a benchmark."""
    return benchmark.query_languages if role == "query" else benchmark.passage_languages


def find_translations(
    benchmark: Benchmark, language: str, source: str
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Finds the questions that have relevant passages in two languages.

    Returns:
        For each such question its rows in the language and its rows in the source language.

    Raises:
        ValueError: There is no such question.
    """
    names = list(benchmark.languages)
    languages_N = np.asarray(benchmark.passage_languages)
    translations: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    if language in names and source in names:
        for question, rows in zip(benchmark.question_ids, benchmark.relevant, strict=True):
            if question in translations:
                continue
            language_rows = rows[languages_N[rows] == names.index(language)]
            source_rows = rows[languages_N[rows] == names.index(source)]
            if len(language_rows) and len(source_rows):
                translations[question] = (language_rows, source_rows)
    if not translations:
        raise ValueError(
            f"postprocess=shift needs passages that answer one question in '{language}' and in "
            f"postprocess_source='{source}', and {benchmark.name} has none: choose another split "
            "or source"
        )
    return list(translations.values())


def require_corrections(names: Sequence[str], on: str | None) -> None:
    """Checks the names of corrections, and that it is said on which texts they are estimated.

    Args:
        names: of the corrections.
        on: name of the split, None where it is not said.

    Raises:
        ValueError: There is no name or an unknown one, or the split is missing.
    """
    unknown = [name for name in names if name not in CORRECTION_NAMES]
    if unknown or not names:
        raise ValueError(
            f"postprocess={unknown or list(names)} must be at least one, and only some of "
            f"{', '.join(CORRECTION_NAMES)}"
        )
    if on is None and set(names) - {"none"}:
        raise ValueError(
            "postprocess_on is missing: say on which texts the means and components are "
            "estimated: the name of another benchmark, or `test` for the very queries and "
            "passages that are measured"
        )


def require_split(
    names: Sequence[str], benchmark: Benchmark, split: Benchmark, components: int, source: str
) -> None:
    """Checks, before anything is encoded, that corrections can be estimated on a split.

    Args:
        names: of the corrections.
        benchmark: that is measured.
        split: on which they are estimated.
        components: of `lir`.
        source: language of `shift`.

    Raises:
        ValueError: The split lacks a language or translations, or components is too small.
    """
    if "center" in names or "lir" in names:
        for role in ROLES:
            _require_languages(role, benchmark, split)
    if "lir" in names and components < 1:
        raise ValueError(f"postprocess_components={components} must be at least 1")
    if "shift" in names:
        for language in _list_used_languages("passage", benchmark):
            if language != source:
                find_translations(split, language, source)


def _list_used_languages(role: Role, benchmark: Benchmark) -> list[str]:
    """Lists the languages that have queries or passages, in the order of the benchmark."""
    return [benchmark.languages[code] for code in np.unique(get_languages(benchmark, role))]


def _require_languages(role: Role, benchmark: Benchmark, split: Benchmark) -> None:
    available = set(_list_used_languages(role, split))
    missing = sorted(set(_list_used_languages(role, benchmark)) - available)
    if missing:
        raise ValueError(
            f"postprocess_on={split.name} has no {role} in {missing}, only in "
            f"{sorted(available)}: choose a split with every language of the benchmark"
        )
