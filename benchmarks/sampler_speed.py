"""Picks per second of every sampler, and how long a far batch takes from a cold start.

python benchmarks/sampler_speed.py
"""

import argparse
import time

import numpy as np

from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.data.sampling import PairBatchSampler
from hybrid_ir.types import Source

BATCH_SIZE = 100
FAR_STEP = 1_000_000
LANGUAGES = ["ar", "de", "en", "es", "hi", "ru", "th", "tr", "zh"]
# Monolingual share and level of each sampler.
SAMPLERS = {
    "x_x_mono": (1.0, "batch"),
    "x_y": (0.0, "batch"),
    "hybrid": (0.5, "batch"),
    "x_x": (1.0, "example"),
    "hybrid_example": (0.5, "example"),
}


def build_corpus(pairs: int) -> ParallelCorpus:
    """Builds a corpus of short texts that are there in all languages."""
    texts = {}
    for language in LANGUAGES:
        texts[language] = [f"{language} {number}" for number in range(pairs)]
    rows = np.arange(pairs)
    source = Source("made", "", "", "")
    return ParallelCorpus(texts, texts, np.stack([rows, rows], axis=1), source)


def main() -> None:
    """Measures all samplers on one corpus."""
    parser = argparse.ArgumentParser(description="Picks per second of every sampler.")
    parser.add_argument("--pairs", type=int, default=100_000)
    parser.add_argument("--steps", type=int, default=2000)
    options = parser.parse_args()
    corpus = build_corpus(options.pairs)
    print(f"{options.pairs:,} pairs, {len(LANGUAGES)} languages, batch {BATCH_SIZE}")
    for name, (share, level) in SAMPLERS.items():
        sampler = PairBatchSampler(corpus, BATCH_SIZE, share, level)
        started = time.perf_counter()
        for step in range(options.steps):
            sampler[step]
        rate = options.steps * BATCH_SIZE / (time.perf_counter() - started)
        started = time.perf_counter()
        PairBatchSampler(corpus, BATCH_SIZE, share, level)[FAR_STEP]
        far_seconds = time.perf_counter() - started
        print(f"{name:15} {rate:12,.0f} picks/s   batch {FAR_STEP:,} after {far_seconds:.2f} s")


if __name__ == "__main__":
    main()
