"""Who may ask: requests over real sockets to a guarded application."""

import http.client
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from urllib.parse import urljoin, urlsplit

import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st

from hybrid_ir.serve import access, running
from hybrid_ir.serve.access import Guard, choose_token, list_cookie_values
from hybrid_ir.serve.running import configure_uvicorn, describe_addresses, open_socket
from tests.support.command_line import HANG_SECONDS, wait_until

TOKEN = "a-token-of-letters-1"
COOKIE = "hybrid_ir_token_1"
FOREIGN_COOKIES = ('a={"x":1}', "foo", "a=b c", 'a="unclosed', "=", "a=b=c", "é=ü")
MIB = 1 << 20


async def answer_length(scope, receive, send) -> None:
    """An application that answers how many bytes it was sent."""
    size = 0
    while True:
        message = await receive()
        size += len(message.get("body", b""))
        if not message.get("more_body", False):
            break
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(size).encode()})


@contextmanager
def serve_guarded(token: str | None) -> Iterator[int]:
    """Serves the application behind a guard, and yields the port."""
    listening = open_socket("127.0.0.1", 0)
    server = uvicorn.Server(configure_uvicorn(Guard(answer_length, token, COOKIE)))
    thread = Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    wait_until(lambda: server.started)
    yield listening.getsockname()[1]
    server.should_exit = True
    thread.join(HANG_SECONDS)


@pytest.fixture(scope="module")
def open_port() -> Iterator[int]:
    """The port of a server that needs no token."""
    with serve_guarded(None) as port:
        yield port


@pytest.fixture(scope="module")
def guarded_port() -> Iterator[int]:
    """The port of a server that needs the token."""
    with serve_guarded(TOKEN) as port:
        yield port


def ask(port: int, path: str, method: str = "GET", **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=HANG_SECONDS)
    connection.request(method, path, headers=headers)
    response = connection.getresponse()
    response.body = response.read()
    connection.close()
    return response


def send_bytes(port: int, request: bytes) -> bytes:
    """Sends bytes, and returns all that is answered until the server closes the connection."""
    with socket.create_connection(("127.0.0.1", port), HANG_SECONDS) as connection:
        connection.sendall(request)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    return answer


@pytest.mark.parametrize("foreign", FOREIGN_COOKIES)
@pytest.mark.parametrize("order", ["{foreign}; {own}", "{own}; {foreign}", "{foreign};{own}"])
def test_cookies_of_other_programs_do_not_hide_the_token(guarded_port, foreign, order):
    cookies = order.format(foreign=foreign, own=f"{COOKIE}={TOKEN}")
    assert ask(guarded_port, "/health", Cookie=cookies.encode()).status == 200
    wrong = order.format(foreign=foreign, own=f"{COOKIE}={TOKEN}x")
    assert ask(guarded_port, "/health", Cookie=wrong.encode()).status == 401


@given(st.lists(st.text().filter(lambda text: ";" not in text), max_size=4), st.integers(0, 4))
def test_a_cookie_is_found_among_any_others(others, place):
    cookies = [*others[:place], f"{COOKIE}={TOKEN}", *others[place:]]
    headers = [(b"accept", b"*/*"), (b"cookie", "; ".join(cookies).encode())]
    assert TOKEN.encode() in list_cookie_values(headers, COOKIE)
    assert list_cookie_values(headers, "another") == []


