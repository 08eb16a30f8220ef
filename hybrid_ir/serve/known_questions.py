"""The questions of a benchmark: suggested while one is typed, with their known answers."""

import unicodedata
from dataclasses import dataclass

import numpy as np

from hybrid_ir.model.adapters import join_text_pair
from hybrid_ir.types import Benchmark


@dataclass(frozen=True)
class KnownQuestion:
    """A question of a benchmark.

    Args:
        text: as the benchmark has it.
        language: its code.
    """

    text: str
    language: str


def simplify_text(text: str) -> str:
    """Returns a text without what typing may change: case, width, and the number of blanks."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


class KnownQuestions:
    """The questions of a benchmark by their text.

    Args:
        benchmark: whose questions they are.
    """

    def __init__(self, benchmark: Benchmark):
        self.benchmark = benchmark
        self._queries_of: dict[str, list[int]] = {}
        for query, text in enumerate(benchmark.queries):
            key = simplify_text(join_text_pair(text))
            self._queries_of.setdefault(key, []).append(query)

    def __len__(self) -> int:
        return len(self._queries_of)

    @property
    def repeated(self) -> int:
        """How many more there are, with the text of another one."""
        return len(self.benchmark.queries) - len(self)

    def find_relevant_rows(self, text: str) -> np.ndarray | None:
        """Finds the passages that answer a question, of all questions with this very text.

        Returns:
            Their rows, ascending; None where the benchmark has no such question.
        """
        queries = self._queries_of.get(simplify_text(text))
        if queries is None:
            return None
        rows = [np.asarray(self.benchmark.relevant[query], np.int64) for query in queries]
        return np.unique(np.concatenate(rows))

    def suggest(self, text: str, count: int) -> list[KnownQuestion]:
        """Suggests questions that begin with a text, and then those that hold it.

        Without a text, the first question of each language is suggested, of `count` languages.
        """
        key = simplify_text(text)
        if not key:
            return self._list_first_of_languages(count)
        beginning = []
        holding = []
        for question, queries in self._queries_of.items():
            if question.startswith(key):
                beginning.append(queries[0])
            elif key in question and len(holding) < count:
                holding.append(queries[0])
            if len(beginning) == count:
                break
        return [self._describe(query) for query in (beginning + holding)[:count]]

    def _list_first_of_languages(self, count: int) -> list[KnownQuestion]:
        codes_Q = np.asarray(self.benchmark.query_languages)
        _, first = np.unique(codes_Q, return_index=True)
        return [self._describe(int(query)) for query in first[:count]]

    def _describe(self, query: int) -> KnownQuestion:
        language = self.benchmark.languages[self.benchmark.query_languages[query]]
        return KnownQuestion(join_text_pair(self.benchmark.queries[query]), language)
