"""The files of a data set: where they come from, which are here, and whether they are the right ones."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, urlsplit

import httpx
from filelock import FileLock
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from hybrid_ir.files.download import (
    HUB,
    ShowProgress,
    build_authorization,
    compute_sha256,
    download,
)

LOCK = "files.json"
BY_HAND = "put here by hand"


@dataclass(frozen=True)
class RemoteFile:
    """A file of a data set at a pinned revision; size and sha256 are those of the release, where known."""

    path: str  # in the folder of the data set
    url: str
    size: int | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class FileCheck:
    """What verify found of a file."""

    path: str
    status: str  # ok, no known checksum, missing, wrong size, wrong sha256
    detail: str = ""

    @property
    def wrong(self) -> bool:
        return self.status in ("missing", "wrong size", "wrong sha256")


def hub_file(repository: str, revision: str, path: str) -> RemoteFile:
    """A file of a data set of the Hugging Face hub, or of the server named by HF_ENDPOINT."""
    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or HUB
    return RemoteFile(path, f"{endpoint}/datasets/{repository}/resolve/{revision}/{path}")


def list_hub_files(repository: str, revision: str) -> list[str]:
    """The paths in a data set of the hub; ValueError where it does not tell."""
    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or HUB
    url = f"{endpoint}/api/datasets/{repository}/tree/{quote(revision, safe='')}?recursive=true"
    try:
        answer = httpx.get(
            url, follow_redirects=True, timeout=60, headers=build_authorization(url)
        ).raise_for_status()
        return [entry["path"] for entry in answer.json() if entry["type"] == "file"]
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{url} does not list the files ({error}): check the name and the revision, or give paths without *"
        ) from error


def github_file(
    repository: str,
    revision: str,
    path: str,
    place: str | None = None,
    size: int | None = None,
    sha256: str | None = None,
) -> RemoteFile:
    """A file of a GitHub repository; `place` is its path here, if another."""
    return RemoteFile(
        place or path,
        f"https://raw.githubusercontent.com/{repository}/{revision}/{path}",
        size,
        sha256,
    )


def replace_server(url: str, mirror: str | None) -> str:
    """The URL at a mirror, a server with the same paths."""
    if mirror is None:
        return url
    if urlsplit(mirror).scheme not in ("http", "https") or not urlsplit(mirror).netloc:
        raise ValueError(
            f"mirror={mirror} must be the address of a server, like https://mirror.example.org"
        )
    return mirror.rstrip("/") + urlsplit(url).path


def fetch_files(
    files: Sequence[RemoteFile], folder: Path, mirror: str | None = None, pause: float = 1.0
) -> list[str]:
    """Get the files that are missing, keep a lock of all (`files.json`), and return the paths that were got.

    Nothing that is there is overwritten: ValueError names every file of another size than released, locked or known.
    """
    if outside := [
        file.path
        for file in files
        if Path(file.path).is_absolute() or ".." in Path(file.path).parts
    ]:
        raise ValueError(f"{', '.join(outside)}: no path in the folder of a data set")
    folder.mkdir(parents=True, exist_ok=True)
    got = []
    with FileLock(folder / ".fetch.lock"):  # a second process waits, and then finds everything here
        locked = read_file_list(folder)
        wrong = [
            verdict
            for file in files
            if (folder / file.path).exists()
            and (verdict := check_file(file, folder, locked, hashed=False)).wrong
        ]
        if wrong:
            lines = "\n  ".join(
                f"{folder / verdict.path}: {verdict.status}, {verdict.detail}" for verdict in wrong
            )
            raise ValueError(
                f"{len(wrong)} files are not the released ones; delete them and fetch again:\n  {lines}"
            )
        missing = [file for file in files if not (folder / file.path).exists()]
        with show_download_bars(len(missing)) as bar:
            for file in missing:
                url = replace_server(file.url, mirror)
                download(url, folder / file.path, file.size, file.sha256, pause, bar(file.path))
                write_file_list(
                    folder, locked := locked | {file.path: describe_file(folder, file.path, url)}
                )
                got.append(file.path)
        found = {
            file.path: describe_file(folder, file.path, BY_HAND)
            for file in files
            if file.path not in locked
        }
        if found or not (folder / LOCK).exists():
            write_file_list(folder, locked | found)
    return got


def verify_files(files: Sequence[RemoteFile], folder: Path) -> list[FileCheck]:
    """Hash every file again and compare: with the released size and sha256 where known, else with the lock."""
    locked = read_file_list(folder)
    return [check_file(file, folder, locked, hashed=True) for file in files]


def check_file(file: RemoteFile, folder: Path, locked: dict[str, dict], hashed: bool) -> FileCheck:
    """The verdict on one file; without `hashed` only by its size."""
    path, lock = folder / file.path, locked.get(file.path, {})
    size = lock.get("size") if file.size is None else file.size
    sha256 = lock.get("sha256") if file.sha256 is None else file.sha256
    if not path.is_file():
        return FileCheck(file.path, "missing", file.url)
    if size is not None and path.stat().st_size != size:
        return FileCheck(
            file.path, "wrong size", f"{path.stat().st_size:,} bytes, expected {size:,}"
        )
    if hashed and sha256 is not None and (found := compute_sha256(path)) != sha256:
        return FileCheck(file.path, "wrong sha256", f"{found}, expected {sha256}")
    return FileCheck(
        file.path, "no known checksum" if sha256 is None else "ok", f"{path.stat().st_size:,} bytes"
    )


def describe_file(folder: Path, path: str, origin: str) -> dict:
    place = folder / path
    return {
        "path": path,
        "size": place.stat().st_size,
        "sha256": compute_sha256(place),
        "origin": origin,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def read_file_list(folder: Path) -> dict[str, dict]:
    """The entries of the lock by path."""
    try:
        return {
            row["path"]: row
            for row in json.loads((folder / LOCK).read_text(encoding="utf-8"))["files"]
        }
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{folder / LOCK} is damaged ({error}): delete it, then fetch makes it anew."
        ) from error


def write_file_list(folder: Path, locked: dict[str, dict]) -> None:
    rows = [locked[path] for path in sorted(locked)]
    with tempfile.NamedTemporaryFile(
        "w", dir=folder, prefix=".files-", delete=False, encoding="utf-8"
    ) as file:
        json.dump({"files": rows}, file, indent=1, ensure_ascii=False)
        file.flush()
        os.fsync(file.fileno())
    os.chmod(file.name, 0o644)  # a temporary file is for its owner alone
    os.replace(file.name, folder / LOCK)


@contextmanager
def show_download_bars(files: int) -> Iterator:
    """A progress bar for bytes, and the count of files in front of it; gives a callback per file."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        disable=not files,
    ) as progress:
        number = 0

        def bar(path: str) -> ShowProgress:
            nonlocal number
            number += 1
            task = progress.add_task(f"{number}/{files} {path}", total=None)
            return lambda done, total: progress.update(task, completed=done, total=total)

        yield bar


def hash_file_samples(path: Path, pieces: int = 256, size: int = 1 << 16) -> str:
    """Of the size of a file and of pieces from all over it: tells trainings of a model apart without reading gigabytes."""
    whole = path.stat().st_size
    spread = [piece * (whole - size) // (pieces - 1) for piece in range(pieces)]
    starts = spread if whole > pieces * size else range(0, whole, size)
    digest = hashlib.sha256(str(whole).encode())
    with open(path, "rb") as file:
        for start in starts:
            file.seek(start)
            digest.update(file.read(size))
    return digest.hexdigest()
