"""Texts on disk: passages are converted to Arrow files once, and then memory-mapped.

So a corpus of any size is read without being held in memory.
"""

# Shapes: R rows.

import hashlib
import json
import mmap
import operator
import tempfile
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from filelock import FileLock

from hybrid_ir.files.atomic import write_atomically, write_text_atomically
from hybrid_ir.files.checksums import list_file_states
from hybrid_ir.files.problems import Problems
from hybrid_ir.files.texts import is_blank
from hybrid_ir.system.progress import track_progress

VERSION = 2  # of the converted files
BATCH_ROWS = 8192  # passages that are written together
BATCH_BYTES = 1 << 25  # bytes at which they are written even if they are fewer
LARGE = 50_000_000  # bytes of files from which a progress bar is shown
SCHEMA = pa.schema([("id", pa.string()), ("text", pa.string())])
# Language, id, text (a blank one is left out) and the number of the line.
PassageRow = tuple[str, str, str, int]
# Reads the passages of a file, which is a path or something else whose text is its place.
PassageReader = Callable[[Any, Problems], Iterable[PassageRow]]


class DiskTexts(Sequence[str]):
    """A column of texts in memory-mapped Arrow batches. A slice of it is a list.

    Args:
        column: the texts.
        fingerprint: a checksum of all texts, where it is known.
    """

    def __init__(self, column: pa.ChunkedArray, fingerprint: str | None = None):
        self.column = column
        self.fingerprint = fingerprint

    def __len__(self) -> int:
        return len(self.column)

    def __getitem__(self, key):
        if isinstance(key, slice):
            start, stop, step = key.indices(len(self))
            if step == 1:
                return self.column.slice(start, max(stop - start, 0)).to_pylist()
            return [self[row] for row in range(start, stop, step)]
        row = operator.index(key)
        if not -len(self) <= row < len(self):
            raise IndexError(f"row {row} of {len(self)} texts")
        return self.column[row].as_py()

    def __iter__(self) -> Iterator[str]:
        for chunk in self.column.chunks:
            yield from chunk.to_pylist()


@dataclass(frozen=True)
class StoredPassages:
    """The ids and the texts of passages, row by row."""

    ids: DiskTexts
    texts: DiskTexts

    def __len__(self) -> int:
        return len(self.ids)

    def find_rows(self, ids: Iterable[str]) -> dict[str, int]:
        """Returns the row of each of these ids that is among the passages."""
        wanted = pa.array(sorted(set(ids)), pa.string())
        places = pc.fill_null(pc.index_in(self.ids.column, value_set=wanted), -1).to_numpy()
        row_of_id = {}
        for row in np.flatnonzero(places >= 0):
            passage_id = wanted[int(places[row])].as_py()
            row_of_id[passage_id] = int(row)
        return row_of_id


@dataclass(frozen=True)
class ConvertedPassages:
    """The converted passages of each language.

    Args:
        languages: the passages by language.
        empty: how many have no text; they are left out unless that was asked for.
        changed_ids: how many ids were normalised, and the place of the first of them.
    """

    languages: dict[str, StoredPassages]
    empty: int
    changed_ids: tuple[int, str] = (0, "")


def concatenate_passages(parts: Sequence[StoredPassages]) -> StoredPassages:
    """Puts passages one after another, without copying them."""
    ids = _concatenate_texts([part.ids for part in parts])
    texts = _concatenate_texts([part.texts for part in parts])
    return StoredPassages(ids, texts)


def _concatenate_texts(parts: Iterable[DiskTexts]) -> DiskTexts:
    chunks = []
    for part in parts:
        chunks += part.column.chunks
    return DiskTexts(pa.chunked_array(chunks, pa.string()))


def load_or_convert_passages(
    files: Sequence[Path],
    form: str,
    read: PassageReader,
    cache: Path,
    problems: Problems,
    keep_empty: bool = False,
) -> ConvertedPassages | None:
    """Loads the passages of files from the cache, after converting them if they are not in it.

    Args:
        files: the files, which are recognised by their paths, sizes and dates of change.
        form: names everything besides the files that decides what `read` gives.
        read: gives the passages of a file, and adds what is wrong with it to the problems.
        cache: the folder of the cache.
        problems: gets files that are missing, what is wrong in them, and ids that come twice.
        keep_empty: whether passages without a text stay among the others.

    Returns:
        The passages, or None if there were problems.
    """
    missing = [path for path in files if not path.is_file()]
    for path in missing:
        problems.add(f"{path} is missing")
    if missing:
        return None
    state = list_file_states(files)
    return load_or_convert_rows(files, state, form, read, cache, problems, keep_empty)


