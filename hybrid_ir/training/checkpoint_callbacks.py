"""Callbacks that write the last and the best checkpoint of a run, and end it on request."""

import os
import shutil
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint, Timer
from lightning.pytorch.callbacks.early_stopping import EarlyStoppingReason

from hybrid_ir.distributed import gather_uneven
from hybrid_ir.files.atomic import write_atomically
from hybrid_ir.system.interruption import Interrupted, StopRequests
from hybrid_ir.training.checkpoints import (
    BEST_FILE,
    LAST_FILE,
    LAST_STATE,
    require_disk_space,
)


class LastCheckpoint(Checkpoint):
    """Writes `last.ckpt` every so many steps, when the run is asked to stop, and at the end.

    A request to stop is SIGTERM, SIGUSR1, SIGUSR2, Ctrl-C, or the end of `trainer.max_time`. The
    checkpoint is written before a step rather than after one, so that everything that follows a
    step (validation, its log, early stopping) is in it. A run that goes on from it repeats and
    misses nothing.

    Args:
        dirpath: folder of the checkpoints.
        every_n_train_steps: optimiser steps between two checkpoints.
    """

    def __init__(self, dirpath: str, every_n_train_steps: int):
        if every_n_train_steps < 1:
            raise ValueError(
                f"callbacks.checkpoint_last.every_n_train_steps={every_n_train_steps} must be at "
                "least 1"
            )
        self.path = Path(dirpath) / LAST_FILE
        self.every_n_train_steps = every_n_train_steps
        self.training_ended = False
        self.time_is_up = False
        self.saved_step = 0
        self.stop_requests = StopRequests()

    @property
    def state_key(self) -> str:
        """The name of the state of this callback in a checkpoint."""
        return LAST_STATE

    def state_dict(self) -> dict[str, bool]:
        """Returns whether training ended, which is kept in the checkpoint."""
        return {"ended": self.training_ended}

    def on_load_checkpoint(
        self, trainer: Trainer, module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Leaves the time of earlier starts out: each start has `trainer.max_time` of its own."""
        states = checkpoint.get("callbacks", {})
        for name in list(states):
            if name.startswith(Timer.__qualname__):
                del states[name]

    def on_fit_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Raises ValueError if the disk is too small for the checkpoints of the run."""
        if trainer.is_global_zero:
            require_disk_space(self.path.parent, module)

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Starts to listen to requests to stop. Raises ValueError if ranks start at other steps."""
        self.training_ended = False
        self.time_is_up = False
        self.saved_step = trainer.global_step
        steps = gather_uneven(torch.tensor([trainer.global_step])).tolist()
        if len(set(steps)) > 1:
            raise ValueError(
                f"the processes of this run found checkpoints of different steps ({steps}): the "
                "run folder must be on a disk that all see alike; start it again"
            )
        self.stop_requests.listen()

    def on_train_batch_start(
        self, trainer: Trainer, module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Saves if it is time to. Raises Interrupted if the run shall stop here."""
        step = trainer.global_step
        _correct_batch_counts(trainer, batch_idx)
        if batch_idx % trainer.accumulate_grad_batches:
            return  # gradients that wait for their step are in no checkpoint
        asked_to_stop = self.stop_requests.heard_by_any()
        stops = asked_to_stop or self.time_is_up
        is_due = stops or step % self.every_n_train_steps == 0
        if step > self.saved_step and is_due:
            self._save(trainer)
        if stops:
            cause = "asked to stop" if asked_to_stop else "trainer.max_time is over"
            raise Interrupted(_describe_stop(cause, trainer), self.stop_requests.code)

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stops before the next step if `trainer.max_time` is over.

        Lightning would validate first, which a run that is not stopped does not do here.
        """
        for callback in trainer.callbacks:
            if isinstance(callback, Timer) and _is_over(callback, trainer):
                self.time_is_up = True
        if self.time_is_up and not has_stopped_early(trainer):
            trainer.should_stop = False

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Saves the end of the training; from now on a request to stop is obeyed at once.

        Raises:
            Interrupted: the training ended before its last step, and not by early stopping. It is
                not complete, and goes on when it is resumed.
        """
        all_steps = trainer.global_step >= trainer.max_steps
        self.training_ended = all_steps or has_stopped_early(trainer)
        self._save(trainer)
        if not self.training_ended:
            raise Interrupted(_describe_stop("a callback ended the training", trainer))
        self.stop_requests.obey_at_once()

    def on_test_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Has requests to stop obeyed at once, as a test has nothing to save."""
        self.stop_requests.obey_at_once()

    def on_exception(
        self, trainer: Trainer, module: LightningModule, exception: BaseException
    ) -> None:
        """Notes the step in the exception, for the one message that says where the run failed."""
        exception.step = trainer.global_step

    def _save(self, trainer: Trainer) -> None:
        trainer.save_checkpoint(self.path, weights_only=False)  # so that training can go on
        self.saved_step = trainer.global_step


def has_stopped_early(trainer: Trainer) -> bool:
    """Returns whether early stopping has ended the training."""
    for callback in trainer.early_stopping_callbacks:
        if callback.stopping_reason != EarlyStoppingReason.NOT_STOPPED:
            return True
    return False


def _is_over(timer: Timer, trainer: Trainer) -> bool:
    """Returns whether the time of a timer is over on rank 0, whose clock counts for all ranks."""
    remaining = timer.time_remaining()
    return trainer.strategy.broadcast(remaining is not None and remaining <= 0)


def _describe_stop(cause: str, trainer: Trainer) -> str:
    return (
        f"{cause} at step {trainer.global_step} of {trainer.max_steps}: saved, resume=auto goes on "
        "from there"
    )


def _correct_batch_counts(trainer: Trainer, batch_idx: int) -> None:
    """Corrects two counters of Lightning that are one too high after a restart.

    Otherwise rows of the log and validations would come a step too late or too early.
    """
    loop = trainer.fit_loop.epoch_loop
    loop._batches_that_stepped = trainer.global_step
    loop.batch_progress.total.ready = batch_idx + 1


class BestCheckpoint(ModelCheckpoint):
    """Writes `best.ckpt`, the best validation so far, also after the run folder was moved.

    Which one is best is decided by `monitor` and `mode`. With a `save_top_k` other than 1 the names
    of the checkpoints end with their step, and `best.ckpt` is another name of the best of them.

    Args:
        dirpath: folder of the checkpoints.
        monitor: the logged value that says which checkpoint is best.
        mode: `min` or `max`.
        save_top_k: how many checkpoints are kept; -1 keeps all.
        keywords: as of Lightning's ModelCheckpoint.
    """

    def __init__(
        self,
        dirpath: str,
        monitor: str = "val/loss",
        mode: str = "min",
        save_top_k: int = 1,
        **keywords: Any,
    ):
        if save_top_k == 0:
            raise ValueError(
                "callbacks.checkpoint_best.save_top_k=0 keeps no best checkpoint: use 1 or more, "
                "or callbacks=last_only"
            )
        filename = keywords.get("filename") or Path(BEST_FILE).stem
        has_numbers = keywords.get("enable_version_counter", True)
        if save_top_k != 1 and "{step" not in filename and not has_numbers:
            keywords["filename"] = filename + "-{step}"
        super().__init__(
            dirpath=dirpath, monitor=monitor, mode=mode, save_top_k=save_top_k, **keywords
        )

    def _update_best_and_save(self, current, trainer, monitor_candidates) -> None:
        super()._update_best_and_save(current, trainer, monitor_candidates)
        best = Path(self.best_model_path)
        if trainer.is_global_zero and best.name != BEST_FILE and best.exists():
            with write_atomically(best.with_name(BEST_FILE)) as temporary:
                _link_or_copy(best, temporary)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores the best scores; the files are looked for in the present folder."""
        folder = Path(self.dirpath)
        kept = {}
        for old_path, score in state.get("best_k_models", {}).items():
            path = folder / Path(old_path).name
            if path.exists():
                kept[str(path)] = score
        if kept:
            best = min if self.mode == "min" else max
            worst = max if self.mode == "min" else min
            best_path = best(kept, key=kept.get)
            worst_path = worst(kept, key=kept.get)
            state = {
                **state,
                "dirpath": self.dirpath,
                "best_k_models": kept,
                "best_model_path": best_path,
                "best_model_score": kept[best_path],
                "kth_best_model_path": worst_path,
                "kth_value": kept[worst_path],
            }
        super().load_state_dict(state)


def _link_or_copy(source: Path, target: Path) -> None:
    """Gives a file a second name, or a copy where the disk has no such links."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
