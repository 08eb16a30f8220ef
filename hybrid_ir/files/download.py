"""Downloads one file: continues after an interruption, checks it, then puts it in its place."""

import json
import os
import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx

from hybrid_ir.files.atomic import flush_to_disk
from hybrid_ir.files.checksums import compute_sha256

HUB = "https://huggingface.co"
TRIES = 5  # tries in a row without a new byte, after which a download fails
OTHER_WAYS = (
    "Name another server that has the same paths (mirror=URL), or put the file by hand at {path}."
)
# Takes the number of bytes that are here, and of all bytes of the file if it is known.
ShowProgress = Callable[[int, int | None], None]


class TransferInterrupted(Exception):
    """The server gave up for now; the same request may work in a moment."""


@dataclass(frozen=True)
class ServerPromise:
    """What a server says about a file before it sends the bytes, as far as it says it."""

    etag: str | None = None  # a strong one, which a download can be resumed with
    size: int | None = None  # bytes
    sha256: str | None = None


@dataclass(frozen=True)
class PartialFile:
    """The bytes that have come of a file so far, and the promise that came with them.

    Both are in hidden files beside `path`, where the complete file shall be.
    """

    path: Path

    @property
    def data(self) -> Path:
        """Returns the path of the bytes."""
        return self.path.with_name(f".{self.path.name}.part")

    @property
    def note(self) -> Path:
        """Returns the path of the promise, as JSON."""
        return self.path.with_name(f".{self.path.name}.part.json")

    @property
    def size(self) -> int:
        """Returns how many bytes are here."""
        return self.data.stat().st_size if self.data.exists() else 0

    def read_promise(self) -> ServerPromise:
        """Returns what the server promised, or an empty promise if there is no readable note."""
        try:
            return ServerPromise(**json.loads(self.note.read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return ServerPromise()

    def is_complete(self) -> bool:
        """Returns whether all promised bytes are here.

        That is so when an earlier download was killed between the last byte and the check.
        """
        return self.size > 0 and self.size == self.read_promise().size

    def start(self, promise: ServerPromise) -> None:
        """Starts over with no bytes and a new promise."""
        # The bytes go first: those of one version must never stand beside the promise of another.
        self.data.write_bytes(b"")
        self.note.write_text(json.dumps(asdict(promise)))

    def delete(self) -> None:
        """Deletes the bytes and the promise."""
        self.data.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)


def download(
    url: str,
    path: Path,
    size: int | None = None,
    sha256: str | None = None,
    pause: float = 1.0,
    show: ShowProgress = lambda done, total: None,
) -> None:
    """Downloads a file, continuing what an earlier call has left of it where the server can do so.

    Args:
        url: the address of the file.
        path: where the file shall be. It is complete and checked when it appears there.
        size: the expected number of bytes. Without it, what the server says is checked.
        sha256: the expected checksum. Without it, what the server says is checked.
        pause: seconds before the second try, doubled for each further one.
        show: is called with the bytes that are here and the bytes in all.

    Raises:
        ValueError: if there is no such file, no permission or no connection, or if other bytes
            came than expected.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = PartialFile(path)
    _receive_with_retries(url, part, size, pause, show)
    _check_bytes(part, url, size, sha256)
    flush_to_disk(part.data)
    os.replace(part.data, path)
    part.delete()


def _receive_with_retries(
    url: str, part: PartialFile, size: int | None, pause: float, show: ShowProgress
) -> None:
    failures = 0  # in a row without a new byte
    has_received = False
    with httpx.Client(follow_redirects=True, timeout=60) as client:
        while not part.is_complete():
            size_before = part.size
            try:
                _receive_bytes(client, url, part, size, show)
                return
            except (TransferInterrupted, httpx.RequestError, httpx.InvalidURL) as error:
                if part.size > size_before:
                    has_received = True
                    failures = 0
                failures += 1
                if failures >= TRIES or _is_hopeless(error, has_received):
                    reason = str(error) or type(error).__name__
                    raise ValueError(
                        f"{url} could not be had ({reason}). {OTHER_WAYS.format(path=part.path)}"
                    ) from error
                time.sleep(pause * 2 ** (failures - 1))


def _is_hopeless(error: Exception, has_received: bool) -> bool:
    """Returns whether another try cannot succeed."""
    if isinstance(error, httpx.ConnectError):
        # Nobody has answered at all: more tries would only keep an offline user waiting.
        return not has_received
    lasting_errors = (httpx.UnsupportedProtocol, httpx.InvalidURL, httpx.TooManyRedirects)
    return isinstance(error, lasting_errors)


def _receive_bytes(
    client: httpx.Client, url: str, part: PartialFile, size: int | None, show: ShowProgress
) -> None:
    """Appends what the server sends to the part, or starts it over if it cannot be continued."""
    done = part.size
    promise = part.read_promise()
    headers = {"Accept-Encoding": "identity"}  # a compressed answer could not be continued
    headers.update(build_authorization(url))
    if done and promise.etag:
        headers["Range"] = f"bytes={done}-"
        headers["If-Range"] = promise.etag
    with client.stream("GET", url, headers=headers) as response:
        _raise_for_status(response, url, part)
        if response.status_code == 206:
            if not _is_continuation(response, done, promise):
                part.delete()
                raise TransferInterrupted("the answer does not continue the part, start over")
        else:
            done = 0
            promise = _read_promise(response)
            _check_promised_size(promise, url, part, size)
            part.start(promise)
        total = size if promise.size is None else promise.size
        with open(part.data, "ab") as file:
            for chunk in response.iter_raw():
                file.write(chunk)
                done += len(chunk)
                show(done, total)
    if total is not None and done < total:
        raise TransferInterrupted(f"{done:,} of {total:,} bytes came")


def _check_promised_size(
    promise: ServerPromise, url: str, part: PartialFile, size: int | None
) -> None:
    if size is None or promise.size is None or size == promise.size:
        return
    raise ValueError(
        f"{url} has {promise.size:,} bytes, expected {size:,}: it is another file than the "
        f"released one. {OTHER_WAYS.format(path=part.path)}"
    )


def build_authorization(url: str) -> dict[str, str]:
    """Returns a header with the user's token (HF_TOKEN) for addresses of the hub, and no other.

    httpx drops the header on a redirect to another server.
    """
    token = os.environ.get("HF_TOKEN", "").strip()
    if token and url.startswith(f"{HUB}/"):
        return {"Authorization": f"Bearer {token}"}
    return {}


def _raise_for_status(response: httpx.Response, url: str, part: PartialFile) -> None:
    """Raises an error for an answer that is not the file."""
    status = response.status_code
    other_ways = OTHER_WAYS.format(path=part.path)
    if status in (401, 403):
        raise ValueError(
            f"{url}: {status}, access denied. If the data set is gated, accept its terms on its "
            f"page and set HF_TOKEN. {other_ways}"
        )
    if status == 404:
        raise ValueError(f"{url}: 404, no such file. {other_ways}")
    if status == 416:
        part.delete()  # the file is shorter than the part: it has changed
    if status in (408, 416, 429) or status >= 500:
        raise TransferInterrupted(f"status {status}")
    if status not in (200, 206):
        raise ValueError(f"{url}: status {status} {response.reason_phrase}. {other_ways}")


def _read_promise(response: httpx.Response) -> ServerPromise:
    """Reads size, checksum and version in the headers of an answer.

    The hub says size and checksum on the redirect to its storage, as X-Linked headers.
    """
    linked = {}
    for answer in (*response.history, response):
        for key, value in answer.headers.items():
            if key.startswith("x-linked-"):
                linked[key] = value
    length = response.headers.get("content-length", linked.get("x-linked-size", ""))
    etag = response.headers.get("etag", "")
    return ServerPromise(
        etag=etag if etag.startswith('"') else None,
        size=int(length) if length.isdigit() else None,
        sha256=_find_sha256([linked.get("x-linked-etag", ""), etag]),
    )


def _find_sha256(etags: list[str]) -> str | None:
    """Returns the first of several ETags that is a checksum."""
    for etag in etags:
        digest = etag.strip('"').lower()
        if re.fullmatch("[0-9a-f]{64}", digest):
            return digest
    return None


def _is_continuation(response: httpx.Response, done: int, promise: ServerPromise) -> bool:
    """Returns whether an answer with status 206 starts where the part ends, in the same version."""
    content_range = re.fullmatch(
        r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("content-range", "")
    )
    if content_range is None or promise.size is None:
        return False
    start, total = content_range.groups()
    same_version = response.headers.get("etag", promise.etag) == promise.etag
    return same_version and int(start) == done and total in ("*", str(promise.size))


def _check_bytes(part: PartialFile, url: str, size: int | None, sha256: str | None) -> None:
    """Deletes the part and raises ValueError unless its size and checksum are as expected."""
    promise = part.read_promise()
    actual_size = part.size
    actual_sha256 = compute_sha256(part.data)
    for name, expected, actual in (
        ("bytes", size, actual_size),
        ("bytes", promise.size, actual_size),
        ("sha256", sha256, actual_sha256),
        ("sha256", promise.sha256, actual_sha256),
    ):
        if expected is not None and expected != actual:
            part.delete()
            raise ValueError(
                f"{url} is not the expected file: {name} expected {expected}, found {actual}. What "
                "came is deleted; try again, and if that gives the same, the file has changed "
                f"there. {OTHER_WAYS.format(path=part.path)}"
            )
