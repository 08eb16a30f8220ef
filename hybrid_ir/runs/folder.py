"""The folder of a run: its lock, its description, and the checkpoints in it."""

import json
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from hybrid_ir.files.atomic import SCRATCH_PREFIX, write_text_atomically
from hybrid_ir.system.environment import PACKAGES, get_installed_version, read_git_state

# What every run writes into its folder before it builds anything.
START_FILES = {
    ".hydra",
    ".lock",
    "config.json",
    "config.yaml",
    "content.json",
    "encoder",
    "train.log",
    "versions.json",
    "wandb_id",
}


def write_config(folder: Path, config: dict[str, Any]) -> None:
    """Writes a resolved config, as plain values, to config.yaml of an existing folder."""
    text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
    write_text_atomically(folder / "config.yaml", text)


def write_run_description(folder: Path, config: dict[str, Any]) -> None:
    """Writes what a run is made of: its resolved config to config.yaml, versions to versions.json.

    Args:
        folder: the run folder, which is created if necessary.
        config: the resolved config as plain values.
    """
    import torch  # Here, since Hydra loads this file at every start.

    folder.mkdir(parents=True, exist_ok=True)
    write_config(folder, config)
    versions = {
        "command": sys.argv,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: get_installed_version(name) for name in PACKAGES},
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "threads": torch.get_num_threads(),
        "git": read_git_state(Path(__file__).parent),
    }
    write_text_atomically(folder / "versions.json", json.dumps(versions, indent=2))


def describe_other_versions(folder: Path) -> str:
    """Says which packages a run used in other versions than those installed here.

    Args:
        folder: of the run.

    Returns:
        A part of a sentence; "" where nothing differs or nobody knows.
    """
    try:
        packages = json.loads((folder / "versions.json").read_text(encoding="utf-8"))["packages"]
        used = sorted(packages.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return ""
    differences = []
    for name, version in used:
        installed = get_installed_version(name)
        if installed != version:
            differences.append(f"{name} {version}, here {installed}")
    if not differences:
        return ""
    return f" (its run used other versions: {'; '.join(differences)})"


def require_no_results(out: Path, *results: str) -> None:
    """Checks, before anything is measured, that results can be written and replace nothing.

    Args:
        out: the folder of the results; it need not exist yet.
        results: the files that will be written, relative to the folder.

    Raises:
        ValueError: the folder holds one of the results, is a file, or cannot be written to.
    """
    present = [str(out / name) for name in results if (out / name).exists()]
    if present:
        raise ValueError(
            f"out={out} holds results already ({', '.join(present)}): nothing is overwritten, "
            "give another out="
        )
    existing = out
    while not existing.exists():
        existing = existing.absolute().parent
    if not existing.is_dir():
        raise ValueError(f"out={out} can be no folder: {existing} is a file. Give another out=")
    if not os.access(existing, os.W_OK):
        raise ValueError(
            f"out={out} cannot be written: no permission to write in {existing}. Give another out="
        )


@contextmanager
def lock_folder(folder: Path, wait_seconds: float = 0) -> Iterator[None]:
    """Holds a folder for this process alone.

    Scratch folders that a killed process left there are deleted first. At the end the folder is
    removed if it is empty, so that an error leaves nothing behind.

    Args:
        folder: the folder, which is created if necessary.
        wait_seconds: how long to wait for another process that holds the folder.

    Raises:
        ValueError: another process still holds the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock_file = folder / ".lock"
    lock = FileLock(lock_file)
    try:
        lock.acquire(timeout=wait_seconds)
    except Timeout as error:
        raise ValueError(
            f"{folder}: another process is writing there: wait for it, or give another folder "
            "(out=, or hydra.run.dir= of a run)"
        ) from error
    try:
        for scratch in folder.glob(f"{SCRATCH_PREFIX}*"):
            shutil.rmtree(scratch)
        yield
    finally:
        lock_file.unlink(missing_ok=True)
        lock.release()
        if not any(folder.iterdir()):
            folder.rmdir()


def find_checkpoint(place: str | Path | None, choice: str = "best") -> str | None:
    """Finds the file of a checkpoint.

    Args:
        place: a run folder or a checkpoint file; None for no checkpoint.
        choice: which checkpoint of a run folder, best or last. The last one is taken where there
            is no best one.

    Returns:
        The path of the file, or None if the place is None.

    Raises:
        ValueError: the place has no such checkpoint, or the choice does not exist.
    """
    require_checkpoint_choice(choice)
    if place is None:
        return None
    folder = Path(place) / "checkpoints"
    for path in (Path(place), folder / f"{choice}.ckpt", folder / "last.ckpt"):
        if path.is_file():
            return str(path)
    raise ValueError(
        f"{str(place)!r} is neither a checkpoint nor a run folder with "
        f"checkpoints/{choice}.ckpt: give the path of a run under outputs/ or of a .ckpt file"
    )


def require_checkpoint_choice(choice: str) -> None:
    """Raises ValueError if `test_checkpoint` is neither best nor last."""
    if choice not in ("best", "last"):
        raise ValueError(f"test_checkpoint={choice!r} must be best or last")


def remove_refused_run(folder: Path, output_folder: Path) -> None:
    """Removes the folder of a run that was refused before it did anything.

    A folder with anything but what every run writes at its start is left as it is.

    Args:
        folder: of the run.
        output_folder: folders between this one and that of the run go as well if they are empty.
    """
    if not folder.is_dir():
        return
    names = {path.name for path in folder.iterdir()}
    if names <= START_FILES:
        shutil.rmtree(folder, ignore_errors=True)
        for parent in folder.absolute().parents:
            is_below = output_folder.absolute() in parent.parents
            if not is_below or any(parent.iterdir()):
                break
            parent.rmdir()
