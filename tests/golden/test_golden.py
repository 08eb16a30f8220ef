"""The program computes what it computed when golden.json was recorded.

Plans and imported files are the same to the last bit. Numbers that were summed in floating point
may differ as far as another processor rounds otherwise. `python tests/golden/record.py` records
anew.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.golden import record

# Largest difference of numbers, or of their ratio, that were computed in float64, and in float32.
DOUBLE = 1e-9
SINGLE = 1e-5

GOLDEN = json.loads(record.GOLDEN.read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    """Returns a new folder for caches and for the files that the tests make."""
    return tmp_path_factory.mktemp("golden")


@pytest.mark.parametrize("name", record.list_plans())
def test_plan_draws_the_same_batches(folder, name):
    assert record.record_plan(folder, name) == GOLDEN["plans"][name]


@pytest.mark.parametrize("name", record.TRAININGS)
def test_training_gives_the_same_losses_and_weights(folder, name):
    found = record.record_training(folder, name)
    tolerance = SINGLE if name == "float32" else DOUBLE
    assert find_differences(found, GOLDEN["trainings"][name], tolerance) == []


def test_trained_encoder_is_measured_the_same(folder):
    found = record.record_metrics(folder)
    assert find_differences(found, GOLDEN["metrics"], DOUBLE) == []


def test_comparison_of_the_same_results_is_the_same(folder):
    found = record.record_comparison(folder)
    assert find_differences(found, GOLDEN["comparison"], DOUBLE) == []


def test_import_writes_the_same_files(folder):
    assert record.record_import(folder) == GOLDEN["import"]


@pytest.mark.parametrize("wrong", [1.0 + 1e-8, 2, None, "1", [1.0], True])
def test_a_number_that_changed_is_found(wrong):
    assert find_differences({"a": [wrong]}, {"a": [1.0]}, DOUBLE) != []


def test_a_name_that_comes_or_goes_is_found():
    assert find_differences({"a": 1, "b": 2}, {"a": 1}, DOUBLE) == ["b is new"]
    assert find_differences({"a": 1}, {"a": 1, "b": 2}, DOUBLE) == ["b is missing"]


def find_differences(found: Any, recorded: Any, tolerance: float, place: str = "") -> list[str]:
    """Returns where two pieces of JSON differ, in numbers by more than the tolerance."""
    if isinstance(found, dict) and isinstance(recorded, dict):
        return find_differences_of_objects(found, recorded, tolerance, place)
    if isinstance(found, list) and isinstance(recorded, list) and len(found) == len(recorded):
        differences = []
        for number, (mine, theirs) in enumerate(zip(found, recorded, strict=True)):
            differences += find_differences(mine, theirs, tolerance, f"{place}[{number}]")
        return differences
    if is_number(found) and is_number(recorded):
        same = found == pytest.approx(recorded, rel=tolerance, abs=tolerance)
    else:
        same = type(found) is type(recorded) and found == recorded
    return [] if same else [f"{place} is {found!r}, recorded as {recorded!r}"]


def find_differences_of_objects(
    found: dict, recorded: dict, tolerance: float, place: str
) -> list[str]:
    """Returns where two JSON objects differ."""
    differences = []
    for name in sorted(found.keys() | recorded.keys()):
        inner = f"{place}/{name}" if place else name
        if name not in recorded:
            differences.append(f"{inner} is new")
        elif name not in found:
            differences.append(f"{inner} is missing")
        else:
            differences += find_differences(found[name], recorded[name], tolerance, inner)
    return differences


def is_number(value: Any) -> bool:
    """Returns whether a piece of JSON is a number."""
    return isinstance(value, int | float) and not isinstance(value, bool)
