"""What a study shows and keeps: a card, three tables, two figures, and a row per timed unit."""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text as PlainText

from hybrid_ir.files.atomic import write_atomically, write_text_atomically
from hybrid_ir.latency.backends import get_module
from hybrid_ir.latency.figures import draw_languages, draw_stages
from hybrid_ir.latency.settings import LatencySettings
from hybrid_ir.latency.statistics import (
    Row,
    build_equivalence_rows,
    build_language_rows,
    build_latency_rows,
    sort_languages_by_tokens,
)
from hybrid_ir.latency.study import STAGES, Study
from hybrid_ir.model.packed_attention import PACKED_PREFIX
from hybrid_ir.system.environment import PACKAGES, get_installed_version, read_git_state
from hybrid_ir.system.hardware import name_processor
from hybrid_ir.types import Benchmark, TextEncoder

OPTIONAL_PACKAGES = (
    "sentence-transformers",
    "onnxruntime",
    "onnxruntime-gpu",
    "onnx",
    "onnxscript",
    "faiss-cpu",
    "faiss-gpu",
)
LANGUAGES_SHOWN = 30  # in the printed table; latency.json has all


def build_latency_card(
    settings: LatencySettings,
    benchmark: Benchmark,
    models: dict[str, tuple[TextEncoder, dict[str, Any]]],
    pools: dict[str, Any],
    left_out: list[str],
) -> dict[str, Any]:
    """Builds the card: the machine, the models and the versions that the numbers hold for.

    Args:
        settings: the choices of the measurement.
        benchmark: whose queries were timed.
        models: by label, each with the card that loading it gave.
        pools: the card of the pools.
        left_out: what was left out, each with its reason.
    """
    encoder, _ = next(iter(models.values()))
    source = benchmark.source
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": _describe_machine(encoder.device),
        "settings": asdict(settings),
        "benchmark": {
            "name": source.name,
            "revision": source.revision,
            "choices": source.choices,
            "languages": list(benchmark.languages),
            "queries": len(benchmark.queries),
            "passages": len(benchmark.passages),
        },
        "checkpoints": {
            label: _describe_checkpoint(model, card) for label, (model, card) in models.items()
        },
        "precision": {
            "torch_fp32": "float32",
            "torch_bf16": "bfloat16 autocast",
            "torch_compile": "float32",
            "onnx": "float32",
            "onnx_int8": "int8 weights and activations, sums in float32",
            "openvino": "float32",
        },
        "pools": pools,
        "left_out": left_out,
        "versions": _list_versions(),
        "git": read_git_state(Path(__file__).parent),
    }


def _describe_machine(device: torch.device) -> dict[str, Any]:
    device_name = str(device)
    if device.type == "cuda":
        device_name = torch.cuda.get_device_name(device)
    return {
        "device": device_name,
        "cpu": name_processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "platform": platform.platform(),
    }


def _describe_checkpoint(encoder: TextEncoder, card: dict[str, Any]) -> dict[str, Any]:
    first_weights = next(get_module(encoder).parameters())
    return {
        **card,
        "reading": encoder.reading(),
        "attention_kernel": _find_attention_kernel(encoder),
        "weights_dtype": str(first_weights.dtype).removeprefix("torch."),
    }


def _find_attention_kernel(encoder: TextEncoder) -> str | None:
    """Returns `sdpa`, `eager` or another kernel of transformers; None for another library."""
    for module in get_module(encoder).modules():
        kernel = getattr(getattr(module, "config", None), "_attn_implementation", None)
        if kernel:
            return kernel.removeprefix(PACKED_PREFIX)
    return None


def _list_versions() -> dict[str, str | None]:
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for package in PACKAGES:
        versions[package] = get_installed_version(package)
    for package in OPTIONAL_PACKAGES:
        version = get_installed_version(package)
        if version:
            versions[package] = version
    return versions


def write_latency_report(
    study: Study, card: dict[str, Any], margin: float, seed: int, folder: Path, console: Console
) -> None:
    """Writes latency.parquet, latency.json and the figures into a folder, and prints the tables.

    Args:
        study: what was measured.
        card: of `build_latency_card`.
        margin: of the equivalence test, as a share.
        seed: of its resamples.
        folder: is created if it is not there.
        console: where the tables are printed.
    """
    latency_rows = build_latency_rows(study)
    language_rows = build_language_rows(study)
    equivalence_rows = build_equivalence_rows(study, margin, seed)

    folder.mkdir(parents=True, exist_ok=True)
    with write_atomically(folder / "latency.parquet") as file:
        pq.write_table(study.build_table(), file)
    tables = {
        "card": card,
        "latency": latency_rows,
        "languages": language_rows,
        "equivalence": equivalence_rows,
    }
    write_text_atomically(folder / "latency.json", json.dumps(tables, indent=2, allow_nan=False))
    draw_stages(study, folder / "by_stage")
    draw_languages(study, folder / "by_language")

    console.print(_build_stages_table(study, latency_rows))
    console.print(_build_languages_table(study, language_rows))
    if equivalence_rows:
        console.print(_build_equivalence_table(equivalence_rows, margin))
    machine = card["machine"]
    devices = dict.fromkeys([machine["device"], machine["cpu"]])  # each once
    console.print(
        f"{', '.join(devices)}, {machine['threads']} threads; pool vectors: "
        f"{card['pools']['vectors']}",
        soft_wrap=True,
        markup=False,
    )
    console.print(
        f"results in {folder}: latency.json, latency.parquet, by_stage and by_language as PNG and "
        "SVG",
        soft_wrap=True,
        markup=False,
        highlight=False,
    )


