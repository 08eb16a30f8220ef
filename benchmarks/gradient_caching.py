"""Memory and time of a training step with and without cached gradients.

    python benchmarks/gradient_caching.py PATH_OF_E5_SMALL

Every case runs in a process of its own, which has a peak memory of its own.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import torch
from memory import read_peak_memory

from hybrid_ir.corpora.sources.cldr_facts import load
from hybrid_ir.data.batching import PlannedBatches
from hybrid_ir.data.sampling import PairBatchSampler
from hybrid_ir.model.encoder import BiEncoder
from hybrid_ir.training.losses import InfoNCE

# Pairs in a batch, and whether gradients are cached.
CASES = [(64, False), (64, True), (512, False), (512, True), (4096, True)]


def measure_steps(
    backbone: str, size: int, cached: bool, steps: int, cache: Path
) -> dict[str, float]:
    """Measures steps of AdamW in this process, after one to warm up.

    Args:
        backbone: the pretrained model.
        size: pairs in a batch.
        cached: whether gradients are cached.
        steps: how many steps are timed; the fastest counts.
        cache: the folder of the tokenised texts.

    Returns:
        Milliseconds for a pair, and the peak memory of the process in GiB.
    """
    torch.set_num_threads(2)
    torch.manual_seed(0)
    encoder = BiEncoder(
        backbone, query_prefix="query: ", passage_prefix="passage: ", tokens_per_slice=2048
    )
    sampler = PairBatchSampler(load(), size, 0.0)
    batches = PlannedBatches(sampler, encoder.tokenizers, cache)
    loss = InfoNCE()
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=1e-6)
    seconds = []
    for number in range(steps + 1):
        batch = batches[number]
        started = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16):
            queries = encoder(batch.queries, cached)
            passages = encoder(batch.passages, cached)
            loss(queries, passages, batch.labels).backward()
        optimizer.step()
        optimizer.zero_grad()
        seconds.append(time.perf_counter() - started)
    return {
        "milliseconds": 1000 * min(seconds[1:]) / size,
        "peak": read_peak_memory() / 1024,
    }


def measure_in_own_process(
    backbone: str, size: int, cached: bool, steps: int, cache: Path
) -> dict[str, float]:
    """Measures one case with this script in another process."""
    command = [sys.executable, __file__, backbone, "--cache", str(cache), "--steps", str(steps)]
    command += ["--one", str(size), "cached" if cached else "plain"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return json.loads(output)


def main() -> None:
    """Prints a table of all cases, or measures the one that is named."""
    parser = argparse.ArgumentParser(description="Memory and time of cached gradients.")
    parser.add_argument("backbone", help="a model of the hub, or its folder")
    parser.add_argument("--one", nargs=2, metavar=("SIZE", "GRADIENTS"), help="one case only")
    parser.add_argument("--steps", type=int, help="timed steps; as many as give 256 pairs")
    parser.add_argument("--cache", type=Path, default=Path(".cache"))
    options = parser.parse_args()
    if options.one:
        size, gradients = options.one
        steps = options.steps or 1
        result = measure_steps(
            options.backbone, int(size), gradients == "cached", steps, options.cache
        )
        print(json.dumps(result))
        return
    print("| batch | gradients | ms a pair | peak memory |\n|---|---|---|---|")
    for size, cached in CASES:
        steps = options.steps or max(1, 256 // size)
        result = measure_in_own_process(options.backbone, size, cached, steps, options.cache)
        gradients = "cached" if cached else "plain"
        print(
            f"| {size} | {gradients} | {result['milliseconds']:.1f} | {result['peak']:.2f} GB |",
            flush=True,
        )


if __name__ == "__main__":
    main()
