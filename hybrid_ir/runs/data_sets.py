"""Corpora and benchmarks by their names in conf/: built for a notebook, and their files."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.files.fetching import RemoteFile
from hybrid_ir.runs.building import build, build_own_benchmark
from hybrid_ir.runs.conf import compose_config, require_options, set_values
from hybrid_ir.runs.errors import USER_ERRORS, describe_error, find_innermost_error
from hybrid_ir.types import Benchmark


def load_corpus(
    name: str, /, *, config_folders: Sequence[str | Path] = (), **keys: Any
) -> ParallelCorpus:
    """Loads a training corpus by its name in conf/corpus.

    Args:
        name: such as `cldr_facts`, `mlqa_r`, or `jsonl` with `path=...`.
        config_folders: folders of the user that hold a folder `corpus` with YAML files.
        keys: of conf/corpus/NAME.yaml.

    Raises:
        ValueError: there is no such corpus or key, or the data is not there or not right.

    Example:
        >>> corpus = load_corpus("cldr_facts", languages=["en", "de"])
        >>> corpus.languages
        ('de', 'en')
    """
    return _load_part("corpus", name, config_folders, keys)


def load_benchmark(
    name: str, /, *, config_folders: Sequence[str | Path] = (), **keys: Any
) -> Benchmark:
    """Loads a benchmark by its name in conf/benchmark.

    Args:
        name: such as `cldr_facts`, `xquad_r`, or `beir_folder` with `folder=...`.
        config_folders: folders of the user that hold a folder `benchmark` with YAML files.
        keys: of conf/benchmark/NAME.yaml.

    Raises:
        ValueError: there is no such benchmark or key, or the data is not there or not right.

    Example:
        >>> benchmark = load_benchmark("cldr_facts_dev", languages=["en", "de"], max_queries=5)
        >>> len(benchmark.queries)
        10
    """
    return _load_part("benchmark", name, config_folders, keys)


def _load_part(
    group: str, name: str, config_folders: Sequence[str | Path], keys: dict[str, Any]
) -> Any:
    """Builds one option of a group. What is wrong with a key or the data is a ValueError."""
    try:
        config = _compose_part(group, name, config_folders, keys)
        return build_own_benchmark(config) if group == "benchmark" else build(config)
    except (HydraException, OmegaConfBaseException) as error:
        innermost = find_innermost_error(error)
        if not isinstance(innermost, USER_ERRORS):
            raise innermost from None
        raise ValueError(f"{group} {name}: {describe_error(error)}") from error


def _compose_part(
    group: str, name: str, config_folders: Sequence[str | Path], keys: dict[str, Any]
) -> Any:
    """Returns the config of one option of a group, with some of its keys set."""
    if not isinstance(name, str):
        raise ValueError(f"{group}={name!r} must be a name in conf/{group}")
    require_options(group, group, [name], config_folders)
    cfg = compose_config("train", [f"{group}={name}"], config_folders)
    values = {}
    for key, value in keys.items():
        if isinstance(value, Path):
            value = str(value)
        elif isinstance(value, tuple):
            value = list(value)
        values[f"{group}.{key}"] = value
    return set_values(cfg, values)[group]


@dataclass
class DataSetFiles:
    """The files of a data set and the folder that they belong in.

    Args:
        title: its name.
        folder: where its files are, or shall be.
        files: with their addresses, sizes and checksums as far as those are known.
    """

    title: str
    folder: Path
    files: list[RemoteFile]


def list_data_set_files(
    configs: Sequence[DictConfig], title: str | None = None
) -> list[DataSetFiles]:
    """Lists the files of data sets, as the modules that load them know them.

    Args:
        configs: of corpora (a mixture stands for its parts) and benchmarks; empty ones are left
            out.
        title: of all of them; None calls each by its module.

    Returns:
        One entry for each folder: data sets that share a folder share an entry.
    """
    by_folder: dict[str, DataSetFiles] = {}
    for config in _split_mixtures(configs):
        module_name = config._target_.rpartition(".")[0]
        list_files = getattr(import_module(module_name), "list_files", None)
        if list_files is None:
            continue
        keys = OmegaConf.to_container(config, resolve=True)
        choices = {key: keys[key] for key in signature(list_files).parameters if key in keys}
        name = title or module_name.rpartition(".")[2]
        folder = keys["folder"]
        entry = by_folder.setdefault(folder, DataSetFiles(name, Path(folder), []))
        for file in list_files(**choices):
            if file not in entry.files:
                entry.files.append(file)
    return list(by_folder.values())


def _split_mixtures(configs: Sequence[DictConfig]) -> list[DictConfig]:
    """Returns the configs of single data sets, with the parts of each mixture in its place."""
    single = []
    for config in configs:
        if not config:
            continue
        if "parts" in config:
            single += [part for part in config.parts.values() if part]
        else:
            single.append(config)
    return single
