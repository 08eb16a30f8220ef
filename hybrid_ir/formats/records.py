"""Records of training data, some thousands at a time: readers of JSON lines, Parquet and tab-separated files."""

import glob
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hybrid_ir.formats.jsonl import lines, objects
from hybrid_ir.formats.problems import Problems

SIZE = 8192  # records read together
ROLES = ("query", "passage")
Cell = tuple[str, str]  # role and language
Keep = Callable[[pa.Table], pa.Array]


@dataclass
class Records:
    """Some records of a file: `columns[role, language]` has the text of each, null where there is none."""

    place: str  # file and unit, as in "pairs.jsonl, line"
    numbers: Sequence[int]  # of the lines or rows
    ids: pa.Array  # of strings
    columns: dict[Cell, pa.Array] = field(default_factory=dict)
    negatives: dict[str, pa.Array] = field(default_factory=dict)  # language -> list of texts of each record

    def __len__(self) -> int:
        return len(self.numbers)

    def where(self, row: int) -> str:
        return f"{self.place} {self.numbers[row]}"


def json_lines(path: Path, problems: Problems) -> Iterator[Records]:
    """`{"id": ..., "query": {"en": ...}, "passage": {"en": ...}, "negatives": [{"en": ...}]}` on each line."""
    place, rows = f"{path}, line", []
    for number, row in objects(path, problems):
        if good(row, f"{place} {number}", problems):
            rows.append((number, row))
        if len(rows) == SIZE:
            yield of_objects(place, rows)
            rows = []
    if rows:
        yield of_objects(place, rows)


def good(row: Mapping[str, Any], where: str, problems: Problems) -> bool:
    """Whether the object has the shape of a record; adds what it has not."""
    wrong = [f"no key '{key}', there are {', '.join(map(repr, row)) or 'none'}" for key in ("id", *ROLES) if key not in row]
    if isinstance(row.get("id", ""), bool) or not isinstance(row.get("id", ""), (str, int)) or row.get("id") == "":
        wrong.append(f"'id' is {row['id']!r:.40}, need a text or a number")
    for role in ROLES:
        if role in row and not languages_of(row[role]):
            wrong.append(f"'{role}' is {row[role]!r:.60}, need an object of texts by language, as in {{\"en\": \"...\"}}")
    negatives = row.get("negatives")
    if negatives is not None and not (isinstance(negatives, list) and all(map(languages_of, negatives))):
        wrong.append(f"'negatives' is {negatives!r:.60}, need a list of objects of texts by language")
    for problem in wrong:
        problems.add(f"{where}: {problem}")
    return not wrong


def languages_of(value: Any) -> bool:
    return isinstance(value, dict) and bool(value) and all(text is None or isinstance(text, str) for text in value.values())


def of_objects(place: str, rows: Sequence[tuple[int, Mapping[str, Any]]]) -> Records:
    found = Records(place, [number for number, _ in rows], pa.array([str(row["id"]) for _, row in rows], pa.string()))
    for role in ROLES:
        for language in dict.fromkeys(language for _, row in rows for language in row[role]):
            found.columns[role, language] = pa.array([row[role].get(language) for _, row in rows], pa.string())
    named = dict.fromkeys(language for _, row in rows for negative in row.get("negatives") or () for language in negative)
    for language in named:  # lists of equal length in all languages: a negative is one passage, whatever it is in
        found.negatives[language] = pa.array([[negative.get(language) for negative in row.get("negatives") or ()]
                                              for _, row in rows], pa.list_(pa.string()))
    return found


def tab_separated(path: Path, language: str, problems: Problems) -> Iterator[Records]:
    """`id <tab> query <tab> passage` on each line, in one language."""
    place, rows = f"{path}, line", []

    def made() -> Records:
        return Records(place, [row[0] for row in rows], pa.array([row[1] for row in rows], pa.string()),
                       {(role, language): pa.array([row[2 + i] for row in rows], pa.string()) for i, role in enumerate(ROLES)})
    for number, text in lines(path, problems):
        columns = text.split("\t")
        if len(columns) != 3 or not columns[0].strip():
            problems.add(f"{place} {number}: {len(columns)} columns, need id, query and passage between tabs: {text!r:.60}")
            continue
        rows.append((number, columns[0].strip(), *columns[1:]))
        if len(rows) == SIZE:
            yield made()
            rows = []
    if rows:
        yield made()


