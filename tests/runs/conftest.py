"""Fixtures of the tests of runs."""

import signal
from collections.abc import Iterator

import pytest

from hybrid_ir.system.interruption import STOP_SIGNALS


@pytest.fixture(autouse=True)
def restored_signal_handlers() -> Iterator[None]:
    """Sets the handlers of signals back that a test changes in this process."""
    handlers = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)
