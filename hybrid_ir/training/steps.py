"""Small questions about one step of a training: its dropout, and whether its values are read."""

import numpy as np
import torch
from lightning import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from hybrid_ir.types import RandomStream


def seed_dropout(seed: int, batch: int, rank: int, device: torch.device) -> None:
    """Makes dropout a function of (seed, batch, rank), so that a restart needs no state."""
    stream = np.random.SeedSequence([seed, RandomStream.DROPOUT, batch, rank])
    number = int(stream.generate_state(1)[0])
    if device.type == "cpu":
        # What torch.manual_seed does besides is for other devices, and takes 1 ms at every step.
        torch.default_generator.manual_seed(number)
    else:
        torch.manual_seed(number)


def are_values_read(trainer: Trainer) -> bool:
    """Returns whether values of the present step are read: by a row of the log, or after it.

    A validation reads them, whose callbacks may choose by them, so do the checkpoints of Lightning
    and the end of the training; those of the first step are there from the start. Handing
    Lightning seventeen values at every step took a tenth of the time of a small model.
    """
    steps_done = trainer.global_step + 1  # once this step is
    has_row = steps_done % max(1, trainer.log_every_n_steps) == 0
    if has_row or steps_done in (1, trainer.max_steps) or trainer.should_stop:
        return True
    interval = trainer.val_check_batch  # None or infinite where steps do not decide
    batches_done = steps_done * trainer.accumulate_grad_batches
    if isinstance(interval, int) and batches_done % interval == 0:
        return True
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint):
            interval = callback._every_n_train_steps  # 0 for none; it has no public name
            if interval and steps_done % interval == 0:
                return True
    return False
