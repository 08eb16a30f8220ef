"""How many processes a run needs, and how each of them starts: train.py with the resolved config of the run."""

import os
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from hybrid_ir.runs.building import build
from hybrid_ir.runs.folder import lock_folder
from hybrid_ir.runs.identity import find_cluster_job_id
from hybrid_ir.runs.jobs import Job, build_train_command
from hybrid_ir.runs.session import TAKEOVER
from hybrid_ir.system.processes import FAILURE_FOLDER_VARIABLE, Ranks


def count_processes_to_start(trainer: DictConfig) -> int:
    """1 where this process trains by itself, or is one of several already."""
    if (
        FAILURE_FOLDER_VARIABLE in os.environ
        or find_cluster_job_id() is not None
        or "LOCAL_RANK" in os.environ
    ):
        return 1
    if (
        "SLURM_NTASKS" in os.environ
    ):  # of one task: what it starts are no tasks that Lightning should wait for
        os.environ["SLURM_JOB_NAME"] = "interactive"
    made = build(trainer)(logger=False, enable_checkpointing=False)
    if made.num_nodes > 1:
        raise ValueError(
            f"trainer.num_nodes={made.num_nodes}: processes of several machines are started by torchrun or srun, "
            "see docs/scaling.md"
        )
    return made.num_devices if made.strategy.launcher is not None else 1


def run_in_processes(cfg: DictConfig, folder: Path) -> bool:
    """Where a run is left to other processes, and this one has only watched them.

    The jobs of a sweep, whichever launcher starts them, are processes of their own; so are the ranks of a trainer that has
    several on this machine.

    Raises:
        RanksEnded: one of the ranks failed, or they were asked to stop.
        ValueError: a job of a sweep failed.
    """
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        Job.of(cfg, folder, HydraConfig.get().overrides.task).run()
        return True
    if (count := count_processes_to_start(cfg.trainer)) == 1:
        return False
    with lock_folder(folder, wait=TAKEOVER):
        ranks = Ranks(count)
        ranks.start(
            build_train_command(OmegaConf.to_container(cfg, resolve=True), ranks.folder, folder)
        ).wait()
    return True
