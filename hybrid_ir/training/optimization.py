"""What an optimiser gets: the parameters in groups, and a learning rate for every step."""

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler


def build_parameter_groups(module: nn.Module) -> list[dict]:
    """Returns the trainable parameters in two groups, the second without weight decay.

    The second holds all parameters with one dimension or none: the biases and norms.
    """
    trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
    matrices = [parameter for parameter in trainable if parameter.ndim > 1]
    vectors = [parameter for parameter in trainable if parameter.ndim <= 1]
    return [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}]


def build_linear_schedule(
    optimizer: Optimizer, max_steps: int, warmup_share: float = 0.1
) -> LRScheduler:
    """Builds a schedule that rises in a straight line, and falls to 0 in another.

    Of W steps of warm-up, step i (from 0) has the share (i + 1) / W of the highest rate, so that
    the first step trains already. From there on it has (max_steps - i) / (max_steps - W), which is
    above 0 in the last step, too.

    Args:
        optimizer: its learning rate is the highest one of the schedule.
        max_steps: optimiser steps of the run; after them the rate is 0.
        warmup_share: share of the steps in which the rate rises, 0 to 1.

    Raises:
        ValueError: the share is not between 0 and 1.
    """
    if not 0 <= warmup_share <= 1:
        raise ValueError(f"scheduler.warmup_share={warmup_share} is a share of the run: use 0 to 1")
    warmup_steps = round(warmup_share * max_steps)

    def compute_factor(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / warmup_steps
        return max(0.0, (max_steps - step) / max(1, max_steps - warmup_steps))

    return LambdaLR(optimizer, compute_factor)
