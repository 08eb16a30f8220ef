"""`hybrid-ir debias`: writes a model with a training-free correction of its language bias."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from hybrid_ir.cli.value_checks import (
    find_boolean_problems,
    find_choice_problems,
    find_number_problems,
    find_split_problems,
    require_values,
)
from hybrid_ir.corpora.stored import load_corpus_folder
from hybrid_ir.debias.debias import debias
from hybrid_ir.debias.folder import describe_one_length, list_measures, write_corrected_model
from hybrid_ir.debias.maps import METHODS
from hybrid_ir.debias.texts import draw_from_corpus, read_text_lines
from hybrid_ir.export.model_files import require_sentence_transformers
from hybrid_ir.files.atomic import require_new_folder
from hybrid_ir.files.beir import BeirFolder, find_language_folders
from hybrid_ir.runs.building import build_own_benchmark
from hybrid_ir.runs.conf import compose_config
from hybrid_ir.runs.encoders import EncoderSettings, load_any_encoder
from hybrid_ir.runs.shipped_files import list_options
from hybrid_ir.system.environment import prepare_process
from hybrid_ir.types import Benchmark

SEED = 1  # of conf/encoder


def run(cfg: DictConfig) -> None:
    """Fits a correction, writes the corrected model, and prints what it does on held-out texts."""
    require_values(cfg, "debias", "model", "to")
    _require_valid_values(cfg)
    to = Path(cfg.to).expanduser()
    require_new_folder(to)
    require_sentence_transformers()
    prepare_process(cfg.seed, cfg.threads)
    texts = load_texts(cfg)
    loaded = load_any_encoder(str(cfg.model), EncoderSettings.from_config(cfg))
    if "correction" in loaded.model:
        raise ValueError(
            f"model={cfg.model} is corrected already, by {loaded.model['correction']['method']}: "
            f"give the model that it was made of, {loaded.model['correction']['model']}"
        )
    fitted = debias(
        loaded.encoder,
        texts,
        method=cfg.method,
        passages_only=cfg.passages_only,
        components=cfg.components,
        source=cfg.source,
        questions=cfg.questions,
    )
    record = write_corrected_model(loaded.encoder, fitted, loaded.model, to)
    _print_result(record, to)


def load_texts(cfg: DictConfig) -> Benchmark:
    """Loads the texts of `on`: a benchmark, a folder, or lines of JSON.

    Raises:
        ValueError: there is nothing of this name.
    """
    for config in cfg.split.values():
        return build_own_benchmark(config)
    if cfg.on in list_options("benchmark", cfg.config_folders):
        option = [f"+benchmark@split.{cfg.on}={cfg.on}"]
        composed = compose_config("debias", option, cfg.config_folders)
        composed.corpus = cfg.corpus
        composed.paths = cfg.paths
        return build_own_benchmark(composed.split[cfg.on])
    path = Path(cfg.on).expanduser()
    if path.is_dir() and (BeirFolder(path).has_corpus() or find_language_folders(path)):
        composed = compose_config("debias", ["+benchmark@split.folder=beir_folder"])
        composed.paths = cfg.paths
        composed.split.folder.folder = str(path)
        return build_own_benchmark(composed.split.folder)
    if path.is_dir():
        # a third more than are fitted on, to measure
        return draw_from_corpus(load_corpus_folder(path), cfg.questions * 4 // 3)
    if path.is_file():
        return read_text_lines(path)
    raise ValueError(
        f"on={cfg.on} is no name in conf/benchmark "
        f"({', '.join(list_options('benchmark', cfg.config_folders))}), no folder of a corpus or "
        "in the form of BEIR, and no file of JSON lines"
    )


def _require_valid_values(cfg: DictConfig) -> None:
    """Raises a ValueError that names every value of a wrong type or out of range."""
    problems = find_number_problems(cfg, {"questions": 4})
    problems += find_boolean_problems(cfg, "passages_only", "trust_remote_code")
    problems += find_choice_problems(cfg, "method", METHODS)
    if cfg.components is not None:
        problems += find_number_problems(cfg, {"components": 1})
    if cfg.source != "en" and cfg.method != "shift":
        problems.append(f"source={cfg.source} is for method=shift alone")
    problems += find_split_problems(cfg, "on")
    if cfg.seed != SEED:
        problems.append(f"seed={cfg.seed} changes nothing: nothing is drawn by chance")
    if problems:
        raise ValueError("; ".join(problems))


def _print_result(record: dict[str, Any], to: Path) -> None:
    fitted_on = record["fitted_on"]
    languages = ", ".join(fitted_on["languages"])
    print(f"{record['method']} of {record['model']['name']}, fitted on {fitted_on['name']}")
    print(f"languages: {languages}")
    if record["held_out"]["before"] is None:
        print("nothing is measured: the texts say of no passage that it answers a query")
    else:
        table = Table(title="held-out questions of the same texts, mAP", title_justify="left")
        for name in ("", "mono", "cross", "multi", "rank distance"):
            table.add_column(name, justify="right" if name else "left")
        for cells in list_measures(record["held_out"]):
            table.add_row(*cells)
        Console().print(table)
    print(f"vectors of {to} against the fitted map: cosine >= {record['least_cosine']:.6f}")
    length_note = describe_one_length(record)
    if length_note is not None:
        print(f"note: {length_note}")
    if record["routes"]:
        print(
            f"a text whose language is not given, or is none of these, gets the common map; with "
            f"a language: encode(texts, task={record['routes'][-1]!r}), or "
            "hybrid_ir.debias.encode_texts"
        )
    print(f"load it by SentenceTransformer({str(to)!r}), or evaluate it by model={to}")
