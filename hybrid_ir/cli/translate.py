"""`hybrid-ir translate`: makes a corpus parallel by machine translation, on several processes."""

import os
import sys
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table

from hybrid_ir.cli.config import read_languages
from hybrid_ir.cli.value_checks import (
    find_choice_problems,
    find_number_problems,
    require_values,
)
from hybrid_ir.corpora.stored import load_corpus_folder, read_corpus_card
from hybrid_ir.data.content_ids import compute_corpus_fingerprint
from hybrid_ir.runs.building import build
from hybrid_ir.runs.encoders import choose_device
from hybrid_ir.system.environment import prepare_process
from hybrid_ir.system.interruption import raise_when_asked_to_stop
from hybrid_ir.system.processes import FAILURE_FOLDER_VARIABLE, RankProcesses
from hybrid_ir.translation.families import Translator
from hybrid_ir.translation.quality import QualityFilters
from hybrid_ir.translation.work import (
    TranslationJob,
    count_rejected,
    count_translated,
    translate_corpus,
)

# Keys that decide the translations.
CHOICES = (
    "model",
    "revision",
    "source",
    "languages",
    "codes",
    "precision",
    "beams",
    "max_length",
    "tokens_per_batch",
    "unit",
    "length_ratio",
    "language_letters",
    "copied",
    "repeated",
    "identical",
)
# Whole numbers, each with its least value; of the last three 0 switches a filter off.
LEAST_NUMBERS = {
    "processes": 1,
    "beams": 1,
    "max_length": 1,
    "tokens_per_batch": 1,
    "unit": 1,
    "language_letters": 0,
    "identical": 0,
    "repeated": 0,
}
PRECISIONS = ("float32", "bfloat16", "float16")
DOUBTFUL_SHARE = 0.2  # share of rejected translations from which on it is worth a word
COMMAND = "from hybrid_ir.cli.main import main; main()"


def run(cfg: DictConfig) -> None:
    """Translates a corpus, as one of several processes where `processes` says so."""
    require_values(cfg, "translate", "model", "languages", "to")
    _require_valid_values(cfg)
    if cfg.processes > 1 and FAILURE_FOLDER_VARIABLE not in os.environ:
        arguments = sys.argv[2:]  # every process runs the very same command
        RankProcesses(cfg.processes).start(
            [sys.executable, "-c", COMMAND, "translate", *arguments]
        ).wait()
        return
    to = Path(cfg.to).expanduser().absolute()
    if to.exists():
        _require_translation(to, cfg)
    else:
        _translate(cfg, to)
    if os.environ.get("RANK", "0") == "0":
        _print_summary(to)


def _require_valid_values(cfg: DictConfig) -> None:
    """Raises a ValueError that names every value of a wrong type or out of range."""
    problems = find_number_problems(cfg, LEAST_NUMBERS)
    problems += find_choice_problems(cfg, "precision", PRECISIONS)
    for key in ("length_ratio", "copied"):
        if type(cfg[key]) not in (int, float) or cfg[key] < 0:
            problems.append(f"{key}={cfg[key]!r} must be a number from 0, which switches it off")
    if problems:
        raise ValueError("; ".join(problems))


def _require_translation(to: Path, cfg: DictConfig) -> None:
    """Refuses a folder that is there already and is another translation than the config says."""
    missing = []
    for language in read_languages(cfg.languages):
        if not any(to.glob(f"rejects-*-{language}.parquet")):
            missing.append(language)
    if missing:
        raise ValueError(
            f"to={to} is there already, and is no translation into {', '.join(missing)}: name a "
            "new folder, nothing is overwritten"
        )
    values = OmegaConf.to_container(cfg)
    made_with = read_corpus_card(to).get("choices") or {}
    differences = []
    for key in CHOICES:
        if key != "languages" and key in made_with and made_with[key] != values[key]:
            differences.append(f"with {key}={made_with[key]}, not {key}={values[key]}")
    if differences:
        raise ValueError(
            f"to={to} is there already, translated {'; '.join(differences)}: name a new folder, "
            "nothing is overwritten"
        )


def _translate(cfg: DictConfig, to: Path) -> None:
    prepare_process(0, cfg.threads)
    raise_when_asked_to_stop()
    corpus = build(cfg.corpus)
    languages = read_languages(cfg.languages)
    job_folder = to.with_name(f".{to.name}.translating")
    job = TranslationJob(corpus, cfg.source, languages, job_folder, cfg.unit)
    translator = Translator.load(
        cfg.model,
        cfg.revision,
        cfg.source,
        _choose_device(cfg),
        cfg.precision,
        codes=dict(cfg.codes),
        beams=cfg.beams,
        max_length=cfg.max_length,
        tokens_per_batch=cfg.tokens_per_batch,
    )
    filters = QualityFilters(
        length_ratio=cfg.length_ratio,
        language_letters=cfg.language_letters,
        copied=cfg.copied,
        repeated=cfg.repeated,
        identical=cfg.identical,
        languages=(cfg.source, *languages),
    )
    values = OmegaConf.to_container(cfg)
    choices = {
        "corpus": compute_corpus_fingerprint(corpus),
        "model files": translator.identity,
    }
    for key in CHOICES:
        choices[key] = values[key]
    translate_corpus(job, translator, filters, choices, _name_model(cfg), to)


def _name_model(cfg: DictConfig) -> str:
    name = Path(cfg.model).name if Path(cfg.model).exists() else cfg.model
    return f"{name}@{cfg.revision}" if cfg.revision else name


def _choose_device(cfg: DictConfig) -> str:
    """Returns the device of the config, with the GPU of this process."""
    device = choose_device(cfg.device)
    if device == "cuda" and "LOCAL_RANK" in os.environ:
        return f"cuda:{os.environ['LOCAL_RANK']}"
    return device


def _print_summary(to: Path) -> None:
    corpus = load_corpus_folder(to)
    report = read_corpus_card(to)["report"]
    table = Table(title=f"{to}: {len(corpus):,} pairs", title_justify="left")
    table.add_column("language")
    for column in ("pairs in it", "queries translated", "passages translated", "rejected"):
        table.add_column(column, justify="right")
    _, _, pairs_L = corpus.availability.count_pairs()
    for language, pairs in zip(corpus.languages, pairs_L, strict=True):
        table.add_row(
            language,
            f"{pairs:,}",
            f"{report.get(f'translated query {language}', 0):,}",
            f"{report.get(f'translated passage {language}', 0):,}",
            f"{count_rejected(report, language):,}",
        )
    Console().print(table)
    for key, count in report.items():
        if key.startswith("rejected"):
            print(f"{key}: {count:,}")
    rejected = count_rejected(report)
    total = rejected + count_translated(report)
    if rejected > DOUBTFUL_SHARE * total:
        print(
            f"{rejected / total:.0%} of the translations are rejected: look at "
            f"{to}/rejects-*.parquet before you use the rest"
        )
    print(f"train with it: hybrid-ir train corpus=folder corpus.path={to}")
