"""One program as several processes (ranks) of this machine, which live and end together.

The process that starts the ranks watches them, and says once what went wrong. A launcher of a
cluster (torchrun, srun) may start the ranks instead; then each says for itself what went wrong.
"""

import json
import os
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from hybrid_ir.files.atomic import write_text_atomically
from hybrid_ir.system.interruption import (
    KEYBOARD_INTERRUPT_CODE,
    REQUEUE_EXIT_CODE,
    STOP_SIGNALS,
    STOPPED_EXIT_CODES,
)
from hybrid_ir.system.progress import pause_lines

# Environment: the id of the process that watches this one through a pipe on stdin.
WATCHER_VARIABLE = "HYBRID_IR_WATCHED"
# Environment: the folder where a rank leaves what went wrong.
FAILURE_FOLDER_VARIABLE = "HYBRID_IR_FAILURES"
# Seconds that ranks have to end by themselves, once one of them has failed.
GRACE_SECONDS = 15
# Seconds between two looks at the ranks.
POLL_SECONDS = 0.05
# How much of the log of a rank is shown that ended without saying why.
LOG_CHARACTERS = 2000


@dataclass
class Failure:
    """Why a rank ended, in its own words or in those of the process that watched it.

    Attributes:
        rank: which rank ended.
        message: one line that says why.
        step: the step of the training at which it ended, if it is known.
        is_consequence: the rank only noticed that another one had ended.
        code: the exit code for the whole run.
        details: a traceback, if there is one to show.
    """

    rank: int
    message: str
    step: int | None = None
    is_consequence: bool = False
    code: int = 1
    details: str = ""

    def __str__(self) -> str:
        place = "" if self.step is None else f" at step {self.step}"
        return f"rank {self.rank}{place}: {self.message}"


def report_failure(failure: Failure) -> bool:
    """Hands a failure to the process that watches this one.

    Returns:
        False if nobody watches this process, so that the failure must be printed here.
    """
    folder = os.environ.get(FAILURE_FOLDER_VARIABLE)
    if not folder:
        return False
    _write_failure(Path(folder), failure)
    return True


def _get_failure_file(folder: Path, rank: int) -> Path:
    return folder / f"rank-{rank}.json"


def _write_failure(folder: Path, failure: Failure) -> None:
    write_text_atomically(_get_failure_file(folder, failure.rank), json.dumps(asdict(failure)))


def end_with_watcher() -> None:
    """Makes this process end when the one that watches it ends, even if that is killed.

    The pipe on stdin closes when the watching process ends, whatever the reason. Without a
    watching process nothing happens.
    """
    # Removed, since it is not meant for processes that this one may start.
    watcher = os.environ.pop(WATCHER_VARIABLE, None)
    if watcher is None:
        return
    if watcher != str(os.getppid()):
        os._exit(1)  # It has ended already.
    threading.Thread(target=_exit_when_stdin_closes, daemon=True).start()


def _exit_when_stdin_closes() -> None:
    while os.read(0, 1):
        pass
    os._exit(1)


class RanksEnded(Exception):
    """The ranks of a run did not end well.

    Args:
        message: what to print; empty if the ranks stopped because they were asked to.
        code: the exit code for all of them together.
    """

    def __init__(self, message: str, code: int):
        super().__init__(message)
        self.code = code


