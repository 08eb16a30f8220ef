"""Writes records of training data as a corpus: all of it, or nothing; one that was stopped goes on where it was."""

# R records, P pairs

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.progress import Progress

from hybrid_ir.corpora.checking import Checker, Rules
from hybrid_ir.corpora.import_journal import LEFT_OUT, LOG_ROW, ImportJournal, ImportState
from hybrid_ir.corpora.writing import CorpusWriter, TextColumn
from hybrid_ir.data.content_ids import MISSING_HASH, hash_texts
from hybrid_ir.data.hard_negatives import HardNegatives, flatten_negatives, interleave_negatives
from hybrid_ir.files.languages import explain_wrong_code
from hybrid_ir.files.problems import Problems
from hybrid_ir.files.records import ROLES, Cell, Records
from hybrid_ir.system.progress import PROGRESS_COLUMNS
from hybrid_ir.types import Source

Part = Callable[
    [Problems], Iterable[Records]
]  # reads a file, or files that belong together, alike each time
MANY = 50_000  # records from which a progress bar is worth its line
STRIDE, FEW = 1 << 16, 1 << 10  # records after which columns are flushed; and at the end of a part


class Importer:
    """Adds the records of all parts to a corpus that is being written, and puts it in its place, or raises what is wrong."""

    def __init__(
        self, writer: CorpusWriter, parts: Sequence[Part], rules: Rules, problems: Problems
    ):
        self.writer, self.parts, self.rules, self.problems = writer, parts, rules, problems
        self.check, self.state = Checker(rules, problems), ImportState()
        self.columns: dict[Cell, TextColumn] = {}
        self.unsaved = 0
        self.journal = ImportJournal(writer.aside)

    def run(self, source: Source, require: Callable[[], None] = lambda: None) -> None:
        """All of it; `require` may raise when everything is read, before the corpus is put in its place."""
        self._go_on()
        with Progress(*PROGRESS_COLUMNS, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("import", total=len(self.parts), visible=False)
            while self.state.parts < len(self.parts):
                self._read(
                    lambda done: bar.update(
                        task, completed=done, visible=self.state.counts["records"] > MANY
                    )
                )
        require()
        log = self.journal.records()
        repeated = self._repeated(log)
        if self.problems.files:
            self.problems.stop()
        if self.rules.errors == "stop":
            self.problems.stop(
                "nothing is written: correct them, or leave what they are about out with errors=skip"
            )
        written = log["negatives"] != LEFT_OUT
        if repeated.any():
            self._leave_out(repeated[written], log["negatives"][written])
        log = log[written & ~repeated]
        counts_P = log["negatives"].astype(np.int64)
        passages_P = (
            np.arange(len(counts_P)) + np.cumsum(counts_P) - counts_P
        )  # its negatives follow each
        pairs, negatives = (
            np.stack([np.arange(len(counts_P)), passages_P], axis=1),
            HardNegatives.following(passages_P, counts_P),
        )
        if not len(pairs):
            self.problems.add(f"there is no pair to train on in what was {source.description}")
            self.problems.stop()
        counts = self.state.counts | {
            "in one language only": int(log["alone"].sum()),
            "problems": self.problems.number,
        }
        self.writer.finish(source, pairs, negatives, counts)

    def _read(self, show: Callable[[float], None]) -> None:
        """A part, from where an earlier start was."""
        state, skipped = self.state, self.state.taken
        self.problems.muted = skipped > 0  # they were told then
        for number, records in enumerate(self.parts[state.parts](self.problems), 1):
            if number > skipped:
                self._add(records)
                state.taken = number
                self._save(STRIDE)
            self.problems.muted = number < skipped
            show(state.parts + records.done)
        state.parts, state.taken = state.parts + 1, 0
        self._save(FEW)

    def _add(self, records: Records) -> None:
        for (role, language), texts in records.columns.items():
            if role == "query":
                self.state.queries[language] = (
                    self.state.queries.get(language, 0) + len(texts) - texts.null_count
                )
        good, alone = self.check.judge(records)
        rows = np.flatnonzero(good)
        self.unsaved += len(records)
        self.state.counts["records"] += len(records)
        self.state.counts["records left out"] += len(records) - len(rows)
        texts, counts_R = flatten_negatives(
            {
                language: own.take(rows)
                for language, own in records.negatives.items()
                if not explain_wrong_code(language)
            },
            len(rows),
        )
        ids = [*records.ids.to_pylist(), *(name for _, name in records.others)]
        log = np.full(len(ids), LEFT_OUT, LOG_ROW)
        log["id"] = hash_texts(name or None for name in ids)
        log["negatives"][rows], log["alone"][: len(records)] = counts_R, alone
        self.journal.add(log, self.state)
        if not self.problems.number or self.rules.errors == "skip":  # else nothing will be written
            columns = {
                cell: own.take(rows)
                for cell, own in records.columns.items()
                if not explain_wrong_code(cell[1])
            }
            self._write(columns, texts, counts_R)

    def _write(
        self,
        columns: dict[Cell, pa.Array],
        negatives: dict[str, list[str | None]],
        counts_R: np.ndarray,
    ) -> None:
        """Texts of records; in the passages, the negatives of each follow its own."""
        there = {
            language for (_, language), own in columns.items() if own.null_count < len(own)
        } | {*negatives}
        for language in sorted(there - {language for _, language in self.columns}):
            for role in ROLES:  # a language of one side is a language of the corpus
                self.columns[role, language] = self.writer.column(role, language)
                self.columns[role, language].pad(self.state.sizes[role])
        rows, nothing = len(counts_R), pa.nulls(len(counts_R), pa.string())
        for (role, language), column in self.columns.items():
            texts = columns.get((role, language), nothing)
            column.add(
                texts
                if role == "query"
                else interleave_negatives(texts, negatives.get(language), counts_R)
            )
        self.state.sizes["query"] += rows
        self.state.sizes["passage"] += rows + int(counts_R.sum())

    def _leave_out(self, repeated_P: np.ndarray, counts_P: np.ndarray) -> None:
        """Of what is written, records whose id an earlier one has; and languages that only they have."""
        self.state.counts["records left out"] += int(repeated_P.sum())
        kept = {
            "query": ~repeated_P,
            "passage": np.repeat(~repeated_P, 1 + counts_P.astype(np.int64)),
        }
        for language in {language for _, language in self.columns}:
            if not sum(self.writer.keep(role, language, kept[role]) for role in ROLES):
                self.writer.drop(language)

    def _save(self, least: int) -> None:
        if self.unsaved < least:
            return
        self.unsaved = 0
        for column in (
            self.columns.values()
        ):  # cut into batches by the records alone, so that the files are always the same
            column.flush()
        self.journal.save(self._saved)

    def _saved(self) -> ImportState:
        self.state.columns = {
            f"{role}-{language}": column.saved()
            for (role, language), column in self.columns.items()
        }
        self.state.problems = self.problems.state()
        return self.state

    def _go_on(self) -> None:
        """Take up what an earlier start of the same import has noted."""
        state = self.journal.start()
        if state is None:
            self.problems.clear()
            return
        self.state = state
        self.problems.restore(state.problems)
        for name, at in state.columns.items():
            role, language = name.split("-", 1)
            self.columns[role, language] = self.writer.column(role, language, at=tuple(at))
        Console(stderr=True).print(
            f"import goes on after {state.counts['records']:,} records", highlight=False
        )

    def _repeated(self, log: np.ndarray) -> np.ndarray:
        """Which kept records have the id of an earlier one that is kept; adds each id that comes again with both of its
        lines, for which all is read once more."""
        ordered = np.sort(log["id"][log["id"] != MISSING_HASH])
        twice, repeated = (
            np.unique(ordered[1:][ordered[1:] == ordered[:-1]]),
            np.zeros(len(log), bool),
        )
        if not len(twice):
            return repeated
        suspect, start = np.isin(log["id"], twice), 0
        known: dict[str, str] = {}
        used: set[str] = set()
        for records in (records for part in self.parts for records in part(Problems(""))):
            size = len(records) + len(records.others)
            for where, name, row in records.named(np.flatnonzero(suspect[start : start + size])):
                if name in known:
                    self.problems.add(f"{where}: the id {name!r:.60} is also in {known[name]}")
                known.setdefault(name, where)
                if log["negatives"][start + row] != LEFT_OUT:
                    repeated[start + row] = name in used
                    used.add(name)
            start += size
        return repeated
