"""Real processes over gloo: any number of them trains the same weights and measures the same numbers as one."""

import json
import sys
from pathlib import Path

import pytest
import torch

from hybrid_ir.system.processes import Ranks
from tests.support.command_line import ROOT, environment
from tests.support.rank import CASES


@pytest.fixture(scope="session")
def ran(tmp_path_factory):
    """Runs tests/rank.py in so many processes, once a session; the folder with what each rank wrote."""
    place, done = tmp_path_factory.mktemp("ranks"), {}

    def run(what: str, ranks: int) -> Path:
        if (what, ranks) not in done:
            folder = place / f"{what}-{ranks}"
            folder.mkdir()
            command = [
                sys.executable,
                "-m",
                "tests.support.rank",
                what,
                str(folder),
                str(place / "cache"),
                str(ranks),
            ]
            Ranks(ranks, environment(place, PYTHONPATH=str(ROOT))).start(command).wait()
            done[what, ranks] = folder
        return done[what, ranks]

    return run


def weights(folder: Path, rank: int = 0) -> dict[str, dict[str, torch.Tensor]]:
    return torch.load(folder / f"weights-{rank}.pt", weights_only=True)


def furthest(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    assert one.keys() == other.keys()
    return max(
        float((one[name].double() - other[name].double()).abs().max())
        for name in one
        if name != "losses"
    )


@pytest.mark.parametrize("ranks", [2, 4])
def test_the_weights_are_those_of_one_process(ran, ranks):
    one, several = weights(ran("train", 1)), weights(ran("train", ranks))
    for name in CASES:
        assert furthest(one[name], several[name]) < 1e-12, name
    for name in ("float32", "sharded"):
        assert furthest(one[name], several[name]) < 2e-4, name
    start_to_end = furthest(one["x_y"], one["x_x_mono"])
    assert start_to_end > 1e-3  # the cases are different trainings


@pytest.mark.parametrize("ranks", [2, 4])
def test_all_ranks_hold_the_same_weights(ran, ranks):
    folder = ran("train", ranks)
    first, last = weights(folder), weights(folder, ranks - 1)
    assert all(furthest(first[name], last[name]) == 0 for name in first)


@pytest.mark.parametrize("ranks", [1, 2])
def test_cached_gradients_are_the_plain_ones_with_dropout(ran, ranks):
    trained = weights(ran("dropout", ranks))
    for name, most in (("float64", 1e-12), ("float32", 1e-5), ("hard", 1e-5), ("bf16", 1e-3)):
        plain, cached = trained[f"{name}, plain"], trained[f"{name}, cached"]
        assert torch.allclose(
            plain["losses"], cached["losses"], rtol=1e-3 if name == "bf16" else 1e-5
        ), name
        assert furthest(plain, cached) < most, name


@pytest.mark.parametrize("ranks", [2, 3])
def test_any_number_of_processes_measures_the_same(ran, ranks):
    one = json.loads((ran("measure", 1) / "measured-0.json").read_text())
    folder = ran("measure", ranks)
    for rank in range(ranks):
        assert json.loads((folder / f"measured-{rank}.json").read_text()) == one