class RankProcesses:
    """The processes of one run.

    Args:
        count: the number of processes.
        environment: variables on top of those of this process.
    """

    def __init__(self, count: int, environment: Mapping[str, str] | None = None):
        self._scratch = tempfile.TemporaryDirectory(prefix="hybrid-ir-ranks-")
        self.folder = Path(self._scratch.name)
        self.count = count
        self.environment = {**os.environ, **(environment or {})}
        self.processes: list[subprocess.Popen] = []
        self.asked_to_stop = False
        self.stop_code = REQUEUE_EXIT_CODE  # for all, if they stop because they were asked to

    def start(self, command: Sequence[str]) -> "RankProcesses":
        """Starts the same command on every rank.

        Rank 0 prints as this process does; what the others print goes to logs in `folder`.

        Returns:
            The ranks themselves, so that `wait` can follow.
        """
        shared = {
            **self.environment,
            FAILURE_FOLDER_VARIABLE: str(self.folder),
            WATCHER_VARIABLE: str(os.getpid()),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(_find_free_port()),
            "WORLD_SIZE": str(self.count),
            "LOCAL_WORLD_SIZE": str(self.count),
            "NODE_RANK": "0",
        }
        for rank in range(self.count):
            with open(self._get_log(rank), "wb") as log:
                output = None if rank == 0 else log
                process = subprocess.Popen(
                    command,
                    env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=output,
                    # In a session of its own: Ctrl-C reaches a rank once, passed on from here.
                    start_new_session=True,
                )
            self.processes.append(process)
        return self

    def wait(self) -> None:
        """Waits until all ranks have ended; if one fails, the others are ended soon after.

        Signals that ask this process to stop are passed on to the ranks.

        Raises:
            RanksEnded: a rank failed, or all stopped because they were asked to.
        """
        previous_handlers = {}
        for number in (*STOP_SIGNALS, signal.SIGINT):
            previous_handlers[number] = signal.signal(number, self._pass_signal_on)
        try:
            with pause_lines():  # the ranks print theirs
                ended = self._wait_for_all()
            failures = self._collect_failures(ended)
        finally:
            for process in self.processes:
                process.kill()
            for number, handler in previous_handlers.items():
                signal.signal(number, handler)
            self._scratch.cleanup()
        self._raise_if_not_well(failures, ended)

    def _get_log(self, rank: int) -> Path:
        return self.folder / f"rank-{rank}.log"

    def _pass_signal_on(self, number: int, _) -> None:
        self.asked_to_stop = True
        if number == signal.SIGINT:
            self.stop_code = KEYBOARD_INTERRUPT_CODE
        for process in self.processes:
            process.send_signal(number)

    def _wait_for_all(self) -> list[int]:
        """Waits until no rank is left, and kills those that do not end after a failure.

        Returns:
            The ranks in the order in which they ended.
        """
        ended: list[int] = []
        deadline = None  # When the ranks that are left are killed.
        stopped_since: dict[int, float] = {}  # Since when a rank is stopped by a signal.
        while len(ended) < self.count:
            now = time.monotonic()
            for rank, process in enumerate(self.processes):
                if rank in ended:
                    continue
                code = process.poll()
                if code is not None:
                    ended.append(rank)
                    ended_well = code == 0 or code in STOPPED_EXIT_CODES
                    others_should_end = self.asked_to_stop or not ended_well
                    if others_should_end and deadline is None:
                        deadline = now + GRACE_SECONDS
                elif not _is_stopped(process.pid):
                    stopped_since.pop(rank, None)
                elif now - stopped_since.setdefault(rank, now) > GRACE_SECONDS:
                    self._kill_stopped(rank)
            if deadline is not None and now > deadline:
                self._kill_all_but(ended)
            time.sleep(POLL_SECONDS)
        return ended

    def _kill_stopped(self, rank: int) -> None:
        message = f"it was stopped (SIGSTOP) and did not go on within {GRACE_SECONDS} s"
        self._kill(Failure(rank, message))

    def _kill_all_but(self, ended: Sequence[int]) -> None:
        message = f"it did not answer the others, and did not end within {GRACE_SECONDS} s of them"
        for rank in range(self.count):
            if rank not in ended:
                self._kill(Failure(rank, message, is_consequence=self.asked_to_stop))

    def _kill(self, failure: Failure) -> None:
        """Kills a rank, and notes why, unless it has said itself what went wrong."""
        process = self.processes[failure.rank]
        process.kill()
        process.wait()  # From here on it writes nothing.
        if not _get_failure_file(self.folder, failure.rank).exists():
            _write_failure(self.folder, failure)

    def _collect_failures(self, ended: Sequence[int]) -> list[Failure]:
        """Returns the failures of all ranks that failed, in the order in which they ended."""
        failures = []
        for rank in ended:
            failure = self._read_failure(rank)
            if failure is not None:
                failures.append(failure)
        return failures

    def _read_failure(self, rank: int) -> Failure | None:
        """Returns why a rank ended: what was noted, else what its exit code and its log say."""
        path = _get_failure_file(self.folder, rank)
        if path.exists():
            return Failure(**json.loads(path.read_text()))
        code = self.processes[rank].returncode
        if code == 0 or code in STOPPED_EXIT_CODES:
            return None
        if code < 0:
            number = -code
            cause = ", as the system does when memory runs out" if number == 9 else ""
            return Failure(
                rank,
                f"it was killed by signal {number} ({signal.Signals(number).name}){cause}",
                is_consequence=self.asked_to_stop and number in (*STOP_SIGNALS, signal.SIGINT),
            )
        log = self._get_log(rank).read_text(errors="replace").strip()
        message = log[-LOG_CHARACTERS:] if log else f"it ended with code {code}"
        return Failure(rank, message, code=code)

    def _raise_if_not_well(self, failures: Sequence[Failure], ended: Sequence[int]) -> None:
        only_consequences = all(failure.is_consequence for failure in failures)
        if self.asked_to_stop and only_consequences:
            raise RanksEnded("", self.stop_code)
        if failures:
            cause = _find_root_cause(failures, ended)
            raise RanksEnded(f"{cause.details}error: {cause}", cause.code)
        for process in self.processes:
            if process.returncode in STOPPED_EXIT_CODES:
                raise RanksEnded("", process.returncode)


def _find_root_cause(failures: Sequence[Failure], ended: Sequence[int]) -> Failure:
    """Returns the first failure that is no consequence of another one.

    Its step is the latest one that any rank speaks of, if the rank itself does not say it.
    """
    cause = _find_first_cause(failures, ended)
    if cause.step is None:
        steps = [failure.step for failure in failures if failure.step is not None]
        cause.step = max(steps, default=None)
    return cause


def _find_first_cause(failures: Sequence[Failure], ended: Sequence[int]) -> Failure:
    for failure in failures:
        if not failure.is_consequence:
            return failure
    # All have lost another rank, which may be one that ended without a failure.
    failed = [failure.rank for failure in failures]
    for rank in ended:
        if rank not in failed:
            return Failure(rank, "it ended before the others")
    return failures[0]


def _find_free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _is_stopped(pid: int) -> bool:
    """Returns whether a child is stopped by a signal, False where the system does not tell."""
    if not hasattr(os, "waitid"):
        return False
    options = os.WSTOPPED | os.WNOHANG | os.WNOWAIT
    try:
        status = os.waitid(os.P_PID, pid, options)
    except ChildProcessError:  # It has just ended.
        return False
    return status is not None and status.si_code == os.CLD_STOPPED
