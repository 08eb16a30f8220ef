"""Runs mteb's evaluation on an encoder, and keeps its result files and what compare reads."""

import json
import math
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from hybrid_ir.evaluation.card import describe_process, replace_nan
from hybrid_ir.evaluation.mteb_scores import (
    MTEB_SCORES_FILE,
    MtebScore,
    MtebScores,
    build_mteb_table,
    write_mteb_scores,
)
from hybrid_ir.files.atomic import write_text_atomically
from hybrid_ir.model.module_files import is_hub_id
from hybrid_ir.mteb_tasks.encoder import MtebEncoder
from hybrid_ir.mteb_tasks.library import import_mteb
from hybrid_ir.mteb_tasks.tasks import MtebTasks
from hybrid_ir.types import TextEncoder

if TYPE_CHECKING:
    from mteb.abstasks import AbsTask
    from mteb.results import TaskResult


def evaluate_with_mteb(
    encoder: TextEncoder,
    tasks: MtebTasks,
    folder: str | Path,
    model: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
) -> MtebScores:
    """Has mteb evaluate an encoder on its tasks, and writes the results.

    The folder gets mteb's own files, as its `ResultCache(folder)` writes and reads them, in
    results/MODEL/REVISION: a TASK.json for each task, model_meta.json and run_settings.jsonl.
    Beside them are evaluation_card.json and, as the last file, mteb_scores.json.

    Args:
        encoder: turns texts into vectors.
        tasks: which tasks.
        folder: where the results go; it is made if need be.
        model: name, kind and place of the model, for the card; by default the name of the encoder.
        training: what it was trained on, None for a model as released.

    Returns:
        The main score of each task, split and subset.

    Raises:
        ValueError: The data of a task cannot be loaded, or a task is not one of texts.
    """
    mteb = import_mteb()
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if model is None:
        model = {"name": encoder.name, "kind": "encoder"}
    mteb_encoder = MtebEncoder(
        encoder,
        name=tasks.model_name or _find_hub_name(model),
        revision=tasks.model_revision or model.get("revision"),
        languages=_find_languages(training),
        adapted_from=model.get("backbone") if training else None,
    )
    read_before = dict(encoder.texts_read)
    cut_before = dict(encoder.texts_cut)
    cache = mteb.ResultCache(folder)
    scores: list[MtebScore] = []
    for task in tasks.chosen:
        result = _evaluate_task(mteb_encoder, task, cache, tasks.batch_size)
        scores += list_main_scores(task, result)
    record = MtebScores(mteb.__version__, mteb_encoder.name, mteb_encoder.revision, scores)
    texts_cut = {}
    for role, before in cut_before.items():
        read = encoder.texts_read[role] - read_before[role]
        texts_cut[role] = None
        if before is not None and read:
            texts_cut[role] = (encoder.texts_cut[role] - before) / read
    card = _build_card(record, tasks, encoder, texts_cut, model, training)
    card_text = json.dumps(card, indent=2, allow_nan=False, ensure_ascii=False)
    write_text_atomically(folder / "evaluation_card.json", card_text)
    write_mteb_scores(record, folder)
    return record


def _evaluate_task(
    encoder: MtebEncoder, task: "AbsTask", cache: Any, batch_size: int
) -> "TaskResult":
    """Has mteb evaluate one task. What goes wrong with its data names the task."""
    mteb = import_mteb()
    shows_bars = sys.stderr.isatty()
    try:
        with _bars_of_datasets(shows_bars):
            results = mteb.evaluate(
                encoder,
                task,
                cache=cache,
                co2_tracker=False,
                # What a stopped evaluation left may be of another model of the same name.
                overwrite_strategy="always",
                encode_kwargs={"batch_size": batch_size, "show_progress_bar": shows_bars},
                show_progress_bar=shows_bars,
            )
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        hint = ""
        if isinstance(error, OSError):
            hint = (
                ": its data is read from the hub or its cache; HF_HOME, HF_ENDPOINT and "
                "HF_HUB_OFFLINE say where"
            )
        raise ValueError(f"mteb's task {task.metadata.name} ({reason:.300}){hint}") from error
    return results.task_results[0]


@contextmanager
def _bars_of_datasets(are_shown: bool) -> Iterator[None]:
    """Keeps the bars of the library `datasets` off where no terminal shows them."""
    import datasets  # Here, since `hybrid-ir evaluate` loads this file for any benchmark.

    if are_shown or not datasets.is_progress_bar_enabled():
        yield
        return
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        datasets.enable_progress_bars()


def list_main_scores(task: "AbsTask", result: "TaskResult") -> list[MtebScore]:
    """Lists the main scores of a task, as mteb computed them, by split and subset."""
    scores = []
    for split, subsets in result.scores.items():
        for entry in subsets:
            value = entry["main_score"]
            is_number = value is not None and math.isfinite(value)
            score = MtebScore(
                task=result.task_name,
                dataset_revision=result.dataset_revision,
                split=split,
                subset=entry["hf_subset"],
                languages=list(entry["languages"]),
                measure=task.metadata.main_score,
                value=float(value) if is_number else None,
            )
            scores.append(score)
    return scores


def print_mteb_scores(record: MtebScores, folder: Path, console: Console) -> None:
    """Prints the table of the scores, and where the files are."""
    console.print(build_mteb_table(record))
    console.print(
        f"results in {folder}: {MTEB_SCORES_FILE}, evaluation_card.json, and mteb's own files in "
        "results/, which mteb.ResultCache reads",
        soft_wrap=True,
        markup=False,
        highlight=False,
    )


def _find_hub_name(model: Mapping[str, Any]) -> str | None:
    """Returns the hub id of a model as released, None if it has none or was trained here."""
    path = str(model.get("path") or "")
    return path if model.get("kind") != "run" and is_hub_id(path) else None


def _find_languages(training: Mapping[str, Any] | None) -> list[str] | None:
    """Returns the languages that a run was trained on, None where nobody says it."""
    languages = (training or {}).get("languages")
    return None if languages is None else list(languages)


def _build_card(
    record: MtebScores,
    tasks: MtebTasks,
    encoder: TextEncoder,
    texts_cut: Mapping[str, float | None],
    model: Mapping[str, Any],
    training: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Builds the card: what decides the scores besides mteb itself."""
    described = []
    for task in tasks.chosen:
        described.append(
            {
                "name": task.metadata.name,
                "type": task.metadata.type,
                "dataset": task.metadata.dataset.get("path"),
                "revision": task.metadata.revision,
                "splits": list(task.eval_splits),
                "subsets": list(task.hf_subsets),
            }
        )
    reading = encoder.reading()
    card = {
        "model": dict(model),
        "training": None if training is None else dict(training),
        "evaluator": f"mteb {record.version}",
        "mteb": {
            "model_name": record.model_name,
            "model_revision": record.model_revision,
            "tasks": described,
        },
        "reading": reading,
        "texts_cut": dict(texts_cut),
        "long_passages": {"policy": "truncate", "window_overlap": None, "windows": 0},
        "postprocess": {"name": "none", "estimated_on": None},
        "precision": encoder.precision,
        "similarity": encoder.similarity,
        "tokenizer_canary": reading.get("tokenizer_canary"),
        **describe_process(str(encoder.device), "mteb"),
    }
    return replace_nan(card)
