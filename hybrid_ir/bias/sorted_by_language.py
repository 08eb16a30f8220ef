"""How far the vectors of passages are sorted by language, for texts without known answers."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F

from hybrid_ir.bias.diagnosis import (
    CORRECTIONS,
    Diagnosis,
    describe_texts,
    explain_missing_corrections,
    require_several_languages,
)
from hybrid_ir.bias.measures import MEASURES
from hybrid_ir.evaluation.bias_rows import compute_share_of_neighbours
from hybrid_ir.evaluation.encoding import EncodedRows, EncodingPass, TextChunks
from hybrid_ir.evaluation.language_bias import NeighbourLanguages, sample_rows
from hybrid_ir.evaluation.postprocess import EstimationSplit, apply_correction, build_correction
from hybrid_ir.types import Benchmark, TextEncoder

NOTE = (
    "These texts have no known answers. That neighbours are in one language may also mean that the "
    "languages speak of different things: with translations of the same texts it would not."
)


def diagnose_texts(encoder: TextEncoder, benchmark: Benchmark) -> Diagnosis:
    """Measures how often the nearest neighbours of a passage are in its own language.

    Args:
        encoder: of `load_encoder`.
        benchmark: passages in at least two languages; its queries are not used.

    Raises:
        ValueError: there are fewer than two languages.
    """
    require_several_languages(benchmark)
    benchmark = _drop_queries(benchmark)
    split = EstimationSplit(benchmark)
    chunks = []
    for encoded in EncodingPass(TextChunks(benchmark, encoder)):
        split.add(encoded)
        if encoded.role == "passage":
            chunks.append(encoded)
    sizes_L = np.bincount(benchmark.passage_languages, minlength=len(benchmark.languages))
    measures: dict[str, float | None] = dict.fromkeys(MEASURES)
    measures["same_language_neighbours"] = _measure(benchmark, chunks)
    measures["same_language_neighbours.fair"] = compute_share_of_neighbours(sizes_L.tolist())
    notes = [NOTE]
    missing_corrections = explain_missing_corrections(benchmark)
    if missing_corrections:
        notes.append(missing_corrections)
    corrections = {}
    is_cosine = encoder.similarity == "cosine"
    for name in CORRECTIONS if missing_corrections is None else ():
        correction = build_correction(name, split, 1, "en")
        corrected = []
        for chunk in chunks:
            corrected.append(apply_correction(correction, benchmark, chunk, is_cosine))
        corrections[name] = {"same_language_neighbours": _measure(benchmark, corrected)}
    return Diagnosis(
        texts=describe_texts(benchmark),
        measures=measures,
        corrections=corrections,
        notes=notes,
    )


def _drop_queries(benchmark: Benchmark) -> Benchmark:
    """Returns the passages alone: a text may count as both, and would be encoded twice."""
    return replace(
        benchmark,
        queries=[],
        query_languages=np.zeros(0, np.int64),
        question_ids=[],
        relevant=[],
        grades=None,
        missing_grades=None,
        missing_languages=None,
        own_passages=None,
        least_relevant_grade=0.0,
    )


def _measure(benchmark: Benchmark, chunks: Iterable[EncodedRows]) -> float:
    """Returns the share of nearest neighbours in the language of a passage, over a sample."""
    rows_N = np.concatenate([chunk.rows_N for chunk in chunks])
    vectors_ND = F.normalize(torch.cat([chunk.vectors_ND.cpu() for chunk in chunks]), dim=-1)
    order_N = np.argsort(rows_N, kind="stable")
    rows_N = rows_N[order_N]
    vectors_ND = vectors_ND[torch.from_numpy(order_N)]
    sample_M = sample_rows(rows_N, benchmark.passage_ids)
    place_M = torch.from_numpy(np.searchsorted(rows_N, sample_M))
    languages_N = np.asarray(benchmark.passage_languages)[rows_N]
    neighbours = NeighbourLanguages(
        sample_M, vectors_ND[place_M], np.asarray(benchmark.passage_languages)[sample_M]
    )
    neighbours.add(rows_N, vectors_ND, languages_N)
    neighbours.top.merge_ranks()
    return neighbours.compute_same_language_share()
