"""Builds an index: shards of vectors by any number of processes, then the rest by one of them.

A shard is complete or not there, so nothing is lost when a process is killed.

Shapes: N passages, S texts of a shard, B passages of a block, D width.
"""

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from filelock import FileLock, Timeout

from hybrid_ir.files.atomic import flush_folder_to_disk, write_atomically, write_text_atomically
from hybrid_ir.files.checksums import hash_values
from hybrid_ir.index.card import (
    CARD,
    VERSION,
    describe_build,
    describe_files,
    describe_probes,
    hash_weights,
    read_index_card,
    write_index_card,
)
from hybrid_ir.index.layout import (
    DTYPES,
    FAISS_FILE,
    JOB_FILE,
    PASSAGE_FILE,
    PASSAGE_SCHEMA,
    QUALITY_FILE,
    IndexSettings,
)
from hybrid_ir.index.passages import PassagesToIndex
from hybrid_ir.index.search_methods import build_faiss_file
from hybrid_ir.index.shards import ShardUnit, encode_distinct_texts
from hybrid_ir.index.vectors import (
    QUANTISER_FILE,
    FloatVectors,
    fit_quantiser,
    name_shard,
    read_notes,
    write_tensors,
)
from hybrid_ir.model.adapters import join_text_pair
from hybrid_ir.system.progress import show_progress
from hybrid_ir.types import Benchmark, Role, Text, TextEncoder


