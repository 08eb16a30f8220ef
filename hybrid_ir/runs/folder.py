"""What a run leaves behind besides its numbers: resolved config, versions, git state, and files written whole."""

import json
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml
from filelock import FileLock, Timeout

from hybrid_ir.files.atomic import SCRATCH_PREFIX, write_text_atomically
from hybrid_ir.system.versions import PACKAGES, get_installed_version, read_git_state


def write_run_description(folder: Path, config: dict) -> None:
    """Write config.yaml (resolved) and versions.json."""
    import torch  # here, since Hydra loads what uses this file whenever it starts

    folder.mkdir(parents=True, exist_ok=True)
    write_text_atomically(
        folder / "config.yaml", yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
    )
    write_text_atomically(
        folder / "versions.json",
        json.dumps(
            {
                "command": sys.argv,
                "python": platform.python_version(),
                "platform": platform.platform(),
                "packages": {name: get_installed_version(name) for name in PACKAGES},
                "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
                "threads": torch.get_num_threads(),
                "git": read_git_state(Path(__file__).parent),
            },
            indent=2,
        ),
    )


def require_no_results(out: Path, *results: str) -> None:
    """ValueError, before anything is measured, where `out` holds one of the results already or can be no folder."""
    taken = [str(out / name) for name in results if (out / name).exists()]
    if taken:
        raise ValueError(
            f"out={out} holds results already ({', '.join(taken)}): nothing is overwritten, give another out="
        )
    there = next(place for place in (out, *out.absolute().parents) if place.exists())
    if not there.is_dir():
        raise ValueError(f"out={out} can be no folder: {there} is a file. Give another out=")
    if not os.access(there, os.W_OK):
        raise ValueError(
            f"out={out} cannot be written: no permission to write in {there}. Give another out="
        )


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
        raise ValueError(
            f"{out}: another process is writing there: wait for it, or give another folder (out=, or hydra.run.dir= "
            "of a run)"
        ) from error
    try:
        for left in out.glob(f"{SCRATCH_PREFIX}*"):
            shutil.rmtree(left)
        yield
    finally:
        file.unlink(missing_ok=True)
        lock.release()
        if not any(out.iterdir()):  # an error left nothing behind
            out.rmdir()


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
    raise ValueError(
        f"{str(place)!r} is neither a checkpoint nor a run folder with checkpoints/{choice}.ckpt: "
        "give the path of a run under outputs/ or of a .ckpt file"
    )
