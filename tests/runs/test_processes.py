"""Ranks live and end together, and one message says why: small real processes."""

import os
import signal
import subprocess
import sys
import time

import pytest

from hybrid_ir.system import processes
from hybrid_ir.system.interruption import REQUEUE_EXIT_CODE
from hybrid_ir.system.processes import Failure, Ranks, RanksEnded
from tests.support.command_line import ROOT

HEAD = """
import os, signal, sys, time
from hybrid_ir.system.processes import Failure, end_with_watcher, report_failure
rank = int(os.environ["RANK"])
end_with_watcher()
def fail(message, step=None, secondary=False, code=1):
    report_failure(Failure(rank, message, step, secondary, code)); sys.exit(code)
"""
WAITS = "time.sleep(0.3); fail('connection closed by peer', 7, secondary=True)"


def ranks(body: str, count: int = 2) -> Ranks:
    return Ranks(count, {"PYTHONPATH": str(ROOT)}).start([sys.executable, "-c", HEAD + body])


@pytest.fixture(autouse=True)
def little_grace(monkeypatch):
    monkeypatch.setattr(processes, "GRACE", 1)


@pytest.mark.parametrize(
    ("body", "said", "code"),
    [
        (
            f"if rank: fail('the disk is on fire', 7)\n{WAITS}",
            "error: rank 1 at step 7: the disk is on fire",
            1,
        ),
        (
            f"if rank: fail('a wrong key', code=2)\n{WAITS}",
            "error: rank 1 at step 7: a wrong key",
            2,
        ),
        (
            f"if rank: os.kill(os.getpid(), signal.SIGKILL)\n{WAITS}",
            "rank 1 at step 7: it was killed by signal 9 (SIGKILL)",
            1,
        ),
        (
            f"if rank: sys.exit(0)\n{WAITS}",
            "error: rank 1 at step 7: it ended before the others",
            1,
        ),
        (
            f"if rank: sys.exit('no such thing')\n{WAITS}",
            "error: rank 1 at step 7: no such thing",
            1,
        ),
        (
            "if rank: os.kill(os.getpid(), signal.SIGSTOP)\ntime.sleep(30)",
            "rank 1: it was stopped (SIGSTOP) and did not go on",
            1,
        ),
        (
            "if rank: time.sleep(60)\nfail('timed out', 7, secondary=True)",
            "error: rank 1 at step 7: it did not answer the others",
            1,
        ),
        ("fail('lost', rank, secondary=True)", "error: rank", 1),
    ],
)
def test_the_first_that_fails_is_named_and_all_end(body, said, code):
    started = time.monotonic()
    running = ranks(body)
    with pytest.raises(RanksEnded) as ended:
        running.wait()
    assert (
        said in str(ended.value)
        and ended.value.code == code
        and len(str(ended.value).splitlines()) == 1
    )
    assert time.monotonic() - started < 10
    assert (
        all(process.poll() is not None for process in running.processes)
        and not running.folder.exists()
    )


def test_all_well_is_no_error():
    ranks("pass", 3).wait()


def test_a_traceback_comes_before_the_message():
    with pytest.raises(RanksEnded, match=r"(?s)^Traceback.*\nerror: rank 1: RuntimeError: no$"):
        ranks(
            "if rank: report_failure(Failure(1, 'RuntimeError: no', details='Traceback ...\\n')); sys.exit(1)"
        ).wait()


def test_signals_are_passed_on_and_a_stop_is_no_failure():
    body = (
        f"signal.signal(signal.SIGUSR1, lambda *_: sys.exit(0 if rank else {REQUEUE_EXIT_CODE}))\n"
        "open(sys.argv[1] + str(rank), 'w')\ntime.sleep(30)"
    )
    running = Ranks(2, {"PYTHONPATH": str(ROOT)})
    running.start([sys.executable, "-c", HEAD + body, str(running.folder / "ready")])
    child = os.fork()
    if not child:  # somebody else asks
        while not all((running.folder / f"ready{rank}").exists() for rank in (0, 1)):
            time.sleep(0.02)
        os.kill(os.getppid(), signal.SIGUSR1)
        os._exit(0)
    with pytest.raises(RanksEnded, match=r"^$") as ended:
        running.wait()
    os.waitpid(child, 0)
    assert ended.value.code == REQUEUE_EXIT_CODE


def test_ranks_end_when_the_process_that_watches_them_is_killed(tmp_path):
    body = "open(sys.argv[1] + str(rank), 'w').write(str(os.getpid()))\ntime.sleep(60)"
    watching = (
        "import sys; from hybrid_ir.system.processes import Ranks\n"
        f"Ranks(2).start([sys.executable, '-c', {HEAD + body!r}, sys.argv[1]]).wait()"
    )
    watcher = subprocess.Popen(
        [sys.executable, "-c", watching, str(tmp_path / "pid")],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    files = [tmp_path / "pid0", tmp_path / "pid1"]
    until(lambda: all(file.exists() and file.read_text() for file in files))
    pids = [int(file.read_text()) for file in files]
    watcher.kill()
    watcher.wait()
    until(lambda: not any(alive(pid) for pid in pids))


def until(condition, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_nobody_hears_of_a_failure_that_is_not_watched(monkeypatch):
    monkeypatch.delenv(processes.FAILURE_FOLDER_VARIABLE, raising=False)
    assert not processes.report_failure(Failure(0, "alone"))
