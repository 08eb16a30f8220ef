"""Tokens per second of the training batches, beside what a GPU could use at most.

    python benchmarks/loader_throughput.py MLQA_R_FOLDER MODEL

MODEL is a tokenizer of the hub, or a folder with one.
"""

import argparse
import tempfile
import time
from pathlib import Path

from torch.utils.data import DataLoader
from transformers import AutoTokenizer

from hybrid_ir.corpora.sources.mlqa_r import load
from hybrid_ir.data.batching import PlannedBatches
from hybrid_ir.data.sampling import PairBatchSampler
from hybrid_ir.model.tokens import RoleTokenizer

WARM_UP = 20  # batches
# XLM-R base without its embeddings: 6 operations for a token and parameter, forward and backward.
PARAMETERS = 85_600_000
# Operations a second of an H200 in bfloat16, dense, by its data sheet; no training reaches them.
PEAK = 989e12


def measure_rate(batches: PlannedBatches, workers: int, steps: int) -> float:
    """Returns the tokens per second of a loader."""
    loader = iter(
        DataLoader(batches, sampler=range(WARM_UP + steps), batch_size=None, num_workers=workers)
    )
    for _ in range(WARM_UP):
        next(loader)
    started = time.perf_counter()
    tokens = 0
    for batch in loader:
        tokens += int(batch.queries.lengths_B.sum() + batch.passages.lengths_B.sum())
    return tokens / (time.perf_counter() - started)


def main() -> None:
    """Measures batches of two sizes, with and without a worker process."""
    parser = argparse.ArgumentParser(description="Tokens per second of the training batches.")
    parser.add_argument("data", help="the folder of MLQA-R")
    parser.add_argument("model", help="a tokenizer of the hub, or a folder with one")
    parser.add_argument("--steps", type=int, default=400)
    options = parser.parse_args()
    corpus = load(options.data)
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    tokenizers = {
        "query": RoleTokenizer(tokenizer, "query: ", 64),
        "passage": RoleTokenizer(tokenizer, "passage: ", 256),
    }
    limit = PEAK / (6 * PARAMETERS)
    print(
        f"an H200 that never waits would take {limit:,.0f} tokens/s of XLM-R base (6 x "
        f"{PARAMETERS:,} operations a token)"
    )
    with tempfile.TemporaryDirectory() as cache:
        for size in (100, 500):
            sampler = PairBatchSampler(corpus, size, 0.5)
            for workers in (0, 1):
                batches = PlannedBatches(sampler, tokenizers, Path(cache))
                rate = measure_rate(batches, workers, options.steps)
                print(
                    f"batch {size:>5}, {workers} workers: {rate:>12,.0f} tokens/s, "
                    f"{rate / limit:.1f} times that"
                )


if __name__ == "__main__":
    main()
