"""A hub that is out of reach is known within seconds."""

import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from huggingface_hub import constants

from hybrid_ir.files import hub_connection
from hybrid_ir.files.hub_connection import find_connection_problem, go_offline_if_unreachable

PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def online(monkeypatch):
    """Works online, without a proxy, and forgets what was asked before."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    for name in PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setattr(hub_connection, "_REACHED", set())


class SilentHandler(BaseHTTPRequestHandler):
    """Answers that it knows no method, and prints nothing."""

    def log_message(self, *_) -> None:
        pass


@pytest.fixture
def server():
    """A server that answers, if only that it does not know the method."""
    with ThreadingHTTPServer(("127.0.0.1", 0), SilentHandler) as listener:
        threading.Thread(target=listener.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{listener.server_port}"
        listener.shutdown()


@pytest.fixture
def closed_port():
    """An address where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    return f"http://127.0.0.1:{port}"


def test_a_hub_that_answers_changes_nothing(server, capsys):
    go_offline_if_unreachable(server)
    assert not constants.is_offline_mode()
    assert capsys.readouterr().err == ""


def test_a_hub_out_of_reach_is_said_once_and_the_cache_used(closed_port, capsys):
    go_offline_if_unreachable(closed_port)
    assert constants.is_offline_mode()
    message = capsys.readouterr().err
    assert f"{closed_port} cannot be reached (127.0.0.1: Connection refused)" in message
    assert "HF_ENDPOINT" in message
    go_offline_if_unreachable(closed_port)
    assert capsys.readouterr().err == ""


def test_the_proxy_is_asked_where_there_is_one(server, closed_port, monkeypatch):
    monkeypatch.setenv("http_proxy", server)
    assert find_connection_problem(closed_port.replace("127.0.0.1", "hub.invalid")) is None


def test_a_server_that_closes_every_connection_is_not_reached():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        threading.Thread(target=lambda: listener.accept()[0].close(), daemon=True).start()
        assert find_connection_problem(address) is not None


def test_a_server_that_does_not_answer_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(hub_connection, "SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        assert "no answer within" in find_connection_problem(address)


def test_name_servers_that_do_not_answer_are_not_waited_for(monkeypatch):
    monkeypatch.setattr(hub_connection, "SECONDS", 0.1)
    monkeypatch.setattr(hub_connection, "SECONDS_OF_NAMES", 0.1)

    def wait(*_, **__):
        time.sleep(2)
        raise TimeoutError

    monkeypatch.setattr(socket, "getaddrinfo", wait)
    assert "hub.invalid: no answer" in find_connection_problem("http://hub.invalid")
