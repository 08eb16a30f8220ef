"""A real HTTP server on loopback that serves files, and misbehaves on request."""

import hashlib
import re
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
        cuts: bytes after which the next files break off.
        statuses: statuses of the next answers, instead of a file.
        ranges: whether it honours the header Range.
        if_range: whether it honours the header If-Range.
        from_start: whether it answers every range with one that starts at 0.
        headers: headers instead of the right ones; "" leaves one out.
        redirect: another server to which every answer is a redirect, with the headers `linked`.
        linked: the headers of the redirects.
        pause: seconds to wait after every `step` bytes.
        step: bytes that are sent together.
        asked: path and headers of every request so far, but for those that only ask whether
            the server is there.
        methods: the method of every request so far, such as GET.
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
    methods: list[str] = field(default_factory=list)
    url: str = ""

    @property
    def paths(self) -> list[str]:
        """The paths that were asked for."""
        return [path for path, _ in self.asked]

    def answer(self, path: str, asked: Mapping[str, str], form: str) -> Answer:
        """Returns the answer to a request.

        Args:
            path: the path, with the query behind a question mark.
            asked: the headers of the request.
            form: the body of the request.
        """
        if self.statuses:
            return self.statuses.pop(0), b"no", {"Content-Length": "2"}
        if self.redirect:
            location = {"Location": self.redirect + path, "Content-Length": "0"}
            return 302, b"", {**location, **self.linked}
        if path not in self.pages:
            return 404, b"", {"Content-Length": "0"}
        page = self.pages[path]
        return self.answer_file(page, hashlib.md5(page).hexdigest(), asked)

    def answer_file(self, page: bytes, version: str, asked: Mapping[str, str]) -> Answer:
        """Returns a file, or the range of it that is asked for."""
        etag = self.headers.get("ETag", f'"{version}"')
        is_current = asked.get("If-Range", etag) == etag or not self.if_range
        if "Range" not in asked or not ((self.ranges and is_current) or self.from_start):
            return 200, page, {"ETag": etag, "Content-Length": str(len(page)), **self.headers}
        start, end = parse_range(asked["Range"], len(page))
        if self.from_start:
            start = 0
        if start >= len(page):
            return 416, b"", {"Content-Length": "0", "Content-Range": f"bytes */{len(page)}"}
        headers = {
            "ETag": etag,
            "Content-Range": f"bytes {start}-{end - 1}/{len(page)}",
            "Content-Length": str(end - start),
        }
        return 206, page[start:end], {**headers, **self.headers}

    def find_cut(self, path: str) -> int | None:
        """Returns the number of bytes after which the file at a path breaks off, if it does."""
        return self.cuts.pop(0) if self.cuts else None


def parse_range(header: str, size: int) -> tuple[int, int]:
    """Returns the first byte of a range and the one behind its last."""
    start, end = re.fullmatch(r"bytes=(\d+)-(\d*)", header).groups()
    return int(start), min(int(end) + 1, size) if end else size


@contextmanager
def serving(**choices):
    """Runs a server; the choices are those of `Web`."""
    with running(Web(**choices)) as web:
        yield web


@contextmanager
def running(web: Web):
    """Answers with `web` on a free port of loopback."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments):
            return None

        def do_GET(self):
            self.send_answer()

        def do_HEAD(self):
            self.send_answer()

        def do_POST(self):
            self.send_answer()

        def do_PUT(self):
            self.send_answer()

        def send_answer(self):
            if (self.command, self.path) != ("HEAD", "/"):  # That only asks whether it is there.
                web.asked.append((self.path, dict(self.headers)))
                web.methods.append(self.command)
            content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            # Bytes that are no text come back by encoding it with the same error handler.
            form = content.decode(errors="surrogateescape")
            status, body, headers = web.answer(self.path, self.headers, form)
            self.send_response(status)
            for key, value in headers.items():
                if value:
                    self.send_header(key, value)
            self.send_header("Connection", "close")
            self.end_headers()
            if self.command == "HEAD":
                return
            end = len(body)
            if status in (200, 206):
                cut = web.find_cut(self.path)
                end = end if cut is None else min(end, cut)
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