def load_or_convert_rows(
    files: Sequence[Any],
    state: Sequence[Any],
    form: str,
    read: PassageReader,
    cache: Path,
    problems: Problems,
    keep_empty: bool = False,
    unit: str = "line",
) -> ConvertedPassages | None:
    """Loads passages from the cache, after converting them if they are not in it.

    Args:
        files: what `read` takes, one after another.
        state: what the files are recognised by, as values that JSON can hold.
        form, read, cache, problems, keep_empty: see `load_or_convert_passages`.
        unit: what messages call a line.

    Returns:
        The passages, or None if there were problems.
    """
    folder = cache / "texts"
    key = _compute_cache_key(state, f"{form} with empty" if keep_empty else form)
    passages = _find_converted_passages(folder, key)
    if passages is not None:
        return passages
    folder.mkdir(parents=True, exist_ok=True)
    # A second process waits here, and then finds the passages in the cache.
    with FileLock(folder / f"{key}.lock"):
        passages = _find_converted_passages(folder, key)
        if passages is None:
            is_converted = convert_passages(files, read, folder, key, problems, keep_empty, unit)
            if is_converted:
                passages = _load_converted_passages(folder, key)
    return passages


def _compute_cache_key(state: Sequence[Any], form: str) -> str:
    key = json.dumps([VERSION, form, state])
    return hashlib.sha256(key.encode()).hexdigest()[:32]


def _find_converted_passages(folder: Path, key: str) -> ConvertedPassages | None:
    """Loads passages from the cache. Returns None if they are not there or damaged."""
    try:
        return _load_converted_passages(folder, key)
    except (OSError, ValueError, KeyError):  # Arrow's errors are ValueErrors
        return None


def _load_converted_passages(folder: Path, key: str) -> ConvertedPassages:
    card = json.loads((folder / f"{key}.json").read_text(encoding="utf-8"))
    languages = {}
    for number, (language, row_count) in enumerate(card["languages"].items()):
        path = folder / f"{key}-{number}.arrow"
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        if len(table) != row_count:
            raise OSError(f"{path} holds {len(table)} passages, its card says {row_count}")
        languages[language] = StoredPassages(DiskTexts(table["id"]), DiskTexts(table["text"]))
    return ConvertedPassages(languages, card["empty"], tuple(card["changed_ids"]))


class _ConversionRefused(Exception):
    """The files have problems, so nothing of them may stay in the cache."""


def convert_passages(
    files: Sequence[Any],
    read: PassageReader,
    folder: Path,
    key: str,
    problems: Problems,
    keep_empty: bool = False,
    unit: str = "line",
) -> bool:
    """Writes an Arrow file for each language, and last the card that makes them count.

    Args:
        files: the files with the passages.
        read: see `load_or_convert_passages`.
        folder: where the Arrow files are written.
        key: the beginning of their names.
        problems: gets what is wrong in the files.
        keep_empty: whether passages without a text stay among the others.
        unit: what messages call a line.

    Returns:
        Whether there were no problems. Nothing is written otherwise.
    """
    own_problems = Problems(problems.what)
    empty = 0
    id_hashes = array("q")
    writers: dict[str, _PassageWriter] = {}
    # Files that are not on the disk are as good as large.
    sizes = [path.stat().st_size if isinstance(path, Path) else LARGE + 1 for path in files]
    is_small = sum(sizes) <= LARGE
    try:
        with ExitStack() as stack:
            for path in track_progress(files, "convert passages", is_small):
                for language, passage_id, text, _ in read(path, own_problems):
                    id_hashes.append(hash(passage_id))
                    if is_blank(text):
                        empty += 1
                        if not keep_empty:
                            continue
                    if language not in writers:
                        target = folder / f"{key}-{len(writers)}.arrow"
                        temporary = stack.enter_context(write_atomically(target))
                        writers[language] = stack.enter_context(_PassageWriter(temporary))
                    writers[language].add(passage_id, text)
            _report_repeated_ids(files, read, id_hashes, own_problems, unit)
            if own_problems.number:
                raise _ConversionRefused
    except _ConversionRefused:
        problems.add_all(own_problems)
        return False
    row_counts = {language: writer.row_count for language, writer in writers.items()}
    card = {
        "languages": row_counts,
        "empty": empty,
        "changed_ids": [own_problems.changed_ids, own_problems.first_changed_id],
    }
    write_text_atomically(folder / f"{key}.json", json.dumps(card))
    return True


