"""What grows with the number of processes: gathering, mask, loss and memory, over gloo on one machine.

python benchmarks/scaling.py                  # 1, 2 and 4 processes; global batches of 1,024 and 8,192, width 384
"""

import json
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch

from hybrid_ir.data.labels import Labels, mark_false_negatives
from hybrid_ir.distributed import gather
from hybrid_ir.system.processes import Ranks
from hybrid_ir.training.losses import InfoNCE

WIDTH, ROUNDS = 384, 9


def one_rank(size: int, ranks: int, folder: Path) -> None:
    """Medians in milliseconds of the parts of a step that come after encoding, and the peak memory they add."""
    torch.set_num_threads(1)
    if ranks > 1:
        torch.distributed.init_process_group("gloo")
        first = torch.distributed.get_rank() * size // ranks
    else:
        first = 0
    own, random = size // ranks, torch.Generator().manual_seed(first)
    ids = torch.arange(size)
    labels, loss = Labels(ids, ids, ids, first), InfoNCE()
    vectors = torch.nn.functional.normalize(
        torch.randn(2, own, WIDTH, generator=random), dim=-1
    ).requires_grad_()
    before, seconds = (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        {"gather": [], "mask": [], "loss": []},
    )
    for _ in range(ROUNDS):
        for name, do in (
            ("gather", lambda: gather(vectors[1]).sum().backward()),
            ("mask", lambda: mark_false_negatives(labels, own, "translations")),
            ("loss", lambda: loss(vectors[0], vectors[1], labels).backward()),
        ):
            if ranks > 1:
                torch.distributed.barrier()
            started = time.perf_counter()
            do()
            seconds[name].append(time.perf_counter() - started)
    found = {name: 1000 * statistics.median(times) for name, times in seconds.items()}
    found["memory"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**10
    if first == 0:
        (folder / f"{size}-{ranks}.json").write_text(json.dumps(found))


def main() -> None:
    print(
        "| global batch | processes | gather, both ways | mask | whole loss, both ways | memory added, each |"
    )
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        for size in (1024, 8192):
            for ranks in (1, 2, 4):
                Ranks(ranks).start([sys.executable, __file__, str(size), str(ranks), name]).wait()
                found = json.loads((Path(name) / f"{size}-{ranks}.json").read_text())
                print(
                    f"| {size:,} | {ranks} | {found['gather']:.1f} ms | {found['mask']:.1f} ms | {found['loss']:.0f} ms | "
                    f"{found['memory']:.0f} MiB |",
                    flush=True,
                )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        one_rank(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
    else:
        main()
