"""What grows with the number of processes: gathering, mask, loss and memory.

    python benchmarks/scaling.py

Measures 1, 2 and 4 processes over gloo on one machine, with global batches of 1,024 and 8,192 pairs
and vectors of width 384.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from memory import read_peak_memory

from hybrid_ir.data.labels import Labels, mark_false_negatives
from hybrid_ir.distributed import gather
from hybrid_ir.system.processes import RankProcesses
from hybrid_ir.training.losses import InfoNCE

WIDTH = 384
BATCH_SIZES = [1024, 8192]
RANK_COUNTS = [1, 2, 4]


def measure_rank(size: int, ranks: int, rounds: int, path: Path) -> None:
    """Measures the parts of a step that come after encoding, as one rank of a run.

    The first rank writes the medians in milliseconds, and the peak memory that the parts add in
    MiB, to `path`.

    Args:
        size: pairs in the global batch.
        ranks: how many processes share it.
        rounds: how often each part is measured.
        path: the JSON file for the result.
    """
    torch.set_num_threads(1)
    rank = 0
    if ranks > 1:
        torch.distributed.init_process_group("gloo")
        rank = torch.distributed.get_rank()
    local_size = size // ranks
    first = rank * local_size
    generator = torch.Generator().manual_seed(first)
    vectors = torch.randn(2, local_size, WIDTH, generator=generator)
    queries = torch.nn.functional.normalize(vectors[0], dim=-1).requires_grad_()
    passages = torch.nn.functional.normalize(vectors[1], dim=-1).requires_grad_()
    ids = torch.arange(size)
    labels = Labels(ids, ids, ids, first)
    loss = InfoNCE()
    parts = {
        "gather": lambda: gather(passages).sum().backward(),
        "mask": lambda: mark_false_negatives(labels, local_size, "translations"),
        "loss": lambda: loss(queries, passages, labels).backward(),
    }
    memory_before = read_peak_memory()
    milliseconds: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(rounds):
        for name, part in parts.items():
            milliseconds[name].append(1000 * time_part(part, ranks))
    result = {name: statistics.median(values) for name, values in milliseconds.items()}
    result["memory"] = read_peak_memory() - memory_before
    if rank == 0:
        path.write_text(json.dumps(result))


def time_part(part: Callable[[], None], ranks: int) -> float:
    """Returns the seconds of one part of a step, which all ranks begin together."""
    if ranks > 1:
        torch.distributed.barrier()
    started = time.perf_counter()
    part()
    return time.perf_counter() - started


def main() -> None:
    """Prints a table of all sizes and numbers of processes, or measures as the rank of one."""
    parser = argparse.ArgumentParser(description="What grows with the number of processes.")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--rank-of", nargs=3, metavar=("SIZE", "RANKS", "PATH"))
    options = parser.parse_args()
    if options.rank_of:
        size, ranks, path = options.rank_of
        measure_rank(int(size), int(ranks), options.rounds, Path(path))
        return
    print(
        "| global batch | processes | gather, both ways | mask | whole loss, both ways | "
        "memory added, each |"
    )
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for size in BATCH_SIZES:
            for ranks in RANK_COUNTS:
                path = Path(folder) / f"{size}-{ranks}.json"
                command = [sys.executable, __file__, "--rounds", str(options.rounds)]
                command += ["--rank-of", str(size), str(ranks), str(path)]
                RankProcesses(ranks).start(command).wait()
                result = json.loads(path.read_text())
                print(
                    f"| {size:,} | {ranks} | {result['gather']:.1f} ms | {result['mask']:.1f} ms | "
                    f"{result['loss']:.0f} ms | {result['memory']:.0f} MiB |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
