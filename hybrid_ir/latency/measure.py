"""The timing loop: every contestant on every unit, in an order drawn anew each time."""

# R rounds, U units, V contestants, S stages: tokenise, encode, then one per search
# Q queries, B of them in a unit, D width

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from hybrid_ir.latency.study import FIRST_SEARCH, Timings, Units

COUNTED_AT_ONCE = 256  # texts whose tokens are counted


@dataclass(frozen=True)
class Contestant:
    """One checkpoint under one backend, as the functions that are timed.

    Args:
        checkpoint: its label.
        backend: one of BACKENDS.
        tokenise: texts to one input of the model, on its device.
        forward: that input to vectors (B, D).
        wait: waits until the device has finished.
        searches: vectors to the places of the nearest vectors of a pool, one function for each
            search of the measurement.
    """

    checkpoint: str
    backend: str
    tokenise: Callable[[list[str]], Any]
    forward: Callable[[Any], torch.Tensor]
    wait: Callable[[], None]
    searches: Sequence[Callable[[torch.Tensor], Any]] = ()


def _do_nothing() -> None:
    pass


def time_contestants(
    contestants: Sequence[Contestant],
    queries: Sequence[str],
    units: Units,
    rounds: int,
    warmup: int,
    seed: int,
    advance: Callable[[], None] = _do_nothing,
    clock: Callable[[], int] = time.perf_counter_ns,
) -> Timings:
    """Times all contestants interleaved, so that a slow minute of the machine hits all of them.

    On each unit they take their turn one after the other. The order of units is drawn for every
    round, that of contestants for every unit.

    Args:
        contestants: what is timed.
        queries: all queries (Q).
        units: the queries that are timed together.
        rounds: passes over all units.
        warmup: untimed units before them.
        seed: of all orders.
        advance: is called, untimed, whenever all contestants have finished a unit, including
            those of the warm-up.
        clock: returns nanoseconds.
    """
    rng = np.random.default_rng([seed, units.batch_size])
    stages = FIRST_SEARCH + len(contestants[0].searches)
    ns_RUVS = np.zeros((rounds, len(units), len(contestants), stages), np.int64)
    with _without_garbage_collection():
        for unit in rng.integers(len(units), size=warmup):
            texts = [queries[row] for row in units.rows[unit]]
            for contestant in contestants:
                _time_once(contestant, texts, clock)
            advance()
        for ns_UVS in ns_RUVS:
            gc.collect()
            for unit in rng.permutation(len(units)):
                texts = [queries[row] for row in units.rows[unit]]
                for number in rng.permutation(len(contestants)):
                    ns_UVS[unit, number] = _time_once(contestants[number], texts, clock)
                advance()
    return Timings(units, ns_RUVS)


def _time_once(contestant: Contestant, texts: list[str], clock: Callable[[], int]) -> list[int]:
    """Returns the nanoseconds of each stage."""
    start = clock()
    inputs = contestant.tokenise(texts)
    contestant.wait()
    tokenised = clock()
    vectors_BD = contestant.forward(inputs)
    contestant.wait()
    encoded = clock()
    ns_S = [tokenised - start, encoded - tokenised]
    for search in contestant.searches:
        start = clock()
        search(vectors_BD)
        ns_S.append(clock() - start)
    return ns_S


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Turns collection off; objects that exist are frozen, so that a call of it is quick."""
    was_enabled = gc.isenabled()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.unfreeze()
        if was_enabled:
            gc.enable()


def count_tokens(contestant: Contestant, queries: Sequence[str]) -> np.ndarray:
    """Counts the tokens (Q) that the model reads of each query.

    Its prefix and the special tokens are included, padding is not.
    """
    counts = []
    for start in range(0, len(queries), COUNTED_AT_ONCE):
        inputs = contestant.tokenise(list(queries[start : start + COUNTED_AT_ONCE]))
        if isinstance(inputs, dict):  # of sentence-transformers
            counts.append(inputs["attention_mask"].sum(1))
        else:
            counts.append(inputs.lengths_B)
    return torch.cat(counts).cpu().numpy()
