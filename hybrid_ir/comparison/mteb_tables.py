"""Tables of the scores that mteb itself computed, which stand in no table with our measures."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hybrid_ir.comparison.identities import build_identity
from hybrid_ir.comparison.load import Result
from hybrid_ir.comparison.systems import System, group_into_systems
from hybrid_ir.comparison.table import Cell, Column, Row, Table, format_value
from hybrid_ir.evaluation.mteb_scores import average_values

# A score is known by its task, the revision of the task's data, the split, the subset and the
# measure; a mean over subsets by all but the subset.
ScoreKey = tuple[str, str, str, str, str]
TaskKey = tuple[str, str, str, str]
SHOWN_SUBSETS = 60  # rows of the table of subsets; its CSV file has all


@dataclass(frozen=True, eq=False)
class MtebComparison:
    """The systems that mteb has measured, beside each other.

    Attributes:
        systems: What was measured.
        tables: The means of tasks, and the scores of subsets where a task has several.
        notes: What readers should know about the results.
    """

    systems: list[System]
    tables: list[Table]
    notes: list[str]

    @property
    def cards(self) -> list[tuple[str, str]]:
        """A title and the card of every result."""
        cards = []
        for system in self.systems:
            for result in system.results:
                seed = "no seed" if result.seed is None else f"seed {result.seed}"
                card = json.dumps(result.card, indent=2, ensure_ascii=False, default=str)
                cards.append((f"{system.label}, {seed}", card))
        return cards

    def to_json_object(self) -> dict[str, Any]:
        """Returns what comparison.json holds of it, besides the tables."""
        systems = []
        for system in self.systems:
            systems.append(
                {
                    "label": system.label,
                    "seeds": system.seeds,
                    "identity": system.identity,
                    "folders": [str(result.folder) for result in system.results],
                }
            )
        return {"notes": list(self.notes), "systems": systems}


def compare_mteb_results(results: Sequence[Result]) -> MtebComparison | None:
    """Compares results of mteb's evaluation; None where there are none.

    Args:
        results: Of `load_mteb_results`.

    Raises:
        ValueError: Two results of one system and seed have different scores of one subset.
    """
    if not results:
        return None
    models = {build_identity(result)["model"] for result in results}
    merged = _merge_results(results)
    systems, notes = group_into_systems(merged, with_model=len(models) > 1)
    versions = sorted({result.metrics["version"] for result in results})
    if len(versions) > 1:
        notes.append(
            f"scores of different versions of mteb are compared ({', '.join(versions)}): their "
            "protocols may differ"
        )
    values = [_collect_values(system) for system in systems]
    keys = _list_keys(values)
    notes += _describe_missing_subsets(systems, values, keys)
    note = (
        f"Computed by mteb {', '.join(versions)}, not by us; nothing is tested. ± standard "
        "deviation over seeds."
    )
    tables = [_build_task_table(systems, values, keys, note)]
    subset_table = _build_subset_table(systems, values, keys, note)
    if subset_table.rows:
        tables.append(subset_table)
    return MtebComparison(systems, tables, notes)


def _merge_results(results: Sequence[Result]) -> list[Result]:
    """Returns one result for each system and seed, whose tasks may have been measured apart.

    Raises ValueError naming the folders that have different scores of one subset.
    """
    members: dict[tuple[str | None, str, int | None], list[Result]] = {}
    for result in results:
        identity_text = json.dumps(build_identity(result), sort_keys=True, default=str)
        members.setdefault((result.name, identity_text, result.seed), []).append(result)
    merged = []
    problems = []
    for group in members.values():
        settings: dict[ScoreKey, dict[str, Any]] = {}
        for result in group:
            for score in result.metrics["settings"]:
                first = settings.setdefault(_get_key(score), score)
                if first["value"] != score["value"]:
                    problems.append(
                        f"{group[0].folder} and {result.folder} are of one system, with different "
                        f"scores of {score['task']}, {score['split']}, {score['subset']}: leave "
                        "one of them out"
                    )
        metrics = {**group[0].metrics, "settings": list(settings.values())}
        merged.append(replace(group[0], metrics=metrics))
    if problems:
        raise ValueError("; ".join(problems))
    return merged


def _get_key(score: dict[str, Any]) -> ScoreKey:
    return (
        score["task"],
        score["dataset_revision"],
        score["split"],
        score["measure"],
        score["subset"],
    )


def _collect_values(system: System) -> dict[ScoreKey, list[float]]:
    """Returns the values of every score of a system, one for each seed that has it."""
    values: dict[ScoreKey, list[float]] = {}
    for result in system.results:
        for score in result.metrics["settings"]:
            if score["value"] is not None:
                values.setdefault(_get_key(score), []).append(score["value"])
    return values


def _list_keys(values: Sequence[dict[ScoreKey, list[float]]]) -> list[ScoreKey]:
    """Returns every score that a system has, each once."""
    keys: dict[ScoreKey, None] = {}
    for scores in values:
        keys.update(dict.fromkeys(scores))
    return list(keys)


def _group_by_task(keys: Sequence[ScoreKey]) -> dict[TaskKey, list[ScoreKey]]:
    """Returns the scores of the subsets of every task, revision, split and measure."""
    groups: dict[TaskKey, list[ScoreKey]] = {}
    for key in keys:
        groups.setdefault(key[:4], []).append(key)
    return groups


def _average_subsets(
    values: dict[ScoreKey, list[float]], subsets: Sequence[ScoreKey], seeds: int
) -> list[float]:
    """Returns the mean over subsets of each seed; none where a subset or a seed is missing."""
    if any(len(values.get(key, ())) != seeds for key in subsets):
        return []
    means = []
    for seed in range(seeds):
        means.append(average_values([values[key][seed] for key in subsets]))
    return means


def _build_task_table(
    systems: Sequence[System],
    values: Sequence[dict[ScoreKey, list[float]]],
    keys: Sequence[ScoreKey],
    note: str,
) -> Table:
    """Builds the table with a row for each task and split: means over subsets."""
    names = _name_tasks(keys)
    rows = []
    for task_key, subsets in _group_by_task(keys).items():
        cells = []
        for system, scores in zip(systems, values, strict=True):
            means = _average_subsets(scores, subsets, len(system.results))
            cells.append(_build_cell(means))
        labels = (names[task_key], task_key[2], str(len(subsets)), task_key[3])
        rows.append(Row(labels, _mark_best(cells)))
    return Table(
        file="mteb_tasks",
        title="mteb's own main scores: mean over the subsets of a task",
        heads=("task", "split", "subsets", "measure"),
        columns=tuple(Column(system.label) for system in systems),
        rows=tuple(rows),
        note=note,
    )


def _build_subset_table(
    systems: Sequence[System],
    values: Sequence[dict[ScoreKey, list[float]]],
    keys: Sequence[ScoreKey],
    note: str,
) -> Table:
    """Builds the table with a row for each subset, of the tasks that have several."""
    names = _name_tasks(keys)
    rows = []
    for task_key, subsets in _group_by_task(keys).items():
        if len(subsets) < 2:
            continue
        for key in subsets:
            cells = [_build_cell(scores.get(key, [])) for scores in values]
            rows.append(Row((names[task_key], task_key[2], key[4]), _mark_best(cells)))
    return Table(
        file="mteb_subsets",
        title="mteb's own main scores by subset",
        heads=("task", "split", "subset"),
        columns=tuple(Column(system.label) for system in systems),
        rows=tuple(rows),
        note=note,
        most_rows=SHOWN_SUBSETS,
    )


def _name_tasks(keys: Sequence[ScoreKey]) -> dict[TaskKey, str]:
    """Returns the name of each task, with the revision of its data where there are several."""
    revisions: dict[str, set[str]] = {}
    for task, revision, *_ in keys:
        revisions.setdefault(task, set()).add(revision)
    names = {}
    for task_key in _group_by_task(keys):
        task, revision, *_ = task_key
        names[task_key] = task
        if len(revisions[task]) > 1:
            names[task_key] = f"{task}@{revision[:8]}"
    return names


def _build_cell(values: Sequence[float]) -> Cell:
    """Returns the mean over seeds with its standard deviation."""
    if not values:
        return Cell()
    mean = float(np.mean(values))
    if len(values) == 1:
        return Cell(format_value(mean, "mteb"), mean)
    sd = float(np.std(values, ddof=1))
    return Cell(format_value(mean, "mteb"), mean, sd=sd, sd_text=format_value(sd, "mteb"))


def _mark_best(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """Marks the highest values of a row, if there are rivals."""
    values = [cell.value for cell in cells if cell.value is not None]
    if len(values) < 2:
        return tuple(cells)
    best_text = format_value(max(values), "mteb")
    return tuple(replace(cell, best=cell.text == best_text) for cell in cells)


def _describe_missing_subsets(
    systems: Sequence[System],
    values: Sequence[dict[ScoreKey, list[float]]],
    keys: Sequence[ScoreKey],
) -> list[str]:
    """Says which systems have a part of the subsets of a task, and so no mean of it."""
    notes = []
    names = _name_tasks(keys)
    for task_key, subsets in _group_by_task(keys).items():
        for system, scores in zip(systems, values, strict=True):
            present = [key for key in subsets if len(scores.get(key, ())) == len(system.results)]
            if 0 < len(present) < len(subsets):
                notes.append(
                    f"{system.label} has {len(present)} of {len(subsets)} subsets of "
                    f"{names[task_key]}, {task_key[2]}, and so no mean of it"
                )
    return notes
