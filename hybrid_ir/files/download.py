"""Downloads one file from a server: continues after an interruption, checks it, then places it."""

import logging
import os
import shutil
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import pooch
import requests
from rich.progress import Progress, TaskID

from hybrid_ir.files.atomic import flush_to_disk
from hybrid_ir.system.progress import LongWork, begin_work, end_work

TRIES = 5  # tries in a row without a new byte, after which a download fails
TIMEOUT = 60  # seconds without a byte, after which a connection counts as broken
CHUNK = 1 << 13  # bytes; fewer than these are lost when a connection breaks
OTHER_WAYS = (
    "Name another server that has the same paths (mirror=URL), or put the file by hand at {path}."
)


def download(
    url: str,
    path: Path,
    size: int | None = None,
    sha256: str | None = None,
    pause: float = 1.0,
    progress: Progress | None = None,
) -> None:
    """Downloads a file, continuing what an earlier call has left of it where the server can do so.

    Args:
        url: the address of the file.
        path: where the file shall be. It is complete and checked when it appears there.
        size: the expected number of bytes, if it is known.
        sha256: the expected checksum, if it is known.
        pause: seconds before the second try, doubled for each further one.
        progress: where a bar is shown.

    Raises:
        ValueError: if there is no such file, no permission or no connection, or if other bytes
            came than expected.
    """
    pooch.get_logger().setLevel(logging.WARNING)  # its lines would break the bar
    folder = get_part_folder(path).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    progress = progress or Progress(disable=True)
    work = LongWork(f"fetch {path.name}, bytes", size)
    bar = ProgressBar(progress, progress.add_task(path.name, total=size), work)
    downloader = ResumingDownloader(folder, bar)
    failures = 0  # in a row without a new byte
    while True:
        size_before = downloader.count_bytes()
        try:
            complete = Path(pooch.retrieve(url, sha256, path.name, folder, None, downloader))
            _check_size(complete, size)
            break
        except requests.RequestException as error:
            end_work(work)
            if downloader.count_bytes() > size_before:
                failures = 0
            failures += 1
            if failures == TRIES or downloader.is_hopeless(error):
                if not downloader.count_bytes():
                    shutil.rmtree(folder)
                other_ways = OTHER_WAYS.format(path=path)
                raise ValueError(f"{url} could not be had ({error}). {other_ways}") from error
            time.sleep(pause * 2 ** (failures - 1))
        except ValueError as error:  # what pooch and _check_size say of another file
            end_work(work)
            shutil.rmtree(folder)
            raise ValueError(
                f"{url} is not the expected file: {error}. What came is deleted; try again, and if "
                f"that gives the same, the file has changed there. {OTHER_WAYS.format(path=path)}"
            ) from error
    flush_to_disk(complete)
    os.replace(complete, path)
    shutil.rmtree(folder)


def get_part_folder(path: Path) -> Path:
    """Returns the hidden folder beside a file in which it is until it is complete and checked."""
    return path.with_name(f".{path.name}.download")


def _check_size(path: Path, expected: int | None) -> None:
    """Raises ValueError if a file has not the expected number of bytes."""
    size = path.stat().st_size
    if expected is not None and size != expected:
        raise ValueError(f"bytes expected {expected:,}, found {size:,}")


@dataclass
class ProgressBar:
    """A bar of rich as pooch moves it.

    Args:
        progress: where it is shown.
        task: its number there.
        work: the same, for lines where there is no terminal.
        start: the bytes that were here before.
        total: the bytes that shall come, 0 if they are not known. pooch sets it.
    """

    progress: Progress
    task: TaskID
    work: LongWork
    start: int = 0
    total: int = 0

    def reset(self) -> None:
        """Shows the bytes that were here before."""
        total = self.start + self.total if self.total else None
        self.progress.update(self.task, completed=self.start, total=total)
        self.work.total = total
        self.work.done_at_start = self.start
        self.work.set_done(self.start)
        begin_work(self.work)

    def update(self, number: int) -> None:
        """Shows a number of bytes more."""
        self.progress.advance(self.task, number)
        self.work.advance(number)

    def close(self) -> None:
        """Ends the lines; the owner of the bar closes it."""
        end_work(self.work)


class ResumingDownloader:
    """A downloader for pooch that goes on where an earlier one has stopped.

    The bytes that have come stay in a folder together with the version (ETag) that the server gave
    them. A server that still has this version is asked for the rest alone.

    Args:
        folder: where the bytes are kept.
        bar: what shows how many have come.
    """

    def __init__(self, folder: Path, bar: ProgressBar):
        self.data = folder / "bytes"
        self.version = folder / "etag"
        self.bar = bar
        self.has_answer = False  # whether the server has ever answered

    def __call__(self, url: str, output_file: str, caller: Any) -> None:
        """Downloads a file to `output_file`, as pooch asks for it."""
        headers = {"Accept-Encoding": "identity"}  # a compressed answer could not be continued
        if self.count_bytes() and self.version.exists():
            headers["Range"] = f"bytes={self.count_bytes()}-"
            headers["If-Range"] = self.version.read_text()
        with open(self.data, "ab") as file:
            hooks = {"response": partial(self.prepare, file)}
            receive = pooch.HTTPDownloader(
                self.bar, CHUNK, headers=headers, hooks=hooks, timeout=TIMEOUT
            )
            receive(url, file, None)
        os.replace(self.data, output_file)

    def count_bytes(self) -> int:
        """Returns how many bytes are here."""
        return self.data.stat().st_size if self.data.exists() else 0

    def prepare(self, file: BinaryIO, response: requests.Response, **options: Any) -> None:
        """Empties the file before the body of an answer comes, unless it is the rest of it."""
        self.has_answer = True
        etag = response.headers.get("ETag", "")
        size = self.count_bytes()
        if response.status_code == 206:
            content_range = response.headers.get("Content-Range", "")
            is_same_version = not etag or etag == response.request.headers.get("If-Range")
            if not content_range.startswith(f"bytes {size}-") or not is_same_version:
                file.truncate(0)
                raise requests.RequestException("the answer does not continue the part")
        elif response.status_code in (200, 416):  # 416: the file has become shorter
            # The bytes of one version must never stand beside the ETag of another.
            file.truncate(0)
            self.version.unlink(missing_ok=True)
            if etag.startswith('"'):  # a weak one does not promise the same bytes
                self.version.write_text(etag)
        self.bar.start = self.count_bytes()
        length = response.headers.get("Content-Length", "")
        self.bar.total = int(length) if length.isdigit() else 0
        self.bar.reset()

    def is_hopeless(self, error: requests.RequestException) -> bool:
        """Returns whether another try cannot succeed."""
        if isinstance(error, requests.HTTPError):
            status = error.response.status_code
            return status not in (408, 416, 429) and status < 500
        if isinstance(error, requests.ConnectionError):
            # Nobody has answered at all: more tries would only keep an offline user waiting.
            return not self.has_answer
        return isinstance(error, ValueError)  # what is no address of a server
