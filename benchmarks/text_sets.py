"""Texts of natural and of chosen lengths, for benchmarks that compare passes over texts."""

from collections.abc import Callable, Sequence

import numpy as np

# Words of a text of about 400 tokens of XLM-R's tokenizer.
WORDS_OF_LONG_TEXT = 290
TEXT_SETS = ("natural", "short", "long", "mixed")


def choose_texts(
    queries: Sequence[str], passages: Sequence[str], kind: str, count: int, seed: int = 0
) -> list[str]:
    """Returns texts of a data set.

    Args:
        queries: of the data set.
        passages: of the data set.
        kind: `natural` passages, `short` queries, `long` texts of about 400 tokens, made of
            passages, or `mixed`: a third of each.
        count: how many.
        seed: of the choice.
    """
    random = np.random.default_rng(seed)
    if kind == "mixed":
        part = -(-count // 3)
        texts = []
        for part_kind in ("short", "natural", "long"):
            texts += choose_texts(queries, passages, part_kind, part, seed)
        return [texts[row] for row in random.permutation(len(texts))[:count]]
    if kind == "long":
        return [_join_passages(passages, random) for _ in range(count)]
    source = queries if kind == "short" else passages
    return [source[row] for row in random.permutation(len(source))[:count]]


def _join_passages(passages: Sequence[str], random: np.random.Generator) -> str:
    """Returns some passages as one text of WORDS_OF_LONG_TEXT words."""
    words: list[str] = []
    while len(words) < WORDS_OF_LONG_TEXT:
        words += passages[random.integers(len(passages))].split()
    return " ".join(words[:WORDS_OF_LONG_TEXT])


def time_in_turns(
    passes: dict[str, Callable[[], object]], rounds: int, clock: Callable[[], float]
) -> dict[str, list[float]]:
    """Runs functions in turns, after one round to warm up, and returns the seconds of each.

    Args:
        passes: by name.
        rounds: how often each is timed.
        clock: returns seconds.
    """
    seconds: dict[str, list[float]] = {name: [] for name in passes}
    for number in range(rounds + 1):
        for name, run in passes.items():
            started = clock()
            run()
            if number > 0:
                seconds[name].append(clock() - started)
    return seconds


def describe_ratios(numerators: Sequence[float], denominators: Sequence[float]) -> str:
    """Returns the median of the ratios of each round, and their spread."""
    ratios = np.array(numerators) / np.array(denominators)
    return f"{np.median(ratios):.2f} ({ratios.min():.2f} to {ratios.max():.2f})"


def time_on_gpu(passes: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Runs functions in turns on a GPU, waiting for it at the end of each; see `time_in_turns`."""
    import time

    import torch

    def read_clock() -> float:
        torch.cuda.synchronize()
        return time.perf_counter()

    return time_in_turns(passes, rounds, read_clock)
