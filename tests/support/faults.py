"""Faults that a test causes inside a run.

A command line adds one with `+callbacks.fault._target_=tests.support.faults.Fault` and
`+callbacks.fault.kind=killed`.
"""

import os
import signal
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger

HEALTHY_TEMPERATURE = 0.1


class Fault(Callback):
    """Causes one fault at one step.

    Args:
        kind: `killed` kills the process before the step; `diverges` makes the loss of the step
            NaN; `gradient` makes a gradient of the step infinite, on all ranks, as they have
            exchanged their gradients.
        step: optimiser step.
        rank: of the process that is killed or diverges.
    """

    def __init__(self, kind: str, step: int = 5, rank: int = 1):
        if kind not in ("killed", "diverges", "gradient"):
            raise ValueError(f"kind={kind!r} is no fault")
        self.kind = kind
        self.step = step
        self.rank = rank

    def on_train_batch_start(
        self, trainer: Trainer, module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if not self._strikes_now(trainer):
            return
        if self.kind == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.kind == "diverges":
            module.loss.log_temperature.data.fill_(torch.nan)

    def on_after_backward(self, trainer: Trainer, module: LightningModule) -> None:
        if self.kind == "gradient" and trainer.global_step == self.step:
            first_parameter = next(module.parameters())
            first_parameter.grad.view(-1)[0] = torch.inf

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *_) -> None:
        temperature = module.loss.log_temperature
        if self.kind == "diverges" and temperature.isnan():
            temperature.data.fill_(torch.tensor(HEALTHY_TEMPERATURE).log())

    def _strikes_now(self, trainer: Trainer) -> bool:
        return trainer.global_rank == self.rank and trainer.global_step == self.step


class BrokenLogger(Logger):
    """A logger whose tracking service has gone away."""

    name = "broken"
    version = "0"

    def log_hyperparams(self, *_, **__) -> None:
        pass

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        raise ConnectionError("the tracking service is gone")
