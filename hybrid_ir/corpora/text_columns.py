"""The Arrow files of a corpus that hold the texts of one role and language by id."""

# N ids of queries or passages

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hybrid_ir.data.content_ids import MISSING_HASH
from hybrid_ir.files.atomic import flush_to_disk

BATCH_ROWS = 1 << 16  # texts of a record batch, at most
BATCH_BYTES = 1 << 26  # bytes of texts after which a record batch is written
SCHEMA = pa.schema([("text", pa.string())])
UNFINISHED = ".writing"  # ending of a column that may still grow
END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"


class TextColumnWriter:
    """Writes texts to an Arrow stream, in record batches of bounded size.

    Args:
        path: the file to write.
        with_origins: whether a second column says where each text comes from.
        resume_at: the rows and bytes of an existing file to go on after, as `save` returned them;
            by default the file is written anew.
    """

    def __init__(
        self, path: Path, with_origins: bool = False, resume_at: tuple[int, int] | None = None
    ):
        self.path = path
        self.schema = SCHEMA
        if with_origins:
            self.schema = SCHEMA.append(pa.field("origin", pa.string()))
        self.rows = 0
        self.bytes = 0
        self._waiting: list[list[pa.Array]] = []
        self._waiting_rows = 0
        self._waiting_bytes = 0
        if resume_at is None:
            path.write_bytes(b"")
            self._append(self.schema.serialize())
        else:
            self.rows, self.bytes = resume_at
            os.truncate(path, self.bytes)

    def add(
        self, texts: Sequence[str | None] | pa.Array, origins: Sequence[str | None] | None = None
    ) -> None:
        """Adds texts at the end, None for an id without a text.

        Args:
            texts: the texts of the next ids.
            origins: where each text comes from, for a writer `with_origins`.
        """
        columns = [_to_array(texts)]
        if origins is not None:
            columns.append(_to_array(origins))
        for start in range(0, len(columns[0]), BATCH_ROWS):
            parts = [column.slice(start, BATCH_ROWS).cast(pa.string()) for column in columns]
            self._waiting.append(parts)
            self.rows += len(parts[0])
            self._waiting_rows += len(parts[0])
            self._waiting_bytes += parts[0].nbytes
            if self._waiting_bytes > BATCH_BYTES or self._waiting_rows >= BATCH_ROWS:
                self.flush()

    def pad_to(self, rows: int) -> None:
        """Adds missing texts until the column has so many rows."""
        while self.rows < rows:
            self.add(pa.nulls(min(BATCH_ROWS, rows - self.rows), pa.string()))

    def flush(self) -> None:
        """Writes the texts that are waiting as one record batch."""
        if self._waiting:
            columns = [pa.concat_arrays(parts) for parts in zip(*self._waiting, strict=True)]
            self._append(pa.record_batch(columns, schema=self.schema).serialize())
        self._waiting = []
        self._waiting_rows = 0
        self._waiting_bytes = 0

    def save(self) -> tuple[int, int]:
        """Writes everything to the disk, and returns the rows and bytes that are there."""
        self.flush()
        flush_to_disk(self.path)
        return self.rows, self.bytes

    def close(self) -> None:
        """Writes what is waiting and the end of the stream."""
        self.flush()
        self._append(END_OF_STREAM)

    def _append(self, message: pa.Buffer | bytes) -> None:
        # The file is not kept open: there may be hundreds of languages.
        with open(self.path, "ab") as file:
            self.bytes += file.write(message)


def get_column_path(folder: Path, role: str, language: str) -> Path:
    """Returns the path of a complete column in the folder of a corpus."""
    return folder / f"{role}-{language}.arrow"


def get_open_column_path(folder: Path, role: str, language: str) -> Path:
    """Returns the path of a column that may still grow."""
    complete_path = get_column_path(folder, role, language)
    return complete_path.with_name(complete_path.name + UNFINISHED)


def read_text_column(path: Path) -> pa.ChunkedArray:
    """Memory-maps the texts of an Arrow stream."""
    return pa.ipc.open_stream(pa.memory_map(str(path))).read_all()["text"]


def hash_text_column(column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """Hashes the texts of a column.

    Returns:
        Whether each text is there (N), and a hash of each that is good within this process (N),
        `MISSING_HASH` where there is no text.
    """
    is_there_N = pc.is_valid(column).to_numpy()
    hashes = [np.empty(0, np.int64)]
    for chunk in column.chunks:
        hashes.append(np.fromiter(map(hash, chunk.to_pylist()), np.int64, len(chunk)))
    hashes_N = np.concatenate(hashes)
    hashes_N[~is_there_N] = MISSING_HASH
    return is_there_N, hashes_N


def _to_array(texts: Sequence[str | None] | pa.Array) -> pa.Array:
    return texts if isinstance(texts, pa.Array) else pa.array(texts, pa.string())
