"""The commands of a page of Markdown, and the short form in which a test runs them."""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

# The run of the main job, as pages name it.
MAIN_RUN = "outputs/cldr_facts/tiny_hybrid_seed1/b49edd29"
# Beginnings of lines that are commands of ours.
COMMANDS = ("hybrid-ir ", "python train.py", "python -c ")
# Data, weights or machines that a command needs and that an offline machine without a GPU lacks:
# of such a command only the arguments are checked.
NEEDS = {
    "a data set": r"xquad|mlqa|squad|belebele|miracl|mldr|mixture|corpora/|pairs\.jsonl|mtebs?\b",
    "files of one's own": r"my_conf|my_pairs|my_corpus|MY_|YOUR|path=",
    "a GPU or many processes": r"trainer=(gpu|ddp)|devices=|doctor|\bsweep\b| -m | -m$",
    "an account": r"logger=wandb|hub=",
    "a reader who stops it": r"\bserve\b",
    "minutes": r"languages=all|resume=auto|train .*ckpt_path|train .*resume_from|latency",
    "a model that translates": r"\btranslate\b",
    "a name to fill in": r"\bNAME\b|\|",
}
# What makes a command short; the last value of a key counts.
SHORT = {
    "bias": ["languages=[en,de]", "max_queries=4"],
    "compare": ["flips=100", "resamples=100"],
    "debias": ["on=cldr_facts_dev", "questions=9", "split.cldr_facts_dev.languages=[en,de]"],
    "evaluate": [],
    "export": ["benchmark=cldr_facts_dev", "max_questions=2"],
    "index": ["benchmark.max_queries=5"],
    "train": ["debug=smoke"],
}


@dataclass(frozen=True)
class ShownCommand:
    """A command of a page.

    Attributes:
        line: as it is shown, without its comment.
        words: the words behind `hybrid-ir`, or behind `python` with it in front.
        needs: what it needs that an offline machine lacks; None if it runs everywhere.
    """

    line: str
    words: tuple[str, ...]
    needs: str | None


def read_commands(page: Path) -> list[ShownCommand]:
    """Returns the commands in the code blocks of a page, in their order."""
    commands = []
    for line in _list_code_lines(page.read_text(encoding="utf-8")):
        if line.startswith(COMMANDS):
            commands.append(_read_command(line))
    return commands


def _list_code_lines(text: str) -> list[str]:
    """Returns the lines of indented and fenced blocks, and commands behind && on their own."""
    lines = []
    is_fenced = False
    for line in text.replace("\\\n", " ").splitlines():
        if line.startswith("```"):
            is_fenced = not is_fenced
        elif is_fenced or line.startswith("    "):
            lines += [part.strip().removeprefix("$ ") for part in line.split(" && ")]
    return lines


def _read_command(line: str) -> ShownCommand:
    line = re.sub(r"\s{2,}#.*$|\s#\s.*$", "", line).strip()
    words = []
    for word in shlex.split(line):
        if word != "...":
            words.append("corpus=cldr_facts" if word == "corpus=NAME" else word)
    needs = None
    for name, pattern in NEEDS.items():
        if needs is None and re.search(pattern, line):
            needs = name
    if words[:2] == ["python", "train.py"]:
        words = ["train", *words[2:]]
    elif words[0] == "hybrid-ir":
        words = words[1:]
    return ShownCommand(line, tuple(words), needs)


def shorten_command(words: tuple[str, ...], number: int) -> list[str]:
    """Returns the words of a command that runs in seconds, on what is there after the main job.

    Args:
        words: as a page shows them.
        number: of the command; it names the folder that it makes.
    """
    short = []
    for word in words:
        key, equals, value = word.partition("=")
        short.append(f"{key}={_choose_value(key, value, number)}" if equals else word)
    short += SHORT.get(words[0], [])
    if words[0] == "evaluate":
        names = re.findall(r"cldr_facts\w*", " ".join(words)) or ["cldr_facts_dev"]
        short = [word for word in short if not word.startswith("benchmark=")]
        chosen = f"benchmark=[{','.join(names)}]"
        short += [chosen, "benchmark.languages=[en,de]", "benchmark.max_queries=4"]
    return short


def choose_first_values(words: Sequence[str]) -> list[str]:
    """Returns the first job of a sweep: without -m, and with the first value of each list A,B."""
    chosen = []
    for word in words:
        key, equals, value = word.partition("=")
        is_several = bool(equals) and "," in value and value[0] not in "[{'"
        if is_several:
            word = f"{key}={value.partition(',')[0]}"
        if word != "-m":
            chosen.append(word)
    return chosen


def _choose_value(key: str, value: str, number: int) -> str:
    if key == "checkpoint" or (key == "model" and "=" not in value):
        return MAIN_RUN
    if key == "runs":
        return f"[{MAIN_RUN}]"
    if key == "index":
        return "made_index"
    if key in ("to", "out"):
        return f"made_{number}"
    return value
