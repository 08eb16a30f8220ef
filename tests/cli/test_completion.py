"""Completion: what Tab offers, asked of the function, and of real shells."""

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hybrid_ir.cli.completion import SCRIPTS, SHELLS, list_words
from hybrid_ir.cli.main import COMMANDS, OWN_ARGUMENTS, TRAINING
from hybrid_ir.runs.shipped_files import list_options
from tests.cli.test_light_start import HEAVY, list_loaded
from tests.support.command_line import HANG_SECONDS, HYBRID_IR, environment

ALL_COMMANDS = {**dict.fromkeys([*TRAINING, *OWN_ARGUMENTS, "completion"]), **COMMANDS}
# What a terminal prints besides text: colours, and where the cursor goes.
CONTROL = re.compile(r"\x1b[\[\]()][0-9;?]*[A-Za-z]?|[\x00-\x09\x0b-\x1f]")


def offer(line: str) -> list[str]:
    """Returns what Tab offers behind `hybrid-ir LINE`."""
    return list_words(line.split(" "), ALL_COMMANDS)


@pytest.mark.parametrize("command", sorted(ALL_COMMANDS))
def test_every_command_is_offered(command):
    assert command in offer("")
    assert command in offer(command[:3])


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_key_that_is_offered_is_one_of_the_command(command):
    words = offer(f"{command} ")
    assert "out=" in words or "to=" in words or "index=" in words
    assert all(word.endswith(("=", ".")) for word in words)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("ev", ["evaluate"]),
        ("evaluate long", ["long_passages="]),
        ("evaluate benchmark=xq", ["benchmark=[xquad_r"]),
        ("evaluate benchmark=[xquad_r,mlq", ["benchmark=[xquad_r,mlqa_r"]),
        ("evaluate benchmark=[xquad_r", ["benchmark=[xquad_r]", "benchmark=[xquad_r,"]),
        ("evaluate 'benchmark=[belebe", ["benchmark=[belebele"]),
        ("evaluate benchmark=belebele benchmark.la", ["benchmark.languages="]),
        ("evaluate model=lab", ["model=labse"]),
        ("evaluate save_embeddings=", ["save_embeddings=false", "save_embeddings=true"]),
        ("evaluate checkpoint=", []),
        ("evaluate postprocess_on=xq", ["postprocess_on=xquad_r"]),
        ("bias corpus=xq", ["corpus=xquad_r"]),
        ("bias --fail", ["--fail-if"]),
        ("bias --fail-if ", []),
        ("evaluate --he", ["--help"]),
        ("train sampler=hyb", ["sampler=hybrid", "sampler=hybrid_example"]),
        ("train sam", ["sampler.", "sampler="]),
        ("train sampler.mono", ["sampler.monolingual_share="]),
        ("train model=xlmr model.rev", ["model.revision="]),
        ("train model/", ["model/lora="]),
        ("train benchmark@validation=xq", ["benchmark@validation=xquad_r"]),
        ("sweep retry=", ["retry=failed"]),
        ("doctor proc", ["processes="]),
        ("latency benchmark=ml", ["benchmark=mldr", "benchmark=mlqa_r"]),
        ("data fe", ["fetch"]),
        ("data fetch miracl_t", ["miracl_train"]),
        ("data fetch xquad_r mir", ["mirror="]),
        ("data import js", ["jsonl"]),
        ("data clean against=[xq", ["against=[xquad_r"]),
        ("data ide", ["identify"]),
        ("data identify lan", ["languages="]),
        ("data identify path=", []),
        ("completion ", ["bash", "zsh", "fish"]),
        ("nonsense ", []),
    ],
)
def test_the_words_that_fit_are_offered(line, words):
    assert offer(line) == words


def test_every_option_of_a_group_is_offered():
    for group in ("benchmark", "corpus", "loss", "model", "optimizer", "sampler"):
        offered = [word.partition("=")[2] for word in offer(f"train {group}=")]
        assert set(list_options(group)) <= set(offered), group


@pytest.mark.parametrize("words", [["evaluate", "benchmark=["], ["train", "model."], [""]])
def test_a_tab_loads_next_to_nothing(tmp_path, words):
    loaded, printed = list_loaded(tmp_path, HYBRID_IR, "completion", "words", "--", *words)
    assert printed
    assert not loaded & {"hydra", "omegaconf", *HEAVY}


