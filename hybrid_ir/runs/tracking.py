"""What trackers such as W&B and TensorBoard get to know of a run besides its logged values."""

import json
import os
from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from hybrid_ir.runs.errors import PROGRAM_ERROR_CODE
from hybrid_ir.runs.folder import find_checkpoint
from hybrid_ir.runs.jobs import read_objective_of_run
from hybrid_ir.runs.wandb_agent import COMMAND_LINE_KEY, COMMAND_LINE_VARIABLE
from hybrid_ir.system.interruption import Interrupted
from hybrid_ir.training.loggers import OBJECTIVE, FailSafeLogger


class ExperimentTracking(Callback):
    """Gives the trackers of a run its hyperparameters, and shows them what the run has written.

    It comes after the callbacks that write the files.

    Args:
        config: the resolved config of the run as plain values.
        folder: of the run.
    """

    def __init__(self, config: dict[str, Any], folder: Path):
        self.config = config
        self.folder = folder
        self.has_hyperparameters = False

    def on_fit_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Logs the hyperparameters and the batch card."""
        self._log_hyperparameters(trainer)
        for tracker in list_trackers(trainer):
            tracker.log_batch_card(self.folder)

    def on_test_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Logs the hyperparameters of a run that only measures."""
        self._log_hyperparameters(trainer)

    def on_exception(
        self, trainer: Trainer, module: LightningModule, exception: BaseException
    ) -> None:
        """Ends a run with the exit code of its program: it failed, or was asked to stop."""
        code = exception.code if isinstance(exception, Interrupted) else PROGRAM_ERROR_CODE
        for tracker in list_trackers(trainer):
            tracker.finish(code)

    def teardown(self, trainer: Trainer, module: LightningModule, stage: str) -> None:
        """Logs the report of a training that has ended, or the results of a test."""
        last_stage = "test" if self.config["benchmark"] else "fit"
        for tracker in list_trackers(trainer):
            if stage == "fit":
                self._log_training(tracker, trainer.global_step)
            elif stage == "test":
                tracker.log_results(self.folder)
            if stage == last_stage:
                tracker.finish(0)

    def _log_hyperparameters(self, trainer: Trainer) -> None:
        if self.has_hyperparameters:
            return
        self.has_hyperparameters = True
        for tracker in list_trackers(trainer):
            tracker.log_hyperparams(list_hyperparameters(self.config, self.folder))

    def _log_training(self, tracker: FailSafeLogger, step: int) -> None:
        tracker.log_training(self.folder)
        choice = self.config["test_checkpoint"]
        if any((self.folder / "checkpoints").glob("*.ckpt")):
            tracker.log_checkpoint(Path(find_checkpoint(self.folder, choice)), choice)
        objective = read_objective_of_run(self.folder, self.config)
        if objective is not None:
            tracker.log_metrics({OBJECTIVE: objective}, step)


def list_trackers(trainer: Trainer) -> list[FailSafeLogger]:
    """Returns the loggers of a run besides metrics.jsonl, none on ranks other than 0."""
    if not trainer.is_global_zero:
        return []
    return [logger for logger in trainer.loggers if isinstance(logger, FailSafeLogger)]


def list_hyperparameters(config: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Returns what a run is made of: every key of its config, versions and the state of git.

    Args:
        config: the resolved config of the run as plain values.
        folder: of the run, with versions.json.
    """
    hyperparameters = dict(config)
    versions = folder / "versions.json"
    if versions.is_file():
        hyperparameters["versions"] = json.loads(versions.read_text(encoding="utf-8"))
    if COMMAND_LINE_VARIABLE in os.environ:
        hyperparameters[COMMAND_LINE_KEY] = os.environ[COMMAND_LINE_VARIABLE]
    return hyperparameters
