"""A server that is asked to end while it computes ends cleanly, and what it has done is kept."""

import json
import re
import signal

import pytest

from tests.serve.conftest import RunningServer, start_server
from tests.support.command_line import HANG_SECONDS, read_output, wait_until

PROMPTS = ('query_prefix="query: "', 'passage_prefix="passage: "')
TEXTS = ("benchmark=cldr_facts_dev", "benchmark.languages=[ar,en,zh]")


@pytest.fixture(scope="module")
def arguments(e5) -> tuple[str, ...]:
    return (f"model={e5}", *PROMPTS, *TEXTS, "port=0", "threads=2")


def get_health(server: RunningServer) -> dict:
    return server.ask("health").json()


def end(server: RunningServer, number: int) -> str:
    """Sends a signal, waits for the end, and returns what the server printed."""
    server.process.send_signal(number)
    assert server.process.wait(HANG_SECONDS) == 0, read_output(server.process)
    printed = read_output(server.process)
    assert printed.splitlines()[-1] == "hybrid-ir serve: ended"
    assert "terminate called" not in printed
    return printed


def test_the_end_comes_while_passages_are_encoded_and_while_the_map_is_computed(place, arguments):
    """Both in one test, as the second start goes on where the first has ended."""
    first = start_server(place, *arguments)
    wait_until(lambda: get_health(first)["done"] >= 256)
    done = get_health(first)["done"]
    end(first, signal.SIGINT)

    second = start_server(place, *arguments)
    wait_until(lambda: get_health(second)["done"] > 0 or get_health(second)["status"] == "ready")
    assert get_health(second)["done"] >= done or get_health(second)["status"] == "ready"
    wait_until(lambda: get_health(second)["status"] == "ready")
    wait_until(lambda: second.ask("heat-map").json()["done"] > 0)
    printed = end(second, signal.SIGTERM)
    assert re.search(r"encoding \d+ passages", printed)


def test_the_end_comes_while_libraries_are_loaded(place, arguments):
    server = start_server(place, *arguments)
    assert json.loads(server.ask("health").body)["status"] == "loading"
    end(server, signal.SIGINT)


def test_who_asks_twice_does_not_wait_for_the_texts_at_hand(place, arguments):
    server = start_server(place, *arguments)
    wait_until(lambda: "encoding" in get_health(server)["stage"])
    server.process.send_signal(signal.SIGINT)
    wait_until(lambda: "Ctrl-C again ends at once" in read_output(server.process))
    end(server, signal.SIGINT)
