"""Imports records of training data as a corpus: all of them or nothing, resumable at any time."""

# R records, P pairs, L rows of the log

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from rich.console import Console

from hybrid_ir.corpora.checking import RecordChecker, RecordRules
from hybrid_ir.corpora.import_journal import LEFT_OUT, LOG_ROW, ImportJournal, ImportState
from hybrid_ir.corpora.text_columns import TextColumnWriter
from hybrid_ir.corpora.writing import CorpusWriter
from hybrid_ir.data.content_ids import MISSING_HASH, hash_texts
from hybrid_ir.data.hard_negatives import HardNegatives, flatten_negatives, interleave_negatives
from hybrid_ir.files.languages import describe_spellings, explain_wrong_code
from hybrid_ir.files.problems import Problems
from hybrid_ir.files.records import ROLES, Cell, Records, canonicalize_languages
from hybrid_ir.system.progress import show_progress
from hybrid_ir.types import Source

# Refuses the data by a ValueError, or accepts it, when an importer has read all of it.
ImportCheck = Callable[["Importer"], None]
# Reads a part of the data, which is a file or files that belong together; always in the same order.
PartReader = Callable[[Problems], Iterable[Records]]

LARGE = 50_000  # records from which a progress bar is worth its line
SAVE_EVERY = 1 << 16  # records after which the state is saved
SAVE_AFTER_PART = 1 << 10  # records after which the state is saved at the end of a part


