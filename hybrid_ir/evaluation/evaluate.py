"""Measure one encoder on one benchmark: encode once, count, and count again for every training-free correction."""

import tempfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from hybrid_ir.evaluation.encoding import Encoding, Vectors
from hybrid_ir.evaluation.postprocess import Correction, Split, apply, correction
from hybrid_ir.evaluation.shards import Shards
from hybrid_ir.evaluation.streaming import StreamedRanking
from hybrid_ir.evaluation.top import Top
from hybrid_ir.evaluation.views import Results
from hybrid_ir.types import Benchmark, TextEncoder

SPLIT_QUESTIONS = 1000  # of another benchmark, whose queries and relevant passages estimate a correction


@dataclass(frozen=True)
class Choices:
    """How a benchmark is measured; the keys of conf/evaluate.yaml."""

    postprocess: Sequence[str] = ("none",)
    postprocess_on: Benchmark | None = None  # None: the benchmark itself
    postprocess_source: str = "en"
    postprocess_components: int = 1
    window_overlap: float | None = None  # None: long passages are cut
    run_depth: int = 0
    texts_per_chunk: int = 4096


@dataclass(frozen=True)
class Measured:
    """One benchmark under one correction."""

    postprocess: str
    estimated_on: str | None
    windows: int  # encoded beyond one a passage
    results: Results
    runs: dict[str, Top]  # by view, where run_depth was asked for


def evaluate(benchmark: Benchmark, encoder: TextEncoder, choices: Choices, shards_folder: Path | None = None) -> list[Measured]:
    """Every correction of `choices.postprocess` from one encoding of the texts, kept in `shards_folder` if it is given."""
    with tempfile.TemporaryDirectory(prefix="hybrid-ir-") as scratch, bar(f"encode {benchmark.name}", benchmark) as advance:
        encoding = Encoding(benchmark, encoder, choices.texts_per_chunk, choices.window_overlap, advance)
        if list(choices.postprocess) == ["none"] and shards_folder is None:
            measured = count(benchmark, encoding, encoder, choices, "none", None, None)
            return [replace(measured, windows=encoding.windows)]
        shards, own = Shards(shards_folder or Path(scratch)), Split(benchmark)
        itself = choices.postprocess_on is None and set(choices.postprocess) != {"none"}
        for part in encoding:
            shards.write(part)
            if itself:
                own.add(part.role, part.rows_N, part.vectors_ND)
        other = own if choices.postprocess_on is None else split_of(choices.postprocess_on, encoder, choices)
        fixes = {name: correction(name, other, choices.postprocess_components, choices.postprocess_source)
                 for name in choices.postprocess}
        return [replace(count(benchmark, shards, encoder, choices, name, fix, other), windows=encoding.windows)
                for name, fix in fixes.items()]


def count(benchmark: Benchmark, vectors: Iterable[Vectors], encoder: TextEncoder, choices: Choices, name: str,
          fix: Correction | None, split: Split | None) -> Measured:
    """Rank the vectors of a pass, corrected or as they are."""
    ranking = StreamedRanking(benchmark, run_depth=choices.run_depth, whole=True)
    for part in vectors:
        corrected = part.vectors_ND if fix is None else apply(
            fix, benchmark, part.role, part.rows_N, part.vectors_ND, encoder.similarity == "cosine")
        ranking.take(part.stage, part.rows_N, corrected)
    on = None if fix is None else "test" if choices.postprocess_on is None else split.name
    return Measured(name, on, 0, ranking.results(), ranking.runs)


def split_of(other: Benchmark, encoder: TextEncoder, choices: Choices) -> Split:
    """The vectors of some questions of another benchmark, in all their languages, and of their relevant passages."""
    part = some_questions(other, SPLIT_QUESTIONS)
    split = Split(part)
    with bar(f"encode {other.name} for postprocess", part) as advance:
        for vectors in Encoding(part, encoder, choices.texts_per_chunk, choices.window_overlap, advance):
            split.add(vectors.role, vectors.rows_N, vectors.vectors_ND)
    return split


def some_questions(benchmark: Benchmark, most: int) -> Benchmark:
    """So many questions by a hash of their ids, each with all its translations, and only their relevant passages."""
    names = sorted(set(benchmark.question_ids), key=lambda name: (zlib.crc32(str(name).encode()), name))[:most]
    kept = set(names)
    queries = [i for i, name in enumerate(benchmark.question_ids) if name in kept]
    rows = np.unique(np.concatenate([benchmark.relevant[i] for i in queries]))
    return replace(
        benchmark, queries=[benchmark.queries[i] for i in queries], query_languages=benchmark.query_languages[queries],
        question_ids=[benchmark.question_ids[i] for i in queries], passages=[benchmark.passages[int(row)] for row in rows],
        passage_languages=np.asarray(benchmark.passage_languages)[rows],
        passage_ids=[benchmark.passage_ids[int(row)] for row in rows],
        relevant=[np.searchsorted(rows, benchmark.relevant[i]) for i in queries])


@contextmanager
def bar(title: str, benchmark: Benchmark) -> Iterator:
    """A progress bar over the texts of a benchmark; gives the function that moves it."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, transient=True) as progress:
        task = progress.add_task(title, total=len(benchmark.queries) + len(benchmark.passages))
        yield lambda texts: progress.advance(task, texts)
