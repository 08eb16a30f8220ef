"""Ranks, metrics and files at the size of Belebele, given made-up vectors.

    python benchmarks/many_languages_counting.py 122

Belebele has 122 languages, with 900 questions over 488 passages each. Prints the time of each
stage, and a checksum of all counts, by which two versions are compared.
"""

import argparse
import hashlib
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from made_up_vectors import make_up_vectors
from memory import read_peak_memory

from hybrid_ir.evaluation.benchmarks.belebele import PASSAGES, QUESTIONS
from hybrid_ir.evaluation.encoding import EncodedRows
from hybrid_ir.evaluation.report import write_result_files
from hybrid_ir.evaluation.streaming import StreamedRanking
from hybrid_ir.types import Benchmark, Source

WIDTH = 128  # of the vectors
ROWS_AT_ONCE = 4096


def build_benchmark(languages: int) -> Benchmark:
    """Builds a benchmark of the size of Belebele: every question has an answer in each language."""
    passage_of_question = np.arange(QUESTIONS) % PASSAGES
    relevant = []
    for _ in range(languages):
        for passage in passage_of_question:
            relevant.append(np.arange(languages) * PASSAGES + passage)
    return Benchmark(
        languages=tuple(f"l{language:03}" for language in range(languages)),
        queries=[f"q{row}" for row in range(QUESTIONS * languages)],
        query_languages=np.repeat(range(languages), QUESTIONS),
        question_ids=[str(row % QUESTIONS) for row in range(QUESTIONS * languages)],
        passages=[f"p{row}" for row in range(PASSAGES * languages)],
        passage_languages=np.repeat(range(languages), PASSAGES),
        passage_ids=[f"p{row}" for row in range(PASSAGES * languages)],
        relevant=relevant,
        source=Source("many languages", "Made-up vectors.", "none", "none"),
    )


def iterate_chunks(queries: torch.Tensor, passages: torch.Tensor) -> Iterator[EncodedRows]:
    """Yields the vectors as an encoding pass does; each passage is relevant to some query."""
    for stage, vectors in (("queries", queries), ("relevant", passages)):
        for rows in torch.arange(len(vectors)).split(ROWS_AT_ONCE):
            yield EncodedRows(stage, rows.numpy(), vectors[rows])


def main() -> None:
    """Measures each stage once."""
    parser = argparse.ArgumentParser(description="Counting at the size of Belebele.")
    parser.add_argument("languages", type=int, nargs="?", default=24)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    benchmark = build_benchmark(options.languages)
    queries, passages = make_up_vectors(benchmark, WIDTH)
    stamps = [(time.process_time(), time.perf_counter())]
    ranking = StreamedRanking(benchmark, with_geometry=True)
    with torch.inference_mode():
        for encoded in iterate_chunks(queries, passages):
            ranking.add(encoded)
        results = ranking.results()
        stamps.append((time.process_time(), time.perf_counter()))
        with tempfile.TemporaryDirectory() as folder:
            write_result_files(results, {}, Path(folder))
        stamps.append((time.process_time(), time.perf_counter()))
    table = results.table
    checksum = hashlib.sha256(table.above.tobytes() + table.tied.tobytes()).hexdigest()[:16]
    ranked, written = (
        f"{stamps[i + 1][0] - stamps[i][0]:.1f} s of the processor, "
        f"{stamps[i + 1][1] - stamps[i][1]:.1f} s"
        for i in (0, 1)
    )
    print(
        f"{options.languages} languages, {len(queries):,} queries, {len(passages):,} passages\n"
        f"ranks and metrics: {ranked}\nfiles: {written}\n"
        f"peak memory {read_peak_memory():,.0f} MB, counts {checksum}"
    )


if __name__ == "__main__":
    main()
