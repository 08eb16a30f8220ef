"""Reads files of columns by the names in their header, whatever the order of the columns is."""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hybrid_ir.files.json_lines import read_lines
from hybrid_ir.files.problems import Problems

Cells = dict[str, str]  # the cells of a line by what they are
LONGEST_NAME = 40  # characters of the name of a column that is not known


@dataclass(frozen=True)
class Layout:
    """Which columns a kind of file has.

    Args:
        what: such files, for messages.
        names: for each kind of column the names that it may have in a header, the usual one
            first. Case, blanks, hyphens and underscores do not matter.
        orders: the kinds of columns of a file without a header, for each number of columns.
        separators: what may be between columns; None stands for any blanks.
        number_column: the kind of column that holds numbers, by which a line of data is told from
            a header; None if there is none.
        optional: kinds of columns that may be missing.
        keeps_blanks: kinds of columns with texts, whose cells stay as they are and may be empty.
        single: kinds of which a file has one column at most, as none of two could be preferred.
        refused: names of columns that say that this is another kind of file, with what to do.
    """

    what: str
    names: Mapping[str, Sequence[str]]
    orders: Mapping[int, Sequence[str]]
    separators: Sequence[str | None] = ("\t",)
    number_column: str | None = None
    optional: Sequence[str] = ()
    keeps_blanks: Sequence[str] = ()
    single: Sequence[str] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    _kinds: dict[str, tuple[str, int]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self):
        for kind, names in self.names.items():
            for place, name in enumerate(names):
                self._kinds[simplify_name(name)] = (kind, place)

    def find_kind(self, name: str) -> str | None:
        """Returns the kind of a column by its name in a header; None for an unknown name."""
        kind, _ = self._kinds.get(simplify_name(name), (None, 0))
        return kind

    def list_required(self) -> list[str]:
        """Returns the kinds of columns that every file has."""
        return [kind for kind in self.names if kind not in self.optional]

    def describe_names(self) -> str:
        """Returns the names that are known for every kind of column, for messages."""
        kinds = []
        for kind in self.list_required():
            kinds.append(f"{kind} ({', '.join(self.names[kind])})")
        return "; ".join(kinds)

    def find_columns(self, header: Sequence[str]) -> dict[str, int]:
        """Finds the columns of a header by their names; unknown ones are passed over.

        Of several names of one kind, such as query and query_id, the more usual one counts.
        """
        columns: dict[str, int] = {}
        places: dict[str, int] = {}
        for number, name in enumerate(header):
            kind, place = self._kinds.get(simplify_name(name), (None, 0))
            if kind is not None and place < places.get(kind, len(self._kinds)):
                columns[kind] = number
                places[kind] = place
        return columns


def simplify_name(name: str) -> str:
    """Returns the name of a column without case, blanks, quotes, hyphens and underscores."""
    return re.sub(r"[\s\"'_.\-]+", "", name.casefold())


@dataclass(frozen=True)
class _Dialect:
    """How the lines of a file are cut into cells.

    Args:
        separator: between columns; None for any blanks.
        is_quoted: whether cells stand in quotation marks.
    """

    separator: str | None
    is_quoted: bool

    def split(self, text: str) -> list[str]:
        """Cuts a line into cells."""
        if self.separator is None:
            return text.split()
        if self.is_quoted or self.separator != "\t":
            try:
                return next(csv.reader([text], delimiter=self.separator))
            except csv.Error:  # of a cell beyond its limit
                return text.split(self.separator)
        return [_unquote(cell) for cell in text.split("\t")]


def _unquote(cell: str) -> str:
    """Returns a cell without the quotation marks that a text with quotation marks is written in.

    Marks that nothing inside tells from those of the text itself stay.
    """
    if len(cell) > 3 and cell[0] == cell[-1] == '"' and '""' in cell[1:-1]:
        inside = cell[1:-1]
        if '"' not in inside.replace('""', ""):
            return inside.replace('""', '"')
    return cell


def read_table(path: Path, layout: Layout, problems: Problems) -> Iterator[tuple[str, Cells]]:
    """Reads the lines of a file of columns.

    The first line may be a header, whose names say which column is which. Without a header the
    columns stand in the order of the layout.

    Args:
        path: the file, gzipped if its name ends in .gz.
        layout: which columns there are.
        problems: gets what is wrong with lines, which are left out, or with the header, after
            which nothing is read.

    Yields:
        The place of each line, as file and line number, and its cells by the kind of column.
    """
    dialect: _Dialect | None = None
    columns: dict[str, int] = {}
    header: list[str] | None = None
    width = 0
    for number, text in read_lines(path, problems):
        place = f"{path}, line {number}"
        if dialect is None:
            dialect = _find_dialect(text, layout)
            cells = dialect.split(text)
            width = len(cells)
            columns = layout.find_columns(cells)
            if _is_header(cells, columns, layout):
                problem = _find_header_problem(cells, columns, layout)
                if problem:
                    problems.add(f"{place}: {problem}", file_unreadable=True)
                    return
                header = [simplify_name(cell) for cell in cells]
                continue
            if width in layout.orders:
                columns = {kind: i for i, kind in enumerate(layout.orders[width])}
            else:
                width = max(layout.orders)
            if not _is_in_order(cells, columns, layout):
                problem = _describe_other_order(cells, layout)
                problems.add(f"{place}: {problem}", file_unreadable=True)
                return
        cells = dialect.split(text)
        if header is not None and [simplify_name(cell) for cell in cells] == header:
            continue  # of a second file, behind the first
        if len(cells) != width and None in layout.separators:
            cells = text.split()  # some files have tabs in one line and blanks in another
        row = _pick_cells(cells, columns, layout) if len(cells) == width else None
        if row is None:
            problems.add(f"{place}: {_describe_wrong_line(cells, width, text, layout)}")
        else:
            yield place, row


