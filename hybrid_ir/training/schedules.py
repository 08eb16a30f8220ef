"""Learning-rate schedules whose parts are shares of the run."""

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from transformers import get_linear_schedule_with_warmup


def build_linear_schedule(
    optimizer: Optimizer, max_steps: int, warmup_share: float = 0.1
) -> LRScheduler:
    """Builds a schedule that rises from 0 in a straight line, and falls to 0 in another.

    Args:
        optimizer: its learning rate is the highest one of the schedule.
        max_steps: optimiser steps of the run; there the rate is 0.
        warmup_share: share of the steps in which the rate rises, 0 to 1.

    Raises:
        ValueError: the share is not between 0 and 1.
    """
    if not 0 <= warmup_share <= 1:
        raise ValueError(f"scheduler.warmup_share={warmup_share} is a share of the run: use 0 to 1")
    return get_linear_schedule_with_warmup(optimizer, round(warmup_share * max_steps), max_steps)