@dataclass(frozen=True)
class IndexJob:
    """The building of one index, which several processes may share.

    Args:
        passages: that are indexed.
        encoder: makes the vectors.
        settings: how the index is stored and searched.
        to: the folder of the index.
        benchmark: whose passages these are, to measure what the search costs; None for none.
        report: is told how many of how many texts are encoded, after each shard; None for nobody.
    """

    passages: PassagesToIndex
    encoder: TextEncoder
    settings: IndexSettings
    to: Path
    benchmark: Benchmark | None = None
    report: Callable[[int, int], None] | None = None

    def __post_init__(self):
        if len(self.passages) == 0:
            raise ValueError(f"{self.passages.source.name}: there is no passage to index")

    @property
    def building(self) -> Path:
        """The folder of the index until it is complete."""
        return self.to.with_name(f".{self.to.name}.building")

    @property
    def locks(self) -> Path:
        """The folder of the locks by which processes share the work."""
        return self.to.with_name(f".{self.to.name}.locks")

    @cached_property
    def choices(self) -> dict[str, Any]:
        """Everything that decides the bytes of the shards, as plain values."""
        choices = {
            "model": hash_weights(self.encoder),
            "reading": self.encoder.reading(),
            "passages": self.passages.compute_fingerprint(),
            "dtype": self.settings.dtype,
            "texts_per_shard": self.settings.texts_per_shard,
        }
        if self.benchmark is not None:
            choices["queries"] = hash_values(list(self.benchmark.queries))
        return json.loads(json.dumps(choices, default=str))

    def begin(self) -> None:
        """Notes what decides the vectors, in `job.json`.

        Raises:
            ValueError: the folder has shards of another model or of other passages.
        """
        if self.to.exists():
            return
        self.building.mkdir(parents=True, exist_ok=True)
        path = self.building / JOB_FILE
        with self._lock("job"):
            if not path.exists():
                text = json.dumps(self.choices, ensure_ascii=False)
                write_text_atomically(path, text, durable=True)
                return
            earlier = json.loads(path.read_text(encoding="utf-8"))
        changed = [key for key in self.choices if self.choices[key] != earlier.get(key)]
        if changed:
            raise ValueError(
                f"{self.building} has shards of another index ({', '.join(changed)} differ): "
                "delete it, or name another to="
            )

    def require_same_index(self, card: Mapping[str, Any]) -> None:
        """Refuses a complete index that is not the one which this job would build.

        Raises:
            ValueError: it names what differs.
        """
        changed = []
        for key in ("model", "reading", "passages", "dtype", "texts_per_shard"):
            if card["choices"].get(key) != self.choices[key]:
                changed.append(key)
        for key in ("quantise", "faiss", "rescore_multiplier"):
            if card["search"][key] != getattr(self.settings, key):
                changed.append(key)
        if changed:
            raise ValueError(
                f"to={self.to} is there already, and is another index ({', '.join(changed)} "
                "differ): name a new folder, nothing is overwritten"
            )

    def list_units(self) -> list[ShardUnit]:
        """Lists all units of work, those that are done, too."""
        units = self._cut("passage", "vectors", len(self.passages))
        if self.benchmark is not None:
            units += self._cut("query", "queries", len(self.benchmark.queries))
        return units

    def _cut(self, role: Role, kind: str, size: int) -> list[ShardUnit]:
        step = self.settings.texts_per_shard
        units = []
        for number, start in enumerate(range(0, size, step)):
            path = self.building / name_shard(kind, number)
            units.append(ShardUnit(role, start, min(size, start + step), path))
        return units

    def list_shards(self, role: Role) -> list[Path]:
        """Returns the files of the vectors of a role, in the order of their rows."""
        return [unit.path for unit in self.list_units() if unit.role == role]

    def work(self) -> None:
        """Encodes the shards that no process has encoded or is encoding.

        Then it waits for the other processes, and encodes the shards that they leave.
        """
        units = self.list_units()
        done = [unit for unit in units if unit.path.exists()]
        self._report(units)
        # Of the shards as they are: a small collection is one that is not full.
        texts = sum(unit.stop - unit.start for unit in units)
        texts_per_shard = -(-texts // max(1, len(units)))
        with show_progress("encode shards", len(units), len(done), texts_per_shard) as progress:
            for wait in (False, True):
                for unit in units:
                    if not self._is_done(unit) and self._encode_alone(unit, wait):
                        progress.advance()
                        self._report(units)

    def _report(self, units: Sequence[ShardUnit]) -> None:
        """Says how many texts are encoded, where somebody wants to know."""
        if self.report is None:
            return
        done = 0
        total = 0
        for unit in units:
            total += unit.stop - unit.start
            if self._is_done(unit):
                done += unit.stop - unit.start
        self.report(done, total)

    def _is_done(self, unit: ShardUnit) -> bool:
        return unit.path.exists() or self.to.exists()

    def _lock(self, name: str, timeout: float = -1) -> FileLock:
        self.locks.mkdir(parents=True, exist_ok=True)
        return FileLock(self.locks / f"{name}.lock", timeout=timeout)

    def _encode_alone(self, unit: ShardUnit, wait: bool) -> bool:
        """Encodes a shard, unless another process has done it or is doing it.

        Args:
            unit: the shard.
            wait: whether to wait for a process that is doing it.

        Returns:
            Whether the shard is done.
        """
        try:
            with self._lock(unit.path.stem, timeout=-1 if wait else 0):
                if not self._is_done(unit):
                    self._encode_unit(unit)
        except Timeout:
            return False
        return True

    def _encode_unit(self, unit: ShardUnit) -> None:
        texts: Sequence[Text]
        if unit.role == "query":
            texts = self.benchmark.queries[unit.start : unit.stop]
        else:
            texts = self.passages.texts[unit.start : unit.stop]
        cut_before = self.encoder.texts_cut[unit.role]
        vectors_SD = encode_distinct_texts(self.encoder, texts, unit.role, unit.start)
        dtype = torch.float32 if unit.role == "query" else DTYPES[self.settings.dtype]
        notes = {}
        if cut_before is not None:
            notes["texts_cut"] = str(self.encoder.texts_cut[unit.role] - cut_before)
        write_tensors(unit.path, {"vectors": vectors_SD.to(dtype)}, notes)

    def finish(
        self,
        describe: Mapping[str, Any],
        measure: Callable[["IndexJob"], Mapping[str, Any]] | None = None,
    ) -> None:
        """Makes the index of the shards, as the only process that does, and gives it its name.

        Args:
            describe: parts of the card that are known elsewhere: `model`, `settings`, `place`.
            measure: measures what the search costs, for `quality.json`; None for nothing.
        """
        with self._lock("finish"):
            if not self.to.exists():
                self._finish(describe, measure)
        shutil.rmtree(self.locks, ignore_errors=True)

    def _finish(
        self,
        describe: Mapping[str, Any],
        measure: Callable[["IndexJob"], Mapping[str, Any]] | None,
    ) -> None:
        texts_cut = self._count_texts_cut()
        self._unify_equal_texts()
        self._write_passages()
        vectors = FloatVectors(self.list_shards("passage"))
        self._write_search_files(vectors)
        if measure is not None:
            text = json.dumps(measure(self), indent=1, ensure_ascii=False)
            write_text_atomically(self.building / QUALITY_FILE, text)
        # What a killed process left under temporary names goes as well, and its card. The job
        # stays: without it, shards of another model could be taken for those of this one.
        for pattern in (".*", "queries-*", CARD):
            for path in self.building.glob(pattern):
                path.unlink()
        card = {
            "version": VERSION,
            **describe,
            "reading": self.choices["reading"],
            "similarity": self.encoder.similarity,
            "width": vectors.width,
            "dtype": self.settings.dtype,
            "passages": len(self.passages),
            "languages": self.passages.count_languages(),
            "passages_left_out": self.passages.left_out,
            "texts_cut": texts_cut,
            "source": {
                "name": self.passages.source.name,
                "description": self.passages.source.description,
                "licence": self.passages.source.licence,
                "citation": self.passages.source.citation,
            },
            "search": {
                "quantise": self.settings.quantise,
                "rescore_multiplier": self.settings.rescore_multiplier,
                "faiss": self.settings.faiss,
            },
            "choices": self.choices,
            "probes": describe_probes(self.encoder),
            "device": str(self.encoder.device),
            **describe_build(),
            "files": describe_files(self.building),
        }
        write_index_card(self.building, card)
        flush_folder_to_disk(self.building)
        os.rename(self.building, self.to)
        flush_folder_to_disk(self.to.parent)

    def _count_texts_cut(self) -> int | None:
        """Counts passages that are longer than the encoder reads; None where nobody counted."""
        total = 0
        for path in self.list_shards("passage"):
            notes = read_notes(path)
            if "texts_cut" not in notes:
                return None
            total += int(notes["texts_cut"])
        return total

    def _unify_equal_texts(self) -> None:
        """Gives passages of the very same text in different shards the very same vector.

        The last bits of a vector depend on what is encoded beside it, and would decide ties.
        """
        first_N = self.passages.find_first_rows()
        vectors = FloatVectors(self.list_shards("passage"))
        for unit in self.list_units():
            if unit.role == "query":
                continue
            first_S = first_N[unit.start : unit.stop]
            places = np.flatnonzero(first_S < unit.start)
            if len(places) == 0:
                continue
            shard_SD = vectors.shards.parts[unit.start // self.settings.texts_per_shard].clone()
            shard_SD[torch.from_numpy(places)] = vectors.shards.take(first_S[places])
            write_tensors(unit.path, {"vectors": shard_SD}, read_notes(unit.path))

    def _write_passages(self) -> None:
        with (
            write_atomically(self.building / PASSAGE_FILE, durable=True) as temporary,
            pa.OSFile(str(temporary), "wb") as file,
            pa.ipc.new_file(file, PASSAGE_SCHEMA) as writer,
        ):
            for start, ids, texts in self.passages.iterate_blocks():
                codes = self.passages.codes_N[start : start + len(ids)].tolist()
                columns = {
                    "id": [str(passage_id) for passage_id in ids],
                    "language": [self.passages.languages[code] for code in codes],
                    "text": [join_text_pair(text) for text in texts],
                }
                writer.write_batch(pa.RecordBatch.from_pydict(columns, PASSAGE_SCHEMA))

    def _write_search_files(self, vectors: FloatVectors) -> None:
        """Writes codes, or an index of FAISS, where one of them was asked for."""
        if self.settings.quantise != "none":
            quantiser = fit_quantiser(self.settings.quantise, vectors)
            for number, (_, block_BD) in enumerate(vectors.iterate_blocks()):
                path = self.building / name_shard("codes", number)
                write_tensors(path, {"codes": quantiser.encode(block_BD)})
            write_tensors(self.building / QUANTISER_FILE, quantiser.get_tensors())
        if self.settings.faiss != "none":
            with write_atomically(self.building / FAISS_FILE, durable=True) as temporary:
                build_faiss_file(self.settings.faiss, vectors, temporary)


def build_index(
    job: IndexJob,
    describe: Mapping[str, Any],
    measure: Callable[[IndexJob], Mapping[str, Any]] | None = None,
    encode_only: bool = False,
) -> None:
    """Builds an index together with all other processes that do the same.

    Args:
        job: the index.
        describe: see `IndexJob.finish`.
        measure: see `IndexJob.finish`.
        encode_only: whether another process makes the index of the shards.

    Raises:
        ValueError: the folder is there already and is another index, or has shards of another one.
    """
    if not job.to.exists():
        job.begin()
        job.work()
        if not encode_only:
            job.finish(describe, measure)
        return
    if not (job.to / CARD).is_file():
        raise ValueError(
            f"to={job.to} is there already, and is no index: name a new folder, nothing is "
            "overwritten"
        )
    job.require_same_index(read_index_card(job.to))