def _pick_cells(cells: Sequence[str], columns: Mapping[str, int], layout: Layout) -> Cells | None:
    """Returns the cells of a line by the kind of column; None if one is empty that must not be."""
    row = {}
    for kind, number in columns.items():
        cell = cells[number]
        if kind not in layout.keeps_blanks:
            cell = cell.strip()
            if not cell:
                return None
        row[kind] = cell
    return row


def _find_dialect(text: str, layout: Layout) -> _Dialect:
    """Finds out how a file is cut into cells from its first line."""
    for separator in layout.separators:
        is_quoted = separator is not None and _is_quoted(text, separator, layout)
        dialect = _Dialect(separator, is_quoted)
        cells = dialect.split(text)
        has_names = not _find_missing(layout.find_columns(cells), layout)
        if len(cells) in layout.orders or has_names or (separator == "\t" and len(cells) > 1):
            return dialect
    return _Dialect(layout.separators[0], False)


def _is_quoted(text: str, separator: str, layout: Layout) -> bool:
    """Returns whether all cells of a line are in quotation marks, apart from a number."""
    cells = [cell.strip() for cell in text.split(separator)]
    in_quotes = [cell for cell in cells if len(cell) > 1 and cell[0] == cell[-1] == '"']
    bare_cells = 0 if layout.number_column is None else 1
    return len(in_quotes) > 0 and len(in_quotes) >= len(cells) - bare_cells


def _is_header(cells: Sequence[str], columns: Mapping[str, int], layout: Layout) -> bool:
    """Returns whether a first line names columns, rather than being data."""
    if not _find_missing(columns, layout):
        return True
    if layout.number_column is None:
        has_id_name = layout.find_kind(cells[0]) == "id" and len(cells) > 1
        return has_id_name or all(_looks_like_a_name(cell) for cell in cells)
    order = layout.orders.get(len(cells))
    if order is None:
        return len(columns) > 0
    return not is_number(cells[list(order).index(layout.number_column)].strip(' "'))


def _looks_like_a_name(cell: str) -> bool:
    """Returns whether a cell could be the name of a column: a word or two that begin with letters.

    The id of a pair begins with one letter at most, as in q17, or has digits alone.
    """
    is_word = re.fullmatch(r"#?[^\W\d_]{2}\w*([ .\-]\w+)?", cell.strip(' "')) is not None
    return is_word and len(cell) <= LONGEST_NAME


def _is_in_order(cells: Sequence[str], columns: Mapping[str, int], layout: Layout) -> bool:
    """Returns whether a first line without names can be an id and its texts, in this order."""
    if not layout.keeps_blanks or len(cells) not in layout.orders:
        return True
    has_blank_id = len(cells[columns["id"]].split()) > 1
    return not has_blank_id and not is_number(cells[-1])


def _describe_other_order(cells: Sequence[str], layout: Layout) -> str:
    order = ", ".join(layout.orders[len(cells)])
    shown = ", ".join(repr(cell[:30]) for cell in cells)
    return (
        f"{shown} are not {order}: put a line on top that names the columns as they stand, such as "
        f"{'<tab>'.join(layout.orders[len(cells)])}, with other names for what shall not be read"
    )


def is_number(text: str) -> bool:
    """Returns whether a text can be read as a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def _find_missing(columns: Mapping[str, int], layout: Layout) -> list[str]:
    return [kind for kind in layout.list_required() if kind not in columns]


def _find_header_problem(
    cells: Sequence[str], columns: Mapping[str, int], layout: Layout
) -> str | None:
    missing = _find_missing(columns, layout)
    names = [simplify_name(cell) for cell in cells]
    repeated = [cell for cell in cells if names.count(simplify_name(cell)) > 1]
    for cell, name in zip(cells, names, strict=True):
        for refused, cure in layout.refused.items():
            if name.startswith(simplify_name(refused)):
                return f"the column {cell!r} in the header: {cure}"
    of_kind = [cell for cell in cells if layout.find_kind(cell) in layout.single]
    kinds = [layout.find_kind(cell) for cell in of_kind]
    rivals = [cell for cell, kind in zip(of_kind, kinds, strict=True) if kinds.count(kind) > 1]
    if not missing and not repeated and not rivals:
        return None
    if rivals and not repeated:
        reason = f"any of {', '.join(rivals)} may be the {layout.find_kind(rivals[0])}"
    elif repeated:
        reason = f"the column {repeated[0]!r} comes twice"
    else:
        reason = f"no column is known as {' or as '.join(missing)}"
    return (
        f"{reason} in the header {', '.join(repr(cell) for cell in cells)}. The columns of "
        f"{layout.what} may be called: {layout.describe_names()}. If this line is no header, put "
        "one above it"
    )


def _describe_wrong_line(cells: Sequence[str], width: int, text: str, layout: Layout) -> str:
    order = ", ".join(layout.orders[max(layout.orders, key=lambda size: size == width)])
    return f"{len(cells)} columns, need {width} with something in each ({order}): {text!r:.60}"
