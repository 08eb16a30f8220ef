"""A run that is killed, asked to stop, or out of disk goes on as if nothing had happened: real processes and command lines."""

import json
import random
import signal
import time
from pathlib import Path

import pytest
import torch

from hybrid_ir.system.interruption import REQUEUE_EXIT_CODE
from tests.runs.test_processes import until
from tests.support.command_line import start, train

RUN = [
    "debug=smoke",
    "corpus.languages=[de,en,zh]",
    "benchmark.languages=[de,en,zh]",
    "validation.languages=[de,en,zh]",
    "trainer.max_steps=120",
    "trainer.val_check_interval=20",
    "trainer.log_every_n_steps=1",
    "model.dropout=0.1",
    "callbacks.checkpoint_last.every_n_train_steps=7",
    "callbacks.early_stopping.patience=20",
]


@pytest.fixture(scope="module")
def whole(place) -> Path:
    """A run that nobody disturbs."""
    done = train(place, *RUN, f"hydra.run.dir={place / 'whole'}")
    assert done.returncode == 0, done.stderr
    return place / "whole"


def same(one: Path, other: Path, exactly: bool = True) -> None:
    """The same log, the same results, and the same weights to the last bit."""
    logs = [
        [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        for folder in (one, other)
    ]
    assert [row["step"] for row in logs[0]] == [row["step"] for row in logs[1]]
    told = [
        [row["train/masked_share"] for row in log if "train/masked_share" in row] for log in logs
    ]
    assert len(set(told[0])) > 3 and told[0] == pytest.approx(
        told[1], abs=1e-6
    )  # it differs from batch to batch
    saved = [
        torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
        for folder in (one, other)
    ]
    assert saved[0]["global_step"] == saved[1]["global_step"] == 120
    if exactly:
        assert logs[0] == logs[1]
        assert (one / "metrics.json").read_text() == (other / "metrics.json").read_text()
        assert all(
            torch.equal(value, saved[1]["state_dict"][name])
            for name, value in saved[0]["state_dict"].items()
        )


def rows(folder: Path) -> int:
    path = folder / "metrics.jsonl"
    return len(path.read_text().splitlines()) if path.exists() else 0


def test_kill_9_at_any_moment_changes_nothing_with_or_without_a_worker(place, whole):
    folder, rng = place / "killed often", random.Random(0)
    arguments = [*RUN, "resume=auto", f"hydra.run.dir='{folder}'"]
    for number in range(4):
        running = start(place, *arguments, f"data.num_workers={number % 2}")
        before = rows(folder)
        until(lambda: rows(folder) > before - 8 + 12 * number or running.poll() is not None, 60)  # noqa: B023
        writing, patient = (
            folder / "checkpoints" / ".last.ckpt.writing",
            time.monotonic() + 1 + rng.random(),
        )
        while (
            number
            and not writing.exists()
            and time.monotonic() < patient
            and running.poll() is None
        ):
            time.sleep(
                0.0005
            )  # the first one anywhere, the others in the middle of a checkpoint, if they can be caught
        running.kill()
        running.wait()
    done = train(place, *arguments)
    assert done.returncode == 0 and "resume: " in done.stdout, done.stderr
    same(whole, folder)
    again = train(place, *arguments)
    assert again.returncode == 0 and "complete: " in again.stdout and "training" not in again.stdout


def test_two_processes_save_when_asked_and_go_on_to_the_same_end(place, whole):
    folder = place / "asked"
    arguments = [*RUN, "trainer=ddp_cpu", "resume=auto", f"hydra.run.dir={folder}"]
    for number, asked in ((0, signal.SIGTERM), (1, signal.SIGUSR1)):
        running = start(place, *arguments)
        until(lambda: rows(folder) > 10 + 30 * number or running.poll() is not None, 60)  # noqa: B023
        running.send_signal(asked)
        assert running.wait(60) == REQUEUE_EXIT_CODE, (place / "said").read_text()[-2000:]
        assert "saved, resume=auto goes on" in (place / "said").read_text()
    done = train(place, *arguments)
    assert done.returncode == 0, done.stderr
    alone = place / "alone"
    assert train(place, *RUN, "trainer=ddp_cpu", f"hydra.run.dir={alone}").returncode == 0
    same(alone, folder)
    same(
        whole, folder, exactly=False
    )  # the batches are those of one process, the sums are rounded otherwise


def test_killed_on_two_processes_it_goes_on_with_the_same_batches_on_one(place, whole):
    folder = place / "moved"
    arguments = [*RUN, "resume=auto", f"hydra.run.dir={folder}"]
    running = start(place, *arguments, "trainer=ddp_cpu")
    until(lambda: rows(folder) > 50 or running.poll() is not None, 60)
    running.kill()
    running.wait()
    done = train(place, *arguments)
    assert done.returncode == 0 and "resume: " in done.stdout, done.stderr
    same(whole, folder, exactly=False)


def test_a_killed_rank_ends_the_run_with_one_message(place):
    done = train(
        place,
        *RUN,
        "trainer=ddp_cpu",
        f"hydra.run.dir={place / 'fault'}",
        "+callbacks.fault.kind=killed",
        "+callbacks.fault._target_=tests.support.faults.Fault",
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert [line for line in done.stderr.splitlines() if "error" in line.lower()] == [
        "error: rank 1 at step 5: it was killed by signal 9 (SIGKILL), as the system does when memory runs out"
    ]


def test_a_rank_that_diverges_stops_all_and_leaves_the_picks(place):
    folder = place / "diverged"
    done = train(
        place,
        *RUN,
        "trainer=ddp_cpu",
        f"hydra.run.dir={folder}",
        "+callbacks.fault.kind=diverges",
        "+callbacks.fault._target_=tests.support.faults.Fault",
    )
    assert (
        done.returncode == 2
        and "the loss is nan at step 5 (batch 5)" in done.stderr
        and "Traceback" not in done.stderr
    )
    told = json.loads((folder / "nonfinite.jsonl").read_text())
    assert (
        told["step"] == 5
        and len(told["batches"][0]["picks"]) == 64
        and told["batches"][0]["picks"][0]["query"]
    )


def test_a_folder_with_a_run_is_not_overwritten(place, whole):
    before = (whole / "metrics.json").read_text()
    done = train(place, *RUN, f"hydra.run.dir={whole}")
    assert (
        done.returncode == 2 and "holds a run already: go on in it with resume=auto" in done.stderr
    )
    assert (whole / "metrics.json").read_text() == before
