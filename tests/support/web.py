"""A real HTTP server on loopback that serves files, and misbehaves on request."""

import hashlib
import time
from collections.abc import Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

Answer = tuple[int, bytes, dict[str, str]]  # status, body, headers


@dataclass
class Web:
    """What a server serves, how it does so, and what it was asked for.

    Args:
        pages: the files by their paths.
        cuts: bytes after which the next answers break off.
        statuses: statuses of the next answers, instead of a file.
        ranges: whether it honours the header Range.
        if_range: whether it honours the header If-Range.
        from_start: whether it answers every range with one that starts at 0.
        headers: headers instead of the right ones; "" leaves one out.
        redirect: another server to which every answer is a redirect, with the headers `linked`.
        linked: the headers of the hub's redirects.
        pause: seconds to wait after every `step` bytes.
        step: bytes that are sent together.
        asked: path and headers of every request so far.
        url: the address of the server.
    """

    pages: dict[str, bytes] = field(default_factory=dict)
    cuts: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    ranges: bool = True
    if_range: bool = True
    from_start: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    redirect: str | None = None
    linked: dict[str, str] = field(default_factory=dict)
    pause: float = 0.0
    step: int = 1 << 16
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    url: str = ""

    @property
    def paths(self) -> list[str]:
        """The paths that were asked for."""
        return [path for path, _ in self.asked]


@contextmanager
def serving(**choices):
    """Runs a server; the choices are those of `Web`."""
    web = Web(**choices)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments):
            return None

        def do_GET(self):
            web.asked.append((self.path, dict(self.headers)))
            self.close_connection = True
            status, body, headers = answer(web, self.path, self.headers)
            self.send_response(status)
            for key, value in headers.items():
                if value:
                    self.send_header(key, value)
            self.end_headers()
            end = len(body)
            if web.cuts and status in (200, 206):
                end = min(end, web.cuts.pop(0))
            with suppress(ConnectionError):  # the client has closed the connection
                for start in range(0, end, web.step):
                    self.wfile.write(body[start : min(start + web.step, end)])
                    time.sleep(web.pause)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    web.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield web
    finally:
        server.shutdown()
        server.server_close()


def answer(web: Web, path: str, asked: Mapping[str, str]) -> Answer:
    """Returns the answer to a request with the headers `asked`."""
    if web.statuses:
        return web.statuses.pop(0), b"no", {"Content-Length": "2"}
    if web.redirect:
        location = {"Location": web.redirect + path, "Content-Length": "0"}
        return 302, b"", {**location, **web.linked}
    if path not in web.pages:
        return 404, b"", {"Content-Length": "0"}
    page = web.pages[path]
    etag = web.headers.get("ETag", f'"{hashlib.md5(page).hexdigest()}"')
    is_current = asked.get("If-Range", etag) == etag or not web.if_range
    if web.from_start and "Range" in asked:
        return 206, page, {"ETag": etag, **describe_range(page, 0)}
    if web.ranges and is_current and "Range" in asked:
        start = int(asked["Range"].removeprefix("bytes=").removesuffix("-"))
        if start >= len(page):
            return 416, b"", {"Content-Length": "0", "Content-Range": f"bytes */{len(page)}"}
        return 206, page[start:], {"ETag": etag, **describe_range(page, start), **web.headers}
    return 200, page, {"ETag": etag, "Content-Length": str(len(page)), **web.headers}


def describe_range(page: bytes, start: int) -> dict[str, str]:
    """Returns the headers of an answer with a page from a byte on."""
    return {
        "Content-Range": f"bytes {start}-{len(page) - 1}/{len(page)}",
        "Content-Length": str(len(page) - start),
    }
