"""What an import has done, beside its columns, so that one that was stopped goes on."""

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hybrid_ir.files.atomic import flush_to_disk, write_text_atomically
from hybrid_ir.files.records import ROLES

PAUSE = 1.0  # seconds between notes of how far it is
LOG_ROW = np.dtype(
    [("id", "<i8"), ("negatives", "<i2"), ("alone", "?")]
)  # hash of its id, how many, whether in one language
LEFT_OUT = -1  # in place of a number of negatives


@dataclass
class ImportState:
    """How far an import is."""

    parts: int = 0  # that are read to their end
    taken: int = 0  # Records of the next one
    logged: int = 0  # records in the log
    sizes: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ROLES, 0))
    counts: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("records", "records left out"), 0)
    )
    queries: dict[str, int] = field(default_factory=dict)  # read, by language
    columns: dict[str, tuple[int, int]] = field(default_factory=dict)  # rows and bytes of each
    problems: dict[str, Any] = field(default_factory=dict)


class ImportJournal:
    """`import.bin` has a row for each record that was read, `import.json` the state after some of them."""

    def __init__(self, folder: Path):
        self.log, self.path = folder / "import.bin", folder / "import.json"
        self.waiting: list[np.ndarray] = []
        self.saved = time.monotonic()

    def start(self) -> ImportState | None:
        """The state that an earlier start has left, if all that it speaks of is there."""
        if self.path.exists():
            state = ImportState(**json.loads(self.path.read_text(encoding="utf-8")))
            if self._has(self.log, state.logged * LOG_ROW.itemsize) and all(
                self._has(self.path.with_name(f"{name}.arrow.writing"), size)
                or self._has(self.path.with_name(f"{name}.arrow"), size)
                for name, (_, size) in state.columns.items()
            ):
                os.truncate(self.log, state.logged * LOG_ROW.itemsize)
                return state
            self.path.unlink()
        self.log.write_bytes(b"")
        return None

    @staticmethod
    def _has(path: Path, size: int) -> bool:
        return path.exists() and path.stat().st_size >= size

    def add(self, rows: np.ndarray, state: ImportState) -> None:
        self.waiting.append(rows)
        state.logged += len(rows)

    def records(self) -> np.ndarray:
        """All rows."""
        self._flush()
        return np.fromfile(self.log, LOG_ROW)

    def save(self, state: Callable[[], ImportState]) -> None:
        """Note a state, unless one was a moment ago; what it speaks of must be on the disk."""
        if time.monotonic() - self.saved < PAUSE:
            return
        self._flush()
        flush_to_disk(self.log)
        write_text_atomically(self.path, json.dumps(asdict(state())), durable=True)
        self.saved = time.monotonic()

    def _flush(self) -> None:
        with open(self.log, "ab") as file:
            file.writelines(rows.tobytes() for rows in self.waiting)
        self.waiting = []
