"""The list of known positives of millions of pairs: seconds, bytes, memory and time of a batch.

    python benchmarks/known_positives.py SCRATCH_FOLDER 40e6

Makes two sets of pairs: every query with one passage, and half as many queries with two each. The
arrays are on the disk as in the folder of a corpus; the texts are made up when they are asked for.
The list is built as at the end of an import, in a process of its own. Then batches are labelled
with it and, for comparison, without a list.
"""

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Callable
from multiprocessing import Queue
from pathlib import Path
from typing import Any

import numpy as np
import torch
from memory import read_anonymous_memory, read_peak_memory

from hybrid_ir.data.batching import select_passages
from hybrid_ir.data.corpus import CorpusIndex, ParallelCorpus
from hybrid_ir.data.known_positives import POSITIVES, KnownPositives
from hybrid_ir.data.labels import mark_false_negatives
from hybrid_ir.types import PlannedBatch, Source

BATCH_SIZES = [128, 1024]
HARD_NEGATIVES = 1  # of a pair
BATCHES = 200
# Pairs that lie near each other answer one query, so a batch of neighbours has many known
# positives among its passages. A drawn batch has next to none.
ORDERS = ("drawn", "neighbours")


class NumberedTexts:
    """Texts that only name their number, in place of those of a corpus."""

    def __init__(self, count: int):
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, row: int) -> str:
        return f"passage {row}"


class EverywhereAvailable:
    """Languages of texts where one language has all of them."""

    def has(self, ids: np.ndarray, languages: np.ndarray) -> np.ndarray:
        """Returns True for every id."""
        return np.ones(np.broadcast_shapes(ids.shape, languages.shape), bool)


def write_arrays(folder: Path, pairs: int, passages_per_query: int) -> None:
    """Writes pairs and content ids as the folder of a corpus has them."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = np.arange(pairs, dtype=np.int32)
    queries = pairs // passages_per_query
    np.save(folder / "pairs.npy", np.stack([rows // passages_per_query, rows], axis=1))
    np.save(folder / "query_content.npy", rows[:queries])
    np.save(folder / "content.npy", rows)


def load_array(folder: Path, name: str) -> np.ndarray:
    """Maps an array into memory."""
    return np.load(folder / f"{name}.npy", mmap_mode="r")


def build_list(folder: Path, results: Queue) -> None:
    """Builds the list and reports its seconds and the memory that it takes at the peak, in MiB."""
    arrays = [load_array(folder, name) for name in ("pairs", "query_content", "content")]
    # Read once, so that the time of the disk is not counted.
    for array in arrays:
        array.sum()
    memory_before = read_peak_memory()
    started = time.perf_counter()
    np.save(folder / POSITIVES, KnownPositives(*arrays).keys)
    results.put((time.perf_counter() - started, read_peak_memory() - memory_before))


def load_corpus(folder: Path, with_list: bool) -> ParallelCorpus:
    """Returns the corpus of the arrays, with the list on the disk or with an empty one."""
    pairs = load_array(folder, "pairs")
    query_content = load_array(folder, "query_content")
    content = load_array(folder, "content")
    positives = KnownPositives(pairs, query_content, content, folder / POSITIVES)
    if not with_list:
        positives.keys = np.empty(0, np.int64)
    index = CorpusIndex(
        EverywhereAvailable(), EverywhereAvailable(), None, query_content, content, positives
    )
    source = Source("made", "made", "none", "none")
    texts = {"en": NumberedTexts(len(content))}
    negatives = (pairs[:, 1:] + 7) % len(content)
    return ParallelCorpus(texts, texts, pairs, source, negatives, index)


def plan_batches(size: int, pairs: int, order: str) -> list[PlannedBatch]:
    """Plans batches in one language, of pairs that are drawn from all or are neighbours."""
    rng = np.random.default_rng(0)
    languages = np.zeros(size, int)
    plans = []
    for step in range(BATCHES):
        if order == "drawn":
            rows = rng.integers(0, pairs, size)
        else:
            rows = rng.integers(0, pairs - size) + np.arange(size)
        plans.append(PlannedBatch(step, True, rows, languages, languages))
    return plans


def time_batches(corpus: ParallelCorpus, plans: list[PlannedBatch]) -> tuple[float, float, float]:
    """Returns the median milliseconds of labels and mask, and the mean number of known positives.

    The positive of a batch's own pair is not counted.
    """
    label_times = []
    mask_times = []
    known_positives = []
    for plan in plans:
        started = time.perf_counter()
        _, labels = select_passages(corpus, plan, HARD_NEGATIVES, seed=0)
        labelled = time.perf_counter()
        mark_false_negatives(labels, len(plan.pairs), "translations")
        label_times.append(1000 * (labelled - started))
        mask_times.append(1000 * (time.perf_counter() - labelled))
        known_positives.append(labels.known_2E.shape[1])
    return (
        statistics.median(label_times),
        statistics.median(mask_times),
        statistics.mean(known_positives),
    )


def measure_batches(folder: Path, results: Queue) -> None:
    """Prints the times of batches with and without the list, and reports the memory of both."""
    torch.set_num_threads(1)
    without_list = load_corpus(folder, with_list=False)
    with_list = load_corpus(folder, with_list=True)
    time_batches(without_list, plan_batches(128, len(with_list), "drawn"))
    memory_before = read_anonymous_memory()
    for size in BATCH_SIZES:
        for order in ORDERS:
            plans = plan_batches(size, len(with_list), order)
            labels_before, mask_before, _ = time_batches(without_list, plans)
            labels, mask, known = time_batches(with_list, plans)
            print(
                f"  batch {size:>5}, {order:10}: labels {labels_before:6.2f} ms without the list, "
                f"{labels:6.2f} ms with it; mask {mask_before:5.2f} ms, {mask:5.2f} ms; "
                f"{known:,.0f} known positives",
                flush=True,
            )
    results.put(read_anonymous_memory() - memory_before)


def run_in_own_process(target: Callable[[Path, Queue], None], folder: Path) -> Any:
    """Calls a function in a process of its own, and returns what it reports."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    process = context.Process(target=target, args=(folder, results))
    process.start()
    result = results.get()
    process.join()
    return result


def main() -> None:
    """Measures both sets of pairs."""
    parser = argparse.ArgumentParser(description="Known positives at the scale of millions.")
    parser.add_argument("folder", type=Path, help="a folder for the arrays")
    parser.add_argument("pairs", type=float, help="pairs, as in 40e6")
    options = parser.parse_args()
    pairs = int(options.pairs)
    for passages_per_query in (1, 2):
        folder = options.folder / f"{passages_per_query}"
        write_arrays(folder, pairs, passages_per_query)
        seconds, megabytes = run_in_own_process(build_list, folder)
        size = (folder / POSITIVES).stat().st_size
        print(
            f"{pairs:,} pairs, {passages_per_query} of a query: built in {seconds:.1f} s, peak "
            f"+{megabytes:,.0f} MiB, {size / 1e6:,.1f} MB on disk",
            flush=True,
        )
        added = run_in_own_process(measure_batches, folder)
        print(
            f"  memory of all these batches that is no mapped file: +{added:,.0f} MiB", flush=True
        )


if __name__ == "__main__":
    main()
