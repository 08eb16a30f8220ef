"""Checks records of training data one by one and writes them as a corpus: all of it, or nothing."""

# P pairs, K hard negatives

from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console
from rich.progress import Progress

from hybrid_ir.data.negatives import flattened, padded
from hybrid_ir.data.writing import CorpusWriter
from hybrid_ir.formats.languages import wrong_code
from hybrid_ir.formats.problems import Problems
from hybrid_ir.formats.records import ROLES, Cell, Records
from hybrid_ir.progress import BAR
from hybrid_ir.types import Source

Read = Callable[[Problems], Iterable[Records]]
ON_ERROR = ("stop", "skip")
HUGE = 100_000  # characters
MANY = 50_000  # records from which a progress bar is worth its line
MOST_NEGATIVES = 100  # of a record; all have as many places as the one with most


@dataclass(frozen=True)
class Rules:
    """What a record may be.

    Args:
        max_characters: of a text.
        errors: `stop` writes nothing if anything is wrong, `skip` leaves wrong records out and counts them.
        twins: whether every id must be there in two languages or more.
    """

    max_characters: int = HUGE
    errors: str = "stop"
    twins: bool = False

    def __post_init__(self):
        if self.errors not in ON_ERROR:
            raise ValueError(f"errors={self.errors!r} must be one of {', '.join(ON_ERROR)}")
        if self.max_characters < 1:
            raise ValueError(f"max_characters={self.max_characters} must be at least 1")


