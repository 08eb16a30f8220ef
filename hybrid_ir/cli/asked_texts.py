"""What `hybrid-ir bias` asks: a benchmark, a folder in the form of BEIR, or lines of JSON."""

import re
from pathlib import Path

from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from hybrid_ir.cli.config import read_languages
from hybrid_ir.debias.texts import read_text_lines
from hybrid_ir.evaluation.benchmarks.choices import choose_languages, list_remarks
from hybrid_ir.evaluation.selection import limit_questions, select_languages
from hybrid_ir.runs.building import build_own_benchmark, is_of_mteb
from hybrid_ir.runs.conf import compose_config
from hybrid_ir.runs.errors import find_innermost_error
from hybrid_ir.runs.shipped_files import list_options
from hybrid_ir.runs.suggestions import ask_if_meant
from hybrid_ir.types import Benchmark

EMBEDDED = "cldr_facts"
FOLDER = "folder"  # the name in split of the keys of a folder in the form of BEIR
OWN_KEYS = ("languages", "max_queries")  # of the command, in every benchmark


def load_asked_texts(cfg: DictConfig) -> Benchmark:
    """Loads what `corpus` names: a benchmark, a folder in the form of BEIR, or lines of JSON.

    Raises:
        ValueError: there is nothing of this name, or not in these languages, or something is wrong
            with it; the message names keys as this command takes them.
    """
    name = "" if cfg.corpus is None else str(cfg.corpus)
    if not name.strip():
        raise ValueError(
            f"corpus={cfg.corpus or ''} names nothing: give a name in conf/benchmark, a folder in "
            "the form of BEIR (corpus=. for this one), or a .jsonl file"
        )
    if OmegaConf.is_dict(cfg.languages):
        raise ValueError(f"languages={cfg.languages} must be codes as a list, as in [en,de]")
    languages = read_languages(cfg.languages)
    path = Path(name).expanduser()
    if name in list_options("benchmark", cfg.config_folders):
        _refuse_keys_of_folder(cfg, name)
        return _load_named(cfg, name, languages)
    if path.is_dir():
        return _load_folder(cfg, path, languages)
    _refuse_keys_of_folder(cfg, name)
    if path.is_file():
        return _load_lines(path, languages, cfg.max_queries)
    known = list_options("benchmark", cfg.config_folders)
    question = ask_if_meant(name, known)
    raise ValueError(
        f"corpus={name} is no name in conf/benchmark ({', '.join(known)}), no folder in the form "
        f"of BEIR, and no file of JSON lines with text and language{question}"
    )


def list_text_remarks(cfg: DictConfig, benchmark: Benchmark) -> list[str]:
    """Returns what a reader should know of how the texts were read, with keys as typed here."""
    name = str(cfg.corpus) if str(cfg.corpus) in cfg.split else FOLDER
    remarks = list_remarks(benchmark)
    return [_name_keys(remark, name, cfg.split[name]) for remark in remarks]


def _load_named(cfg: DictConfig, name: str, languages: list[str] | None) -> Benchmark:
    """Loads a benchmark of conf/benchmark."""
    config = _find_benchmark_config(cfg, name)
    if name == EMBEDDED and "pool" not in config:
        # The passages of questions that are asked: enough for a verdict in a minute.
        OmegaConf.update(config, "pool", "split", force_add=True)
    return _build_asked(cfg, name, config, languages)


def _load_folder(cfg: DictConfig, path: Path, languages: list[str] | None) -> Benchmark:
    """Loads a folder in the form of BEIR.

    Raises:
        ValueError: its keys name another folder, or something is wrong with its files.
    """
    config = cfg.split[FOLDER]
    default = compose_config("bias", [], cfg.config_folders)
    default.paths = cfg.paths
    if config.folder != default.split[FOLDER].folder:
        raise ValueError(f"split.{FOLDER}.folder={config.folder}: corpus={cfg.corpus} names it")
    config.folder = str(path)
    return _build_asked(cfg, FOLDER, config, languages)


