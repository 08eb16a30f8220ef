"""The versions that a result depends on: those of packages, and the commit of the checkout."""

import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

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


def get_installed_version(package: str) -> str | None:
    """Returns the version of an installed package, or None if it is not installed."""
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
