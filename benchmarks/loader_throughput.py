"""Tokens per second of the training batches, beside what a GPU could use at most.

python benchmarks/loader_throughput.py MLQA_R_FOLDER MODEL     # any tokenizer of the hub, or a folder with one
"""

import sys
import tempfile
import time
from pathlib import Path

from torch.utils.data import DataLoader
from transformers import AutoTokenizer

from hybrid_ir.corpora.sources.mlqa_r import load
from hybrid_ir.data.batching import PlannedBatches
from hybrid_ir.data.sampling import PairBatchSampler
from hybrid_ir.model.tokens import RoleTokenizer

STEPS = 400
PARAMETERS = 85_600_000  # of XLM-R base without its embeddings: 6 operations a token and parameter, forward and backward
PEAK = 989e12  # of an H200 in bfloat16, dense, by its data sheet; no training reaches it


def main() -> None:
    corpus, tokenizer = load(sys.argv[1]), AutoTokenizer.from_pretrained(sys.argv[2])
    tokenizers = {
        "query": RoleTokenizer(tokenizer, "query: ", 64),
        "passage": RoleTokenizer(tokenizer, "passage: ", 256),
    }
    limit = PEAK / (6 * PARAMETERS)
    print(
        f"an H200 that never waits would take {limit:,.0f} tokens/s of XLM-R base (6 x {PARAMETERS:,} operations a token)"
    )
    with tempfile.TemporaryDirectory() as cache:
        for batch in (100, 500):
            for workers in (0, 1):
                data = PlannedBatches(PairBatchSampler(corpus, batch, 0.5), tokenizers, Path(cache))
                loader = iter(
                    DataLoader(
                        data, sampler=range(STEPS + 20), batch_size=None, num_workers=workers
                    )
                )
                for _ in range(20):
                    next(loader)
                started, tokens = time.perf_counter(), 0
                for made in loader:
                    tokens += int(made.queries.lengths_B.sum() + made.passages.lengths_B.sum())
                rate = tokens / (time.perf_counter() - started)
                print(
                    f"batch {batch:>5}, {workers} workers: {rate:>12,.0f} tokens/s, {rate / limit:.1f} times that"
                )


if __name__ == "__main__":
    main()
