"""Finds out within seconds whether the Hugging Face hub can be reached at all.

`huggingface_hub` tries again and again for half a minute, for each file, before it says so.
"""

import os
import socket
import sys
import threading
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from huggingface_hub import constants

SECONDS = 4.0  # that a connection may take
PORTS = {"http": 80, "https": 443}
_REACHED: set[str] = set()  # addresses that took a connection from this process


def go_offline_if_unreachable(endpoint: str | None = None) -> None:
    """Makes this process work offline, and says so, if the hub does not answer.

    What is in the cache of `huggingface_hub` is then read as with HF_HUB_OFFLINE=1, and what is not
    there is refused at once.

    Args:
        endpoint: address of the hub; by default what HF_ENDPOINT says, or else the hub's own.
    """
    if constants.is_offline_mode():
        return
    endpoint = endpoint or os.environ.get("HF_ENDPOINT") or constants.ENDPOINT
    problem = find_connection_problem(endpoint.rstrip("/"))
    if problem is None:
        return
    constants.HF_HUB_OFFLINE = True
    os.environ["HF_HUB_OFFLINE"] = "1"  # of processes that this one starts
    if "datasets" in sys.modules:
        sys.modules["datasets"].config.HF_HUB_OFFLINE = True
    print(
        f"warning: {endpoint} cannot be reached ({problem}): only what is in the cache of the hub "
        "can be used. HF_ENDPOINT names a mirror, HTTPS_PROXY a proxy",
        file=sys.stderr,
        flush=True,
    )


def find_connection_problem(endpoint: str) -> str | None:
    """Returns why a server, or the proxy before it, takes no connection; None if it does.

    The answer is given after four seconds at most, whatever the name servers do. A server that was
    reached once is not asked again.
    """
    if endpoint in _REACHED:
        return None
    host, port = _find_first_server(endpoint)
    problems: list[str | None] = []

    def connect() -> None:
        """Opens a connection, and notes what is wrong with it."""
        try:
            socket.create_connection((host, port), timeout=SECONDS).close()
        except OSError as error:
            problems.append(error.strerror or str(error))
        else:
            problems.append(None)

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(SECONDS)
    if problems == [None]:
        _REACHED.add(endpoint)
        return None
    if problems:
        return f"{host}: {problems[0]}"
    return f"no connection to {host}:{port} within {SECONDS:.0f} seconds"


def _find_first_server(endpoint: str) -> tuple[str, int]:
    """Returns host and port of the first server on the way: a proxy, or the endpoint itself."""
    address = urlsplit(endpoint)
    proxies = getproxies()
    proxy = proxies.get(address.scheme) or proxies.get("all")
    if proxy and not proxy_bypass(address.hostname or ""):
        address = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    return address.hostname or "", address.port or PORTS.get(address.scheme, 443)
