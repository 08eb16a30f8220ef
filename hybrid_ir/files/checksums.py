"""What recognises a file: a checksum of all its bytes, of samples of them, or its size and date."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def compute_sha256(path: Path) -> str:
    """Returns the SHA-256 checksum of a file, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_values(values: Any) -> str:
    """Returns the SHA-256 checksum of plain values, whatever the order of their keys is."""
    text = json.dumps(values, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def hash_file_samples(path: Path, pieces: int = 256, size: int = 1 << 16) -> str:
    """Hashes the size of a file and pieces from all over it.

    This distinguishes trainings of one model without reading gigabytes.

    Args:
        path: the file.
        pieces: how many pieces are read, evenly spread. A file of fewer bytes is read completely.
        size: the bytes of a piece.

    Returns:
        A SHA-256 checksum in hexadecimal digits.
    """
    file_size = path.stat().st_size
    if file_size > pieces * size:
        starts = [piece * (file_size - size) // (pieces - 1) for piece in range(pieces)]
    else:
        starts = range(0, file_size, size)
    digest = hashlib.sha256(str(file_size).encode())
    with open(path, "rb") as file:
        for start in starts:
            file.seek(start)
            digest.update(file.read(size))
    return digest.hexdigest()


def list_file_states(paths: Iterable[Path]) -> list[tuple[str, int, int]]:
    """Returns path, size and time of the last change of each file, by which a change is noticed."""
    states = []
    for path in paths:
        status = path.stat()
        states.append((str(path.resolve()), status.st_size, status.st_mtime_ns))
    return states
