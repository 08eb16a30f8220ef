"""Checks records of training data: what may be in a corpus, and what is wrong with the rest."""

# R records

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hybrid_ir.files.languages import explain_wrong_code
from hybrid_ir.files.problems import Problems
from hybrid_ir.files.records import ROLES, Records
from hybrid_ir.files.scripts import TEXTS_LOOKED_AT, explain_wrong_script
from hybrid_ir.files.texts import find_blank_texts, is_blank

ON_ERROR = ("stop", "skip")
MAX_CHARACTERS = 100_000  # characters of a text
# Negatives of a record: a batch looks at as many places for each of its pairs as the pair with the
# most negatives has.
MAX_NEGATIVES = 100


@dataclass(frozen=True)
class RecordRules:
    """What a record may be, and what happens if it is something else.

    Args:
        max_characters: the most characters that a text may have.
        errors: `stop` writes nothing if anything is wrong, `skip` leaves wrong records out and
            counts them.
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


class RecordFindings:
    """What a check finds in some records.

    Attributes:
        is_good: whether nothing is wrong with each record (R).
        is_monolingual: whether each record has its query in one language and its passage in one
            language at most (R).
        problems: row and description of each problem.
    """

    def __init__(self, records: Records):
        self.records = records
        self.is_good = np.ones(len(records), bool)
        self.is_monolingual = np.zeros(len(records), bool)
        self.problems: list[tuple[int, str]] = []

    def add(self, has_problem: np.ndarray, problem: str, details: pa.Array | None = None) -> None:
        """Adds a problem that several records have.

        Args:
            has_problem: whether each record has it (R).
            problem: what is wrong.
            details: a value of each record that is shown with the problem.
        """
        for row in np.flatnonzero(has_problem):
            if details is None:
                self.add_to_row(row, problem)
            else:
                self.add_to_row(row, f"{problem}: {details[row].as_py()!r:.60}")

    def add_to_row(self, row: int, problem: str) -> None:
        """Adds a problem of one record."""
        self.problems.append((row, problem))
        self.is_good[row] = False

    def list_in_order(self) -> list[tuple[int, str]]:
        """Returns row and description of each problem, in the order of the rows, each once."""
        return sorted(set(self.problems))


@dataclass
class RecordChecker:
    """Checks records by rules, and collects what is wrong with them.

    Args:
        rules: what a record may be.
        problems: collects what is wrong.
    """

    rules: RecordRules
    problems: Problems
    # What speaks against each language by the script of its first texts; None for nothing.
    _script_problems: dict[str, str | None] = field(default_factory=dict, init=False)

    def check(self, records: Records) -> RecordFindings:
        """Returns what is wrong with some records, and adds it to the problems."""
        findings = RecordFindings(records)
        for row, problem in records.conflicts:
            findings.add_to_row(row, problem)
        has_no_id = to_mask(find_blank_texts(records.ids)) | ~to_mask(pc.is_valid(records.ids))
        findings.add(has_no_id, "an empty id")
        languages = {role: np.zeros(len(records), np.int64) for role in ROLES}
        for (role, language), texts in records.columns.items():
            languages[role] += to_mask(pc.is_valid(texts))
            self._check_texts(findings, role, language, texts)
        for language, lists in records.negatives.items():
            self._check_negatives(findings, language, lists)
        for role in ROLES:
            problem = f"no {role} in any language for the id"
            findings.add(languages[role] == 0, problem, records.ids)
        findings.is_monolingual = np.maximum(languages["query"], languages["passage"]) == 1
        if self.rules.twins:
            findings.add(
                findings.is_good & findings.is_monolingual,
                "no twin in another language (twins=false takes it without) for the id",
                records.ids,
            )
        for row, problem in findings.list_in_order():
            self.problems.add(f"{records.describe_place(row)}: {problem}")
        return findings

    def _check_texts(
        self, findings: RecordFindings, role: str, language: str, texts: pa.Array
    ) -> None:
        limit = self.rules.max_characters
        sizes = pc.utf8_length(texts)
        findings.add(to_mask(find_blank_texts(texts)), f"an empty {role} in '{language}'")
        findings.add(
            to_mask(pc.match_substring(texts, "\0")),
            f"a NUL character in a {role} in '{language}'",
        )
        findings.add(
            to_mask(pc.greater(sizes, limit)),
            f"a {role} in '{language}' has more characters than max_characters={limit}",
            sizes,
        )
        passages = findings.records.columns.get(("passage", language))
        if role == "query" and passages is not None:
            findings.add(
                to_mask(pc.equal(texts, passages)),
                f"the query is its passage in '{language}'",
                texts,
            )
        has_text = to_mask(pc.is_valid(texts))
        code_problem = explain_wrong_code(language)
        if code_problem:
            findings.add(has_text, code_problem)
        is_known = language in self._script_problems
        script_problem = self._find_script_problem(language, texts)
        if script_problem:
            findings.is_good &= ~has_text
            if not is_known:  # said once, as it concerns all records of the language
                findings.add_to_row(int(has_text.argmax()), script_problem)

    def _find_script_problem(self, language: str, texts: pa.Array) -> str | None:
        """Returns what the script of the first texts of a language says against its code."""
        if language not in self._script_problems:
            first_texts = texts.drop_null()[:TEXTS_LOOKED_AT].to_pylist()
            if not first_texts:
                return None
            self._script_problems[language] = explain_wrong_script(language, first_texts)
        return self._script_problems[language]

    def _check_negatives(self, findings: RecordFindings, language: str, lists: pa.Array) -> None:
        no_passages = pa.nulls(len(lists), pa.string())
        passages = findings.records.columns.get(("passage", language), no_passages)
        rows = zip(lists.to_pylist(), passages.to_pylist(), strict=True)
        for row, (negatives, passage) in enumerate(rows):
            for problem in self._find_negative_problems(negatives or [], passage, language):
                findings.add_to_row(row, problem)

    def _find_negative_problems(
        self, negatives: Sequence[str | None], passage: str | None, language: str
    ) -> list[str]:
        """Returns what is wrong with the negatives of one record in one language."""
        limit = self.rules.max_characters
        texts = [text for text in negatives if text is not None]
        problems = []
        if len(negatives) > MAX_NEGATIVES:
            problems.append(f"more than {MAX_NEGATIVES:,} negatives")
        if any(is_blank(text) for text in texts):
            problems.append(f"an empty negative in '{language}'")
        if any("\0" in text for text in texts):
            problems.append(f"a NUL character in a negative in '{language}'")
        if any(len(text) > limit for text in texts):
            problems.append(
                f"a negative in '{language}' has more characters than max_characters={limit}"
            )
        if passage in texts:
            problems.append(f"a negative in '{language}' is the passage: {passage!r:.60}")
        code_problem = explain_wrong_code(language)
        if texts and code_problem:
            problems.append(code_problem)
        return problems


def to_mask(values: pa.Array) -> np.ndarray:
    """Converts Arrow booleans to NumPy, with False where a value is missing."""
    return pc.fill_null(values, False).to_numpy(zero_copy_only=False)
