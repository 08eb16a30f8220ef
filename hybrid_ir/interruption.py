"""Requests to stop from outside: SIGTERM and SIGUSR1, as clusters send them before they take a machine away."""

import signal

import torch

from hybrid_ir.distributed import summed
from hybrid_ir.processes import STOPS, stop, stop_on_request


class Requests:
    """Hears requests to stop; while training they wait for the next step, since a signal may come in the middle of one."""

    def __init__(self):
        self.heard = False

    def listen(self) -> None:
        """Take over from Lightning, whose handler of SIGTERM talks to other ranks in the middle of whatever they are doing."""
        for number in STOPS:
            signal.signal(number, self._note)

    def obey_at_once(self) -> None:
        """From now on a request ends the run where it is: there is nothing that would need saving."""
        stop_on_request()
        if self.heard:
            stop(signal.SIGTERM, None)

    def heard_by_any(self) -> bool:
        """Whether any rank was asked: the same answer on all, so that all stop at the same step."""
        return bool(summed(torch.tensor(float(self.heard))))

    def _note(self, *_) -> None:
        self.heard = True
