"""Reads lines and JSON lines, plain or gzipped, and names the line of every problem."""

import gzip
import json
import math
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from hybrid_ir.files.problems import Problems
from hybrid_ir.files.texts import is_blank, normalize_id

# What files begin with that are in UTF-16 or UTF-32 and no UTF-8, longest first: byte order marks.
BYTE_ORDER_MARKS = {
    b"\xff\xfe\0\0": "UTF-32",
    b"\0\0\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
# Keys whose values may be numbers: a book can be called 1984.
NUMBER_KEYS = ("title",)


def read_lines(path: Path, problems: Problems) -> Iterator[tuple[int, str]]:
    """Reads the lines of a text file in UTF-8, which is gzipped if its name ends in .gz.

    Yields the number (from 1) and the text of every line that is not blank. A line that is not
    UTF-8 is added to the problems and left out; a file in UTF-16 or UTF-32 is one problem.
    """
    number = 0
    try:
        with _open_binary(path) as file:
            for line in file:
                number += 1
                encoding = _recognise_wide_encoding(line) if number == 1 else None
                if encoding is not None:
                    problems.add(_describe_wide_encoding(path, encoding), file_unreadable=True)
                    return
                # The first line may begin with a byte order mark.
                encoding = "utf-8-sig" if number == 1 else "utf-8"
                try:
                    text = line.decode(encoding).rstrip("\r\n")
                except UnicodeDecodeError as error:
                    problems.add(
                        f"{path}, line {number}: not UTF-8 ({error.reason} at byte {error.start})"
                    )
                    continue
                if text.strip():
                    yield number, text
    except FileNotFoundError:
        problems.add(f"{path} is missing", file_unreadable=True)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        problems.add(
            f"{path}, after line {number}: the compressed data is broken ({error}); fetch it again",
            file_unreadable=True,
        )


def _open_binary(path: Path) -> BinaryIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rb")
    return open(path, "rb")


def _recognise_wide_encoding(first_line: bytes) -> str | None:
    """Returns the encoding of a file whose characters have two or four bytes; None for others."""
    for mark, encoding in BYTE_ORDER_MARKS.items():
        if first_line.startswith(mark):
            return encoding
    # Without a mark: a letter of ASCII and a zero byte, twice, in either order.
    start = first_line[:4]
    if len(start) == 4 and start[1] == start[3] == 0 and start[0] and start[2]:
        return "UTF-16LE"
    if len(start) == 4 and start[0] == start[2] == 0 and start[1] and start[3]:
        return "UTF-16BE"
    return None


def _describe_wide_encoding(path: Path, encoding: str) -> str:
    command = f"iconv -f {encoding} -t UTF-8 {path.name} > NEW"
    if path.suffix == ".gz":
        command = f"gunzip -c {path.name} | iconv -f {encoding} -t UTF-8 | gzip > NEW.gz"
    return f"{path} looks like {encoding}, need UTF-8: `{command}` writes it so"


def read_objects(path: Path, problems: Problems) -> Iterator[tuple[int, dict[str, Any]]]:
    """Reads a file of JSON lines.

    Yields the number and the object of every line. A line that is no object is added to the
    problems and left out.
    """
    is_first = True
    for number, text in read_lines(path, problems):
        if is_first and text.lstrip()[:1] == "[" and _is_list_of_objects(path):
            problems.add(
                f"{path}, line {number}: the file is one JSON list, need an object on each line: "
                f"`jq -c '.[]' {path.name}` writes them so",
                file_unreadable=True,
            )
            return
        is_first = False
        try:
            value = json.loads(text)
        except json.JSONDecodeError as error:
            problems.add(f"{path}, line {number}, column {error.colno}: not JSON ({error.msg})")
            continue
        except (RecursionError, ValueError) as error:
            # Brackets without an end, or a number of thousands of digits.
            reason = str(error).partition(";")[0]
            problems.add(f"{path}, line {number}: not JSON that can be read ({reason:.80})")
            continue
        problem = _find_object_problem(value, text)
        if problem is None:
            yield number, value
        else:
            problems.add(f"{path}, line {number}: {problem}")


def _is_list_of_objects(path: Path) -> bool:
    """Returns whether a file that begins with a bracket goes on with an object."""
    with _open_binary(path) as file:
        start = file.read(1000).decode("utf-8", errors="ignore")
    return start.lstrip("\ufeff \t\r\n")[1:].lstrip().startswith("{")


def _find_object_problem(value: Any, text: str) -> str | None:
    """Returns what is wrong with the JSON value of a line, or None."""
    if not isinstance(value, dict):
        return f"{text:.40} is not a JSON object"
    if "\\ud" in text.lower() and not _can_be_encoded(value):
        return "half of a surrogate pair, which is no character"
    # Counting the keys is fast; only where the count is off, which texts with ": in them cause as
    # well, the line is parsed a second time.
    if '" :' in text or text.count('":') != _count_keys(value):
        key = _find_repeated_key(text)
        if key is not None:
            return f"the key {key!r:.40} comes twice in an object"
    return None


def _count_keys(value: dict | list) -> int:
    """Counts the keys of an object or list and of all objects inside it."""
    count = 0
    children = value
    if isinstance(value, dict):
        count = len(value)
        children = value.values()
    for child in children:
        if isinstance(child, dict | list):
            count += _count_keys(child)
    return count


def _find_repeated_key(text: str) -> str | None:
    """Returns a key that comes twice in one object, where json would keep its last value only."""
    repeated_keys = []

    def note_repeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        for key in keys:
            if keys.count(key) > 1:
                repeated_keys.append(key)
        return {}

    json.loads(text, object_pairs_hook=note_repeated_keys)
    return repeated_keys[0] if repeated_keys else None


def _can_be_encoded(value: dict[str, Any]) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def get_text_field(
    row: Mapping[str, Any],
    key: str,
    place: str,
    problems: Problems,
    default: str | None = None,
    blank: bool = False,
) -> str | None:
    """Returns the text under a key of a JSON object or of a row of a table.

    Args:
        row: the object.
        key: the key. If it ends in "id", the text is an id, which may be a whole number, and is
            normalised (see `normalize_id`). Under "title" any number is accepted.
        place: file and line, for the error message.
        problems: gets what is wrong with the value.
        default: the value if the key is missing or null.
        blank: whether there may be no text: null, or one that shows nothing, is "" then.

    Returns:
        The text, or None after adding a problem.
    """
    value = row.get(key)
    if isinstance(value, float) and math.isnan(value):
        value = None  # pandas writes a missing text so
    is_id = key.endswith("id")
    kind = "a text or a whole number" if is_id else "a text"
    if _is_number_for(value, key, is_id):
        value = str(value)
    if value is None and default is not None:
        return default
    if value is None and blank and key in row:
        return ""
    if not isinstance(value, str):
        if key in row:
            problems.add(f"{place}: '{key}' is {value!r:.40}, need {kind}")
        else:
            problems.add(f"{place}: {describe_missing_key(key, row)}")
        return None
    if "\0" in value:
        problems.add(f"{place}: a NUL character in '{key}', {value!r:.40}")
        return None
    if is_blank(value):
        if blank:
            return ""
        problems.add(f"{place}: '{key}' is {value!r:.40}, need {kind}")
        return None
    return _normalize_id(value, place, problems) if is_id else value


def _is_number_for(value: Any, key: str, is_id: bool) -> bool:
    """Returns whether a value is a number that stands for a text under this key."""
    if isinstance(value, bool):
        return False
    if isinstance(value, int):
        return is_id or key in NUMBER_KEYS
    return isinstance(value, float) and key in NUMBER_KEYS


def _normalize_id(value: str, place: str, problems: Problems) -> str:
    normalized = normalize_id(value)
    if normalized != value:
        problems.note_changed_id(place)
    return normalized


def describe_missing_key(key: str, row: Mapping[str, Any]) -> str:
    """Returns the message for an object that lacks a key; it names the keys that are there."""
    present_keys = ", ".join(repr(present_key) for present_key in row)
    return f"no key '{key}', there are {present_keys or 'none'}"


def read_log_rows(path: Path) -> list[dict[str, Any]]:
    """Reads the rows of a log, without a last one that a killed process left half written.

    Args:
        path: of the log, such as metrics.jsonl of a run; a log that is not there has no rows.

    Raises:
        ValueError: a line before the last one is damaged.
    """
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError as error:
            if number < len(lines):
                raise ValueError(
                    f"{path}, line {number}, is not JSON ({error}): delete the line"
                ) from error
    return rows
