"""What a measurement shows and keeps: three tables, two box plots, a row per timed unit, and everything as JSON."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from rich.console import Console

from hybrid_ir.files.atomic import write_atomically, write_text_atomically
from hybrid_ir.latency import pictures
from hybrid_ir.latency.study import Study
from hybrid_ir.latency.summary import equivalence_rows, language_rows, latency_rows
from hybrid_ir.latency.tables import equivalence_table, languages_table, stages_table


def write_latency_report(
    study: Study, card: dict[str, Any], margin: float, seed: int, folder: Path, console: Console
) -> None:
    """Write latency.parquet, latency.json and the pictures into `folder`, and print the tables."""
    latency, languages, comparison = (
        latency_rows(study),
        language_rows(study),
        equivalence_rows(study, margin, seed),
    )
    folder.mkdir(parents=True, exist_ok=True)
    with write_atomically(folder / "latency.parquet") as file:
        pq.write_table(study.table(), file)
    tables = {"card": card, "latency": latency, "languages": languages, "equivalence": comparison}
    write_text_atomically(folder / "latency.json", json.dumps(tables, indent=2, allow_nan=False))
    pictures.by_stage(study, folder / "by_stage")
    pictures.by_language(study, folder / "by_language")
    console.print(stages_table(study, latency))
    console.print(languages_table(study, languages))
    if comparison:
        console.print(equivalence_table(comparison, margin))
    machine = card["machine"]
    device = dict.fromkeys([machine["device"], machine["cpu"]])
    console.print(
        f"{', '.join(device)}, {machine['threads']} threads; pool vectors: {card['pools']['vectors']}",
        soft_wrap=True,
        markup=False,
    )
    console.print(
        f"results in {folder}: latency.json, latency.parquet, by_stage and by_language as PNG and SVG",
        soft_wrap=True,
        markup=False,
        highlight=False,
    )
