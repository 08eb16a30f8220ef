"""Memory and time of a training step with and without cached gradients, each in a process of its own.

python benchmarks/gradient_caching.py PATH_OF_E5_SMALL            # plain and cached, batches of 64 and 4096
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import torch

from hybrid_ir.corpora.sources.cldr_facts import load
from hybrid_ir.data.batching import PlannedBatches
from hybrid_ir.data.sampling import PairBatchSampler
from hybrid_ir.model.encoder import BiEncoder
from hybrid_ir.training.losses import InfoNCE

CASES = [(64, False), (64, True), (512, False), (512, True), (4096, True)]


def step(backbone: str, size: int, cached: bool, steps: int, cache: str) -> dict:
    """Seconds a pair and peak memory of the whole process, over `steps` steps of AdamW after one to warm up."""
    torch.set_num_threads(2)
    torch.manual_seed(0)
    corpus = load()
    encoder = BiEncoder(
        backbone, query_prefix="query: ", passage_prefix="passage: ", tokens_per_slice=2048
    )
    batches = PlannedBatches(PairBatchSampler(corpus, size, 0.0), encoder.tokenizers, Path(cache))
    loss, optimizer = InfoNCE(), torch.optim.AdamW(encoder.parameters(), lr=1e-6)
    seconds = []
    for number in range(steps + 1):
        batch, started = batches[number], time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16):
            loss(
                *(encoder(tokens, cached) for tokens in (batch.queries, batch.passages)),
                batch.labels,
            ).backward()
        optimizer.step()
        optimizer.zero_grad()
        seconds.append(time.perf_counter() - started)
    return {
        "batch": size,
        "cached": cached,
        "milliseconds a pair": 1000 * min(seconds[1:] or seconds) / size,
        "peak GB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("backbone")
    arguments.add_argument("--one", nargs=2)
    arguments.add_argument("--steps", type=int, default=2)
    arguments.add_argument("--cache", default=".cache")
    given = arguments.parse_args()
    if given.one:
        print(
            json.dumps(
                step(
                    given.backbone,
                    int(given.one[0]),
                    given.one[1] == "True",
                    given.steps,
                    given.cache,
                )
            )
        )
        return
    print("| batch | gradients | ms a pair | peak memory |\n|---|---|---|---|")
    for size, cached in CASES:
        steps = max(1, 256 // size)
        command = [
            sys.executable,
            __file__,
            given.backbone,
            "--cache",
            given.cache,
            "--steps",
            str(steps),
            "--one",
            str(size),
            str(cached),
        ]
        found = json.loads(
            subprocess.run(command, capture_output=True, text=True, check=True).stdout
        )
        print(
            f"| {size} | {'cached' if cached else 'plain'} | {found['milliseconds a pair']:.1f} | {found['peak GB']:.2f} GB |",
            flush=True,
        )


if __name__ == "__main__":
    main()
