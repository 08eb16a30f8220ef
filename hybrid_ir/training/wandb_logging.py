"""Weights & Biases: a logger that works without a key, and finished results as tables."""

import csv
import json
import netrc
import os
import secrets
from pathlib import Path
from typing import Any

import wandb
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_info, rank_zero_only

from hybrid_ir.files.atomic import write_text_atomically

WANDB_HOST = "api.wandb.ai"
BYTES_OF_RUN_ID = 4


def build_wandb_logger(save_dir: str, offline: bool | None = None, **settings) -> WandbLogger:
    """Builds Lightning's WandbLogger, which is offline, and says so, unless there is a key.

    Args:
        save_dir: the run folder; the files of an offline run are there, for `wandb sync`.
        offline: None to decide by whether WANDB_API_KEY or a login in ~/.netrc exists.
        settings: go to wandb.init.
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
    """Returns the id under which W&B knows a run folder, the same whenever the run goes on there.

    Ranks other than 0 may get an empty id, as they log nothing.
    """
    path = folder / "wandb_id"
    if rank_zero_only.rank == 0 and not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_text_atomically(path, secrets.token_hex(BYTES_OF_RUN_ID))
    return path.read_text() if path.exists() else ""


def has_wandb_key() -> bool:
    """Returns whether an API key of W&B is in WANDB_API_KEY or in ~/.netrc."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return netrc.netrc().authenticators(WANDB_HOST) is not None
    except (FileNotFoundError, netrc.NetrcParseError):
        return False


def log_results_to_wandb(folder: Path, name: str, project: str = "hybrid-ir") -> None:
    """Logs a results folder to W&B, offline unless there is a key, as in training.

    CSV files and the settings of metrics.json become tables, PNG files images, and the macro means
    the summary of the run.

    Args:
        folder: the results.
        name: of the W&B run.
        project: of W&B.
    """
    with wandb.init(
        project=project,
        name=name,
        dir=str(folder),
        mode=None if has_wandb_key() else "offline",
        job_type="evaluate",
        reinit="create_new",
    ) as run:
        if (folder / "metrics.json").is_file():
            metrics = json.loads((folder / "metrics.json").read_text())
            run.summary.update(_list_macro_means(metrics))
            run.log({"settings": _build_settings_table(metrics["settings"])})
        for path in sorted(folder.glob("*.csv")):
            run.log({path.stem: _build_csv_table(path)})
        for path in sorted(folder.rglob("*.png")):
            if "wandb" not in path.relative_to(folder).parts:
                run.log({path.stem: wandb.Image(str(path))})


def _list_macro_means(metrics: dict[str, Any]) -> dict[str, float]:
    """Returns the defined means over the settings of each view, by view and metric."""
    defined = {}
    for view, means in metrics["macro_over_settings"].items():
        for metric, value in means.items():
            if value is not None:
                defined[f"{view}/{metric}"] = value
    return defined


def _build_settings_table(settings: list[dict[str, Any]]) -> wandb.Table:
    columns = list(settings[0]) if settings else []
    rows = []
    for setting in settings:
        rows.append([setting[column] for column in columns])
    return wandb.Table(columns, rows)


def _build_csv_table(path: Path) -> wandb.Table:
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    if not rows:
        return wandb.Table([], [])
    return wandb.Table(rows[0], rows[1:])
