"""Faults that a test causes inside a run.

A command line adds one with `+callbacks.fault._target_=tests.support.faults.Fault` and
`+callbacks.fault.kind=killed`.
"""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger

from hybrid_ir.training import checkpoints
from hybrid_ir.training.checkpoint_callbacks import LastCheckpoint
from tests.support.command_line import HANG_SECONDS

HEALTHY_TEMPERATURE = 0.1
KINDS = (
    "killed",
    "killed_while_writing",
    "killed_while_renaming",
    "asked_to_stop",
    "waits",
    "waits_for_ever",
    "diverges",
    "gradient",
)
POLL_SECONDS = 0.01


class Fault(Callback):
    """Causes one fault at one step.

    Args:
        kind: which fault.
            `killed` kills the process before the step.
            `killed_while_writing` kills it when half of the checkpoint of the step is written.
            `killed_while_renaming` kills it after the first file was renamed that belongs to the
            checkpoint of the step: the last checkpoint has become the previous one.
            `asked_to_stop` sends SIGUSR1 to the process before the step.
            `waits` goes no further than this step: the process waits until a test asks it to stop
            or kills it, so that it cannot end before, however fast the machine is. If the file
            `until` exists, it goes on.
            `waits_for_ever` goes no further either, and hears no request to stop.
            `diverges` makes the loss of the step NaN.
            `gradient` makes a gradient of the step infinite, on all ranks, as they have exchanged
            their gradients.
        step: optimiser step.
        rank: of the process with the fault; `gradient` is on all.
        until: the file at which `waits` goes on; empty for none.
    """

    def __init__(self, kind: str, step: int = 5, rank: int = 1, until: str = ""):
        if kind not in KINDS:
            raise ValueError(f"kind={kind!r} is no fault")
        self.kind = kind
        self.step = step
        self.rank = rank
        self.until = until

    def on_train_batch_start(
        self, trainer: Trainer, module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if not self._strikes_now(trainer):
            return
        if self.kind == "killed":
            kill_this_process()
        if self.kind == "asked_to_stop":
            os.kill(os.getpid(), signal.SIGUSR1)
        if self.kind == "waits":
            wait_for_stop_request(trainer, self.until)
        if self.kind == "waits_for_ever":
            time.sleep(HANG_SECONDS)
        if self.kind == "diverges":
            module.loss.log_temperature.data.fill_(torch.nan)

    def on_save_checkpoint(
        self, trainer: Trainer, module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if not self._strikes_now(trainer):
            return
        if self.kind == "killed_while_writing":
            checkpoints.flush_to_disk = cut_and_kill
        if self.kind == "killed_while_renaming":
            os.replace = rename_and_kill(os.replace)

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


def kill_this_process() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def cut_and_kill(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)
    kill_this_process()


def rename_and_kill(rename: Callable[..., None]) -> Callable[..., None]:
    """Returns a function that renames a file, after which the process is killed."""

    def rename_then_kill(*arguments) -> None:
        rename(*arguments)
        kill_this_process()

    return rename_then_kill


def wait_for_stop_request(trainer: Trainer, until: str) -> None:
    """Waits until this process is asked to stop, or a file is there.

    At a request the training itself saves and stops.
    """
    [last] = [
        callback
        for callback in trainer.checkpoint_callbacks
        if isinstance(callback, LastCheckpoint)
    ]
    end = time.monotonic() + HANG_SECONDS
    while not last.stop_requests.heard and not (until and Path(until).exists()):
        if time.monotonic() > end:
            raise TimeoutError("nobody asked this process to stop")
        time.sleep(POLL_SECONDS)


class BrokenLogger(Logger):
    """A logger whose tracking service has gone away."""

    name = "broken"
    version = "0"

    def log_hyperparams(self, *_, **__) -> None:
        pass

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        raise ConnectionError("the tracking service is gone")


class KilledWorker(Callback):
    """Kills the processes that build batches, as the system does when memory runs out."""

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        for worker in multiprocessing.active_children():
            os.kill(worker.pid, signal.SIGKILL)
