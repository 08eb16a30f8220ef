"""Measure one encoder on one benchmark: encode once, count, and count again for every training-free correction."""

import tempfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hybrid_ir.evaluation.encoding import EncodedRows, EncodingPass
from hybrid_ir.evaluation.postprocess import (
    CORRECTION_NAMES,
    Correction,
    EstimationSplit,
    apply_correction,
    build_correction,
    require_split,
)
from hybrid_ir.evaluation.results import Results
from hybrid_ir.evaluation.streaming import StreamedRanking
from hybrid_ir.evaluation.top_k import TopK
from hybrid_ir.evaluation.vector_shards import VectorShards
from hybrid_ir.files.atomic import SCRATCH_PREFIX
from hybrid_ir.types import Benchmark, TextEncoder

SPLIT_QUESTIONS = 1000  # a language, of another benchmark, whose queries and relevant passages estimate a correction


@dataclass(frozen=True)
class EvaluationSettings:
    """How a benchmark is measured; the keys of conf/evaluate.yaml."""

    postprocess: Sequence[str] = ("none",)
    postprocess_on: Benchmark | None = None  # None: the benchmark itself
    postprocess_source: str = "en"
    postprocess_components: int = 1
    window_overlap: float | None = None  # None: long passages are cut
    run_depth: int = 0
    texts_per_chunk: int = 4096


@dataclass(frozen=True)
class Evaluation:
    """One benchmark under one correction."""

    postprocess: str
    estimated_on: str | None
    estimated_from: dict[str, dict[str, int]] | None  # vectors by role and language
    windows: int  # encoded beyond one a passage
    texts_cut: dict[str, float | None]  # share of queries and passages; None where nobody counted
    results: Results
    runs: dict[str, TopK]  # by view, where run_depth was asked for


def evaluate_with_corrections(
    benchmark: Benchmark,
    encoder: TextEncoder,
    choices: EvaluationSettings,
    scratch: Path | None = None,
    kept: Path | None = None,
) -> Iterator[Evaluation]:
    """Every correction of `choices.postprocess` from one encoding of the texts, `none` first.

    Args:
        scratch: where embeddings wait if there are corrections: as many bytes as 4 x width x texts. The system's by default.
        kept: a folder in which they stay instead.
    """
    names = sorted(dict.fromkeys(choices.postprocess), key=CORRECTION_NAMES.index)
    corrected = names != ["none"]
    StreamedRanking(benchmark)  # which refuses what cannot be measured
    other = (
        select_questions(choices.postprocess_on, SPLIT_QUESTIONS)
        if choices.postprocess_on and corrected
        else None
    )
    split = EstimationSplit(other or benchmark)
    if corrected:
        require_split(
            names,
            benchmark,
            split.benchmark,
            choices.postprocess_components,
            choices.postprocess_source,
        )
    if other:
        title = f"encode {other.name} for postprocess"
        for part in EncodingPass(
            other, encoder, choices.texts_per_chunk, choices.window_overlap, title
        ):
            split.add(part.role, part.rows_N, part.vectors_ND)
    encoding = EncodingPass(benchmark, encoder, choices.texts_per_chunk, choices.window_overlap)
    vectors: Iterable[EncodedRows] = encoding
    with tempfile.TemporaryDirectory(prefix=SCRATCH_PREFIX, dir=scratch) as folder:
        if corrected or kept:
            vectors = VectorShards(kept or Path(folder), str(encoder.device))
            for part in encoding:
                vectors.write(part)
                if corrected and not other:
                    split.add(part.role, part.rows_N, part.vectors_ND)
        for name in names:
            fix = build_correction(
                name, split, choices.postprocess_components, choices.postprocess_source
            )
            results, runs = count_ranks(benchmark, vectors, encoder, choices, fix)
            on, vectors_used = (
                (None, None) if fix is None else (other.name if other else "test", split.counts())
            )
            yield Evaluation(
                name, on, vectors_used, encoding.windows, encoding.texts_cut(), results, runs
            )


def count_ranks(
    benchmark: Benchmark,
    vectors: Iterable[EncodedRows],
    encoder: TextEncoder,
    choices: EvaluationSettings,
    fix: Correction | None,
) -> tuple[Results, dict[str, TopK]]:
    """Rank the vectors of a pass, corrected or as they are."""
    ranking = StreamedRanking(
        benchmark,
        run_depth=choices.run_depth,
        whole=True,
        windowed=choices.window_overlap is not None,
    )
    for part in vectors:
        corrected = (
            part.vectors_ND
            if fix is None
            else apply_correction(
                fix,
                benchmark,
                part.role,
                part.rows_N,
                part.vectors_ND,
                encoder.similarity == "cosine",
            )
        )
        ranking.take(part.stage, part.rows_N, corrected)
    return ranking.results(), ranking.runs


def select_questions(benchmark: Benchmark, most: int) -> Benchmark:
    """So many questions of every language, by a hash of their ids and so the same in all, and only their relevant passages."""

    def order(name: str) -> tuple[int, str]:
        return zlib.crc32(str(name).encode()), str(name)

    kept: set[str] = set()
    for code in range(len(benchmark.languages)):
        mine = {
            benchmark.question_ids[int(i)]
            for i in np.flatnonzero(benchmark.query_languages == code)
        }
        kept |= set(sorted(mine, key=order)[:most])
    queries = [i for i, name in enumerate(benchmark.question_ids) if name in kept]
    rows = np.unique(
        np.concatenate([np.zeros(0, np.int64), *(benchmark.relevant[i] for i in queries)])
    )
    return replace(
        benchmark,
        queries=[benchmark.queries[i] for i in queries],
        query_languages=benchmark.query_languages[queries],
        question_ids=[benchmark.question_ids[i] for i in queries],
        passages=[benchmark.passages[int(row)] for row in rows],
        passage_languages=np.asarray(benchmark.passage_languages)[rows],
        passage_ids=[benchmark.passage_ids[int(row)] for row in rows],
        relevant=[np.searchsorted(rows, benchmark.relevant[i]) for i in queries],
        grades=None,
    )
