"""One program as several processes (ranks) of this machine, that live and end together and say once what went wrong.

A cluster's launcher (torchrun, srun) may start the ranks instead; then each says for itself what went wrong.
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

from hybrid_ir.system.interruption import REQUEUE_EXIT_CODE, STOP_SIGNALS

WATCHER_VARIABLE = (
    "HYBRID_IR_WATCHED"  # environment: stdin is a pipe from the process that watches this one
)
FAILURE_FOLDER_VARIABLE = (
    "HYBRID_IR_FAILURES"  # environment: the folder where a rank leaves what went wrong
)
GRACE = 15  # seconds that ranks have to end by themselves, once one of them has failed


@dataclass
class Failure:
    """Why a rank ended, in its own words or in those of the process that watched it."""

    rank: int
    message: str
    step: int | None = None
    secondary: bool = False  # it only noticed that another one had ended
    code: int = 1
    details: str = ""  # traceback

    def __str__(self) -> str:
        return f"rank {self.rank}{'' if self.step is None else f' at step {self.step}'}: {self.message}"


def report_failure(failure: Failure) -> bool:
    """Hand a failure to the process that watches this one; False where nobody does, so that it must be printed here."""
    if not (folder := os.environ.get(FAILURE_FOLDER_VARIABLE)):
        return False
    beside = Path(folder) / f"writing-{failure.rank}"
    beside.write_text(json.dumps(asdict(failure)))
    beside.rename(Path(folder) / f"rank-{failure.rank}.json")
    return True


def end_with_watcher() -> None:
    """End this process when the one that watches it ends, even by kill -9: its end of the pipe on stdin closes then."""
    watcher = os.environ.pop(WATCHER_VARIABLE, None)  # not for what this process may start itself
    if watcher is None:
        return
    if watcher != str(os.getppid()):
        os._exit(1)  # it has ended already

    def wait() -> None:
        while os.read(0, 1):
            pass
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


class RanksEnded(Exception):
    """The processes of a run did not end well; has the exit code for all of them together."""

    def __init__(self, message: str, code: int):
        super().__init__(message)
        self.code = code


class Ranks:
    """The processes of one run."""

    def __init__(self, count: int, environment: Mapping[str, str] | None = None):
        self.scratch = tempfile.TemporaryDirectory(prefix="hybrid-ir-ranks-")
        self.folder = Path(self.scratch.name)
        self.count, self.environment = count, {**os.environ, **(environment or {})}
        self.processes: list[subprocess.Popen] = []
        self.asked = False  # to stop

    def start(self, command: Sequence[str]) -> "Ranks":
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        shared = {
            **self.environment,
            FAILURE_FOLDER_VARIABLE: self.scratch.name,
            WATCHER_VARIABLE: str(os.getpid()),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "WORLD_SIZE": str(self.count),
            "NODE_RANK": "0",
        }
        for rank in range(self.count):
            with open(self.folder / f"rank-{rank}.log", "wb") as log:
                self.processes.append(
                    subprocess.Popen(
                        command,
                        env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                        stdin=subprocess.PIPE,
                        stdout=log if rank else None,
                        stderr=log if rank else None,
                    )
                )
        return self

    def wait(self) -> None:
        """Pass signals on, and end all soon after one has failed.

        Raises:
            RanksEnded: with what the first one said that failed, or with nothing where all have stopped as they were asked to.
        """
        handlers = {
            number: signal.signal(number, self._pass_on)
            for number in (*STOP_SIGNALS, signal.SIGINT)
        }
        try:
            ended = self._watch()
            failures = [failure for rank in ended if (failure := self._failure(rank))]
        finally:
            for process in self.processes:
                process.kill()
            for number, handler in handlers.items():
                signal.signal(number, handler)
            self.scratch.cleanup()
        if self.asked and all(failure.secondary for failure in failures):
            raise RanksEnded("", REQUEUE_EXIT_CODE)
        if failures:
            first = find_root_cause(failures, ended)
            raise RanksEnded(f"{first.details}error: {first}", first.code)
        if any(process.returncode == REQUEUE_EXIT_CODE for process in self.processes):
            raise RanksEnded("", REQUEUE_EXIT_CODE)

    def send(self, number: int) -> None:
        for process in self.processes:
            process.send_signal(number)  # does nothing where it has ended

    def _pass_on(self, number: int, _) -> None:
        self.asked = True
        self.send(number)

    def _watch(self) -> list[int]:
        """The ranks in the order in which they ended; those that do not end soon after the first failure are killed."""
        ended: list[int] = []
        deadline, stopped = None, {}
        while len(ended) < len(self.processes):
            now = time.monotonic()
            for rank, process in enumerate(self.processes):
                if rank not in ended and process.poll() is not None:
                    ended.append(rank)
                    if process.returncode not in (0, REQUEUE_EXIT_CODE) or self.asked:
                        deadline = deadline or now + GRACE
                elif rank not in ended and is_stopped(process.pid):
                    if now - stopped.setdefault(rank, now) > GRACE:
                        self._leave(
                            Failure(
                                rank, f"it was stopped (SIGSTOP) and did not go on within {GRACE} s"
                            )
                        )
                        process.kill()
                else:
                    stopped.pop(rank, None)
            if deadline and now > deadline:
                for rank in {*range(len(self.processes))} - {*ended}:
                    self._leave(
                        Failure(
                            rank,
                            f"it did not answer the others, and did not end within {GRACE} s of them",
                            secondary=self.asked,
                        )
                    )
                    self.processes[rank].kill()
            time.sleep(0.05)
        return ended

    def _leave(self, failure: Failure) -> None:
        path = self.folder / f"rank-{failure.rank}.json"
        if not path.exists():
            path.write_text(json.dumps(asdict(failure)))

    def _failure(self, rank: int) -> Failure | None:
        code, path = self.processes[rank].returncode, self.folder / f"rank-{rank}.json"
        if path.exists():
            return Failure(**json.loads(path.read_text()))
        if code in (0, REQUEUE_EXIT_CODE):
            return None
        log = (self.folder / f"rank-{rank}.log").read_text(errors="replace").strip()
        if code < 0:
            memory = ", as the system does when memory runs out" if -code == 9 else ""
            return Failure(
                rank,
                f"it was killed by signal {-code} ({signal.Signals(-code).name}){memory}",
                secondary=self.asked and -code in STOP_SIGNALS,
            )
        return Failure(rank, log[-2000:] or f"it ended with code {code}", code=code)


def find_root_cause(failures: Sequence[Failure], ended: Sequence[int]) -> Failure:
    """The first failure that is not about another one, at the step where it happened as far as anybody knows."""
    first = next((failure for failure in failures if not failure.secondary), None)
    if first is None:  # they lost one that said nothing
        lost = [rank for rank in ended if rank not in {failure.rank for failure in failures}]
        first = Failure(lost[0], "it ended before the others") if lost else failures[0]
    if first.step is None:
        first.step = max(
            (failure.step for failure in failures if failure.step is not None), default=None
        )
    return first


def is_stopped(pid: int) -> bool:
    """Whether a child is stopped by a signal; always False where the system does not tell."""
    if not hasattr(os, "waitid"):
        return False
    try:
        found = os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:  # it has just ended
        return False
    return found is not None and found.si_code == os.CLD_STOPPED
