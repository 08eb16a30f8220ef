"""The plan of batches of millions of pairs in nine languages, beside the samplers of sentence-transformers on the same texts.

pip install datasets
python benchmarks/plans_at_scale.py build FOLDER 1e6 [gaps]       # writes FOLDER; 1e7 pairs take a minute
python benchmarks/plans_at_scale.py measure FOLDER                # ours, in a process of its own
python benchmarks/plans_at_scale.py measure FOLDER peer           # NoDuplicatesBatchSampler, a data set for each language
"""

import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hybrid_ir.corpora.writing import CorpusWriter
from hybrid_ir.types import Source

LANGUAGES = ["ar", "de", "en", "es", "hi", "ru", "th", "tr", "zh"]
PART, BATCH, STEPS = 1 << 18, 100, 2000


def build(folder: Path, pairs: int, gaps: bool) -> None:
    rng = np.random.default_rng(0)

    def column(role: str, language: str):
        for start in range(0, pairs, PART):
            numbers = pa.array(np.arange(start, min(start + PART, pairs)))
            texts = pc.binary_join_element_wise(
                f"{role} {language}", numbers.cast(pa.string()), " "
            )
            missing = pa.array(rng.random(len(numbers)) < (0.1 if gaps and language != "en" else 0))
            yield pc.if_else(missing, None, texts)

    started = time.perf_counter()
    with CorpusWriter(folder) as writer:
        for role in ("query", "passage"):
            for language in LANGUAGES:
                writer.write_column(role, language, column(role, language))
        print(f"texts written after {time.perf_counter() - started:.0f} s", flush=True)
        writer.finish(Source("made", "made", "none", "none"), np.stack([np.arange(pairs)] * 2, 1))
    print(
        f"{folder}: {pairs:,} pairs, built in {time.perf_counter() - started:.0f} s, peak {peak():,.0f} MB"
    )


def memory() -> float:
    """MB of this process that are not pages of mapped files."""
    lines = dict(
        line.split(":")
        for line in Path("/proc/self/status").read_text().splitlines()
        if ":" in line
    )
    return int(lines["RssAnon"].split()[0]) / 1024


def peak() -> float:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def ours(folder: Path) -> None:
    from hybrid_ir.corpora.stored import load_corpus_folder
    from hybrid_ir.data.sampling import PairBatchSampler

    before, started = memory(), time.perf_counter()
    corpus = load_corpus_folder(folder)
    loaded = time.perf_counter()
    for name, share in (("x_x_mono", 1.0), ("x_y", 0.0), ("hybrid", 0.5)):
        begun = time.perf_counter()
        sampler = PairBatchSampler(corpus, BATCH, share)
        sampler[0]
        first = time.perf_counter()
        for step in range(1, STEPS):
            sampler[step]
        ended = time.perf_counter()
        PairBatchSampler(corpus, BATCH, share)[1_000_000]
        far = time.perf_counter()
        show(
            f"ours {name}",
            len(corpus),
            loaded - started,
            first - begun,
            (STEPS - 1) * BATCH / (ended - first),
            f"{far - ended:.2f} s",
            memory() - before,
        )


def peer(folder: Path) -> None:
    """One language in a batch, as x_x_mono: each language a data set, drawn in proportion to their sizes."""
    from datasets import Dataset
    from sentence_transformers.base.sampler import (
        NoDuplicatesBatchSampler,
        ProportionalBatchSampler,
    )
    from torch import Generator
    from torch.utils.data import ConcatDataset

    def texts(role: str, language: str) -> pa.ChunkedArray:
        return pa.ipc.open_stream(
            pa.memory_map(str(folder / f"{role}-{language}.arrow"))
        ).read_all()["text"]

    before, started = memory(), time.perf_counter()
    sets = [
        Dataset(pa.table({"query": texts("query", code), "passage": texts("passage", code)}))
        for code in LANGUAGES
    ]
    generator = Generator()
    samplers = [
        NoDuplicatesBatchSampler(data, BATCH, True, generator=generator, seed=0) for data in sets
    ]
    batches = iter(ProportionalBatchSampler(ConcatDataset(sets), samplers, generator, 0))
    loaded = time.perf_counter()
    next(batches)
    first = time.perf_counter()
    for _ in range(1, STEPS):
        next(batches)
    ended = time.perf_counter()
    rate = (STEPS - 1) * BATCH / (ended - first)
    far = f"{1e6 * BATCH / rate:,.0f} s, calculated: it goes there step by step"
    show("peer", len(sets[0]), loaded - started, first - loaded, rate, far, memory() - before)


def show(
    who: str, pairs: int, load: float, first: float, rate: float, far: str, more: float
) -> None:
    print(
        f"{who:14} {pairs:>11,} pairs: loaded in {load:.2f} s, first batch after {first:.2f} s, {rate:>9,.0f} picks/s, "
        f"batch 1,000,000 after {far}, +{more:,.0f} MB"
    )


if __name__ == "__main__":
    what, place = sys.argv[1], Path(sys.argv[2])
    if what == "build":
        build(place, int(float(sys.argv[3])), "gaps" in sys.argv)
    else:
        (peer if "peer" in sys.argv else ours)(place)
