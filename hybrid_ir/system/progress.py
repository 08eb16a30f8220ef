"""Says how far long work is: by a bar on a terminal, and by a line every ten seconds elsewhere.

What is long says so by `show_progress` or `track_progress`. Commands run inside of
`watch_progress`, so that a line comes also while nothing has said what it is doing. All of it goes
to stderr: the answer of a command on stdout may be read by another program.
"""

import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

SECONDS_BETWEEN_LINES = 9.0  # a little less than the ten that are promised
SECONDS_OF_SPEED = 600.0  # of a bar: the time left is told from the speed in so many last seconds
# Every progress bar: what is done, how much of it, how long it took and how long it will take.
PROGRESS_COLUMNS = (
    TextColumn("{task.description}"),
    BarColumn(),
    MofNCompleteColumn(),
    TimeElapsedColumn(),
    TimeRemainingColumn(),
)
RANK_VARIABLES = ("RANK", "SLURM_PROCID")  # the first that is set says which process this is

Item = TypeVar("Item")


class LongWork:
    """Something long that is going on.

    Args:
        title: what is done, in a few words.
        total: how many units of it there are; None if nobody knows.
        done: how many of them an earlier start has done.
        texts_per_unit: how many texts are encoded or translated for a unit, so that `count_texts`
            moves the work on within a unit; None where it should not.
    """

    def __init__(
        self,
        title: str,
        total: int | None = None,
        done: float = 0,
        texts_per_unit: int | None = None,
    ):
        self.title = title
        self.total = total
        self.done = done
        self.done_at_start = done
        self.texts_per_unit = texts_per_unit
        self.texts_within = 0
        self.started_at = time.monotonic()
        self.bar: Progress | None = None
        self.task: TaskID | None = None

    def advance(self, count: float = 1) -> None:
        """Notes that so many more units are done."""
        with _DISPLAY.lock:
            self.set_done(self.done + count)

    def set_done(self, done: float) -> None:
        """Notes how many units are done."""
        with _DISPLAY.lock:
            self.done = done
            self.texts_within = 0
            self._update_bar()

    def advance_within(self, texts: int) -> None:
        """Notes that so many texts of the present unit are done."""
        if self.texts_per_unit is None:
            return
        with _DISPLAY.lock:
            self.texts_within += texts
            self._update_bar()

    def show(self) -> None:
        """Shows a bar on a terminal, if there is none yet."""
        if not is_terminal():
            return
        with _DISPLAY.lock:
            if self.bar is None:
                self.bar = _open_bar()
                self.task = self.bar.add_task(self.title, total=self.total, completed=self.done)

    def hide(self) -> None:
        """Takes the bar away."""
        with _DISPLAY.lock:
            if self.bar is not None:
                self.bar.remove_task(self.task)
                _close_bar()
                self.bar = None

    def count_done(self) -> float:
        """Returns how many units are done, with the share of the present one."""
        done = self.done
        if self.texts_per_unit is not None:
            done += self.texts_within / self.texts_per_unit
        return done if self.total is None else min(done, self.total)

    def describe(self) -> str:
        """Says how far it is, how long it took, and how long it will take if that is known."""
        seconds = time.monotonic() - self.started_at
        passed = f"{describe_duration(seconds)} so far"
        if self.total is None:
            return f"{self.title}: {passed}"
        done = self.count_done()
        share = f" ({done / self.total:.0%})" if self.total else ""
        line = f"{self.title}: {int(done):,} of {self.total:,}{share}, {passed}"
        progress = done - self.done_at_start
        if progress <= 0 or done >= self.total:
            return line
        seconds_left = seconds * (self.total - done) / progress
        return f"{line}, about {describe_duration(seconds_left)} left"

    def _update_bar(self) -> None:
        if self.bar is not None:
            self.bar.update(self.task, completed=self.count_done())


class _Display:
    """What this process shows: the works that are going on, and the thread that prints lines.

    Attributes:
        lock: of everything here and of what works count. A thread may take it again, as a generator
            that nobody reads any more ends its work wherever the garbage collector finds it.
    """

    def __init__(self):
        self.lock = threading.RLock()
        self.works: list[LongWork] = []  # the last one is what is done right now
        self.bar: Progress | None = None
        self.bars = 0  # works that are shown in it
        self.watchers = 0
        self.pauses = 0
        self.stop: threading.Event | None = None


_DISPLAY = _Display()


def _renew_lock() -> None:
    _DISPLAY.lock = threading.RLock()


if hasattr(os, "register_at_fork"):  # not on Windows
    # A thread that does not exist in the new process may have held the lock.
    os.register_at_fork(after_in_child=_renew_lock)


