"""The one way from the arguments of a command to its config.

Every command takes KEY=VALUE arguments over conf/COMMAND.yaml. Most are Hydra's overrides. Three
kinds are read here instead, since Hydra's grammar would strip blanks, split paths at commas, or
take the key for a group of conf/: plain texts, lists of paths, and lists of benchmarks.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

from omegaconf import DictConfig, OmegaConf

from hybrid_ir.cli.argument_hints import describe_argument_without_value, describe_unknown_option
from hybrid_ir.cli.completion_keys import read_command
from hybrid_ir.cli.help import print_command_help, read_defaults, wants_help
from hybrid_ir.cli.path_lists import add_paths
from hybrid_ir.runs.conf import compose_config, require_options, set_values
from hybrid_ir.runs.shipped_files import find_shipped_file, list_options
from hybrid_ir.runs.suggestions import suggest

# Keys whose values are taken as they stand, in every command that has them.
PLAIN_TEXT_KEYS = {
    "backbone",
    "baseline",
    "checkpoint",
    "data_licence",
    "device",
    "host",
    "hub",
    "index",
    "latency",
    "licence",
    "logger",
    "metric",
    "model",
    "on",
    "out",
    "passage_prefix",
    "path",
    "queries",
    "query",
    "query_prefix",
    "revision",
    "to",
    "token",
}
# A key has no blanks: a question may hold an equals sign.
KEY_VALUE = re.compile(r"[~+]*[A-Za-z_][\w.@/-]*=")
PLAIN_TEXT_ENDINGS = (".folder", ".path", ".to")
PAIRED_KEYS = {"index", "model"}  # one value, or a list of two
# Keys whose values are lists of paths; a list may be given in parts, as a shell fills in wildcards.
PATH_LIST_KEYS = {"runs", "checkpoints", "results"}
# Keys of conf/encoder that `model.KEY=` means too, so that train and evaluate speak alike.
ENCODER_KEYS = {
    "backbone",
    "passage_max_length",
    "passage_prefix",
    "pooling",
    "query_max_length",
    "query_prefix",
    "revision",
    "trust_remote_code",
}
# Where a command can send its results, besides its folder.
RESULT_LOGGERS = ("none", "wandb")
OPTION_SEPARATOR = ";"  # between the values of an option that is given several times


@dataclass
class Arguments:
    """The arguments of a command, sorted by how they are read.

    Args:
        config_folders: folders of the user with groups like those of conf/ (`--config-dir`).
        overrides: in Hydra's grammar.
        plain_texts: values by key, as they stand; None for `null`.
        path_lists: paths by key; for keys with names, lists of paths by name.
        benchmarks: names in conf/benchmark, where a command takes several.
    """

    config_folders: list[str] = field(default_factory=list)
    overrides: list[str] = field(default_factory=list)
    plain_texts: dict[str, str | None] = field(default_factory=dict)
    path_lists: dict[str, list[str] | dict[str, list[str]]] = field(default_factory=dict)
    benchmarks: list[str] = field(default_factory=list)


def parse_command_line(
    command: str,
    arguments: Sequence[str],
    benchmark_list: str | None = None,
    benchmark_keys: Mapping[str, str] = MappingProxyType({}),
    text_list: str | None = None,
    plain_keys: Sequence[str] = (),
    options: Mapping[str, str] = MappingProxyType({}),
) -> DictConfig | None:
    """Composes the config of a command from its arguments.

    Args:
        command: names conf/COMMAND.yaml.
        arguments: KEY=VALUE each, `--config-dir FOLDER`, or `--help`.
        benchmark_list: the key that names any number of benchmarks, if the command has one. Each
            becomes a config of its own under that key: `benchmark=[a,b]` gives `benchmark.a` and
            `benchmark.b`. `benchmark.KEY=VALUE` sets a key of all that have it.
        benchmark_keys: keys whose value may name one more benchmark, and where its config is put.
        text_list: the key of arguments that are no KEY=VALUE, if the command takes texts.
        plain_keys: keys whose values are taken as they stand in this command alone.
        options: keys by what else they are called, as in `--fail-if VALUE`.

    Returns:
        The config; None after printing what the command takes, where that was asked for.

    Raises:
        ValueError: an argument without a value, an unknown key, option or benchmark.
    """
    if wants_help(arguments):
        print_command_help(command)
        return None
    arguments = replace_options(arguments, options)
    texts: list[str] = []
    if text_list is not None:
        texts = [argument for argument in arguments if is_free_text(argument)]
        arguments = [argument for argument in arguments if not is_free_text(argument)]
    groups = list_default_groups(command)
    sorted_arguments = sort_arguments(arguments, benchmark_list, groups, plain_keys, command)
    if benchmark_list is not None:
        _choose_benchmarks(sorted_arguments, benchmark_list)
    _add_single_benchmarks(sorted_arguments, benchmark_keys)
    cfg = compose_config(command, sorted_arguments.overrides, sorted_arguments.config_folders)
    set_values(cfg, sorted_arguments.plain_texts)
    set_values(cfg, sorted_arguments.path_lists)
    OmegaConf.update(cfg, "config_folders", sorted_arguments.config_folders, force_add=True)
    chosen = find_chosen_options(groups, sorted_arguments.overrides)
    OmegaConf.update(cfg, "chosen_options", chosen, force_add=True)
    if text_list is not None:
        escaped = [text.replace("${", r"\${") for text in texts]
        OmegaConf.update(cfg, text_list, escaped, force_add=True)
    return cfg


def sort_arguments(
    arguments: Sequence[str],
    benchmark_list: str | None = None,
    groups: Sequence[str] = (),
    plain_keys: Sequence[str] = (),
    command: str | None = None,
) -> Arguments:
    """Sorts the arguments of a command by how they are read; see `Arguments`.

    Args:
        arguments: KEY=VALUE each, or `--config-dir FOLDER`.
        benchmark_list: the key that names any number of benchmarks, if there is one.
        groups: keys that choose an option of a group of conf/ in this command, and are overrides.
        plain_keys: keys whose values are taken as they stand, besides PLAIN_TEXT_KEYS.
        command: whose keys are named where something is no KEY=VALUE; None for none of them.
    """
    result = Arguments()
    rest = _take_config_folders(arguments, result.config_folders, command)
    for argument in rest:
        key, equals, value = argument.partition("=")
        if not equals and not argument.startswith("~"):
            raise ValueError(describe_argument_without_value(argument, list_known_keys(command)))
        if "model" not in groups and key.removeprefix("model.") in ENCODER_KEYS:
            key = key.removeprefix("model.")
            argument = f"{key}={value}"
        if key == benchmark_list:
            if result.benchmarks:
                raise ValueError(f"{key} is given twice: several are {key}=[A,B]")
            result.benchmarks = list(dict.fromkeys(parse_list(value)))
        elif key in PATH_LIST_KEYS:
            add_paths(result.path_lists, key, value)
        elif key in plain_keys or (is_plain_text(key) and key not in groups):
            if key in PAIRED_KEYS and key in result.plain_texts:
                raise ValueError(
                    f"{key} is given twice: give it once ({key}=[A,B] where a command takes two)"
                )
            result.plain_texts[key] = parse_plain_text(value)
        else:
            result.overrides.append(argument)
    return result


def replace_options(arguments: Sequence[str], options: Mapping[str, str]) -> list[str]:
    """Writes options such as `--fail-if VALUE` or `--fail-if=VALUE` as KEY=VALUE.

    An option that is given several times, also as KEY=VALUE, has all its values, separated by `;`.

    Args:
        arguments: of the command.
        options: the key of each option.

    Raises:
        ValueError: an option has no value.
    """
    rest = list(arguments)
    replaced = []
    values: dict[str, list[str]] = {}
    while rest:
        argument = rest.pop(0)
        name, equals, value = argument.partition("=")
        if equals and name in options.values():
            values.setdefault(name, []).append(value)
            continue
        if name not in options:
            replaced.append(argument)
            continue
        if not equals:
            if not rest:
                raise ValueError(f"{name} needs a value, as in {name} 'multi.map<0.5'")
            value = rest.pop(0)
        values.setdefault(options[name], []).append(value)
    for key, given_values in values.items():
        replaced.append(f"{key}={OPTION_SEPARATOR.join(given_values)}")
    return replaced


def list_known_keys(command: str | None) -> list[str]:
    """Returns the keys of a command, those of groups that it starts from among them."""
    return [] if command is None else list(read_command(command).values)


def list_default_groups(command: str) -> list[str]:
    """Returns the groups of conf/ that a command chooses an option of."""
    defaults = read_defaults(find_shipped_file("conf") / f"{command}.yaml")
    return [group for group, _ in defaults]


def find_chosen_options(groups: Sequence[str], overrides: Sequence[str]) -> dict[str, str]:
    """Returns the option that overrides choose of each group, which a composed config forgets."""
    chosen = {}
    for override in overrides:
        key, _, option = override.partition("=")
        if key in groups:
            chosen[key] = option.strip("'\"")
    return chosen


def is_free_text(argument: str) -> bool:
    """Returns whether an argument is neither KEY=VALUE nor an option."""
    return KEY_VALUE.match(argument) is None and not argument.startswith("-")


def is_plain_text(key: str) -> bool:
    """Returns whether the value of a key is taken as it stands."""
    if key in PLAIN_TEXT_KEYS or key.startswith("paths."):
        return True
    return key.endswith(PLAIN_TEXT_ENDINGS)


def parse_plain_text(value: str) -> str | None:
    """Returns a text without the quotes around it; None for `null`."""
    if value == "null":
        return None
    is_quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
    return value[1:-1] if is_quoted else value


def parse_list(value: str) -> list[str]:
    """Returns the items of `[a,b]`, or of `a` alone."""
    inside = value.strip().removeprefix("[").removesuffix("]")
    items = []
    for item in inside.split(","):
        if item.strip():
            items.append(item.strip().strip("'\""))
    return items


def choose_output_folder(cfg: DictConfig, command: str, prefix: str = "") -> Path:
    """Returns the folder of the results of a command: that of `out=`, by default a new one.

    Args:
        cfg: the config of the command.
        command: names the folder in which the new one is.
        prefix: stands before the time in the name of the new one.
    """
    if cfg.out:
        return Path(cfg.out).expanduser()
    name = f"{prefix}{datetime.now():%Y-%m-%d_%H-%M-%S-%f}"
    return Path(cfg.paths.output_dir) / command / name


def read_languages(value: Any) -> list[str] | None:
    """Returns the language codes of a config value; see `parse_languages`."""
    from hybrid_ir.types import parse_languages  # It loads numpy.

    if OmegaConf.is_config(value):
        value = OmegaConf.to_object(value)
    return parse_languages(value)


def _take_config_folders(
    arguments: Sequence[str], folders: list[str], command: str | None
) -> list[str]:
    """Puts the folders of `--config-dir` into a list, and returns the other arguments.

    Raises:
        ValueError: another option, or `--config-dir` without a folder.
    """
    rest = []
    position = 0
    while position < len(arguments):
        argument = arguments[position]
        position += 1
        name, equals, value = argument.partition("=")
        if name in ("--config-dir", "-cd"):
            if not equals and position < len(arguments):
                value = arguments[position]
                position += 1
            if not Path(value).is_dir():
                raise ValueError(f"--config-dir={value} is no folder")
            folders.append(value)
        elif argument.startswith("-"):
            following = arguments[position] if position < len(arguments) else None
            keys = list_known_keys(command)
            raise ValueError(describe_unknown_option(argument, following, keys))
        else:
            rest.append(argument)
    return rest


def _choose_benchmarks(arguments: Arguments, place: str) -> None:
    """Turns the chosen benchmarks, and keys for all of them, into overrides."""
    names = arguments.benchmarks
    require_options(place, "benchmark", names, arguments.config_folders)
    choices = [f"+benchmark@{place}.{name}={name}" for name in names]
    overrides = []
    for override in arguments.overrides:
        key, equals, value = override.partition("=")
        for full_key in _spread_over_benchmarks(key, place, names, arguments.config_folders):
            overrides.append(f"{full_key}{equals}{value}")
    arguments.overrides = choices + overrides
    plain_texts = {}
    for key, value in arguments.plain_texts.items():
        for full_key in _spread_over_benchmarks(key, place, names, arguments.config_folders):
            plain_texts[full_key] = value
    arguments.plain_texts = plain_texts


def _add_single_benchmarks(arguments: Arguments, benchmark_keys: Mapping[str, str]) -> None:
    """Adds the config of a benchmark that is the value of a key, unless it is `test` or `null`."""
    for override in list(arguments.overrides):
        key, _, name = override.partition("=")
        if key in benchmark_keys and name not in ("test", "null"):
            require_options(key, "benchmark", [name], arguments.config_folders, also=["test"])
            arguments.overrides.append(f"+benchmark@{benchmark_keys[key]}.{name}={name}")
    for key, name in arguments.plain_texts.items():
        # a plain text may be a path instead, which the command looks for itself
        if key in benchmark_keys and name in list_options("benchmark", arguments.config_folders):
            arguments.overrides.append(f"+benchmark@{benchmark_keys[key]}.{name}={name}")


def _spread_over_benchmarks(
    key: str, place: str, names: Sequence[str], config_folders: Sequence[str]
) -> list[str]:
    """Turns `benchmark.KEY` into `benchmark.NAME.KEY` for each chosen benchmark that has the key.

    Returns:
        These keys; any other key alone, as it is.

    Raises:
        ValueError: none of the benchmarks has the key.
    """
    bare_key = key.lstrip("+")  # Hydra's mark for a key that may be new.
    first, _, inner = bare_key.removeprefix(f"{place}.").partition(".")
    if not bare_key.startswith(f"{place}.") or first in names or inner:
        return [key]
    if not names:
        raise ValueError(f"{key}: no benchmark is chosen, give benchmark=NAME")
    keys = {name: read_option_keys("benchmark", name, config_folders) for name in names}
    owners = [name for name in names if first in keys[name]]
    if not owners:
        known = set().union(*keys.values())
        meant = suggest(first, [*sorted(known), *list_options("benchmark", config_folders)])
        hint = f", did you mean {place}.{meant}?" if meant else ":"
        raise ValueError(f"{key}: none of {', '.join(names)} has such a key{hint}")
    return [f"{place}.{name}.{first}" for name in owners]


def read_option_keys(group: str, name: str, config_folders: Sequence[str | Path] = ()) -> set[str]:
    """Returns the keys that the YAML file of an option sets."""
    for folder in (*map(Path, config_folders), find_shipped_file("conf")):
        path = folder / group / f"{name}.yaml"
        if path.is_file():
            keys = set(OmegaConf.load(path))
            return {str(key) for key in keys if not str(key).startswith("_")}
    return set()
