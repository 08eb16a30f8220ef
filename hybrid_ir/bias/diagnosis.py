"""Measures what mixing languages in one collection costs a retriever, as plain values.

Texts with known answers say what becomes of the answers (`answer_places`). Others say only how far
the vectors of passages are sorted by language (`sorted_by_language`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hybrid_ir.bias.answer_places import (
    DEPTH,
    FATES,
    FOUND,
    HIDDEN,
    NOT_FOUND,
    AnswerPlaces,
    share_by_languages,
)
from hybrid_ir.bias.hiding import find_hiding_languages
from hybrid_ir.evaluation.card import hash_benchmark
from hybrid_ir.evaluation.evaluate import (
    Evaluation,
    EvaluationSettings,
    evaluate_with_corrections,
)
from hybrid_ir.evaluation.results import Results, mean_of_defined
from hybrid_ir.evaluation.significance import ClusteredValues, compute_bootstrap_interval
from hybrid_ir.types import Benchmark, TextEncoder

# Corrections without training that are tried, from the vectors of these very texts.
CORRECTIONS = ("center", "lir")
# Smaller collections of a language say little: chance alone finds much in them.
SMALLEST_COLLECTION = 10 * DEPTH
SEED = 1  # of the resamples behind an interval
# Everything that can be measured of texts with known answers, see `compute_measures`.
MEASURES = (
    "found",
    "hidden",
    "not_found",
    "own.found",
    "own.hidden",
    "own.not_found",
    "mono.map",
    "cross.map",
    "multi.map",
    "rank_distance",
    "rank_distance.median",
    "rank_distance.share",
    "own_language_share",
    "own_language_share.fair",
    "same_language_neighbours",
)


@dataclass(frozen=True)
class Diagnosis:
    """What was measured of a model on some texts, as plain values.

    Attributes:
        texts: what was asked: name, languages, numbers, hash.
        measures: by name; None for what these texts do not tell.
        intervals: 95 % intervals of some of the measures, over questions.
        pairs: by measure, a matrix by query language and answer language; None in a cell without
            answers.
        hidden_by: by query language, the share of each language at the top of the rankings in
            which an answer is hidden.
        language_mix: by query language, the share of each language among the first DEPTH passages.
        corrections: by correction, the measures with it.
        notes: what these texts cannot tell, and what to mind.
    """

    texts: dict[str, Any]
    measures: dict[str, float | None]
    intervals: dict[str, list[float]] = field(default_factory=dict)
    pairs: dict[str, list[list[float | None]]] = field(default_factory=dict)
    hidden_by: dict[str, dict[str, float]] = field(default_factory=dict)
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
    most_answers = max(len(rows) for rows in benchmark.relevant)
    settings = EvaluationSettings(
        postprocess=["none", *corrections], run_depth=DEPTH + most_answers
    )
    plain = None
    diagnosis = None
    corrected = {}
    for evaluation in evaluate_with_corrections(benchmark, encoder, settings, folder):
        if evaluation.postprocess == "none":
            plain = evaluation
            diagnosis = describe_evaluation(evaluation)
        else:
            places = AnswerPlaces.from_table(evaluation.results.relevant_table)
            corrected[evaluation.postprocess] = compute_measures(evaluation.results, places)
    diagnosis.corrections.update(corrected)
    return diagnosis, plain


def require_several_languages(benchmark: Benchmark) -> None:
    """Raises ValueError unless passages are in at least two languages."""
    codes = np.unique(benchmark.passage_languages)
    if len(codes) < 2:
        names = ", ".join(benchmark.languages[code] for code in codes) or "no language"
        if names == "und":
            raise ValueError(
                f"{benchmark.name}: the passages name no language: `hybrid-ir data identify "
                "path=FOLDER to=NEW` writes a copy in which each of them names the likeliest one"
            )
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
    fate_P = places.decide_fates()
    pairs = {}
    for fate, name in enumerate(FATES):
        pairs[name] = _list_cells(share_by_languages(fate_P == fate, places, len(languages)))
    hiding_LL = find_hiding_languages(
        places, fate_P, evaluation.runs["multi"], DEPTH, len(languages)
    )
    hidden_by = {}
    for code, language in enumerate(languages):
        if not np.isnan(hiding_LL[code]).any():
            hidden_by[language] = dict(zip(languages, hiding_LL[code].tolist(), strict=True))
    return Diagnosis(
        texts=describe_texts(benchmark),
        measures=compute_measures(results, places),
        intervals=_compute_intervals(benchmark, places, fate_P),
        pairs=pairs,
        hidden_by=hidden_by,
        language_mix=_describe_language_mix(results),
        notes=_list_notes(benchmark, results, places),
    )


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


def compute_measures(results: Results, places: AnswerPlaces) -> dict[str, float | None]:
    """Computes the measures of bias that have a name, each one number.

    `found`, `hidden` and `not_found` are shares of the answers in other languages than the question
    and sum to 1; `own.hidden` is the share of hidden answers in its own language. `NAME.map` is the
    mean average precision of a view. What these texts do not tell is None.
    """
    fate_P = places.decide_fates()
    is_across_P = places.is_across_P
    across = fate_P[is_across_P]
    own = fate_P[~is_across_P]
    measures: dict[str, float | None] = {
        "found": _share(across == FOUND),
        "hidden": _share(across == HIDDEN),
        "not_found": _share(across == NOT_FOUND),
        "own.found": _share(own == FOUND),
        "own.hidden": _share(own == HIDDEN),
        "own.not_found": _share(own == NOT_FOUND),
    }
    for view in ("mono", "cross", "multi"):
        measures[f"{view}.map"] = _to_plain(results.macro(view).get("map"))
    is_multi = results.view == 2
    distances = results.values["rank_distance"][is_multi]
    has_distances = bool((~np.isnan(distances)).any())
    median = float(np.nanmedian(distances)) if has_distances else None
    measures["rank_distance"] = _to_plain(results.macro("multi").get("rank_distance"))
    measures["rank_distance.median"] = median
    measures["rank_distance.share"] = None
    if median is not None:
        measures["rank_distance.share"] = median / sum(results.pool_sizes.values())
    measures["own_language_share"] = _average_own_share(results)
    measures["own_language_share.fair"] = _average_fair_share(results)
    neighbours = results.geometry.get("same_language_neighbours")
    measures["same_language_neighbours"] = _to_plain(neighbours)
    return measures


def _share(is_counted: np.ndarray) -> float | None:
    return float(is_counted.mean()) if len(is_counted) else None


def _to_plain(value: Any) -> float | None:
    return None if value is None or np.isnan(value) else float(value)


def _average_own_share(results: Results) -> float | None:
    """Returns the share of the question's language among the first DEPTH passages."""
    mix_LL = np.array(results.geometry[f"language_mix@{DEPTH}"], float)
    return _to_plain(mean_of_defined(np.diag(mix_LL)))


