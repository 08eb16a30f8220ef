"""Records of training data, some thousands at a time, from JSON lines and tab-separated files."""

import glob
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hybrid_ir.files.columns import Layout, read_table
from hybrid_ir.files.json_lines import describe_missing_key, read_objects
from hybrid_ir.files.known_formats import recognise_format
from hybrid_ir.files.languages import group_spellings
from hybrid_ir.files.problems import Problems
from hybrid_ir.files.texts import is_blank, normalize_id

RECORDS_PER_BLOCK = 8192  # records that are read together
ROLES = ("query", "passage")
KEYS = ("id", *ROLES, "negatives")
# What the names of files end in, by the format that reads them.
FILE_ENDINGS = {
    "jsonl": (".jsonl", ".jsonl.gz"),
    "parquet": (".parquet",),
    "tsv": (".tsv", ".tsv.gz"),
}
PAIR_LAYOUT = Layout(
    what="pairs",
    names={
        "id": ("id", "_id", "pair-id", "query-id", "qid", "key", "index", "idx", "nr", "no"),
        "query": ("query", "question", "anchor", "query-text", "q"),
        "passage": (
            "passage",
            "text",
            "document",
            "doc",
            "positive",
            "pos",
            "answer",
            "context",
            "paragraph",
            "passage-text",
            "p",
        ),
    },
    orders={3: ("id", "query", "passage")},
    keeps_blanks=("query", "passage"),
    single=("query", "passage"),
    refused={
        "neg": "hard negatives are read from JSON lines, FlagEmbedding, tevatron, Parquet or by "
        "`datasets`, and not from tab-separated pairs; leave the column out, or use one of these"
    },
)
Cell = tuple[str, str]  # role and language
NumberedObject = tuple[int, Mapping[str, Any]]  # a line's number and its JSON object


@dataclass
class Records:
    """A block of consecutive records of a file.

    Args:
        place: the file and its unit, as in "pairs.jsonl, line".
        numbers: the number of each record's line or row.
        ids: the id of each record, an array of strings.
        columns: for each role and language the text of each record, null where it has none.
        negatives: for each language a list of texts of each record.
        share_read: the share of the file that is read with this block, from 0 to 1.
        others: number and id of lines that are no records, for messages about repeated ids.
        conflicts: row and description of what cannot be, as `canonicalize_languages` finds it.
    """

    place: str
    numbers: Sequence[int]
    ids: pa.Array
    columns: dict[Cell, pa.Array] = field(default_factory=dict)
    negatives: dict[str, pa.Array] = field(default_factory=dict)
    share_read: float = 1.0
    others: Sequence[tuple[int, str]] = ()
    conflicts: list[tuple[int, str]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.numbers)

    def describe_place(self, row: int) -> str:
        """Returns the file and line of a record, for messages."""
        return f"{self.place} {self.numbers[row]}"

    def list_lines(self, rows: Iterable[int]) -> list[tuple[str, str, int]]:
        """Returns place, id and row of several lines, in the order of the file.

        Args:
            rows: rows of records; the rows of `others` follow after the last record.
        """
        lines = []
        for row in rows:
            row = int(row)
            if row < len(self):
                lines.append((self.describe_place(row), self.ids[row].as_py(), row))
            else:
                number, record_id = self.others[row - len(self)]
                lines.append((f"{self.place} {number}", record_id, row))
        if self.others:
            numbers = [*self.numbers, *(number for number, _ in self.others)]
            lines.sort(key=lambda line: numbers[line[2]])
        return lines


def canonicalize_languages(records: Records) -> None:
    """Gives every text its language in the canonical form, in place; unknown codes stay.

    So zh_CN and zh-CN are one language. Texts under two spellings of one record are a conflict.
    """
    for role in ROLES:
        spellings = [language for of_role, language in records.columns if of_role == role]
        for canonical, codes in group_spellings(spellings).items():
            columns = [records.columns.pop((role, code)) for code in codes]
            for row in _find_rows_with_several(columns):
                names = " and ".join(repr(code) for code in codes)
                records.conflicts.append((row, f"a {role} in {names}, which are one language"))
            records.columns[role, canonical] = pc.coalesce(*columns)
    for canonical, codes in group_spellings(records.negatives).items():
        lists = [records.negatives.pop(code) for code in codes]
        records.negatives[canonical] = lists[0] if len(lists) == 1 else _merge_lists(lists)


