"""What a process of `hybrid-ir index` does: finds passages, encodes them, and prints the result."""

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table

from hybrid_ir.cli.value_checks import (
    find_boolean_problems,
    find_number_problems,
)
from hybrid_ir.index.build import IndexJob, build_index
from hybrid_ir.index.card import read_index_card
from hybrid_ir.index.layout import FAISS_FILE, QUALITY_FILE, IndexSettings
from hybrid_ir.index.passages import (
    PassagesToIndex,
    read_passage_files,
    take_benchmark_passages,
    take_corpus_passages,
)
from hybrid_ir.index.quality import (
    COMPLETE,
    EXACT,
    SearchesToMeasure,
    compare_with_exact,
    measure_searches,
)
from hybrid_ir.index.search_methods import load_faiss_search
from hybrid_ir.index.vectors import (
    QUANTISER_FILE,
    FloatVectors,
    QuantisedVectors,
    load_quantiser,
    name_shard,
)
from hybrid_ir.runs.building import build, build_own_benchmark
from hybrid_ir.runs.encoders import EncoderSettings, load_any_encoder
from hybrid_ir.runs.indexes import describe_index_model
from hybrid_ir.system.environment import prepare_process
from hybrid_ir.system.interruption import raise_when_asked_to_stop
from hybrid_ir.types import Benchmark

MOST_SCORES = 10**11  # that are computed without being asked for
LANGUAGE_COLUMNS = ("mono", "cross", "multi", "own_language_first")


def index_passages(cfg: DictConfig, to: Path, is_helper: bool) -> None:
    """Builds an index, or encodes some of its shards, by the config of a command.

    Args:
        cfg: the config.
        to: the folder of the index.
        is_helper: whether another process makes the index of the shards.
    """
    settings = _read_settings(cfg)
    prepare_process(cfg.seed, cfg.threads)
    raise_when_asked_to_stop()
    benchmark = build_own_benchmark(cfg.benchmark) if _is_chosen(cfg, "benchmark") else None
    passages = _find_passages(cfg, benchmark)
    encoder_settings = EncoderSettings.from_config(cfg)
    place = str(cfg.checkpoint or cfg.model)
    loaded = load_any_encoder(
        place, _choose_gpu(encoder_settings) if is_helper else encoder_settings
    )
    measured = benchmark if _wants_measure(cfg.measure, benchmark) else None
    job = IndexJob(passages, loaded.encoder, settings, to, measured)

    def measure(job: IndexJob) -> dict[str, Any]:
        return _measure(job, cfg.measure_depth)

    build_index(
        job,
        describe_index_model(loaded, place, encoder_settings),
        None if measured is None else measure,
        encode_only=is_helper,
    )
    if not is_helper:
        _print_summary(to)


def _read_settings(cfg: DictConfig) -> IndexSettings:
    """Reads how the index is stored. Raises a ValueError that names every wrong value."""
    problems = find_number_problems(
        cfg,
        {"texts_per_shard": 1, "rescore_multiplier": 1, "measure_depth": 1},
    )
    problems += find_boolean_problems(cfg, "title", "trust_remote_code")
    if cfg.measure is not None:
        problems += find_boolean_problems(cfg, "measure")
    if bool(cfg.checkpoint) == bool(cfg.model):
        problems.append(
            "say what encodes: checkpoint=RUN for a run of ours, or model=NAME for any other "
            "encoder, not both"
        )
    chosen = [key for key in ("benchmark", "corpus") if _is_chosen(cfg, key)]
    if cfg.path is not None:
        chosen.append("path")
    if len(chosen) != 1:
        problems.append(
            f"say what to index by one of benchmark=NAME, corpus=NAME and path=FILES, not by "
            f"{' and '.join(chosen) or 'none'}"
        )
    if problems:
        raise ValueError("; ".join(problems))
    return IndexSettings(
        dtype=cfg.dtype,
        quantise=cfg.quantise,
        rescore_multiplier=cfg.rescore_multiplier,
        faiss=cfg.faiss,
        texts_per_shard=cfg.texts_per_shard,
    )


def _is_chosen(cfg: DictConfig, group: str) -> bool:
    """Returns whether an option of a group is chosen: a key of a group may be there without."""
    return OmegaConf.select(cfg, f"{group}._target_") is not None


