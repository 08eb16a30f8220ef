"""Sets up a process, and tells its cores and the versions of what it runs on."""

import logging
import os
import subprocess
import warnings
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import hybrid_ir
from hybrid_ir.system.hardware import (
    AUTO,
    CHOSEN_VARIABLE,
    THREADS_VARIABLE,
    choose_threads,
    let_idle_threads_sleep,
)

# The packages whose versions a run notes.
PACKAGES = (
    "hybrid-ir",
    "torch",
    "lightning",
    "transformers",
    "tokenizers",
    "hydra-core",
    "omegaconf",
    "numpy",
    "babel",
    "pyarrow",
)
# Loggers of Lightning's advice about hardware, services and loops that are set up on purpose.
QUIET_LOGGERS = (
    "lightning.pytorch.utilities.rank_zero",
    "lightning.pytorch.accelerators.cuda",
    "lightning.fabric.utilities.distributed",
)
IGNORED_WARNINGS = (
    ".*LeafSpec.*",
    ".*does not have many workers.*",
    ".*smaller than the logging interval.*",
    ".*Total length of .* is zero.*",
    ".*Checkpoint directory .* exists.*",
    ".*callbacks used to create the checkpoint.*",
    ".*The dirpath has changed.*",
    ".*your dataloader is not resumable.*",
    ".*recommended to use .self.log.*sync_dist=True.*",
    ".*.srun. command is available.*",
)


def prepare_libraries() -> None:
    """Sets up the libraries before they are imported.

    Advice and warnings of Lightning about what is done on purpose are hidden, and threads of torch
    sleep while they wait.
    """
    let_idle_threads_sleep()
    for name in QUIET_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in IGNORED_WARNINGS:
        warnings.filterwarnings("ignore", message)


def prepare_process(seed: int, threads: int | str) -> None:
    """Seeds every random generator and sets the number of threads of torch on a CPU.

    Args:
        seed: of numpy, torch and Python.
        threads: of torch, or `auto`, see `choose_threads`.

    Raises:
        ValueError: if a value is no whole number or out of range.
    """
    most_threads = max(64, os.cpu_count() or 1)
    errors = []
    if not _is_whole_number(seed, 0, 2**32 - 1):
        errors.append(f"seed={seed!r} must be a whole number from 0 to {2**32 - 1}")
    if threads != AUTO and not _is_whole_number(threads, 1, most_threads):
        errors.append(
            f"threads={threads!r} must be auto, or a whole number from 1 to {most_threads}"
        )
    if errors:
        raise ValueError("; ".join(errors))
    # Imported here, so that commands that do without torch start in a second.
    import torch
    from lightning import seed_everything

    if threads == AUTO:
        threads = choose_threads(threads)
        if os.environ.get(THREADS_VARIABLE) != str(threads):
            os.environ[CHOSEN_VARIABLE] = "1"
    # Without it, Lightning divides all cores among the processes of a machine.
    os.environ[THREADS_VARIABLE] = str(threads)
    torch.set_num_threads(threads)
    seed_everything(seed, workers=True, verbose=False)


def _is_whole_number(value: int, least: int, most: int) -> bool:
    return type(value) is int and least <= value <= most


def get_installed_version(package: str) -> str | None:
    """Returns the version of an installed package, or None if it is not installed.

    That of hybrid-ir is the version of the code that runs: a clone installed with `pip install -e`
    keeps the metadata of the day of its installation.
    """
    if package == "hybrid-ir":
        return hybrid_ir.__version__
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def read_git_state(folder: Path) -> dict | None:
    """Returns the commit and the uncommitted files of the checkout that a folder belongs to.

    Returns None if the folder is in no checkout, or if there is no git.
    """
    try:
        commit = _run_git(folder, "rev-parse", "HEAD")
        uncommitted = _run_git(folder, "status", "--porcelain")
    except (OSError, subprocess.CalledProcessError):
        return None
    return {"commit": commit, "uncommitted": uncommitted.splitlines()}


def _run_git(folder: Path, *arguments: str) -> str:
    """Returns what a git command prints, without blanks at the ends."""
    command = ["git", "-C", str(folder), *arguments]
    completed = subprocess.run(command, capture_output=True, text=True, check=True)
    return completed.stdout.strip()
