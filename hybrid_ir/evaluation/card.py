"""The evaluation card: everything that decides a number and that its reader cannot see, written beside every result."""

import hashlib
import json
import platform
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.table import Table
from rich.text import Text as Plain

from hybrid_ir.evaluation.results import VIEWS, Results
from hybrid_ir.system.versions import PACKAGES, get_installed_version
from hybrid_ir.types import Benchmark

HASHED_UP_TO = 5_000_000  # passages; a larger pool is known by the lock file of its raw files
TIES = "expected value over all orders of tied passages"
RANKS = "exact counts over the whole pool, scores in float64"


def hash_benchmark(benchmark: Benchmark) -> str | None:
    """sha256 of all texts, languages and judgements; None for pools too large to read again."""
    if len(benchmark.passages) > HASHED_UP_TO:
        return None
    digest = hashlib.sha256()
    rows: Iterable = (
        [*benchmark.languages],
        *zip(
            benchmark.query_languages.tolist(),
            benchmark.queries,
            benchmark.question_ids,
            (np.asarray(r).tolist() for r in benchmark.relevant),
            strict=True,
        ),
        *(rows.tolist() for rows in benchmark.grades or ()),
    )
    for row in rows:
        digest.update(json.dumps(row, ensure_ascii=False).encode())
    for language, text in zip(
        np.asarray(benchmark.passage_languages).tolist(), benchmark.passages, strict=True
    ):
        digest.update(json.dumps([language, text], ensure_ascii=False).encode())
    return digest.hexdigest()


def build_evaluation_card(
    results: Results,
    digest: str | None,
    model: dict[str, Any],
    training: dict[str, Any] | None,
    reading: dict[str, Any],
    texts_cut: dict[str, float | None],
    long_passages: dict[str, Any],
    postprocess: dict[str, Any],
    device: str,
) -> dict[str, Any]:
    """Plain values only.

    Args:
        digest: content_hash of the benchmark.
        model, training: name, kind and place of the model, and what it was trained on (None for a model as released).
        reading: how texts become vectors, see TextEncoder.reading.
        texts_cut: share of queries and of passages that are longer than the encoder reads.
        long_passages: what happened to them: the policy and how many windows there were.
        postprocess: name of the correction and the split on which it was estimated.
    """
    benchmark, source = results.benchmark, results.benchmark.source
    return {
        "model": model,
        "training": training,
        "benchmark": {
            "name": source.name,
            "revision": source.revision,
            "licence": source.licence,
            "citation": source.citation,
            "sha256": digest,
            "choices": source.choices,
            "languages": list(benchmark.languages),
            "queries": len(benchmark.queries),
            "questions": len(set(benchmark.question_ids)),
            "pool": results.pool_sizes,
            "pool_size": sum(results.pool_sizes.values()),
            "queries_without_relevant": results.left_out,
        },
        "reading": reading,
        "texts_cut": texts_cut,
        "long_passages": long_passages,
        "postprocess": postprocess,
        "precision": reading["precision"],
        "similarity": reading["similarity"],
        "ties": TIES,
        "ranks": RANKS,
        "tie_rate": {view: to_json_number(results.macro(view)["tie_rate"]) for view in VIEWS},
        "tokenizer_canary": reading["tokenizer_canary"],
        "device": describe_device(device),
        "threads": torch.get_num_threads(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "versions": {
            name: version
            for name in (*PACKAGES, "sentence-transformers", "scipy")
            if (version := get_installed_version(name)) is not None
        },
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
    }


def describe_device(device: str) -> str:
    """Which GPU, where it is one."""
    return (
        f"{device} ({torch.cuda.get_device_name(device)})" if device.startswith("cuda") else device
    )


def to_json_number(value: float) -> float | None:
    """A number for JSON, which knows no NaN."""
    return None if np.isnan(value) else float(value)


def build_card_table(card: dict[str, Any]) -> Table:
    """What a reader should see at once."""
    benchmark, reading, training = card["benchmark"], card["reading"], card["training"]
    table = Table(title="evaluation card", show_header=False, title_justify="left")
    fix, where = card["postprocess"], f"{card['precision']} on {card['device']}"
    cut = ", ".join(
        f"{share:.1%} of {role} texts cut"
        for role, share in card["texts_cut"].items()
        if share is not None
    )
    lengths = f"{reading['query_max_length']} / {reading['passage_max_length']} tokens"
    rows = {
        "model": f"{card['model']['name']} ({card['model']['kind']})",
        "trained": f"{training['sampler']}, monolingual share {training['monolingual_share']}, seed {training['seed']}, on "
        f"{training['corpus']}"
        if training
        else "as released",
        "pool": f"{benchmark['pool_size']:,} passages, {len(benchmark['languages'])} languages; {benchmark['queries']:,} queries",
        "reads": f"{reading['query_prefix']!r} / {reading['passage_prefix']!r}, {lengths}; {cut}",
        "long passages": card["long_passages"]["policy"],
        "vectors": f"{reading['pooling']}, width {reading['width']}, {card['similarity']}, {where}",
        "postprocess": fix["name"]
        + (f", estimated on {fix['estimated_on']}" if fix["estimated_on"] else ""),
        "tokenizer": f"canary {card['tokenizer_canary']}",
    }
    for name, value in rows.items():
        table.add_row(name, Plain(value))
    return table
