"""Reads training data in the forms of FlagEmbedding and tevatron."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hybrid_ir.files.json_lines import get_text_field, read_objects
from hybrid_ir.files.languages import find_canonical_code
from hybrid_ir.files.problems import Problems
from hybrid_ir.files.records import (
    RECORDS_PER_BLOCK,
    Records,
    build_pair_records,
    join_title,
)

Row = tuple[int, str, str, str, list[str]]  # number, id, query, passage, negatives
TEVATRON_QUERY_KEYS = ("query", "query_text")


def read_flagembedding_records(
    path: Path, language: str, most_negatives: int, problems: Problems
) -> Iterator[Records]:
    """Reads JSON lines with `query`, a list `pos` of passages and a list `neg` of hard negatives.

    Scores of teachers and prompts that a line may have are not used.

    Args:
        path: the file.
        language: the language of all texts.
        most_negatives: how many of the negatives of a line are used, the first ones.
        problems: gets what is wrong with lines; they are left out.

    Yields:
        A record for each positive of a line.
    """

    def build_rows(number: int, place: str, line: Mapping[str, Any]) -> list[Row] | None:
        query = get_text_field(line, "query", place, problems)
        positives = _read_texts(line, "pos", place, problems)
        negatives = _read_texts(line, "neg", place, problems, may_be_missing=True)
        if query is None or positives is None or negatives is None:
            return None
        name = _name_line(line, "id", path, number)
        rows = []
        for i, positive in enumerate(positives):
            rows.append((number, f"{name}\t{i}", query, positive, negatives[:most_negatives]))
        return rows

    return _read_rows(path, language, problems, build_rows)


def _read_texts(
    line: Mapping[str, Any],
    key: str,
    place: str,
    problems: Problems,
    may_be_missing: bool = False,
) -> list[str] | None:
    """Returns the texts of a list, without empty ones; None after adding a problem."""
    texts = line.get(key)
    if texts is None and may_be_missing:
        return []
    are_texts = isinstance(texts, list) and all(isinstance(text, str) for text in texts)
    if not are_texts or (not texts and not may_be_missing):
        problems.add(f"{place}: '{key}' is {texts!r:.60}, need a list of texts")
        return None
    with_text = [text for text in texts if join_title(None, text)]
    if not with_text and not may_be_missing:
        problems.add(f"{place}: '{key}' has no text")
        return None
    return with_text


def read_tevatron_records(
    path: Path, language: str, most_negatives: int, problems: Problems
) -> Iterator[Records]:
    """Reads JSON lines with a query, `positive_passages` and `negative_passages`.

    A passage is an object with docid, text and optional title, as in the data sets of tevatron
    and of MIRACL and Mr. TyDi.

    Args:
        path: the file.
        language: the language of all texts.
        most_negatives: how many of the negatives of a line are used, the first ones.
        problems: gets what is wrong with lines; they are left out.

    Yields:
        A record for each positive of a line.
    """

    def build_rows(number: int, place: str, line: Mapping[str, Any]) -> list[Row] | None:
        key = TEVATRON_QUERY_KEYS[1] if TEVATRON_QUERY_KEYS[1] in line else TEVATRON_QUERY_KEYS[0]
        query = get_text_field(line, key, place, problems)
        positives = _read_passages(line, "positive_passages", place, problems)
        negatives = _read_passages(line, "negative_passages", place, problems, may_be_missing=True)
        if query is None or positives is None or negatives is None:
            return None
        negative_texts = [text for _, text in negatives[:most_negatives]]
        name = _name_line(line, "query_id", path, number)
        rows = []
        for docid, text in positives:
            rows.append((number, f"{name}\t{docid}", query, text, negative_texts))
        return rows

    return _read_rows(path, language, problems, build_rows)


def _name_line(line: Mapping[str, Any], key: str, path: Path, number: int) -> str:
    """Returns an id of a line that no line of another file has."""
    name = line.get(key)
    return f"{path.parent.name}/{path.name}\t{number if name is None else name}"


def _read_passages(
    line: Mapping[str, Any],
    key: str,
    place: str,
    problems: Problems,
    may_be_missing: bool = False,
) -> list[tuple[str, str]] | None:
    """Returns ids and texts of passages, without empty ones; None after adding a problem."""
    passages = line.get(key)
    if passages is None and may_be_missing:
        return []
    are_objects = isinstance(passages, list) and all(isinstance(one, dict) for one in passages)
    if not are_objects or (not passages and not may_be_missing):
        problems.add(
            f"{place}: '{key}' is {passages!r:.60}, need a list of objects with docid, title, text"
        )
        return None
    texts = []
    for i, passage in enumerate(passages):
        where = f"{place}, {key}[{i}]"
        text = get_text_field(passage, "text", where, problems, blank=True)
        title = get_text_field(passage, "title", where, problems, default="", blank=True)
        if text is None or title is None:
            return None
        if text:
            docid = passage.get("docid")
            texts.append((str(i if docid is None else docid), join_title(title, text)))
    if not texts and not may_be_missing:
        problems.add(f"{place}: '{key}' has no passage with a text")
        return None
    return texts


def _find_line_problem(line: Mapping[str, Any], language: str) -> str | None:
    """Returns what a line says that would be passed over, or None."""
    if "negatives" in line:
        return "the key 'negatives' is not read here, write 'neg' or 'negative_passages'"
    code = line.get("language", line.get("lang"))
    if isinstance(code, str) and find_canonical_code(code) != language:
        return f"the language is {code!r}, but the file is read as {language!r}"
    return None


def _read_rows(
    path: Path,
    language: str,
    problems: Problems,
    build_rows: Callable[[int, str, Mapping[str, Any]], Sequence[Row] | None],
) -> Iterator[Records]:
    """Yields the records of all lines, block by block."""
    place = f"{path}, line"
    rows: list[Row] = []
    for number, line in read_objects(path, problems):
        problem = _find_line_problem(line, language)
        if problem:
            problems.add(f"{place} {number}: {problem}")
            continue
        rows += build_rows(number, f"{place} {number}", line) or []
        if len(rows) >= RECORDS_PER_BLOCK:
            yield build_pair_records(place, language, rows)
            rows = []
    if rows:
        yield build_pair_records(place, language, rows)