def _report_repeated_ids(
    files: Sequence[Any], read: PassageReader, id_hashes: array, problems: Problems, unit: str
) -> None:
    """Adds every id that comes twice to the problems, with both of its lines.

    The ids themselves are not held in memory: the files are read again if a hash comes twice.
    """
    hashes, counts = np.unique(np.frombuffer(id_hashes, np.int64), return_counts=True)
    suspects = set(hashes[counts > 1].tolist())
    if not suspects:
        return
    first_places: dict[str, str] = {}
    for path in files:
        for _, passage_id, _, line in read(path, Problems("")):
            if hash(passage_id) not in suspects:
                continue
            place = f"{path}, {unit} {line}"
            if passage_id in first_places:
                first = first_places[passage_id]
                problems.add(f"{place}: the id {passage_id!r} is also in {first}")
            else:
                first_places[passage_id] = place


class _PassageWriter:
    """Writes passages to an Arrow file, in batches of bounded size."""

    def __init__(self, path: Path):
        self.path = path
        self.row_count = 0
        self.bytes = 0  # of the texts that wait, estimated
        self.ids: list[str] = []
        self.texts: list[str] = []

    def __enter__(self) -> "_PassageWriter":
        self.writer = pa.ipc.new_file(str(self.path), SCHEMA)
        return self

    def __exit__(self, *error) -> None:
        self._flush()
        self.writer.close()

    def add(self, passage_id: str, text: str) -> None:
        """Adds a passage, and writes those that wait if they are enough for a batch."""
        self.ids.append(passage_id)
        self.texts.append(text)
        self.bytes += 4 * len(text)
        self.row_count += 1
        if len(self.ids) == BATCH_ROWS or self.bytes > BATCH_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self.ids:
            columns = [pa.array(self.ids, pa.string()), pa.array(self.texts, pa.string())]
            self.writer.write_batch(pa.record_batch(columns, schema=SCHEMA))
        self.ids = []
        self.texts = []
        self.bytes = 0


def spill_to_disk(batches: Iterable[pa.RecordBatch], schema: pa.Schema, folder: Path) -> pa.Table:
    """Writes batches to a temporary file and returns them as a memory-mapped table.

    The file has no name and disappears with the table, however the process ends.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        with pa.ipc.new_stream(file, schema) as writer:
            for batch in batches:
                writer.write_batch(batch)
        file.flush()
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return pa.ipc.open_stream(pa.py_buffer(mapped)).read_all()


def take_rows(column: pa.ChunkedArray, rows_R: pa.Array) -> pa.Array:
    """Returns the texts of rows, null for a null row.

    Arrow's own take would copy the whole column first.
    """
    row_R = pc.fill_null(rows_R, -1).to_numpy(zero_copy_only=False)
    valid = np.flatnonzero(row_R >= 0)
    chunk_ends = np.cumsum([len(chunk) for chunk in column.chunks])
    chunk_of_valid = np.searchsorted(chunk_ends, row_R[valid], side="right")
    # The texts are taken chunk by chunk, and put in the order of the rows at the end.
    parts = [pa.array([], pa.string())]
    for number in np.unique(chunk_of_valid):
        chunk = column.chunk(number)
        chunk_start = chunk_ends[number] - len(chunk)
        rows_in_chunk = row_R[valid[chunk_of_valid == number]] - chunk_start
        parts.append(chunk.take(pa.array(rows_in_chunk)).cast(pa.string()))
    order = np.argsort(chunk_of_valid, kind="stable")
    place_R = np.full(len(row_R), -1)
    place_R[valid[order]] = np.arange(len(valid))
    return pa.concat_arrays(parts).take(pa.array(place_R, mask=place_R < 0))
