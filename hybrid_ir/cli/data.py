"""`hybrid-ir data describe|fetch|verify|import|clean|identify`: data sets, and your own texts."""

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from hybrid_ir.cli import data_clean, data_identify, data_import
from hybrid_ir.cli.config import read_option_keys, sort_arguments
from hybrid_ir.cli.help import read_visible_lines, wants_help
from hybrid_ir.runs.conf import compose_config, set_values
from hybrid_ir.runs.shipped_files import find_shipped_file, list_options
from hybrid_ir.runs.suggestions import ask_if_meant, suggest

if TYPE_CHECKING:
    from hybrid_ir.runs.data_sets import DataSetFiles

USAGE = """hybrid-ir data describe NAME [KEY=VALUE ...]           what it holds, its first batches
hybrid-ir data fetch NAME [mirror=URL] [KEY=VALUE ...]  get its files once
hybrid-ir data verify NAME [KEY=VALUE ...]              hash them again
hybrid-ir data import FORM path=FILES to=FOLDER         your own pairs as a corpus
    FORM is jsonl, parquet, tsv, beir, flagembedding, tevatron, datasets or hub
hybrid-ir data clean corpus=NAME against=[BENCHMARK] to=FOLDER
hybrid-ir data identify path=FOLDER_OR_FILE to=NEW      a language for lines that name none

hybrid-ir data --help NAME shows the keys of a data set, hybrid-ir data clean --help those of clean,
and hybrid-ir data identify --help those of identify.
"""
GROUPS = ("corpus", "benchmark")
# Verbs with a file of their own in conf/.
OWN_CONFIG = {"clean": data_clean.main, "identify": data_identify.main}


def main(arguments: Sequence[str]) -> None:
    """Runs the command with its arguments."""
    verb = arguments[0] if arguments else ""
    if verb in OWN_CONFIG:
        OWN_CONFIG[verb](arguments[1:])
        return
    if wants_help(arguments):
        print_usage([argument for argument in arguments if not argument.startswith("-")])
        return
    if verb == "import":
        data_import.main(arguments[1:])
        return
    verbs = {"describe": describe, "fetch": fetch, "verify": verify}
    if verb not in verbs or len(arguments) < 2:
        meant = suggest(verb, [*verbs, "import", *OWN_CONFIG])
        hint = f"did you mean {meant}? " if meant and meant != verb else ""
        known = sorted({*list_options("corpus"), *list_options("benchmark")})
        raise ValueError(f"{hint}usage:\n{USAGE}NAME is one of {', '.join(known)}")
    verbs[verb](arguments[1], arguments[2:])


def print_usage(names: Sequence[str]) -> None:
    """Prints the commands, and the keys of the data sets that are named."""
    print(USAGE, end="")
    shown = list(names)
    if "import" in names and not set(names) & set(data_import.FORMS):
        shown += data_import.FORMS
    for group in GROUPS:
        for name in list_options(group):
            if name not in shown:
                continue
            is_form = group == "corpus" and name in data_import.FORMS
            print(f"\n{group}.KEY=VALUE" + (", in import without corpus." if is_form else ""))
            print(read_visible_lines(find_shipped_file("conf") / group / f"{name}.yaml"), end="")


def compose_data_set(name: str, arguments: Sequence[str]) -> dict[str, DictConfig]:
    """Returns the config of a data set by group, and that of the sampler.

    Args:
        name: in conf/corpus, conf/benchmark or both; or an experiment, for its corpus and its
            benchmarks.
        arguments: KEY=VALUE as of train.py, or `--config-dir FOLDER`.

    Raises:
        ValueError: there is no such data set, or a key is given without the name of its group.
    """
    sorted_arguments = sort_arguments(arguments, groups=("model", "logger"))
    folders = sorted_arguments.config_folders
    groups = [group for group in GROUPS if name in list_options(group, folders)]
    if not groups and name in list_options("experiment", folders):
        groups = ["experiment"]
    if not groups:
        known = {group: list_options(group, folders) for group in (*GROUPS, "experiment")}
        names = known["corpus"] + known["benchmark"] + known["experiment"]
        hint = ask_if_meant(name, names, otherwise=":")
        raise ValueError(
            f"no data set {name!r}{hint} corpora are {', '.join(known['corpus'])}; benchmarks are "
            f"{', '.join(known['benchmark'])}; experiments are {', '.join(known['experiment'])}"
        )
    for argument in (*sorted_arguments.overrides, *sorted_arguments.plain_texts):
        key = argument.partition("=")[0]
        owners = [group for group in groups if key in read_option_keys(group, name, folders)]
        if owners:
            meant = " and ".join(f"{group}.{key}=..." for group in owners)
            value = sorted_arguments.plain_texts.get(argument, "")
            shown = f"{argument}={value}" if argument in sorted_arguments.plain_texts else argument
            raise ValueError(f"{shown}: the keys of a data set are {meant} here")
    choices = [f"{group}={name}" for group in groups]
    cfg = compose_config("train", [*choices, *sorted_arguments.overrides], folders)
    set_values(cfg, sorted_arguments.plain_texts)
    groups = select_complete_groups(cfg, groups)
    if groups == ["experiment"]:
        groups = ["corpus", "benchmark", "validation"]
    return {group: cfg[group] for group in (*groups, "sampler")}


