"""Requests to stop from outside: SIGTERM, SIGUSR1, SIGUSR2, as clusters send them before they take a machine away."""

import signal

REQUEUE_EXIT_CODE = (
    75  # exit code of a run that was asked to stop, saved, and can go on: EX_TEMPFAIL, "try again"
)
STOP_SIGNALS = [
    getattr(signal, name) for name in ("SIGTERM", "SIGUSR1", "SIGUSR2") if hasattr(signal, name)
]  # the last: submitit's


class Interrupted(Exception):
    """The run was asked to stop, lost nothing, and can go on; the exit code is REQUEUE."""


def ignore_stop_signals(_: int) -> None:
    """In a worker of a loader, which gets the signals of its process group, too: its process decides when it ends."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


class StopRequests:
    """Hears requests to stop; while training they wait for the next step, since a signal may come in the middle of one."""

    def __init__(self):
        self.heard = False

    def listen(self) -> None:
        """Take over from Lightning, whose handler of SIGTERM talks to other ranks in the middle of whatever they are doing."""
        for number in STOP_SIGNALS:
            signal.signal(number, self._note)

    def obey_at_once(self) -> None:
        """From now on a request ends the run where it is: there is nothing that would need saving."""
        raise_when_asked_to_stop()
        if self.heard:
            raise_interrupted(signal.SIGTERM, None)

    def heard_by_any(self) -> bool:
        """Whether any rank was asked: the same answer on all, so that all stop at the same step."""
        import torch  # here: who watches processes or starts jobs needs none of it

        from hybrid_ir.distributed import sum_over_ranks

        return bool(sum_over_ranks(torch.tensor(float(self.heard))))

    def _note(self, *_) -> None:
        self.heard = True


def raise_when_asked_to_stop() -> None:
    """End the process with an Interrupted where it is asked to stop."""
    for number in STOP_SIGNALS:
        signal.signal(number, raise_interrupted)


def raise_interrupted(number: int, _) -> None:
    raise Interrupted(
        f"asked to stop by {signal.Signals(number).name}: what was written whole stays, and the same command goes "
        "on (train.py with resume=auto)"
    )
