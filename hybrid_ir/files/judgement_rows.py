"""Reads judgements (qrels) from rows of values by name, as JSON lines and Parquet have them."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hybrid_ir.files.columns import simplify_name
from hybrid_ir.files.json_lines import read_objects
from hybrid_ir.files.judgements import (
    PASSAGE_NAMES,
    QRELS,
    QUERY_NAMES,
    SCORE_NAMES,
    Judgement,
    describe_contradiction,
    parse_score,
    read_judgements,
)
from hybrid_ir.files.parquet_rows import read_parquet_rows
from hybrid_ir.files.problems import Problems
from hybrid_ir.files.texts import normalize_id


def read_beir_judgements(path: Path, problems: Problems) -> Iterator[Judgement]:
    """Reads the judgements of a split, from text, Parquet or JSON lines.

    Equal judgements of the same pair come once; a pair that is judged in two ways is a problem.
    """
    if path.suffix == ".parquet" or ".jsonl" in path.suffixes:
        judgements = _read_judgement_rows(path, problems)
    else:
        judgements = read_judgements(path, problems)
    yield from drop_repeated_judgements(judgements, problems)


def drop_repeated_judgements(
    judgements: Iterable[Judgement], problems: Problems
) -> Iterator[Judgement]:
    """Yields equal judgements of a pair once; one that is judged in two ways is a problem."""
    first_judgements: dict[tuple[str, str], Judgement] = {}
    for judgement in judgements:
        pair = (judgement.query_id, judgement.passage_id)
        first = first_judgements.setdefault(pair, judgement)
        if first is judgement:
            yield judgement
            continue
        problem = describe_contradiction(judgement, first)
        if problem:
            problems.add(problem)


def _read_judgement_rows(path: Path, problems: Problems) -> Iterator[Judgement]:
    """Reads judgements that stand in rows under the names of their columns."""
    rows = read_parquet_rows if path.suffix == ".parquet" else read_objects
    unit = "row" if path.suffix == ".parquet" else "line"
    for number, row in rows(path, problems):
        judgement = read_beir_judgement(row, f"{path}, {unit} {number}", problems)
        if judgement is not None:
            yield judgement


def read_beir_judgement(row: Mapping[str, Any], place: str, problems: Problems) -> Judgement | None:
    """Reads a judgement from one row; None after adding a problem.

    Args:
        row: values by the names of their columns.
        place: of the row, for messages.
        problems: gets what is wrong with it.
    """
    values = []
    for names in (QUERY_NAMES, PASSAGE_NAMES, SCORE_NAMES):
        values.append(_find_value(row, names))
    query_id, passage_id, score = values
    if query_id is None or passage_id is None:
        problems.add(
            f"{place}: it needs columns called like query-id, corpus-id and score with "
            f"something in each, there are {', '.join(row)}"
        )
        return None
    problem = _find_score_problem(row)
    if problem is None and parse_score(score) is None:
        problem = f"the score {score!r:.40} is not a number"
    if problem is not None:
        problems.add(f"{place}: {problem}")
        return None
    return Judgement(_to_id(query_id), _to_id(passage_id), parse_score(score), place)


def _find_score_problem(row: Mapping[str, Any]) -> str | None:
    """Returns why nobody can know which column judges, or None."""
    kinds = [QRELS.find_kind(key) for key in row]
    scores = [key for key, kind in zip(row, kinds, strict=True) if kind == "score"]
    if len(scores) > 1:
        return f"any of {', '.join(scores)} may be the score: leave one of them"
    if any(simplify_name(key).startswith("rank") for key in row):
        return "there is a rank: this is a run, the ranking of a system, and no judgements"
    return None


def _to_id(value: Any) -> str:
    """Returns an id as text; pandas makes 11.0 of 11 where some ids are missing."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return normalize_id(str(value))


def _find_value(row: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    """Returns the value of the column with the first of these names, however it is spelt."""
    by_name = {simplify_name(key): value for key, value in row.items()}
    for name in names:
        if simplify_name(name) in by_name:
            return by_name[simplify_name(name)]
    return None
