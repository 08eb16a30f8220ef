"""What follows a run: metrics.jsonl, its truth, Weights & Biases that works without a key, last.ckpt, a progress bar."""

import json
import netrc
import os
from argparse import Namespace
from pathlib import Path

from lightning.pytorch.callbacks import ModelCheckpoint, RichProgressBar
from lightning.pytorch.loggers import Logger, WandbLogger
from lightning.pytorch.utilities import rank_zero_info, rank_zero_only

WANDB_HOST = "api.wandb.ai"


class JsonlLogger(Logger):
    """Appends one JSON object per logged step to `metrics.jsonl` of the run folder."""

    def __init__(self, folder: str | Path):
        super().__init__()
        self.path = Path(folder) / "metrics.jsonl"

    @property
    def name(self) -> str:
        return "jsonl"

    @property
    def version(self) -> str:
        return ""

    @rank_zero_only
    def log_hyperparams(self, params: dict | Namespace) -> None:
        """config.yaml of the run folder has them."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        values = {name: value for name, value in metrics.items() if name != "epoch"}  # batches are planned, not epochs
        if values:
            with open(self.path, "a") as file:
                file.write(json.dumps({"step": step, **values}) + "\n")


def wandb_logger(save_dir: str, offline: bool | None = None, **settings) -> WandbLogger:
    """Lightning's WandbLogger; offline unless there is a key, and says so. `settings` go to wandb.init.

    Args:
        save_dir: the run folder; the files of an offline run are there, for `wandb sync`.
        offline: None to decide by whether WANDB_API_KEY or a login in ~/.netrc exists.
    """
    if offline is None:
        offline = os.environ.get("WANDB_MODE") != "online" and not has_wandb_key()
        if offline:
            rank_zero_info("wandb: no API key found, so this run is logged offline; upload it with: "
                           f"wandb sync {save_dir}/wandb/offline-*")
    return WandbLogger(save_dir=save_dir, offline=offline, **settings)


def has_wandb_key() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return netrc.netrc().authenticators(WANDB_HOST) is not None
    except (FileNotFoundError, netrc.NetrcParseError):
        return False


class LastCheckpoint(ModelCheckpoint):
    """`last.ckpt`: written every so many steps, and when training ends, also where it stops early."""

    def __init__(self, dirpath: str, every_n_train_steps: int):
        super().__init__(dirpath, filename="last", every_n_train_steps=every_n_train_steps, enable_version_counter=False)

    def on_train_end(self, trainer, pl_module) -> None:
        super().on_train_end(trainer, pl_module)
        if self._last_global_step_saved != trainer.global_step:
            trainer.save_checkpoint(Path(self.dirpath) / "last.ckpt", False)  # not the weights alone: training can go on


class StepsBar(RichProgressBar):
    """A progress bar that speaks of training steps: batches are planned, there are no epochs to count."""

    def _get_train_description(self, current_epoch: int) -> str:
        return "training"

    @property
    def total_train_batches(self) -> int | float:
        return self.trainer.num_training_batches  # the loader is as long as the run
