"""Commands in this process: the same code and messages as in one of their own, without imports."""

import contextlib
import io
import os
import runpy
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from hybrid_ir.cli.main import main
from hybrid_ir.runs import identity
from hybrid_ir.system.interruption import STOP_SIGNALS
from tests.support.command_line import ROOT, environment


@dataclass(frozen=True)
class CommandResult:
    """How a command ended: its exit code and what it printed."""

    returncode: int
    stdout: str
    stderr: str


def train_in_process(folder: Path, *arguments: str, **variables: str) -> CommandResult:
    """Runs train.py in a folder, offline; with `variables` in its environment."""
    path = str(ROOT / "train.py")

    def run() -> None:
        runpy.run_path(path, run_name="__main__")

    return _run(folder, run, [path, *arguments], variables)


def hybrid_ir_in_process(folder: Path, *arguments: str, **variables: str) -> CommandResult:
    """Runs a `hybrid-ir` command in a folder, offline; with `variables` in its environment."""
    return _run(folder, main, ["hybrid-ir", *arguments], variables)


def python_in_process(folder: Path, script: str, **variables: str) -> CommandResult:
    """Runs a script of a folder in it, offline; with `variables` in its environment."""

    def run() -> None:
        runpy.run_path(str(folder / script), run_name="__main__")

    return _run(folder, run, [script], variables)


def _run(
    folder: Path, function: Callable[[], None], argv: list[str], variables: dict[str, str]
) -> CommandResult:
    stdout = io.StringIO()
    stderr = io.StringIO()
    returncode = 0
    # Which folder is free is remembered for the rest of a process.
    identity.choose_run_folder.cache_clear()
    with (
        _keep_signal_handlers(),
        mock.patch.dict(os.environ, environment(folder, **variables), clear=True),
        mock.patch.object(sys, "argv", argv),
        mock.patch.object(sys, "path", list(sys.path)),
        contextlib.chdir(folder),
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr),
    ):
        try:
            function()
        except SystemExit as end:
            returncode = end.code if isinstance(end.code, int) else int(end.code is not None)
        except Exception:
            traceback.print_exc()
            returncode = 1
    return CommandResult(returncode, stdout.getvalue(), stderr.getvalue())


@contextlib.contextmanager
def _keep_signal_handlers() -> Iterator[None]:
    """Puts the handlers back that a run replaces while it listens for requests to stop."""
    handlers = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
