"""The keys of a command and the values that they may have, read from conf/ without Hydra."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from hybrid_ir.cli.help import list_all_options
from hybrid_ir.runs.shipped_files import find_shipped_file, list_options

# The parser in C takes a tenth of the time, where PyYAML has it.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
FORMS = ("beir", "datasets", "flagembedding", "hub", "jsonl", "parquet", "tevatron", "tsv")
BOOLEANS = ("false", "true")
# Keys of `sweep` and `doctor` that are in no YAML file.
EXTRA_KEYS = {
    "doctor": ("processes", "out"),
    "sweep": ("devices", "folder", "retry", "slots"),
}
TRAINING = ("doctor", "sweep", "train")


@dataclass
class CommandKeys:
    """What may be typed behind a command.

    Attributes:
        values: the values that are known of each key; none for those that take any.
        lists: keys that take `[A,B]`, and what may stand in it.
    """

    values: dict[str, Sequence[str]] = field(default_factory=dict)
    lists: dict[str, Sequence[str]] = field(default_factory=dict)


def complete_argument(keys: CommandKeys, current: str) -> list[str]:
    """Returns what an unfinished KEY=VALUE may become.

    Keys with dots are offered as a whole once their first part is typed.
    """
    key, equals, value = current.partition("=")
    mark = "+" if key.startswith("+") else ""
    key = key.removeprefix("+")
    if not equals:
        return _complete_key(keys, key, mark)
    if key in keys.lists:
        return _complete_list(f"{mark}{key}=", keys.lists[key], value)
    words = []
    for known in keys.values.get(key, ()):
        if known.startswith(value):
            words.append(f"{mark}{key}={known}")
    return words


def _complete_key(keys: CommandKeys, current: str, mark: str) -> list[str]:
    words = set()
    for key in (*keys.values, *keys.lists):
        first, dot, _ = key.partition(".")
        is_shortened = bool(dot) and "." not in current
        word = f"{first}." if is_shortened else f"{key}="
        if word.startswith(current):
            words.add(mark + word)
    return sorted(words)


def _complete_list(start: str, known: Sequence[str], value: str) -> list[str]:
    """Returns what an unfinished list may become: the items that are not in it, or its end."""
    bare = value.removeprefix("[")
    done, comma, item = bare.rpartition(",")
    chosen = done.split(",") if done else []
    opened = f"{start}[{done}{comma}"
    words = []
    for name in known:
        if name.startswith(item) and name not in chosen:
            # One that is there already is closed, or another one follows.
            endings = ("]", ",") if name == item else ("",)
            for ending in endings:
                words.append(f"{opened}{name}{ending}")
    return words


def read_command(command: str, arguments: Sequence[str] = ()) -> CommandKeys:
    """Reads the keys of a command; those of the options that its arguments choose among them.

    Args:
        command: names conf/COMMAND.yaml; train.yaml for `sweep` and `doctor`.
        arguments: what stands behind it already.
    """
    file = "train" if command in TRAINING else command
    path = find_shipped_file("conf") / f"{file}.yaml"
    keys = CommandKeys()
    for key in EXTRA_KEYS.get(command, ()):
        keys.values[key] = ("failed",) if key == "retry" else ()
    if not path.is_file():
        return keys
    config = _read(path)
    # Behind the options of groups, as the file of the command overrides them.
    for group, option in _list_defaults(config):
        _add_group(keys, group, _find_choice(arguments, group, option))
    _add_values(keys, "", config)
    if command not in TRAINING:
        _add_choices_of_commands(keys)
    return keys


def _add_choices_of_commands(keys: CommandKeys) -> None:
    """Adds the values of keys that are no groups in a command, but name options of one."""
    if "model" in keys.values:
        keys.values["model"] = list_options("model")
    if "logger" in keys.values:
        keys.values["logger"] = ("none", "wandb")


def list_data_sets(verb: str) -> list[str]:
    """Returns the names that may follow a verb of `hybrid-ir data`."""
    if verb == "import":
        return list(FORMS)
    names = {*list_options("corpus"), *list_options("benchmark"), *list_options("experiment")}
    return sorted(names)


def read_data_set(verb: str, name: str) -> CommandKeys:
    """Reads the keys of a data set: bare in an import, under the name of their group elsewhere."""
    keys = CommandKeys()
    if verb == "fetch":
        keys.values["mirror"] = ()
    for group in ("corpus", "benchmark"):
        path = find_shipped_file("conf") / group / f"{name}.yaml"
        if not path.is_file():
            continue
        if verb != "import":
            _add_values(keys, f"{group}.", _read(path))
        elif group == "corpus":
            _add_values(keys, "", _read(path))
    return keys


@cache
def _read(path: Path) -> dict[str, Any]:
    return yaml.load(path.read_text(encoding="utf-8"), Loader=LOADER) or {}


def _list_defaults(config: dict[str, Any]) -> list[tuple[str, str | None]]:
    """Returns the groups of a config and the options that they start from, without Hydra's own."""
    defaults = []
    for entry in config.get("defaults", []):
        if not isinstance(entry, dict):
            continue
        for group, option in entry.items():
            name = group.removeprefix("override ")
            if "hydra" not in name and not name.startswith("optional "):
                defaults.append((name, option))
    return defaults


