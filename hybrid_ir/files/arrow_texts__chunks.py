"""Columns of texts that are larger than memory: written in parts to a file without a name, and read by row."""

# R rows

import mmap
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def spill_to_disk(batches: Iterable[pa.RecordBatch], schema: pa.Schema, folder: Path) -> pa.Table:
    """The batches as a memory-mapped table; its file is gone with it."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:  # nothing of it is left, however the process ends
        with pa.ipc.new_stream(file, schema) as writer:
            for batch in batches:
                writer.write_batch(batch)
        file.flush()
        return pa.ipc.open_stream(pa.py_buffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))).read_all()


def take_rows(column: pa.ChunkedArray, rows_R: pa.Array) -> pa.Array:
    """The texts of rows, null for null; Arrow's own take copies the whole column first."""
    rows = pc.fill_null(rows_R, -1).to_numpy(zero_copy_only=False)
    there = np.flatnonzero(rows >= 0)
    ends = np.cumsum([len(chunk) for chunk in column.chunks])
    numbers = np.searchsorted(ends, rows[there], side="right")
    order = np.argsort(numbers, kind="stable")
    parts = [pa.array([], pa.string())]
    for number in np.unique(numbers):
        chunk = column.chunk(number)
        own = rows[there[numbers == number]] - (ends[number] - len(chunk))
        parts.append(chunk.take(pa.array(own)).cast(pa.string()))
    places = np.full(len(rows), -1)
    places[there[order]] = np.arange(len(there))
    return pa.concat_arrays(parts).take(pa.array(places, mask=places < 0))
