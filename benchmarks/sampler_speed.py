"""Picks per second of every sampler, and how long a far batch takes from a cold start.

python benchmarks/sampler_speed.py
"""

import time

import numpy as np

from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.data.sampling import PairBatchSampler
from hybrid_ir.types import Source

PAIRS, BATCH, STEPS = 100_000, 100, 2000
LANGUAGES = ["ar", "de", "en", "es", "hi", "ru", "th", "tr", "zh"]
FAMILY = {
    "x_x_mono": (1.0, "batch"),
    "x_y": (0.0, "batch"),
    "hybrid": (0.5, "batch"),
    "x_x": (1.0, "example"),
    "hybrid_example": (0.5, "example"),
}


def main() -> None:
    texts = {language: [f"{language} {i}" for i in range(PAIRS)] for language in LANGUAGES}
    corpus = ParallelCorpus(
        texts, texts, np.repeat(np.arange(PAIRS)[:, None], 2, axis=1), Source("made", "", "", "")
    )
    print(f"{PAIRS:,} pairs, {len(LANGUAGES)} languages, batch {BATCH}")
    for name, (share, level) in FAMILY.items():
        sampler = PairBatchSampler(corpus, BATCH, share, level)
        started = time.perf_counter()
        for step in range(STEPS):
            sampler[step]
        seconds = time.perf_counter() - started
        started = time.perf_counter()
        PairBatchSampler(corpus, BATCH, share, level)[1_000_000]
        print(
            f"{name:15} {STEPS * BATCH / seconds:12,.0f} picks/s   batch 1,000,000 after {time.perf_counter() - started:.2f} s"
        )


if __name__ == "__main__":
    main()
