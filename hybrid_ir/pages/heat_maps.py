"""Heat maps as tables: numbers in coloured cells, all maps of a page on one scale."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

_NO_VALUE = "·"
_STEPS_OF_DIFFERENCES = 4  # on each side of zero: the style sheet has n4 to n1, z0 and p1 to p4
_STEPS_OF_AMOUNTS = 8  # the style sheet has s0 to s8

Values = Sequence[Sequence[float | None]]


@dataclass(frozen=True)
class HeatCell:
    """A cell of a heat map.

    Attributes:
        text: The number.
        step: The class of the style sheet that colours it; empty where there is no number.
        strong: Whether it is set in bold.
    """

    text: str
    step: str
    strong: bool = False


@dataclass(frozen=True)
class HeatMap:
    """One heat map: a title, and for each row its label and its cells."""

    title: str
    rows: tuple[tuple[str, tuple[HeatCell, ...]], ...]


@dataclass(frozen=True)
class HeatMaps:
    """Heat maps of one scale, with one legend.

    Attributes:
        maps: The maps.
        columns: The labels of the columns.
        row_head: What the rows are.
        column_head: What the columns are.
        legend: A cell for each colour, with the number in the middle of its range.
        unit: What the numbers are.
        low_end: What the first colour of the legend means, such as "worse".
        high_end: What the last one means.
        of_languages: Whether the labels are codes of languages.
    """

    maps: tuple[HeatMap, ...]
    columns: tuple[str, ...]
    row_head: str
    column_head: str
    legend: tuple[HeatCell, ...]
    unit: str
    low_end: str
    high_end: str
    of_languages: bool


def build_heat_maps(
    values: Mapping[str, Values],
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    row_head: str,
    column_head: str,
    unit: str,
    format_number: Callable[[float], str],
    differences: bool = False,
    higher_is_better: bool = True,
    limits: tuple[float, float] | None = None,
    strong: Mapping[str, Sequence[Sequence[bool]]] | None = None,
    of_languages: bool = True,
) -> HeatMaps:
    """Builds heat maps that share one scale, so that a colour means the same in each of them.

    Args:
        values: For each title the values (rows, columns); None or NaN where there is none.
        rows: The labels of the rows.
        columns: The labels of the columns.
        row_head: What the rows are, such as "questions in".
        column_head: What the columns are, such as "passages in".
        unit: What the numbers are, for the legend.
        format_number: Writes a number of a cell and of the legend.
        differences: Whether the values are differences, coloured by their sign around zero.
        higher_is_better: Whether a greater difference is the better one, and blue.
        limits: The ends of the scale. None for those of the values: the greatest distance from
            zero for differences, the least and the greatest value for amounts.
        strong: For each title which cells (rows, columns) are bold.
        of_languages: Whether the labels are codes of languages.

    Raises:
        ValueError: A map does not have a value for each row and column.
    """
    _require_shapes(values, rows, columns)
    numbers = []
    for table in values.values():
        for row in table:
            numbers += [value for value in row if not _is_missing(value)]
    low, high = limits or _find_limits(numbers, differences)
    maps = []
    for title, table in values.items():
        map_rows = []
        for place, label in enumerate(rows):
            cells = []
            for column, value in enumerate(table[place]):
                is_strong = strong is not None and bool(strong[title][place][column])
                if _is_missing(value):
                    cells.append(HeatCell(_NO_VALUE, ""))
                    continue
                step = _choose_step(value, low, high, differences, higher_is_better)
                cells.append(HeatCell(format_number(value), step, is_strong))
            map_rows.append((label, tuple(cells)))
        maps.append(HeatMap(title, tuple(map_rows)))
    return HeatMaps(
        maps=tuple(maps),
        columns=tuple(columns),
        row_head=row_head,
        column_head=column_head,
        legend=_build_legend(low, high, format_number, differences, higher_is_better),
        unit=unit,
        low_end="worse" if differences else "least",
        high_end="better" if differences else "most",
        of_languages=of_languages,
    )


def _require_shapes(
    values: Mapping[str, Values], rows: Sequence[str], columns: Sequence[str]
) -> None:
    """Raises ValueError for maps whose values are not those of the rows and columns."""
    for title, table in values.items():
        widths = {len(row) for row in table}
        if len(table) != len(rows) or widths - {len(columns)}:
            raise ValueError(
                f"the heat map {title!r} has {len(table)} rows of {sorted(widths)} values, but "
                f"there are {len(rows)} rows and {len(columns)} columns"
            )


def _is_missing(value: float | None) -> bool:
    return value is None or math.isnan(value)


def _find_limits(numbers: Sequence[float], differences: bool) -> tuple[float, float]:
    """Returns the ends of the scale of some numbers."""
    if differences:
        limit = max((abs(number) for number in numbers), default=0.0) or 1.0
        return -limit, limit
    return min(numbers, default=0.0), max(numbers, default=1.0)


def _choose_step(
    value: float, low: float, high: float, differences: bool, higher_is_better: bool
) -> str:
    """Returns the class of the style sheet for a value; one beyond an end has the end's colour."""
    if not differences:
        width = (high - low) or 1.0
        share = min(max((value - low) / width, 0.0), 1.0)
        return f"s{round(share * _STEPS_OF_AMOUNTS)}"
    limit = max(abs(low), abs(high))
    step = round(min(abs(value) / limit, 1.0) * _STEPS_OF_DIFFERENCES)
    if step == 0:
        return "z0"
    is_better = (value > 0) == higher_is_better
    return f"p{step}" if is_better else f"n{step}"


def _build_legend(
    low: float,
    high: float,
    format_number: Callable[[float], str],
    differences: bool,
    higher_is_better: bool,
) -> tuple[HeatCell, ...]:
    """Returns a cell for each colour, the worst or least first."""
    count = 2 * _STEPS_OF_DIFFERENCES if differences else _STEPS_OF_AMOUNTS
    legend = []
    for place in range(count + 1):
        value = low + (high - low) * place / count
        if differences and place == _STEPS_OF_DIFFERENCES:
            value = 0.0
        step = _choose_step(value, low, high, differences, higher_is_better)
        legend.append(HeatCell(format_number(value), step))
    if differences and not higher_is_better:
        legend.reverse()
    return tuple(legend)
