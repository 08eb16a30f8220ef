"""Translates a corpus in units of work, which all processes that want to work share.

A unit of work is a file that is complete or not there, so nothing is lost when a process is killed.
"""

# N ids of queries or passages

import json
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from hybrid_ir.corpora.stored import write_corpus
from hybrid_ir.corpora.writing import CorpusWriter
from hybrid_ir.data.availability import LanguageSets
from hybrid_ir.data.corpus import ParallelCorpus, iterate_blocks
from hybrid_ir.files.atomic import write_atomically
from hybrid_ir.files.languages import explain_wrong_code, find_canonical_code
from hybrid_ir.files.records import ROLES
from hybrid_ir.system.progress import show_progress
from hybrid_ir.translation.families import Translator
from hybrid_ir.translation.quality import QualityFilters
from hybrid_ir.types import Role

UNIT_SCHEMA = pa.schema(
    [("id", pa.int64()), ("source", pa.string()), ("text", pa.string()), ("reason", pa.string())]
)
IDS_PER_BLOCK = 1 << 16  # ids whose texts are written together


@dataclass(frozen=True)
class Unit:
    """A unit of work: some texts of one role that lack a language.

    Args:
        role: `query` or `passage`.
        language: the language to translate into.
        ids: the ids of the texts, which ascend.
        path: the file of their translations.
    """

    role: Role
    language: str
    ids: np.ndarray
    path: Path