class Importer:
    """Imports the records of all parts into a corpus that is being written.

    It reads and checks the records block by block, writes the texts of good ones, and keeps a
    journal of what it did. Records whose id an earlier record has are left out at the end, since
    only then all ids are known.

    Args:
        writer: writes the corpus.
        parts: readers of the data.
        rules: what a record may be.
        problems: collects what is wrong.
    """

    def __init__(
        self,
        writer: CorpusWriter,
        parts: Sequence[PartReader],
        rules: RecordRules,
        problems: Problems,
    ):
        self.writer = writer
        self.parts = parts
        self.rules = rules
        self.problems = problems
        self.checker = RecordChecker(rules, problems)
        self.journal = ImportJournal(writer.build_folder)
        self.state = ImportState()
        self._columns: dict[Cell, TextColumnWriter] = {}
        self._unsaved_records = 0

    @property
    def languages(self) -> set[str]:
        """The languages of the texts that are written so far."""
        return {language for _, language in self._columns}

    def run(self, source: Source, check: ImportCheck | None = None) -> None:
        """Imports everything.

        Args:
            source: where the data comes from.
            check: called when everything is read; it may raise ValueError to refuse the data.

        Raises:
            ValueError: with everything that is wrong, unless wrong records are skipped.
        """
        self._resume()
        self._read_parts()
        if check is not None:
            check(self)
        log = self.journal.read_log()
        is_repeated_L = self._find_repeated_ids(log)
        self._raise_problems()
        for warning in describe_spellings(self.languages):
            Console(stderr=True).print(warning, highlight=False, soft_wrap=True)
        is_written_L = log["negatives"] != LEFT_OUT
        if is_repeated_L.any():
            self._leave_out(is_repeated_L[is_written_L], log["negatives"][is_written_L])
        self._finish(source, log[is_written_L & ~is_repeated_L])

    def _resume(self) -> None:
        """Restores the state that an earlier start of the same import has saved, if any."""
        state = self.journal.resume()
        if state is None:
            self.problems.delete_log()
            return
        self.state = state
        self.problems.restore(state.problems)
        for name, (rows, size) in state.columns.items():
            role, language = name.split("-", 1)
            column = self.writer.open_column(role, language, resume_at=(rows, size))
            self._columns[role, language] = column
        Console(stderr=True).print(
            f"import goes on after {state.counts['records']:,} records", highlight=False
        )

    def _read_parts(self) -> None:
        with show_progress("import", len(self.parts), self.state.parts, is_small=True) as work:
            while self.state.parts < len(self.parts):
                for share in self._read_part():
                    work.set_done(self.state.parts + share)
                    if self.state.counts["records"] > LARGE:
                        work.show()
                self.state.parts += 1
                self.state.blocks = 0
                self._save_after(SAVE_AFTER_PART)

    def _read_part(self) -> Iterator[float]:
        """Imports the blocks of the next part that no earlier start has imported.

        Yields:
            The share of the part that is read, after each block.
        """
        blocks_before = self.state.blocks
        read = self.parts[self.state.parts]
        # An earlier start has reported the problems of its blocks.
        self.problems.muted = blocks_before > 0
        for number, records in enumerate(read(self.problems), 1):
            if number > blocks_before:
                self._import_block(records)
                self.state.blocks = number
                self._save_after(SAVE_EVERY)
            self.problems.muted = number < blocks_before
            yield records.share_read

    def _import_block(self, records: Records) -> None:
        """Checks some records, notes them in the journal, and writes the good ones."""
        canonicalize_languages(records)
        findings = self.checker.check(records)
        good_rows = np.flatnonzero(findings.is_good)
        self._count(records, len(good_rows))
        columns = {}
        for (role, language), texts in records.columns.items():
            if not explain_wrong_code(language):
                columns[role, language] = texts.take(good_rows)
        negative_lists = {}
        for language, lists in records.negatives.items():
            if not explain_wrong_code(language):
                negative_lists[language] = lists.take(good_rows)
        negatives, counts_R = flatten_negatives(negative_lists, len(good_rows))

        ids = records.ids.to_pylist() + [name for _, name in records.others]
        log = np.full(len(ids), LEFT_OUT, LOG_ROW)
        log["id"] = hash_texts(name or None for name in ids)
        log["negatives"][good_rows] = counts_R
        log["monolingual"][: len(records)] = findings.is_monolingual
        self.journal.add(log, self.state)
        # With a problem that stops the import nothing will be written.
        if not self.problems.number or self.rules.errors == "skip":
            self._write_texts(columns, negatives, counts_R)

    def _count(self, records: Records, good: int) -> None:
        for (role, language), texts in records.columns.items():
            if role == "query":
                before = self.state.queries.get(language, 0)
                self.state.queries[language] = before + len(texts) - texts.null_count
        self.state.counts["records"] += len(records)
        self.state.counts["records left out"] += len(records) - good
        self._unsaved_records += len(records)

    def _write_texts(
        self,
        columns: dict[Cell, pa.Array],
        negatives: dict[str, list[str | None]],
        counts_R: np.ndarray,
    ) -> None:
        """Writes the texts of records; the negatives of a record follow its passage.

        Args:
            columns: queries and passages of the records.
            negatives: the texts of all negatives one after another, by language.
            counts_R: how many negatives each record has.
        """
        languages = set(negatives)
        for (_, language), texts in columns.items():
            if texts.null_count < len(texts):
                languages.add(language)
        for language in sorted(languages - self.languages):
            self._add_language(language)
        no_texts = pa.nulls(len(counts_R), pa.string())
        for (role, language), column in self._columns.items():
            texts = columns.get((role, language), no_texts)
            if role == "passage":
                texts = interleave_negatives(texts, negatives.get(language), counts_R)
            column.add(texts)
        self.state.sizes["query"] += len(counts_R)
        self.state.sizes["passage"] += len(counts_R) + int(counts_R.sum())

    def _add_language(self, language: str) -> None:
        """Opens both columns of a new language, even where only queries or passages have it."""
        for role in ROLES:
            column = self.writer.open_column(role, language)
            column.pad_to(self.state.sizes[role])
            self._columns[role, language] = column

    def _save_after(self, records: int) -> None:
        """Saves the state if so many records were read since the last time."""
        if self._unsaved_records < records:
            return
        self._unsaved_records = 0
        # Flushing here, whether a state is saved or not, makes where the files are cut into
        # batches depend on the records alone, so that the files are always the same.
        for column in self._columns.values():
            column.flush()
        self.journal.save(self._get_saved_state)

    def _get_saved_state(self) -> ImportState:
        self.state.columns = {}
        for (role, language), column in self._columns.items():
            self.state.columns[f"{role}-{language}"] = column.save()
        self.state.problems = self.problems.get_state()
        return self.state

    def _find_repeated_ids(self, log: np.ndarray) -> np.ndarray:
        """Finds records with the id of an earlier record, and adds them to the problems.

        Equal hashes only give a suspicion. The data is read once more to compare the ids
        themselves, and to say in which lines they are.

        Returns:
            Whether each row of the log is of a written record with the id of an earlier one (L).
        """
        is_repeated_L = np.zeros(len(log), bool)
        hashes = np.sort(log["id"][log["id"] != MISSING_HASH])
        repeated_hashes = np.unique(hashes[1:][hashes[1:] == hashes[:-1]])
        if not len(repeated_hashes):
            return is_repeated_L
        is_suspect_L = np.isin(log["id"], repeated_hashes)
        first_places: dict[str, str] = {}
        written_ids: set[str] = set()
        start = 0
        for records in self._read_again():
            size = len(records) + len(records.others)
            suspects = np.flatnonzero(is_suspect_L[start : start + size])
            for place, name, row in records.list_lines(suspects):
                if name in first_places:
                    first_place = first_places[name]
                    self.problems.add(f"{place}: the id {name!r:.60} is also in {first_place}")
                else:
                    first_places[name] = place
                if log["negatives"][start + row] != LEFT_OUT:
                    is_repeated_L[start + row] = name in written_ids
                    written_ids.add(name)
            start += size
        return is_repeated_L

    def _read_again(self) -> Iterator[Records]:
        for read in self.parts:
            yield from read(Problems(""))

    def _raise_problems(self) -> None:
        if self.problems.unreadable_files:
            # Leaving out a file that cannot be read to its end would hide a loss.
            self.problems.raise_if_any()
        if self.rules.errors == "stop":
            self.problems.raise_if_any(
                "nothing is written: correct them, or leave what they are about out with "
                "errors=skip"
            )

    def _leave_out(self, is_repeated_R: np.ndarray, counts_R: np.ndarray) -> None:
        """Leaves repeated records out of the written texts, and languages that only they have.

        Args:
            is_repeated_R: whether each written record has the id of an earlier one.
            counts_R: how many negatives each written record has.
        """
        self.state.counts["records left out"] += int(is_repeated_R.sum())
        kept_queries = ~is_repeated_R
        kept_passages = np.repeat(~is_repeated_R, 1 + counts_R.astype(np.int64))
        for language in self.languages:
            queries = self.writer.close_column_with_rows("query", language, kept_queries)
            passages = self.writer.close_column_with_rows("passage", language, kept_passages)
            if not queries + passages:
                self.writer.remove_language(language)

    def _finish(self, source: Source, log: np.ndarray) -> None:
        """Writes the pairs of the records that are kept, and completes the corpus."""
        counts_P = log["negatives"].astype(np.int64)
        query_ids_P = np.arange(len(counts_P))
        # The negatives of a pair follow its passage.
        passage_ids_P = np.arange(len(counts_P)) + np.cumsum(counts_P) - counts_P
        if not len(log):
            self.problems.add(f"there is no pair to train on in what was {source.description}")
            self.problems.raise_if_any()
        report = {
            **self.state.counts,
            "in one language only": int(log["monolingual"].sum()),
            "problems": self.problems.number,
        }
        self.writer.finish(
            source,
            np.stack([query_ids_P, passage_ids_P], axis=1),
            HardNegatives.number_after_passages(passage_ids_P, counts_P),
            report,
        )


def import_records(
    writer: CorpusWriter,
    parts: Sequence[PartReader],
    rules: RecordRules,
    source: Source,
    data_name: str,
    check: ImportCheck | None = None,
    has_log: bool = True,
) -> None:
    """Imports records as a corpus, and prints how many problems were left out.

    Args:
        writer: writes the corpus.
        parts: readers of the data.
        rules: what a record may be.
        source: where the data comes from.
        data_name: what messages call the data.
        check: see `Importer.run`.
        has_log: whether the problems are listed in a file beside the corpus.
    """
    log = Path(f"{writer.folder}.problems.txt") if has_log else None
    problems = Problems(data_name, log)
    Importer(writer, parts, rules, problems).run(source, check)
    if problems.number:
        print(problems.summarise())
    changed_ids = problems.describe_changed_ids()
    if changed_ids:
        print(changed_ids)