def _find_choice(arguments: Iterable[str], group: str, option: str | None) -> str | None:
    """Returns the option of a group that the arguments choose, else the one it starts from."""
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key == group:
            option = value
    return option


def _add_group(keys: CommandKeys, group: str, option: str | None) -> None:
    """Adds the choice of a group, and the keys of the option that is chosen."""
    folder = find_shipped_file("conf") / group.partition("@")[0]
    if not folder.is_dir():
        return
    is_choice = group not in ("encoder", "paths")
    if is_choice:
        keys.values[group] = list_all_options(folder, option)
    prefix = "" if group == "encoder" else f"{group.partition('@')[2] or group}."
    _add_option(keys, prefix, folder, option)


def _add_option(keys: CommandKeys, prefix: str, folder: Path, option: str | None) -> None:
    """Adds the keys of an option and of those that it is built on."""
    path = folder / f"{option}.yaml"
    if not path.is_file() or folder.name == "experiment":
        return
    config = _read(path)
    for entry in config.get("defaults", []):
        if isinstance(entry, str) and entry not in ("_self_", option):
            _add_option(keys, prefix, folder, entry)
    _add_values(keys, prefix, config)
    for group, _ in _list_defaults(config):
        nested = folder / group
        if nested.is_dir():
            keys.values[f"{folder.name}/{group}"] = list_all_options(nested, "default")


def _add_values(keys: CommandKeys, prefix: str, config: dict[str, Any]) -> None:
    """Adds the keys of a mapping and of those in it, with what is known of their values."""
    for key, value in config.items():
        name = f"{prefix}{key}"
        if str(key).startswith("_") or (key == "defaults" and isinstance(value, list)):
            continue
        if isinstance(value, dict) and value:
            _add_values(keys, f"{name}.", value)
        else:
            keys.values[name] = BOOLEANS if isinstance(value, bool) else ()


def add_benchmarks(
    keys: CommandKeys,
    arguments: Sequence[str],
    benchmark_list: str | None,
    benchmark_keys: Sequence[str] = (),
) -> None:
    """Adds the names of benchmarks where a command takes them, and the keys of the chosen ones.

    Args:
        keys: of the command.
        arguments: what stands behind it already.
        benchmark_list: the key that names any number of benchmarks, if there is one.
        benchmark_keys: keys that name one.
    """
    for key in benchmark_keys:
        keys.values[key] = list_options("benchmark")
    if benchmark_list is None:
        return
    keys.values.pop(benchmark_list, None)
    keys.lists[benchmark_list] = list_options("benchmark")
    chosen = _find_choice(arguments, benchmark_list, None) or ""
    for name in chosen.strip("[]'\"").split(","):
        path = find_shipped_file("conf") / "benchmark" / f"{name}.yaml"
        if path.is_file():
            _add_values(keys, f"{benchmark_list}.", _read(path))
