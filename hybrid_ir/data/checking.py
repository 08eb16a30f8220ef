"""Checks records of training data: what may be in a corpus, and what is wrong with the rest."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hybrid_ir.formats.languages import wrong_code
from hybrid_ir.formats.problems import Problems
from hybrid_ir.formats.records import ROLES, Records

ON_ERROR = ("stop", "skip")
HUGE = 100_000  # characters
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
        if not isinstance(self.max_characters, int) or self.max_characters < 1:
            raise ValueError(f"max_characters={self.max_characters!r} must be a number, at least 1")


@dataclass
class Checker:
    """Judges records by rules; `alone` counts the good ones that are in one language only."""

    rules: Rules
    problems: Problems
    alone: int = 0

    def good(self, records: Records) -> np.ndarray:
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
        self.alone += int(alone.sum())
        for row, problem in sorted(dict.fromkeys(found)):
            self.problems.add(f"{records.where(row)}: {problem}")
        return good


def mask(values: pa.Array) -> np.ndarray:
    return pc.fill_null(values, False).to_numpy(zero_copy_only=False)


def blank(texts: pa.Array) -> np.ndarray:
    return mask(pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(texts)), 0))
