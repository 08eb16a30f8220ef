"""The queries of a benchmark, and the passages that are relevant to each of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hybrid_ir.evaluation.benchmarks.relevance import GradesByTopic, JudgedRelevance
from hybrid_ir.evaluation.selection import choose_questions


@dataclass(frozen=True)
class Query:
    """A text to search with.

    Args:
        language: the code of its language.
        id: unique in the benchmark, over all languages.
        text: what is asked.
        question_id: shared with the translations of the query.
        where: file and line, for error messages.
        topics: the passages of these topics are relevant; of its own id if there are none.
    """

    language: str
    id: str
    text: str
    question_id: str
    where: str = ""
    topics: tuple[str, ...] = ()


def choose_queries(
    queries: Sequence[Query], languages: Sequence[str], max_queries: int | None
) -> list[Query]:
    """Returns the queries that are kept, language by language."""
    by_language: dict[str, list[Query]] = {language: [] for language in languages}
    for query in queries:
        by_language[query.language].append(query)
    selected = []
    for of_language in by_language.values():
        kept = choose_questions((query.question_id for query in of_language), max_queries)
        selected += [query for query in of_language if query.question_id in kept]
    return selected


def list_missing_grades(
    queries: Sequence[Query], relevance: JudgedRelevance, is_graded: bool
) -> list[np.ndarray] | None:
    """Returns the grades of the relevant passages that are not there; None if there are none.

    Where all grades are equal, each of them is 1.
    """
    missing = []
    for query in queries:
        grades = np.array([grade for grade, _ in relevance.missing.get(query.id, ())], float)
        missing.append(grades if is_graded else np.ones_like(grades))
    return missing if any(map(len, missing)) else None


def list_missing_languages(
    queries: Sequence[Query], relevance: JudgedRelevance, languages: Sequence[str]
) -> list[np.ndarray] | None:
    """Returns the languages of the relevant passages that are not there, -1 for an unknown one.

    None if there are no such passages.
    """
    number_of = {language: number for number, language in enumerate(languages)}
    missing = []
    for query in queries:
        codes = [code for _, code in relevance.missing.get(query.id, ())]
        missing.append(np.array([number_of.get(code, -1) for code in codes], np.int64))
    return missing if any(map(len, missing)) else None


def list_topics(query: Query) -> tuple[str, ...]:
    """Returns the topics of a query, which are its own id if it names none."""
    return query.topics or (query.id,)


def has_topic(query: Query, grades_by_topic: GradesByTopic) -> bool:
    """Returns whether some passage is relevant to a query."""
    return any(topic in grades_by_topic for topic in list_topics(query))


def find_relevant_passages(
    queries: Sequence[Query], relevance: JudgedRelevance, keep_grades: bool = False
) -> tuple[list[np.ndarray], list[np.ndarray] | None]:
    """Returns rows and grades of the relevant passages of each query.

    Queries of the same topics share their arrays. The grades are None if all of them are equal,
    those of passages that are not there included, unless they are to be kept.
    """
    grades_by_topic = relevance.grades
    joined: dict[tuple[str, ...], tuple[np.ndarray, np.ndarray]] = {}
    distinct_grades: set[float] = set()
    for query in queries:
        distinct_grades.update(grade for grade, _ in relevance.missing.get(query.id, ()))
    for query in queries:
        topics = list_topics(query)
        if topics not in joined:
            rows, grades = _join_topics(topics, grades_by_topic)
            joined[topics] = (rows, grades)
            distinct_grades.update(grades.tolist())
    relevant = [joined[list_topics(query)][0] for query in queries]
    if len(distinct_grades) < 2 and not keep_grades:
        return relevant, None
    return relevant, [joined[list_topics(query)][1] for query in queries]


def _join_topics(
    topics: Sequence[str], grades_by_topic: GradesByTopic
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the rows of the passages of all topics, sorted, and their grades."""
    grades: dict[int, float] = {}
    for topic in topics:
        grades.update(grades_by_topic.get(topic, {}))
    rows = sorted(grades)
    return np.array(rows, dtype=np.int64), np.array([grades[row] for row in rows])
