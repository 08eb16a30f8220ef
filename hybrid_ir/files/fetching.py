"""The files of a data set: where they come from, which are here, and whether they are right."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from filelock import FileLock
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from hybrid_ir.files.atomic import write_text_atomically
from hybrid_ir.files.checksums import compute_sha256
from hybrid_ir.files.download import OTHER_WAYS, download
from hybrid_ir.files.hub import HubFile, fetch_to_cache, link_or_copy

# The list of the files of a data set, in its folder: sizes, checksums, origins and dates.
FILE_LIST = "files.json"
BY_HAND = "put here by hand"  # the origin of a file that was here before it could be fetched
DOWNLOAD_COLUMNS = (
    TextColumn("{task.description}"),
    BarColumn(),
    DownloadColumn(),
    TransferSpeedColumn(),
    TimeRemainingColumn(),
)


@dataclass(frozen=True)
class RemoteFile:
    """A file of a data set at a pinned revision.

    Args:
        path: its path in the folder of the data set.
        origin: the file of the Hugging Face hub that it is, or its address on another server.
        size: the bytes of the released file, where known.
        sha256: the checksum of the released file, where known.
    """

    path: str
    origin: HubFile | str
    size: int | None = None
    sha256: str | None = None

    @property
    def url(self) -> str:
        """Returns the address of the file."""
        return self.get_address()

    def get_address(self, mirror: str | None = None) -> str:
        """Returns the address of the file on a mirror, or else where it comes from."""
        if isinstance(self.origin, HubFile):
            return self.origin.get_address(mirror)
        return replace_server(self.origin, mirror)


@dataclass(frozen=True)
class FileCheck:
    """The result of checking one file.

    Args:
        path: its path in the folder of the data set.
        status: "ok", "no known checksum", "missing", "wrong size" or "wrong sha256".
        detail: what is here and what was expected.
    """

    path: str
    status: str
    detail: str = ""

    @property
    def is_wrong(self) -> bool:
        """Returns whether the file is missing or another one than expected."""
        return self.status in ("missing", "wrong size", "wrong sha256")


def describe_hub_file(repository: str, revision: str, path: str) -> RemoteFile:
    """Describes a file of a data set on the Hugging Face hub."""
    return RemoteFile(path, HubFile(repository, revision, path))


def describe_github_file(
    repository: str,
    revision: str,
    path: str,
    place: str | None = None,
    size: int | None = None,
    sha256: str | None = None,
) -> RemoteFile:
    """Describes a file of a GitHub repository.

    Args:
        repository: owner and name.
        revision: a commit.
        path: its path in the repository.
        place: its path in the folder of the data set, if it is another one.
        size: its bytes, where known.
        sha256: its checksum, where known.
    """
    url = f"https://raw.githubusercontent.com/{repository}/{revision}/{path}"
    return RemoteFile(place or path, url, size, sha256)


def replace_server(url: str, mirror: str | None) -> str:
    """Returns the address of a file on a mirror, which is a server with the same paths."""
    if mirror is None:
        return url
    return mirror.rstrip("/") + urlsplit(url).path


def _require_server(mirror: str) -> None:
    """Raises ValueError if a mirror is no address of a server."""
    address = urlsplit(mirror)
    if address.scheme not in ("http", "https") or not address.netloc:
        raise ValueError(
            f"mirror={mirror} must be the address of a server, like https://mirror.example.org"
        )


def fetch_files(
    files: Sequence[RemoteFile], folder: Path, mirror: str | None = None, pause: float = 1.0
) -> list[str]:
    """Fetches the files that are missing, and keeps the list of all files (`files.json`).

    Files that are here are not overwritten. Two processes may fetch into one folder. A file of the
    hub is downloaded to the hub's cache, and a link to it is put into the folder.

    Args:
        files: the files of the data set.
        folder: the folder of the data set.
        mirror: a server to use instead of the hub and of those in the addresses.
        pause: seconds before the second try of a download, see `download`.

    Returns:
        The paths of the files that were fetched.

    Raises:
        ValueError: if a download fails, or if files that are here do not have the size that was
            released or listed; the message names all of these.
    """
    _require_paths_inside(files)
    if mirror is not None:
        _require_server(mirror)
    folder.mkdir(parents=True, exist_ok=True)
    fetched_paths = []
    # A second process waits here, and then finds that nothing is missing.
    with FileLock(folder / ".fetch.lock"):
        entries = read_file_list(folder)
        _require_right_sizes(files, folder, entries)
        missing = [file for file in files if not (folder / file.path).exists()]
        for file in missing:
            if isinstance(file.origin, HubFile):
                _fetch_from_hub(file, folder, mirror)
            else:
                address = file.get_address(mirror)
                with Progress(*DOWNLOAD_COLUMNS) as progress:
                    download(address, folder / file.path, file.size, file.sha256, pause, progress)
            entries[file.path] = _describe_file(folder, file.path, file.get_address(mirror))
            _write_file_list(folder, entries)
            fetched_paths.append(file.path)
        unlisted = [file for file in files if file.path not in entries]
        for file in unlisted:
            entries[file.path] = _describe_file(folder, file.path, BY_HAND)
        if unlisted or not (folder / FILE_LIST).exists():
            _write_file_list(folder, entries)
    return fetched_paths


def _fetch_from_hub(file: RemoteFile, folder: Path, mirror: str | None) -> None:
    """Links a file of the hub into the folder. huggingface_hub shows its own bar."""
    place = folder / file.path
    cached = fetch_to_cache(file.origin, place, mirror)
    check = _check_file(replace(file, path=str(cached)), folder, {}, with_checksum=True)
    if check.is_wrong:
        raise ValueError(
            f"{file.get_address(mirror)} is not the released file: {check.status}, {check.detail}. "
            f"{OTHER_WAYS.format(path=place)}"
        )
    link_or_copy(cached, place)


def _require_paths_inside(files: Sequence[RemoteFile]) -> None:
    """Raises ValueError if a file would be written outside the folder of the data set."""
    outside = []
    for file in files:
        path = Path(file.path)
        if path.is_absolute() or ".." in path.parts:
            outside.append(file.path)
    if outside:
        raise ValueError(f"{', '.join(outside)}: no path in the folder of a data set")


def _require_right_sizes(
    files: Sequence[RemoteFile], folder: Path, entries: Mapping[str, dict]
) -> None:
    """Raises ValueError with every file that is here in a size other than expected."""
    lines = []
    for file in files:
        if not (folder / file.path).exists():
            continue
        check = _check_file(file, folder, entries, with_checksum=False)
        if check.is_wrong:
            lines.append(f"\n  {folder / check.path}: {check.status}, {check.detail}")
    if lines:
        raise ValueError(
            f"{len(lines)} files are not the released ones; delete them and fetch again:"
            + "".join(lines)
        )


def verify_files(files: Sequence[RemoteFile], folder: Path) -> list[FileCheck]:
    """Checks size and checksum of every file.

    They must be those of the release where it is known, else those in the list of files.
    """
    entries = read_file_list(folder)
    return [_check_file(file, folder, entries, with_checksum=True) for file in files]


def _check_file(
    file: RemoteFile, folder: Path, entries: Mapping[str, dict], with_checksum: bool
) -> FileCheck:
    path = folder / file.path
    if not path.is_file():
        return FileCheck(file.path, "missing", file.url)
    entry = entries.get(file.path, {})
    expected_size = entry.get("size") if file.size is None else file.size
    expected_sha256 = entry.get("sha256") if file.sha256 is None else file.sha256
    size = path.stat().st_size
    if expected_size is not None and size != expected_size:
        return FileCheck(file.path, "wrong size", f"{size:,} bytes, expected {expected_size:,}")
    if expected_sha256 is None:
        return FileCheck(file.path, "no known checksum", f"{size:,} bytes")
    if with_checksum:
        sha256 = compute_sha256(path)
        if sha256 != expected_sha256:
            detail = f"{sha256}, expected {expected_sha256}"
            return FileCheck(file.path, "wrong sha256", detail)
    return FileCheck(file.path, "ok", f"{size:,} bytes")


def _describe_file(folder: Path, path: str, origin: str) -> dict[str, Any]:
    """Returns the entry of a file in the list of files."""
    place = folder / path
    return {
        "path": path,
        "size": place.stat().st_size,
        "sha256": compute_sha256(place),
        "origin": origin,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def read_file_list(folder: Path) -> dict[str, dict]:
    """Reads the list of files of a data set.

    Returns:
        The entry of each file by its path; none if there is no list yet.

    Raises:
        ValueError: if the list is damaged.
    """
    path = folder / FILE_LIST
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["files"]
        return {row["path"]: row for row in rows}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is damaged ({error}): delete it, then fetch makes it anew."
        ) from error


def _write_file_list(folder: Path, entries: Mapping[str, dict]) -> None:
    rows = [entries[path] for path in sorted(entries)]
    text = json.dumps({"files": rows}, indent=1, ensure_ascii=False)
    write_text_atomically(folder / FILE_LIST, text, durable=True)