def _load_lines(path: Path, languages: list[str] | None, max_queries: int | None) -> Benchmark:
    """Loads lines of JSON, each with a text and its language.

    Args:
        path: of the file.
        languages: to choose; None for all.
        max_queries: questions to keep of each language; None for all.

    Raises:
        ValueError: a line is wrong, or nothing is left to ask.
    """
    benchmark = read_text_lines(path)
    chosen = choose_languages(path.name, languages, benchmark.languages, None)
    has_answers = any(len(rows) for rows in benchmark.relevant)
    benchmark = select_languages(benchmark, chosen)
    if has_answers and not any(len(rows) for rows in benchmark.relevant):
        raise ValueError(
            f"{path}: no query in {', '.join(chosen)} has an answer in one of these languages, "
            "though others have: choose more languages"
        )
    # Questions without an answer tell nothing, and are not those that are kept.
    benchmark = limit_questions(benchmark, max_queries, only_answered=has_answers)
    if len(benchmark.passages) == 0:
        raise ValueError(
            f"{path}: there are no passages, all lines have role=query: add lines with "
            "role=passage, or leave role out where a text is both"
        )
    return benchmark


def _find_benchmark_config(cfg: DictConfig, name: str) -> DictConfig:
    """Returns the config of the benchmark of a name.

    Raises:
        ValueError: a key without which it cannot be loaded is not given.
    """
    if name not in cfg.split:
        option = [f"+benchmark@split.{name}={name}"]
        composed = compose_config("bias", option, cfg.config_folders)
        composed.paths = cfg.paths
        cfg.split = composed.split
    config = cfg.split[name]
    missing = [f"split.{name}.{key}" for key in config if OmegaConf.is_missing(config, key)]
    if missing and not is_of_mteb(config):
        given = " ".join(f"{key}=..." for key in missing)
        raise ValueError(
            f"corpus={name} needs more: {given}; `hybrid-ir data --help {name}` lists its keys"
        )
    return config


def _build_asked(
    cfg: DictConfig, name: str, config: DictConfig, languages: list[str] | None
) -> Benchmark:
    """Builds a benchmark; what is wrong with it is said with keys as this command takes them.

    Args:
        cfg: of the command.
        name: of the benchmark in `split`.
        config: of the benchmark.
        languages: to choose; None leaves those of its own key.
    """
    if languages is not None:
        OmegaConf.update(config, "languages", languages, force_add=True)
    if config.get("max_queries", 0) is None:  # not given by split.NAME.max_queries
        config.max_queries = cfg.max_queries
    corpus = str(cfg.corpus)
    # A benchmark may ask the config for the languages of the corpus.
    cfg.corpus = {"languages": "xquad"}
    try:
        return build_own_benchmark(config)
    except (ValueError, HydraException) as error:
        innermost = find_innermost_error(error)
        if not isinstance(innermost, ValueError):
            raise
        text = str(innermost)
        if name == FOLDER:
            text = text.replace(f"benchmark.folder={config.folder}", f"corpus={corpus}")
        raise ValueError(_name_keys(text, name, config)) from error
    finally:
        cfg.corpus = corpus


def _name_keys(text: str, name: str, config: DictConfig) -> str:
    """Writes keys of a benchmark in a message as they are typed: split.NAME.KEY=VALUE.

    Keys that the command has as well stay as they are.
    """
    keys = [str(key) for key in config if str(key) not in (*OWN_KEYS, "_target_")]
    return re.sub(rf"(?<![\w./-])({'|'.join(keys)})=", rf"split.{name}.\1=", text)


def _refuse_keys_of_folder(cfg: DictConfig, name: str) -> None:
    """Raises a ValueError if keys are given for a folder, and `corpus` names none."""
    default = compose_config("bias", [], cfg.config_folders).split[FOLDER]
    raw = OmegaConf.to_container(cfg.split[FOLDER], resolve=False)
    raw_default = OmegaConf.to_container(default, resolve=False)
    changed = [f"split.{FOLDER}.{key}" for key in raw if raw[key] != raw_default[key]]
    if changed:
        raise ValueError(
            f"{', '.join(changed)}: only a folder in the form of BEIR has such keys, and "
            f"corpus={name} is none"
        )
