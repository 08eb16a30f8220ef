"""Weights & Biases: a logger that works without a key, and results as runs of their own."""

import csv
import json
import netrc
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import wandb
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_info, rank_zero_only

from hybrid_ir.evaluation.rank_table import VIEWS
from hybrid_ir.evaluation.results import ACROSS_LANGUAGES, LOWER_IS_BETTER, RETRIEVAL
from hybrid_ir.files.atomic import write_text_atomically
from hybrid_ir.system.interruption import REQUEUE_EXIT_CODE

WANDB_HOST = "api.wandb.ai"
BYTES_OF_RUN_ID = 4
# The files of a result folder that are kept as one artifact.
RESULT_FILES = ("metrics.json", "evaluation_card.json", "per_query.parquet")
RESULT_PICTURES = ("heat_map.png", "one_target.png")
TRAINING_PICTURES = ("curves.png",)


class WandbRunLogger(WandbLogger):
    """Lightning's WandbLogger, which also shows the files that a run writes.

    Args:
        log_model: whether the checkpoint that is measured becomes an artifact.
        settings: arguments of WandbLogger and of wandb.init.
    """

    def __init__(self, log_model: bool = False, **settings):
        # Lightning uploads every checkpoint itself, and refuses that where the run is offline.
        super().__init__(log_model=False, **settings)
        self.logs_checkpoint = log_model

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any]) -> None:
        """Adds hyperparameters to the config of the run, and says which values are best."""
        define_best_values(self.experiment)
        super().log_hyperparams(params)

    @rank_zero_only
    def log_batch_card(self, folder: Path) -> None:
        """Adds batch_card.json of a run folder to the config of the run, and keeps the file."""
        path = folder / "batch_card.json"
        card = json.loads(path.read_text(encoding="utf-8"))
        self.experiment.config.update({"batch_card": card}, allow_val_change=True)
        log_artifact(self.experiment, "batch_card", folder, [path.name])

    @rank_zero_only
    def log_training(self, folder: Path) -> None:
        """Shows the pictures that a training has written into its folder."""
        log_pictures(self.experiment, folder, TRAINING_PICTURES)

    @rank_zero_only
    def log_results(self, folder: Path) -> None:
        """Shows the pictures, tables and files that a measurement has written into a folder."""
        log_result_files(self.experiment, folder)

    @rank_zero_only
    def log_checkpoint(self, path: Path, choice: str) -> None:
        """Keeps a checkpoint as an artifact, if that was asked for.

        Args:
            path: the file of the checkpoint.
            choice: best or last; it becomes an alias of the artifact.
        """
        if not self.logs_checkpoint:
            return
        run = self.experiment
        artifact = wandb.Artifact(f"checkpoint-{run.id}", type="model")
        # Not copied first, as it may be large and the training has ended.
        artifact.add_file(str(path), name=path.name, policy="immutable")
        run.log_artifact(artifact, aliases=["latest", choice])

    @rank_zero_only
    def finish(self, exit_code: int) -> None:
        """Ends the run on W&B; otherwise another run of this process would be logged to it.

        Args:
            exit_code: 0 for a run that is complete, REQUEUE_EXIT_CODE for one that was asked to
                stop, which an agent of a W&B sweep then starts again.
        """
        if self._experiment is None:
            return
        if exit_code == REQUEUE_EXIT_CODE:
            self._experiment.mark_preempting()
        self._experiment.finish(exit_code)


def build_wandb_logger(
    save_dir: str, offline: bool | None = None, log_model: bool = False, **settings
) -> WandbRunLogger:
    """Builds the logger of a run, which is offline, and says so, unless there is a key.

    Args:
        save_dir: the run folder; the files of an offline run are there, for `wandb sync`.
        offline: None to decide by whether WANDB_API_KEY or a login in ~/.netrc exists.
        log_model: whether the checkpoint that is measured becomes an artifact.
        settings: go to wandb.init.
    """
    if offline is None:
        offline = os.environ.get("WANDB_MODE") != "online" and not has_wandb_key()
        if offline:
            rank_zero_info(
                "wandb: no API key found, so this run is logged offline; upload it with: "
                f"wandb sync {save_dir}/wandb/offline-*"
            )
    return WandbRunLogger(
        log_model=log_model,
        save_dir=save_dir,
        offline=offline,
        id=get_wandb_id(Path(save_dir)),
        resume="allow",
        **settings,
    )


def get_wandb_id(folder: Path) -> str:
    """Returns the id under which W&B knows a run folder, the same whenever the run goes on there.

    An agent of a W&B sweep has chosen the id already, and takes no other.
    Ranks other than 0 may get an empty id, as they log nothing.
    """
    path = folder / "wandb_id"
    agent_id = os.environ.get("WANDB_RUN_ID") if "WANDB_SWEEP_ID" in os.environ else None
    if rank_zero_only.rank == 0 and (agent_id or not path.exists()):
        folder.mkdir(parents=True, exist_ok=True)
        write_text_atomically(path, agent_id or secrets.token_hex(BYTES_OF_RUN_ID))
    return path.read_text() if path.exists() else ""


