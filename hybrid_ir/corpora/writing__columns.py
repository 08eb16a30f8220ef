"""A column of texts on disk that can be gone on with: an Arrow stream, to which batches are appended."""

import os
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from hybrid_ir.runs.folder import flush_to_disk

ROWS, BYTES = 1 << 16, 1 << 26  # of a batch of texts in an Arrow file
SCHEMA = pa.schema([("text", pa.string())])
END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"


class TextColumn:
    """Texts of one role and language by id, in an Arrow stream in batches of bounded size; with `origin` where each is from.

    `at` says how many rows and bytes of the file to go on after, as `saved` gave them.
    """

    def __init__(self, path: Path, origin: bool = False, at: tuple[int, int] | None = None):
        self.path, (self.rows, self.bytes), self.size, self.kept = path, at or (0, 0), 0, 0
        self.schema = SCHEMA.append(pa.field("origin", pa.string())) if origin else SCHEMA
        self.waiting: list[list[pa.Array]] = []
        if at is not None:
            os.truncate(path, self.bytes)
        else:
            path.write_bytes(b"")
            self._append(self.schema.serialize())

    def add(self, texts: Sequence[str | None] | pa.Array, origins: Sequence[str | None] | None = None) -> None:
        arrays = [given if isinstance(given, pa.Array) else pa.array(given, pa.string())
                  for given in ([texts] if origins is None else [texts, origins])]
        for start in range(0, len(arrays[0]), ROWS):
            parts = [array.slice(start, ROWS).cast(pa.string()) for array in arrays]
            self.waiting.append(parts)
            self.rows += len(parts[0])
            self.size, self.kept = self.size + parts[0].nbytes, self.kept + len(parts[0])
            if self.size > BYTES or self.kept >= ROWS:
                self.flush()

    def pad(self, rows: int) -> None:
        """Missing texts up to so many rows."""
        while self.rows < rows:
            self.add(pa.nulls(min(ROWS, rows - self.rows), pa.string()))

    def flush(self) -> None:
        if self.waiting:
            columns = [pa.concat_arrays(parts) for parts in zip(*self.waiting, strict=True)]
            self._append(pa.record_batch(columns, schema=self.schema).serialize())
        self.waiting, self.size, self.kept = [], 0, 0

    def saved(self) -> tuple[int, int]:
        """Rows and bytes that are on the disk, which is all."""
        self.flush()
        flush_to_disk(self.path)
        return self.rows, self.bytes

    def close(self) -> None:
        self.flush()
        self._append(END_OF_STREAM)

    def _append(self, message: pa.Buffer | bytes) -> None:
        with open(self.path, "ab") as file:  # not kept open: there may be hundreds of languages
            self.bytes += file.write(message)
