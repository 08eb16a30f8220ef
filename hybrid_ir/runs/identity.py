"""Names of run and sweep folders, which are the same whenever the same experiment is started."""

import os
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from hybrid_ir.files.checksums import hash_values
from hybrid_ir.system.experiment_keys import distinguishes_runs

HASH_DIGITS = 8


def register_resolvers() -> None:
    """Registers the resolvers of run names: `run_folder`, `sweep_folder` and `config_hash`."""
    OmegaConf.register_new_resolver("run_folder", _resolve_run_folder, replace=True)
    OmegaConf.register_new_resolver("sweep_folder", _resolve_sweep_folder, replace=True)
    OmegaConf.register_new_resolver("config_hash", _resolve_config_hash, replace=True)


# OmegaConf passes the whole config to a resolver by the name _root_.
def _resolve_run_folder(parent: str, _root_: DictConfig) -> str:
    resume = OmegaConf.select(_root_, "resume") == "auto"
    return choose_run_folder(parent, hash_config(_root_), resume)


def _resolve_sweep_folder(parent: str, _root_: DictConfig) -> str:
    overrides = list(_root_.hydra.overrides.task)
    return f"{parent}/{hash_values(overrides)[:HASH_DIGITS]}"


def _resolve_config_hash(_root_: DictConfig) -> str:
    return hash_config(_root_)


def hash_config(cfg: DictConfig) -> str:
    """Hashes all keys of a config that make another run; see `hybrid_ir.system.experiment_keys`.

    Interpolations are not resolved: they point to what is hashed itself, or to paths of a machine.
    """
    config = OmegaConf.to_container(cfg, resolve=False)
    return hash_values(_select_run_keys(config))[:HASH_DIGITS]


def _select_run_keys(node: Any) -> Any:
    if isinstance(node, dict):
        return {
            key: _select_run_keys(value) for key, value in node.items() if distinguishes_runs(key)
        }
    if isinstance(node, list):
        return [_select_run_keys(value) for value in node]
    return node


@cache  # Hydra asks again when the folder exists, and must get the same answer.
def choose_run_folder(parent: str, name: str, resume: bool) -> str:
    """Chooses the folder of a run.

    The ranks that a cluster starts cannot look at the disk one after the other, so they take the
    id of their job instead of the next unused number.

    Args:
        parent: the folder of all runs of this kind.
        name: the name of the run, a hash of its config.
        resume: whether to go on in the newest folder of that name.

    Returns:
        The newest folder of that name if the run shall be resumed, else one that nobody has used.
    """
    job = find_cluster_job_id()
    if job is not None:
        is_named_by_config = resume or job == "none"
        return f"{parent}/{name}" if is_named_by_config else f"{parent}/{name}-{job}"
    newest = None
    unused = f"{parent}/{name}"
    attempt = 1
    while Path(unused).exists():
        newest = unused
        attempt += 1
        unused = f"{parent}/{name}-{attempt}"
    if resume and newest is not None:
        return newest
    return unused


def find_cluster_job_id() -> str | None:
    """Finds the id of the job if SLURM or torchrun started several processes of this program.

    Returns:
        The id, `none` if the launcher gives its job no id, and None without such a launcher.
    """
    if int(os.environ.get("SLURM_NTASKS", "1")) > 1:
        return os.environ.get("SLURM_JOB_ID", "none")
    return os.environ.get("TORCHELASTIC_RUN_ID")
