"""`hybrid-ir bias`: is a retriever biased by language? A verdict, one page, and JSON."""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hybrid_ir.bias.conditions import Condition, parse_conditions
from hybrid_ir.bias.diagnosis import Diagnosis, diagnose, require_several_languages
from hybrid_ir.bias.known_encoders import explain_missing_encoders
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
from hybrid_ir.bias.verdict import decide_verdict, is_correction_worthwhile
from hybrid_ir.cli.asked_texts import EMBEDDED, list_text_remarks, load_asked_texts
from hybrid_ir.cli.config import choose_output_folder
from hybrid_ir.cli.debias_command import build_debias_command
from hybrid_ir.cli.value_checks import (
    find_boolean_problems,
    find_number_problems,
    find_split_problems,
    require_values,
)
from hybrid_ir.model.prompts import (
    describe_missing_prompts,
    describe_misspelt_prompts,
    recognise_family,
)
from hybrid_ir.runs.encoders import EncoderSettings, LoadedEncoder, load_any_encoder
from hybrid_ir.runs.folder import lock_folder, require_no_results
from hybrid_ir.runs.model_names import name_model
from hybrid_ir.system.environment import prepare_process
from hybrid_ir.types import Benchmark

SEED = 1  # of conf/encoder
NUMBER_WIDTH = 6  # of 100.0%
CONDITION_CODE = 3  # the command ends with it if a condition of --fail-if holds


def run(cfg: DictConfig) -> None:
    """Measures the bias of a model, prints the verdict and writes the page."""
    require_values(cfg, "bias", "model")
    _require_valid_values(cfg)
    conditions = parse_conditions(cfg.fail_if, MEASURES)
    out = choose_output_folder(cfg, "bias", prefix=f"{_name_place(str(cfg.model))}_")
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
        diagnosis.notes.extend(_list_text_notes(cfg, benchmark, diagnosis))
        reading = {"precision": encoder.precision, **encoder.reading()}
        # They are for the first line: what follows is not what the model can do.
        warnings = _list_reading_warnings(str(cfg.model), reading)
        model = {**loaded.model, "name": name_model(loaded.model)}
        verdict = decide_verdict(diagnosis, model["name"])
        latency = time_queries(encoder, benchmark) if len(benchmark.queries) else None
        next_command = _choose_next_command(cfg, loaded, diagnosis)
        record = build_record(diagnosis, verdict, model, reading, latency, next_command)
        record["verdict"] = [*warnings, *record["verdict"]]
        write_record(record, out)
    if cfg.json:
        print(json.dumps(record, ensure_ascii=False))
    else:
        _print_record(record, out)
    _end_if_met(conditions, diagnosis.measures)


def _name_place(place: str) -> str:
    """Returns the last part of a folder or id of the hub, for the name of a folder."""
    return Path(place).name or "model"


def _list_text_notes(cfg: DictConfig, benchmark: Benchmark, diagnosis: Diagnosis) -> list[str]:
    """Returns what to mind of the texts that were asked."""
    notes = list_text_remarks(cfg, benchmark)
    questions = Counter(benchmark.query_languages.tolist())
    is_limited = max(questions.values(), default=0) == cfg.max_queries
    if is_limited and str(cfg.corpus) != EMBEDDED:
        notes.append(
            f"No more than {cfg.max_queries} questions of a language were asked: "
            "max_queries=null asks all of them."
        )
    missing = explain_missing_encoders(diagnosis.texts)
    if missing is not None:
        notes.append(missing)
    return notes


def _list_reading_warnings(place: str, reading: dict[str, Any]) -> list[str]:
    """Returns what is wrong with how texts were read, if the model is a known one."""
    texts = {}
    for role in ("query", "passage"):
        texts[role] = reading.get(f"{role}_prefix") or ""
    recognition = recognise_family(place, None)
    if any(texts.values()):
        line = describe_misspelt_prompts(place, recognition, texts)
    else:
        line = describe_missing_prompts(place, recognition)
    if line is None:
        return []
    return [f"Mind: {line.removeprefix('warning: ')}. What follows is not what the model can do."]


def _choose_next_command(
    cfg: DictConfig, loaded: LoadedEncoder, diagnosis: Diagnosis
) -> str | None:
    """Returns the command that corrects the model, None where that brings nothing."""
    if "correction" in loaded.model or not is_correction_worthwhile(diagnosis):
        return None
    return build_debias_command(cfg)


def _require_valid_values(cfg: DictConfig) -> None:
    """Raises a ValueError that names every value of a wrong type or out of range."""
    problems = find_boolean_problems(cfg, "json", "trust_remote_code")
    if cfg.max_queries is not None:
        problems += find_number_problems(cfg, {"max_queries": 1})
    problems += find_split_problems(cfg, "corpus")
    if str(cfg.model).startswith("["):
        problems.append(
            f"model={cfg.model}: bias asks one model; `hybrid-ir study` measures many as one "
            "table, and `hybrid-ir serve model=[A,B]` shows two side by side"
        )
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
    if record["next_command"] is not None:
        console.print("  " + record["next_command"], markup=False, highlight=False, soft_wrap=True)
    rows = list_known_rows(record)
    if rows:
        table = Table(title="known encoders on the same texts", title_justify="left")
        encoder_head, *measure_heads = list_known_heads()
        # Where a line is short, a name is folded and never a number cut.
        table.add_column(encoder_head, overflow="fold")
        for head in measure_heads:
            table.add_column(head, justify="right", min_width=NUMBER_WIDTH)
        for row in rows:
            name = f"{row.name} *" if row.training else row.name
            table.add_row(Text(name), *row.cells, style="bold" if row.is_this_model else None)
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
