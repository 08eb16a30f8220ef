"""Names of run and sweep folders that are the same whenever the same experiment is started again."""

import hashlib
import json
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

# what decides where and how fast an experiment runs, not which one it is: with these changed it goes on in its folder
ELSEWHERE = {"hydra", "paths", "logger", "resume", "threads", "cache_gradients"}
MACHINE = {
    "devices",
    "num_nodes",
    "accelerator",
    "strategy",
    "plugins",
    "num_workers",
    "cache",
    "refresh_rate",
    "fused",
    "every_n_train_steps",
    "profiler",
    "tokens_per_slice",
    "gradient_checkpointing",
    "enable_model_summary",
}
DIGITS = 8


def register_resolvers() -> None:
    """`${run_folder:PARENT}`, `${sweep_folder:PARENT}` and `${config_hash:}` for conf/hydra."""
    OmegaConf.register_new_resolver(
        "run_folder",
        lambda parent, _root_: choose_run_folder(
            parent, hash_config(_root_), OmegaConf.select(_root_, "resume") == "auto"
        ),
        replace=True,
    )
    OmegaConf.register_new_resolver("config_hash", lambda _root_: hash_config(_root_), replace=True)
    OmegaConf.register_new_resolver(
        "sweep_folder",
        lambda parent, _root_: f"{parent}/{hash_plain_values(list(_root_.hydra.overrides.task))}",
        replace=True,
    )


def hash_config(cfg: DictConfig) -> str:
    """Of all that makes an experiment, before interpolations: they point to what is hashed itself, or to a machine's paths."""
    plain = OmegaConf.to_container(cfg, resolve=False)
    return hash_plain_values(
        {key: select_experiment_keys(value) for key, value in plain.items() if key not in ELSEWHERE}
    )


def select_experiment_keys(node: Any) -> Any:
    if isinstance(node, dict):
        return {
            key: select_experiment_keys(value) for key, value in node.items() if key not in MACHINE
        }
    return [select_experiment_keys(value) for value in node] if isinstance(node, list) else node


def hash_plain_values(plain: Any) -> str:
    return hashlib.sha256(json.dumps(plain, sort_keys=True, default=str).encode()).hexdigest()[
        :DIGITS
    ]


@cache  # Hydra asks again when the folder is there
def choose_run_folder(parent: str, name: str, resume: bool) -> str:
    """The newest folder of the experiment to go on in, or one that nobody has used.

    Ranks that a cluster starts cannot look at the disk one after the other: they take the id of their job.
    """
    if job := find_cluster_job_id():
        return f"{parent}/{name}" if resume or job == "none" else f"{parent}/{name}-{job}"
    attempt = 1

    def folder(number: int) -> str:
        return f"{parent}/{name}" + (f"-{number}" if number > 1 else "")

    while Path(folder(attempt)).exists():
        attempt += 1
    return folder(attempt - 1 if resume and attempt > 1 else attempt)


def find_cluster_job_id() -> str | None:
    """Of the cluster's job, where a cluster's launcher starts several processes: SLURM's or torchrun's."""
    if int(os.environ.get("SLURM_NTASKS", "1")) > 1:
        return os.environ.get("SLURM_JOB_ID", "none")
    return os.environ.get("TORCHELASTIC_RUN_ID")


SAMPLER_NUMBERS = {
    "x_x_mono": (1.0, "batch"),
    "x_y": (0.0, "batch"),
    "hybrid": (0.5, "batch"),
    "x_x": (1.0, "example"),
    "hybrid_example": (0.5, "example"),
    "en_en": (1.0, "batch"),
}  # monolingual_share and level


def name_sampler(
    monolingual_share: float, level: str, languages: Sequence[str] | None = None
) -> str:
    """As in conf/sampler: `hybrid` and `hybrid_example` at any share between 0 and 1, `en_en` for English alone."""
    if list(languages or ()) == ["en"]:
        return "en_en"
    if monolingual_share == 0:
        return "x_y"  # no example is monolingual, whoever draws
    exact = (
        name for name, numbers in SAMPLER_NUMBERS.items() if numbers == (monolingual_share, level)
    )
    return next(exact, "hybrid" if level == "batch" else "hybrid_example")
