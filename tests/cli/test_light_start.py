"""What is not loaded: help, configs and refusals need none of the libraries that take seconds."""

import shlex
import subprocess
import sys

import pytest

from tests.support.command_line import HYBRID_IR, ROOT, environment

HYDRA = ("hydra", "omegaconf")
# Libraries that take a second each, and those that come with them.
HEAVY = (
    "datasets",
    "lightning",
    "matplotlib",
    "numpy",
    "pandas",
    "pyarrow",
    "scipy",
    "tensorboard",
    "torch",
    "torchmetrics",
    "transformers",
    "wandb",
)
# Runs a program, then prints which libraries it has loaded, whatever way it ended.
PRINT_LIBRARIES = """
import atexit, sys
def show():
    print("LOADED", *sorted({name.partition(".")[0] for name in sys.modules}))
atexit.register(show)
"""
RUN_TRAIN = f"import runpy; runpy.run_path({str(ROOT / 'train.py')!r}, run_name='__main__')"


def list_loaded(folder, program: str, *arguments: str) -> tuple[set[str], str]:
    """Returns the libraries that a program has loaded when it ended, and what it printed."""
    command = [sys.executable, "-c", PRINT_LIBRARIES + program, *arguments]
    ended = subprocess.run(
        command,
        cwd=folder,
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    printed, _, loaded = ended.stdout.rpartition("LOADED ")
    return set(loaded.split()), printed


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["evaluate", "--help"],
        ["train", "--help"],
        ["sweep", "--help"],
        ["evalate"],
    ],
    ids=" ".join,
)
def test_help_loads_next_to_nothing(tmp_path, arguments):
    loaded, printed = list_loaded(tmp_path, HYBRID_IR, *arguments)
    assert "hybrid-ir" in printed
    assert not loaded & {*HYDRA, *HEAVY}


@pytest.mark.parametrize(
    "arguments",
    [
        ["evaluate", "bnchmark=xquad_r"],
        ["compare", "rns=x"],
        ["data", "describe", "squad", "corpus.langs=en"],
        ["data", "import", "jsonl", "pth=x", "to=y"],
        ["data", "clean", "corpus=squad", "agnst=[xquad_r]"],
        ["data", "identify", "pth=x", "to=y"],
        ["doctor", "trainer.max_step=3"],
        ["train", "trainer.max_step=3"],
        ["sweep", "trainer.max_step=3,4"],
    ],
    ids=" ".join,
)
def test_a_misspelt_key_is_refused_before_libraries_are_loaded(tmp_path, arguments):
    loaded, printed = list_loaded(tmp_path, HYBRID_IR, *arguments)
    assert "the config has no such key" in printed, printed
    assert not loaded & set(HEAVY)


def test_help_that_nobody_reads_ends_quietly(tmp_path):
    command = f"{sys.executable} -c {shlex.quote(HYBRID_IR)} train --help | head -n 1"
    ended = subprocess.run(
        ["bash", "-c", command], env=environment(tmp_path), capture_output=True, text=True
    )
    assert ended.stdout.startswith("python train.py")
    assert ended.stderr == ""


def test_a_run_says_where_it_goes_before_libraries_are_loaded(tmp_path):
    # The run ends where it would load torch.
    block = "import sys; sys.modules['torch'] = None\n"
    _, printed = list_loaded(tmp_path, block + RUN_TRAIN, "hydra.run.dir=here")
    assert printed.startswith(f"run folder: {tmp_path / 'here'}\n"), printed
