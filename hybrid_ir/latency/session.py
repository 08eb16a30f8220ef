"""One measurement from models and queries to a Study: backends, pools and indices made ready, then everything timed."""

# B queries, N vectors of a pool, D width

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from hybrid_ir.latency.backends import contestant
from hybrid_ir.latency.measure import Contestant, count_tokens, measure
from hybrid_ir.latency.pools import NOISE, check_memory, passage_vectors, random_units, repeated
from hybrid_ir.latency.search import SearchOf, exact, hnsw, overlap
from hybrid_ir.latency.settings import LatencySettings, Search, Unavailable
from hybrid_ir.latency.study import Study
from hybrid_ir.latency.units import Units, units
from hybrid_ir.types import Benchmark, TextEncoder

PROBED = 64  # queries whose HNSW results are compared with exact search
REDRAWN = 0.2  # seconds between two looks of the progress bar


def run_latency_session(
    models: dict[str, TextEncoder],
    benchmark: Benchmark,
    settings: LatencySettings,
    console: Console,
) -> tuple[Study, dict[str, Any], list[str]]:
    """The Study, what is to be known of its pools, and what was left out, each with its reason.

    Raises:
        ValueError: no queries, too little memory, or nothing is left to measure.
    """
    if not len(benchmark.queries):
        raise ValueError(
            f"benchmark={benchmark.name} has no queries: choose other languages or a larger max_queries"
        )
    widths = {label: encoder.reading()["width"] for label, encoder in models.items()}
    shared = (
        sorted(set(widths.values())) if settings.pool_vectors == "random" else list(widths.values())
    )
    check_memory(settings, shared, next(iter(models.values())).device)
    cut = [units(benchmark, size) for size in settings.batch_sizes]
    contestants, left_out = ready(models, settings, console)
    searches, by_label, card, missing = searchers(
        {c.checkpoint: models[c.checkpoint] for c in contestants},
        benchmark,
        settings,
        widths,
        console,
    )
    contestants = [replace(c, searches=by_label[c.checkpoint]) for c in contestants]
    tokens = {c.checkpoint: count_tokens(c, benchmark.queries) for c in contestants}
    with progress_of(cut, settings) as advance:
        timings = [
            measure(
                contestants,
                benchmark.queries,
                each,
                settings.rounds,
                settings.warmup,
                settings.seed,
                advance,
            )
            for each in cut
        ]
    study = Study(
        benchmark, [(c.checkpoint, c.backend) for c in contestants], searches, tokens, timings
    )
    return study, card, left_out + missing


def ready(
    models: dict[str, TextEncoder], settings: LatencySettings, console: Console
) -> tuple[list[Contestant], list[str]]:
    """Every checkpoint under every backend that can be had; the reason of each other one is printed and returned."""
    contestants, left_out = [], []
    for backend in settings.backends:
        for label, encoder in models.items():
            try:
                contestants.append(contestant(label, encoder, backend))
            except Unavailable as reason:
                left_out.append(f"{label}: {reason}")
                console.print(f"left out: {left_out[-1]}", markup=False, soft_wrap=True)
    if not contestants:
        raise ValueError("nothing is left to measure: " + "; ".join(left_out))
    return contestants, left_out


def searchers(
    models: dict[str, TextEncoder],
    benchmark: Benchmark,
    settings: LatencySettings,
    widths: dict[str, int],
    console: Console,
) -> tuple[list[Search], dict[str, list[SearchOf]], dict[str, Any], list[str]]:
    """The searches that can be had, their functions for each checkpoint, the pools' card, and what is left out."""
    described = (
        "random unit vectors"
        if settings.pool_vectors == "random"
        else (
            f"{min(settings.pool_passages, len(benchmark.passages)):,} passages of {benchmark.name} by the model itself, repeated "
            f"with noise of {NOISE} of their length"
        )
    )
    card = {
        "sizes": list(settings.pools),
        "dtype": settings.pool_dtype,
        "vectors": described,
        "width": widths,
    }
    functions: dict[tuple[str, Search], SearchOf] = {}
    found, left_out = [], []
    pools = pools_of(models, benchmark, settings, widths)
    for search in settings.searches:
        try:
            for label, pool_ND in pools.items():
                functions[label, search] = {"exact": exact, "hnsw": hnsw}[search.kind](
                    pool_ND[: search.pool], settings.top_k
                )
            found.append(search)
        except Unavailable as reason:
            left_out.append(f"{search}: {reason}")
            console.print(f"left out: {left_out[-1]}", markup=False, soft_wrap=True)
    if not found:
        raise ValueError("nothing is left to search with: " + "; ".join(left_out))
    for search in (search for search in found if search.kind == "hnsw"):
        agreement = {
            label: agreement_of(
                functions[label, search], pool_ND[: search.pool], models[label], benchmark, settings
            )
            for label, pool_ND in pools.items()
        }
        card.setdefault(f"hnsw_overlap@{settings.top_k}_with_exact", {})[str(search.pool)] = (
            agreement
        )
    return (
        found,
        {label: [functions[label, search] for search in found] for label in models},
        card,
        left_out,
    )


def pools_of(
    models: dict[str, TextEncoder],
    benchmark: Benchmark,
    settings: LatencySettings,
    widths: dict[str, int],
) -> dict[str, torch.Tensor]:
    """The largest pool of each checkpoint; smaller ones are its first rows."""
    size, dtype, made = max(settings.pools), getattr(torch, settings.pool_dtype), {}
    pools = {}
    for label, encoder in models.items():
        if settings.pool_vectors == "random":
            width = widths[label]
            if width not in made:
                made[width] = random_units(size, width, dtype, encoder.device, settings.seed)
            pools[label] = made[width]
        else:
            vectors_MD = passage_vectors(encoder, benchmark, settings.pool_passages, settings.seed)
            pools[label] = repeated(
                vectors_MD,
                size,
                encoder.similarity == "cosine",
                dtype,
                encoder.device,
                settings.seed,
            )
    return pools


def agreement_of(
    search: SearchOf,
    pool_ND: torch.Tensor,
    encoder: TextEncoder,
    benchmark: Benchmark,
    settings: LatencySettings,
) -> float:
    """Share of the exact top k that another search finds, over queries spread evenly over the benchmark."""
    rows = range(0, len(benchmark.queries), -(-len(benchmark.queries) // PROBED))
    vectors_BD = encoder.encode(
        encoder.read([benchmark.queries[row] for row in rows], "query"), "query"
    )
    return overlap(search(vectors_BD), exact(pool_ND, settings.top_k)(vectors_BD))


@contextmanager
def progress_of(cut: list[Units], settings: LatencySettings) -> Iterator[Callable[[], None]]:
    """A bar on stderr with the time to go, drawn only between units: a thread that draws would take time from what is timed."""
    columns = (
        TextColumn("latency"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("to go"),
        TimeRemainingColumn(),
    )
    total = sum(settings.warmup + settings.rounds * len(each) for each in cut)
    with Progress(
        *columns, console=Console(stderr=True), auto_refresh=False, transient=True
    ) as bar:
        task, drawn = bar.add_task("latency", total=total), 0.0

        def advance() -> None:
            nonlocal drawn
            bar.advance(task)
            if time.monotonic() - drawn > REDRAWN:
                bar.refresh()
                drawn = time.monotonic()

        yield advance
