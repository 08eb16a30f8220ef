"""A run that is killed or asked to stop goes on as if nothing had happened.

These tests start real processes by the real command line. They wait for progress of the run,
never for the clock.
"""

import json
import random
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
import torch

from hybrid_ir.system.interruption import REQUEUE_EXIT_CODE
from hybrid_ir.system.processes import RankProcesses, RanksEnded
from tests.support.command_line import (
    HANG_SECONDS,
    environment,
    read_output,
    start,
    train,
    train_command,
    wait_until,
)

STEPS = 60
CHECKPOINT_EVERY = 7
RUN = [
    "debug=smoke",
    "corpus.languages=[de,en,zh]",
    "validation.languages=[de,en,zh]",
    "model.backbone.vocab_size=1000",
    "model.dropout=0.1",
    f"trainer.max_steps={STEPS}",
    "trainer.val_check_interval=20",
    "trainer.log_every_n_steps=1",
    f"callbacks.checkpoint_last.every_n_train_steps={CHECKPOINT_EVERY}",
    "callbacks.early_stopping.patience=20",
]
MEASURED = ["benchmark.languages=[de,en,zh]", "benchmark.max_queries=50"]
NOT_MEASURED = ["benchmark=none"]
TWO_PROCESSES = [*RUN, *NOT_MEASURED, "trainer=ddp_cpu"]


@pytest.fixture(scope="module")
def undisturbed(place) -> Path:
    """The folder of a run that nobody disturbs."""
    folder = place / "undisturbed"
    run = train(place, *RUN, *MEASURED, f"hydra.run.dir={folder}")
    assert run.returncode == 0, run.stderr
    return folder


def read_log(folder: Path) -> list[dict]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def count_log_rows(folder: Path) -> int:
    path = folder / "metrics.jsonl"
    return len(path.read_text().splitlines()) if path.exists() else 0


def select_training_rows(log: list[dict]) -> list[dict]:
    return [row for row in log if "train/masked_share" in row]


def assert_same_batches(one: Path, other: Path) -> None:
    """Both runs logged the same steps, each once, and met the same batches there."""
    rows_of_one = select_training_rows(read_log(one))
    rows_of_other = select_training_rows(read_log(other))
    assert [row["step"] for row in rows_of_one] == list(range(STEPS))
    assert [row["step"] for row in rows_of_other] == list(range(STEPS))
    masked_by_one = [row["train/masked_share"] for row in rows_of_one]
    masked_by_other = [row["train/masked_share"] for row in rows_of_other]
    assert len(set(masked_by_one)) > 3  # The share tells batches apart.
    assert masked_by_one == pytest.approx(masked_by_other, abs=1e-6)


def assert_same_bits(one: Path, other: Path) -> None:
    """Both runs have the same log and the same weights, to the last bit."""
    assert read_log(one) == read_log(other)
    last_of_one = load_last_checkpoint(one)
    last_of_other = load_last_checkpoint(other)
    assert last_of_one["global_step"] == last_of_other["global_step"] == STEPS
    for name, weight in last_of_one["state_dict"].items():
        assert torch.equal(weight, last_of_other["state_dict"][name]), name


def load_last_checkpoint(folder: Path) -> dict:
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)


def wait_for_row(running: subprocess.Popen, folder: Path, rows: int) -> None:
    """Waits until the log has so many rows, or the run has ended."""
    wait_until(
        lambda: count_log_rows(folder) >= rows or running.poll() is not None, poll_seconds=0.005
    )


def wait_for_checkpoint_or_row(running: subprocess.Popen, folder: Path, rows: int) -> None:
    """Waits until a checkpoint is being written; if none is seen, until the log has the rows."""
    writing = folder / "checkpoints" / ".last.ckpt.writing"

    def is_time() -> bool:
        is_late = count_log_rows(folder) >= rows or running.poll() is not None
        return is_late or writing.exists()

    wait_until(is_time, poll_seconds=0.0005)


def start_ranks(place: Path, *arguments: str) -> RankProcesses:
    """Starts a run of two processes which this process watches instead of train.py."""
    return RankProcesses(2, environment(place)).start(train_command(*TWO_PROCESSES, *arguments))


