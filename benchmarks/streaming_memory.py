"""Memory and time of counting while passages stream by, for pools of growing size.

    python benchmarks/streaming_memory.py [PASSAGES ...]

The same queries are asked of every pool. The vectors are random and made batch by batch, so that
nothing but the counting holds memory. Each pool is measured in a process of its own.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence

import numpy as np
import torch
from memory import read_peak_memory

from hybrid_ir.evaluation.encoding import EncodedRows
from hybrid_ir.evaluation.streaming import StreamedRanking
from hybrid_ir.types import Benchmark, Source

QUERIES = 1000
RELEVANT = 5  # passages that are relevant to a query
LANGUAGES = 10
WIDTH = 384
BATCH_SIZE = 8192
POOLS = [10_000, 100_000, 1_000_000]  # passages


class NumberTexts(Sequence[str]):
    """Texts that only say their number, of which none is held in memory."""

    def __init__(self, size: int):
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, row: int) -> str:
        return str(row)


def build_benchmark(passages: int) -> Benchmark:
    """Builds a benchmark whose relevant passages are drawn at random."""
    rng = np.random.default_rng(0)
    relevant = []
    for _ in range(QUERIES):
        relevant.append(np.sort(rng.choice(passages, RELEVANT, replace=False)))
    return Benchmark(
        languages=tuple(f"l{number}" for number in range(LANGUAGES)),
        queries=NumberTexts(QUERIES),
        query_languages=np.arange(QUERIES) % LANGUAGES,
        question_ids=NumberTexts(QUERIES),
        passages=NumberTexts(passages),
        passage_languages=(np.arange(passages) * LANGUAGES // passages).astype(np.int8),
        passage_ids=NumberTexts(passages),
        relevant=relevant,
        source=Source("random", "", "", ""),
    )


def make_vectors(count: int, seed: int) -> torch.Tensor:
    """Draws random unit vectors."""
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(count, WIDTH, generator=generator), dim=1)


def measure_pool(passages: int) -> None:
    """Ranks a pool while its vectors stream by, and prints time and memory."""
    torch.set_num_threads(1)
    benchmark = build_benchmark(passages)
    relevant_rows = np.unique(np.concatenate(benchmark.relevant))
    ranking = StreamedRanking(benchmark, with_geometry=True)
    ranking.add(EncodedRows("queries", np.arange(QUERIES), make_vectors(QUERIES, 1)))
    relevant_vectors = make_vectors(len(relevant_rows), 2)
    ranking.add(EncodedRows("relevant", relevant_rows, relevant_vectors))
    memory_before = read_peak_memory()
    started = time.perf_counter()
    for start in range(0, passages, BATCH_SIZE):
        rows = np.arange(start, min(start + BATCH_SIZE, passages))
        other_rows = np.setdiff1d(rows, relevant_rows)
        other_vectors = make_vectors(len(other_rows), start + 3)
        ranking.add(EncodedRows("others", other_rows, other_vectors))
    results = ranking.results()
    seconds = time.perf_counter() - started
    nanoseconds = 1e9 * seconds / passages / QUERIES
    print(
        f"{passages:>9,} passages  {seconds:7.1f} s  {nanoseconds:5.1f} ns a query and passage  "
        f"peak {read_peak_memory():5.0f} MB ({memory_before:.0f} before)  "
        f"mAP {results.micro('multi')['map']:.6f}"
    )


def main() -> None:
    """Measures each pool in another process, or the one that is named in this one."""
    parser = argparse.ArgumentParser(description="Memory while passages stream by.")
    parser.add_argument("passages", nargs="*", type=int, default=POOLS)
    parser.add_argument("--one", type=int, metavar="PASSAGES", help="measure in this process")
    options = parser.parse_args()
    if options.one is not None:
        measure_pool(options.one)
        return
    for passages in options.passages:
        subprocess.run([sys.executable, __file__, "--one", str(passages)], check=True)


if __name__ == "__main__":
    main()
