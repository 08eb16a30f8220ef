"""Writes files and folders so that no reader ever meets half of one."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

# Names of folders that a process needs only while it runs begin with this.
SCRATCH_PREFIX = ".hybrid-ir-"


@contextmanager
def write_atomically(path: Path, durable: bool = False) -> Iterator[Path]:
    """Yields a temporary path to write a file to, and moves the file to `path` after the block.

    No reader ever meets half a file, and nothing is left behind when the block raises. What a
    killed process has left under the temporary name is overwritten, so processes that write the
    same path at the same time must hold a lock.

    Args:
        path: where the file shall be. An existing file is replaced.
        durable: whether to wait until the bytes are on the disk before the move, so that a power
            failure cannot leave an empty file under the final name.
    """
    temporary = path.with_name(f".{path.name}.writing")
    try:
        yield temporary
        if durable:
            flush_to_disk(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def write_folder_atomically(folder: Path) -> Iterator[Path]:
    """Yields an empty temporary folder to fill, and moves it to `folder` after the block.

    An existing folder is replaced. What a killed process has left under the temporary name is
    deleted first, so processes that write the same folder at the same time must hold a lock.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".{folder.name}.writing")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        shutil.rmtree(folder, ignore_errors=True)
        os.rename(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def require_new_folder(folder: Path) -> None:
    """Raises ValueError unless a folder can be made, and replaces nothing.

    Args:
        folder: the value of the key `to`.
    """
    if folder.exists() or folder.is_symlink():
        raise ValueError(f"to={folder} exists: nothing is overwritten, give another to=")
    parent = folder.absolute().parent
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir():
        raise ValueError(f"to={folder} can be no folder: {parent} is a file. Give another to=")
    if not os.access(parent, os.W_OK):
        raise ValueError(
            f"to={folder} cannot be written: no permission to write in {parent}. Give another to="
        )


@contextmanager
def hold_new_folder(folder: Path) -> Iterator[None]:
    """Holds the name of a new folder for this process, for a block that writes it.

    Args:
        folder: the value of the key `to`.

    Raises:
        ValueError: another process holds the name, or the folder exists.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    path = folder.with_name(f".{folder.name}.lock")
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise ValueError(f"to={folder}: another process is writing there, give another") from error
    try:
        require_new_folder(folder)  # another process may have been there before this one
        yield
    finally:
        path.unlink(missing_ok=True)
        lock.release()


def write_text_atomically(path: Path, text: str, durable: bool = False) -> None:
    """Writes a text file in UTF-8 with `write_atomically`."""
    with write_atomically(path, durable) as temporary:
        temporary.write_text(text, encoding="utf-8")


def flush_to_disk(path: Path) -> None:
    """Waits until the bytes of a file are on the disk and not only in the memory of the system."""
    with open(path, "r+b") as file:
        os.fsync(file.fileno())


def flush_folder_to_disk(folder: Path) -> None:
    """Waits until the names of the files of a folder are on the disk, on systems that can do so."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_DIRECTORY)
    os.fsync(descriptor)
    os.close(descriptor)
