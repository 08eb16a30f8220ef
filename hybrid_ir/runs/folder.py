"""What a run leaves behind besides its numbers: resolved config, versions, git state, and files written whole."""

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import yaml
from filelock import FileLock, Timeout

PACKAGES = ("hybrid-ir", "torch", "lightning", "transformers", "tokenizers", "hydra-core", "omegaconf", "numpy", "babel",
            "pyarrow")
SCRATCH_PREFIX = ".hybrid-ir-"  # what the names of folders begin with that a process needs only while it runs


def write_run_description(folder: Path, config: dict) -> None:
    """Write config.yaml (resolved) and versions.json."""
    import torch  # here, since Hydra loads what uses this file whenever it starts
    folder.mkdir(parents=True, exist_ok=True)
    write_text_atomically(folder / "config.yaml", yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
    write_text_atomically(folder / "versions.json", json.dumps(
        {"command": sys.argv, "python": platform.python_version(), "platform": platform.platform(),
         "packages": {name: get_installed_version(name) for name in PACKAGES},
         "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
         "threads": torch.get_num_threads(), "git": read_git_state(Path(__file__).parent)}, indent=2))


def get_installed_version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def read_git_state(folder: Path) -> dict | None:
    """Commit and uncommitted files of the checkout that the code runs from; None outside of git."""
    def git(*arguments: str) -> str:
        return subprocess.run(["git", "-C", folder, *arguments], capture_output=True, text=True, check=True).stdout.strip()
    try:
        return {"commit": git("rev-parse", "HEAD"), "uncommitted": git("status", "--porcelain").splitlines()}
    except (OSError, subprocess.CalledProcessError):
        return None


@contextmanager
def write_atomically(path: Path) -> Iterator[Path]:
    """A place beside `path` to write to, moved there when the block ends well and removed when it does not."""
    beside = path.with_name(f".{path.name}.writing")
    try:
        yield beside
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def require_no_results(out: Path, *results: str) -> None:
    """ValueError, before anything is measured, where `out` holds one of the results already or can be no folder."""
    taken = [str(out / name) for name in results if (out / name).exists()]
    if taken:
        raise ValueError(f"out={out} holds results already ({', '.join(taken)}): nothing is overwritten, give another out=")
    there = next(place for place in (out, *out.absolute().parents) if place.exists())
    if not there.is_dir():
        raise ValueError(f"out={out} can be no folder: {there} is a file. Give another out=")
    if not os.access(there, os.W_OK):
        raise ValueError(f"out={out} cannot be written: no permission to write in {there}. Give another out=")


@contextmanager
def lock_folder(out: Path, wait: float = 0) -> Iterator[None]:
    """The folder for this process alone: what a killed one hid there is cleared, and if it stays empty it is removed.

    Raises:
        ValueError: another process is writing to it, also after so many seconds.
    """
    out.mkdir(parents=True, exist_ok=True)
    file = out / ".lock"
    lock = FileLock(file)
    try:
        lock.acquire(timeout=wait)
    except Timeout as error:
        raise ValueError(f"{out}: another process is writing there: wait for it, or give another folder (out=, or hydra.run.dir= "
                         "of a run)") from error
    try:
        for left in out.glob(f"{SCRATCH_PREFIX}*"):
            shutil.rmtree(left)
        yield
    finally:
        file.unlink(missing_ok=True)
        lock.release()
        if not any(out.iterdir()):  # an error left nothing behind
            out.rmdir()


def write_text_atomically(path: Path, text: str, durable: bool = False) -> None:
    """Write a text so that no reader ever meets half of it; `durable`, not even after the power failed."""
    with write_atomically(path) as beside:
        beside.write_text(text, encoding="utf-8")
        if durable:
            flush_to_disk(beside)


def flush_to_disk(path: Path) -> None:
    """Have on the disk what was written."""
    with open(path, "r+b") as file:
        os.fsync(file.fileno())


def find_checkpoint(place: str | Path | None, choice: str = "best") -> str | None:
    """The checkpoint file of a run folder (`choice` is best or last; last where there is no best), or the file itself.

    Raises:
        ValueError: there is no such file, or no such choice.
    """
    if choice not in ("best", "last"):  # else a slip of the pen would measure the last one
        raise ValueError(f"test_checkpoint={choice!r} must be best or last")
    if place is None:
        return None
    folder = Path(place) / "checkpoints"
    for path in (Path(place), folder / f"{choice}.ckpt", folder / "last.ckpt"):
        if path.is_file():
            return str(path)
    raise ValueError(f"{str(place)!r} is neither a checkpoint nor a run folder with checkpoints/{choice}.ckpt: "
                     "give the path of a run under outputs/ or of a .ckpt file")
