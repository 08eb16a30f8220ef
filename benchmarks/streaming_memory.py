"""Memory and time of counting while passages stream by: the same queries against pools of growing size.

    python benchmarks/streaming_memory.py [PASSAGES ...]

Random unit vectors, made batch by batch, so that nothing but the counting holds memory. Each pool in a process of its own.
"""

import resource
import subprocess
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F

QUERIES, RELEVANT, LANGUAGES, WIDTH, BATCH = 1000, 5, 10, 384, 8192
POOLS = (10_000, 100_000, 1_000_000)


class Numbered:
    """The texts of a pool that has none: only their number is asked for."""

    def __init__(self, size: int):
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, row: int) -> str:
        return str(row)


def measure(passages: int) -> None:
    from hybrid_ir.evaluation.encoding import EncodedRows
    from hybrid_ir.evaluation.streaming import StreamedRanking
    from hybrid_ir.types import Benchmark, Source

    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    relevant = [np.sort(rng.choice(passages, RELEVANT, replace=False)) for _ in range(QUERIES)]
    found = np.unique(np.concatenate(relevant))
    benchmark = Benchmark(
        tuple(f"l{i}" for i in range(LANGUAGES)),
        Numbered(QUERIES),
        np.arange(QUERIES) % LANGUAGES,
        Numbered(QUERIES),
        Numbered(passages),
        (np.arange(passages) * LANGUAGES // passages).astype(np.int8),
        Numbered(passages),
        relevant,
        Source("random", "", "", ""),
    )
    ranking = StreamedRanking(benchmark, with_geometry=True)
    ranking.add(EncodedRows("queries", np.arange(QUERIES), vectors(QUERIES, 1)))
    ranking.add(EncodedRows("relevant", found, vectors(len(found), 2)))
    before, started = peak(), time.perf_counter()
    for start in range(0, passages, BATCH):
        rows = np.setdiff1d(np.arange(start, min(start + BATCH, passages)), found)
        ranking.add(EncodedRows("others", rows, vectors(len(rows), start + 3)))
    results = ranking.results()
    seconds = time.perf_counter() - started
    print(
        f"{passages:>9,} passages  {seconds:7.1f} s  {1e9 * seconds / passages / QUERIES:5.1f} ns a query and passage  "
        f"peak {peak():5.0f} MB ({before:.0f} before)  mAP {results.micro('multi')['map']:.6f}"
    )


def vectors(size: int, seed: int) -> torch.Tensor:
    return F.normalize(
        torch.randn(size, WIDTH, generator=torch.Generator().manual_seed(seed)), dim=1
    )


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        measure(int(sys.argv[2]))
    else:
        for size in map(int, sys.argv[1:] or POOLS):
            subprocess.run([sys.executable, __file__, "--one", str(size)], check=True)
