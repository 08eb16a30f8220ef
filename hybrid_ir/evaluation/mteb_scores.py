"""The record of scores that mteb computed: mteb_scores.json in a result folder.

These are mteb's own numbers, under mteb's own names. No table has them in one column with ours.
"""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from rich.table import Table
from rich.text import Text as Plain

from hybrid_ir.evaluation.report import format_number
from hybrid_ir.files.atomic import write_text_atomically

MTEB_SCORES_FILE = "mteb_scores.json"
SHOWN_ROWS = 40  # of the table for the terminal


@dataclass(frozen=True)
class MtebScore:
    """The main score of a task of mteb on one subset of one split.

    Args:
        task: name of the task.
        dataset_revision: of its data.
        split: as `test`.
        subset: as `default`, `en` or `eng_Latn-deu_Latn`.
        languages: of the subset, as mteb writes them.
        measure: mteb's name of the main score of the task, such as `ndcg_at_10`.
        value: the main score; None where mteb has none.
    """

    task: str
    dataset_revision: str
    split: str
    subset: str
    languages: list[str]
    measure: str
    value: float | None


@dataclass(frozen=True)
class MtebScores:
    """What mteb computed for one model.

    Args:
        version: of mteb.
        model_name: of the model in mteb's result files.
        model_revision: likewise.
        scores: one for each task, split and subset.
    """

    version: str
    model_name: str
    model_revision: str
    scores: list[MtebScore]


_ADAPTER = TypeAdapter(MtebScores)


def group_scores(scores: Sequence[MtebScore]) -> dict[tuple[str, str], list[MtebScore]]:
    """Returns the scores of all subsets by task and split, in their order."""
    groups: dict[tuple[str, str], list[MtebScore]] = {}
    for score in scores:
        groups.setdefault((score.task, score.split), []).append(score)
    return groups


def average_values(values: Sequence[float | None]) -> float | None:
    """Returns the mean of scores, None where one of them is missing."""
    if not values or any(value is None for value in values):
        return None
    return sum(values) / len(values)


def write_mteb_scores(scores: MtebScores, folder: Path) -> None:
    """Writes mteb_scores.csv, and mteb_scores.json, with which a result is complete."""
    rows = io.StringIO()
    writer = csv.writer(rows, lineterminator="\n")
    writer.writerow(["task", "dataset_revision", "split", "subset", "measure", "value"])
    for score in scores.scores:
        value = "" if score.value is None else score.value
        place = [score.task, score.dataset_revision, score.split, score.subset]
        writer.writerow([*place, score.measure, value])
    write_text_atomically(folder / "mteb_scores.csv", rows.getvalue())
    text = json.dumps(asdict(scores), indent=2, allow_nan=False, ensure_ascii=False)
    write_text_atomically(folder / MTEB_SCORES_FILE, text)


def read_mteb_scores(folder: Path) -> MtebScores:
    """Reads mteb_scores.json.

    Raises:
        ValueError: It is damaged.
    """
    path = folder / MTEB_SCORES_FILE
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
        return _ADAPTER.validate_python(content)
    except (ValueError, ValidationError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"{path} is not as an evaluation writes it ({reason:.300}): measure the model again"
        ) from error


def build_mteb_table(scores: MtebScores) -> Table:
    """Builds the table for the terminal: a row for each task, split and subset, and their means."""
    table = Table(
        title=Plain(f"mteb {scores.version}: its own main scores, by its own evaluation"),
        title_justify="left",
        title_style="italic",
    )
    for column in ("task", "split", "subset", "measure"):
        table.add_column(column, justify="left")
    table.add_column("mteb's score", justify="right")
    shown = 0
    for (task, split), group in group_scores(scores.scores).items():
        if len(group) > 1:
            for score in group[: SHOWN_ROWS - shown]:
                cells = [Plain(text) for text in (task, split, score.subset, score.measure)]
                table.add_row(*cells, format_number(score.value, score.measure))
                shown += 1
        subset = group[0].subset if len(group) == 1 else f"mean of {len(group)}"
        cells = [Plain(text) for text in (task, split, subset, group[0].measure)]
        mean = average_values([score.value for score in group])
        style = "bold" if len(group) > 1 else None
        table.add_row(*cells, format_number(mean, group[0].measure), style=style)
    if shown >= SHOWN_ROWS:
        table.caption = f"{SHOWN_ROWS} subsets and all means; the rest is in {MTEB_SCORES_FILE}"
    return table