@dataclass
class Importer:
    """Adds records to a corpus that is being written; `finish` puts it in its place, or raises what is wrong."""

    writer: CorpusWriter
    read: Read
    rules: Rules
    problems: Problems
    files: int = 1
    counts: dict[str, int] = field(default_factory=lambda: {"records": 0, "left out": 0, "lines left out": 0,
                                                                    "in one language only": 0})

    def __post_init__(self):
        self.sizes, self.columns = dict.fromkeys(ROLES, 0), {}
        self.pairs, self.negatives = [], []  # for some records each
        self.hashes = array("q")

    def run(self, source: Source, require: Callable[[], None] = lambda: None) -> None:
        """All of it; `require` may raise when everything is read, before the corpus is put in its place."""
        before = 0
        for records in self._shown(self.read(self.problems)):
            self.counts["lines left out"] += self.problems.number - before  # they were no records
            self.add(records)
            before = self.problems.number
        self.counts["lines left out"] += self.problems.number - before
        require()
        repeated = self._repeated()
        if self.rules.errors == "stop" or self.problems.files:
            self.problems.stop()
        pairs = np.concatenate([np.empty((0, 2), np.int64), *self.pairs])
        negatives = padded(self.negatives)
        if repeated.any():
            pairs, negatives = pairs[~repeated], negatives[~repeated]
            self.counts["left out"] += int(repeated.sum())
        if not len(pairs):
            self.problems.add("there is no pair to train on")
            self.problems.stop()
        self.writer.finish(source, pairs, negatives, self.counts | {"problems": self.problems.number})

    def _shown(self, found: Iterable[Records]) -> Iterable[Records]:
        """The records, with a bar over the files once they are many."""
        files, place = 0, None
        with Progress(*BAR, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("import", total=self.files, visible=False)
            for records in found:
                yield records
                files, place = files + (records.place != place), records.place
                bar.update(task, completed=files - 1 + records.done, visible=self.counts["records"] > MANY)

    def add(self, records: Records) -> None:
        self.counts["records"] += len(records)
        good = self._good(records)
        self.counts["left out"] += int((~good).sum())
        rows = np.flatnonzero(good)
        if self.problems.number and self.rules.errors == "stop":
            rows = rows[:0]  # nothing will be written: look at the rest only for what is wrong with it
        self.hashes.extend(hash(text) for text in records.ids.take(np.flatnonzero(good)).to_pylist())
        self._write({cell: texts.take(rows) for cell, texts in records.columns.items() if not wrong_code(cell[1])},
                    {language: texts.take(rows) for language, texts in records.negatives.items() if not wrong_code(language)},
                    len(rows))

    def _write(self, columns: dict[Cell, pa.Array], negatives: dict[str, pa.Array], rows: int) -> None:
        first = self.sizes["passage"]
        self.pairs.append(np.stack([np.arange(rows) + self.sizes["query"], np.arange(rows) + first], axis=1))
        texts, counts = flattened(negatives, rows)
        self.negatives.append((first + rows, counts))
        for (role, language), values in columns.items():
            if (role, language) in self.columns or values.null_count < len(values):
                self._column(role, language).add(values)
        for (role, _), column in self.columns.items():  # languages that these records have not
            column.pad(self.sizes[role] + rows)
        for language, values in texts.items():
            self._column("passage", language, rows).add(values)
        self.sizes = {"query": self.sizes["query"] + rows, "passage": first + rows + int(counts.sum())}
        for (role, _), column in self.columns.items():
            column.pad(self.sizes[role])

    def _column(self, role: str, language: str, more: int = 0):
        if (role, language) not in self.columns:
            for side in ROLES:  # a language of one side is a language of the corpus
                self.columns[side, language] = self.writer.column(side, language)
                self.columns[side, language].pad(self.sizes[side] + more * (side == "passage"))
        return self.columns[role, language]

    def _good(self, records: Records) -> np.ndarray:
        """Which records have nothing wrong; adds what the others have."""
        good, found = np.ones(len(records), bool), []

        def wrong(rows: np.ndarray, problem: str, detail: pa.Array | None = None) -> None:
            found.extend((row, problem if detail is None else f"{problem}: {detail[row].as_py()!r:.60}")
                         for row in np.flatnonzero(rows))
            np.logical_and(good, ~rows, out=good)

        there = {role: np.zeros(len(records), np.int64) for role in ROLES}
        for (role, language), texts in records.columns.items():
            there[role] += mask(pc.is_valid(texts))
            wrong(blank(texts), f"an empty {role} in '{language}'")
            sizes = pc.utf8_length(texts)
            wrong(mask(pc.greater(sizes, self.rules.max_characters)),
                  f"a {role} in '{language}' has more characters than max_characters={self.rules.max_characters}", sizes)
            if role == "query" and ("passage", language) in records.columns:
                wrong(mask(pc.equal(texts, records.columns["passage", language])), f"the query is its passage in '{language}'")
            if told := wrong_code(language):
                wrong(mask(pc.is_valid(texts)), told)
        for language, texts in records.negatives.items():
            lists = [[text for text in row or () if text is not None] for row in texts.to_pylist()]
            wrong(np.array([any(not text.strip() for text in row) for row in lists], bool), f"an empty negative in '{language}'")
            wrong(np.array([any(len(text) > self.rules.max_characters for text in row) for row in lists], bool),
                  f"a negative in '{language}' has more characters than max_characters={self.rules.max_characters}")
            wrong(np.array([len(row) > MOST_NEGATIVES for row in lists], bool), f"more than {MOST_NEGATIVES:,} negatives")
            if told := wrong_code(language):
                wrong(np.array([bool(row) for row in lists], bool), told)
        wrong(blank(records.ids) | ~mask(pc.is_valid(records.ids)), "an empty id")
        for role in ROLES:
            wrong(there[role] == 0, f"no {role} in any language for the id", records.ids)
        alone = good & (np.maximum(*there.values()) == 1)
        if self.rules.twins:
            wrong(alone, "no twin in another language for the id", records.ids)
        self.counts["in one language only"] += int(alone.sum())
        for row, problem in sorted(dict.fromkeys(found)):
            self.problems.add(f"{records.where(row)}: {problem}")
        return good

    def _repeated(self) -> np.ndarray:
        """Which pairs have an id that an earlier one has; adds each with both of its lines, for which all is read again."""
        hashes = np.frombuffer(self.hashes, np.int64)
        _, first = np.unique(hashes, return_index=True)
        repeated = np.ones(len(hashes), bool)
        repeated[first] = False
        if not repeated.any():
            return repeated
        suspect, known = set(hashes[repeated].tolist()), {}
        for records in self.read(Problems("")):
            for row, name in enumerate(records.ids.to_pylist()):
                if hash(name) in suspect:
                    if name in known:
                        self.problems.add(f"{records.where(row)}: the id {name!r:.60} is also in {known[name]}")
                    known.setdefault(name, records.where(row))
        return repeated


def mask(values: pa.Array) -> np.ndarray:
    return pc.fill_null(values, False).to_numpy(zero_copy_only=False)


def blank(texts: pa.Array) -> np.ndarray:
    return mask(pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(texts)), 0))
