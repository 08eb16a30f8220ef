"""Stops a training, or skips a step, when a loss or gradient is NaN or infinite."""

import json
from pathlib import Path

import torch
from lightning import Trainer
from lightning.pytorch.utilities import rank_zero_warn

from hybrid_ir.data.batching import describe_batch

NONFINITE_FILE = "nonfinite.jsonl"
POLICIES = ("stop", "skip")


class NonFiniteGuard:
    """Looks at the loss and the gradient norm of every optimiser step.

    The batches of a step whose loss or gradient norm is not finite are written to nonfinite.jsonl
    of the run folder. Then the training is stopped, or the step is marked to be skipped.

    Args:
        policy: `stop` or `skip`.

    Attributes:
        skips_step: whether the present optimiser step has to be left out.
    """

    def __init__(self, policy: str):
        if policy not in POLICIES:
            raise ValueError(f"nonfinite={policy!r} must be 'stop' or 'skip'")
        self.policy = policy
        self.skips_step = False
        self._batches_of_step: list[int] = []

    def add_batch(self, number: int) -> None:
        """Notes that a planned batch contributes to the present step."""
        self._batches_of_step.append(number)

    def check(self, quantity: str, value: torch.Tensor, trainer: Trainer) -> None:
        """Stops the training or marks the step to be skipped if a value is not finite.

        Args:
            quantity: what the value is, `loss` or `gradient norm`.
            value: a scalar that is equal on all ranks, so that all decide the same.
            trainer: knows the step, the run folder and the plan of batches.

        Raises:
            ValueError: the value is not finite and the policy is `stop`.
        """
        if torch.isfinite(value) or self.skips_step:
            return
        path = Path(trainer.default_root_dir) / NONFINITE_FILE
        if trainer.is_global_zero:
            self._write_batches(path, quantity, value, trainer)
        message = (
            f"the {quantity} is {value.item()} at step {trainer.global_step + 1} "
            f"(batch {self._batches_of_step[-1]})"
        )
        if self.policy == "stop":
            raise ValueError(
                f"{message}: training has diverged; what it was trained on is in {path}. Lower "
                "optimizer.lr, raise loss.temperature, use trainer.precision=bf16-mixed or "
                "32-true, or leave such steps out with nonfinite=skip"
            )
        rank_zero_warn(f"{message}: the step is skipped, what it was to be trained on is in {path}")
        self.skips_step = True

    def end_step(self) -> None:
        """Forgets the batches of a step that is done or skipped."""
        self.skips_step = False
        self._batches_of_step = []

    def _write_batches(
        self, path: Path, quantity: str, value: torch.Tensor, trainer: Trainer
    ) -> None:
        """Appends what the batches of the step show to a file, as one line of JSON."""
        sampler = trainer.datamodule.sampler
        batches = []
        for number in self._batches_of_step:
            batches.append(describe_batch(sampler.corpus, sampler[number]))
        # The step as in metrics.jsonl: how many are done once this one is.
        row = {"step": trainer.global_step + 1, quantity: str(value.item()), "batches": batches}
        with open(path, "a") as file:
            file.write(json.dumps(row) + "\n")
