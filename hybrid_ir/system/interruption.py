"""Requests to stop from outside, by Ctrl-C or by a cluster before it takes a machine away."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# Exit code of a run that was asked to stop, saved, and can be resumed: EX_TEMPFAIL, "try again".
REQUEUE_EXIT_CODE = 75
# Exit code of what Ctrl-C has stopped, as shells have it: 128 and the number of SIGINT.
KEYBOARD_INTERRUPT_CODE = 130
# Exit code of a program whose output nobody reads: 128 and the number of SIGPIPE.
BROKEN_PIPE_CODE = 141
# Exit codes of a run that lost nothing and can be resumed.
STOPPED_EXIT_CODES = (REQUEUE_EXIT_CODE, KEYBOARD_INTERRUPT_CODE)


def _list_stop_signals() -> list[signal.Signals]:
    """Returns the signals of clusters that this system has; submitit sends SIGUSR2."""
    names = ("SIGTERM", "SIGUSR1", "SIGUSR2")
    return [getattr(signal, name) for name in names if hasattr(signal, name)]


STOP_SIGNALS = _list_stop_signals()


class Interrupted(Exception):
    """The run was asked to stop, lost nothing and can be resumed.

    Args:
        message: what to print.
        code: with which the process ends, one of STOPPED_EXIT_CODES.
    """

    def __init__(self, message: str = "", code: int = REQUEUE_EXIT_CODE):
        super().__init__(message)
        self.code = code


def ignore_stop_signals(worker: int) -> None:
    """Ignores requests to stop in a worker process of a data loader.

    The worker gets the signals of its process group as well, but the process that started it
    decides when it ends.

    Args:
        worker: the number of the worker, which the loader gives and nobody needs.
    """
    for number in (*STOP_SIGNALS, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


class StopRequests:
    """Notes requests to stop while training.

    A signal may come in the middle of a step, so training asks for requests between two steps.

    Attributes:
        heard: whether this process was asked to stop.
        code: the exit code for the one who asked.
    """

    def __init__(self):
        self.heard = False
        self.code = REQUEUE_EXIT_CODE

    def listen(self) -> None:
        """Notes requests from now on; a second Ctrl-C is obeyed at once.

        This replaces Lightning's handler of SIGTERM, which communicates with the other ranks in
        the middle of whatever they are doing.
        """
        for number in STOP_SIGNALS:
            signal.signal(number, self._note)
        signal.signal(signal.SIGINT, self._note_keyboard_interrupt)

    def obey_at_once(self) -> None:
        """Ends the run at a request from now on, because nothing is left to save.

        Raises:
            Interrupted: if a request has come before.
        """
        raise_when_asked_to_stop()
        if self.heard:
            by_keyboard = self.code == KEYBOARD_INTERRUPT_CODE
            _raise_interrupted(signal.SIGINT if by_keyboard else signal.SIGTERM, None)

    def heard_by_any(self) -> bool:
        """Returns whether any rank was asked to stop.

        The answer is the same on all ranks, so that they stop at the same step.
        """
        # Imported here, as programs that watch processes or submit jobs do without torch.
        import torch

        from hybrid_ir.distributed import sum_over_ranks

        return bool(sum_over_ranks(torch.tensor(float(self.heard))))

    def _note(self, number: int, frame) -> None:
        self.heard = True

    def _note_keyboard_interrupt(self, number: int, frame) -> None:
        self.heard = True
        self.code = KEYBOARD_INTERRUPT_CODE
        signal.signal(signal.SIGINT, _raise_interrupted)
        print("\nsaving after this step; Ctrl-C again stops at once", file=sys.stderr)


def raise_when_asked_to_stop() -> None:
    """Raises Interrupted, from now on, wherever the process is when it is asked to stop."""
    for number in (*STOP_SIGNALS, signal.SIGINT):
        signal.signal(number, _raise_interrupted)


def _raise_interrupted(number: int, frame) -> None:
    cause = f"asked to stop by {signal.Signals(number).name}"
    code = REQUEUE_EXIT_CODE
    if number == signal.SIGINT:
        cause = "stopped by Ctrl-C"
        code = KEYBOARD_INTERRUPT_CODE
    raise Interrupted(
        f"{cause}: what was written whole stays, and the same command goes on (train.py with "
        "resume=auto)",
        code,
    )


@contextmanager
def end_where_nobody_reads() -> Iterator[None]:
    """Ends the program quietly if the reader of its output, such as `head`, has ended."""
    try:
        yield
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(BROKEN_PIPE_CODE)
