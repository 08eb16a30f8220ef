"""Finds out within seconds whether the Hugging Face hub can be reached at all.

`huggingface_hub` tries again and again for half a minute, for each file, before it says so.
"""

import os
import sys
import threading
from urllib.parse import urlsplit

import requests
from huggingface_hub import constants

SECONDS = 4.0  # that an answer may take
SECONDS_OF_NAMES = 2.0  # that looking up its name may take besides
_REACHED: set[str] = set()  # addresses that have answered this process


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
    """Returns why a server, or the proxy before it, gives no answer; None if it gives one.

    The answer is known after some six seconds at most, whatever the name servers do. A server that
    was reached once is not asked again.
    """
    if endpoint in _REACHED:
        return None
    problems: list[str | None] = []
    thread = threading.Thread(target=lambda: problems.append(_ask(endpoint)), daemon=True)
    thread.start()
    thread.join(SECONDS + SECONDS_OF_NAMES)
    if problems == [None]:
        _REACHED.add(endpoint)
        return None
    host = urlsplit(endpoint).hostname
    if problems:
        return f"{host}: {problems[0]}"
    return f"{host}: no answer within {SECONDS + SECONDS_OF_NAMES:.0f} seconds"


def _ask(endpoint: str) -> str | None:
    """Returns what keeps a server from answering at all; any answer is one."""
    try:
        requests.head(endpoint, timeout=SECONDS, allow_redirects=False)
    except requests.exceptions.SSLError:
        return None  # Somebody is there; which certificates are trusted is not decided here.
    except requests.exceptions.Timeout:
        return f"no answer within {SECONDS:.0f} seconds"
    except requests.exceptions.RequestException as error:
        return _find_cause(error)
    return None


def _find_cause(error: BaseException) -> str:
    """Returns the text of the error of the system that is behind an error of the library."""
    pending: list[BaseException] = [error]
    seen: list[BaseException] = []
    while pending:
        cause = pending.pop()
        if isinstance(cause, OSError) and cause.strerror and cause.errno:
            return cause.strerror
        seen.append(cause)
        others = [cause.__cause__, cause.__context__, getattr(cause, "reason", None), *cause.args]
        for other in others:
            if isinstance(other, BaseException) and other not in seen:
                pending.append(other)
    return type(error).__name__
