"""What a latency measurement shall do, checked before anything is loaded."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

BACKENDS = ("torch_fp32", "torch_bf16", "torch_compile", "onnx", "onnx_int8", "openvino")
SEARCHES = ("exact", "hnsw")
POOL_DTYPES = ("float32", "float16", "bfloat16")
POOL_VECTORS = ("passages", "random")


class Unavailable(Exception):
    """A backend or an index does not work on this machine; the measurement goes on without it."""


class Search(NamedTuple):
    """One kind of index over a pool of one size, in vectors."""

    kind: str
    pool: int

    def __str__(self) -> str:
        return f"{self.kind}, {self.pool:,} vectors"


@dataclass(frozen=True)
class LatencySettings:
    """The choices of one measurement.

    Args:
        batch_sizes: queries that are encoded and searched together.
        pools: vectors searched.
        backends: of BACKENDS.
        search: of SEARCHES.
        top_k: vectors found per query.
        margin: of the equivalence test, as a share: with 0.05, latencies less than 5% apart are
            the same.
        rounds: passes over all queries.
        warmup: untimed batches of each checkpoint and backend before those of a batch size.
        pool_dtype: of the searched vectors; float16 halves the memory of exact search.
        pool_vectors: `passages` for the model's own vectors, see pool_passages; `random` for unit
            vectors that models of one width share.
        pool_passages: passages of the benchmark that are encoded, then repeated with a little
            noise up to the size of a pool.
        seed: of every draw and order.

    Raises:
        ValueError: lists all values that are not allowed.
    """

    batch_sizes: Sequence[int] = (1, 32)
    pools: Sequence[int] = (10_000, 100_000)
    backends: Sequence[str] = ("torch_fp32",)
    search: Sequence[str] = ("exact",)
    top_k: int = 10
    margin: float = 0.05
    rounds: int = 3
    warmup: int = 20
    pool_dtype: str = "float32"
    pool_vectors: str = "passages"
    pool_passages: int = 2_000
    seed: int = 1

    def __post_init__(self):
        smallest_pool = self.top_k if _is_whole_number(self.top_k, 1) else 1
        pool_errors = _check_numbers("pools", self.pools, smallest_pool)
        errors = [
            *_check_number("top_k", self.top_k, 1),
            *_check_number("rounds", self.rounds, 1),
            *_check_number("warmup", self.warmup, 0),
            *_check_number("pool_passages", self.pool_passages, 1),
            *_check_number("seed", self.seed, 0),
            *_check_numbers("batch_sizes", self.batch_sizes, 1),
            *pool_errors,
            *_check_names("backends", self.backends, BACKENDS),
            *_check_names("search", self.search, SEARCHES),
            *_check_name("pool_dtype", self.pool_dtype, POOL_DTYPES),
            *_check_name("pool_vectors", self.pool_vectors, POOL_VECTORS),
            *_check_repetition("batch_sizes", self.batch_sizes),
            *_check_repetition("pools", self.pools),
            *_check_repetition("backends", self.backends),
            *_check_repetition("search", self.search),
            *_check_margin(self.margin),
        ]
        if errors:
            message = "; ".join(errors)
            if pool_errors:
                message += f" (a pool holds at least the top_k={self.top_k} that are looked for)"
            raise ValueError(message)

    @property
    def searches(self) -> list[Search]:
        """Every kind of index over every size of pool."""
        searches = []
        for kind in self.search:
            searches += [Search(kind, pool) for pool in self.pools]
        return searches


def _is_whole_number(value: object, least: int) -> bool:
    return type(value) is int and value >= least


def _check_number(name: str, value: object, least: int) -> list[str]:
    if _is_whole_number(value, least):
        return []
    return [f"{name}={value!r} must be a whole number from {least}"]


def _check_numbers(name: str, values: Sequence, least: int) -> list[str]:
    if values and all(_is_whole_number(value, least) for value in values):
        return []
    return [f"{name}={list(values)!r} must be whole numbers from {least}"]


def _check_name(name: str, value: str, known: Sequence[str]) -> list[str]:
    if value in known:
        return []
    return [f"{name}={value!r} must be one of {', '.join(known)}"]


def _check_names(name: str, values: Sequence[str], known: Sequence[str]) -> list[str]:
    if values and set(values) <= set(known):
        return []
    return [f"{name}={list(values)!r} must be among {', '.join(known)}"]


def _check_repetition(name: str, values: Sequence) -> list[str]:
    if len(set(values)) == len(values):
        return []
    return [f"{name}={list(values)!r} names something twice"]


def _check_margin(margin: object) -> list[str]:
    if type(margin) in (int, float) and 0 < margin < 1:
        return []
    return [f"margin={margin!r} must be above 0 and below 1: 0.05 stands for 5%"]
