"""The plan of batches of millions of pairs in nine languages, beside sentence-transformers.

    pip install datasets
    python benchmarks/plans_at_scale.py build FOLDER 1e6 [gaps]
    python benchmarks/plans_at_scale.py measure FOLDER
    python benchmarks/plans_at_scale.py measure FOLDER peer

The first writes a corpus to FOLDER; 1e7 pairs take a minute. The second measures our samplers on
it, the third NoDuplicatesBatchSampler with a data set for each language, on the same texts.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from memory import read_anonymous_memory, read_peak_memory

from hybrid_ir.corpora.stored import load_corpus_folder
from hybrid_ir.corpora.writing import CorpusWriter
from hybrid_ir.data.sampling import PairBatchSampler
from hybrid_ir.types import Source

LANGUAGES = ["ar", "de", "en", "es", "hi", "ru", "th", "tr", "zh"]
TEXTS_PER_PART = 1 << 18  # texts that are written together
MISSING_SHARE = 0.1  # of the texts of each language but English, in a corpus with gaps
BATCH_SIZE = 100
FAR_STEP = 1_000_000
MONOLINGUAL_SHARES = {"x_x_mono": 1.0, "x_y": 0.0, "hybrid": 0.5}


def write_corpus(folder: Path, pairs: int, gaps: bool) -> None:
    """Writes a corpus of texts that only name their role, language and number.

    Args:
        folder: the folder of the corpus.
        pairs: how many pairs it has in each language.
        gaps: whether texts are missing.
    """
    rng = np.random.default_rng(0)
    started = time.perf_counter()
    with CorpusWriter(folder) as writer:
        for role in ("query", "passage"):
            for language in LANGUAGES:
                missing_share = MISSING_SHARE if gaps and language != "en" else 0
                writer.write_column(
                    role, language, make_texts(role, language, pairs, missing_share, rng)
                )
        print(f"texts written after {time.perf_counter() - started:.0f} s", flush=True)
        numbers = np.arange(pairs)
        source = Source("made", "made", "none", "none")
        writer.finish(source, np.stack([numbers, numbers], axis=1))
    seconds = time.perf_counter() - started
    print(f"{folder}: {pairs:,} pairs, built in {seconds:.0f} s, peak {read_peak_memory():,.0f} MB")


def make_texts(
    role: str, language: str, count: int, missing_share: float, rng: np.random.Generator
) -> Iterator[pa.Array]:
    """Yields texts in parts, a share of them null."""
    for start in range(0, count, TEXTS_PER_PART):
        numbers = pa.array(np.arange(start, min(start + TEXTS_PER_PART, count)))
        texts = pc.binary_join_element_wise(f"{role} {language}", numbers.cast(pa.string()), " ")
        missing = pa.array(rng.random(len(numbers)) < missing_share)
        yield pc.if_else(missing, None, texts)


def measure_ours(folder: Path, steps: int) -> None:
    """Measures our samplers: the first batch, many batches, and one that is far away."""
    memory_before = read_anonymous_memory()
    started = time.perf_counter()
    corpus = load_corpus_folder(folder)
    load_seconds = time.perf_counter() - started
    for name, share in MONOLINGUAL_SHARES.items():
        started = time.perf_counter()
        sampler = PairBatchSampler(corpus, BATCH_SIZE, share)
        sampler[0]
        first_seconds = time.perf_counter() - started
        started = time.perf_counter()
        for step in range(1, steps):
            sampler[step]
        rate = (steps - 1) * BATCH_SIZE / (time.perf_counter() - started)
        started = time.perf_counter()
        PairBatchSampler(corpus, BATCH_SIZE, share)[FAR_STEP]
        far_seconds = time.perf_counter() - started
        print_row(
            name=f"ours {name}",
            pairs=len(corpus),
            load_seconds=load_seconds,
            first_seconds=first_seconds,
            rate=rate,
            far=f"{far_seconds:.2f} s",
            megabytes=read_anonymous_memory() - memory_before,
        )


def measure_peer(folder: Path, steps: int) -> None:
    """Measures the samplers of sentence-transformers.

    A batch has one language, as in x_x_mono: each language is a data set, and they are drawn in
    proportion to their sizes.
    """
    # Imported here, as it is no dependency of this project and our measurement does without it.
    from datasets import Dataset
    from sentence_transformers.base.sampler import (
        NoDuplicatesBatchSampler,
        ProportionalBatchSampler,
    )
    from torch import Generator
    from torch.utils.data import ConcatDataset

    memory_before = read_anonymous_memory()
    started = time.perf_counter()
    data_sets = []
    for language in LANGUAGES:
        queries = read_texts(folder, "query", language)
        passages = read_texts(folder, "passage", language)
        data_sets.append(Dataset(pa.table({"query": queries, "passage": passages})))
    generator = Generator()
    samplers = [
        NoDuplicatesBatchSampler(data_set, BATCH_SIZE, True, generator=generator, seed=0)
        for data_set in data_sets
    ]
    batches = iter(ProportionalBatchSampler(ConcatDataset(data_sets), samplers, generator, 0))
    load_seconds = time.perf_counter() - started
    started = time.perf_counter()
    next(batches)
    first_seconds = time.perf_counter() - started
    started = time.perf_counter()
    for _ in range(1, steps):
        next(batches)
    rate = (steps - 1) * BATCH_SIZE / (time.perf_counter() - started)
    far_seconds = FAR_STEP * BATCH_SIZE / rate
    print_row(
        name="peer",
        pairs=len(data_sets[0]),
        load_seconds=load_seconds,
        first_seconds=first_seconds,
        rate=rate,
        far=f"{far_seconds:,.0f} s, calculated: it goes there step by step",
        megabytes=read_anonymous_memory() - memory_before,
    )


def read_texts(folder: Path, role: str, language: str) -> pa.ChunkedArray:
    """Maps the texts of a role and language into memory."""
    file = pa.memory_map(str(folder / f"{role}-{language}.arrow"))
    return pa.ipc.open_stream(file).read_all()["text"]


def print_row(
    name: str,
    pairs: int,
    load_seconds: float,
    first_seconds: float,
    rate: float,
    far: str,
    megabytes: float,
) -> None:
    """Prints the measurements of one sampler in a line."""
    print(
        f"{name:14} {pairs:>11,} pairs: loaded in {load_seconds:.2f} s, first batch after "
        f"{first_seconds:.2f} s, {rate:>9,.0f} picks/s, batch {FAR_STEP:,} after {far}, "
        f"+{megabytes:,.0f} MB"
    )


def main() -> None:
    """Builds a corpus, or measures samplers on one."""
    parser = argparse.ArgumentParser(description="Plans of batches at the scale of millions.")
    commands = parser.add_subparsers(dest="command", required=True)
    build = commands.add_parser("build", help="write a corpus")
    build.add_argument("folder", type=Path)
    build.add_argument("pairs", type=float, help="pairs in each language, as in 1e6")
    build.add_argument("gaps", nargs="?", choices=["gaps"], help="leave out some of the texts")
    measure = commands.add_parser("measure", help="measure samplers")
    measure.add_argument("folder", type=Path)
    measure.add_argument("peer", nargs="?", choices=["peer"], help="measure the peer")
    measure.add_argument("--steps", type=int, default=2000)
    options = parser.parse_args()
    if options.command == "build":
        write_corpus(options.folder, int(options.pairs), options.gaps is not None)
    elif options.peer is not None:
        measure_peer(options.folder, options.steps)
    else:
        measure_ours(options.folder, options.steps)


if __name__ == "__main__":
    main()