def _wants_measure(choice: bool | None, benchmark: Benchmark | None) -> bool:
    """Returns whether the search is measured; says so where that is left out for its size."""
    if benchmark is None or choice is not None:
        return bool(choice)
    scores = len(benchmark.queries) * len(benchmark.passages)
    if scores > MOST_SCORES:
        print(
            f"what the search costs is not measured, which would need {scores:,} scores: "
            "measure=true does it"
        )
    return scores <= MOST_SCORES


def _find_passages(cfg: DictConfig, benchmark: Benchmark | None) -> PassagesToIndex:
    if benchmark is not None:
        return take_benchmark_passages(benchmark)
    if cfg.path is not None:
        return read_passage_files(cfg.path, Path(cfg.paths.cache_dir), cfg.language, cfg.title)
    return take_corpus_passages(build(cfg.corpus))


def _choose_gpu(settings: EncoderSettings) -> EncoderSettings:
    """Gives each of several processes a GPU of its own, where they take GPUs at all."""
    is_free_choice = settings.device in (None, "cuda")
    if not is_free_choice or not torch.cuda.is_available():
        return settings
    number = int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count()
    return replace(settings, device=f"cuda:{number}")


def _measure(job: IndexJob, depth: int) -> dict[str, Any]:
    """Measures the ways to search an index that is about to be complete."""
    vectors = FloatVectors(job.list_shards("passage"))
    codes = None
    faiss = None
    kind = job.settings.quantise
    if kind != "none":
        paths = []
        for number in range(len(job.list_shards("passage"))):
            paths.append(job.building / name_shard("codes", number))
        quantiser = load_quantiser(kind, job.building / QUANTISER_FILE)
        codes = QuantisedVectors(paths, quantiser, vectors.width)
    if job.settings.faiss != "none":
        faiss = load_faiss_search(job.building / FAISS_FILE, vectors, effort=None)
    searches = SearchesToMeasure(
        vectors,
        codes,
        kind,
        job.settings.rescore_multiplier,
        faiss,
        f"faiss {job.settings.faiss}",
    )
    queries = FloatVectors(job.list_shards("query"))
    return measure_searches(job.benchmark, queries, searches, depth)


def _print_summary(to: Path) -> None:
    card = read_index_card(to)
    size = sum(file["bytes"] for file in card["files"].values())
    counts = ", ".join(f"{language} {count:,}" for language, count in card["languages"].items())
    console = Console()
    console.print(
        f"{to}: {card['passages']:,} passages ({counts}), width {card['width']}, "
        f"{size / 1e6:,.1f} MB",
        highlight=False,
        soft_wrap=True,
    )
    if card["passages_left_out"]:
        print(f"{card['passages_left_out']:,} passages have no text and are left out")
    if card["texts_cut"]:
        print(f"{card['texts_cut']:,} passages are longer than the model reads, and were cut")
    quality_file = to / QUALITY_FILE
    if quality_file.is_file():
        _print_quality(quality_file, console)
    print(f'search it: hybrid-ir search index={to} "a question"')


def _print_quality(path: Path, console: Console) -> None:
    """Prints what each way to search costs, in all and for each language."""
    quality = json.loads(path.read_text(encoding="utf-8"))
    depth = quality["depth"]
    table = Table(
        title=f"mAP of {quality['benchmark']}, {depth} passages found for a query",
        title_justify="left",
    )
    table.add_column("search")
    for column in ("mono", "cross", "multi", "own language first", "top 10 as exact"):
        table.add_column(column, justify="right")
    for name, values in quality["searches"].items():
        table.add_row(
            name,
            *(_format(values["map"][view]) for view in ("mono", "cross", "multi")),
            _format(values["own_language_first"]),
            _format(values["overlap"]),
        )
    console.print(table)
    for name in quality["searches"]:
        if name not in (COMPLETE, EXACT):
            console.print(_build_change_table(quality, name))


def _build_change_table(quality: Mapping[str, Any], name: str) -> Table:
    """Builds the table of what a search changes against the exact one, by language."""
    table = Table(
        title=f"{name}: change against the exact search, by language of the query",
        title_justify="left",
    )
    table.add_column("language")
    for column in ("mono", "cross", "multi", "own language first"):
        table.add_column(column, justify="right")
    for language, change in compare_with_exact(quality, name).items():
        cells = []
        for key in LANGUAGE_COLUMNS:
            cells.append("" if change[key] is None else f"{change[key]:+.4f}")
        table.add_row(language, *cells)
    return table


def _format(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
