"""Reads the file of an offline W&B run: the log of records that `wandb sync` would upload."""

import json
import struct
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wandb.proto.wandb_internal_pb2 import Record

from tests.support.command_line import wait_until

FILE_HEADER = struct.Struct("<4sHB")  # letters, magic number and version
# The format is that of LevelDB's logs: records in fragments, none of them across two blocks.
BLOCK_BYTES = 32768
FRAGMENT_HEADER = struct.Struct("<IHB")  # checksum, bytes, place in its record
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4

# Variables with which W&B stays offline and silent.
OFFLINE = {"WANDB_SILENT": "true", "WANDB_API_KEY": "", "WANDB_MODE": "offline"}


@dataclass
class OfflineRun:
    """What an offline run would show on W&B.

    Attributes:
        name: Of the run.
        group: Of the run.
        config: Every key of its config.
        history: The logged values, one dictionary for each call.
        summary: Values by key.
        best: How the summary of a metric is made, such as ["max", "last"], by metric.
        artifacts: The names of the files of each artifact, by its type.
        aliases: The aliases of each artifact, by its type.
        preempted: Whether the run was marked as one to start again.
    """

    name: str = ""
    group: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    best: dict[str, list[str]] = field(default_factory=dict)
    artifacts: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    aliases: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    preempted: bool = False

    def list_keys(self) -> set[str]:
        """Returns every key that was logged, without W&B's own."""
        keys = set()
        for row in self.history:
            keys.update(key for key in row if not key.startswith("_"))
        return keys


def read_offline_run(folder: Path) -> OfflineRun:
    """Reads the only offline run below the folder of a run or of results."""
    (path,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    return read_run_file(path)


def read_run_file(path: Path) -> OfflineRun:
    """Reads the file of an offline run, once W&B's service has written its end.

    The service is a process of its own, which may still write when the run has finished.
    """
    wait_until(lambda: _has_end(path))
    run = OfflineRun()
    for record in read_records(path):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run.name = record.run.display_name
            run.group = record.run.run_group
            _update(run.config, record.run.config.update)
        elif kind == "config":
            _update(run.config, record.config.update)
        elif kind == "summary":
            _update(run.summary, record.summary.update)
        elif kind == "history":
            row = {}
            _update(row, record.history.item)
            run.history.append(row)
        elif kind == "metric":
            _add_metric(run, record.metric)
        elif kind == "artifact":
            files = [entry.path for entry in record.artifact.manifest.contents]
            run.artifacts[record.artifact.type] += files
            run.aliases[record.artifact.type] += list(record.artifact.aliases)
        elif kind == "preempting":
            run.preempted = True
    return run


def _has_end(path: Path) -> bool:
    return any(record.WhichOneof("record_type") == "exit" for record in read_records(path))


def _update(values: dict[str, Any], items) -> None:
    for item in items:
        key = item.key or item.nested_key[-1]
        target = values
        for part in item.nested_key[:-1]:
            target = target.setdefault(part, {})
        target[key] = json.loads(item.value_json)


def _add_metric(run: OfflineRun, metric) -> None:
    summary = metric.summary
    names = ("min", "max", "mean", "last", "best", "none")
    run.best[metric.name or metric.glob_name] = [name for name in names if getattr(summary, name)]


def read_records(path: Path) -> list[Record]:
    """Reads the records of the file of an offline run."""
    data = path.read_bytes()
    if len(data) < FILE_HEADER.size:
        return []
    letters, _, _ = FILE_HEADER.unpack_from(data)
    assert letters == b":W&B"
    position = FILE_HEADER.size
    records = []
    parts: list[bytes] = []
    while position + FRAGMENT_HEADER.size <= len(data):
        left_in_block = BLOCK_BYTES - position % BLOCK_BYTES
        if left_in_block < FRAGMENT_HEADER.size:
            position += left_in_block
            continue
        _, size, place = FRAGMENT_HEADER.unpack_from(data, position)
        position += FRAGMENT_HEADER.size
        if position + size > len(data):
            break  # still being written
        parts.append(data[position : position + size])
        position += size
        if place in (FULL, LAST):
            records.append(Record.FromString(b"".join(parts)))
            parts = []
    return records