@pytest.mark.parametrize("length", ["", "Content-Length: 5\r\n"])
def test_a_body_in_chunks_is_no_longer_than_allowed(open_port, length):
    head = f"POST /search HTTP/1.1\r\nHost: localhost\r\n{length}Transfer-Encoding: chunked\r\n\r\n"
    chunk = b"100000\r\n" + b"x" * MIB + b"\r\n"
    answer = send_bytes(open_port, head.encode() + 3 * chunk + b"0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"request_too_long" in answer


def test_a_short_body_in_chunks_is_read_whole(open_port):
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    chunks = b"3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n"
    answer = send_bytes(open_port, head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"7\r\n0\r\n\r\n")


@pytest.mark.parametrize(("size", "status"), [(MIB, 200), (MIB + 1, 413), (5 * MIB, 413)])
def test_bodies_of_a_mebibyte_are_the_longest(open_port, size, status):
    connection = http.client.HTTPConnection("127.0.0.1", open_port, timeout=HANG_SECONDS)
    connection.request("POST", "/search", b"x" * size)
    assert connection.getresponse().status == status
    connection.close()


@pytest.mark.parametrize("name", ["LOCALHOST", "Localhost:80", "127.0.0.2", "127.9.8.7:1", "[::1]"])
def test_every_name_of_this_machine_is_answered(open_port, name):
    assert ask(open_port, "/", Host=name).status == 200


@pytest.mark.parametrize(
    "name", ["evil.example", "127.0.0.1.evil.example:80", "localhost.evil", "", "[::2]", "10.0.0.1"]
)
def test_other_names_are_refused_without_a_token(open_port, name):
    assert ask(open_port, "/", Host=name).status == 400


def test_a_refused_body_that_never_comes_is_not_waited_for(guarded_port, monkeypatch):
    monkeypatch.setattr(access, "SECONDS_TO_DISCARD", 0.2)
    start = time.monotonic()
    request = b"POST /search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n"
    answer = send_bytes(guarded_port, request)  # until the connection is closed
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert time.monotonic() - start < HANG_SECONDS / 2


def test_an_allowed_body_that_never_comes_is_refused(open_port, monkeypatch):
    monkeypatch.setattr(access, "SECONDS_FOR_BODY", 0.2)
    monkeypatch.setattr(access, "SECONDS_TO_DISCARD", 0.2)
    request = b"POST /search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nabc"
    answer = send_bytes(open_port, request)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"request_too_slow" in answer


def test_more_connections_than_allowed_are_told_so(monkeypatch):
    monkeypatch.setattr(running, "MOST_CONNECTIONS", 3)
    with serve_guarded(None) as port:
        idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(3)]
        statuses = [ask(port, "/", Host="localhost").status]
        for connection in idle:
            connection.close()
        wait_until(lambda: ask(port, "/", Host="localhost").status == 200)
    assert statuses == [503]


@pytest.mark.parametrize("path", ["/health", "/search", "/docs", "//"])
def test_the_token_in_an_address_counts_on_the_page_alone(guarded_port, path):
    assert ask(guarded_port, f"{path}?token={TOKEN}").status == 401
    page = ask(guarded_port, f"/?token={TOKEN}")
    assert page.status == 303
    assert TOKEN in page.getheader("set-cookie")
    assert ask(guarded_port, f"/?token={TOKEN}x").status == 401


@pytest.mark.parametrize("prefix", ["/", "/models/", "/a/b/"])
def test_the_way_to_the_page_stays_below_the_path_of_a_proxy(guarded_port, prefix):
    # A proxy hands the page of http://host/prefix/ on as /.
    response = ask(guarded_port, f"/?token={TOKEN}&q=a+b")
    address = urljoin(f"http://host{prefix}?token={TOKEN}", response.getheader("location"))
    assert address == f"http://host{prefix}?q=a+b"
    response = ask(guarded_port, f"/?token={TOKEN}")
    assert urljoin(f"http://host{prefix}", response.getheader("location")) == f"http://host{prefix}"


@pytest.mark.parametrize("token", ["signs+&=%41#?/:-of-ascii", "plain-letters-and-1"])
def test_the_printed_address_holds_any_token(token):
    with serve_guarded(choose_token("127.0.0.1", token)) as port:
        [address] = describe_addresses("127.0.0.1", port, token)
        parts = urlsplit(address)
        response = ask(port, f"{parts.path}?{parts.query}")
        assert response.status == 303
        cookie = response.getheader("set-cookie").partition("; ")[0]
        assert ask(port, "/health", Cookie=cookie).status == 200


def test_a_new_token_is_made_on_request_for_this_machine_alone():
    first = choose_token("127.0.0.1", "new")
    assert len(first) >= 32
    assert choose_token("127.0.0.1", "new") != first