def _find_rows_with_several(columns: Sequence[pa.Array]) -> list[int]:
    """Returns the rows that have a text in more than one of several columns."""
    if len(columns) == 1:
        return []
    counts = np.zeros(len(columns[0]), np.int64)
    for column in columns:
        counts += pc.is_valid(column).to_numpy(zero_copy_only=False)
    return np.flatnonzero(counts > 1).tolist()


def _merge_lists(lists: Sequence[pa.Array]) -> pa.Array:
    """Merges the negatives of several spellings of one language.

    A negative keeps its place, where its translations are; where two spellings have one at the
    same place, the second goes to the end.
    """
    merged = []
    for parts in zip(*(array.to_pylist() for array in lists), strict=True):
        texts: list[str | None] = []
        others: list[str] = []
        for part in parts:
            for place, text in enumerate(part or []):
                if place == len(texts):
                    texts.append(text)
                elif texts[place] is None:
                    texts[place] = text
                elif text is not None:
                    others.append(text)
        merged.append(texts + others)
    return pa.array(merged, lists[0].type)


def join_title(title: str | None, text: str | None) -> str:
    """Returns a passage with its title in front, and an empty one if there is no text.

    A title alone is no passage.
    """
    if text is None or is_blank(text):
        return ""
    return f"{title or ''} {text}".strip()


def build_pair_records(place: str, language: str, rows: Sequence[tuple]) -> Records:
    """Builds records in one language.

    Args:
        place: the file and its unit, see `Records`.
        language: the language of all texts.
        rows: number, id, query and passage of each record, and a list of negatives as a fifth
            value if the records have any.
    """
    records = Records(
        place,
        numbers=[row[0] for row in rows],
        ids=pa.array([row[1] for row in rows], pa.string()),
    )
    records.columns["query", language] = pa.array([row[2] for row in rows], pa.string())
    records.columns["passage", language] = pa.array([row[3] for row in rows], pa.string())
    if rows and len(rows[0]) > 4:
        negatives = [row[4] for row in rows]
        records.negatives[language] = pa.array(negatives, pa.list_(pa.string()))
    return records


def read_json_line_records(path: Path, problems: Problems) -> Iterator[Records]:
    """Reads records from JSON lines, in any languages.

    A line is `{"id": ..., "query": {"en": ...}, "passage": {"en": ...}}`, and may have the key
    "negatives" with a list `[{"en": ...}]`. Other lines are problems; their ids are kept in
    `others`.
    """
    place = f"{path}, line"
    rows: list[NumberedObject] = []
    others: list[tuple[int, str]] = []
    is_first = True
    for number, row in read_objects(path, problems):
        errors = _find_record_errors(row)
        format_name = recognise_format(row) if errors and is_first else None
        is_first = False
        if format_name:
            problems.add(f"{place} {number}: {format_name}", file_unreadable=True)
            return
        if not errors:
            rows.append((number, row))
            if normalize_id(str(row["id"])) != str(row["id"]):
                problems.note_changed_id(f"{place} {number}")
        else:
            problems.add(f"{place} {number}: {'; '.join(errors)}")
            if isinstance(row.get("id"), (str, int)):
                others.append((number, normalize_id(str(row["id"]))))
        if len(rows) + len(others) >= RECORDS_PER_BLOCK:
            records = _build_object_records(place, rows)
            records.others = others
            records.share_read = _estimate_share_read(path, number, rows)
            yield records
            rows = []
            others = []
    if rows or others:
        records = _build_object_records(place, rows)
        records.others = others
        yield records


def _find_record_errors(row: Mapping[str, Any]) -> list[str]:
    """Returns in which ways an object has not the shape of a record."""
    errors = [describe_missing_key(key, row) for key in ("id", *ROLES) if key not in row]
    if "id" in row and not _is_id(row["id"]):
        errors.append(f"'id' is {row['id']!r:.40}, need a text or a number")
    for role in ROLES:
        if role in row and not _is_texts_by_language(row[role]):
            errors.append(
                f"'{role}' is {row[role]!r:.60}, need an object of texts by language, as in "
                '{"en": "..."}'
            )
    negatives = row.get("negatives")
    if negatives is not None and not _is_negatives(negatives):
        errors.append(
            f"'negatives' is {negatives!r:.60}, need a list of objects of texts by language"
        )
    for key in row:
        if key not in KEYS:
            similar_keys = get_close_matches(key, KEYS, cutoff=0.75)
            if key.casefold().startswith("neg"):
                similar_keys = ["negatives"]
            if similar_keys:
                errors.append(f"unknown key {key!r}, did you mean {similar_keys[0]!r}?")
    return errors


