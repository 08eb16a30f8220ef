"""Passages that are a query itself: questions that are in the corpus, too, under their own id."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hybrid_ir.evaluation.benchmarks.queries import Query
from hybrid_ir.types import Text


@dataclass(frozen=True)
class OwnPassages:
    """The passages that have the id of a query, without those that are judged relevant to it.

    Args:
        rows_Q: the row of the passage of each query, -1 for none.
        equal_texts: how many of them hold the text of their query.
        answers: how many further passages are judged relevant to the query of their id: they are
            answers and not the query, whatever their ids are.
    """

    rows_Q: np.ndarray
    equal_texts: int
    answers: int

    @property
    def number(self) -> int:
        """How many queries have such a passage."""
        return int((self.rows_Q >= 0).sum())

    def describe(self, ignore_identical_ids: bool) -> str:
        """Says how many there are and what follows, for the card and a warning."""
        value = "true" if ignore_identical_ids else "false"
        effect = "is not in their rankings" if ignore_identical_ids else "stays in their rankings"
        note = (
            f"{value}, {self.number:,} queries have the id of a passage, which {effect}; "
            f"{self.equal_texts:,} of these passages hold the text of the query"
        )
        if self.answers:
            note += f", and {self.answers:,} more are judged relevant to it and count"
        if ignore_identical_ids and not self.equal_texts:
            note += (
                "; if queries and passages are only numbered alike, ignore_identical_ids=false "
                "keeps these passages in the rankings"
            )
        return note


def find_own_passages(
    queries: Sequence[Query],
    relevant: Sequence[np.ndarray],
    rows: Mapping[str, int | None],
    texts: Sequence[Text],
) -> OwnPassages:
    """Finds the passages that have the id of a query.

    Args:
        queries: of the benchmark.
        relevant: rows of the relevant passages of each query.
        rows: the row of each passage that has one of some ids, those of the queries among them;
            None in a language that is left out.
        texts: of all passages.
    """
    rows_Q = np.full(len(queries), -1, np.int64)
    equal_texts = 0
    answers = 0
    for number, query in enumerate(queries):
        row = rows.get(query.id)
        if row is None:
            continue
        if row in relevant[number]:
            answers += 1
            continue
        rows_Q[number] = row
        equal_texts += int(_holds(texts[row], query.text))
    return OwnPassages(rows_Q, equal_texts, answers)


def _holds(passage: Text, query: str) -> bool:
    """Returns whether a passage has all of a query in it, such as behind a title."""
    text = " ".join(passage) if isinstance(passage, tuple) else passage
    return _simplify(query) in _simplify(text)


def _simplify(text: str) -> str:
    return " ".join(text.casefold().split())
