"""Measures what mixing languages in one collection costs a retriever, as plain values.

Texts with known answers say what becomes of the answers (`answer_places`). Others say only how far
the vectors of passages are sorted by language (`sorted_by_language`).
"""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hybrid_ir.bias.answer_places import DEPTH, FATES, AnswerPlaces
from hybrid_ir.bias.hiding import find_hiding_languages
from hybrid_ir.bias.intervals import compute_intervals, group_questions
from hybrid_ir.bias.measures import compute_measures, to_plain
from hybrid_ir.bias.notes import list_notes
from hybrid_ir.evaluation.benchmarks.choices import require_named_languages
from hybrid_ir.evaluation.card import hash_benchmark
from hybrid_ir.evaluation.evaluate import (
    Evaluation,
    EvaluationSettings,
    evaluate_with_corrections,
)
from hybrid_ir.evaluation.language_bias import average_cells
from hybrid_ir.evaluation.results import Results
from hybrid_ir.types import Benchmark, TextEncoder

# Corrections without training that are tried, from the vectors of these very texts.
CORRECTIONS = ("center", "lir")
# From fewer vectors of a language and role its mean says more of single texts than of the language.
FEWEST_VECTORS_TO_CORRECT = 20


@dataclass(frozen=True)
class Diagnosis:
    """What was measured of a model on some texts, as plain values.

    Attributes:
        texts: what was asked: name, languages, numbers, hash.
        measures: by name; None for what these texts do not tell.
        intervals: 95% intervals of some of the measures, over questions.
        pairs: by measure, a matrix by query language and answer language; None in a cell without
            answers.
        hidden_by: by query language, the share of each language at the top of the rankings in
            which an answer in another language is hidden.
        hidden_by_own: the share of the question's language there, over all hidden answers.
        language_mix: by query language, the share of each language among the first DEPTH passages.
        corrections: by correction, the measures with it.
        notes: what these texts cannot tell, and what to mind.
    """

    texts: dict[str, Any]
    measures: dict[str, float | None]
    intervals: dict[str, list[float]] = field(default_factory=dict)
    pairs: dict[str, list[list[float | None]]] = field(default_factory=dict)
    hidden_by: dict[str, dict[str, float]] = field(default_factory=dict)
    hidden_by_own: float | None = None
    language_mix: dict[str, dict[str, float | None]] = field(default_factory=dict)
    corrections: dict[str, dict[str, float | None]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def languages(self) -> list[str]:
        """The codes of the languages."""
        return list(self.texts["languages"])


def diagnose(
    encoder: TextEncoder,
    benchmark: Benchmark,
    corrections: Sequence[str] = CORRECTIONS,
    folder: Path | None = None,
) -> tuple[Diagnosis, Evaluation]:
    """Measures the language bias of an encoder on texts with known answers.

    Args:
        encoder: of `load_encoder`.
        benchmark: questions and passages in at least two languages.
        corrections: training-free corrections to try, estimated from the same texts.
        folder: where vectors wait; by default the system's folder for temporary files.

    Returns:
        What was measured, and the evaluation without a correction behind it.

    Raises:
        ValueError: there are fewer than two languages, or no query has an answer.
    """
    require_several_languages(benchmark)
    most_answers = max((len(rows) for rows in benchmark.relevant), default=0)
    if most_answers == 0:
        raise ValueError(
            f"{benchmark.name}: no query has a known answer, so no answer can be lost: give "
            "judgements, or see diagnose_texts"
        )
    note = explain_missing_corrections(benchmark)
    tried = [] if note else corrections
    settings = EvaluationSettings(postprocess=["none", *tried], run_depth=DEPTH + most_answers)
    # Closed whatever happens, as it keeps vectors in the folder while it is open.
    with closing(evaluate_with_corrections(benchmark, encoder, settings, folder)) as evaluations:
        plain = next(evaluations)
        _require_answers(plain)
        diagnosis = describe_evaluation(plain)
        if note:
            diagnosis.notes.append(note)
        for evaluation in evaluations:
            places = AnswerPlaces.from_table(evaluation.results.relevant_table)
            measures = compute_measures(evaluation.results, places)
            diagnosis.corrections[evaluation.postprocess] = measures
    return diagnosis, plain


def _require_answers(evaluation: Evaluation) -> None:
    """Raises ValueError if no judgement is of a grade that counts."""
    results = evaluation.results
    if (results.relevant_table.relevant_languages < 0).all():
        benchmark = results.benchmark
        raise ValueError(
            f"{benchmark.name}: no judgement of a passage in the collection has a grade of "
            f"{benchmark.least_relevant_grade:g} or more, so no answer can be lost: give a lower "
            "relevance_threshold"
        )


def explain_missing_corrections(benchmark: Benchmark) -> str | None:
    """Returns why no correction is tried, None if there are enough texts to estimate one."""
    few = []
    for role, codes in (
        ("queries", benchmark.query_languages),
        ("passages", benchmark.passage_languages),
    ):
        counts_L = np.bincount(codes, minlength=len(benchmark.languages))
        for language, count in zip(benchmark.languages, counts_L.tolist(), strict=True):
            if 0 < count < FEWEST_VECTORS_TO_CORRECT:
                few.append(f"{count} {role} in {language}")
    if not few:
        return None
    return (
        f"Corrections without training were not tried: there are only {', '.join(few)}, and at "
        f"least {FEWEST_VECTORS_TO_CORRECT} are needed to estimate one."
    )


def require_several_languages(benchmark: Benchmark) -> None:
    """Raises ValueError unless passages are in at least two languages."""
    require_named_languages(benchmark)
    codes = np.unique(benchmark.passage_languages)
    if len(codes) < 2:
        names = ", ".join(benchmark.languages[code] for code in codes) or "no language"
        raise ValueError(
            f"{benchmark.name}: all passages are in {names}, so there is no other language that "
            "could hide them: give passages in at least two languages"
        )


def describe_evaluation(evaluation: Evaluation) -> Diagnosis:
    """Describes what an evaluation says of language bias.

    Args:
        evaluation: with a `run_depth` of DEPTH and as much as a query has answers.
    """
    results = evaluation.results
    benchmark = results.benchmark
    languages = benchmark.languages
    places = AnswerPlaces.from_table(results.relevant_table)
    pairs = {}
    for fate, name in enumerate(FATES):
        cells_LL = average_cells(
            places.query_language_P,
            places.answer_language_P,
            (places.fate_P == fate).astype(float),
            len(languages),
        )
        pairs[name] = _list_cells(cells_LL)
    hiding = find_hiding_languages(places, evaluation.runs["multi"], len(languages))
    hidden_by = {}
    for language, shares_L in zip(languages, hiding.shares_LL, strict=True):
        if not np.isnan(shares_L).any():
            hidden_by[language] = dict(zip(languages, shares_L.tolist(), strict=True))
    group_Q = group_questions(benchmark.question_ids, places)
    return Diagnosis(
        texts=describe_texts(benchmark) | describe_answers(places, group_Q, languages),
        measures=compute_measures(results, places),
        intervals=compute_intervals(results, places, group_Q),
        pairs=pairs,
        hidden_by=hidden_by,
        hidden_by_own=to_plain(hiding.compute_own_share()),
        language_mix=_describe_language_mix(results),
        notes=list_notes(results, places),
    )


def describe_answers(
    places: AnswerPlaces, group_Q: np.ndarray, languages: Sequence[str]
) -> dict[str, Any]:
    """Describes how many answers are known, in other languages than the question and in its own.

    Args:
        places: of the answers.
        group_Q: the group of each query, see `group_questions`.
        languages: their codes.
    """
    described: dict[str, Any] = {"question_groups": len(np.unique(group_Q[places.query_P]))}
    for kind, is_asked_P in (("across", places.is_across_P), ("own", ~places.is_across_P)):
        groups = np.unique(group_Q[places.query_P[is_asked_P]])
        counts_L = np.bincount(places.answer_language_P[is_asked_P], minlength=len(languages))
        described[f"question_groups_{kind}"] = len(groups)
        described[f"answers_{kind}_by_language"] = dict(
            zip(languages, counts_L.tolist(), strict=True)
        )
    return described


def describe_texts(benchmark: Benchmark) -> dict[str, Any]:
    """Describes the texts of a benchmark, as plain values."""
    counts_L = np.bincount(benchmark.passage_languages, minlength=len(benchmark.languages))
    return {
        "name": benchmark.name,
        "revision": benchmark.source.revision,
        "licence": benchmark.source.licence,
        "choices": benchmark.source.choices,
        "sha256": hash_benchmark(benchmark),
        "languages": list(benchmark.languages),
        "queries": len(benchmark.queries),
        "questions": len(set(benchmark.question_ids)),
        "passages": len(benchmark.passages),
        "passages_by_language": dict(zip(benchmark.languages, counts_L.tolist(), strict=True)),
    }


def _list_cells(cells_LL: np.ndarray) -> list[list[float | None]]:
    """Returns a matrix as plain values, None for NaN."""
    rows = []
    for cells_L in cells_LL:
        rows.append([to_plain(cell) for cell in cells_L])
    return rows


def average_other_rows(cells: Sequence[Sequence[float | None]], column: int) -> float | None:
    """Returns the mean of a column without its cell on the diagonal; None where there is nothing.

    Args:
        cells: by query language and answer language.
        column: the answer language.
    """
    values = []
    for row, row_cells in enumerate(cells):
        if row != column and row_cells[column] is not None:
            values.append(row_cells[column])
    return sum(values) / len(values) if values else None


def _describe_language_mix(results: Results) -> dict[str, dict[str, float | None]]:
    """Returns the share of each language among the first passages, by query language."""
    languages = results.benchmark.languages
    mix = {}
    rows = results.geometry[f"language_mix@{DEPTH}"]
    for language, shares in zip(languages, rows, strict=True):
        if not np.isnan(shares).any():
            mix[language] = dict(zip(languages, shares, strict=True))
    return mix