def _is_id(value: Any) -> bool:
    return isinstance(value, (str, int)) and not isinstance(value, bool) and value != ""


def _is_texts_by_language(value: Any) -> bool:
    if not isinstance(value, dict) or not value:
        return False
    return all(text is None or isinstance(text, str) for text in value.values())


def _is_negatives(value: Any) -> bool:
    return isinstance(value, list) and all(_is_texts_by_language(texts) for texts in value)


def _estimate_share_read(path: Path, number: int, rows: Sequence[NumberedObject]) -> float:
    """Estimates how much of a file is read up to a line, from the length of the last records.

    The estimate is too low for a compressed file.
    """
    last_rows = rows[-100:]
    size = sum(len(json.dumps(row, ensure_ascii=False).encode()) for _, row in last_rows)
    mean_size = size / max(1, len(last_rows))
    return min(1.0, number * mean_size / max(1, path.stat().st_size))


def _build_object_records(place: str, rows: Sequence[NumberedObject]) -> Records:
    objects = [row for _, row in rows]
    records = Records(
        place,
        numbers=[number for number, _ in rows],
        ids=pa.array([normalize_id(str(row["id"])) for row in objects], pa.string()),
    )
    for role in ROLES:
        texts = [row[role] for row in objects]
        for language in _list_languages(texts):
            records.columns[role, language] = pa.array(_pick_language(texts, language), pa.string())
    negatives = [row.get("negatives") or [] for row in objects]
    for language in _list_languages(chain.from_iterable(negatives)):
        # The lists of a record are equally long in all languages: a negative is one passage, in
        # whichever languages it is there.
        lists = [_pick_language(texts, language) for texts in negatives]
        records.negatives[language] = pa.array(lists, pa.list_(pa.string()))
    return records


def _list_languages(texts: Iterable[Mapping[str, str | None]]) -> list[str]:
    """Returns the languages of several texts in the order of their first appearance."""
    return list(dict.fromkeys(chain.from_iterable(texts)))


def _pick_language(texts: Iterable[Mapping[str, str | None]], language: str) -> list[str | None]:
    return [by_language.get(language) for by_language in texts]


def read_tsv_records(path: Path, language: str, problems: Problems) -> Iterator[Records]:
    """Reads records in one language from lines of id, query and passage between tabs.

    The first line may name the columns, which then stand in any order. Lines that are no records
    are problems and left out.
    """
    place = f"{path}, line"
    rows: list[tuple[int, str, str, str]] = []
    for line, cells in read_table(path, PAIR_LAYOUT, problems):
        number = int(line.rpartition(" ")[2])
        record_id = normalize_id(cells["id"])
        rows.append((number, record_id, cells["query"], cells["passage"]))
        if len(rows) == RECORDS_PER_BLOCK:
            yield build_pair_records(place, language, rows)
            rows = []
    if rows:
        yield build_pair_records(place, language, rows)


def find_matching_files(path: str, suffixes: Sequence[str]) -> list[Path]:
    """Returns the files of a path, which is a file, a folder or a pattern with * in it.

    Args:
        path: the value of `corpus.path`.
        suffixes: what the files of a folder must end in to be taken. A file named by the path
            itself may end in anything but in what another format ends in.

    Raises:
        ValueError: if there is no such file, or one of another format.
    """
    place = Path(path).expanduser()
    endings = tuple(suffixes)
    if place.is_dir():
        files = sorted(file for file in place.iterdir() if file.name.endswith(endings))
    elif glob.has_magic(str(place)) and not place.exists():
        files = sorted(Path(file) for file in glob.glob(str(place)))
    else:
        files = [place]
    needed = " or ".join(suffixes)
    if not files:
        raise ValueError(f"corpus.path={path}: no file there; it needs files that end in {needed}")
    if not all(file.is_file() for file in files):
        raise ValueError(
            f"corpus.path={path}: there is no such file or folder; it needs files that end in "
            f"{needed}"
        )
    for form, other_endings in FILE_ENDINGS.items():
        for file in files:
            if file.name.endswith(other_endings) and not file.name.endswith(endings):
                raise ValueError(
                    f"corpus.path={path}: {file} is read by {form}, not by what needs {needed}"
                )
    return files
