"""Heat maps: one scale for all maps, and colours that say what the numbers say."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_ir.pages import HeatMaps, build_heat_maps

NUMBERS = st.one_of(st.none(), st.just(math.nan), st.floats(-1, 1))
TABLES = st.lists(st.lists(NUMBERS, min_size=3, max_size=3), min_size=2, max_size=2)


def build(values: dict, **keys) -> HeatMaps:
    return build_heat_maps(
        values,
        rows=["ar", "de"],
        columns=["ar", "de", "el"],
        row_head="questions in",
        column_head="passages in",
        unit="mAP",
        format_number=repr,
        **keys,
    )


def list_cells(maps: HeatMaps) -> list[tuple[float, str]]:
    """Returns the number and the colour of every cell that has one."""
    cells = []
    for heat_map in maps.maps:
        for _, row in heat_map.rows:
            cells += [(float(cell.text), cell.step) for cell in row if cell.step]
    return cells


@settings(max_examples=50, deadline=None)
@given(TABLES, TABLES)
def test_a_number_has_one_colour_in_all_maps_and_the_legend(first, second):
    maps = build({"first": first, "second": second})

    cells = list_cells(maps)
    numbers = [value for row in first + second for value in row if value is not None]
    assert len(cells) == sum(not math.isnan(number) for number in numbers)
    places = [int(step.removeprefix("s")) for _, step in sorted(cells)]
    assert places == sorted(places)
    assert [cell.step for cell in maps.legend][:1] == ["s0"]


@settings(max_examples=50, deadline=None)
@given(TABLES, TABLES, st.booleans())
def test_blue_is_better_and_orange_worse(first, second, higher_is_better):
    maps = build(
        {"first": first, "second": second}, differences=True, higher_is_better=higher_is_better
    )

    for number, step in list_cells(maps):
        if step != "z0":
            assert step.startswith("p") == ((number > 0) == higher_is_better)
    steps = [cell.step for cell in maps.legend]
    assert steps == ["n4", "n3", "n2", "n1", "z0", "p1", "p2", "p3", "p4"]


def test_a_small_change_stays_pale_beside_a_great_one():
    small = [[0.01] * 3] * 2
    great = [[0.8] * 3] * 2

    together = build({"small": small, "great": great}, differences=True)

    assert {step for _, step in list_cells(together)} == {"z0", "p4"}


def test_values_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="'short' has 2 rows of \\[2\\] values"):
        build({"short": [[0.1, 0.2]] * 2})
