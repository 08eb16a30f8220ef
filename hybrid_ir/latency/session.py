"""One measurement from models and queries to a Study: backends, pools, searches, then timing."""

# B queries, N vectors of a pool, D width

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress

from hybrid_ir.latency.backends import build_contestant
from hybrid_ir.latency.measure import Contestant, count_tokens, time_contestants
from hybrid_ir.latency.pools import (
    NOISE,
    check_memory,
    draw_unit_vectors,
    encode_passage_sample,
    repeat_with_noise,
)
from hybrid_ir.latency.search import (
    SearchFunction,
    build_exact_search,
    build_hnsw_search,
    compute_overlap,
)
from hybrid_ir.latency.settings import LatencySettings, Search, Unavailable
from hybrid_ir.latency.study import Study, Timings, Units, cut_into_units
from hybrid_ir.system.progress import PROGRESS_COLUMNS, show_progress
from hybrid_ir.types import Benchmark, TextEncoder

COMPARED_QUERIES = 64  # whose HNSW results are compared with exact search
REFRESH_INTERVAL = 0.2  # seconds between two refreshes of the progress bar
SEARCH_BUILDERS = {"exact": build_exact_search, "hnsw": build_hnsw_search}


def run_latency_session(
    models: dict[str, TextEncoder],
    benchmark: Benchmark,
    settings: LatencySettings,
    console: Console,
    cache: str | Path = ".cache",
) -> tuple[Study, dict[str, Any], list[str]]:
    """Measures every checkpoint under every backend and with every search that works here.

    Args:
        models: the encoders by their labels.
        benchmark: whose queries are timed and whose passages fill the pools.
        settings: the choices of the measurement.
        console: for the reasons why something is left out.
        cache: folder where the graphs of encoders are kept.

    Returns:
        The Study, the card of the pools, and what was left out, each with its reason.

    Raises:
        ValueError: no queries, too little memory, or nothing is left to measure.
    """
    if not len(benchmark.queries):
        raise ValueError(
            f"benchmark={benchmark.name} has no queries: choose other languages or a larger "
            "max_queries"
        )
    widths = {label: encoder.reading()["width"] for label, encoder in models.items()}
    first_encoder = next(iter(models.values()))
    check_memory(settings, _list_pool_widths(widths, settings), first_encoder.device)

    contestants, left_out = _build_contestants(models, settings, console, Path(cache))
    measured_models = {
        contestant.checkpoint: models[contestant.checkpoint] for contestant in contestants
    }
    search_setup = _set_up_searches(measured_models, benchmark, settings, widths, console)
    tokens = {}
    for number, contestant in enumerate(contestants):
        functions = search_setup.functions[contestant.checkpoint]
        contestants[number] = replace(contestant, searches=functions)
        tokens[contestant.checkpoint] = count_tokens(contestant, benchmark.queries)

    timings = _time_batch_sizes(contestants, benchmark, settings)
    names = [(contestant.checkpoint, contestant.backend) for contestant in contestants]
    study = Study(benchmark, names, search_setup.searches, tokens, timings)
    return study, search_setup.card, left_out + search_setup.left_out


def _list_pool_widths(widths: dict[str, int], settings: LatencySettings) -> list[int]:
    """Returns the width of every pool; models of one width share a pool of random vectors."""
    if settings.pool_vectors == "random":
        return sorted(set(widths.values()))
    return list(widths.values())


def _time_batch_sizes(
    contestants: list[Contestant], benchmark: Benchmark, settings: LatencySettings
) -> list[Timings]:
    """Times all contestants with each batch size."""
    units_by_size = [cut_into_units(benchmark, size) for size in settings.batch_sizes]
    timings = []
    with _show_progress(units_by_size, settings) as advance:
        for units in units_by_size:
            timings.append(
                time_contestants(
                    contestants,
                    benchmark.queries,
                    units,
                    settings.rounds,
                    settings.warmup,
                    settings.seed,
                    advance,
                )
            )
    return timings


def _build_contestants(
    models: dict[str, TextEncoder], settings: LatencySettings, console: Console, cache: Path
) -> tuple[list[Contestant], list[str]]:
    """Builds every checkpoint under every backend that works here.

    Returns the contestants, and the reasons why others are left out, which are printed as well.
    """
    contestants = []
    left_out = []
    for backend in settings.backends:
        for label, encoder in models.items():
            try:
                contestants.append(build_contestant(label, encoder, backend, cache))
            except Unavailable as reason:
                left_out.append(f"{label}: {reason}")
                _print_left_out(left_out[-1], console)
    if not contestants:
        raise ValueError("nothing is left to measure: " + "; ".join(left_out))
    return contestants, left_out


def _print_left_out(reason: str, console: Console) -> None:
    console.print(f"left out: {reason}", markup=False, soft_wrap=True)


