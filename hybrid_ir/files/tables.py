"""Records of training data from tables, by the names of their columns or a map of them."""

import zlib
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
from hybrid_ir.files.texts import find_blank_texts, normalize_ids

SIDES = (*ROLES, "negatives")
ColumnNames = str | Sequence[str]
ColumnsByLanguage = Mapping[str, ColumnNames]
RowFilter = Callable[[pa.Table], pa.Array]  # gives a mask of the rows to keep
# Of a table that cannot be read on; a compressed file may end too early.
READING_ERRORS = (pa.ArrowException, TypeError, KeyError, ValueError, OSError, EOFError, zlib.error)
EXAMPLE = "{query: {en: question}, passage: {en: [title, text]}}"


@dataclass(frozen=True)
class ColumnMap:
    """Says which columns of a table hold queries, passages, negatives and ids.

    A side that is left empty is filled by the columns that are called `query_LL`, `passage_LL` and
    `negatives_LL`, or `query.LL` for the fields of a struct, where LL is a language code.

    Args:
        query: the column of the queries of each language. Several columns are joined by a blank;
            the text is missing where the last column is.
        passage: the same of the passages.
        negatives: the same of hard negatives. Each column holds texts or lists of texts.
        id: the column of the ids. Without one, file and row are the id.
    """

    query: ColumnsByLanguage = field(default_factory=dict)
    passage: ColumnsByLanguage = field(default_factory=dict)
    negatives: ColumnsByLanguage = field(default_factory=dict)
    id: str | None = "id"

    def get_side(self, side: str) -> dict[str, list[str]]:
        """Returns the names of the columns of a side by language."""
        columns: ColumnsByLanguage = getattr(self, side)
        return {language: _to_list(names) for language, names in columns.items()}

    def list_columns(self) -> list[str]:
        """Returns the names of all columns, that of the ids last."""
        names = []
        for side in SIDES:
            for side_names in self.get_side(side).values():
                names += side_names
        if self.id:
            names.append(self.id)
        return names

    def complete(self, schema: pa.Schema) -> tuple["ColumnMap", list[str]]:
        """Fills the empty sides from the names of the columns of a table.

        Returns:
            The completed map, and what is wrong with it or with the table.
        """
        errors: list[str] = []
        sides: dict[str, ColumnsByLanguage] = {}
        for side in SIDES:
            sides[side] = self.get_side(side) or _find_named_columns(side, schema, errors)
        id_column = self.id
        if id_column == "id" and "id" not in schema.names:
            id_column = None
        completed = ColumnMap(**sides, id=id_column)
        for name in completed.list_columns():
            if name not in schema.names:
                errors.append(f"no column {name!r}")
        for role in ROLES:
            if not sides[role]:
                errors.append(f"no column {role}_LL")
        for name in schema.names:
            if name.startswith(("negative_", "neg_")) and not self.get_side("negatives"):
                errors.append(f"column {name!r} is not read: call it negatives_LL, or map it")
        if "negatives" in schema.names and not sides["negatives"]:
            errors.append(
                "column 'negatives' has no language: call it negatives_LL, a list of texts in each "
                "row"
            )
        return completed, errors


def _to_list(names: ColumnNames) -> list[str]:
    return [names] if isinstance(names, str) else list(names)


def _find_named_columns(side: str, schema: pa.Schema, errors: list[str]) -> dict[str, str]:
    """Finds the columns of a side by their names, and adds what is wrong with them to `errors`."""
    columns = {}
    for column in schema:
        if not column.name.startswith((f"{side}_", f"{side}.")):
            continue
        language = column.name[len(side) + 1 :]
        is_integer = pa.types.is_integer(column.type)
        if language == "id" and is_integer:
            continue  # numbers of queries or passages, not texts in Indonesian
        code_error = explain_wrong_code(language)
        if language == "id":
            errors.append(f"column '{side}_id' may hold ids, or texts in Indonesian")
        elif code_error:
            errors.append(f"column {column.name!r}: {code_error}")
        elif is_integer or pa.types.is_floating(column.type):
            errors.append(f"column {column.name!r} is {column.type}, not texts")
        columns[language] = column.name
    return columns


def parse_column_map(value: Any) -> ColumnMap:
    """Reads what a configuration says about columns.

    Raises:
        ValueError: with everything that is wrong with it.
    """
    columns = value or {}
    if not isinstance(columns, Mapping):
        raise ValueError(f"corpus.columns={value!r} must be {EXAMPLE}")
    errors = []
    for key, names in columns.items():
        errors += _find_map_errors(key, names)
    if errors:
        raise ValueError(f"corpus.columns: {'; '.join(errors)}. It must be {EXAMPLE}")
    return ColumnMap(**columns)