@dataclass(frozen=True)
class TranslationJob:
    """The translation of a corpus from one of its languages into others.

    Args:
        corpus: the corpus.
        source: the language to translate from.
        languages: the languages to translate into.
        folder: where the finished units of work are.
        unit_size: how many texts a unit of work has.

    Raises:
        ValueError: if the corpus cannot be translated so.
    """

    corpus: ParallelCorpus
    source: str
    languages: Sequence[str]
    folder: Path
    unit_size: int = 2048

    def __post_init__(self):
        if len(self.corpus.parts) > 1:
            raise ValueError("a mixture has no ids of its own: translate its corpora one by one")
        code_problems = []
        for language in self.languages:
            problem = explain_wrong_code(language)
            canonical = find_canonical_code(language)
            if problem:
                code_problems.append(problem)
            elif canonical != language:
                code_problems.append(f"write {canonical!r} for {language!r}")
        if code_problems:
            raise ValueError(f"languages: {'; '.join(code_problems)}")
        if self.source not in self.corpus.languages:
            raise ValueError(
                f"source={self.source!r}: corpus '{self.corpus.source.name}' has "
                f"{list(self.corpus.languages)}"
            )
        if self.source in self.languages or not self.languages:
            raise ValueError(
                f"languages={list(self.languages)} must name other languages than "
                f"source={self.source}"
            )

    def begin(self, choices: Mapping[str, Any]) -> None:
        """Notes what decides the translations, in `job.json`.

        Raises ValueError if the folder has work of a job with other choices.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "job.json"
        text = json.dumps(choices, indent=1, sort_keys=True, default=str)
        with FileLock(self.folder / ".job.lock"):
            if path.exists() and path.read_text() != text:
                earlier = json.loads(path.read_text())
                now = json.loads(text)
                changed = [key for key, value in earlier.items() if value != now.get(key)]
                raise ValueError(
                    f"{self.folder} has work of another job ({', '.join(changed)} differ): delete "
                    "it, or name another to="
                )
            path.write_text(text)

    def list_units(self) -> list[Unit]:
        """Lists all units of work, those that are done, too."""
        units = []
        for role in ROLES:
            for language in self.languages:
                missing = self._find_untranslated_ids(role, language)
                for number, start in enumerate(range(0, len(missing), self.unit_size)):
                    ids = missing[start : start + self.unit_size]
                    path = self.folder / f"{role}-{language}-{number:06d}.parquet"
                    units.append(Unit(role, language, ids, path))
        return units

    def work(self, translator: Translator, filters: QualityFilters) -> None:
        """Does the units that no process has done or is doing.

        Then it waits for the other processes, and does the units that they leave.
        """
        units = self.list_units()
        done = [unit for unit in units if unit.path.exists()]
        with show_progress("translate", len(units), len(done), self.unit_size) as progress:
            for wait in (False, True):
                remaining = [unit for unit in units if not unit.path.exists()]
                for unit in remaining:
                    if self._do_unit_alone(unit, translator, filters, wait):
                        progress.advance()

    def assemble(self, writer: CorpusWriter, translator_name: str) -> None:
        """Writes the corpus with its translations.

        Each translated column says where its texts come from, and `rejects-ROLE-LANGUAGE.parquet`
        has its rejected translations. The card counts both.

        Args:
            writer: writes the corpus.
            translator_name: the name of the translation model.
        """
        counts: Counter[str] = Counter()
        units = self.list_units()
        for role in ROLES:
            columns = self._get_columns(role)
            for language in sorted({*self.corpus.languages, *self.languages}):
                column_units = [
                    unit for unit in units if unit.role == role and unit.language == language
                ]
                if column_units:
                    counts.update(
                        self._write_translated(
                            writer, role, language, column_units, translator_name
                        )
                    )
                elif language in columns:
                    writer.write_column(role, language, iterate_blocks(columns[language]))
                else:
                    # Nothing of this role is in the source language.
                    writer.open_column(role, language).pad_to(self._count_ids(role))
                    writer.close_column(role, language)
        source = self.corpus.source
        description = (
            f"{source.description}; translated from {self.source} into "
            f"{', '.join(self.languages)} by {translator_name}"
        )
        writer.finish(
            replace(source, description=description),
            np.asarray(self.corpus.pairs),
            self.corpus.negatives,
            counts,
        )

    def _get_columns(self, role: Role) -> Mapping[str, Sequence[str | None]]:
        return self.corpus.queries if role == "query" else self.corpus.passages

    def _get_language_sets(self, role: Role) -> LanguageSets:
        index = self.corpus.index
        return index.query_languages if role == "query" else index.passage_languages

    def _count_ids(self, role: Role) -> int:
        return len(self._get_language_sets(role))

    def _find_untranslated_ids(self, role: Role, language: str) -> np.ndarray:
        """Returns the ids that have a text in the source language, and none in a language."""
        sets = self._get_language_sets(role)
        ids_N = np.arange(len(sets))
        has_source_N = sets.has(ids_N, self.corpus.languages.index(self.source))
        if language not in self.corpus.languages:
            return np.flatnonzero(has_source_N)
        has_language_N = sets.has(ids_N, self.corpus.languages.index(language))
        return np.flatnonzero(has_source_N & ~has_language_N)

    def _do_unit_alone(
        self, unit: Unit, translator: Translator, filters: QualityFilters, wait: bool
    ) -> bool:
        """Does a unit, unless another process has done it or is doing it.

        Args:
            unit: the unit.
            translator: the translation model.
            filters: find translations to reject.
            wait: whether to wait for a process that is doing it.

        Returns:
            Whether the unit is done.
        """
        try:
            with FileLock(f"{unit.path}.lock", timeout=-1 if wait else 0):
                if not unit.path.exists():
                    self._do_unit(unit, translator, filters)
        except Timeout:
            return False
        return True

    def _do_unit(self, unit: Unit, translator: Translator, filters: QualityFilters) -> None:
        texts = self._get_columns(unit.role)[self.source]
        sources = [texts[int(row)] for row in unit.ids]
        translations = translator.translate(sources, unit.language)
        translated_texts = [translation.text for translation in translations]
        reasons = filters.find_reasons(sources, translations, unit.language)
        table = pa.table([unit.ids, sources, translated_texts, reasons], UNIT_SCHEMA)
        with write_atomically(unit.path, durable=True) as temporary:
            pq.write_table(table, temporary)

    def _write_translated(
        self,
        writer: CorpusWriter,
        role: Role,
        language: str,
        units: Sequence[Unit],
        translator_name: str,
    ) -> Counter[str]:
        """Writes a column with translations where the corpus has no text.

        Returns:
            How many translations are accepted, and rejected for each reason.
        """
        counts: Counter[str] = Counter()
        origin = f"translated from {self.source} by {translator_name}"
        column = writer.open_column(role, language, with_origins=True)
        originals = self._get_columns(role).get(language)
        rejects_path = writer.build_folder / f"rejects-{role}-{language}.parquet"
        accepted: dict[int, str] = {}
        waiting = deque(units)
        with pq.ParquetWriter(rejects_path, UNIT_SCHEMA) as rejects:
            for start in range(0, self._count_ids(role), IDS_PER_BLOCK):
                stop = min(self._count_ids(role), start + IDS_PER_BLOCK)
                # Units are in the order of their ids, so that few translations are held at a time.
                while waiting and waiting[0].ids[0] < stop:
                    accepted |= _read_unit(waiting.popleft(), rejects, counts)
                texts = []
                origins = []
                for row in range(start, stop):
                    text = accepted.pop(row, None)
                    origins.append(None if text is None else origin)
                    if text is None and originals is not None:
                        text = originals[row]
                    texts.append(text)
                column.add(texts, origins)
        writer.close_column(role, language)
        return counts


def translate_corpus(
    job: TranslationJob,
    translator: Translator,
    filters: QualityFilters,
    choices: Mapping[str, Any],
    translator_name: str,
    to: Path,
) -> None:
    """Translates a corpus together with all other processes that do the same, and writes it once.

    Args:
        job: the job.
        translator: the translation model.
        filters: find translations to reject.
        choices: what decides the translations.
        translator_name: the name of the model, for the description of the corpus.
        to: the folder of the translated corpus; nothing is written if it is there.
    """
    for language in job.languages:
        translator.get_code(language)  # raises ValueError before there is any work
    job.begin(choices)
    job.work(translator, filters)
    with FileLock(job.folder / ".assemble.lock"):
        if not to.exists():
            write_corpus(
                str(to), lambda writer: job.assemble(writer, translator_name), choices=choices
            )


def count_rejected(report: Mapping[str, int], language: str | None = None) -> int:
    """Counts the rejected translations of the report of a translated corpus.

    Args:
        report: the report of its card.
        language: count those into this language only.
    """
    rejected = 0
    for key, count in report.items():
        is_counted = language is None or f" {language}:" in key
        if key.startswith("rejected") and is_counted:
            rejected += count
    return rejected


def count_translated(report: Mapping[str, int]) -> int:
    """Counts the accepted translations of the report of a translated corpus."""
    return sum(count for key, count in report.items() if key.startswith("translated"))


def _read_unit(unit: Unit, rejects: pq.ParquetWriter, counts: Counter[str]) -> dict[int, str]:
    """Reads the translations of a unit.

    Args:
        unit: a unit that is done.
        rejects: gets its rejected translations.
        counts: counts its translations.

    Returns:
        The accepted translations by id.
    """
    table = pq.read_table(unit.path)
    rejected = table.filter(pc.is_valid(table["reason"]))
    accepted = table.filter(pc.is_null(table["reason"]))
    rejects.write_table(rejected)
    counts[f"translated {unit.role} {unit.language}"] += len(accepted)
    for reason in rejected["reason"].to_pylist():
        counts[f"rejected {unit.role} {unit.language}: {reason}"] += 1
    return dict(zip(accepted["id"].to_pylist(), accepted["text"].to_pylist(), strict=True))
