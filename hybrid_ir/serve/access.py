"""Who may ask the server: this machine alone, or whoever has the token."""

import ipaddress
import json
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlencode

TOKEN_BYTES = 24
LEAST_TOKEN_CHARACTERS = 16
MOST_BODY_BYTES = 1 << 20
MOST_DISCARDED_BYTES = 1 << 24  # of a refused body; whoever sends more may miss the answer
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]", "::1")
# Everything that the page needs comes from this server, and nothing is run that is in the page.
CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SAFE_HEADERS = (
    (b"content-security-policy", CONTENT_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


def is_loopback(host: str) -> bool:
    """Returns whether only programs of this machine reach a host name or address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def choose_token(host: str, token: str | None) -> str | None:
    """Returns the token that requests need: the given one, or a new one where others can ask.

    Raises:
        ValueError: the given one is too short, or holds what a header cannot hold.
    """
    if token is None:
        return None if is_loopback(host) else secrets.token_urlsafe(TOKEN_BYTES)
    is_plain = token.isascii() and token.isprintable() and not set(token) & set(' ";,\\')
    if len(token) < LEAST_TOKEN_CHARACTERS or not is_plain:
        raise ValueError(
            f"token=...: it must have at least {LEAST_TOKEN_CHARACTERS} letters, digits or signs "
            "of ASCII without blanks, quotes, commas and semicolons; leave it out, and a safe one "
            "is made"
        )
    return token


class Guard:
    """Refuses requests that nobody allowed, before the application sees them.

    Without a token, only requests to a name of this machine are answered: a page of another site
    could otherwise let its own name point here, and read the answers. With a token, a request needs
    it as `Authorization: Bearer TOKEN`, as a cookie, or once as `?token=TOKEN`, for which the
    browser gets the cookie.

    Args:
        application: answers the requests that are allowed.
        token: that requests need; None for none.
        cookie: the name of the cookie with the token.
    """

    def __init__(self, application: Callable, token: str | None, cookie: str):
        self.application = application
        self.token = token
        self.cookie = cookie

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request, see the ASGI specification."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.application(scope, receive, send)
            return

        async def send_with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *SAFE_HEADERS]
            await send(message)

        headers = {key.decode("latin-1"): value for key, value in scope["headers"]}
        refusal = self._find_refusal(scope, headers)
        if refusal is not None:
            await _discard_body(receive)
            await _refuse(scope, headers, send_with_headers, *refusal)
            return
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token")
        if self.token is not None and given and scope["path"] == "/":
            await self._send_cookie(scope, send_with_headers)
            return
        await self.application(scope, receive, send_with_headers)

    def _find_refusal(self, scope: Scope, headers: dict[str, bytes]) -> tuple[int, str, str] | None:
        """Returns the status, the code and the message for a request that is refused."""
        if self.token is None:
            name = headers.get("host", b"").decode("latin-1")
            if not name.startswith("[") or "]:" in name:
                name = name.rpartition(":")[0] or name
            if name not in LOOPBACK_NAMES:
                return 400, "host_unknown", "this server answers to localhost and 127.0.0.1 alone"
        elif not self._has_token(scope, headers):
            message = (
                "this server needs its token: open the address that the command printed, or send "
                "the header Authorization: Bearer TOKEN"
            )
            return 401, "token_missing", message
        if scope["method"] not in ("POST", "PUT", "PATCH"):
            return None
        size = headers.get("content-length", b"").decode("latin-1")
        if not size.isdigit():
            return 411, "length_missing", "the request needs a header Content-Length"
        if int(size) > MOST_BODY_BYTES:
            message = f"the request has {int(size):,} bytes, and may have {MOST_BODY_BYTES:,}"
            return 413, "request_too_long", message
        return None

    def _has_token(self, scope: Scope, headers: dict[str, bytes]) -> bool:
        """Returns whether a request has the token, after the same time for every wrong one."""
        expected = self.token.encode()
        kind, _, value = headers.get("authorization", b"").partition(b" ")
        candidates = [value.strip() if kind.lower() == b"bearer" else b""]
        try:
            cookies = SimpleCookie(headers.get("cookie", b"").decode("latin-1"))
        except CookieError:
            cookies = SimpleCookie()
        if self.cookie in cookies:
            candidates.append(cookies[self.cookie].value.encode())
        query = parse_qs(scope["query_string"].decode("latin-1"))
        candidates += [text.encode() for text in query.get("token", [])]
        is_right = False
        for candidate in candidates:
            is_right = secrets.compare_digest(candidate, expected) or is_right
        return is_right

    async def _send_cookie(self, scope: Scope, send: Send) -> None:
        """Gives the browser the cookie, and sends it to the address without the token."""
        query = parse_qs(scope["query_string"].decode("latin-1"))
        query.pop("token")
        rest = urlencode(query, doseq=True)
        place = f"/?{rest}" if rest else "/"
        cookie = f"{self.cookie}={self.token}; Path=/; HttpOnly; SameSite=Lax"
        headers = [(b"location", place.encode()), (b"set-cookie", cookie.encode())]
        await send({"type": "http.response.start", "status": 303, "headers": headers})
        await send({"type": "http.response.body", "body": b""})


async def _discard_body(receive: Receive) -> None:
    """Reads a body that nobody wants: a client that still sends it would not see the answer."""
    size = 0
    while size <= MOST_DISCARDED_BYTES:
        message = await receive()
        size += len(message.get("body", b""))
        if message["type"] != "http.request" or not message.get("more_body", False):
            return


async def _refuse(
    scope: Scope, headers: dict[str, bytes], send: Send, status: int, code: str, message: str
) -> None:
    """Answers with a problem: as plain text where a person looks at the page, else as JSON."""
    kind = b"application/json"
    body = json.dumps({"error": {"code": code, "message": message}}).encode()
    if b"text/html" in headers.get("accept", b""):
        kind = b"text/plain; charset=utf-8"
        body = message.encode()
    response_headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": response_headers})
    await send({"type": "http.response.body", "body": body})
