"""`hybrid-ir bias`: is a retriever biased by language? A verdict, one page, and JSON."""

import json
import sys
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from hybrid_ir.bias.conditions import Condition, parse_conditions
from hybrid_ir.bias.diagnosis import diagnose, require_several_languages
from hybrid_ir.bias.measures import MEASURES
from hybrid_ir.bias.query_time import time_queries
from hybrid_ir.bias.report import (
    JSON_FILE,
    PAGE_FILE,
    build_record,
    format_share,
    list_known_heads,
    list_known_rows,
    write_record,
)
from hybrid_ir.bias.sorted_by_language import diagnose_texts
from hybrid_ir.bias.verdict import decide_verdict
from hybrid_ir.cli.asked_texts import list_text_remarks, load_asked_texts
from hybrid_ir.cli.config import choose_output_folder
from hybrid_ir.cli.value_checks import (
    find_boolean_problems,
    find_number_problems,
    find_split_problems,
    require_values,
)
from hybrid_ir.model.prompts import describe_missing_prompts, recognise_family
from hybrid_ir.runs.encoders import EncoderSettings, load_any_encoder
from hybrid_ir.runs.folder import lock_folder, require_no_results
from hybrid_ir.runs.model_names import name_model
from hybrid_ir.system.environment import prepare_process

SEED = 1  # of conf/encoder
CONDITION_CODE = 3  # the command ends with it if a condition of --fail-if holds


def run(cfg: DictConfig) -> None:
    """Measures the bias of a model, prints the verdict and writes the page."""
    require_values(cfg, "bias", "model")
    _require_valid_values(cfg)
    conditions = parse_conditions(cfg.fail_if, MEASURES)
    out = choose_output_folder(cfg, "bias")
    require_no_results(out, JSON_FILE)
    prepare_process(cfg.seed, cfg.threads)
    benchmark = load_asked_texts(cfg)
    require_several_languages(benchmark)
    loaded = load_any_encoder(str(cfg.model), EncoderSettings.from_config(cfg))
    encoder = loaded.encoder
    with lock_folder(out):
        require_no_results(out, JSON_FILE)  # another process may have been there before this one
        if any(len(rows) for rows in benchmark.relevant):
            # Vectors wait in the folder, where the next start deletes those of a killed process.
            diagnosis, evaluation = diagnose(encoder, benchmark, folder=out)
            evaluation.save(out / "evaluation")
        else:
            diagnosis = diagnose_texts(encoder, benchmark)
        diagnosis.notes.extend(list_text_remarks(cfg, benchmark))
        reading = {"precision": encoder.precision, **encoder.reading()}
        diagnosis.notes.extend(_list_reading_notes(str(cfg.model), reading))
        model = {**loaded.model, "name": name_model(loaded.model)}
        verdict = decide_verdict(diagnosis, model["name"])
        latency = time_queries(encoder, benchmark) if len(benchmark.queries) else None
        record = build_record(diagnosis, verdict, model, reading, latency)
        write_record(record, out)
    if cfg.json:
        print(json.dumps(record, ensure_ascii=False))
    else:
        _print_record(record, out)
    _end_if_met(conditions, diagnosis.measures)


def _list_reading_notes(place: str, reading: dict[str, Any]) -> list[str]:
    """Returns what to mind of how texts were read."""
    if reading.get("query_prefix") or reading.get("passage_prefix"):
        return []
    line = describe_missing_prompts(place, recognise_family(place, None))
    return [line.removeprefix("warning: ")] if line is not None else []


def _require_valid_values(cfg: DictConfig) -> None:
    """Raises a ValueError that names every value of a wrong type or out of range."""
    problems = find_boolean_problems(cfg, "json", "trust_remote_code")
    if cfg.max_queries is not None:
        problems += find_number_problems(cfg, {"max_queries": 1})
    problems += find_split_problems(cfg, "corpus")
    if cfg.seed != SEED:
        problems.append(f"seed={cfg.seed} changes nothing: nothing is drawn by chance")
    if problems:
        raise ValueError("; ".join(problems))


def _print_record(record: dict[str, Any], out: Path) -> None:
    """Prints the verdict, the table of known encoders, and where the rest is."""
    console = Console()
    console.print(record["grade"].capitalize(), style="bold")
    for sentence in [*record["verdict"], *record["notes"]]:
        console.print(f"- {sentence}", markup=False, highlight=False)
    rows = list_known_rows(record)
    if rows:
        table = Table(title="known encoders on the same texts", title_justify="left")
        for head in list_known_heads():
            table.add_column(head, justify="left" if head == "encoder" else "right")
        for row in rows:
            name = f"{row.name} *" if row.training else row.name
            table.add_row(name, *row.cells, style="bold" if row.is_this_model else None)
        console.print(table)
        for training in dict.fromkeys(row.training for row in rows if row.training):
            console.print(f"* {training}", style="dim", markup=False, highlight=False)
        fair = record["measures"]["own_language_share.fair"]
        text = f"a language has {format_share(fair)} of the collection"
        console.print(text, style="dim", highlight=False)
    console.print(
        f"page in {out / PAGE_FILE}, numbers in {out / JSON_FILE}",
        soft_wrap=True,
        markup=False,
        highlight=False,
    )


def _end_if_met(conditions: list[Condition], measures: dict[str, float | None]) -> None:
    """Ends the program with CONDITION_CODE if a condition of --fail-if holds."""
    met = [condition for condition in conditions if condition.is_met(measures)]
    for condition in met:
        value = measures[condition.measure]
        print(
            f"failed: {condition.measure} is {value:.4f}, and --fail-if says {condition.text}",
            file=sys.stderr,
        )
    if met:
        sys.exit(CONDITION_CODE)