def _build_stages_table(study: Study, rows: Sequence[Row]) -> Table:
    """Builds a table of p50, p95 and p99 of every stage, in milliseconds per batch."""
    title = PlainText(f"{study.benchmark.name}: milliseconds per batch, p50 / p95 / p99")
    table = Table(title=title, title_justify="left", title_style="italic")
    table.add_column("checkpoint, backend, search", overflow="fold", min_width=18)
    for column in ("batch", *STAGES, "p50 per\nquery"):
        table.add_column(column, justify="right", no_wrap=True)
    # Of one backend it says nothing.
    has_speeds = len(study.backends) > 1 and any(row["encode_speed"] for row in rows)
    if has_speeds:
        table.add_column("encode,\nto torch", justify="right", no_wrap=True)
    last_batch_size = rows[0]["batch_size"]
    for row in rows:
        if row["batch_size"] != last_batch_size:
            table.add_section()
            last_batch_size = row["batch_size"]
        batch = f"{row['batch_size']}"
        if row["queries_per_unit"] < row["batch_size"]:
            batch += f" ({row['queries_per_unit']:.1f})"  # the languages have no more queries
        cells = []
        for stage in STAGES:
            times = row["ms"][stage]
            percentiles = [_format_milliseconds(times[name]) for name in ("p50", "p95", "p99")]
            cells.append("\n".join(percentiles))
        cells.append(_format_milliseconds(row["ms"]["per_query"]["p50"]))
        if has_speeds:
            speed = row["encode_speed"]
            cells.append("" if speed is None else f"x{speed:.2f}")
        table.add_row(
            PlainText(f"{row['checkpoint']}\n{row['backend']}, {row['search']} {row['pool']:,}"),
            batch,
            *cells,
        )
    return table


def _build_languages_table(study: Study, rows: Sequence[Row]) -> Table:
    """Builds a table of p50 of the total and tokens per query by language.

    Shown are the smallest batch size, the first backend and the first search.
    """
    search = study.searches[0]
    backend = study.backends[0]
    batch_size = min(row["batch_size"] for row in rows)
    cells: dict[tuple[str, str], Row] = {}  # by language and checkpoint
    for row in rows:
        key = (row["batch_size"], row["backend"], row["search"], row["pool"])
        if key == (batch_size, backend, search.kind, search.pool):
            cells[row["language"], row["checkpoint"]] = row
    languages = sort_languages_by_tokens(study)
    checkpoints = [name for name in study.checkpoints if (languages[0], name) in cells]
    title = f"batch {batch_size}, {backend}, {search}: tokens per query, p50 in ms"
    if len(languages) > LANGUAGES_SHOWN:
        title += f"; first {LANGUAGES_SHOWN} of {len(languages)} languages, most tokens first"
    table = Table(title=title, title_justify="left")
    table.add_column("query language")
    table.add_column("queries", justify="right")
    groups = _group_by_tokens(study)
    for group in groups:
        owner = "" if len(groups) == 1 else " of " + ", ".join(group)
        table.add_column(PlainText(f"tokens{owner}"), justify="right", overflow="fold")
        table.add_column(PlainText(f"p95{owner}"), justify="right", overflow="fold")
    for name in checkpoints:
        table.add_column(PlainText(f"p50 {name}"), justify="right", overflow="fold")
    for language in languages[:LANGUAGES_SHOWN]:
        texts = [f"{cells[language, checkpoints[0]]['queries']:,}"]
        for group in groups:
            if (language, group[0]) in cells:
                tokens = cells[language, group[0]]["tokens_per_query"]
                texts += [f"{tokens['mean']:.1f}", f"{tokens['p95']:.1f}"]
            else:
                texts += ["", ""]
        for name in checkpoints:
            texts.append(_format_milliseconds(cells[language, name]["ms"]["total"]["p50"]))
        table.add_row(PlainText(language), *texts)
    return table


def _group_by_tokens(study: Study) -> list[list[str]]:
    """Groups the checkpoints that read the same numbers of tokens from all queries."""
    groups: dict[bytes, list[str]] = {}
    for checkpoint in study.checkpoints:
        groups.setdefault(study.tokens[checkpoint].tobytes(), []).append(checkpoint)
    return list(groups.values())


def _build_equivalence_table(rows: Sequence[Row], margin: float) -> Table:
    """Builds a table of mean ratios and verdicts; latency.json has the medians too."""
    table = Table(
        title=f"how much slower, mean and 90% interval; same means less than {margin:.1%} apart",
        title_justify="left",
    )
    table.add_column("one against another", overflow="fold")
    for column in ("batch", "slower", "TOST p"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("verdict", overflow="fold", min_width=12)
    for row in rows:
        stage = f"{row['search']} {row['pool']:,}: total" if row["search"] else "encode"
        names = f"{row['second']}\nagainst {row['first']}\n{row['backend']}, {stage}"
        slower = row["slower"]
        interval = f"[{slower['mean_low']:+.1%}, {slower['mean_high']:+.1%}]"
        p = "·"
        verdict = "inconclusive: too few questions"
        if row["p"] is not None:
            p = f"{row['p']:.4f}"
            verdict = row["verdict"]
        table.add_row(
            PlainText(names),
            str(row["batch_size"]),
            PlainText(f"{slower['mean']:+.1%} {interval}"),
            p,
            verdict,
        )
    return table


def _format_milliseconds(value: float) -> str:
    """Formats a time with about three digits that mean something."""
    if value >= 100:
        return f"{value:,.0f}"
    if value >= 10:
        return f"{value:,.1f}"
    if value >= 1:
        return f"{value:,.2f}"
    return f"{value:,.3f}"