def is_terminal() -> bool:
    """Returns whether somebody looks at stderr: a terminal, or a notebook."""
    console = Console(stderr=True)
    return console.is_terminal or console.is_jupyter


def describe_duration(seconds: float) -> str:
    """Returns a time in words, such as 42 s, 3 min 20 s or 1 h 05 min."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    minutes, rest = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest:02d} min"


def begin_work(work: LongWork) -> None:
    """Makes a work the one that is done right now; one that is known comes to the front."""
    with _DISPLAY.lock:
        if work in _DISPLAY.works:
            _DISPLAY.works.remove(work)
        _DISPLAY.works.append(work)


def end_work(work: LongWork) -> None:
    """Forgets a work."""
    work.hide()
    with _DISPLAY.lock:
        if work in _DISPLAY.works:
            _DISPLAY.works.remove(work)


@contextmanager
def show_progress(
    title: str,
    total: int | None = None,
    done: float = 0,
    texts_per_unit: int | None = None,
    is_small: bool = False,
) -> Iterator[LongWork]:
    """Shows how far something is while it runs.

    Args:
        title: see `LongWork`, like `total`, `done` and `texts_per_unit`.
        total: of the units.
        done: of them, by an earlier start.
        texts_per_unit: for `count_texts`.
        is_small: whether a bar is not worth its line on a terminal.

    Yields:
        The work, to say how far it is.
    """
    work = LongWork(title, total, done, texts_per_unit)
    begin_work(work)
    if not is_small:
        work.show()
    try:
        with watch_progress(title):
            yield work
    finally:
        end_work(work)


def track_progress(items: Sequence[Item], title: str, is_small: bool = False) -> Iterator[Item]:
    """Yields items, and shows how many of them are done; see `show_progress`."""
    with show_progress(title, len(items), is_small=is_small) as work:
        for item in items:
            yield item
            work.advance()


def count_texts(texts: int) -> None:
    """Notes that a model has read so many more texts for what is done right now."""
    with _DISPLAY.lock:
        if _DISPLAY.works:
            _DISPLAY.works[-1].advance_within(texts)


@contextmanager
def watch_progress(name: str) -> Iterator[None]:
    """Prints a line every ten seconds, unless a terminal shows bars or this is no first rank.

    Args:
        name: what the line speaks of as long as nothing else has said what it is doing.
    """
    prints_lines = _is_first_rank() and not is_terminal()
    with _DISPLAY.lock:
        _DISPLAY.watchers += 1
        if _DISPLAY.watchers == 1 and prints_lines:
            _DISPLAY.stop = threading.Event()
            arguments = (LongWork(name), _DISPLAY.stop)
            threading.Thread(target=_print_lines, args=arguments, daemon=True).start()
    try:
        yield
    finally:
        with _DISPLAY.lock:
            _DISPLAY.watchers -= 1
            if _DISPLAY.watchers == 0 and _DISPLAY.stop is not None:
                _DISPLAY.stop.set()
                _DISPLAY.stop = None


@contextmanager
def pause_lines() -> Iterator[None]:
    """Prints no lines for a while: other processes print theirs."""
    with _DISPLAY.lock:
        _DISPLAY.pauses += 1
    try:
        yield
    finally:
        with _DISPLAY.lock:
            _DISPLAY.pauses -= 1


def describe_present_work(default: LongWork) -> str:
    """Says how far the work is that is done right now, or else the default one."""
    with _DISPLAY.lock:
        work = _DISPLAY.works[-1] if _DISPLAY.works else default
    return work.describe()


def _print_lines(whole: LongWork, stop: threading.Event) -> None:
    while not stop.wait(SECONDS_BETWEEN_LINES):
        if _DISPLAY.pauses == 0:
            print(describe_present_work(whole), file=sys.stderr, flush=True)


def _is_first_rank() -> bool:
    for name in RANK_VARIABLES:
        if name in os.environ:
            return os.environ[name] == "0"
    return True


def _open_bar() -> Progress:
    """Returns the one live display of this process, for one more work; the caller has the lock."""
    if _DISPLAY.bar is None:
        _DISPLAY.bar = Progress(
            *PROGRESS_COLUMNS,
            console=Console(stderr=True),
            transient=True,
            redirect_stdout=sys.stdout.isatty(),
            speed_estimate_period=SECONDS_OF_SPEED,
        )
        _DISPLAY.bar.start()
    _DISPLAY.bars += 1
    return _DISPLAY.bar


def _close_bar() -> None:
    """Ends the live display with the last of its works; its caller has the lock."""
    _DISPLAY.bars -= 1
    if _DISPLAY.bars == 0 and _DISPLAY.bar is not None:
        _DISPLAY.bar.stop()
        _DISPLAY.bar = None
