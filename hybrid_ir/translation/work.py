"""Translation in units of work: each a file that is whole or not there, shared by all processes that want to work."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from filelock import FileLock, Timeout
from rich.console import Console
from rich.progress import Progress

from hybrid_ir.corpora.writing import CorpusWriter
from hybrid_ir.data.corpus import ParallelCorpus, iterate_blocks
from hybrid_ir.files.atomic import flush_to_disk, write_atomically
from hybrid_ir.files.languages import explain_wrong_code
from hybrid_ir.files.records import ROLES
from hybrid_ir.system.progress import PROGRESS_COLUMNS
from hybrid_ir.translation.families import Translator
from hybrid_ir.translation.quality import QualityFilters
from hybrid_ir.types import Source

SCHEMA = pa.schema(
    [("id", pa.int64()), ("source", pa.string()), ("text", pa.string()), ("reason", pa.string())]
)


@dataclass(frozen=True)
class Unit:
    """Some texts of one role that lack a language, and the file of their translations."""

    role: str
    language: str
    ids: np.ndarray
    path: Path


@dataclass(frozen=True)
class TranslationJob:
    """A corpus to be translated from one of its languages into others, in a folder that survives a kill."""

    corpus: ParallelCorpus
    source: str
    languages: Sequence[str]
    folder: Path
    unit_size: int = 2048

    def __post_init__(self):
        if len(self.corpus.parts) > 1:
            raise ValueError("a mixture has no ids of its own: translate its corpora one by one")
        if told := [told for language in self.languages if (told := explain_wrong_code(language))]:
            raise ValueError(f"languages: {'; '.join(told)}")
        if self.source not in self.corpus.languages:
            raise ValueError(
                f"source={self.source!r}: corpus '{self.corpus.source.name}' has {list(self.corpus.languages)}"
            )
        if self.source in self.languages or not self.languages:
            raise ValueError(
                f"languages={list(self.languages)} must name other languages than source={self.source}"
            )

    def begin(self, decides: dict) -> None:
        """Note what decides the translations; ValueError where the folder has work of another job."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path, text = (
            self.folder / "job.json",
            json.dumps(decides, indent=1, sort_keys=True, default=str),
        )
        with FileLock(self.folder / ".job.lock"):
            if path.exists() and path.read_text() != text:
                changed = [
                    key
                    for key, value in json.loads(path.read_text()).items()
                    if value != json.loads(text).get(key)
                ]
                raise ValueError(
                    f"{self.folder} has work of another job ({', '.join(changed)} differ): delete it, or name "
                    "another to="
                )
            path.write_text(text)

    def units(self) -> list[Unit]:
        found = []
        for role in ROLES:
            sets = getattr(self.corpus.index, f"{role}_languages")
            ids, known = (
                np.arange(len(sets)),
                {code: number for number, code in enumerate(self.corpus.languages)},
            )
            has_source = sets.has(ids, known[self.source])
            for language in self.languages:
                missing = np.flatnonzero(
                    has_source & ~(sets.has(ids, known[language]) if language in known else False)
                )
                found += [
                    Unit(
                        role,
                        language,
                        part,
                        self.folder / f"{role}-{language}-{number:06d}.parquet",
                    )
                    for number, part in enumerate(
                        missing[start : start + self.unit_size]
                        for start in range(0, len(missing), self.unit_size)
                    )
                ]
        return found

    def texts(self, unit: Unit) -> list[str]:
        texts = (self.corpus.queries if unit.role == "query" else self.corpus.passages)[self.source]
        return [texts[int(row)] for row in unit.ids]

    def work(self, translator: Translator, filters: QualityFilters) -> None:
        """Do the units that nobody has done or is at; then wait for the others, and do what they leave."""
        units = self.units()
        with Progress(*PROGRESS_COLUMNS, console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task(
                "translate", total=len(units), completed=sum(unit.path.exists() for unit in units)
            )
            for wait in (False, True):
                for unit in [unit for unit in units if not unit.path.exists()]:
                    try:
                        with FileLock(f"{unit.path}.lock", timeout=-1 if wait else 0):
                            if not unit.path.exists():
                                self._do(unit, translator, filters)
                    except Timeout:
                        continue
                    progress.advance(task)

    def _do(self, unit: Unit, translator: Translator, filters: QualityFilters) -> None:
        sources = self.texts(unit)
        made = translator.translate(sources, unit.language)
        table = pa.table(
            [
                unit.ids,
                sources,
                [text for text, _ in made],
                filters.reasons(sources, made, unit.language),
            ],
            SCHEMA,
        )
        with write_atomically(unit.path) as beside:
            pq.write_table(table, beside)
            flush_to_disk(beside)

    def assemble(self, writer: CorpusWriter, by: str) -> dict[str, int]:
        """Write the corpus with its translations, where each text is from, and what was rejected; the counts of both."""
        counts, units = Counter(), self.units()
        for role in ROLES:
            given = self.corpus.queries if role == "query" else self.corpus.passages
            for language in sorted({*self.corpus.languages, *self.languages}):
                own = [unit for unit in units if (unit.role, unit.language) == (role, language)]
                if own:
                    self._write_translated(
                        writer, role, language, given.get(language), own, by, counts
                    )
                elif language in given:
                    writer.write(role, language, iterate_blocks(given[language]))
                else:  # nothing of this role is in the source language
                    writer.column(role, language).pad(
                        len(getattr(self.corpus.index, f"{role}_languages"))
                    )
                    writer.close(role, language)
        source = self.corpus.source
        about = f"{source.description}; translated from {self.source} into {', '.join(self.languages)} by {by}"
        writer.finish(
            Source(
                source.name,
                about,
                source.licence,
                source.citation,
                source.revision,
                dict(source.choices),
            ),
            np.asarray(self.corpus.pairs),
            self.corpus.negatives,
            counts,
        )
        return dict(counts)

    def _write_translated(
        self,
        writer: CorpusWriter,
        role: str,
        language: str,
        given: Sequence[str | None] | None,
        units: Sequence[Unit],
        by: str,
        counts: Counter,
    ) -> None:
        size, column = (
            len(getattr(self.corpus.index, f"{role}_languages")),
            writer.column(role, language, origin=True),
        )
        made: dict[int, str] = {}
        waiting = iter(units)  # in the order of their ids, so that few are held at a time
        last = -1
        with pq.ParquetWriter(
            writer.aside / f"rejects-{role}-{language}.parquet", SCHEMA
        ) as rejects:
            for start in range(0, size, 1 << 16):
                ids = range(start, min(size, start + (1 << 16)))
                while last < ids.stop - 1 and (unit := next(waiting, None)):
                    table, last = pq.read_table(unit.path), int(unit.ids[-1])
                    rejected, accepted = (
                        table.filter(keep(table["reason"])) for keep in (pc.is_valid, pc.is_null)
                    )
                    rejects.write_table(rejected)
                    counts[f"translated {role} {language}"] += len(accepted)
                    counts.update(
                        f"rejected {role} {language}: {reason}"
                        for reason in rejected["reason"].to_pylist()
                    )
                    made |= dict(
                        zip(accepted["id"].to_pylist(), accepted["text"].to_pylist(), strict=True)
                    )
                new = [made.pop(row, None) for row in ids]
                texts = [
                    text if text is not None or given is None else given[row]
                    for row, text in zip(ids, new, strict=True)
                ]
                column.add(
                    texts,
                    [
                        None if text is None else f"translated from {self.source} by {by}"
                        for text in new
                    ],
                )
        writer.close(role, language)
