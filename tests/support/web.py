"""A real HTTP server on loopback that serves files and misbehaves on request: cuts, lies, redirects, slowness."""

import hashlib
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


@dataclass
class Web:
    """What is served, how, and what was asked."""

    pages: dict[str, bytes] = field(default_factory=dict)
    cuts: list[int] = field(default_factory=list)  # bytes after which the next answers break off
    statuses: list[int] = field(default_factory=list)  # of the next answers, instead of a file
    ranges: bool = True  # honour Range
    if_range: bool = True  # honour If-Range
    from_start: bool = False  # answer every range with one that starts at 0
    headers: dict[str, str] = field(
        default_factory=dict
    )  # instead of the right ones; "" leaves one out
    redirect: str | None = (
        None  # every answer is a redirect to this server, with the hub's X-Linked headers
    )
    linked: dict[str, str] = field(default_factory=dict)
    pause: float = 0.0  # after every `step` bytes
    step: int = 1 << 16
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    url: str = ""

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.asked]


@contextmanager
def serving(**how):
    web = Web(**how)

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
            cut = web.cuts.pop(0) if web.cuts and status in (200, 206) else len(body)
            with suppress(ConnectionError):  # the other side has heard enough
                for start in range(0, min(cut, len(body)), web.step):
                    self.wfile.write(body[start : min(start + web.step, cut)])
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


def answer(web: Web, path: str, asked) -> tuple[int, bytes, dict[str, str]]:
    if web.statuses:
        return web.statuses.pop(0), b"no", {"Content-Length": "2"}
    if web.redirect:
        return 302, b"", {"Location": web.redirect + path, "Content-Length": "0", **web.linked}
    if path not in web.pages:
        return 404, b"", {"Content-Length": "0"}
    page = web.pages[path]
    etag = web.headers.get("ETag", f'"{hashlib.md5(page).hexdigest()}"')
    current = asked.get("If-Range", etag) == etag or not web.if_range
    if web.from_start and "Range" in asked:
        whole = {
            "Content-Range": f"bytes 0-{len(page) - 1}/{len(page)}",
            "Content-Length": str(len(page)),
        }
        return 206, page, {"ETag": etag, **whole}
    if web.ranges and current and "Range" in asked:
        start = int(asked["Range"].removeprefix("bytes=").removesuffix("-"))
        if start >= len(page):
            return 416, b"", {"Content-Length": "0", "Content-Range": f"bytes */{len(page)}"}
        whole = {
            "Content-Range": f"bytes {start}-{len(page) - 1}/{len(page)}",
            "Content-Length": str(len(page) - start),
        }
        return 206, page[start:], {"ETag": etag, **whole, **web.headers}
    return 200, page, {"ETag": etag, "Content-Length": str(len(page)), **web.headers}
