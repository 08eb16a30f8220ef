"""The journal of an import: how far it is, so that an import that was stopped can be resumed."""

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from hybrid_ir.corpora.text_columns import get_column_path, get_open_column_path
from hybrid_ir.files.atomic import flush_to_disk, write_text_atomically
from hybrid_ir.files.records import ROLES

SAVE_INTERVAL = 1.0  # seconds between two saved states, at least
# A row of the log: the hash of the id of a record, how many negatives it has (LEFT_OUT if the
# record is not written), and whether it is in one language only.
LOG_ROW = np.dtype([("id", "<i8"), ("negatives", "<i2"), ("monolingual", "?")])
LEFT_OUT = -1


@dataclass
class ImportState:
    """How far an import is.

    Args:
        parts: how many parts are read to their end.
        blocks: how many blocks of records of the next part are read.
        logged: how many rows the log has.
        sizes: how many ids of queries and of passages are written.
        counts: records that were read, and records that were left out.
        queries: how many queries were read in each language.
        columns: rows and bytes of each column of texts, by role and language as in "query-en".
        problems: the state of the collected problems.
    """

    parts: int = 0
    blocks: int = 0
    logged: int = 0
    sizes: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ROLES, 0))
    counts: dict[str, int] = field(default_factory=lambda: {"records": 0, "records left out": 0})
    queries: dict[str, int] = field(default_factory=dict)
    columns: dict[str, tuple[int, int]] = field(default_factory=dict)
    problems: dict[str, Any] = field(default_factory=dict)


class ImportJournal:
    """Keeps a row for each record that was read in `import.bin`, and states in `import.json`.

    Args:
        folder: the folder in which the corpus is built.
    """

    def __init__(self, folder: Path):
        self.log_path = folder / "import.bin"
        self.state_path = folder / "import.json"
        self._waiting: list[np.ndarray] = []
        self._saved_at = time.monotonic()

    def resume(self) -> ImportState | None:
        """Returns the last state of an earlier start.

        Returns None, and empties the journal, if there is none or some of its files are gone.
        """
        state = self._read_state()
        if state is not None and self._has_files_of(state):
            os.truncate(self.log_path, state.logged * LOG_ROW.itemsize)
            return state
        self.state_path.unlink(missing_ok=True)
        self.log_path.write_bytes(b"")
        return None

    def _read_state(self) -> ImportState | None:
        if not self.state_path.exists():
            return None
        values = json.loads(self.state_path.read_text(encoding="utf-8"))
        if set(values) != {state_field.name for state_field in fields(ImportState)}:
            return None  # of another version
        return ImportState(**values)

    def _has_files_of(self, state: ImportState) -> bool:
        """Returns whether all that a state speaks of is on the disk."""
        if not _has_bytes(self.log_path, state.logged * LOG_ROW.itemsize):
            return False
        folder = self.log_path.parent
        for name, (_, size) in state.columns.items():
            role, language = name.split("-", 1)
            complete_path = get_column_path(folder, role, language)
            open_path = get_open_column_path(folder, role, language)
            if not _has_bytes(complete_path, size) and not _has_bytes(open_path, size):
                return False
        return True

    def add(self, rows: np.ndarray, state: ImportState) -> None:
        """Adds rows of `LOG_ROW` to the log, and counts them in the state."""
        self._waiting.append(rows)
        state.logged += len(rows)

    def read_log(self) -> np.ndarray:
        """Returns all rows of the log."""
        self._flush()
        return np.fromfile(self.log_path, LOG_ROW)

    def save(self, get_state: Callable[[], ImportState]) -> None:
        """Saves a state, unless one was saved a moment ago.

        Args:
            get_state: returns the state, and has everything that it speaks of on the disk.
        """
        if time.monotonic() - self._saved_at < SAVE_INTERVAL:
            return
        self._flush()
        flush_to_disk(self.log_path)
        write_text_atomically(self.state_path, json.dumps(asdict(get_state())), durable=True)
        self._saved_at = time.monotonic()

    def _flush(self) -> None:
        with open(self.log_path, "ab") as file:
            file.writelines(rows.tobytes() for rows in self._waiting)
        self._waiting = []


def _has_bytes(path: Path, size: int) -> bool:
    return path.exists() and path.stat().st_size >= size
