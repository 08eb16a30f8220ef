"""What a run leaves behind besides its numbers: resolved config, versions, git state, and files written whole."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
import yaml

PACKAGES = ("hybrid-ir", "torch", "lightning", "transformers", "tokenizers", "hydra-core", "omegaconf", "numpy", "babel",
            "pyarrow")


def describe_run(folder: Path, config: dict) -> None:
    """Write config.yaml (resolved) and versions.json."""
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "config.yaml", yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
    write_whole(folder / "versions.json", json.dumps(
        {"command": sys.argv, "python": platform.python_version(), "platform": platform.platform(),
         "packages": {name: installed_version(name) for name in PACKAGES},
         "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
         "threads": torch.get_num_threads(), "git": git_state(Path(__file__).parent)}, indent=2))


def installed_version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def git_state(folder: Path) -> dict | None:
    """Commit and uncommitted files of the checkout that the code runs from; None outside of git."""
    def git(*arguments: str) -> str:
        return subprocess.run(["git", "-C", folder, *arguments], capture_output=True, text=True, check=True).stdout.strip()
    try:
        return {"commit": git("rev-parse", "HEAD"), "uncommitted": git("status", "--porcelain").splitlines()}
    except (OSError, subprocess.CalledProcessError):
        return None


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A place beside `path` to write to, moved there when the block ends well and removed when it does not."""
    beside = path.with_name(f".{path.name}.writing")
    try:
        yield beside
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def write_whole(path: Path, text: str) -> None:
    """Write a text so that no reader ever meets half of it."""
    with whole(path) as beside:
        beside.write_text(text, encoding="utf-8")


def checkpoint_file(place: str | Path | None, choice: str = "best") -> str | None:
    """The checkpoint file of a run folder (`choice` is best or last; last where there is no best), or the file itself.

    Raises:
        ValueError: there is no such file.
    """
    if place is None:
        return None
    folder = Path(place) / "checkpoints"
    for path in (Path(place), folder / f"{choice}.ckpt", folder / "last.ckpt"):
        if path.is_file():
            return str(path)
    raise ValueError(f"ckpt_path={str(place)!r} is neither a checkpoint nor a run folder with checkpoints/{choice}.ckpt: "
                     "give the path of a run under outputs/ or of a .ckpt file")
