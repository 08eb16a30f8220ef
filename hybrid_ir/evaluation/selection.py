"""Selects a part of a benchmark: some of its questions or queries, and what is relevant to them."""

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from hybrid_ir.types import Benchmark


def hash_id(name: str) -> tuple[int, str]:
    """Returns a sort key that puts ids in an order which looks random but is always the same."""
    return zlib.crc32(str(name).encode()), str(name)


def choose_questions(question_ids: Iterable[str], max_questions: int | None) -> set[str]:
    """Returns the questions to keep, those with the lowest hashes of their ids.

    The choice depends on the ids alone, so that languages which share their questions keep the
    same ones, and a smaller choice is part of a larger one. None keeps all questions.
    """
    return set(sorted(set(question_ids), key=hash_id)[:max_questions])


def select_questions(benchmark: Benchmark, max_questions: int) -> Benchmark:
    """Selects questions of a benchmark with all their translations and relevant passages.

    Args:
        benchmark: to choose from.
        max_questions: how many questions of each language to choose at most.

    Returns:
        A benchmark without any other queries and passages.
    """
    chosen: set[str] = set()
    for language in range(len(benchmark.languages)):
        rows = np.flatnonzero(benchmark.query_languages == language)
        chosen |= choose_questions(
            (benchmark.question_ids[int(row)] for row in rows), max_questions
        )
    query_rows = [row for row, name in enumerate(benchmark.question_ids) if name in chosen]
    return select_queries(benchmark, query_rows)


def select_queries(benchmark: Benchmark, query_rows: Sequence[int]) -> Benchmark:
    """Returns a smaller benchmark: some of the queries and the passages relevant to them.

    Args:
        benchmark: the benchmark to take them from.
        query_rows: rows of its queries, in the order of the result.
    """
    relevant = [benchmark.relevant[row] for row in query_rows]
    passage_rows = np.unique(np.concatenate([np.zeros(0, np.int64), *relevant]))
    return _take_rows(benchmark, query_rows, passage_rows)


def limit_questions(
    benchmark: Benchmark, max_questions: int | None, only_answered: bool = False
) -> Benchmark:
    """Keeps some questions of a benchmark, with all their translations and with all passages.

    Args:
        benchmark: to choose from.
        max_questions: how many to keep; None keeps all.
        only_answered: whether to choose among questions with a relevant passage, if any is left
            out at all.
    """
    if max_questions is None:
        return benchmark
    candidates = list(benchmark.question_ids)
    if only_answered:
        candidates = []
        for question, rows in zip(benchmark.question_ids, benchmark.relevant, strict=True):
            if len(rows):
                candidates.append(question)
    chosen = choose_questions(candidates, max_questions)
    rows = [row for row, name in enumerate(benchmark.question_ids) if name in chosen]
    return _take_rows(benchmark, rows, np.arange(len(benchmark.passages)))


def select_languages(benchmark: Benchmark, languages: Sequence[str]) -> Benchmark:
    """Selects the queries and passages of a benchmark that are in some of its languages.

    Args:
        benchmark: the benchmark to take them from.
        languages: codes to keep, in the order of the result.
    """
    codes = np.array([benchmark.languages.index(language) for language in languages])
    query_rows = np.flatnonzero(np.isin(benchmark.query_languages, codes))
    passage_rows = np.flatnonzero(np.isin(np.asarray(benchmark.passage_languages), codes))
    selected = _take_rows(benchmark, query_rows.tolist(), passage_rows)
    new_codes = np.full(len(benchmark.languages), -1)
    new_codes[codes] = np.arange(len(codes))
    missing_languages = None
    if selected.missing_languages is not None:
        # -1, an unknown language, stays what it is.
        known = np.append(new_codes, -1)
        missing_languages = [known[np.asarray(part)] for part in selected.missing_languages]
    return replace(
        selected,
        languages=tuple(languages),
        query_languages=new_codes[selected.query_languages],
        passage_languages=new_codes[selected.passage_languages],
        missing_languages=missing_languages,
    )


def _take_rows(
    benchmark: Benchmark, query_rows: Sequence[int], passage_rows: np.ndarray
) -> Benchmark:
    """Returns some queries and passages of a benchmark, and the judgements between them.

    Args:
        benchmark: the benchmark to take them from.
        query_rows: rows of its queries, in the order of the result.
        passage_rows: rows of its passages, ascending.
    """
    relevant = []
    grades = None if benchmark.grades is None else []
    for row in query_rows:
        places = find_places(np.asarray(benchmark.relevant[row], np.int64), passage_rows)
        relevant.append(places[places >= 0])
        if grades is not None:
            grades.append(np.asarray(benchmark.grades[row])[places >= 0])
    own_passages = None
    if benchmark.own_passages is not None:
        own_rows = np.asarray(benchmark.own_passages)[query_rows]
        own_passages = find_places(own_rows, passage_rows)
    return replace(
        benchmark,
        queries=[benchmark.queries[row] for row in query_rows],
        query_languages=benchmark.query_languages[query_rows],
        question_ids=[benchmark.question_ids[row] for row in query_rows],
        passages=[benchmark.passages[int(row)] for row in passage_rows],
        passage_languages=np.asarray(benchmark.passage_languages)[passage_rows],
        passage_ids=[benchmark.passage_ids[int(row)] for row in passage_rows],
        relevant=relevant,
        grades=grades,
        missing_grades=_take(benchmark.missing_grades, query_rows),
        missing_languages=_take(benchmark.missing_languages, query_rows),
        own_passages=own_passages,
    )


def _take(values: Sequence | None, rows: Sequence[int]) -> list | None:
    """Returns the values of some rows, None for none at all."""
    return None if values is None else [values[row] for row in rows]


def find_places(rows: np.ndarray, sorted_rows: np.ndarray) -> np.ndarray:
    """Finds the place of each row among ascending rows, -1 for a row that is not among them."""
    if len(sorted_rows) == 0:
        return np.full(len(rows), -1)
    places = np.searchsorted(sorted_rows, rows).clip(max=len(sorted_rows) - 1)
    return np.where(sorted_rows[places] == rows, places, -1)


def require_relevant_passages(benchmark: Benchmark) -> None:
    """Raises ValueError for a benchmark in which no query has a relevant passage, or for a name."""
    if isinstance(benchmark, str):
        raise ValueError(f"benchmark={benchmark!r} is no Benchmark: load_benchmark gives one")
    if not any(len(rows) for rows in benchmark.relevant):
        raise ValueError(
            f"{benchmark.name}: no query has a relevant passage, so there is nothing to measure; "
            "choose other languages, or more of max_queries"
        )