def has_wandb_key() -> bool:
    """Returns whether an API key of W&B is in WANDB_API_KEY or in ~/.netrc."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return netrc.netrc().authenticators(WANDB_HOST) is not None
    except (FileNotFoundError, netrc.NetrcParseError):
        return False


def define_best_values(run: wandb.Run) -> None:
    """Has the summary of a run hold the best value of each validation measure beside the last."""
    run.define_metric("val/loss", summary="min,last")
    for view in VIEWS:
        metrics = (*RETRIEVAL, *ACROSS_LANGUAGES) if view == "multi" else RETRIEVAL
        for metric in metrics:
            best = "min" if metric in LOWER_IS_BETTER else "max"
            run.define_metric(f"val/{view}/{metric}", summary=f"{best},last")


def log_results_to_wandb(
    folder: Path,
    name: str,
    config: Mapping[str, Any],
    group: str | None = None,
    job_type: str = "evaluate",
    project: str = "hybrid-ir",
) -> None:
    """Logs a folder of results as a run of its own, offline unless there is a key, as in training.

    The means have the keys that a training gives them, such as `test/mono/map`. All CSV files
    become tables, and all PNG files images.

    Args:
        folder: the results.
        name: of the W&B run.
        config: what was asked for, as plain values.
        group: runs that belong together.
        job_type: what kind of run it is.
        project: of W&B.
    """
    with wandb.init(
        project=project,
        name=name,
        group=group,
        config=dict(config),
        dir=str(folder),
        mode=None if has_wandb_key() else "offline",
        job_type=job_type,
        reinit="create_new",
    ) as run:
        if (folder / "metrics.json").is_file():
            metrics = json.loads((folder / "metrics.json").read_text())
            run.log(_list_test_values(metrics))
            log_result_files(run, folder)
        for path in sorted(folder.glob("*.csv")):
            run.log({path.stem: _build_csv_table(path)})
        for path in sorted(folder.rglob("*.png")):
            is_shown = path.parent == folder and path.name in RESULT_PICTURES
            if not is_shown and "wandb" not in path.relative_to(folder).parts:
                run.log({path.stem: wandb.Image(str(path))})


def log_rows_to_wandb(
    folder: Path, name: str, key: str, rows: list[dict[str, Any]], project: str, group: str
) -> None:
    """Logs a table as a run of its own, such as the table of the jobs of a sweep.

    The next table of the same folder takes its place.

    Args:
        folder: for the files of the run.
        name: of the W&B run.
        key: of the table.
        rows: of the table; a column is empty in a row that lacks its key.
        project: of W&B.
        group: runs that belong together.
    """
    with wandb.init(
        project=project,
        name=name,
        group=group,
        dir=str(folder),
        mode=None if has_wandb_key() else "offline",
        job_type=key,
        id=get_wandb_id(folder),
        resume="allow",
        reinit="create_new",
    ) as run:
        run.log({key: _build_rows_table(rows)})


def log_result_files(run: wandb.Run, folder: Path) -> None:
    """Logs the pictures of a result folder, a table of its settings, and its files."""
    metrics = json.loads((folder / "metrics.json").read_text())
    run.log({"settings": _build_rows_table(metrics["settings"])})
    log_pictures(run, folder, RESULT_PICTURES)
    log_artifact(run, "results", folder, RESULT_FILES)


def log_pictures(run: wandb.Run, folder: Path, names: Sequence[str]) -> None:
    """Logs those of some pictures that a folder holds."""
    for name in names:
        path = folder / name
        if path.is_file():
            run.log({path.stem: wandb.Image(str(path))})


def log_artifact(run: wandb.Run, kind: str, folder: Path, names: Sequence[str]) -> None:
    """Keeps those of some files that a folder holds as one artifact of a run."""
    artifact = wandb.Artifact(f"{kind}-{run.id}", type=kind)
    for name in names:
        path = folder / name
        if path.is_file():
            artifact.add_file(str(path), name=name)
    run.log_artifact(artifact)


def _list_test_values(metrics: dict[str, Any]) -> dict[str, float]:
    """Returns the loss and the means over settings that are defined, under a training's keys."""
    defined = {}
    if metrics.get("loss") is not None:
        defined["test/loss"] = metrics["loss"]
    for view, means in metrics["macro_over_settings"].items():
        for metric, value in means.items():
            if value is not None:
                defined[f"test/{view}/{metric}"] = value
    return defined


def _build_rows_table(rows: list[dict[str, Any]]) -> wandb.Table:
    columns: dict[str, None] = {}
    for row in rows:
        columns.update(dict.fromkeys(row))
    cells = []
    for row in rows:
        cells.append([row.get(column) for column in columns])
    # A column may hold numbers in one row and a text in another.
    return wandb.Table(list(columns), cells, allow_mixed_types=True)


def _build_csv_table(path: Path) -> wandb.Table:
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    if not rows:
        return wandb.Table([], [])
    return wandb.Table(rows[0], rows[1:])
