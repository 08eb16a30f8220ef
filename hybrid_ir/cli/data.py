"""`hybrid-ir data describe|fetch|verify|import|clean NAME`: what a data set is, get its files, check them."""

from collections.abc import Sequence
from importlib import import_module
from inspect import signature
from pathlib import Path

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table
from rich.text import Text as Plain

from hybrid_ir.cli import data_clean, data_import
from hybrid_ir.cli.config import set_plain_texts, split_plain_texts
from hybrid_ir.cli.data_describe import (
    batches,
    describe_benchmark,
    describe_corpus,
    describe_source,
)
from hybrid_ir.files import fetching as files
from hybrid_ir.runs.building import build
from hybrid_ir.runs.conf import find_conf_folder, list_options

PATHS = (
    "corpus.path",
    "paths.data_dir",
    "paths.cache_dir",
)  # as they stand, as every *.folder: Hydra stops at a blank

USAGE = """hybrid-ir data describe NAME [KEY=VALUE ...]           what a corpus or benchmark holds, and its first planned batches
hybrid-ir data fetch NAME [mirror=URL] [KEY=VALUE ...]  get its files once
hybrid-ir data verify NAME [KEY=VALUE ...]              hash them again
hybrid-ir data import FORM path=FILES to=FOLDER         your own pairs as a corpus; FORM is jsonl, parquet, tsv, beir or hub
hybrid-ir data clean corpus=NAME against=[BENCHMARK] to=FOLDER
"""


def main(arguments: list[str]) -> None:
    if {*arguments} & {"-h", "--help"} and arguments[:1] != ["clean"]:
        return usage([argument for argument in arguments[1:] if not argument.startswith("-")])
    if arguments[:1] in (["import"], ["clean"]):
        return {"import": data_import, "clean": data_clean}[arguments[0]].main(arguments[1:])
    verbs = {"describe": describe, "fetch": fetch, "verify": verify}
    if len(arguments) < 2 or arguments[0] not in verbs:
        known = ", ".join(sorted({*list_options("corpus"), *list_options("benchmark")}))
        raise ValueError(f"usage:\n{USAGE}NAME is one of {known}")
    return verbs[arguments[0]](arguments[1], arguments[2:])


def usage(chosen: Sequence[str]) -> None:
    """Print the commands, and the keys of the data sets that are named."""
    print(USAGE, end="")
    for group in ("corpus", "benchmark"):
        for name in {*chosen} & {*list_options(group)}:
            print(
                f"\n{group}.KEY=VALUE"
                + (", in import without corpus." if name in data_import.FORMS else "")
            )
            print(
                (Path(find_conf_folder()) / group / f"{name}.yaml").read_text(encoding="utf-8"),
                end="",
            )


def composed(name: str, overrides: Sequence[str]) -> dict[str, DictConfig]:
    """The config of a name in conf/corpus, conf/benchmark or both, and of the sampler; `overrides` are those of train.py.

    Of an experiment its corpus and its benchmarks.
    """
    groups = [group for group in ("corpus", "benchmark") if name in list_options(group)]
    groups += ["experiment"] * (not groups and name in list_options("experiment"))
    if not groups:
        raise ValueError(
            f"no data set {name!r}: corpora are {', '.join(list_options('corpus'))}; "
            f"benchmarks are {', '.join(list_options('benchmark'))}; experiments are {', '.join(list_options('experiment'))}"
        )
    with initialize_config_dir(find_conf_folder(), version_base="1.3"):
        rest, texts = split_plain_texts(overrides, PATHS)
        for text in (*rest, *texts):
            key = text.partition("=")[0]
            if meant := [f"{group}.{key}=..." for group in groups if key in keys_of(group, name)]:
                raise ValueError(f"{text}: the keys of a data set are {' and '.join(meant)} here")
        cfg = set_plain_texts(
            compose("train", overrides=[*(f"{group}={name}" for group in groups), *rest]), texts
        )
    found = ["corpus", "benchmark", "validation"] if groups == ["experiment"] else groups
    return {group: cfg[group] for group in (*found, "sampler")}


def keys_of(group: str, name: str) -> set[str]:
    """Those of an option of a group of conf/."""
    return (
        {*OmegaConf.load(Path(find_conf_folder()) / group / f"{name}.yaml")} - {"_target_"}
        if group != "experiment"
        else set()
    )


def describe(name: str, overrides: Sequence[str]) -> None:
    """Print everything known about a data set."""
    cfg, console = composed(name, overrides), Console()
    if "corpus" in cfg:
        try:
            corpus = build(cfg["corpus"])
        except (
            Exception
        ):  # no files yet, or a key not given: what is known without them is said all the same
            module = import_module(cfg["corpus"]._target_.rpartition(".")[0])
            if known := getattr(module, "SOURCE", None):
                describe_source(known, "corpus", console)
            raise
        describe_corpus(corpus, console)
        batches(cfg["sampler"], corpus, console)
    if "benchmark" in cfg:
        describe_benchmark(build(cfg["benchmark"]), console)


def fetch(name: str, overrides: Sequence[str]) -> None:
    """Get the files that are missing; `mirror=URL` gets them from a server with the same paths."""
    mirror = next(
        (text.partition("=")[2] for text in overrides if text.startswith("mirror=")), None
    )
    for title, wanted, folder in sets_of(
        name, [text for text in overrides if not text.startswith("mirror=")]
    ):
        got = files.fetch_files(wanted, folder, mirror)
        print(
            f"{title}: {len(got)} files fetched, {len(wanted) - len(got)} were there, in {folder}"
        )


def verify(name: str, overrides: Sequence[str]) -> None:
    """Hash the files again; ValueError, and so exit code 2, if any is missing or not as released or fetched."""
    checked, wrong = 0, 0
    for title, wanted, folder in sets_of(name, overrides):
        verdicts = files.verify_files(wanted, folder)
        table = Table(title=f"{title} in {folder}", title_justify="left")
        for column in ("file", "status", "detail"):
            table.add_column(column, overflow="fold")
        for verdict in verdicts:
            table.add_row(Plain(verdict.path), verdict.status, Plain(verdict.detail))
        Console().print(table)
        checked, wrong = checked + len(verdicts), wrong + sum(verdict.wrong for verdict in verdicts)
    if wrong:
        raise ValueError(
            f"{wrong} of {checked} files are missing or wrong: delete the wrong ones, then "
            f"`hybrid-ir data fetch {name}` gets them"
        )


def sets_of(name: str, overrides: Sequence[str]) -> list[tuple[str, list[files.RemoteFile], Path]]:
    """The data sets behind a name, each with its files for the chosen languages, and their folder: as its loader records them."""
    found: dict[str, tuple[str, list[files.RemoteFile], Path]] = {}
    for group, cfg in composed(name, overrides).items():
        for own in cfg.parts.values() if cfg and "parts" in cfg else [cfg]:
            target = own._target_.rpartition(".")[0] if own and group != "sampler" else None
            record = getattr(import_module(target), "list_files", None) if target else None
            if callable(record):
                plain = OmegaConf.to_container(own, resolve=True)
                chosen = {key: plain[key] for key in signature(record).parameters if key in plain}
                title = (
                    name
                    if name in list_options("corpus") + list_options("benchmark")
                    else target.rpartition(".")[2]
                )
                _, wanted, _ = found.setdefault(plain["folder"], (title, [], Path(plain["folder"])))
                wanted += [file for file in record(**chosen) if file not in wanted]
    if not found:
        raise ValueError(
            f"{name} has no files to fetch: it comes with the package, or it is a folder of your own"
        )
    return list(found.values())
