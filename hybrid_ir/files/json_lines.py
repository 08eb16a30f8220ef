"""Readers of lines: JSON objects, and tab-separated topics and judgements; plain or gzipped, each problem with its line."""

import gzip
import json
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hybrid_ir.files.problems import Problems


@dataclass(frozen=True)
class Judgement:
    """One line of qrels; relevant if the score is above 0."""

    query_id: str
    passage_id: str
    score: float
    where: str


def read_lines(path: Path, problems: Problems) -> Iterator[tuple[int, str]]:
    """Number (from 1) and text of every line that is not blank; a line that is not UTF-8 is a problem, and left out."""
    number = 0
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
            for raw in file:
                number += 1
                try:
                    text = raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
                except UnicodeDecodeError as error:
                    problems.add(
                        f"{path}, line {number}: not UTF-8 ({error.reason} at byte {error.start})"
                    )
                    continue
                if text.strip():
                    yield number, text
    except FileNotFoundError:
        problems.add(f"{path} is missing", whole_file=True)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        problems.add(
            f"{path}, after line {number}: the compressed data is broken ({error}); fetch it again",
            whole_file=True,
        )


def read_objects(path: Path, problems: Problems) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number and JSON object of every line; other lines are problems, and left out."""
    for number, text in read_lines(path, problems):
        try:
            row = json.loads(text)
        except json.JSONDecodeError as error:
            problems.add(f"{path}, line {number}, column {error.colno}: not JSON ({error.msg})")
            continue
        except (
            RecursionError,
            ValueError,
        ) as error:  # brackets without end, a number of thousands of digits
            problems.add(
                f"{path}, line {number}: not JSON that can be read ({str(error).partition(';')[0]:.80})"
            )
            continue
        if not isinstance(row, dict):
            problems.add(f"{path}, line {number}: {text:.40} is not a JSON object")
        elif "\\ud" in text.lower() and not is_encodable(row):
            problems.add(f"{path}, line {number}: half of a surrogate pair, which is no character")
        elif ('" :' in text or text.count('":') != count_keys(row)) and (
            twice := find_repeated_key(text)
        ):  # texts may hold ": as well
            problems.add(f"{path}, line {number}: the key {twice!r:.40} comes twice in an object")
        else:
            yield number, row


def count_keys(value: Any) -> int:
    """How many keys all objects in it have."""
    if isinstance(value, dict):
        return len(value) + sum(
            count_keys(one) for one in value.values() if isinstance(one, dict | list)
        )
    return (
        sum(count_keys(one) for one in value if isinstance(one, dict | list))
        if isinstance(value, list)
        else 0
    )


def find_repeated_key(text: str) -> str | None:
    """A key that comes twice in one object, of which json would keep the last in silence."""
    found: list[str] = []

    def seen(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        found.extend(name for name in names if names.count(name) > 1)
        return {}

    json.loads(text, object_pairs_hook=seen)
    return found[0] if found else None


def is_encodable(row: dict[str, Any]) -> bool:
    try:
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def get_text_field(
    row: dict[str, Any],
    key: str,
    where: str,
    problems: Problems,
    default: str | None = None,
    blank: bool = False,
) -> str | None:
    """The text of a key; None after naming what is wrong with it. An id may be a number; `default` is for none at all."""
    value = default if row.get(key) is None else row[key]
    if isinstance(value, int) and not isinstance(value, bool) and key.endswith("id"):
        return str(value)
    if isinstance(value, str) and (value.strip() or blank or value == default):
        return value
    if key not in row:
        problems.add(f"{where}: no key '{key}', there are {', '.join(map(repr, row)) or 'none'}")
    else:
        problems.add(f"{where}: '{key}' is {value!r:.40}, need a text")
    return None


def read_columns(path: Path, number: int, problems: Problems) -> Iterator[tuple[str, list[str]]]:
    """Place and columns of every line, separated by tabs (or blanks, where a line has no tab); lines must have `number`."""
    for line, text in read_lines(path, problems):
        found = [part.strip() for part in (text.split("\t") if "\t" in text else text.split())]
        if len(found) == number and all(found):
            yield f"{path}, line {line}", found
        else:
            problems.add(
                f"{path}, line {line}: {len(found)} columns, need {number} with something in each: {text!r:.60}"
            )


def read_judgements(path: Path, trec: bool, problems: Problems) -> Iterator[Judgement]:
    """The lines of qrels: query, passage, score, with an optional header; in TREC's form with an unused second column."""
    for position, (where, parts) in enumerate(read_columns(path, 4 if trec else 3, problems)):
        query_id, passage_id, text = (parts[0], parts[-2], parts[-1])
        try:
            score = float(text)
        except ValueError:
            score = math.nan
        if math.isfinite(score):
            yield Judgement(query_id, passage_id, score, where)
        elif (
            position or trec or not math.isnan(score) or text.lower().lstrip("+-") == "nan"
        ):  # nan and inf head no column
            problems.add(f"{where}: the score {text!r:.40} is not a number")
