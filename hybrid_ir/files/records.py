"""Records of training data, some thousands at a time: readers of JSON lines and tab-separated files."""

import glob
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import pyarrow as pa

from hybrid_ir.files.json_lines import read_lines, read_objects
from hybrid_ir.files.problems import Problems

RECORDS_PER_BLOCK = 8192  # records read together
ROLES = ("query", "passage")
KEYS = ("id", *ROLES, "negatives")
FILE_ENDINGS = {
    "jsonl": (".jsonl", ".jsonl.gz"),
    "parquet": (".parquet",),
    "tsv": (".tsv", ".tsv.gz"),
}  # how their files end
Cell = tuple[str, str]  # role and language


@dataclass
class Records:
    """Some records of a file: `columns[role, language]` has the text of each, null where there is none."""

    place: str  # file and unit, as in "pairs.jsonl, line"
    numbers: Sequence[int]  # of the lines or rows
    ids: pa.Array  # of strings
    columns: dict[Cell, pa.Array] = field(default_factory=dict)
    negatives: dict[str, pa.Array] = field(
        default_factory=dict
    )  # language -> list of texts of each record
    done: float = 1.0  # share of the file that is read with them
    others: Sequence[
        tuple[int, str]
    ] = ()  # number and id of lines that are no records, for what is wrong with them

    def __len__(self) -> int:
        return len(self.numbers)

    def where(self, row: int) -> str:
        return f"{self.place} {self.numbers[row]}"

    def named(self, rows: Iterable[int]) -> list[tuple[str, str, int]]:
        """Place, id and row of some, in the order of the file; the rows of others come after those of records."""
        found = [
            (self.where(row), self.ids[row].as_py(), row)
            if row < len(self)
            else (
                f"{self.place} {self.others[row - len(self)][0]}",
                self.others[row - len(self)][1],
                row,
            )
            for row in map(int, rows)
        ]
        if self.others:
            numbers = [*self.numbers, *(number for number, _ in self.others)]
            found.sort(key=lambda one: numbers[one[2]])
        return found


def join_title(title: str | None, text: str | None) -> str:
    """A passage with its title in front; an empty one without a text, as a title alone is no passage."""
    return f"{title or ''} {text}".strip() if text and text.strip() else ""


def build_pair_records(place: str, language: str, rows: Sequence[tuple]) -> Records:
    """Pairs in one language: number, id, query, passage of each, and where it has any a list of negatives."""
    numbers, ids, queries, passages, *negatives = (
        zip(*rows, strict=True) if rows else ((), (), (), ())
    )
    columns = {
        (role, language): pa.array(texts, pa.string())
        for role, texts in zip(ROLES, (queries, passages), strict=True)
    }
    lists = {language: pa.array(negatives[0], pa.list_(pa.string()))} if negatives else {}
    return Records(place, numbers, pa.array(ids, pa.string()), columns, lists)


def read_json_line_records(path: Path, problems: Problems) -> Iterator[Records]:
    """`{"id": ..., "query": {"en": ...}, "passage": {"en": ...}, "negatives": [{"en": ...}]}` on each line."""
    place, rows, others = f"{path}, line", [], []
    for number, row in read_objects(path, problems):
        if is_record(row, f"{place} {number}", problems):
            rows.append((number, row))
        elif isinstance(row.get("id"), (str, int)):
            others.append((number, str(row["id"])))
        if len(rows) + len(others) >= RECORDS_PER_BLOCK:
            yield replace(
                build_object_records(place, rows),
                done=estimate_share_read(path, number, rows),
                others=others,
            )
            rows, others = [], []
    if rows or others:
        yield replace(build_object_records(place, rows), others=others)


