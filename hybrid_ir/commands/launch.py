"""How many processes a run needs, and how each of them starts: train.py with the resolved config of the run."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf

from hybrid_ir.commands import build, shipped
from hybrid_ir.commands.run_names import job_id
from hybrid_ir.processes import FAILURES, Ranks


def processes_to_start(trainer: DictConfig) -> int:
    """1 where this process trains by itself, or is one of several already."""
    if FAILURES in os.environ or job_id() is not None or "LOCAL_RANK" in os.environ:
        return 1
    made = build(trainer)(logger=False, enable_checkpointing=False)
    return made.num_devices if made.strategy.launcher is not None else 1


def ran_in_processes(cfg: DictConfig, folder: Path) -> bool:
    """Where the trainer has several processes on this machine: they do the whole run, and this one has only watched them.

    Raises:
        RanksEnded: one of them failed, or they were asked to stop.
    """
    if (count := processes_to_start(cfg.trainer)) == 1:
        return False
    # a job of one SLURM task that starts its own processes: they are not SLURM's
    ranks = Ranks(count, {"SLURM_NTASKS": "1", "SLURM_JOB_NAME": "interactive"})
    ranks.start(train_command(OmegaConf.to_container(cfg, resolve=True), ranks.folder, folder)).wait()
    return True


def train_command(config: dict[str, Any], place: Path, folder: Path, *more: str) -> Sequence[str]:
    """The command that runs a resolved config, which is written to a place, in a run folder."""
    (place / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return [sys.executable, str(shipped("train.py")), f"--config-dir={place.absolute()}", "--config-name=config",
            f"hydra.run.dir='{folder.absolute()}'", "hydra.output_subdir=null", "hydra/job_logging=none", *more]
