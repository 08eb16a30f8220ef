"""Passages on disk: converted once to Arrow files in the cache, then memory-mapped, so no corpus is held in memory."""

import hashlib
import json
import mmap
import operator
import os
import tempfile
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from rich.progress import track

from hybrid_ir.files.problems import Problems

VERSION = 1  # of the converted files
BATCH_ROWS, BATCH_BYTES = 8192, 1 << 25
LARGE = 50_000_000  # bytes from which a progress bar is worth its line
SCHEMA = pa.schema([("id", pa.string()), ("text", pa.string())])
PassageRow = tuple[str, str, str, int]  # language, id, text (empty: to be left out), line
PassageReader = Callable[[Path, Problems], Iterable[PassageRow]]


class DiskTexts(Sequence[str]):
    """A column of texts in memory-mapped Arrow batches; a slice is a list. The fingerprint, where known, is one of all texts."""

    def __init__(self, column: pa.ChunkedArray, fingerprint: str | None = None):
        self.column, self.fingerprint = column, fingerprint

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
    """Ids and texts of passages, row by row."""

    ids: DiskTexts
    texts: DiskTexts

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, ids: Iterable[str]) -> dict[str, int]:
        """The row of each id that is there."""
        wanted = pa.array(sorted(set(ids)), pa.string())
        places = pc.fill_null(pc.index_in(self.ids.column, value_set=wanted), -1).to_numpy()
        return {wanted[int(places[row])].as_py(): int(row) for row in np.flatnonzero(places >= 0)}


@dataclass(frozen=True)
class ConvertedPassages:
    """Converted passages by language, and how many without text were left out."""

    languages: dict[str, StoredPassages]
    empty: int


def concatenate_passages(parts: Sequence[StoredPassages]) -> StoredPassages:
    """One after another, without copying."""

    def column(texts: Callable[[StoredPassages], DiskTexts]) -> DiskTexts:
        return DiskTexts(
            pa.chunked_array(
                [chunk for part in parts for chunk in texts(part).column.chunks], pa.string()
            )
        )

    return StoredPassages(column(lambda part: part.ids), column(lambda part: part.texts))


def load_or_convert_passages(
    files: Sequence[Path], form: str, read: PassageReader, cache: Path, problems: Problems
) -> ConvertedPassages | None:
    """The passages that `read` finds in the files, from the cache if the same files were converted alike before.

    `form` names everything besides the files that decides what `read` gives. None after adding to `problems`: files that
    are missing, whatever `read` finds wrong, and ids that come twice.
    """
    missing = [path for path in files if not path.is_file()]
    for path in missing:
        problems.add(f"{path} is missing")
    if missing:
        return None
    states = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    key = hashlib.sha256(json.dumps([VERSION, form, states]).encode()).hexdigest()[:32]
    folder = cache / "texts"
    try:
        return load_converted_passages(folder, key)
    except (
        OSError,
        ValueError,
        KeyError,
    ):  # not there yet, or damaged: make it anew (Arrow's errors are ValueErrors)
        return (
            load_converted_passages(folder, key)
            if convert_passages(files, read, folder, key, problems)
            else None
        )


def load_converted_passages(folder: Path, key: str) -> ConvertedPassages:
    card = json.loads((folder / f"{key}.json").read_text(encoding="utf-8"))
    languages = {}
    for number, (language, rows) in enumerate(card["languages"].items()):
        table = pa.ipc.open_file(pa.memory_map(str(folder / f"{key}-{number}.arrow"))).read_all()
        if len(table) != rows:
            raise OSError(f"{key}-{number}.arrow holds {len(table)} passages, its card says {rows}")
        languages[language] = StoredPassages(DiskTexts(table["id"]), DiskTexts(table["text"]))
    return ConvertedPassages(languages, card["empty"])


def convert_passages(
    files: Sequence[Path], read: PassageReader, folder: Path, key: str, problems: Problems
) -> bool:
    """Write the Arrow file of each language, and last the card that makes them count; False after new problems."""
    folder.mkdir(parents=True, exist_ok=True)
    before, empty, hashes = problems.number, 0, array("q")
    large = sum(path.stat().st_size for path in files) > LARGE
    with tempfile.TemporaryDirectory(dir=folder, prefix=".writing-") as name, ExitStack() as stack:
        writers: dict[str, PassageWriter] = {}
        for path in track(files, "convert passages", disable=not large, transient=True):
            for language, passage_id, text, _ in read(path, problems):
                hashes.append(hash(passage_id))
                if not text.strip():
                    empty += 1
                    continue
                if language not in writers:
                    writers[language] = stack.enter_context(
                        PassageWriter(Path(name) / f"{len(writers)}.arrow")
                    )
                writers[language].add(passage_id, text)
        stack.close()
        report_repeated_ids(files, read, hashes, problems)
        if problems.number > before:
            return False
        for number, writer in enumerate(writers.values()):
            os.replace(writer.path, folder / f"{key}-{number}.arrow")
        card = {
            "languages": {language: writer.rows for language, writer in writers.items()},
            "empty": empty,
        }
        (Path(name) / "card.json").write_text(json.dumps(card), encoding="utf-8")
        os.replace(Path(name) / "card.json", folder / f"{key}.json")
    return True


def report_repeated_ids(
    files: Sequence[Path], read: PassageReader, hashes: array, problems: Problems
) -> None:
    """Name every id that comes twice, with both lines; the files are read again only if a hash came twice."""
    values, counts = np.unique(np.frombuffer(hashes, np.int64), return_counts=True)
    suspect = set(values[counts > 1].tolist())
    if not suspect:
        return
    first: dict[str, str] = {}
    for path in files:
        for _, passage_id, _, line in read(path, Problems("")):
            if hash(passage_id) in suspect:
                here = f"{path}, line {line}"
                if passage_id in first:
                    problems.add(f"{here}: the id {passage_id!r} is also in {first[passage_id]}")
                first.setdefault(passage_id, here)


class PassageWriter:
    """An Arrow file that is written in batches of bounded size."""

    def __init__(self, path: Path):
        self.path, self.rows, self.bytes = path, 0, 0
        self.ids: list[str] = []
        self.texts: list[str] = []

    def __enter__(self) -> "PassageWriter":
        self.writer = pa.ipc.new_file(str(self.path), SCHEMA)
        return self

    def __exit__(self, *error) -> None:
        self.flush()
        self.writer.close()

    def add(self, passage_id: str, text: str) -> None:
        self.ids.append(passage_id)
        self.texts.append(text)
        self.bytes += 4 * len(text)
        self.rows += 1
        if len(self.ids) == BATCH_ROWS or self.bytes > BATCH_BYTES:
            self.flush()

    def flush(self) -> None:
        if self.ids:
            self.writer.write_batch(
                pa.record_batch(
                    [pa.array(self.ids, pa.string()), pa.array(self.texts, pa.string())],
                    schema=SCHEMA,
                )
            )
        self.ids, self.texts, self.bytes = [], [], 0


# R rows
def spill_to_disk(batches: Iterable[pa.RecordBatch], schema: pa.Schema, folder: Path) -> pa.Table:
    """The batches as a memory-mapped table; its file is gone with it."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(
        dir=folder
    ) as file:  # nothing of it is left, however the process ends
        with pa.ipc.new_stream(file, schema) as writer:
            for batch in batches:
                writer.write_batch(batch)
        file.flush()
        return pa.ipc.open_stream(
            pa.py_buffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        ).read_all()


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
