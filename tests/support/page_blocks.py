"""Blocks of code in a page of the documentation, and how a test runs them.

A comment before a block says what is different in a test:

    <!-- test: trainer.max_steps=20 exit=3 -->   values of keys, and the expected exit code
    <!-- test: skip: needs a GPU -->             not run, for this reason
    <!-- test: setup: hybrid-ir train ... -->    run before, unless its hydra.run.dir is there
"""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from tests.support.in_process import CommandResult, hybrid_ir_in_process, python_in_process

COMMENT = re.compile(r"^<!-- test: (.*) -->$")
FENCE = re.compile(r'^```(\w+)(?: title="([^"]+)")?$')
SKIP = "skip: "
SETUP = "setup: "
EXIT = "exit"


@dataclass(frozen=True)
class Block:
    """A block of code of a page.

    Attributes:
        language: as the fence names it.
        title: the file that it is; None for none.
        lines: the code.
        notes: what the comments before it say.
    """

    language: str
    title: str | None
    lines: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def skip_reason(self) -> str | None:
        """Why a test does not run it; None if it does."""
        for note in self.notes:
            if note.startswith(SKIP):
                return note.removeprefix(SKIP)
        return None

    @property
    def setups(self) -> list[str]:
        """The commands that must have run before."""
        return [note.removeprefix(SETUP) for note in self.notes if note.startswith(SETUP)]

    @property
    def values(self) -> dict[str, str]:
        """The values of keys in a test."""
        values = {}
        for note in self.notes:
            if not note.startswith((SKIP, SETUP)):
                values.update(setting.split("=", 1) for setting in note.split())
        return values


def read_blocks(path: Path) -> list[Block]:
    """Returns the blocks of a page in their order."""
    blocks = []
    notes: list[str] = []
    lines = iter(path.read_text(encoding="utf-8").splitlines())
    for line in lines:
        comment = COMMENT.match(line)
        fence = FENCE.match(line)
        if comment:
            notes.append(comment.group(1))
        elif fence:
            code = []
            for code_line in lines:
                if code_line == "```":
                    break
                code.append(code_line)
            blocks.append(Block(fence.group(1), fence.group(2), tuple(code), tuple(notes)))
            notes = []
        elif line.strip():
            assert not notes, f"{path.name}: a comment of a test is not before a block: {line}"
    return blocks


def run_page(path: Path, folder: Path, cache: Path) -> None:
    """Writes the files of a page, and runs its commands, in their order."""
    for block in read_blocks(path):
        if block.title is not None:
            file = folder / block.title
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("\n".join(block.lines) + "\n", encoding="utf-8")
        if block.language != "bash" or block.skip_reason is not None:
            continue
        for command in block.setups:
            run_setup(command, folder, cache)
        values = block.values
        expected = int(values.pop(EXIT, "0"))
        for line in block.lines:
            result = run_line(replace_values(line, values), folder, cache)
            output = f"{result.stdout[-3000:]}\n{result.stderr[-3000:]}"
            assert result.returncode == expected, f"{path.name}: {line}\n{output}"


def run_setup(command: str, folder: Path, cache: Path) -> None:
    """Runs a command unless the folder that it writes is there."""
    for word in shlex.split(command):
        key, _, value = word.partition("=")
        if key == "hydra.run.dir" and (folder / value).exists():
            return
    result = run_line(shlex.split(command), folder, cache)
    assert result.returncode == 0, f"{command}\n{result.stderr[-3000:]}"


def replace_values(line: str, values: dict[str, str]) -> list[str]:
    """Returns the words of a command with other values of keys."""
    words = []
    for word in shlex.split(line):
        if word.partition("=")[0] not in values:
            words.append(word)
    for key, value in values.items():
        words.append(f"{key}={value}")
    return words


def run_line(words: list[str], folder: Path, cache: Path) -> CommandResult:
    """Runs `hybrid-ir ...` or `python SCRIPT` in a folder."""
    variables = {"HYBRID_IR_CACHE": str(cache)}
    if words[0] == "hybrid-ir":
        return hybrid_ir_in_process(folder, *words[1:], **variables)
    assert words[0] == "python" and len(words) == 2, words
    return python_in_process(folder, words[1], **variables)
