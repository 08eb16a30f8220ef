"""A run that is killed or asked to stop goes on as if nothing had happened.

These tests start real processes by the real command line. A run waits at a step for the test that
kills it or asks it to stop, and a test waits for progress of the run, never for the clock.
"""

import json
import random
import signal
import subprocess
from pathlib import Path

import pytest
import torch

from hybrid_ir.system.interruption import KEYBOARD_INTERRUPT_CODE, REQUEUE_EXIT_CODE
from hybrid_ir.system.processes import RankProcesses
from tests.support.command_line import (
    HANG_SECONDS,
    environment,
    find_processes,
    read_output,
    start,
    train,
    train_command,
    wait_until,
)
from tests.support.in_process import train_in_process
from tests.support.speed import COUNTED, drop_speed

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
TWO_PROCESSES = [*RUN, "trainer=ddp_cpu"]


@pytest.fixture(scope="module")
def undisturbed(place) -> Path:
    """The folder of a run that nobody disturbs."""
    folder = place / "undisturbed"
    run = train(place, *RUN, *MEASURED, f"hydra.run.dir={folder}")
    assert run.returncode == 0, run.stderr
    return folder


def read_log(folder: Path) -> list[dict]:
    """Returns the rows of the log, without how fast the steps were."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [drop_speed(json.loads(line)) for line in lines]


def count_log_rows(folder: Path) -> int:
    path = folder / "metrics.jsonl"
    return len(path.read_text().splitlines()) if path.exists() else 0


def select_training_rows(log: list[dict]) -> list[dict]:
    return [row for row in log if "train/masked_share" in row]


def assert_same_batches(one: Path, other: Path) -> None:
    """Both runs logged the same steps, each once, and met the same batches there."""
    rows_of_one = select_training_rows(read_log(one))
    rows_of_other = select_training_rows(read_log(other))
    assert [row["step"] for row in rows_of_one] == list(range(1, STEPS + 1))
    assert [row["step"] for row in rows_of_other] == list(range(1, STEPS + 1))
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


def assert_same_work(one: Path, other: Path) -> None:
    """Both runs have counted the same steps, tokens, pairs and slots."""
    work_of_one = json.loads((one / "throughput.json").read_text())
    work_of_other = json.loads((other / "throughput.json").read_text())
    for name in COUNTED:
        assert work_of_one[name] == pytest.approx(work_of_other[name]), name


def load_last_checkpoint(folder: Path) -> dict:
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)


def wait_for_row(running: subprocess.Popen, folder: Path, rows: int) -> None:
    """Waits until the log has so many rows, or the run has ended."""
    wait_until(
        lambda: count_log_rows(folder) >= rows or running.poll() is not None, poll_seconds=0.005
    )


def fault(kind: str, step: int, rank: int = 0) -> list[str]:
    """Returns the arguments of a run that has a fault, see `tests.support.faults`."""
    return [
        "+callbacks.fault._target_=tests.support.faults.Fault",
        f"+callbacks.fault.kind={kind}",
        f"+callbacks.fault.step={step}",
        f"+callbacks.fault.rank={rank}",
    ]


def run_ranks(place: Path, *arguments: str) -> None:
    """Runs two processes which this process watches instead of train.py."""
    RankProcesses(2, environment(place)).start(train_command(*TWO_PROCESSES, *arguments)).wait()


def test_a_run_that_is_killed_ends_as_if_undisturbed_with_or_without_workers(place, undisturbed):
    folder = place / "killed often"
    checkpoints = folder / "checkpoints"
    arguments = [*RUN, *MEASURED, "resume=auto", f"hydra.run.dir='{folder}'"]
    draw = random.Random(0)

    half_written = train(place, *arguments, *fault("killed_while_writing", step=14))
    assert half_written.returncode == -signal.SIGKILL
    assert (checkpoints / ".last.ckpt.writing").exists()
    assert load_last_checkpoint(folder)["global_step"] == 7

    anywhere = [*arguments, "data.num_workers=1", *fault("waits", step=40)]
    killed_anywhere = start(place, *anywhere)
    wait_for_row(killed_anywhere, folder, draw.randrange(22, 36))
    killed_anywhere.kill()
    assert killed_anywhere.wait() == -signal.SIGKILL
    assert f"resume: {folder}, from step 7 (last.ckpt)" in read_output(killed_anywhere)

    half_renamed = train(place, *arguments, *fault("killed_while_renaming", step=56))
    assert half_renamed.returncode == -signal.SIGKILL
    assert not (checkpoints / "last.ckpt").exists()

    asked = train_in_process(place, *arguments, *fault("asked_to_stop", step=58))
    assert asked.returncode == REQUEUE_EXIT_CODE, asked.stderr
    assert f"resume: {folder}, from step 49 (previous.ckpt)" in asked.stdout
    assert "asked to stop at step 58 of 60: saved, resume=auto goes on" in asked.stderr

    last = train(place, *arguments)
    assert last.returncode == 0, last.stderr
    assert f"resume: {folder}, from step 58 (last.ckpt)" in last.stdout
    assert_same_batches(undisturbed, folder)
    assert_same_bits(undisturbed, folder)
    assert_same_work(undisturbed, folder)
    assert (undisturbed / "metrics.json").read_text() == (folder / "metrics.json").read_text()


def test_a_complete_run_that_is_started_again_trains_nothing(place, undisturbed):
    before = read_contents(undisturbed)
    arguments = [*RUN, *MEASURED, f"hydra.run.dir={undisturbed}"]
    again = train_in_process(place, *arguments, "resume=auto")
    assert again.returncode == 0, again.stderr
    assert f"complete: {undisturbed} has the results" in again.stdout
    assert "batch card" not in again.stdout
    assert read_contents(undisturbed) == before

    refused = train_in_process(place, *arguments)
    assert refused.returncode == 2
    assert "holds a run already: go on in it with resume=auto" in refused.stderr
    assert read_contents(undisturbed) == before


def read_contents(folder: Path) -> dict[str, bytes]:
    """Returns the bytes of the results, the log and the checkpoints of a run."""
    paths = [*folder.glob("*.json*"), *folder.glob("checkpoints/*")]
    return {str(path): path.read_bytes() for path in paths}


def test_processes_that_are_asked_to_stop_save_and_go_on_to_the_same_end(place, undisturbed):
    alone = place / "two undisturbed"
    run_ranks(place, *MEASURED, f"hydra.run.dir='{alone}'")

    stopped = place / "two stopped"
    arguments = [*MEASURED, "resume=auto", f"hydra.run.dir='{stopped}'"]
    for number, step, code in (
        (signal.SIGTERM, 10, REQUEUE_EXIT_CODE),
        (signal.SIGUSR1, 25, REQUEUE_EXIT_CODE),
        (signal.SIGINT, 40, KEYBOARD_INTERRUPT_CODE),
    ):
        running = start(place, *TWO_PROCESSES, *arguments, *fault("waits", step, rank=1))
        wait_for_row(running, stopped, step)
        running.send_signal(number)
        assert running.wait(HANG_SECONDS) == code, read_output(running)[-2000:]
        last_line = read_output(running).splitlines()[-1]
        assert last_line.startswith("asked to stop at step ")
        assert last_line.endswith(f" of {STEPS}: saved, resume=auto goes on from there")
    run_ranks(place, *arguments)
    assert_same_bits(alone, stopped)
    assert_same_work(alone, stopped)
    assert (alone / "metrics.json").read_text() == (stopped / "metrics.json").read_text()
    # With two processes sums are rounded otherwise, but the batches are those of one.
    assert_same_batches(undisturbed, stopped)


def test_a_second_ctrl_c_stops_at_once(place):
    folder = place / "stopped twice"
    running = start(
        place, *RUN, *NOT_MEASURED, f"hydra.run.dir='{folder}'", *fault("waits_for_ever", 10)
    )
    wait_for_row(running, folder, 10)
    running.send_signal(signal.SIGINT)
    # Two signals at once would be one.
    wait_until(lambda: "Ctrl-C again stops at once" in read_output(running))
    running.send_signal(signal.SIGINT)
    assert running.wait(HANG_SECONDS) == KEYBOARD_INTERRUPT_CODE, read_output(running)[-2000:]
    assert "stopped by Ctrl-C" in read_output(running)
    assert "Traceback" not in read_output(running)
    assert load_last_checkpoint(folder)["global_step"] == 7


def test_data_that_changed_since_the_start_is_refused(place):
    folder = place / "other data"
    path = place / "pairs.jsonl"
    lines = []
    for number in range(40):
        pair = {"query": {"en": f"question {number}"}, "passage": {"en": f"answer {number}"}}
        lines.append(json.dumps({"id": str(number), **pair}))
    path.write_text("\n".join(lines))
    arguments = [
        "model=tiny",
        "corpus=jsonl",
        "sampler=x_x_mono",
        f"corpus.path='{path}'",
        "sampler.batch_size=8",
        "trainer.max_steps=4",
        "callbacks=last_only",
        "benchmark@validation=none",
        *NOT_MEASURED,
        "resume=auto",
        f"hydra.run.dir='{folder}'",
    ]
    done = train_in_process(place, *arguments)
    assert done.returncode == 0, done.stderr
    path.write_text("\n".join(lines[:-1]))
    changed = train_in_process(place, *arguments)
    assert changed.returncode == 2
    assert "was started with other content of: corpus" in changed.stderr


def test_a_run_killed_on_two_processes_goes_on_with_the_same_batches_on_one(place, undisturbed):
    folder = place / "moved"
    arguments = [*NOT_MEASURED, "resume=auto", f"hydra.run.dir={folder}"]

    with_killed_rank = train(place, *TWO_PROCESSES, *arguments, *fault("killed", step=16, rank=1))
    assert with_killed_rank.returncode == 1
    assert "Traceback" not in with_killed_rank.stderr
    lines = with_killed_rank.stderr.splitlines()
    assert [line for line in lines if "error" in line.lower()] == [
        "error: rank 1 at step 16: it was killed by signal 9 (SIGKILL), as the system does when "
        "memory runs out"
    ]

    running = start(place, *TWO_PROCESSES, *arguments, *fault("waits", step=30, rank=1))
    wait_for_row(running, folder, 30)
    running.kill()
    assert running.wait() == -signal.SIGKILL
    wait_until(lambda: not find_processes(str(folder)))  # Its ranks end with it.

    moved = train(place, *RUN, *arguments)
    assert moved.returncode == 0, moved.stderr
    assert f"resume: {folder}, from step 28 (last.ckpt)" in moved.stdout
    assert_same_batches(undisturbed, folder)


def test_a_rank_that_diverges_stops_all_and_leaves_the_picks(place):
    folder = place / "diverged"
    run = train(
        place,
        *TWO_PROCESSES,
        *NOT_MEASURED,
        f"hydra.run.dir={folder}",
        *fault("diverges", step=5, rank=1),
    )
    assert run.returncode == 2
    assert "the loss is nan at step 6 (batch 5)" in run.stderr
    assert "Traceback" not in run.stderr
    row = json.loads((folder / "nonfinite.jsonl").read_text())
    assert row["step"] == 6
    picks = row["batches"][0]["picks"]
    assert len(picks) == 64
    assert picks[0]["query"]