def _find_map_errors(key: str, value: Any) -> list[str]:
    """Returns what is wrong with one key of a map of columns."""
    if key == "id":
        return []
    if key not in SIDES:
        similar_keys = get_close_matches(key, SIDES)
        hint = f", did you mean {similar_keys[0]}?" if similar_keys else ""
        return [f"{key} is none of {', '.join(SIDES)} and id{hint}"]
    if not isinstance(value, Mapping) or not all(_are_names(names) for names in value.values()):
        return [f"{key}={value!r} must be columns by language"]
    errors = []
    for language in value:
        code_error = explain_wrong_code(str(language))
        if code_error:
            errors.append(f"{key}: {code_error}")
    return errors


def _are_names(value: Any) -> bool:
    if isinstance(value, str):
        return True
    if not isinstance(value, Sequence) or not value:
        return False
    return all(isinstance(name, str) for name in value)


@dataclass(frozen=True)
class TableRows:
    """The rows of a table in blocks.

    Args:
        place: what messages call the table, such as the path of its file. Place and number are the
            id of a row that has none.
        batches: the blocks, in the order of the rows.
        schema: the columns, where they are known before the first block.
        count: how many rows there are, where that is known.
    """

    place: str
    batches: Iterator[pa.RecordBatch | pa.Table]
    schema: pa.Schema | None = None
    count: int | None = None


def read_parquet_records(
    path: Path, columns: ColumnMap, problems: Problems, keep: RowFilter | None = None
) -> Iterator[Records]:
    """Reads records from a Parquet file.

    Args:
        path: the file.
        columns: which columns hold what.
        problems: gets what is wrong with the file. Rows that are not UTF-8 are left out.
        keep: takes a table and gives a mask of the rows that are records. None keeps all.
    """
    try:
        file = pq.ParquetFile(path, memory_map=True)
    except FileNotFoundError:
        problems.add(f"{path} is missing", file_unreadable=True)
        return
    except (pa.ArrowException, OSError) as error:
        reason = describe_first_line(error)
        problems.add(
            f"{path}: not a Parquet file that can be read ({reason})", file_unreadable=True
        )
        return
    batches = file.iter_batches(RECORDS_PER_BLOCK)
    rows = TableRows(str(path), batches, file.schema_arrow, file.metadata.num_rows)
    yield from read_table_records(rows, columns, problems, keep)


def read_table_records(
    rows: TableRows, columns: ColumnMap, problems: Problems, keep: RowFilter | None = None
) -> Iterator[Records]:
    """Reads records from the rows of a table.

    Args:
        rows: the table. Blocks may differ in their columns, as those of JSON lines do.
        columns: which columns hold what.
        problems: gets what is wrong with the table. Rows that are not UTF-8 are left out.
        keep: takes a table and gives a mask of the rows that are records. None keeps all.

    Raises:
        ConnectionError: if the table is read from a server that does not answer any more.
    """
    completed = None
    names = None
    if rows.schema is not None:
        schema = flatten_structs(rows.schema.empty_table()).schema
        names = schema.names
        completed = _complete_columns(rows.place, schema, columns, problems)
        if completed is None:
            return
    rows_read = 0
    while True:
        try:
            batch = next(rows.batches, None)
            if batch is None:
                return
            table = flatten_structs(batch)
            if table.schema.names != names:
                names = table.schema.names
                completed = _complete_columns(rows.place, table.schema, columns, problems)
                if completed is None:
                    return
            records = _read_batch(table, rows_read + 1, rows.place, completed, problems, keep)
        except ConnectionError:
            raise  # an import from the hub goes on later
        except READING_ERRORS as error:
            problems.add(
                f"{rows.place}, rows from {rows_read + 1} on: not texts that can be read "
                f"({describe_first_line(error)})",
                file_unreadable=True,
            )
            return
        rows_read += len(batch)
        if rows.count:
            records.share_read = rows_read / rows.count
        yield records


def flatten_structs(batch: pa.RecordBatch | pa.Table) -> pa.Table:
    """Returns a block of rows with a column `query.en` for the field `en` of a struct `query`."""
    table = batch
    if isinstance(batch, pa.RecordBatch):
        table = pa.Table.from_batches([batch])
    return table.flatten()


