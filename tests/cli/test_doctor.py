"""`hybrid-ir doctor`: finds nothing where all is well, and the fault where there is one."""

import json
from pathlib import Path

import pytest
import torch

from hybrid_ir.cli import doctor
from hybrid_ir.cli.doctor import Finding, ShortRuns
from hybrid_ir.training.checkpoints import AtomicCheckpointIO
from tests.support.command_line import hybrid_ir


def save_run(
    runs: ShortRuns,
    name: str,
    before: torch.Tensor,
    after: torch.Tensor,
    canary: str = "a",
    mean: float = 0.5,
) -> None:
    """Writes what the doctor reads of a run."""
    folder = runs.folder / name
    for file, weights in (("previous.ckpt", before), ("last.ckpt", after)):
        checkpoint = {
            "state_dict": {"weight": weights},
            "global_step": 1,
            "tokenizer_canary": canary,
            "callbacks": {},
        }
        AtomicCheckpointIO().save_checkpoint(checkpoint, folder / "checkpoints" / file)
    metrics = {"macro_over_settings": {"multi": {"map": mean}}}
    (folder / "metrics.json").write_text(json.dumps(metrics))


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> ShortRuns:
    """A run, one that is the same up to rounding, and runs that differ from it."""
    runs = ShortRuns(tmp_path_factory.mktemp("doctor"), [])
    start, gradient = torch.randn(2, 1000, generator=torch.Generator().manual_seed(0))
    step = 0.01 * gradient
    save_run(runs, "one", start, start - step)
    save_run(runs, "rounded", start, start - step * (1 + 1e-5))
    save_run(runs, "twice", start, start - 2 * step, mean=0.5000001)
    save_run(runs, "turned", start, start - step.flip(0), canary="b")
    return runs


def test_all_is_well_on_this_machine(place):
    out = place / "doctor.json"
    run = hybrid_ir(
        place,
        "doctor",
        "corpus.languages=[de,en]",
        "model.backbone.vocab_size=1000",
        f"out={out}",
    )
    assert run.returncode == 0, run.stdout + run.stderr
    findings = json.loads(out.read_text())
    assert len(findings) == 8
    assert all(finding["holds"] for finding in findings)
    assert "does not" not in run.stdout


def test_a_run_that_cannot_start_says_why(tmp_path):
    runs = ShortRuns(tmp_path, ["corpus.languages=[de,xx]"])
    runs.run({"one": ["trainer=cpu"]})
    runs.count = 7  # as if the other runs had ended well
    finding = doctor.compare_runs(
        runs, "a check", ("one", "several"), doctor.compare_learning, "a cure"
    )
    assert finding.holds is False
    assert "one: " in finding.measured
    assert "xx" in finding.measured
    assert "see the message" in finding.cure


def test_a_check_is_unknown_only_if_no_run_works(tmp_path):
    names = ["one", "several", "plain", "cached", "resumed", "measured_by_one", "by_several"]
    runs = ShortRuns(tmp_path, [])
    runs.count = len(names)
    results = []
    for name in names:
        runs.errors[name] = "a reason"
        pair = ("one", "several")
        finding = doctor.compare_runs(runs, "check", pair, doctor.compare_learning, "a cure")
        results.append(finding.holds)
    assert results == [False] * 6 + [None]


@pytest.mark.parametrize(
    ("holds", "status", "exit_code"), [(False, "does not", 1), (None, "unknown", 1), (True, "", 0)]
)
def test_a_check_that_could_not_be_made_does_not_count_as_held(
    tmp_path, monkeypatch, capsys, holds, status, exit_code
):
    findings = [Finding("a check", True, "1"), Finding("another", holds, "2", "a cure")]
    monkeypatch.setattr(doctor, "check_machine", lambda: findings)
    monkeypatch.setattr(doctor, "check_runs", lambda runs, processes: [])
    ended_with = 0
    try:
        doctor.main([f"out={tmp_path / 'doctor.json'}"])
    except SystemExit as ended:
        ended_with = ended.code
    output = capsys.readouterr().out
    assert ended_with == exit_code
    assert status in output
    assert ("a cure" in output) == (exit_code == 1)
    rows = json.loads((tmp_path / "doctor.json").read_text())
    assert [row["holds"] for row in rows] == [True, holds]


def test_a_run_that_fails_beside_others_is_a_fault(runs):
    runs = ShortRuns(runs.folder, [])
    runs.count = 2
    runs.errors = {"twice": "a reason"}
    pair = ("one", "twice")
    finding = doctor.compare_runs(runs, "a check", pair, doctor.compare_learning, "a cure")
    assert finding.holds is False
    assert finding.measured == "twice: a reason"


@pytest.mark.parametrize("argument", ["processes=1", "processes=x", "trainer=ddp"])
def test_wrong_arguments_are_answered_with_the_usage(argument):
    with pytest.raises(
        ValueError, match=rf"{argument} cannot be had here. Usage: hybrid-ir doctor"
    ):
        doctor.main([argument])


def test_arguments_are_split_from_the_keys_of_the_runs():
    options = doctor.parse_options(["sampler=x_y", "processes=3", "out=a/b.json", "~logger"])
    assert options == doctor.DoctorOptions(["sampler=x_y", "~logger"], 3, Path("a/b.json"))


@pytest.mark.parametrize(
    ("compare", "same", "different"),
    [
        (doctor.compare_learning, "rounded", "twice"),
        (doctor.compare_learning, "rounded", "turned"),
        (doctor.compare_weights, "one", "rounded"),
        (doctor.compare_tokenizers, "rounded", "turned"),
        (doctor.compare_results, "rounded", "twice"),
    ],
)
def test_a_difference_between_runs_is_found(runs, compare, same, different):
    assert compare(runs, "one", same)[0]
    assert not compare(runs, "one", different)[0]


def test_the_machine_is_described():
    findings = doctor.check_machine()
    assert [finding.name for finding in findings] == ["versions", "devices", "bf16"]
    assert all(finding.holds for finding in findings)