def test_another_shell_is_refused(tmp_path):
    command = [sys.executable, "-c", HYBRID_IR, "completion", "tcsh"]
    ended = subprocess.run(command, env=environment(tmp_path), capture_output=True, text=True)
    assert ended.returncode == 2
    assert "must be one of bash, zsh, fish" in ended.stderr


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """A folder with a program `hybrid-ir`, and a file for file names."""
    folder = tmp_path_factory.mktemp("shells")
    program = folder / "bin" / "hybrid-ir"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\nfrom hybrid_ir.cli.main import main\nmain()\n")
    program.chmod(0o755)
    (folder / "my_run").mkdir()
    return folder


def shell_variables(folder: Path) -> dict[str, str]:
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return environment(folder, PATH=path, HOME=str(folder), TERM="dumb", PS1="$ ")


def require_shell(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def press_keys(command: list[str], folder: Path, setup: str, keys: str, expected: str) -> str:
    """Types into an interactive shell until it shows what is expected, and returns the screen."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.execvpe(command[0], command, shell_variables(folder))
    screen = ""
    end = time.monotonic() + HANG_SECONDS / 20
    steps = [(f"{setup}; echo rea''dy\n", "ready"), (keys, expected)]
    try:
        for text, awaited in steps:
            os.write(terminal, text.encode())
            start = len(screen)
            while awaited not in screen[start:] and time.monotonic() < end:
                if select.select([terminal], [], [], 0.2)[0]:
                    screen += CONTROL.sub("", os.read(terminal, 65536).decode(errors="replace"))
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        os.close(terminal)
    return screen


CASES = [
    ("hybrid-ir eval\t", "hybrid-ir evaluate "),
    ("hybrid-ir evaluate benchmark=[xqu\t", "benchmark=[xquad_r"),
    ("hybrid-ir evaluate benchmark=[xquad_r,mlq\t", "benchmark=[xquad_r,mlqa_r"),
    ("hybrid-ir train sampler.mono\t", "sampler.monolingual_share="),
    ("hybrid-ir evaluate checkpoint=my_\t", "checkpoint=my_run"),
]


@pytest.mark.parametrize(("keys", "expected"), CASES)
def test_bash_completes_what_is_typed(installed, keys, expected):
    bash = require_shell("bash")
    setup = "bind 'set enable-bracketed-paste off'; eval \"$(hybrid-ir completion bash)\""
    screen = press_keys([bash, "--norc", "--noprofile", "-i"], installed, setup, keys, expected)
    assert expected in screen.rpartition("ready")[2], screen


@pytest.mark.parametrize(("keys", "expected"), CASES)
def test_zsh_completes_what_is_typed(installed, keys, expected):
    zsh = require_shell("zsh")
    setup = 'autoload -U compinit; compinit -u; eval "$(hybrid-ir completion zsh)"'
    # An open bracket begins a pattern in zsh, so it is typed and completed with a backslash.
    keys = keys.replace("[", "\\[")
    expected = expected.replace("[", "\\[")
    screen = press_keys([zsh, "-f", "-i"], installed, setup, keys, expected)
    assert expected in screen.rpartition("ready")[2], screen


@pytest.mark.parametrize(("keys", "expected"), CASES)
def test_fish_completes_what_is_typed(installed, keys, expected):
    fish = require_shell("fish")
    line = keys.rstrip("\t")
    program = f"hybrid-ir completion fish | source; complete -C '{line}'"
    ended = subprocess.run(
        [fish, "--no-config", "-c", program],
        cwd=installed,
        env=shell_variables(installed),
        capture_output=True,
        text=True,
    )
    offered = [shown.partition("\t")[0] for shown in ended.stdout.splitlines()]
    assert expected.split()[-1].rstrip("/") in [word.rstrip("/") for word in offered], ended


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_is_right_for_its_shell(shell):
    program = require_shell(shell)
    script = SCRIPTS / f"hybrid-ir.{shell}"
    checked = subprocess.run([program, "-n", str(script)], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
