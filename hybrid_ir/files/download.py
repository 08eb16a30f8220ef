"""One file from the web, whole or not at all: resumed after a cut, checked, and only then put under its name."""

import hashlib
import json
import os
import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx

HUB = "https://huggingface.co"
TRIES = 5  # in a row without a new byte
OTHER_WAYS = (
    "Name another server that has the same paths (mirror=URL), or put the file by hand at {place}."
)
ShowProgress = Callable[[int, int | None], None]  # bytes that are here, bytes in all if known


class TransferInterrupted(Exception):
    """The server gave up for now; the same request may work in a moment."""


@dataclass(frozen=True)
class ServerPromise:
    """What a server said of a file before sending it."""

    etag: str | None = None  # a strong one, good for resuming
    size: int | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class PartialFile:
    """What has come of a file so far, in hidden files beside its place."""

    place: Path

    @property
    def data(self) -> Path:
        return self.place.with_name(f".{self.place.name}.part")

    @property
    def note(self) -> Path:
        return self.place.with_name(f".{self.place.name}.part.json")

    @property
    def size(self) -> int:
        return self.data.stat().st_size if self.data.exists() else 0

    def promise(self) -> ServerPromise:
        try:
            return ServerPromise(**json.loads(self.note.read_text()))
        except (FileNotFoundError, ValueError, TypeError):  # none yet, or cut while written
            return ServerPromise()

    def start(self, promise: ServerPromise) -> None:
        self.data.write_bytes(
            b""
        )  # first: bytes of one version never stand beside the promise of another
        self.note.write_text(json.dumps(asdict(promise)))

    def delete(self) -> None:
        self.data.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)


def download(
    url: str,
    place: Path,
    size: int | None = None,
    sha256: str | None = None,
    pause: float = 1.0,
    show: ShowProgress = lambda done, total: None,
) -> None:
    """Get a URL to a place; `size` and `sha256` are checked where known, else what the server says of them.

    A part left by an earlier call is continued where the server can. Between tries it waits `pause` seconds, then twice
    as long. ValueError: no such file, no permission, no connection, or not the bytes that were expected.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    part, failures, arrived = PartialFile(place), 0, False
    with httpx.Client(follow_redirects=True, timeout=60) as client:
        while not is_complete(part):
            before = part.size
            try:
                receive_bytes(client, url, part, size, show)
                break
            except (TransferInterrupted, httpx.RequestError, httpx.InvalidURL) as error:
                progress = part.size > before
                arrived |= progress
                failures = 1 if progress else failures + 1
                lasting = (httpx.UnsupportedProtocol, httpx.InvalidURL, httpx.TooManyRedirects)
                # nobody answers at all: more tries would only keep an offline user waiting
                nobody = isinstance(error, httpx.ConnectError) and not arrived
                if failures >= TRIES or nobody or isinstance(error, lasting):
                    reason = str(error) or type(error).__name__
                    raise ValueError(
                        f"{url} could not be had ({reason}). {OTHER_WAYS.format(place=place)}"
                    ) from error
                time.sleep(pause * 2 ** (failures - 1))
    check_download(part, url, size, sha256)
    os.replace(part.data, place)
    part.delete()


def is_complete(part: PartialFile) -> bool:
    """All promised bytes are here: an earlier call was stopped between the last byte and the check."""
    return part.size > 0 and part.size == part.promise().size


def receive_bytes(
    client: httpx.Client, url: str, part: PartialFile, size: int | None, show: ShowProgress
) -> None:
    """Append what the server sends to the part, or start over where it cannot continue."""
    done, old = part.size, part.promise()
    headers = {
        "Accept-Encoding": "identity",
        **build_authorization(url),
    }  # a compressed answer could not be continued
    if done and old.etag:
        headers |= {"Range": f"bytes={done}-", "If-Range": old.etag}
    with client.stream("GET", url, headers=headers) as response:
        raise_for_status(response, url, part)
        if response.status_code != 206:
            done, old = 0, read_promise(response)
            if None not in (size, old.size) and size != old.size:
                raise ValueError(
                    f"{url} has {old.size:,} bytes, expected {size:,}: it is another file than the released one. "
                    f"{OTHER_WAYS.format(place=part.place)}"
                )
            part.start(old)
        elif not is_continuation(response, done, old):
            part.delete()
            raise TransferInterrupted("the answer does not continue the part, start over")
        with open(part.data, "ab") as file:
            for chunk in response.iter_raw():
                file.write(chunk)
                done += len(chunk)
                show(done, get_total_size(old, size))
            file.flush()
            os.fsync(file.fileno())
    if done < (get_total_size(old, size) or 0):
        raise TransferInterrupted(f"{done:,} of {get_total_size(old, size):,} bytes came")


def get_total_size(promise: ServerPromise, size: int | None) -> int | None:
    return size if promise.size is None else promise.size


def build_authorization(url: str) -> dict[str, str]:
    """The user's token for the hub, and for nobody else; a redirect elsewhere drops it."""
    token = os.environ.get("HF_TOKEN", "").strip()
    return {"Authorization": f"Bearer {token}"} if token and url.startswith(f"{HUB}/") else {}