def _complete_columns(
    place: str, schema: pa.Schema, columns: ColumnMap, problems: Problems
) -> ColumnMap | None:
    """Completes a map of columns for a table; None after adding what is wrong to the problems."""
    completed, errors = columns.complete(schema)
    if not errors:
        return completed
    problems.add(
        f"{place}: {'; '.join(errors)}; there are {', '.join(schema.names)}. Say which are "
        f"what, as in 'columns={EXAMPLE}'",
        file_unreadable=True,
    )
    return None


def describe_first_line(error: Exception) -> str:
    """Returns the first line of an error's message."""
    lines = str(error).splitlines()
    return f"{lines[0]:.120}" if lines else type(error).__name__


def _read_batch(
    table: pa.Table,
    first_number: int,
    place: str,
    columns: ColumnMap,
    problems: Problems,
    keep: RowFilter | None,
) -> Records:
    """Builds the records of some rows, whose numbers in the table begin at `first_number`."""
    numbers = np.arange(first_number, first_number + len(table))
    unreadable = _find_unreadable_rows(table, columns)
    for number in numbers[unreadable]:
        problems.add(f"{place}, row {number}: not UTF-8")
    if unreadable.any():
        table = table.filter(pa.array(~unreadable))
        numbers = numbers[~unreadable]
    return _build_records(table, place, pa.array(numbers), columns, keep)


def _find_unreadable_rows(table: pa.Table, columns: ColumnMap) -> np.ndarray:
    """Marks the rows with texts that are not UTF-8, which Arrow checks nowhere by itself."""
    unreadable = np.zeros(len(table), bool)
    for name in dict.fromkeys(columns.list_columns()):
        column = _view_as_text(table[name])
        try:
            column.validate(full=True)
        except pa.ArrowInvalid:
            for row in range(len(column)):
                try:
                    column[row].as_py()
                except UnicodeDecodeError:
                    unreadable[row] = True
    return unreadable


def _view_as_text(chunks: pa.ChunkedArray) -> pa.Array:
    """Returns a column without a dictionary, and bytes as texts, of which none is checked."""
    column = chunks.combine_chunks()
    if pa.types.is_dictionary(column.type):
        column = column.dictionary.take(column.indices)
    if pa.types.is_binary(column.type):
        return column.view(pa.string())
    if pa.types.is_large_binary(column.type):
        return column.view(pa.large_string())
    if pa.types.is_floating(column.type):  # pandas has NaN where a text is missing
        return pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
    return column


def _build_records(
    table: pa.Table, place: str, numbers: pa.Array, columns: ColumnMap, keep: RowFilter | None
) -> Records:
    """Builds the records of rows that have these numbers in their table."""
    if keep is not None:
        mask = keep(table)
        table = table.filter(mask)
        numbers = numbers.filter(mask)
    if columns.id:
        ids = normalize_ids(_view_as_text(table[columns.id]).cast(pa.string()))
    else:
        ids = pa.array((f"{place} {number}" for number in numbers), pa.string())
    records = Records(f"{place}, row", numbers.to_pylist(), ids)
    for role in ROLES:
        for language, names in columns.get_side(role).items():
            records.columns[role, language] = _join_columns(table, names)
    for language, names in columns.get_side("negatives").items():
        records.negatives[language] = _collect_lists(table, names)
    return records


def _join_columns(table: pa.Table, names: Sequence[str]) -> pa.Array:
    """Joins the texts of several columns by blanks.

    The result is null or empty where the text of the last column is: a title alone is no passage.
    """
    columns = [_view_as_text(table[name]).cast(pa.string()) for name in names]
    last = columns[-1]
    if len(columns) == 1:
        return last
    titles = [pc.fill_null(column, "") for column in columns[:-1]]
    joined = pc.utf8_trim_whitespace(pc.binary_join_element_wise(*titles, last, " "))
    return pc.if_else(find_blank_texts(last), "", joined)


def _collect_lists(table: pa.Table, names: Sequence[str]) -> pa.Array:
    """Collects the texts of several columns, or their lists of texts, in one list for each row.

    A null keeps its place in the list.
    """
    columns = [table[name].to_pylist() for name in names]
    lists = []
    for values in zip(*columns, strict=True):
        texts: list[str | None] = []
        for value in values:
            if isinstance(value, list):
                texts += value
            else:
                texts.append(value)
        lists.append(texts)
    return pa.array(lists, pa.list_(pa.string()))