@dataclass(frozen=True)
class ColumnMap:
    """Which columns of a table are what: names by language, several are joined by a blank.

    `query_LL`, `passage_LL` and `negatives_LL` (or `query.LL`, fields of a struct) are found where nothing is given.
    """

    query: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    passage: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    negatives: Mapping[str, str | Sequence[str]] = field(default_factory=dict)  # of texts, or of lists of texts
    id: str | None = "id"

    def of(self, names: Sequence[str]) -> "ColumnMap":
        """Completed by the names of a table."""
        sides = {}
        for role in (*ROLES, "negatives"):
            given = dict(getattr(self, role) or {})
            sides[role] = given or {name[len(role) + 1 :]: name for name in names if name.startswith((f"{role}_", f"{role}."))}
        return ColumnMap(**sides, id=self.id if self.id in names else None)

    def missing(self, names: Sequence[str]) -> list[str]:
        return [name for side in (self.query, self.passage, self.negatives) for given in side.values()
                for name in listed(given) if name not in names]


def parquet(path: Path, columns: ColumnMap, problems: Problems, keep: Keep | None = None) -> Iterator[Records]:
    """Rows of a Parquet file, those that `keep` is true of."""
    try:
        file = pq.ParquetFile(path, memory_map=True)
    except FileNotFoundError:
        return problems.add(f"{path} is missing")
    except (pa.ArrowInvalid, OSError) as error:
        return problems.add(f"{path}: not a Parquet file that can be read ({str(error).splitlines()[0]:.120})")
    names = file.schema_arrow.empty_table().flatten().column_names
    chosen, number = columns.of(names), 0
    if (unknown := chosen.missing(names)) or not chosen.query or not chosen.passage:
        return problems.add(f"{path}: {f'no columns {unknown}' if unknown else 'no columns query_LL and passage_LL'}, there are "
                            f"{', '.join(names)}: name those to take by language, as in columns.query.en=question")
    for batch in file.iter_batches(SIZE):
        table = pa.Table.from_batches([batch]).flatten()
        numbers = range(number + 1, number + 1 + len(table))
        number += len(table)
        if keep is not None:
            kept = keep(table)
            table, numbers = table.filter(kept), pa.array(numbers).filter(kept).to_pylist()
        ids = (table[chosen.id].combine_chunks().cast(pa.string()) if chosen.id
               else pa.array((f"{path} {number}" for number in numbers), pa.string()))
        found = Records(f"{path}, row", numbers, ids)
        for role in ROLES:
            found.columns |= {(role, language): joined(table, listed(given)) for language, given in getattr(chosen, role).items()}
        found.negatives = {language: lists(table, listed(given)) for language, given in chosen.negatives.items()}
        yield found
    return None


def listed(given: str | Sequence[str]) -> list[str]:
    return [given] if isinstance(given, str) else list(given)


def joined(table: pa.Table, names: Sequence[str]) -> pa.Array:
    """The texts of one column, or of several with a blank between them; null where the first is."""
    columns = [table[name].combine_chunks().cast(pa.string()) for name in names]
    if len(columns) == 1:
        return columns[0]
    return pc.utf8_trim_whitespace(pc.binary_join_element_wise(*columns[:1], *(pc.fill_null(c, "") for c in columns[1:]), " "))


def lists(table: pa.Table, names: Sequence[str]) -> pa.Array:
    """Texts of several columns, or lists of texts of one, as one list per row."""
    parts = [column.to_pylist() for column in (table[name] for name in names)]
    rows = [[text for value in row for text in (value if isinstance(value, list) else [value]) if text]
            for row in zip(*parts, strict=True)]
    return pa.array(rows, pa.list_(pa.string()))


def matching(path: str, suffixes: Sequence[str]) -> list[Path]:
    """The files of a path: one file, the files of a folder, or those of a pattern with * in it; ValueError for none."""
    place = Path(path).expanduser()
    found = sorted(map(Path, glob.glob(str(place)))) if glob.has_magic(str(place)) else [place]
    if place.is_dir():
        found = sorted(file for file in place.iterdir() if file.name.endswith(tuple(suffixes)))
    missing = [str(file) for file in found if not file.is_file()]
    if missing or not found:
        raise ValueError(f"corpus.path={path}: {'there is no such file or folder' if missing else 'no file there'}; it needs "
                         f"files that end in {' or '.join(suffixes)}")
    return found
