"""What can go wrong inside a run, on purpose: a callback for `+callbacks.fault._target_=tests.support.faults.Fault`."""

import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger


class Fault(Callback):
    """Does something to one rank before one step."""

    def __init__(self, kind: str, step: int = 5, rank: int = 1, times: int = 1):
        self.kind, self.step, self.rank, self.times = kind, step, rank, times

    def on_train_batch_start(self, trainer, module, batch, batch_idx: int) -> None:
        if (
            trainer.global_rank == self.rank
            and self.step <= trainer.global_step < self.step + self.times
        ):
            getattr(self, self.kind)(module)

    def on_after_backward(self, trainer, module) -> None:
        if self.kind == "gradient" and trainer.global_step == self.step:
            next(module.parameters()).grad.view(-1)[0] = (
                torch.inf
            )  # as on all ranks: they have exchanged them

    def fails(self, module) -> None:
        raise RuntimeError("the disk is on fire")

    def killed(self, module) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def stopped(self, module) -> None:
        os.kill(os.getpid(), signal.SIGSTOP)

    def leaves(self, module) -> None:
        sys.exit(0)

    def memory(self, module) -> None:
        torch.empty(1 << 50)

    def fills(self, module) -> None:
        """Leaves the disk of the run without a free byte."""
        with (
            open(Path(module.trainer.default_root_dir) / "filler", "wb", buffering=0) as file,
            suppress(OSError),
        ):
            while file.write(bytes(4096)):
                pass

    def hangs(self, module) -> None:
        time.sleep(10_000)

    def asked(self, module) -> None:
        os.kill(os.getpid(), signal.SIGUSR1)

    def diverges(self, module) -> None:
        module.loss.log_temperature.data.fill_(torch.nan)
        module.heal = True

    def gradient(self, module) -> None:
        pass

    def on_train_batch_end(self, trainer, module, *_) -> None:
        if getattr(module, "heal", False):
            module.loss.log_temperature.data.fill_(torch.tensor(0.1).log())
            module.heal = False


class BrokenLogger(Logger):
    """A tracking service that goes away."""

    name, version = "broken", "0"

    def log_hyperparams(self, *_, **__) -> None:
        pass

    def log_metrics(self, metrics, step=None) -> None:
        raise ConnectionError("the tracking service is gone")
