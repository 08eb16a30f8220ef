"""The timing loop: every contestant on every batch, in an order drawn anew each time."""

# R rounds, U units, V contestants, S stages: tokenise, encode, then one per search; Q queries, B of them in a unit, D width

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from hybrid_ir.latency.units import Units

TOKENISE, ENCODE, SEARCH = 0, 1, 2  # places on the axis S; further searches follow the first
COUNTED = 256  # texts per call when tokens are counted


@dataclass(frozen=True)
class Contestant:
    """One checkpoint under one backend, as the functions that are timed.

    Args:
        inputs: texts to one input of the model, on its device.
        forward: that input to vectors (B, D).
        wait: until the device has done what it was given.
        searches: vectors to the places of the nearest vectors of a pool, one function per search of the measurement.
    """

    checkpoint: str
    backend: str
    inputs: Callable[[list[str]], Any]
    forward: Callable[[Any], torch.Tensor]
    wait: Callable[[], None]
    searches: Sequence[Callable[[torch.Tensor], Any]] = ()


@dataclass(frozen=True)
class Timings:
    """Nanoseconds of every stage of every unit, for each contestant and round."""

    units: Units
    ns_RUVS: np.ndarray

    def stages(self, contestant: int, search: int) -> dict[str, np.ndarray]:
        """Nanoseconds (R, U) of tokenise, encode, search and their total."""
        ns_RUS = self.ns_RUVS[:, :, contestant]
        parts = {
            "tokenise": ns_RUS[..., TOKENISE],
            "encode": ns_RUS[..., ENCODE],
            "search": ns_RUS[..., SEARCH + search],
        }
        return {**parts, "total": sum(parts.values())}


def measure(
    contestants: Sequence[Contestant],
    queries: Sequence[str],
    units: Units,
    rounds: int,
    warmup: int,
    seed: int,
    advance: Callable[[], None] = lambda: None,
    clock: Callable[[], int] = time.perf_counter_ns,
) -> Timings:
    """Time all contestants, interleaved: on each unit one after the other, so drift of the machine hits all alike.

    The order of units is drawn for every round, that of contestants for every unit. `advance` is called, untimed,
    whenever all contestants have done a unit, those of the warm-up included.
    """
    rng = np.random.default_rng([seed, units.batch_size])
    stages = SEARCH + len(contestants[0].searches)
    ns_RUVS = np.zeros((rounds, len(units), len(contestants), stages), np.int64)
    with without_garbage_collection():
        for unit in rng.integers(len(units), size=warmup):
            for contestant in contestants:
                time_once(contestant, [queries[row] for row in units.rows[unit]], clock)
            advance()
        for ns_UVS in ns_RUVS:
            gc.collect()
            for unit in rng.permutation(len(units)):
                texts = [queries[row] for row in units.rows[unit]]
                for v in rng.permutation(len(contestants)):
                    ns_UVS[unit, v] = time_once(contestants[v], texts, clock)
                advance()
    return Timings(units, ns_RUVS)


def time_once(contestant: Contestant, texts: list[str], clock: Callable[[], int]) -> list[int]:
    """Nanoseconds of each stage."""
    began = clock()
    inputs = contestant.inputs(texts)
    contestant.wait()
    read = clock()
    vectors_BD = contestant.forward(inputs)
    contestant.wait()
    encoded = clock()
    ns = [read - began, encoded - read]
    for search in contestant.searches:
        began = clock()
        search(vectors_BD)
        ns.append(clock() - began)
    return ns


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Off, and what is there already frozen, so that collecting between rounds is quick."""
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
    """Tokens (Q,) that the model reads of each query: its prefix and special tokens included, padding not."""
    counts = []
    for start in range(0, len(queries), COUNTED):
        inputs = contestant.inputs(list(queries[start : start + COUNTED]))
        counts.append(
            inputs["attention_mask"].sum(1) if isinstance(inputs, dict) else inputs.lengths_B
        )
    return torch.cat(counts).cpu().numpy()
