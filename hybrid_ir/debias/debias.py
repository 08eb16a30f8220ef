"""Corrects the language bias of a model once, and writes it as a model of its own."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hybrid_ir.debias.correction import LanguageCorrection, fit_correction
from hybrid_ir.debias.texts import split_questions
from hybrid_ir.evaluation.card import hash_benchmark
from hybrid_ir.evaluation.encoding import EncodedRows, EncodingPass, TextChunks
from hybrid_ir.evaluation.postprocess import EstimationSplit, get_languages
from hybrid_ir.evaluation.results import Results
from hybrid_ir.evaluation.streaming import StreamedRanking
from hybrid_ir.types import Benchmark, TextEncoder

QUESTIONS = 60  # to fit on; a third as many are held out to measure
MEASURED = ("map", "rank_distance")


@dataclass(frozen=True)
class FittedCorrection:
    """A correction, and what its card says of it.

    Attributes:
        correction: to put into the model.
        settings: how it was fitted: method, passages_only, components, source.
        fitted_on: name, revision and hashes of the texts, and their numbers by role and language.
        before: the measured views of the model as it is; None where nothing could be measured.
        after: likewise with the correction, of texts whose language is not given.
        after_with_languages: likewise of texts whose language is given; None where that is the
            same.
    """

    correction: LanguageCorrection
    settings: dict[str, Any]
    fitted_on: dict[str, Any]
    before: dict[str, dict[str, float]] | None
    after: dict[str, dict[str, float]] | None
    after_with_languages: dict[str, dict[str, float]] | None

    def describe(self) -> dict[str, Any]:
        """Returns all of it but the maps, as plain values."""
        return {
            **self.settings,
            "fitted_on": self.fitted_on,
            "held_out": {
                "before": self.before,
                "after": self.after,
                "after_with_languages": self.after_with_languages,
            },
        }


def debias(
    encoder: TextEncoder,
    texts: Benchmark,
    method: str = "subspace",
    passages_only: bool = False,
    components: int | None = None,
    source: str = "en",
    questions: int = QUESTIONS,
) -> FittedCorrection:
    """Fits a correction of an encoder's language bias on some texts, and measures it on others.

    Args:
        encoder: of `load_encoder`.
        texts: a benchmark that is not the one to be measured later; see also `read_text_lines` and
            `draw_from_corpus`.
        method: `subspace`, `center`, `lir` or `shift`, see `fit_correction`.
        passages_only: leave the vectors of queries as they are, to the bit.
        components: directions of `subspace` and `lir`; None for the usual number.
        source: language of `shift`.
        questions: to fit on, at most; a third as many more are held out to measure.

    Raises:
        ValueError: the method cannot be fitted on these texts.
    """
    fitted, held_out = split_questions(texts, questions)
    split = EstimationSplit(fitted)
    for encoded in EncodingPass(TextChunks(fitted, encoder), f"encode {texts.name} to fit"):
        split.add(encoded)
    correction = fit_correction(
        split, method, passages_only, components, source, encoder.similarity == "cosine"
    )
    before = None
    after = None
    after_with_languages = None
    if held_out is not None and len(held_out.queries):
        title = f"encode {texts.name} to measure"
        vectors = list(EncodingPass(TextChunks(held_out, encoder), title))
        before = _measure(held_out, vectors)
        after = _measure(held_out, [_correct(correction, held_out, one, False) for one in vectors])
        if any(correction.by_language.values()):
            corrected = [_correct(correction, held_out, one, True) for one in vectors]
            after_with_languages = _measure(held_out, corrected)
    return FittedCorrection(
        correction=correction,
        settings={
            "method": method,
            "passages_only": passages_only or method == "shift",
            "components": components,
            "source": source if method == "shift" else None,
        },
        fitted_on=_describe_texts(texts, fitted, split),
        before=before,
        after=after,
        after_with_languages=after_with_languages,
    )


def _describe_texts(texts: Benchmark, fitted: Benchmark, split: EstimationSplit) -> dict[str, Any]:
    """Describes the texts that a correction was fitted on."""
    return {
        "name": texts.source.name,
        "revision": texts.source.revision,
        "licence": texts.source.licence,
        "choices": texts.source.choices,
        "sha256": hash_benchmark(texts),
        "sha256_of_fitted_texts": hash_benchmark(fitted),
        "languages": list(fitted.languages),
        "vectors": split.count_vectors(),
    }


def _correct(
    correction: LanguageCorrection, benchmark: Benchmark, encoded: EncodedRows, with_languages: bool
) -> EncodedRows:
    """Corrects the vectors of a chunk, each by its language or all by the common map."""
    if not with_languages:
        vectors_ND = correction.apply(encoded.vectors_ND.cpu(), encoded.role)
        return replace(encoded, vectors_ND=vectors_ND.float())
    vectors_ND = encoded.vectors_ND.cpu().double().clone()
    codes_N = get_languages(benchmark, encoded.role)[encoded.rows_N]
    for code in np.unique(codes_N):
        rows = np.flatnonzero(codes_N == code)
        vectors_ND[rows] = correction.apply(
            vectors_ND[rows], encoded.role, benchmark.languages[code]
        )
    return replace(encoded, vectors_ND=vectors_ND.float())


def _measure(benchmark: Benchmark, vectors: Iterable[EncodedRows]) -> dict[str, dict[str, float]]:
    """Returns the means over settings of the three views, and of each language in them."""
    ranking = StreamedRanking(benchmark)
    for encoded in vectors:
        ranking.add(encoded)
    results = ranking.results()
    measured: dict[str, dict[str, float]] = {}
    for view in ("mono", "cross", "multi"):
        macro = results.macro(view)
        measured[view] = {name: float(macro[name]) for name in MEASURED if name in macro}
        measured[view]["map_by_language"] = _average_by_language(results, view)
    return measured


def _average_by_language(results: Results, view: str) -> dict[str, float]:
    """Returns the mean average precision of the queries of each language in a view."""
    values: dict[str, list[float]] = {}
    for setting in results.settings:
        if setting.view == view:
            values.setdefault(setting.query_language, []).append(setting.means["map"])
    return {language: float(np.mean(maps)) for language, maps in values.items()}
