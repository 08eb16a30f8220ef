"""Runs the server: its address, the loading beside it, and how it ends."""

import errno
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from threading import Thread
from urllib.parse import quote

import uvicorn

from hybrid_ir.serve.access import Guard
from hybrid_ir.serve.application import Served, create_application
from hybrid_ir.serve.loading import LoadingState, StoppedError
from hybrid_ir.system.progress import pause_lines

SECONDS_TO_SEE_A_FAILURE = 3  # by a page that asks every second
SECONDS_TO_END = 3  # for requests that are being answered
SECONDS_TO_STOP = 5  # for texts that are being encoded in the background
MOST_CONNECTIONS = 512  # open at once; a further one is answered with 503
ANY_ADDRESS = ("0.0.0.0", "::")


def open_socket(host: str, port: int) -> socket.socket:
    """Returns a socket that listens to a host and a port; 0 takes a free one.

    Raises:
        ValueError: the port is in use or not allowed, or the host is no address of this machine.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise ValueError(
            f"host={host}: it is no address of this machine ({error}); 127.0.0.1 is for this "
            "machine alone, 0.0.0.0 for all that reach it"
        ) from error
    family, kind, protocol, _, address = found[0]
    listening = socket.socket(family, kind, protocol)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(address)
        listening.listen(2048)
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            raise ValueError(
                f"port={port} is in use on {host}: end what uses it, or name another one; port=0 "
                "takes a free one"
            ) from error
        raise ValueError(f"host={host} port={port}: {error.strerror}") from error
    return listening


def describe_addresses(host: str, port: int, token: str | None) -> list[str]:
    """Returns the addresses at which a browser finds the page."""
    query = "" if token is None else f"?token={quote(token, safe='')}"
    names = [f"[{host}]" if ":" in host else host]
    if host in ANY_ADDRESS:
        names = ["127.0.0.1", socket.gethostname()]
    return [f"http://{name}:{port}/{query}" for name in names]


def configure_uvicorn(application: Callable) -> uvicorn.Config:
    """Returns how an ASGI application is served."""
    return uvicorn.Config(
        application,
        log_level="warning",
        access_log=False,
        lifespan="off",
        server_header=False,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_graceful_shutdown=SECONDS_TO_END,
    )


class _AnnouncingServer(uvicorn.Server):
    """A server that says where it is as soon as it answers."""

    def __init__(self, config: uvicorn.Config, addresses: list[str]):
        super().__init__(config)
        self.addresses = addresses

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts to listen."""
        await super().startup(sockets)
        for address in self.addresses:
            print(f"hybrid-ir serve: {address}", flush=True)
        print("hybrid-ir serve: Ctrl-C ends it", file=sys.stderr, flush=True)


def run_server(
    listening: socket.socket,
    host: str,
    token: str | None,
    load: Callable[[LoadingState], object],
    describe_error: Callable[[Exception], str],
) -> None:
    """Answers requests until it is asked to stop; returns after Ctrl-C or SIGTERM.

    Args:
        listening: the socket.
        host: as the user named it.
        token: that requests need; None for none.
        load: loads the engine, in a thread beside the server.
        describe_error: says in a line what was wrong.

    Raises:
        Exception: what `load` raised. A page that is open sees the reason before the server ends.
    """
    port = listening.getsockname()[1]
    state = LoadingState()
    served = Served(state)
    guard = Guard(create_application(served), token, f"hybrid_ir_token_{port}")
    server = _AnnouncingServer(configure_uvicorn(guard), describe_addresses(host, port, token))
    failures: list[Exception] = []
    after_loading = ExitStack()

    def load_engine() -> None:
        try:
            served.engine = load(state)
            state.finish()
            after_loading.enter_context(pause_lines())  # nothing is waited for any more
            print("hybrid-ir serve: ready", file=sys.stderr, flush=True)
        except StoppedError:
            return  # what was encoded so far is kept
        except Exception as error:
            failures.append(error)
            is_watched = state.was_asked
            state.fail(describe_error(error))
            _wait_until_seen(state, is_watched)
            server.should_exit = True

    signal.signal(signal.SIGTERM, _end_program)
    loading = Thread(target=load_engine, name="load", daemon=True)
    try:
        # uvicorn repeats the signal that ended it.
        with after_loading, suppress(KeyboardInterrupt, SystemExit):
            loading.start()
            server.run(sockets=[listening])
        has_stopped = _stop_computing(loading, served)
        if not failures:
            _ignore_requests_to_end()
    except (KeyboardInterrupt, SystemExit):  # asked again, as it took too long
        has_stopped = False
    if failures:
        raise failures[0]
    print("hybrid-ir serve: ended", file=sys.stderr, flush=True)
    if not has_stopped:
        _leave_at_once()


def _stop_computing(loading: Thread, served: Served) -> bool:
    """Ends what is loaded or computed beside the server, after the texts that are being encoded.

    Args:
        loading: the thread that loads the engine.
        served: with what is loaded.

    Returns:
        Whether all of it has ended, for which it waits some seconds at most.
    """
    served.state.stop()
    if loading.is_alive() or (served.engine is not None and served.engine.is_computing):
        print(
            "hybrid-ir serve: ending after the texts at hand, Ctrl-C again ends at once",
            file=sys.stderr,
            flush=True,
        )
    loading.join(SECONDS_TO_STOP)
    if loading.is_alive():
        return False
    return served.engine is None or served.engine.stop(SECONDS_TO_STOP)


def _ignore_requests_to_end() -> None:
    """Lets the program end without an error if it is asked again while it does."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _leave_at_once() -> None:
    """Ends the process though a thread is still computing: torch would abort it otherwise.

    Files are written whole or not at all, so that nothing is lost but the texts at hand.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _end_program(number: int, frame: object) -> None:
    """Ends the program as after Ctrl-C."""
    raise SystemExit(0)


def _wait_until_seen(state: LoadingState, is_watched: bool) -> None:
    """Waits until a page that is open has seen the failure, for some seconds at most."""
    end = time.monotonic() + SECONDS_TO_SEE_A_FAILURE
    while is_watched and not state.was_asked and time.monotonic() < end:
        time.sleep(0.05)
    if is_watched:
        time.sleep(0.2)  # until the answer is sent