def _average_fair_share(results: Results) -> float | None:
    """Returns the share of a question's language in the collection, as the mean over languages."""
    sizes_L = np.array(list(results.pool_sizes.values()), float)
    has_queries_L = np.bincount(results.benchmark.query_languages, minlength=len(sizes_L)).astype(
        bool
    )
    return _to_plain((sizes_L / sizes_L.sum())[has_queries_L].mean())


def _compute_intervals(
    benchmark: Benchmark, places: AnswerPlaces, fate_P: np.ndarray
) -> dict[str, list[float]]:
    """Computes 95 % intervals of the three shares, by resampling questions."""
    is_across_P = places.is_across_P
    if not is_across_P.any():
        return {}
    questions, question_Q = np.unique(np.array(benchmark.question_ids), return_inverse=True)
    cluster_P = question_Q[places.query_P[is_across_P]]
    intervals = {}
    for fate, name in enumerate(FATES):
        clustered = ClusteredValues.from_rows(
            (fate_P[is_across_P] == fate).astype(float),
            cluster_P,
            np.zeros(len(cluster_P), np.int64),
            (len(questions), 1),
        )
        low_K, high_K = compute_bootstrap_interval(
            clustered, np.ones((1, 1), bool), np.random.default_rng(SEED)
        )
        intervals[name] = [float(low_K[0]), float(high_K[0])]
    return intervals


def _list_cells(cells_LL: np.ndarray) -> list[list[float | None]]:
    """Returns a matrix as plain values, None for NaN."""
    rows = []
    for cells_L in cells_LL:
        rows.append([_to_plain(cell) for cell in cells_L])
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


def _list_notes(benchmark: Benchmark, results: Results, places: AnswerPlaces) -> list[str]:
    """Lists what these texts cannot tell, and what to mind."""
    notes = []
    if not places.is_across_P.any():
        notes.append(
            "No question has a known answer in another language, so nothing can be said of how "
            "well answers are found across languages. What is measured is whether answers in the "
            "question's own language are hidden by passages in others."
        )
    small = [name for name, size in results.pool_sizes.items() if size < SMALLEST_COLLECTION]
    if small:
        notes.append(
            f"There are fewer than {SMALLEST_COLLECTION} passages in {', '.join(small)}: the first "
            f"{DEPTH} of so few are found by chance, so these shares say little."
        )
    missing = benchmark.count_missing_passages()
    if missing:
        notes.append(
            f"{missing:,} known answers are not in the collection. They count as never found in "
            "mAP, and are left out of the shares of found and hidden answers."
        )
    own_texts = _count_queries_that_are_answers(benchmark)
    if own_texts:
        notes.append(
            f"{own_texts:,} queries have the very text of one of their answers, which is found "
            "without any understanding: give role=query and role=passage to different texts."
        )
    without = sum(len(rows) == 0 for rows in benchmark.relevant)
    if without:
        notes.append(f"{without:,} of {len(benchmark.queries):,} queries have no known answer.")
    return notes


def _count_queries_that_are_answers(benchmark: Benchmark) -> int:
    """Returns how many queries have the text of a passage that is relevant to them."""
    count = 0
    for query, rows in zip(benchmark.queries, benchmark.relevant, strict=True):
        count += any(benchmark.passages[int(row)] == query for row in rows)
    return count
