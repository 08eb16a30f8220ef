"""What a latency measurement is asked to do, checked before anything is loaded."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

BACKENDS = ("torch_fp32", "torch_bf16", "torch_compile", "onnx")
SEARCHES = ("exact", "hnsw")
POOL_DTYPES = ("float32", "float16", "bfloat16")
POOL_VECTORS = ("passages", "random")


class Unavailable(Exception):
    """A backend or an index cannot be had here; the others go on."""


class Search(NamedTuple):
    """One kind of index over one size of pool."""

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
        margin: of the equivalence test, as a share: 0.05 calls latencies less than 5 % apart the same.
        rounds: passes over all queries.
        warmup: untimed batches of each checkpoint and backend before those of a batch size.
        pool_dtype: of the searched vectors; float16 halves the memory of exact search.
        pool_vectors: `passages`: the model's own, see pool_passages; `random`: unit vectors, shared by models of one width.
        pool_passages: passages of the benchmark that are encoded, then repeated with a little noise up to the size of a pool.
        seed: of every draw and order.
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
        wrong = [
            f"{name}={value!r} must be a whole number from {least}"
            for name, least in (
                ("top_k", 1),
                ("rounds", 1),
                ("warmup", 0),
                ("pool_passages", 1),
                ("seed", 0),
            )
            if not whole(value := getattr(self, name), least)
        ]
        wrong += [
            f"{name}={list(values)!r} must be whole numbers from {least}"
            for name, values, least in (
                ("batch_sizes", self.batch_sizes, 1),
                ("pools", self.pools, self.top_k if whole(self.top_k, 1) else 1),
            )
            if not values or not all(whole(value, least) for value in values)
        ]
        wrong += [
            f"{name}={list(values)!r} must be among {', '.join(known)}"
            for name, values, known in (
                ("backends", self.backends, BACKENDS),
                ("search", self.search, SEARCHES),
            )
            if not values or not set(values) <= set(known)
        ]
        wrong += [
            f"{name}={value!r} must be one of {', '.join(known)}"
            for name, value, known in (
                ("pool_dtype", self.pool_dtype, POOL_DTYPES),
                ("pool_vectors", self.pool_vectors, POOL_VECTORS),
            )
            if value not in known
        ]
        wrong += [
            f"{name}={list(values)!r} names something twice"
            for name in ("batch_sizes", "pools", "backends", "search")
            if len(set(values := getattr(self, name))) < len(values)
        ]
        if type(self.margin) not in (int, float) or not 0 < self.margin < 1:
            wrong.append(f"margin={self.margin!r} must be above 0 and below 1: 0.05 stands for 5 %")
        if wrong:
            raise ValueError(
                "; ".join(wrong)
                + (
                    f" (a pool holds at least the top_k={self.top_k} that are looked for)"
                    if any(w.startswith("pools=") and "whole" in w for w in wrong)
                    else ""
                )
            )

    @property
    def searches(self) -> list[Search]:
        return [Search(kind, pool) for kind in self.search for pool in self.pools]


def whole(value: object, least: int) -> bool:
    return type(value) is int and value >= least
