"""How far the server is with loading: what `/health` and the page say before it can answer."""

import sys
import time
from dataclasses import dataclass
from threading import Event, Lock
from typing import Literal

Status = Literal["loading", "ready", "failed"]


@dataclass(frozen=True)
class LoadingSnapshot:
    """The state of the server at one moment.

    Args:
        status: `loading`, `ready` or `failed`.
        stage: what is being done, in words; the reason where it failed.
        part: which of several models it is done for, as in "model 1 of 2"; empty for all of them.
        done: how many texts of the stage are done.
        total: how many texts the stage has; 0 where nothing is counted.
        seconds_left: an estimate from the pace so far; None where there is none.
    """

    status: Status
    stage: str
    part: str = ""
    done: int = 0
    total: int = 0
    seconds_left: float | None = None


class StoppedError(Exception):
    """Loading was given up, since the server ends."""


class LoadingState:
    """Notes how far the server is; any thread may ask or tell.

    Once it is told to stop, whoever notes progress the next time is stopped by a StoppedError. A
    thread that computes must not be alive when the program ends: torch aborts the process then.

    Attributes:
        was_asked: whether a page or program has asked since the server began, or since it failed.
    """

    def __init__(self):
        self._lock = Lock()
        self._status: Status = "loading"
        self._stage = "loading libraries"
        self._part = ""
        self._done = 0
        self._total = 0
        self._done_at_start = 0
        self._start = time.monotonic()
        self._stopping = Event()
        self.was_asked = False

    def stop(self) -> None:
        """Asks the loading to stop."""
        self._stopping.set()

    def begin(self, stage: str, part: str = "") -> None:
        """Begins a stage, such as "loading e5"; for a part of the models, as in "model 1 of 2"."""
        self._end_if_stopping()
        with self._lock:
            self._stage = stage
            self._part = part
            self._done = 0
            self._total = 0
            self._start = time.monotonic()
        line = f"{part}: {stage}" if part else stage
        print(f"hybrid-ir serve: {line}", file=sys.stderr, flush=True)

    def count(self, done: int, total: int) -> None:
        """Notes how many texts of the stage are done; the first call says how many already were."""
        self._end_if_stopping()
        with self._lock:
            if self._total != total:
                self._total = total
                self._done_at_start = done
                self._start = time.monotonic()
            self._done = done

    def finish(self) -> None:
        """Notes that questions can be answered from now on."""
        with self._lock:
            self._status = "ready"
            self._stage = "ready"
            self._part = ""

    def fail(self, reason: str) -> None:
        """Notes that there will be no answers, and why."""
        with self._lock:
            self._status = "failed"
            self._stage = reason
            self._part = ""
            self.was_asked = False

    def look(self) -> LoadingSnapshot:
        """Returns the state at this moment."""
        with self._lock:
            return LoadingSnapshot(
                status=self._status,
                stage=self._stage,
                part=self._part,
                done=self._done,
                total=self._total,
                seconds_left=self._estimate_seconds_left(),
            )

    def _end_if_stopping(self) -> None:
        if self._stopping.is_set():
            raise StoppedError("the server ends")

    def _estimate_seconds_left(self) -> float | None:
        new = self._done - self._done_at_start
        if self._status != "loading" or new <= 0:
            return None
        pace = (time.monotonic() - self._start) / new
        return round(pace * (self._total - self._done), 1)
