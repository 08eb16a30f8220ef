"""Records of training data from Parquet files, by the names of their columns or a map of them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hybrid_ir.files.languages import explain_wrong_code
from hybrid_ir.files.problems import Problems
from hybrid_ir.files.records import RECORDS_PER_BLOCK, ROLES, Records

SIDES = (*ROLES, "negatives")
Names = Mapping[str, str | Sequence[str]]  # language -> columns
RowFilter = Callable[[pa.Table], pa.Array]
EXAMPLE = "{query: {en: question}, passage: {en: [title, text]}}"


@dataclass(frozen=True)
class ColumnMap:
    """Which columns of a table are what: names by language; several are joined by a blank, and nothing where the last is missing.

    `query_LL`, `passage_LL` and `negatives_LL` (or `query.LL`, fields of a struct) are found where nothing is given.
    """

    query: Names = field(default_factory=dict)
    passage: Names = field(default_factory=dict)
    negatives: Names = field(default_factory=dict)  # of texts, or of lists of texts
    id: str | None = "id"

    def of(self, schema: pa.Schema) -> tuple["ColumnMap", list[str]]:
        """Completed by the columns of a table, and what is wrong with it."""
        names, wrong = schema.names, []
        sides = {
            side: dict(getattr(self, side)) or find_named_columns(side, schema, wrong)
            for side in SIDES
        }
        own = None if self.id == "id" and "id" not in names else self.id
        wanted = [
            name
            for side in sides.values()
            for given in side.values()
            for name in to_name_list(given)
        ]
        wrong += [
            f"no column {name!r}"
            for name in [*wanted, *([own] if own else [])]
            if name not in names
        ]
        wrong += [f"no column {side}_LL" for side in ROLES if not sides[side]]
        if "negatives" in names and not sides["negatives"]:
            wrong.append(
                "column 'negatives' has no language: call it negatives_LL, a list of texts in each row"
            )
        return ColumnMap(**sides, id=own), wrong


def find_named_columns(side: str, schema: pa.Schema, wrong: list[str]) -> dict[str, str]:
    """The columns of a side by language, by their names; adds what is wrong with them."""
    found = {}
    for column in schema:
        language = column.name[len(side) + 1 :]
        if not column.name.startswith((f"{side}_", f"{side}.")) or (
            language == "id" and pa.types.is_integer(column.type)
        ):
            continue
        if language == "id":
            wrong.append(f"column '{side}_id' may hold ids, or texts in Indonesian")
        elif told := explain_wrong_code(language):
            wrong.append(f"column {column.name!r}: {told}")
        elif pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
            wrong.append(f"column {column.name!r} is {column.type}, not texts")
        found[language] = column.name
    return found


def parse_column_map(given: Any) -> ColumnMap:
    """What a config says of columns; ValueError with everything that is wrong with it."""
    if not isinstance(given or {}, Mapping):
        raise ValueError(f"corpus.columns={given!r} must be {EXAMPLE}")
    wrong = []
    for key, value in (given or {}).items():
        if key not in (*SIDES, "id"):
            meant = get_close_matches(key, SIDES)
            wrong.append(
                f"{key} is none of {', '.join(SIDES)} and id{f', did you mean {meant[0]}?' if meant else ''}"
            )
        elif key != "id" and not (
            isinstance(value, Mapping) and all(map(are_column_names, value.values()))
        ):
            wrong.append(f"{key}={value!r} must be columns by language")
        elif key != "id":
            wrong += [
                f"{key}: {told}"
                for language in value
                if (told := explain_wrong_code(str(language)))
            ]
    if wrong:
        raise ValueError(f"corpus.columns: {'; '.join(wrong)}. It must be {EXAMPLE}")
    return ColumnMap(**(given or {}))


def are_column_names(value: Any) -> bool:
    names = [value] if isinstance(value, str) else value
    return (
        isinstance(names, Sequence) and bool(names) and all(isinstance(name, str) for name in names)
    )


def read_parquet_records(
    path: Path, columns: ColumnMap, problems: Problems, keep: RowFilter | None = None
) -> Iterator[Records]:
    """Rows of a Parquet file, those that `keep` is true of."""
    try:
        file = pq.ParquetFile(path, memory_map=True)
    except FileNotFoundError:
        return problems.add(f"{path} is missing", whole_file=True)
    except (pa.ArrowException, OSError) as error:
        return problems.add(
            f"{path}: not a Parquet file that can be read ({first_line(error)})", whole_file=True
        )
    schema = file.schema_arrow.empty_table().flatten().schema
    chosen, wrong = columns.of(schema)
    if wrong:
        return problems.add(
            f"{path}: {'; '.join(wrong)}; there are {', '.join(schema.names)}. Say which are what, as in "
            f"'columns={EXAMPLE}'",
            whole_file=True,
        )
    batches, number = file.iter_batches(RECORDS_PER_BLOCK), 0
    while True:
        try:
            if (batch := next(batches, None)) is None:
                return None
            table = pa.Table.from_batches([batch]).flatten()
            numbers = np.arange(number + 1, number + 1 + len(table))
            unread = find_unreadable_rows(table, chosen)
            for row in np.flatnonzero(unread):
                problems.add(f"{path}, row {numbers[row]}: not UTF-8")
            table = table.filter(pa.array(~unread)) if unread.any() else table
            records = build_table_records(table, path, pa.array(numbers[~unread]), chosen, keep)
        except (pa.ArrowException, TypeError, KeyError, OSError) as error:
            return problems.add(
                f"{path}, rows from {number + 1} on: not texts that can be read ({first_line(error)})",
                whole_file=True,
            )
        number += len(batch)
        records.done = number / file.metadata.num_rows
        yield records


def first_line(error: Exception) -> str:
    return f"{(str(error).splitlines() or [type(error).__name__])[0]:.120}"


def find_unreadable_rows(table: pa.Table, chosen: ColumnMap) -> np.ndarray:
    """Which rows have texts that are not UTF-8; Arrow looks at that nowhere by itself."""
    found = np.zeros(len(table), bool)
    names = {
        name
        for side in SIDES
        for given in getattr(chosen, side).values()
        for name in to_name_list(given)
    }
    for name in names | ({chosen.id} if chosen.id else set()):
        column = table[name].combine_chunks()
        if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
            column = column.view(
                pa.large_string() if pa.types.is_large_binary(column.type) else pa.string()
            )
        try:
            column.validate(full=True)
        except pa.ArrowInvalid:
            for row in range(len(column)):
                try:
                    column[row].as_py()
                except UnicodeDecodeError:
                    found[row] = True
    return found


def build_table_records(
    table: pa.Table, path: Path, numbers: pa.Array, chosen: ColumnMap, keep: RowFilter | None
) -> Records:
    """The rows of a table, which have these numbers in their file."""
    if keep is not None:
        kept = keep(table)
        table, numbers = table.filter(kept), numbers.filter(kept)
    ids = (
        table[chosen.id].combine_chunks().cast(pa.string())
        if chosen.id
        else pa.array((f"{path} {number}" for number in numbers), pa.string())
    )
    return Records(
        f"{path}, row",
        numbers.to_pylist(),
        ids,
        {
            (role, language): join_columns(table, to_name_list(given))
            for role in ROLES
            for language, given in getattr(chosen, role).items()
        },
        {
            language: collect_lists(table, to_name_list(given))
            for language, given in chosen.negatives.items()
        },
    )


def to_name_list(given: str | Sequence[str]) -> list[str]:
    return [given] if isinstance(given, str) else list(given)


def join_columns(table: pa.Table, names: Sequence[str]) -> pa.Array:
    """The texts of one column, or of several with a blank between them; null where the last is: a title alone is no passage."""
    columns = [table[name].combine_chunks().cast(pa.string()) for name in names]
    if len(columns) == 1:
        return columns[0]
    found = pc.utf8_trim_whitespace(
        pc.binary_join_element_wise(*(pc.fill_null(c, "") for c in columns[:-1]), columns[-1], " ")
    )
    return pc.if_else(pc.equal(pc.utf8_trim_whitespace(columns[-1]), ""), "", found)


def collect_lists(table: pa.Table, names: Sequence[str]) -> pa.Array:
    """Texts of several columns, or lists of texts of one, as one list per row; a null keeps its place."""
    parts = [column.to_pylist() for column in (table[name] for name in names)]
    return pa.array(
        [
            [text for value in row for text in (value if isinstance(value, list) else [value])]
            for row in zip(*parts, strict=True)
        ],
        pa.list_(pa.string()),
    )
