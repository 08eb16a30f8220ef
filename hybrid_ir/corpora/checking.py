"""Checks records of training data: what may be in a corpus, and what is wrong with the rest."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hybrid_ir.files.languages import explain_wrong_code
from hybrid_ir.files.problems import Problems
from hybrid_ir.files.records import ROLES, Records

ON_ERROR = ("stop", "skip")
MAX_CHARACTERS = 100_000  # characters
MOST_NEGATIVES = 100  # of a record: a batch looks at as many places for each of its pairs as the one with most has


@dataclass(frozen=True)
class Rules:
    """What a record may be.

    Args:
        max_characters: of a text.
        errors: `stop` writes nothing if anything is wrong, `skip` leaves wrong records out and counts them.
        twins: whether every id must be there in two languages or more.
    """

    max_characters: int = MAX_CHARACTERS
    errors: str = "stop"
    twins: bool = False

    def __post_init__(self):
        if self.errors not in ON_ERROR:
            raise ValueError(f"errors={self.errors!r} must be one of {', '.join(ON_ERROR)}")
        if not isinstance(self.max_characters, int) or self.max_characters < 1:
            raise ValueError(f"max_characters={self.max_characters!r} must be a number, at least 1")


@dataclass
class Checker:
    """Judges records by rules."""

    rules: Rules
    problems: Problems

    def judge(self, records: Records) -> tuple[np.ndarray, np.ndarray]:
        """Which records have nothing wrong, and which are in one language only; adds what the others have."""
        verdict = RecordFindings(records)
        verdict.wrong(
            find_blank_texts(records.ids) | ~to_mask(pc.is_valid(records.ids)), "an empty id"
        )
        there = {role: np.zeros(len(records), np.int64) for role in ROLES}
        for (role, language), texts in records.columns.items():
            there[role] += to_mask(pc.is_valid(texts))
            self._judge_texts(verdict, role, language, texts)
        for language, texts in records.negatives.items():
            self._judge_negatives(verdict, language, texts)
        for role in ROLES:
            verdict.wrong(there[role] == 0, f"no {role} in any language for the id", records.ids)
        alone = np.maximum(*there.values()) == 1
        if self.rules.twins:
            verdict.wrong(
                verdict.good & alone,
                "no twin in another language (twins=false takes it without) for the id",
                records.ids,
            )
        for row, problem in sorted(dict.fromkeys(verdict.found)):
            self.problems.add(f"{records.where(row)}: {problem}")
        return verdict.good, alone

    def _judge_texts(
        self, verdict: "RecordFindings", role: str, language: str, texts: pa.Array
    ) -> None:
        sizes = pc.utf8_length(texts)
        verdict.wrong(find_blank_texts(texts), f"an empty {role} in '{language}'")
        verdict.wrong(
            to_mask(pc.match_substring(texts, "\0")), f"a NUL character in a {role} in '{language}'"
        )
        verdict.wrong(
            to_mask(pc.greater(sizes, self.rules.max_characters)),
            f"a {role} in '{language}' has more characters than max_characters={self.rules.max_characters}",
            sizes,
        )
        if (
            role == "query"
            and (passages := verdict.records.columns.get(("passage", language))) is not None
        ):
            verdict.wrong(
                to_mask(pc.equal(texts, passages)),
                f"the query is its passage in '{language}'",
                texts,
            )
        if told := explain_wrong_code(language):
            verdict.wrong(to_mask(pc.is_valid(texts)), told)

    def _judge_negatives(self, verdict: "RecordFindings", language: str, texts: pa.Array) -> None:
        lists = [[text for text in row or () if text is not None] for row in texts.to_pylist()]
        passages = verdict.records.columns.get(
            ("passage", language), pa.nulls(len(lists), pa.string())
        )

        def wrong(rows: Iterable[bool], problem: str, detail: pa.Array | None = None) -> None:
            verdict.wrong(np.fromiter(rows, bool), problem, detail)

        wrong(
            (len(row or ()) > MOST_NEGATIVES for row in texts.to_pylist()),
            f"more than {MOST_NEGATIVES:,} negatives",
        )
        wrong(
            (any(not text.strip() for text in row) for row in lists),
            f"an empty negative in '{language}'",
        )
        wrong(
            (any("\0" in text for text in row) for row in lists),
            f"a NUL character in a negative in '{language}'",
        )
        wrong(
            (any(len(text) > self.rules.max_characters for text in row) for row in lists),
            f"a negative in '{language}' has more characters than max_characters={self.rules.max_characters}",
        )
        wrong(
            (passage in row for passage, row in zip(passages.to_pylist(), lists, strict=True)),
            f"a negative in '{language}' is the passage",
            passages,
        )
        if told := explain_wrong_code(language):
            wrong(map(bool, lists), told)


class RecordFindings:
    """Which of some records are good, and what is wrong with the others by row."""

    def __init__(self, records: Records):
        self.records, self.good = records, np.ones(len(records), bool)
        self.found: list[tuple[int, str]] = []

    def wrong(self, rows: np.ndarray, problem: str, detail: pa.Array | None = None) -> None:
        self.found.extend(
            (row, problem if detail is None else f"{problem}: {detail[row].as_py()!r:.60}")
            for row in np.flatnonzero(rows)
        )
        self.good &= ~rows


def to_mask(values: pa.Array) -> np.ndarray:
    return pc.fill_null(values, False).to_numpy(zero_copy_only=False)


def find_blank_texts(texts: pa.Array) -> np.ndarray:
    return to_mask(pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(texts)), 0))
