"""Learning-rate schedules that know their length as a share of the run."""

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from transformers import get_linear_schedule_with_warmup


def build_linear_schedule(
    optimizer: Optimizer, max_steps: int, warmup_share: float = 0.1
) -> LRScheduler:
    """From 0 up over `warmup_share` of the steps, then straight down to 0 at `max_steps`."""
    if not 0 <= warmup_share <= 1:
        raise ValueError(f"scheduler.warmup_share={warmup_share} is a share of the run: use 0 to 1")
    return get_linear_schedule_with_warmup(optimizer, round(warmup_share * max_steps), max_steps)
