"""Who may ask the server: this machine alone, or whoever has the token."""

import asyncio
import ipaddress
import json
import re
import secrets
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs, urlencode

TOKEN_BYTES = 24
LEAST_TOKEN_CHARACTERS = 16
NEW_TOKEN = "new"  # token=new makes one
MOST_BODY_BYTES = 1 << 20
SECONDS_FOR_BODY = 30
# What is read of a refused body; whoever sends more, or takes longer, may miss the answer.
MOST_DISCARDED_BYTES = 1 << 24
SECONDS_TO_DISCARD = 2
# The header Host: an IPv6 address in brackets, or another name; and a port, or none.
HOST_HEADER = re.compile(r"(?:\[([^\[\]]+)\]|([^\[\]:]+))(?::\d*)?")
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
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def choose_token(host: str, token: str | None) -> str | None:
    """Returns the token that requests need, or None where they need none.

    Args:
        host: to which the server listens.
        token: the one to use; `new` makes one; None makes one where other machines can ask.

    Raises:
        ValueError: the given one is too short, or holds what a header cannot hold.
    """
    if token is None and is_loopback(host):
        return None
    if token is None or token == NEW_TOKEN:
        return secrets.token_urlsafe(TOKEN_BYTES)
    is_plain = token.isascii() and token.isprintable() and not set(token) & set(' ";,\\')
    if len(token) < LEAST_TOKEN_CHARACTERS or not is_plain:
        raise ValueError(
            f"token=...: it must have at least {LEAST_TOKEN_CHARACTERS} letters, digits or signs "
            "of ASCII without blanks, quotes, commas and semicolons; token=new makes a safe one"
        )
    return token


