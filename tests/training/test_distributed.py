"""Real processes over gloo: any number of them trains the same weights and measures the same."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from hybrid_ir.system.processes import RankProcesses
from tests.support.command_line import ROOT, environment
from tests.support.distributed_rank import DOUBLE_CASES, SINGLE_CASES

Weights = dict[str, dict[str, torch.Tensor]]
# Largest difference of weights between plain and cached gradients, by precision.
# In bf16 the gradients of rows are added in bf16, unless each row is encoded again by itself.
CACHED_TOLERANCES = {"float64": 1e-12, "float32": 1e-5, "bf16": 3e-3}


@pytest.fixture(scope="session")
def run_ranks(tmp_path_factory) -> Callable[[int], Path]:
    """Returns a function that runs all cases in so many processes, once, and returns the folder."""
    place = tmp_path_factory.mktemp("ranks")

    def run(ranks: int) -> Path:
        folder = place / f"{ranks}"
        if not folder.exists():
            folder.mkdir()
            module = [sys.executable, "-m", "tests.support.distributed_rank"]
            command = [*module, str(folder), str(place / "cache"), str(ranks)]
            RankProcesses(ranks, environment(place, PYTHONPATH=str(ROOT))).start(command).wait()
        return folder

    return run


def load_weights(folder: Path, rank: int = 0) -> Weights:
    return torch.load(folder / f"weights-{rank}.pt", weights_only=True)


def load_measured(folder: Path, rank: int = 0) -> dict:
    return json.loads((folder / f"measured-{rank}.json").read_text())


def find_largest_difference(
    first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]
) -> float:
    assert first.keys() == second.keys()
    largest = 0.0
    for name in first.keys() - {"losses", "means", "work"}:
        difference = (first[name].double() - second[name].double()).abs().max()
        largest = max(largest, float(difference))
    return largest


@pytest.mark.parametrize("ranks", [2, 4])
def test_the_weights_are_those_of_one_process(run_ranks, ranks):
    one = load_weights(run_ranks(1))
    several = load_weights(run_ranks(ranks))
    for name in DOUBLE_CASES:
        assert find_largest_difference(one[name], several[name]) < 1e-12, name
    for name in SINGLE_CASES:
        assert find_largest_difference(one[name], several[name]) < 2e-4, name


def test_the_cases_are_different_trainings(run_ranks):
    one = load_weights(run_ranks(1))
    assert find_largest_difference(one["x_y, none masked"], one["x_x_mono"]) > 1e-3


@pytest.mark.parametrize("ranks", [2, 4])
def test_all_ranks_hold_the_same_weights(run_ranks, ranks):
    folder = run_ranks(ranks)
    first = load_weights(folder, rank=0)
    last = load_weights(folder, rank=ranks - 1)
    for name in first:
        assert find_largest_difference(first[name], last[name]) == 0, name


@pytest.mark.parametrize("ranks", [2, 4])
def test_running_means_are_those_of_one_process_on_every_rank(run_ranks, ranks):
    one = load_weights(run_ranks(1))
    folder = run_ranks(ranks)
    first = load_weights(folder, rank=0)
    last = load_weights(folder, rank=ranks - 1)
    for name in (*DOUBLE_CASES, *SINGLE_CASES):
        tolerance = 1e-6 if name in DOUBLE_CASES else 1e-3
        means = first[name]["means"]
        expected = one[name]["means"]
        assert torch.allclose(means, expected, rtol=tolerance, equal_nan=True), name
        assert torch.equal(means.nan_to_num(-1), last[name]["means"].nan_to_num(-1)), name


@pytest.mark.parametrize("ranks", [2, 4])
def test_the_work_of_all_ranks_is_that_of_one_process(run_ranks, ranks):
    one = load_weights(run_ranks(1))
    folder = run_ranks(ranks)
    first = load_weights(folder, rank=0)
    last = load_weights(folder, rank=ranks - 1)
    for name in (*DOUBLE_CASES, *SINGLE_CASES):
        assert torch.equal(first[name]["work"], one[name]["work"]), name
        assert torch.equal(first[name]["work"], last[name]["work"]), name
    whole_batches = one["hybrid, exact mask"]["work"]
    accumulated = one["accumulated"]["work"]
    assert accumulated[0] == whole_batches[0] / 2  # steps, of two batches each
    assert accumulated[2] == whole_batches[2]  # pairs


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("precision", CACHED_TOLERANCES)
def test_cached_gradients_are_the_plain_ones_with_dropout(run_ranks, ranks, precision):
    weights = load_weights(run_ranks(ranks))
    plain = weights[f"{precision}, plain"]
    cached = weights[f"{precision}, cached"]
    loss_tolerance = 1e-3 if precision == "bf16" else 1e-5
    assert torch.allclose(plain["losses"], cached["losses"], rtol=loss_tolerance)
    assert find_largest_difference(plain, cached) < CACHED_TOLERANCES[precision]


@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_any_number_of_processes_measures_the_same(run_ranks, ranks):
    one = load_measured(run_ranks(1))
    folder = run_ranks(ranks)
    for rank in range(ranks):
        assert load_measured(folder, rank) == one