def select_complete_groups(cfg: DictConfig, groups: Sequence[str]) -> list[str]:
    """Returns the groups whose keys all have values; all of them if none is complete.

    A corpus and a benchmark may share a name, such as `hub`, and only one of them be meant.
    """
    if len(groups) < 2:
        return list(groups)
    complete = [group for group in groups if not OmegaConf.missing_keys(cfg[group])]
    return complete or list(groups)


def describe(name: str, arguments: Sequence[str]) -> None:
    """Prints everything that is known of a data set."""
    cfg = compose_data_set(name, arguments)
    # Imported here, so that a misspelt key is refused before torch is loaded.
    from hybrid_ir.cli.data_describe import print_benchmark, print_corpus, print_planned_batches
    from hybrid_ir.runs.building import build, build_own_benchmark

    console = Console()
    if "corpus" in cfg:
        try:
            corpus = build(cfg["corpus"])
        except Exception:
            # No files yet, or a key not given: what is known without them is shown all the same.
            print_known_source(cfg["corpus"], console)
            raise
        print_corpus(corpus, console)
        print_planned_batches(cfg["sampler"], corpus, console)
    if "benchmark" in cfg:
        print_benchmark(build_own_benchmark(cfg["benchmark"]), console)


def print_known_source(config: DictConfig, console: Console) -> None:
    """Prints what the module of a corpus says of its source, if it says anything."""
    from hybrid_ir.cli.data_describe import print_source

    module = import_module(config._target_.rpartition(".")[0])
    source = getattr(module, "SOURCE", None)
    if source is not None:
        print_source(source, "corpus", console)


def fetch(name: str, arguments: Sequence[str]) -> None:
    """Gets the files that are missing; `mirror=URL` gets them from a server with the same paths."""
    mirror = None
    rest = []
    for argument in arguments:
        if argument.startswith("mirror="):
            mirror = argument.partition("=")[2]
        else:
            rest.append(argument)
    data_sets = find_files(name, rest)
    from hybrid_ir.files.fetching import fetch_files  # As late as in `describe`.

    for data_set in data_sets:
        fetched = fetch_files(data_set.files, data_set.folder, mirror)
        present = len(data_set.files) - len(fetched)
        print(
            f"{data_set.title}: {len(fetched)} files fetched, {present} were there, "
            f"in {data_set.folder}"
        )


def verify(name: str, arguments: Sequence[str]) -> None:
    """Hashes the files again.

    Raises:
        ValueError: any is missing, or not as released or fetched.
    """
    data_sets = find_files(name, arguments)
    # As late as in `describe`.
    from rich.table import Table
    from rich.text import Text as PlainText

    from hybrid_ir.files.fetching import verify_files

    checked = 0
    refused = 0
    for data_set in data_sets:
        checks = verify_files(data_set.files, data_set.folder)
        table = Table(title=f"{data_set.title} in {data_set.folder}", title_justify="left")
        for column in ("file", "status", "detail"):
            table.add_column(column, overflow="fold")
        for check in checks:
            table.add_row(PlainText(check.path), check.status, PlainText(check.detail))
            checked += 1
            if check.is_wrong:
                refused += 1
        Console().print(table)
    if refused:
        raise ValueError(
            f"{refused} of {checked} files are missing or wrong: delete the wrong ones, then "
            f"`hybrid-ir data fetch {name}` gets them"
        )


def find_files(name: str, arguments: Sequence[str]) -> "list[DataSetFiles]":
    """Returns the files of the data sets behind a name, for the chosen languages.

    Raises:
        ValueError: it has no files to fetch.
    """
    is_data_set = name in list_options("corpus") + list_options("benchmark")
    configs = []
    for group, config in compose_data_set(name, arguments).items():
        if group != "sampler":
            configs.append(config)
    from hybrid_ir.runs.data_sets import list_data_set_files  # As late as in `describe`.

    data_sets = list_data_set_files(configs, title=name if is_data_set else None)
    if not data_sets:
        raise ValueError(
            f"{name} has no files to fetch: it comes with the package, or it is a folder of "
            "your own"
        )
    return data_sets
