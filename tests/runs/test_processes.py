"""RankProcesses live and end together, and one message says why: small real processes."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from hybrid_ir.system import processes
from hybrid_ir.system.interruption import REQUEUE_EXIT_CODE
from hybrid_ir.system.processes import Failure, RankProcesses, RanksEnded, report_failure
from tests.support.command_line import HANG_SECONDS, ROOT, is_alive, wait_until

# What every rank begins with. Rank 0 waits for `rank 1 acts`, so that rank 1 always acts first.
RANK = f"""
import os, signal, sys, time
from pathlib import Path
from hybrid_ir.system.processes import FAILURE_FOLDER_VARIABLE, Failure
from hybrid_ir.system.processes import end_with_watcher, report_failure

rank = int(os.environ["RANK"])
marker = Path(os.environ[FAILURE_FOLDER_VARIABLE]) / "rank 1 acts"
end_with_watcher()

def fail(message, step=None, is_consequence=False, code=1):
    report_failure(Failure(rank, message, step, is_consequence, code))
    sys.exit(code)

def hang():
    time.sleep({HANG_SECONDS})

def wait_for_rank_1():
    while not marker.exists():
        time.sleep(0.02)
"""
RANK_0_LOSES_RANK_1 = """
if rank == 0:
    wait_for_rank_1()
    time.sleep(0.3)
    fail('connection closed by peer', 7, is_consequence=True)
marker.touch()
"""
RANK_0_HANGS = """
if rank == 0:
    hang()
"""


def start_ranks(body: str, *arguments: str, count: int = 2) -> RankProcesses:
    command = [sys.executable, "-c", RANK + body, *arguments]
    return RankProcesses(count, {"PYTHONPATH": str(ROOT)}).start(command)


def wait_for_failure(ranks: RankProcesses) -> RanksEnded:
    with pytest.raises(RanksEnded) as ended:
        ranks.wait()
    assert all(process.poll() is not None for process in ranks.processes)
    assert not ranks.folder.exists()
    return ended.value


@pytest.mark.parametrize(
    ("body", "message", "code"),
    [
        ("fail('the disk is on fire', 7)", "error: rank 1 at step 7: the disk is on fire", 1),
        ("fail('a wrong key', code=2)", "error: rank 1 at step 7: a wrong key", 2),
        ("sys.exit(0)", "error: rank 1 at step 7: it ended before the others", 1),
        ("sys.exit('no such thing')", "error: rank 1 at step 7: no such thing", 1),
        (
            "os.kill(os.getpid(), signal.SIGKILL)",
            "rank 1 at step 7: it was killed by signal 9 (SIGKILL)",
            1,
        ),
        ("fail('lost', 7, is_consequence=True)", "error: rank", 1),
    ],
)
def test_the_rank_that_fails_first_is_named_and_all_end(body, message, code):
    ended = wait_for_failure(start_ranks(RANK_0_LOSES_RANK_1 + body))
    assert message in str(ended)
    assert len(str(ended).splitlines()) == 1
    assert ended.code == code


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            RANK_0_HANGS + "os.kill(os.getpid(), signal.SIGSTOP)",
            "rank 1: it was stopped (SIGSTOP) and did not go on",
        ),
        (
            "if rank == 1: hang()\nfail('timed out', 7, is_consequence=True)",
            "error: rank 1 at step 7: it did not answer the others",
        ),
    ],
)
def test_a_rank_that_hangs_is_named_and_all_end(monkeypatch, body, message):
    monkeypatch.setattr(processes, "GRACE_SECONDS", 1)
    started = time.monotonic()
    ended = wait_for_failure(start_ranks(body))
    assert message in str(ended)
    assert len(str(ended).splitlines()) == 1
    assert ended.code == 1
    assert time.monotonic() - started < HANG_SECONDS / 2


def test_ranks_that_end_well_raise_no_error():
    start_ranks("pass", count=3).wait()


def test_a_traceback_comes_before_the_message():
    body = """
if rank == 1:
    report_failure(Failure(1, 'RuntimeError: no', details='Traceback ...\\n'))
    sys.exit(1)
"""
    with pytest.raises(RanksEnded, match=r"(?s)^Traceback.*\nerror: rank 1: RuntimeError: no$"):
        start_ranks(body).wait()


def test_signals_are_passed_on_and_a_stop_is_no_failure(tmp_path):
    body = f"""
signal.signal(signal.SIGUSR1, lambda *_: sys.exit({REQUEUE_EXIT_CODE} if rank == 0 else 0))
(Path(sys.argv[1]) / f"ready-{{rank}}").touch()
hang()
"""
    ranks = start_ranks(body, str(tmp_path))

    def ask_to_stop():
        wait_until(lambda: len(list(tmp_path.glob("ready-*"))) == 2)
        os.kill(os.getpid(), signal.SIGUSR1)

    asking = threading.Thread(target=ask_to_stop)
    # Until the ranks are watched, the signal must not end this process.
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    asking.start()
    ended = wait_for_failure(ranks)
    asking.join()
    assert str(ended) == ""
    assert ended.code == REQUEUE_EXIT_CODE


def test_ranks_end_when_the_process_that_watches_them_is_killed(tmp_path):
    body = "(Path(sys.argv[1]) / f'pid-{rank}').write_text(str(os.getpid()))\nhang()"
    watching = (
        "import sys\nfrom hybrid_ir.system.processes import RankProcesses\n"
        f"RankProcesses(2).start([sys.executable, '-c', {RANK + body!r}, sys.argv[1]]).wait()"
    )
    watcher = subprocess.Popen(
        [sys.executable, "-c", watching, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    files = [tmp_path / "pid-0", tmp_path / "pid-1"]
    wait_until(lambda: all(file.exists() and file.read_text() for file in files))
    pids = [int(file.read_text()) for file in files]
    watcher.kill()
    watcher.wait()
    wait_until(lambda: not any(is_alive(pid) for pid in pids))


def test_a_failure_is_not_reported_where_nobody_watches(monkeypatch):
    monkeypatch.delenv(processes.FAILURE_FOLDER_VARIABLE, raising=False)
    assert not report_failure(Failure(0, "alone"))
