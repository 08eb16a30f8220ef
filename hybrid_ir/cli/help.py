"""What a command takes, printed from the YAML files of conf/ with their comments."""

import re
from collections.abc import Sequence
from pathlib import Path

import yaml

from hybrid_ir.runs.shipped_files import find_shipped_file, list_options

# Lines that name code, and the lists of defaults, are no keys that a user sets.
HIDDEN = re.compile(r"^\s*(_target_|_partial_|# @package)\b")
TRAIN_USAGE = """python train.py [KEY=VALUE ...]        the same as hybrid-ir train [KEY=VALUE ...]
python train.py -m KEY=A,B ...         every combination, each in a process: hybrid-ir sweep
python train.py --config-dir FOLDER    options of your own, in folders named like those of conf/
python train.py --cfg job              the config that a command would run with

GROUP=OPTION chooses a part of conf/ by its name, GROUP.KEY=VALUE sets a key of it. The keys of the
default option of each group follow; `hybrid-ir data --help NAME` shows those of a data set.
"""


def wants_help(arguments: Sequence[str]) -> bool:
    """Returns whether a user asks what a command takes."""
    return "-h" in arguments or "--help" in arguments


def print_command_help(command: str) -> None:
    """Prints the keys of conf/COMMAND.yaml and of the groups it starts from, with comments."""
    conf = find_shipped_file("conf")
    path = conf / f"{command}.yaml"
    print(read_visible_lines(path))
    for group, option in read_defaults(path):
        if option in ("???", None):
            options = ", ".join(list_options(group))
            print(f"# {group}=OPTION, one of {options}\n")
        elif (conf / group / f"{option}.yaml").is_file():
            print(f"# conf/{group}/{option}.yaml")
            print(read_visible_lines(conf / group / f"{option}.yaml"))


def print_train_help() -> None:
    """Prints every group of a training with its options, and every key with its comment."""
    conf = find_shipped_file("conf")
    path = conf / "train.yaml"
    print(TRAIN_USAGE)
    print(read_visible_lines(path))
    for group, option in read_defaults(path):
        folder = conf / group.partition("@")[0]
        if not folder.is_dir() or group == "hydra":
            continue
        key = group.partition("@")[2] or group
        print(f"# {group}={' | '.join(list_all_options(folder, option))}")
        for name in ("default", option):
            file = folder / f"{name}.yaml"
            if file.is_file():
                print(name_keys_of_group(key, read_visible_lines(file)))
                break


def read_visible_lines(path: Path) -> str:
    """Returns the lines of a YAML file, without its list of defaults and names of code."""
    visible = []
    inside_defaults = False
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("defaults:"):
            inside_defaults = True
            continue
        if inside_defaults and line.startswith((" ", "-")):
            continue
        inside_defaults = False
        if not HIDDEN.match(line):
            visible.append(line)
    return "\n".join(visible).strip("\n") + "\n"


def name_keys_of_group(group: str, text: str) -> str:
    """Returns the keys of a group with the group's name in front, as they are typed."""
    lines = []
    for line in text.splitlines():
        is_key = bool(re.match(r"^[A-Za-z_]+:", line))
        lines.append(f"{group}.{line}" if is_key else line)
    return "\n".join(lines) + "\n"


def list_all_options(folder: Path, chosen: str | None = None) -> list[str]:
    """Returns the options in a folder of conf/, `default` only if it is the chosen one."""
    names = sorted(path.stem for path in folder.glob("*.yaml"))
    return [name for name in names if name != "default" or chosen == "default"]


def read_defaults(path: Path) -> list[tuple[str, str | None]]:
    """Returns group and option of each entry of the defaults list of a YAML file."""
    defaults = []
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    for entry in config.get("defaults", []):
        if not isinstance(entry, dict):
            continue
        for group, option in entry.items():
            name = group.removeprefix("optional ").removeprefix("override ")
            if not name.startswith("hydra/"):
                defaults.append((name, option))
    return defaults
