"""The real command line in real processes, and configs as the command line composes them."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import DictConfig

from hybrid_ir.runs.conf import compose_config

ROOT = Path(__file__).parents[2]
HYBRID_IR = "import sys; from hybrid_ir.cli.main import main; sys.argv[0] = 'hybrid-ir'; main()"
# Seconds after which a process hangs, however busy the machine is.
HANG_SECONDS = 600


class StartedProcess(subprocess.Popen):
    """A process of the command line that writes what it prints into a file of its own.

    Processes of an earlier run may still print when this one has started.

    Attributes:
        output_file: what it and the processes that it starts print.
    """

    def __init__(self, command: list[str], place: Path, variables: dict[str, str]):
        number = len(list(place.glob("output_*.txt")))
        self.output_file = place / f"output_{number}.txt"
        with open(self.output_file, "xb") as output:
            super().__init__(
                command,
                cwd=place,
                stdout=output,
                stderr=output,
                env=environment(place, **variables),
            )


def environment(place: Path, **variables: str) -> dict[str, str]:
    """Returns the variables of a process that runs offline, with its caches in a folder."""
    return {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "HYBRID_IR_CACHE": str(place / "cache"),
        "COLUMNS": "150",
        "NO_COLOR": "1",
        "PYTHONPATH": str(ROOT),
        **variables,
    }


def train_command(*arguments: str) -> list[str]:
    """Returns the command that runs train.py."""
    return [sys.executable, str(ROOT / "train.py"), *arguments]


def train(place: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess:
    """Runs train.py in a folder, and returns when it has ended."""
    return _run(train_command(*arguments), place, variables)


def start(place: Path, *arguments: str, **variables: str) -> StartedProcess:
    """Starts train.py in a folder; `read_output` has what it prints."""
    return StartedProcess(train_command(*arguments), place, variables)


def hybrid_ir(place: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess:
    """Runs a `hybrid-ir` command in a folder, and returns when it has ended."""
    return _run([sys.executable, "-c", HYBRID_IR, *arguments], place, variables)


def start_hybrid_ir(place: Path, *arguments: str, **variables: str) -> StartedProcess:
    """Starts a `hybrid-ir` command in a folder; `read_output` has what it prints."""
    return StartedProcess([sys.executable, "-c", HYBRID_IR, *arguments], place, variables)


def start_module(place: Path, *arguments: str, **variables: str) -> StartedProcess:
    """Starts a module of Python in a folder; `read_output` has what it prints."""
    return StartedProcess([sys.executable, "-m", *arguments], place, variables)


def read_output(process: StartedProcess) -> str:
    """Returns what a process has printed so far."""
    return process.output_file.read_text()


def _run(command: list[str], place: Path, variables: dict[str, str]) -> subprocess.CompletedProcess:
    return subprocess.run(
        command,
        cwd=place,
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
        env=environment(place, **variables),
    )


def wait_until(condition: Callable[[], bool], poll_seconds: float = 0.05) -> None:
    """Waits until a condition holds; fails only if it never does, not on a slow machine."""
    end = time.monotonic() + HANG_SECONDS
    while not condition():
        assert time.monotonic() < end
        time.sleep(poll_seconds)


def is_alive(pid: int) -> bool:
    """Returns whether a process runs; a zombie does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    state = status.rpartition(")")[2].split()[0]
    return state != "Z"


def find_processes(text: str) -> list[int]:
    """Returns the other processes that have a text in their command."""
    output = subprocess.run(["pgrep", "-f", text], capture_output=True, text=True).stdout
    pids = [int(pid) for pid in output.split()]
    return [pid for pid in pids if pid != os.getpid() and is_alive(pid)]


def compose_train_config(*overrides: str) -> DictConfig:
    """Returns the config of train.py with some keys changed."""
    return compose_config("train", list(overrides))


@pytest.fixture(scope="session")
def place(tmp_path_factory) -> Path:
    """The folder in which the command line is used; all its processes share a cache there."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="session")
def trained(place) -> Path:
    """The folder of a short run of everything."""
    folder = place / "one"
    run = train(
        place,
        "debug=smoke",
        f"hydra.run.dir={folder}",
        "logger=wandb",
        WANDB_SILENT="true",
        WANDB_API_KEY="",
    )
    assert run.returncode == 0, run.stderr
    assert "batch card" in run.stdout and "mAP by query language" in run.stdout
    return folder
