"""Long work says how far it is, on a terminal and elsewhere."""

import os
import pty
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event, Thread

import pytest
from rich.progress import Progress

from hybrid_ir.system import progress
from hybrid_ir.system.progress import (
    LongWork,
    begin_work,
    count_texts,
    describe_duration,
    pause_lines,
    show_progress,
    track_progress,
    watch_progress,
)

THREADS = 4
COUNTS = 20
SCRIPT = """
import time
from hybrid_ir.system import progress
progress.SECONDS_BETWEEN_LINES = 0.2
with progress.watch_progress("command"):
    time.sleep(0.5)
    with progress.show_progress("encode facts", 4) as work:
        work.advance()
        time.sleep(0.5)
    print("answer")
"""


@pytest.fixture
def fast_lines(monkeypatch):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.05)


def wait_for_lines(capsys, count):
    """Waits until so many lines are on stderr; a minute at most."""
    text = ""
    deadline = time.monotonic() + 60
    while text.count("\n") < count and time.monotonic() < deadline:
        time.sleep(0.05)
        text += capsys.readouterr().err
    return text.splitlines()


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (42, "42 s"), (59.7, "1 min 00 s"), (200, "3 min 20 s"), (3900, "1 h 05 min")],
)
def test_durations_read_as_words(seconds, words):
    assert describe_duration(seconds) == words


def test_a_work_says_what_is_done_and_when_it_will_end():
    work = LongWork("encode", 10, done=2)
    work.started_at = time.monotonic() - 30
    assert work.describe() == "encode: 2 of 10 (20%), 30 s so far"
    work.advance(3)
    # 3 of them took 30 seconds, 5 are left.
    assert work.describe() == "encode: 5 of 10 (50%), 30 s so far, about 50 s left"
    work.set_done(10)
    assert work.describe() == "encode: 10 of 10 (100%), 30 s so far"


def test_a_work_of_unknown_length_says_its_time():
    work = LongWork("load")
    work.started_at = time.monotonic() - 61
    assert work.describe() == "load: 1 min 01 s so far"


def test_texts_move_a_work_on_within_a_unit():
    with show_progress("shards", 4, texts_per_unit=100) as work:
        count_texts(50)
        assert work.count_done() == 0.5
        work.advance()
        assert work.count_done() == 1
        count_texts(1000)
        assert work.count_done() == 4  # never more than there is


def test_texts_move_nothing_that_does_not_count_them():
    with show_progress("training", 4) as work:
        count_texts(50)
        assert work.count_done() == 0
    count_texts(50)  # nobody listens


def test_lines_come_while_nothing_says_what_it_is_doing(fast_lines, capsys):
    with watch_progress("hybrid-ir evaluate"):
        lines = wait_for_lines(capsys, 2)
    assert len(lines) >= 2
    assert lines[0].startswith("hybrid-ir evaluate: ")


def test_lines_speak_of_the_innermost_work(fast_lines, capsys):
    with show_progress("outer", 2), show_progress("inner", 3) as work:
        work.advance()
        lines = wait_for_lines(capsys, 1)
    assert lines[0].startswith("inner: 1 of 3 (33%)")


def test_no_line_comes_in_a_pause_or_after_the_end(fast_lines, capsys):
    with watch_progress("command"), pause_lines():
        time.sleep(0.3)
    capsys.readouterr()
    time.sleep(0.3)
    assert capsys.readouterr().err == ""


def test_other_ranks_print_no_lines(fast_lines, capsys, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    with watch_progress("command"):
        time.sleep(0.3)
    assert capsys.readouterr().err == ""


def test_items_are_counted_and_a_failure_ends_the_work():
    seen = []
    with pytest.raises(ZeroDivisionError):
        for item in track_progress([1, 0], "divide"):
            seen.append(1 / item)
    assert seen == [1.0]
    assert list(track_progress([1, 2], "again")) == [1, 2]
    assert progress._DISPLAY.works == []
    assert progress._DISPLAY.watchers == 0


@pytest.fixture
def hasty_threads():
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def run_in_threads(work):
    """Runs the same in several threads at once, and returns when all have ended."""
    with ThreadPoolExecutor(THREADS) as pool:
        for future in [pool.submit(work) for _ in range(THREADS)]:
            future.result(60)


def test_threads_count_together():
    class SlowWork(LongWork):
        def set_done(self, done):
            time.sleep(0.001)
            super().set_done(done)

    work = SlowWork("encode", THREADS * COUNTS)

    def count():
        for _ in range(COUNTS):
            work.advance()

    run_in_threads(count)
    assert work.done == THREADS * COUNTS


def test_threads_begin_and_end_works_together(hasty_threads):
    def work_and_wait():
        for number in range(50):
            with pause_lines(), show_progress(f"work {number}", 1):
                count_texts(1)

    run_in_threads(work_and_wait)
    display = progress._DISPLAY
    assert (display.works, display.watchers, display.pauses) == ([], 0, 0)
    assert display.stop is None


def test_threads_share_the_one_bar_of_a_terminal(hasty_threads, monkeypatch):
    started = []

    class SlowBar(Progress):
        def __init__(self, *columns, **keys):
            time.sleep(0.05)
            super().__init__(*columns, **keys)

        def start(self):
            started.append(self)

    monkeypatch.setattr(progress, "Progress", SlowBar)
    monkeypatch.setattr(progress, "is_terminal", lambda: True)
    all_are_shown = Barrier(THREADS)

    def show_until_all_are_shown():
        with show_progress("work", 1):
            all_are_shown.wait(60)

    run_in_threads(show_until_all_are_shown)
    assert len(started) == 1
    assert (progress._DISPLAY.bar, progress._DISPLAY.bars) == (None, 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_process_does_not_wait_for_threads_that_it_has_not():
    taken = Event()
    may_end = Event()

    def hold_the_lock():
        with progress._DISPLAY.lock:
            taken.set()
            may_end.wait(60)

    holder = Thread(target=hold_the_lock)
    holder.start()
    taken.wait(60)
    child = os.fork()
    if child == 0:
        signal.alarm(20)  # ends it if it waits
        begin_work(LongWork("forked"))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    may_end.set()
    holder.join()
    assert status == 0


def test_lines_go_to_stderr_and_answers_to_stdout():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=600
    )
    assert done.stdout == "answer\n"
    lines = done.stderr.splitlines()
    assert lines[0].startswith("command: ")
    assert lines[-1].startswith("encode facts: 1 of 4 (25%)")
    assert lines[-1].endswith("left")


def test_a_terminal_gets_a_bar_and_no_lines():
    leader, follower = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        stdout=subprocess.PIPE,
        stderr=follower,
        env=environment,
        text=True,
    )
    answer, _ = process.communicate(timeout=600)
    os.close(follower)
    shown = os.read(leader, 100_000).decode()
    os.close(leader)
    assert answer == "answer\n"  # stdout is no terminal, and gets nothing of the bar
    assert "encode facts" in shown
    assert "so far" not in shown