def raise_for_status(response: httpx.Response, url: str, part: PartialFile) -> None:
    """Raise for an answer without the file."""
    status, place = response.status_code, part.place
    if status in (401, 403):
        raise ValueError(
            f"{url}: {status}, access denied. If the data set is gated, accept its terms on its page and set "
            f"HF_TOKEN. {OTHER_WAYS.format(place=place)}"
        )
    if status == 404:
        raise ValueError(f"{url}: 404, no such file. {OTHER_WAYS.format(place=place)}")
    if status == 416:
        part.delete()  # the file is shorter than our part: it has changed
    if status in (408, 416, 429) or status >= 500:
        raise TransferInterrupted(f"status {status}")
    if status not in (200, 206):
        raise ValueError(
            f"{url}: status {status} {response.reason_phrase}. {OTHER_WAYS.format(place=place)}"
        )


def read_promise(response: httpx.Response) -> ServerPromise:
    """Size, checksum and version in the headers; the hub's own stand on the redirect to its storage."""
    linked = {
        key: value
        for hop in (*response.history, response)
        for key, value in hop.headers.items()
        if key.startswith("x-linked-")
    }
    length = response.headers.get("content-length", linked.get("x-linked-size", ""))
    etag = response.headers.get("etag", "")
    digests = [text.strip('"').lower() for text in (linked.get("x-linked-etag", ""), etag)]
    return ServerPromise(
        etag=etag if etag.startswith('"') else None,
        size=int(length) if length.isdigit() else None,
        sha256=next((text for text in digests if re.fullmatch("[0-9a-f]{64}", text)), None),
    )


def is_continuation(response: httpx.Response, done: int, old: ServerPromise) -> bool:
    """A 206 that starts where the part ends and is of the same version."""
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("content-range", ""))
    same = response.headers.get("etag", old.etag) == old.etag and old.size is not None
    return bool(found) and same and int(found[1]) == done and found[2] in ("*", str(old.size))


def check_download(part: PartialFile, url: str, size: int | None, sha256: str | None) -> None:
    """ValueError, and no part any more, unless its size and checksum are as expected."""
    promise = part.promise()
    found = (part.size, compute_sha256(part.data))
    for what, expected, got in (
        ("bytes", size, found[0]),
        ("bytes", promise.size, found[0]),
        ("sha256", sha256, found[1]),
        ("sha256", promise.sha256, found[1]),
    ):
        if expected is not None and expected != got:
            part.delete()
            raise ValueError(
                f"{url} is not the expected file: {what} expected {expected}, found {got}. What came is deleted; "
                "try again, and if that gives the same, the file has changed there. "
                f"{OTHER_WAYS.format(place=part.place)}"
            )


def compute_sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