class Guard:
    """Refuses requests that nobody allowed, before the application sees them.

    Without a token, only requests to a name of this machine are answered: a page of another site
    could otherwise let its own name point here, and read the answers. With a token, a request needs
    it as `Authorization: Bearer TOKEN` or as a cookie. A browser gets the cookie from the address
    `/?token=TOKEN`; the token counts in no other address.

    A body is read here, so that no application waits for it, and none is longer than allowed,
    whatever its headers say.

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
        query = parse_qs(scope["query_string"].decode("latin-1"))
        body = _Body(receive)
        try:
            self._require_known_host(headers)
            self._require_token(scope, headers, query)
            if self.token is not None and "token" in query and scope["path"] == "/":
                await self._send_cookie(query, send_with_headers)
                return
            content = await body.read()
        except _NotAllowedError as error:
            await body.discard()
            await _refuse(headers, send_with_headers, error, body.is_complete)
            return
        if content is not None:
            await self.application(scope, _replay_body(content, receive), send_with_headers)

    def _require_known_host(self, headers: dict[str, bytes]) -> None:
        """Raises _NotAllowedError where no token is needed and the request is to another name."""
        if self.token is not None:
            return
        host = HOST_HEADER.fullmatch(headers.get("host", b"").decode("latin-1"))
        if host is None or not is_loopback(host[1] or host[2]):
            raise _NotAllowedError(
                400,
                "host_unknown",
                "this server answers to localhost and addresses of this machine alone, such as "
                "127.0.0.1",
            )

    def _require_token(
        self, scope: Scope, headers: dict[str, bytes], query: dict[str, list[str]]
    ) -> None:
        """Raises _NotAllowedError for a request without the token.

        It takes the same time for every wrong token.
        """
        if self.token is None:
            return
        kind, _, value = headers.get("authorization", b"").partition(b" ")
        candidates = [value.strip() if kind.lower() == b"bearer" else b""]
        candidates += list_cookie_values(scope["headers"], self.cookie)
        if scope["path"] == "/":
            candidates += [text.encode() for text in query.get("token", [])]
        expected = self.token.encode()
        is_right = False
        for candidate in candidates:
            is_right = secrets.compare_digest(candidate, expected) or is_right
        if not is_right:
            raise _NotAllowedError(
                401,
                "token_missing",
                "this server needs its token: open the address that the command printed, or send "
                "the header Authorization: Bearer TOKEN",
            )

    async def _send_cookie(self, query: dict[str, list[str]], send: Send) -> None:
        """Gives the browser the cookie, and sends it to the address without the token."""
        rest = urlencode({name: query[name] for name in query if name != "token"}, doseq=True)
        # Relative, as a proxy may have the page below another path.
        place = f"./?{rest}" if rest else "./"
        cookie = f"{self.cookie}={self.token}; Path=/; HttpOnly; SameSite=Lax"
        headers = [(b"location", place.encode()), (b"set-cookie", cookie.encode())]
        await send({"type": "http.response.start", "status": 303, "headers": headers})
        await send({"type": "http.response.body", "body": b""})


class _NotAllowedError(Exception):
    """A request that is refused; see `RefusedRequestError` of the application."""

    def __init__(self, status: int, code: str, message: str):
        super().__init__(message)
        self.status = status
        self.code = code


def list_cookie_values(headers: Iterable[tuple[bytes, bytes]], name: str) -> list[bytes]:
    """Returns the values of the cookies of one name, whatever else the header holds.

    Cookies of other programs on the same host may be malformed, which must not hide ours.

    Args:
        headers: of a request, their names in lower case.
        name: of the cookie.
    """
    values = []
    for key, header in headers:
        if key != b"cookie":
            continue
        for cookie in header.split(b";"):
            found, _, value = cookie.strip().partition(b"=")
            if found == name.encode():
                values.append(value)
    return values


class _Body:
    """The body of a request, as it comes.

    Args:
        receive: gives its parts, see the ASGI specification.

    Attributes:
        is_complete: whether nothing of it is to come any more.
    """

    def __init__(self, receive: Receive):
        self._receive = receive
        self.is_complete = False

    async def read(self) -> bytes | None:
        """Returns all of it, or None where the client went away.

        Raises:
            _NotAllowedError: it is too long, or takes too long.
        """
        parts = []
        size = 0
        try:
            async with asyncio.timeout(SECONDS_FOR_BODY):
                while not self.is_complete:
                    part = await self._receive_part()
                    if part is None:
                        return None
                    parts.append(part)
                    size += len(part)
                    if size > MOST_BODY_BYTES:
                        raise _NotAllowedError(
                            413,
                            "request_too_long",
                            f"the request has more than {MOST_BODY_BYTES:,} bytes",
                        )
        except TimeoutError as error:
            raise _NotAllowedError(
                408, "request_too_slow", f"the request was not complete after {SECONDS_FOR_BODY} s"
            ) from error
        return b"".join(parts)

    async def discard(self) -> None:
        """Reads what nobody wants: a client that still sends it would not see the answer."""
        size = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(SECONDS_TO_DISCARD):
                while not self.is_complete and size <= MOST_DISCARDED_BYTES:
                    size += len(await self._receive_part() or b"")

    async def _receive_part(self) -> bytes | None:
        message = await self._receive()
        is_part = message["type"] == "http.request"
        self.is_complete = not is_part or not message.get("more_body", False)
        return message.get("body", b"") if is_part else None


def _replay_body(content: bytes, receive: Receive) -> Receive:
    """Returns what gives an application a body that was read, and then what else is received."""
    messages = [{"type": "http.request", "body": content, "more_body": False}]

    async def receive_again() -> MutableMapping[str, Any]:
        return messages.pop() if messages else await receive()

    return receive_again


async def _refuse(
    headers: dict[str, bytes], send: Send, error: _NotAllowedError, is_connection_kept: bool
) -> None:
    """Answers with a problem: as plain text where a person looks at the page, else as JSON."""
    kind = b"application/json"
    body = json.dumps({"error": {"code": error.code, "message": str(error)}}).encode()
    if b"text/html" in headers.get("accept", b""):
        kind = b"text/plain; charset=utf-8"
        body = str(error).encode()
    response_headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    if not is_connection_kept:
        response_headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": error.status, "headers": response_headers})
    await send({"type": "http.response.body", "body": body})
