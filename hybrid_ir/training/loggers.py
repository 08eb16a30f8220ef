"""What follows a run: metrics.jsonl, its truth, Weights & Biases that works without a key, a progress bar."""

import csv
import json
import netrc
import os
import secrets
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import wandb
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.loggers import Logger, WandbLogger
from lightning.pytorch.utilities import rank_zero_info, rank_zero_only, rank_zero_warn

from hybrid_ir.files.atomic import write_text_atomically

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
        values = {
            name: value for name, value in metrics.items() if name != "epoch"
        }  # batches are planned, not epochs
        if values:
            with open(self.path, "a") as file:
                file.write(json.dumps({"step": step, **values}) + "\n")


class FailSafeLogger(Logger):
    """A logger that may fail without stopping the training: it is then left out, and metrics.jsonl has everything."""

    def __init__(self, inner: Logger):
        super().__init__()
        self.inner, self.failed = inner, False

    def _try(self, do: Callable[[], Any]) -> Any:
        if not self.failed:
            try:
                return do()
            except Exception as error:
                self.failed = True
                rank_zero_warn(
                    f"{type(self.inner).__name__} failed ({type(error).__name__}: {error}): it is left out from here "
                    "on, metrics.jsonl of the run has everything"
                )
        return None

    @property
    def name(self) -> str | None:
        return self.inner.name

    @property
    def version(self) -> int | str | None:
        return self.inner.version

    @property
    def save_dir(self) -> str | None:
        return self.inner.save_dir

    @property
    def experiment(self) -> Any:
        return self._try(lambda: getattr(self.inner, "experiment", None))

    def log_hyperparams(self, *arguments, **named) -> None:
        self._try(lambda: self.inner.log_hyperparams(*arguments, **named))

    def log_metrics(self, *arguments, **named) -> None:
        self._try(lambda: self.inner.log_metrics(*arguments, **named))

    def save(self) -> None:
        self._try(self.inner.save)

    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        self._try(lambda: self.inner.after_save_checkpoint(checkpoint_callback))

    def finalize(self, status: str) -> None:
        self._try(lambda: self.inner.finalize(status))


def build_wandb_logger(save_dir: str, offline: bool | None = None, **settings) -> WandbLogger:
    """Lightning's WandbLogger; offline unless there is a key, and says so. `settings` go to wandb.init.

    Args:
        save_dir: the run folder; the files of an offline run are there, for `wandb sync`.
        offline: None to decide by whether WANDB_API_KEY or a login in ~/.netrc exists.
    """
    if offline is None:
        offline = os.environ.get("WANDB_MODE") != "online" and not has_wandb_key()
        if offline:
            rank_zero_info(
                "wandb: no API key found, so this run is logged offline; upload it with: "
                f"wandb sync {save_dir}/wandb/offline-*"
            )
    return WandbLogger(
        save_dir=save_dir,
        offline=offline,
        id=get_wandb_id(Path(save_dir)),
        resume="allow",
        **settings,
    )


def get_wandb_id(folder: Path) -> str:
    """The id under which W&B knows a run folder, the same whenever the run goes on there."""
    path = folder / "wandb_id"
    if rank_zero_only.rank == 0 and not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_text_atomically(path, secrets.token_hex(4))
    return path.read_text() if path.exists() else ""  # other ranks log nothing


def has_wandb_key() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return netrc.netrc().authenticators(WANDB_HOST) is not None
    except (FileNotFoundError, netrc.NetrcParseError):
        return False


class StepProgressBar(RichProgressBar):
    """A progress bar that speaks of training steps: batches are planned, there are no epochs to count."""

    def _get_train_description(self, current_epoch: int) -> str:
        return "training"

    @property
    def total_train_batches(self) -> int | float:
        return self.trainer.num_training_batches  # the loader is as long as the run


def log_results_to_wandb(folder: Path, name: str, project: str = "hybrid-ir") -> None:
    """Log every CSV file and JSON table as a table, every PNG as an image, and the macro means as a summary.

    Offline unless there is a key, as in training.
    """
    mode = None if has_wandb_key() else "offline"
    with wandb.init(
        project=project,
        name=name,
        dir=str(folder),
        mode=mode,
        job_type="evaluate",
        reinit="create_new",
    ) as run:
        if (folder / "metrics.json").is_file():
            found = json.loads((folder / "metrics.json").read_text())
            run.summary.update(
                {
                    f"{view}/{metric}": value
                    for view, means in found["macro_over_settings"].items()
                    for metric, value in means.items()
                    if value is not None
                }
            )
            columns = list(found["settings"][0]) if found["settings"] else []
            run.log(
                {
                    "settings": wandb.Table(
                        columns, [[row[column] for column in columns] for row in found["settings"]]
                    )
                }
            )
        for path in sorted(folder.glob("*.csv")):
            with open(path, newline="", encoding="utf-8") as file:
                head, *rows = list(csv.reader(file)) or [[]]
            run.log({path.stem: wandb.Table(head, rows)})
        for path in sorted(folder.rglob("*.png")):
            if "wandb" not in path.relative_to(folder).parts:
                run.log({path.stem: wandb.Image(str(path))})
