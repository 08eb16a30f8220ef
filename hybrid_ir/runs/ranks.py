"""How many processes a run needs, and how they start: train.py with the resolved config."""

import os
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from hybrid_ir.runs.building import build
from hybrid_ir.runs.folder import lock_folder
from hybrid_ir.runs.identity import find_cluster_job_id
from hybrid_ir.runs.jobs import Job, build_train_command
from hybrid_ir.runs.session import TAKEOVER_SECONDS
from hybrid_ir.system.processes import FAILURE_FOLDER_VARIABLE, Ranks


def count_processes_to_start(trainer: DictConfig) -> int:
    """Counts the processes that a run has on this machine and that are still to be started.

    Args:
        trainer: the config of the trainer.

    Returns:
        1 if this process trains by itself, or if it is one of several already.

    Raises:
        ValueError: the trainer wants several machines, which this process cannot start.
    """
    if _is_one_of_several():
        return 1
    if "SLURM_NTASKS" in os.environ:
        # A job of one task: the processes that we start are no tasks of SLURM, and Lightning does
        # not look for such tasks in an interactive job.
        os.environ["SLURM_JOB_NAME"] = "interactive"
    probe = build(trainer)(logger=False, enable_checkpointing=False)
    if probe.num_nodes > 1:
        raise ValueError(
            f"trainer.num_nodes={probe.num_nodes}: processes of several machines are started by "
            "torchrun or srun, see docs/scaling.md"
        )
    starts_processes = probe.strategy.launcher is not None
    return probe.num_devices if starts_processes else 1


def _is_one_of_several() -> bool:
    return (
        FAILURE_FOLDER_VARIABLE in os.environ
        or "LOCAL_RANK" in os.environ
        or find_cluster_job_id() is not None
    )


def run_in_processes(cfg: DictConfig, folder: Path) -> bool:
    """Runs an experiment in other processes, where it needs them, and watches these.

    A job of a sweep is a process of its own, whichever launcher of Hydra starts it. A trainer with
    several devices has a process for each.

    Args:
        cfg: the whole config of the run.
        folder: the run folder.

    Returns:
        True if the experiment was run and nothing is left to do for this process.

    Raises:
        RanksEnded: one of the ranks failed, or they were asked to stop.
        ValueError: a job of a sweep failed.
    """
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        Job.from_config(cfg, folder, HydraConfig.get().overrides.task).run()
        return True
    count = count_processes_to_start(cfg.trainer)
    if count == 1:
        return False
    with lock_folder(folder, TAKEOVER_SECONDS):
        ranks = Ranks(count)
        config = OmegaConf.to_container(cfg, resolve=True)
        ranks.start(build_train_command(config, ranks.folder, folder))
        ranks.wait()
    return True