def is_record(row: Mapping[str, Any], where: str, problems: Problems) -> bool:
    """Whether the object has the shape of a record; adds what it has not."""
    wrong = [
        f"no key '{key}', there are {', '.join(map(repr, row)) or 'none'}"
        for key in ("id", *ROLES)
        if key not in row
    ]
    if (
        isinstance(row.get("id", ""), bool)
        or not isinstance(row.get("id", ""), (str, int))
        or row.get("id") == ""
    ):
        wrong.append(f"'id' is {row['id']!r:.40}, need a text or a number")
    for role in ROLES:
        if role in row and not is_texts_by_language(row[role]):
            wrong.append(
                f'\'{role}\' is {row[role]!r:.60}, need an object of texts by language, as in {{"en": "..."}}'
            )
    negatives = row.get("negatives")
    if negatives is not None and not (
        isinstance(negatives, list) and all(map(is_texts_by_language, negatives))
    ):
        wrong.append(
            f"'negatives' is {negatives!r:.60}, need a list of objects of texts by language"
        )
    wrong += [
        f"unknown key {key!r}, did you mean {meant[0]!r}?"
        for key in row
        if key not in KEYS and (meant := get_close_matches(key, KEYS, cutoff=0.75))
    ]
    if wrong:
        problems.add(f"{where}: {'; '.join(wrong)}")
    return not wrong


def estimate_share_read(
    path: Path, number: int, rows: Sequence[tuple[int, Mapping[str, Any]]]
) -> float:
    """About how much of a file is read at a line, by the length of the last ones; less where it is compressed."""
    length = sum(len(json.dumps(row, ensure_ascii=False).encode()) for _, row in rows[-100:]) / max(
        1, len(rows[-100:])
    )
    return min(1.0, number * length / max(1, path.stat().st_size))


def is_texts_by_language(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and bool(value)
        and all(text is None or isinstance(text, str) for text in value.values())
    )


def build_object_records(place: str, rows: Sequence[tuple[int, Mapping[str, Any]]]) -> Records:
    found = Records(
        place,
        [number for number, _ in rows],
        pa.array([str(row["id"]) for _, row in rows], pa.string()),
    )
    for role in ROLES:
        for language in dict.fromkeys(language for _, row in rows for language in row[role]):
            found.columns[role, language] = pa.array(
                [row[role].get(language) for _, row in rows], pa.string()
            )
    named = dict.fromkeys(
        language
        for _, row in rows
        for negative in row.get("negatives") or ()
        for language in negative
    )
    for language in (
        named
    ):  # lists of equal length in all languages: a negative is one passage, whatever it is in
        found.negatives[language] = pa.array(
            [
                [negative.get(language) for negative in row.get("negatives") or ()]
                for _, row in rows
            ],
            pa.list_(pa.string()),
        )
    return found


def read_tsv_records(path: Path, language: str, problems: Problems) -> Iterator[Records]:
    """`id <tab> query <tab> passage` on each line, in one language."""
    place, rows = f"{path}, line", []
    for number, text in read_lines(path, problems):
        columns = text.split("\t")
        if number == 1 and columns == ["id", "query", "passage"]:
            continue  # a header
        if len(columns) != 3 or not columns[0].strip():
            problems.add(
                f"{place} {number}: {len(columns)} columns, need id, query and passage between tabs: {text!r:.60}"
            )
            continue
        rows.append((number, columns[0].strip(), *columns[1:]))
        if len(rows) == RECORDS_PER_BLOCK:
            yield build_pair_records(place, language, rows)
            rows = []
    if rows:
        yield build_pair_records(place, language, rows)


def find_matching_files(path: str, suffixes: Sequence[str]) -> list[Path]:
    """The files of a path: one file, the files of a folder, or those of a pattern with * in it; ValueError for none.

    A file may end in anything but in what another form ends in.
    """
    place = Path(path).expanduser()
    pattern = glob.has_magic(str(place)) and not place.exists()
    found = sorted(map(Path, glob.glob(str(place)))) if pattern else [place]
    if place.is_dir():
        found = sorted(file for file in place.iterdir() if file.name.endswith(tuple(suffixes)))
    missing = [str(file) for file in found if not file.is_file()]
    if missing or not found:
        raise ValueError(
            f"corpus.path={path}: {'there is no such file or folder' if missing else 'no file there'}; it needs "
            f"files that end in {' or '.join(suffixes)}"
        )
    for form, ends in FILE_ENDINGS.items():
        if other := [
            str(file)
            for file in found
            if file.name.endswith(ends) and not file.name.endswith(tuple(suffixes))
        ]:
            raise ValueError(
                f"corpus.path={path}: {other[0]} is read by {form}, not by what needs {' or '.join(suffixes)}"
            )
    return found
