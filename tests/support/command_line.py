"""The real command line, in real processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HYBRID_IR = "import sys; from hybrid_ir.cli.main import main; sys.argv[0] = 'hybrid-ir'; main()"


def environment(place: Path, **more: str) -> dict[str, str]:
    return {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "HYBRID_IR_CACHE": str(place / "cache"),
        "COLUMNS": "150",
        "NO_COLOR": "1",
        "PYTHONPATH": str(ROOT),
        **more,
    }


def train(place: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess:
    """train.py in a folder of its own, offline; returns when it has ended."""
    return subprocess.run(
        [sys.executable, str(ROOT / "train.py"), *arguments],
        cwd=place,
        capture_output=True,
        text=True,
        timeout=600,
        env=environment(place, **more),
    )


def start(place: Path, *arguments: str, **more: str) -> subprocess.Popen:
    """train.py likewise, not waited for; what it says is in `said` of the folder."""
    with open(place / "said", "ab") as said:
        return subprocess.Popen(
            [sys.executable, str(ROOT / "train.py"), *arguments],
            cwd=place,
            stdout=said,
            stderr=said,
            env=environment(place, **more),
        )


def hybrid_ir(place: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess:
    """A `hybrid-ir` command, likewise."""
    return subprocess.run(
        [sys.executable, "-c", HYBRID_IR, *arguments],
        cwd=place,
        capture_output=True,
        text=True,
        timeout=600,
        env=environment(place, **more),
    )


def start_hybrid_ir(place: Path, *arguments: str, **more: str) -> subprocess.Popen:
    """A `hybrid-ir` command, not waited for; what it says is in `said` of the folder."""
    with open(place / "said", "ab") as said:
        return subprocess.Popen(
            [sys.executable, "-c", HYBRID_IR, *arguments],
            cwd=place,
            stdout=said,
            stderr=said,
            env=environment(place, **more),
        )


@pytest.fixture(scope="session")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="session")
def trained(place) -> Path:
    """The folder of a short run of everything."""
    folder = place / "one"
    done = train(
        place,
        "debug=smoke",
        f"hydra.run.dir={folder}",
        "logger=wandb",
        WANDB_SILENT="true",
        WANDB_API_KEY="",
    )
    assert done.returncode == 0, done.stderr
    assert "batch card" in done.stdout and "mAP by query language" in done.stdout
    return folder
