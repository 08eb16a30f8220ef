"""The versions that a result depends on: packages and the commit of the checkout."""

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
    """The version of an installed package, None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def read_git_state(folder: Path) -> dict | None:
    """Commit and uncommitted files of the checkout that a folder belongs to; None outside of git."""
    try:
        commit = run_git(folder, "rev-parse", "HEAD")
        uncommitted = run_git(folder, "status", "--porcelain")
    except (OSError, subprocess.CalledProcessError):
        return None
    return {"commit": commit, "uncommitted": uncommitted.splitlines()}


def run_git(folder: Path, *arguments: str) -> str:
    """What a git command prints, without the blanks at its ends."""
    command = ["git", "-C", str(folder), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.strip()