def test_a_run_that_is_killed_ends_as_if_undisturbed_with_or_without_workers(place, undisturbed):
    folder = place / "killed often"
    arguments = [*RUN, *MEASURED, "resume=auto", f"hydra.run.dir='{folder}'"]
    draw = random.Random(0)

    killed_at_19 = train(
        place,
        *arguments,
        "+callbacks.fault._target_=tests.support.faults.Fault",
        "+callbacks.fault.kind=killed",
        "+callbacks.fault.step=19",
        "+callbacks.fault.rank=0",
    )
    assert killed_at_19.returncode == -signal.SIGKILL
    assert load_last_checkpoint(folder)["global_step"] == 14

    killed_anywhere = start(place, *arguments, "data.num_workers=1")
    wait_for_row(killed_anywhere, folder, draw.randrange(22, 30))
    killed_anywhere.kill()
    killed_anywhere.wait()
    assert f"resume: {folder}, from step 14 (last.ckpt)" in read_output(place)

    killed_while_saving = start(place, *arguments)
    wait_for_row(killed_while_saving, folder, draw.randrange(32, 36))
    wait_for_checkpoint_or_row(killed_while_saving, folder, 48)
    killed_while_saving.kill()
    killed_while_saving.wait()

    last = train(place, *arguments)
    assert last.returncode == 0, last.stderr
    assert_same_batches(undisturbed, folder)
    assert_same_bits(undisturbed, folder)
    assert (undisturbed / "metrics.json").read_text() == (folder / "metrics.json").read_text()


def test_processes_that_are_asked_to_stop_save_and_go_on_to_the_same_end(place, undisturbed):
    alone = place / "two undisturbed"
    start_ranks(place, f"hydra.run.dir='{alone}'").wait()

    stopped = place / "two stopped"
    arguments = ["resume=auto", f"hydra.run.dir={str(stopped)!r}"]
    running = start(place, *TWO_PROCESSES, *arguments)
    wait_for_row(running, stopped, 10)
    running.send_signal(signal.SIGTERM)
    assert running.wait(HANG_SECONDS) == REQUEUE_EXIT_CODE, read_output(place)[-2000:]
    assert "saved, resume=auto goes on" in read_output(place)
    moved = place / "moved to one process"
    shutil.copytree(stopped, moved)
    start_ranks(place, *arguments).wait()
    assert_same_bits(alone, stopped)
    # With two processes sums are rounded otherwise, but the batches are those of one.
    assert_same_batches(undisturbed, stopped)

    arguments = [*RUN, *NOT_MEASURED, "resume=auto", f"hydra.run.dir={str(moved)!r}"]
    running = start(place, *arguments)
    wait_for_row(running, moved, 30)
    running.send_signal(signal.SIGUSR1)
    assert running.wait(HANG_SECONDS) == REQUEUE_EXIT_CODE, read_output(place)[-2000:]
    assert train(place, *arguments).returncode == 0
    assert_same_batches(undisturbed, moved)


def test_a_killed_rank_ends_the_run_with_one_message(place):
    ranks = start_ranks(
        place,
        f"hydra.run.dir={place / 'fault'}",
        "+callbacks.fault._target_=tests.support.faults.Fault",
        "+callbacks.fault.kind=killed",
    )
    with pytest.raises(RanksEnded) as ended:
        ranks.wait()
    assert ended.value.code == 1
    assert str(ended.value) == (
        "error: rank 1 at step 5: it was killed by signal 9 (SIGKILL), as the system does when "
        "memory runs out"
    )


def test_a_rank_that_diverges_stops_all_and_leaves_the_picks(place):
    folder = place / "diverged"
    run = train(
        place,
        *TWO_PROCESSES,
        f"hydra.run.dir={folder}",
        "+callbacks.fault._target_=tests.support.faults.Fault",
        "+callbacks.fault.kind=diverges",
    )
    assert run.returncode == 2
    assert "the loss is nan at step 5 (batch 5)" in run.stderr
    assert "Traceback" not in run.stderr
    row = json.loads((folder / "nonfinite.jsonl").read_text())
    assert row["step"] == 5
    picks = row["batches"][0]["picks"]
    assert len(picks) == 64
    assert picks[0]["query"]
