"""Requests to stop from outside, as clusters send them before they take a machine away."""

import signal

# Exit code of a run that was asked to stop, saved, and can be resumed: EX_TEMPFAIL, "try again".
REQUEUE_EXIT_CODE = 75


def _list_stop_signals() -> list[signal.Signals]:
    """Returns the signals of clusters that this system has; submitit sends SIGUSR2."""
    names = ("SIGTERM", "SIGUSR1", "SIGUSR2")
    return [getattr(signal, name) for name in names if hasattr(signal, name)]


STOP_SIGNALS = _list_stop_signals()


class Interrupted(Exception):
    """The run was asked to stop, lost nothing and can be resumed.

    The process ends with REQUEUE_EXIT_CODE.
    """


def ignore_stop_signals(worker: int) -> None:
    """Ignores requests to stop in a worker process of a data loader.

    The worker gets the signals of its process group as well, but the process that started it
    decides when it ends.

    Args:
        worker: the number of the worker, which the loader gives and nobody needs.
    """
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


class StopRequests:
    """Notes requests to stop while training.

    A signal may come in the middle of a step, so training asks for requests between two steps.
    """

    def __init__(self):
        self.heard = False

    def listen(self) -> None:
        """Notes requests from now on.

        This replaces Lightning's handler of SIGTERM, which communicates with the other ranks in
        the middle of whatever they are doing.
        """
        for number in STOP_SIGNALS:
            signal.signal(number, self._note)

    def obey_at_once(self) -> None:
        """Ends the run at a request from now on, because nothing is left to save.

        Raises:
            Interrupted: if a request has come before.
        """
        raise_when_asked_to_stop()
        if self.heard:
            _raise_interrupted(signal.SIGTERM, None)

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


def raise_when_asked_to_stop() -> None:
    """Raises Interrupted, from now on, wherever the process is when it is asked to stop."""
    for number in STOP_SIGNALS:
        signal.signal(number, _raise_interrupted)


def _raise_interrupted(number: int, frame) -> None:
    raise Interrupted(
        f"asked to stop by {signal.Signals(number).name}: what was written whole stays, and the "
        "same command goes on (train.py with resume=auto)"
    )
