"""Loggers of a run: metrics.jsonl, and a wrapper for loggers that may fail.

The step of a row is the number of optimiser steps that were done when it was measured, for every
logger: the training values of step n (the mean over its batches) are those of the step that makes
it n, a validation at step n has seen the weights after n steps, and so has a test of a checkpoint
of step n.
"""

import json
import math
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only, rank_zero_warn

from hybrid_ir.training.training_metrics import RUNNING_MEANS

# The key of what a search maximises, which trackers get when a training has ended.
OBJECTIVE = "objective"


class JsonlLogger(Logger):
    """Appends one JSON object for each logged step to `metrics.jsonl` of the run folder."""

    def __init__(self, folder: str | Path):
        super().__init__()
        self.path = Path(folder) / "metrics.jsonl"

    @property
    def name(self) -> str:
        """The name of the logger."""
        return "jsonl"

    @property
    def version(self) -> str:
        """The version of the logger: empty, as a run folder holds one run."""
        return ""

    @rank_zero_only
    def log_hyperparams(self, params: dict | Namespace) -> None:
        """Does nothing: config.yaml of the run folder has the hyperparameters."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Appends the values of a step as a row, see `select_values`."""
        values = select_values(metrics)
        if values:
            with open(self.path, "a") as file:
                file.write(json.dumps({"step": step, **values}) + "\n")


class FailSafeLogger(Logger):
    """Passes everything on to a logger, and leaves it out from its first error on.

    The training goes on without it, and metrics.jsonl has everything. A logger that shows more than
    numbers has some of the methods `log_batch_card`, `log_training`, `log_results`,
    `log_checkpoint` and `finish`, as WandbRunLogger has; for others these do nothing.

    Args:
        inner: the logger that may fail.
    """

    def __init__(self, inner: Logger):
        super().__init__()
        self.inner = inner
        self.failed = False

    @property
    def name(self) -> str | None:
        """The name of the inner logger."""
        return self.inner.name

    @property
    def version(self) -> int | str | None:
        """The version of the inner logger."""
        return self.inner.version

    @property
    def save_dir(self) -> str | None:
        """The folder of the inner logger."""
        return self.inner.save_dir

    @property
    def experiment(self) -> Any:
        """The experiment of the inner logger, None after it has failed."""
        return self._try(lambda: getattr(self.inner, "experiment", None))

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any]) -> None:
        """Passes the hyperparameters on, to TensorBoard with the name of the objective.

        TensorBoard lists a run by its hyperparameters only if a measure is named with them, whose
        newest value it shows.
        """
        if isinstance(self.inner, TensorBoardLogger):
            objective = {OBJECTIVE: float("nan")}
            self._try(lambda: self.inner.log_hyperparams(params, objective))
        else:
            self._try(lambda: self.inner.log_hyperparams(params))

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Passes the values of a step on, as metrics.jsonl has them."""
        values = select_values(metrics)
        if values:
            self._try(lambda: self.inner.log_metrics(values, step))

    def log_batch_card(self, folder: Path) -> None:
        """Passes on that a run folder has its batch card."""
        self._try_if_known("log_batch_card", folder)

    def log_training(self, folder: Path) -> None:
        """Passes on that a run folder has the report of its training."""
        self._try_if_known("log_training", folder)

    def log_results(self, folder: Path) -> None:
        """Passes on that a run folder has its results."""
        self._try_if_known("log_results", folder)

    def log_checkpoint(self, path: Path, choice: str) -> None:
        """Passes on which checkpoint of a training is measured, best or last."""
        self._try_if_known("log_checkpoint", path, choice)

    def finish(self, exit_code: int) -> None:
        """Passes on that nothing more is logged, and how the run has ended."""
        self._try_if_known("finish", exit_code)

    def save(self) -> None:
        """Has the inner logger save."""
        self._try(self.inner.save)

    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        """Tells the inner logger that a checkpoint was saved."""
        self._try(lambda: self.inner.after_save_checkpoint(checkpoint_callback))

    def finalize(self, status: str) -> None:
        """Tells the inner logger that the run has ended."""
        self._try(lambda: self.inner.finalize(status))

    def _try_if_known(self, method: str, *arguments: Any) -> None:
        """Calls a method that the inner logger need not have."""
        if hasattr(self.inner, method):
            self._try(lambda: getattr(self.inner, method)(*arguments))

    def _try(self, call: Callable[[], Any]) -> Any:
        """Returns what a call of the inner logger returns, None if it fails or has failed."""
        if self.failed:
            return None
        try:
            return call()
        except Exception as error:  # of many types: any service may be behind the logger
            self.failed = True
            rank_zero_warn(
                f"{type(self.inner).__name__} failed ({type(error).__name__}: {error}): it is left "
                "out from here on, metrics.jsonl of the run has everything"
            )
            return None


def select_values(metrics: dict[str, float]) -> dict[str, float]:
    """Returns logged values without those that say nothing.

    These are Lightning's epoch, since batches are planned and there are no epochs, and running
    means of what has not come in the last steps, which are NaN.
    """
    values = {}
    for name, value in metrics.items():
        is_absent_mean = name in RUNNING_MEANS and math.isnan(value)
        if name != "epoch" and not is_absent_mean:
            values[name] = value
    return values


def build_loggers(folder: Path, loggers: Sequence[Logger]) -> list[Logger]:
    """Puts metrics.jsonl before the loggers of a run, none of which may stop the training.

    Args:
        folder: of the run.
        loggers: what else follows the run, as conf/logger names it.
    """
    guarded = [FailSafeLogger(logger) for logger in loggers]
    return [JsonlLogger(folder), *guarded]