@dataclass
class _SearchSetup:
    """The searches that work here.

    Args:
        functions: of each checkpoint, in the order of the searches.
        card: describes the pools.
        searches: those of the functions.
        left_out: the reasons why others are left out.
    """

    functions: dict[str, list[SearchFunction]]
    card: dict[str, Any]
    searches: list[Search] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def _set_up_searches(
    models: dict[str, TextEncoder],
    benchmark: Benchmark,
    settings: LatencySettings,
    widths: dict[str, int],
    console: Console,
) -> _SearchSetup:
    """Fills the pools and builds every search over them for every checkpoint."""
    pools = _build_pools(models, benchmark, settings, widths)
    setup = _SearchSetup(
        functions={label: [] for label in models},
        card={
            "sizes": list(settings.pools),
            "dtype": settings.pool_dtype,
            "vectors": _describe_pool_vectors(benchmark, settings),
            "width": widths,
        },
    )
    for search in settings.searches:
        try:
            functions = {}
            for label, pool_ND in pools.items():
                build = SEARCH_BUILDERS[search.kind]
                functions[label] = build(pool_ND[: search.pool], settings.top_k)
        except Unavailable as reason:
            setup.left_out.append(f"{search}: {reason}")
            _print_left_out(setup.left_out[-1], console)
            continue
        setup.searches.append(search)
        for label, function in functions.items():
            setup.functions[label].append(function)
        if search.kind == "hnsw":
            overlaps = setup.card.setdefault(f"hnsw_overlap@{settings.top_k}_with_exact", {})
            overlaps[str(search.pool)] = {
                label: _compare_with_exact_search(
                    functions[label], pool_ND[: search.pool], models[label], benchmark, settings
                )
                for label, pool_ND in pools.items()
            }
    if not setup.searches:
        raise ValueError("nothing is left to search with: " + "; ".join(setup.left_out))
    return setup


def _describe_pool_vectors(benchmark: Benchmark, settings: LatencySettings) -> str:
    if settings.pool_vectors == "random":
        return "random unit vectors"
    passages = min(settings.pool_passages, len(benchmark.passages))
    return (
        f"{passages:,} passages of {benchmark.name} by the model itself, repeated with noise of "
        f"{NOISE} of their length"
    )


def _build_pools(
    models: dict[str, TextEncoder],
    benchmark: Benchmark,
    settings: LatencySettings,
    widths: dict[str, int],
) -> dict[str, torch.Tensor]:
    """Builds the largest pool (N, D) of each checkpoint; smaller ones are its first rows."""
    size = max(settings.pools)
    dtype = getattr(torch, settings.pool_dtype)
    pools = {}
    random_pools: dict[int, torch.Tensor] = {}  # by width
    for label, encoder in models.items():
        width = widths[label]
        if settings.pool_vectors == "random":
            if width not in random_pools:
                random_pools[width] = draw_unit_vectors(
                    size, width, dtype, encoder.device, settings.seed
                )
            pools[label] = random_pools[width]
        else:
            vectors_MD = encode_passage_sample(
                encoder, benchmark, settings.pool_passages, settings.seed
            )
            normalise = encoder.similarity == "cosine"
            pools[label] = repeat_with_noise(
                vectors_MD, size, normalise, dtype, encoder.device, settings.seed
            )
    return pools


def _compare_with_exact_search(
    search: SearchFunction,
    pool_ND: torch.Tensor,
    encoder: TextEncoder,
    benchmark: Benchmark,
    settings: LatencySettings,
) -> float:
    """Returns the share of the exact top k that a search finds, for some queries of all parts."""
    step = -(-len(benchmark.queries) // COMPARED_QUERIES)  # rounded up
    texts = [benchmark.queries[row] for row in range(0, len(benchmark.queries), step)]
    vectors_BD = encoder.encode(encoder.read(texts, "query"), "query")
    exact_search = build_exact_search(pool_ND, settings.top_k)
    return compute_overlap(search(vectors_BD), exact_search(vectors_BD))


@contextmanager
def _show_progress(
    units_by_size: list[Units], settings: LatencySettings
) -> Iterator[Callable[[], None]]:
    """Shows a bar on stderr; gives the function to call after each unit.

    The bar is drawn only between units: a thread that draws would take time from what is timed.
    """
    total = 0
    for units in units_by_size:
        total += settings.warmup + settings.rounds * len(units)
    console = Console(stderr=True)
    with (
        Progress(
            *PROGRESS_COLUMNS, console=console, auto_refresh=False, transient=True
        ) as progress,
        show_progress("latency", total, is_small=True) as work,
    ):
        task = progress.add_task("latency", total=total)
        last_refresh = 0.0

        def advance() -> None:
            nonlocal last_refresh
            progress.advance(task)
            work.advance()
            if time.monotonic() - last_refresh > REFRESH_INTERVAL:
                progress.refresh()
                last_refresh = time.monotonic()

        yield advance
