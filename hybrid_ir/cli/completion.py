"""`hybrid-ir completion bash|zsh|fish`: a script for the shell, and the words that it offers.

The scripts ask `hybrid-ir completion words -- WORD ...` at every Tab. The answer is read from the
YAML files of conf/, so that new keys and options need no new script, and nothing slow is loaded.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hybrid_ir.cli import completion_keys

if TYPE_CHECKING:
    from hybrid_ir.cli.main import Command

SHELLS = ("bash", "zsh", "fish")
SCRIPTS = Path(__file__).parent / "shells"
USAGE = """hybrid-ir completion bash|zsh|fish  prints a script: Tab completes commands, keys, values

  bash:  hybrid-ir completion bash > ~/.local/share/bash-completion/completions/hybrid-ir
         or, without the package bash-completion: eval "$(hybrid-ir completion bash)" in ~/.bashrc
  zsh:   hybrid-ir completion zsh > FOLDER/_hybrid-ir, for a FOLDER of fpath
         or eval "$(hybrid-ir completion zsh)" in ~/.zshrc, behind compinit
  fish:  hybrid-ir completion fish > ~/.config/fish/completions/hybrid-ir.fish

A clone's train.py has Hydra's own completion: eval "$(python train.py -sc install=bash)"
"""
DATA_VERBS = ("describe", "fetch", "verify", "import", "clean", "identify")
# What the scripts ask for; no word for people.
WORDS = "words"


def main(arguments: Sequence[str], commands: "Mapping[str, Command | None]") -> None:
    """Prints the script of a shell, or the words that may stand at the end of a command line.

    Args:
        arguments: a shell; or `words --` and the words behind `hybrid-ir`, the last one unfinished.
        commands: all by their names; None for those that read their arguments themselves.
    """
    if arguments and arguments[0] == WORDS:
        # All in one write: a shell that has seen enough may close the pipe.
        words = [word for word in arguments[1:] if word != "--"]
        found = list_words(words or [""], commands)
        sys.stdout.write("".join(f"{word}\n" for word in found))
    elif len(arguments) == 1 and arguments[0] in SHELLS:
        print((SCRIPTS / f"hybrid-ir.{arguments[0]}").read_text(encoding="utf-8"), end="")
    elif not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE, end="")
    else:
        shell = " ".join(arguments)
        print(
            f"error: completion {shell}: the shell must be one of bash, zsh, fish", file=sys.stderr
        )
        sys.exit(2)


def list_words(words: Sequence[str], commands: "Mapping[str, Command | None]") -> list[str]:
    """Returns what the last word may become; an empty list leaves it to the shell, as a file name.

    A word that ends in `=`, `.` or `,` goes on.

    Args:
        words: those behind `hybrid-ir`; the last one is unfinished and may be empty.
        commands: all by their names; None for those that read their arguments themselves.
    """
    before = list(words[:-1])
    current = words[-1].lstrip("'\"")
    if not before:
        return _filter([*sorted(commands), "--help", "--version"], current)
    command = before[0]
    if command == "completion":
        return _filter(SHELLS, current) if len(before) == 1 else []
    if command == "data":
        return _list_words_of_data(before[1:], current)
    if command not in commands or before[-1] in ("--config-dir", "-cd"):
        return []
    entry = commands[command]
    options = [] if entry is None else list(entry.options)
    if before[-1] in options:
        return []
    if current.startswith("-"):
        return _filter(["--config-dir", "--help", *options], current)
    keys = completion_keys.read_command(command, before[1:])
    if entry is not None:
        completion_keys.add_benchmarks(
            keys, before[1:], entry.benchmark_list, list(entry.benchmark_keys)
        )
    return completion_keys.complete_argument(keys, current)


def _list_words_of_data(before: list[str], current: str) -> list[str]:
    """Returns what the last word of `hybrid-ir data ...` may become."""
    if not before:
        return _filter([*DATA_VERBS, "--help"], current)
    verb = before[0]
    if verb == "clean":
        keys = completion_keys.read_command("clean", before[1:])
        completion_keys.add_benchmarks(keys, before[1:], "against")
        return completion_keys.complete_argument(keys, current)
    if verb == "identify":
        return completion_keys.complete_argument(completion_keys.read_command(verb), current)
    if len(before) == 1:
        return _filter(completion_keys.list_data_sets(verb), current)
    if verb in DATA_VERBS:
        keys = completion_keys.read_data_set(verb, before[1])
        return completion_keys.complete_argument(keys, current)
    return []


def _filter(candidates: Sequence[str], current: str) -> list[str]:
    return [candidate for candidate in candidates if candidate.startswith(current)]
