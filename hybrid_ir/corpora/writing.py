"""Writes the folder of a corpus (see stored.py): aside first, and put in its place when all of it is there."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from rich.progress import track

from hybrid_ir.data.availability import Availability, order_by_languages
from hybrid_ir.data.content_ids import MISSING_HASH, assign_content_ids
from hybrid_ir.data.hard_negatives import HardNegatives, narrow_ids
from hybrid_ir.files.atomic import flush_to_disk, write_text_atomically
from hybrid_ir.files.download import compute_sha256
from hybrid_ir.system.interruption import Interrupted
from hybrid_ir.types import Source

# P pairs, N ids of queries or passages, L languages
VERSION, CARD, KEY = 2, "corpus.json", "build.key"
LARGE = 500_000  # texts from which a progress bar is worth its line


def hash_build_key(key: Mapping[str, Any]) -> str:
    """Short hash of everything that decides what a build gives."""
    return hashlib.sha256(
        json.dumps([VERSION, key], sort_keys=True, default=str).encode()
    ).hexdigest()[:16]


class CorpusWriter:
    """The files of a corpus; `with` it, add texts column by column, and `finish`.

    With a `key`, which says what is built, what a stopped build of the same key has left beside the folder is there again: whole
    columns, which `has` finds, and what else it needs to go on; `placed` says that it had only not been put in its place yet. Any
    other error than being stopped, or one of the disk, leaves nothing.
    """

    def __init__(self, folder: Path, key: str | None = None):
        self.folder, self.aside, self.key = (
            folder,
            folder.with_name(f".{folder.name}.building"),
            key,
        )
        self.open: dict[Path, TextColumn] = {}

    def __enter__(self) -> "CorpusWriter":
        told = self.aside / KEY
        if self.key is None or not told.exists() or told.read_text(encoding="utf-8") != self.key:
            told.unlink(
                missing_ok=True
            )  # first, so that nobody goes on with what is left if this is stopped
            shutil.rmtree(self.aside, ignore_errors=True)
            self.aside.mkdir(parents=True, exist_ok=True)
            if self.key is not None:
                write_text_atomically(told, self.key, durable=True)
        self.placed = (self.aside / CARD).exists()
        if self.placed:
            self._place()
        return self

    def __exit__(self, kind, *_) -> None:
        stopped = kind is not None and (
            not issubclass(kind, Exception) or issubclass(kind, Interrupted | OSError)
        )
        if kind is not None and not (stopped and self.key is not None):
            shutil.rmtree(self.aside, ignore_errors=True)

    def has(self, role: str, language: str) -> bool:
        return (self.aside / f"{role}-{language}.arrow").exists()

    def column(
        self, role: str, language: str, origin: bool = False, at: tuple[int, int] | None = None
    ) -> "TextColumn":
        path = self.aside / f"{role}-{language}.arrow.writing"
        if path not in self.open:
            if at is not None and not path.exists():  # it was stopped when all was read
                os.replace(path.with_suffix(""), path)
            self.open[path] = TextColumn(path, origin, at)
        return self.open[path]

    def write(
        self, role: str, language: str, texts: Iterable[Sequence[str | None] | pa.Array]
    ) -> None:
        """A whole column in parts, unless an earlier start of the same build has written it."""
        if not self.has(role, language):
            column = self.column(role, language)
            for part in texts:
                column.add(part)
            self.close(role, language)

    def keep(self, role: str, language: str, kept: np.ndarray) -> int:
        """Close a column without some of its rows; what it was stays beside until the end, for a build that goes on.

        Returns how many texts it has then.
        """
        path = self.aside / f"{role}-{language}.arrow.writing"
        self.open.pop(path).flush()
        whole, start, texts = pa.ipc.open_stream(pa.memory_map(str(path))).read_all()["text"], 0, 0
        column = TextColumn(path.with_suffix(".kept"))
        for chunk in whole.chunks:
            own = chunk.filter(pa.array(kept[start : start + len(chunk)]))
            start, texts = start + len(chunk), texts + len(own) - own.null_count
            column.add(own)
        column.close()
        os.replace(column.path, path.with_suffix(""))
        return texts

    def drop(self, language: str) -> None:
        """Have no columns of a language."""
        for role in ("query", "passage"):
            (self.aside / f"{role}-{language}.arrow").unlink()

    def close(self, role: str, language: str) -> None:
        path = self.aside / f"{role}-{language}.arrow.writing"
        self.open.pop(path).close()
        os.replace(path, path.with_suffix(""))

    def finish(
        self,
        source: Source,
        pairs: np.ndarray,
        negatives: np.ndarray | HardNegatives | None = None,
        report: Mapping[str, Any] | None = None,
    ) -> None:
        """Close what is open, work out what follows from the texts, and put the folder in its place."""
        for path in list(self.open):
            role, language = path.name.removesuffix(".arrow.writing").split("-", 1)
            self.close(role, language)
        languages = sorted({path.stem.split("-", 1)[1] for path in self.aside.glob("*-*.arrow")})
        queries, passages = (self._derive(role, languages) for role in ("query", "passage"))
        of_pair = queries[0][pairs[:, 0]], passages[0][pairs[:, 1]]
        order_P = order_by_languages(*of_pair)
        runs = Availability.of(of_pair[0][order_P], of_pair[1][order_P], len(languages))
        sets = [np.packbits(side, axis=1) for side in (runs.queries_RL, runs.passages_RL)]
        arrays = {
            "pairs": narrow_ids(pairs[order_P]),
            "runs": runs.starts_R,
            "run_languages": np.stack(sets, axis=1),
            "query_languages": queries[0],
            "query_content": narrow_ids(queries[1]),
            "passage_languages": passages[0],
            "content": narrow_ids(passages[1]),
        }
        known = HardNegatives.of(
            np.empty((len(pairs), 0), np.int64) if negatives is None else negatives
        )
        if known.shape[1]:
            arrays["negative_starts"] = np.concatenate(
                [[0], np.cumsum(np.diff(known.starts)[order_P])]
            )
            self._write_ids(known, order_P, len(passages[0]))
        for name, values in arrays.items():
            np.save(self.aside / f"{name}.npy", values)
        files = sorted(
            path.name
            for path in self.aside.iterdir()
            if path.suffix in (".arrow", ".npy", ".parquet")
        )
        card = {
            "version": VERSION,
            "key": self.key,
            "languages": languages,
            "queries": len(queries[0]),
            "passages": len(passages[0]),
            "pairs": len(pairs),
            "most_negatives": known.shape[1],
            "source": asdict(source),
            "report": dict(report or {}),
            "files": {name: (self.aside / name).stat().st_size for name in files},
            "sha256": {name: compute_sha256(self.aside / name) for name in files},
        }
        for name in files:
            flush_to_disk(self.aside / name)
        write_text_atomically(
            self.aside / CARD, json.dumps(card, indent=1, ensure_ascii=False), durable=True
        )  # from here on it is whole
        self._place()

    def _place(self) -> None:
        """Put the folder in its place, without what was there to go on with."""
        files = json.loads((self.aside / CARD).read_text(encoding="utf-8"))["files"]
        for path in self.aside.iterdir():
            if path.name not in (*files, CARD, KEY):
                path.unlink()
        os.rename(self.aside, self.folder)
        (self.folder / KEY).unlink(missing_ok=True)

    def _write_ids(self, negatives: HardNegatives, order_P: np.ndarray, passages: int) -> None:
        kind = np.int32 if passages < 1 << 31 else np.int64
        file = np.lib.format.open_memmap(
            self.aside / "negative_ids.npy", "w+", kind, (len(negatives.ids),)
        )
        start = 0
        for block in negatives.blocks(order_P):
            file[start : start + len(block)] = block
            start += len(block)
        file.flush()

    def _derive(self, role: str, languages: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """The languages (as bits) and the content of each id."""
        bits_LN: list[np.ndarray] = []

        def hashed() -> Iterable[np.ndarray]:
            for language in track(
                languages, f"compare {role} texts", disable=size < LARGE, transient=True
            ):
                valid_N, hashes_N = hash_column(self._texts(role, language))
                bits_LN.append(np.packbits(valid_N))
                yield hashes_N

        sizes = {language: len(self._texts(role, language)) for language in languages}
        size = max(sizes.values())
        assert set(sizes.values()) == {size}, f"{role} columns have {sizes} rows"
        content_N = assign_content_ids(hashed())
        sets_NC = np.zeros((size, -(-len(languages) // 8)), np.uint8)
        for i, bits in enumerate(bits_LN):
            sets_NC[:, i >> 3] |= np.unpackbits(bits, count=size) << (7 - (i & 7))
        return sets_NC, content_N

    def _texts(self, role: str, language: str) -> pa.ChunkedArray:
        return pa.ipc.open_stream(
            pa.memory_map(str(self.aside / f"{role}-{language}.arrow"))
        ).read_all()["text"]


def hash_column(column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """Which texts are there, and a hash of each that is good within this process; MISSING for none."""
    valid_N = pc.is_valid(column).to_numpy()
    hashes_N = np.concatenate(
        [
            np.empty(0, np.int64),
            *(
                np.fromiter(map(hash, chunk.to_pylist()), np.int64, len(chunk))
                for chunk in column.chunks
            ),
        ]
    )
    hashes_N[~valid_N] = MISSING_HASH
    return valid_N, hashes_N


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

    def add(
        self, texts: Sequence[str | None] | pa.Array, origins: Sequence[str | None] | None = None
    ) -> None:
        arrays = [
            given if isinstance(given, pa.Array) else pa.array(given, pa.string())
            for given in ([texts] if origins is None else [texts, origins])
        ]
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
