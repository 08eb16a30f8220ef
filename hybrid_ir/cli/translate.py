"""`hybrid-ir translate`: make a corpus parallel by machine translation, on as many processes as want to work."""

import os
import sys
from pathlib import Path

from filelock import FileLock
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table

from hybrid_ir.cli.config import compose_config
from hybrid_ir.corpora.stored import load_corpus_folder, read_corpus_card, write_corpus
from hybrid_ir.data.content_ids import compute_corpus_fingerprint
from hybrid_ir.runs import encoders as models
from hybrid_ir.runs.building import build
from hybrid_ir.system.interruption import raise_when_asked_to_stop
from hybrid_ir.system.processes import FAILURE_FOLDER_VARIABLE, Ranks
from hybrid_ir.system.setup import prepare_process
from hybrid_ir.translation.families import Translator
from hybrid_ir.translation.quality import QualityFilters
from hybrid_ir.translation.work import TranslationJob
from hybrid_ir.types import parse_languages

TEXTS = ("model", "to", "revision", "device", "corpus.path", "paths.data_dir", "paths.cache_dir")
DECIDES = (
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
DOUBTFUL = 0.2  # share of rejected translations from which on it is worth a word
COMMAND = "from hybrid_ir.cli.main import main; main()"


def main(arguments: list[str]) -> None:
    cfg = compose_config("translate", arguments, TEXTS)
    if cfg is None:
        return
    if missing := sorted(
        key for key in ("model", "languages", "to") if OmegaConf.is_missing(cfg, key)
    ):
        raise ValueError(
            f"{', '.join(missing)}: not given; hybrid-ir translate --help lists the keys"
        )
    if cfg.processes > 1 and FAILURE_FOLDER_VARIABLE not in os.environ:
        Ranks(cfg.processes).start([sys.executable, "-c", COMMAND, "translate", *arguments]).wait()
    else:
        run(cfg)


def run(cfg: DictConfig) -> None:
    to = Path(cfg.to).expanduser().absolute()
    if not to.exists():
        prepare_process(0, cfg.threads)
        raise_when_asked_to_stop()
        corpus = build(cfg.corpus)
        chosen = parse_languages(
            OmegaConf.to_object(cfg.languages)
            if OmegaConf.is_config(cfg.languages)
            else cfg.languages
        )
        job = TranslationJob(
            corpus, cfg.source, chosen, to.with_name(f".{to.name}.translating"), cfg.unit
        )
        translator = Translator.load(
            cfg.model,
            cfg.revision,
            cfg.source,
            device(cfg),
            cfg.precision,
            codes=dict(cfg.codes),
            beams=cfg.beams,
            max_length=cfg.max_length,
            tokens_per_batch=cfg.tokens_per_batch,
        )
        filters = QualityFilters(
            cfg.length_ratio,
            cfg.language_letters,
            cfg.copied,
            cfg.repeated,
            cfg.identical,
            (cfg.source, *chosen),
        )
        for language in chosen:
            translator.code(language)  # ValueError before there is any work
        job.begin(
            {
                "corpus": compute_corpus_fingerprint(corpus),
                "model files": translator.identity,
                **{key: OmegaConf.to_container(cfg)[key] for key in DECIDES},
            }
        )
        job.work(translator, filters)
        by = f"{Path(cfg.model).name if Path(cfg.model).exists() else cfg.model}{f'@{cfg.revision}' if cfg.revision else ''}"
        with FileLock(job.folder / ".assemble.lock"):
            if not to.exists():
                write_corpus(str(to), lambda writer: job.assemble(writer, by))
    if os.environ.get("RANK", "0") == "0":
        show(to)


def device(cfg: DictConfig) -> str:
    """That of the config, or the GPU of this process."""
    found = models.choose_device(cfg)
    return (
        f"cuda:{os.environ['LOCAL_RANK']}"
        if found == "cuda" and "LOCAL_RANK" in os.environ
        else found
    )


def show(to: Path) -> None:
    corpus, report = load_corpus_folder(to), read_corpus_card(to)["report"]
    table = Table(title=f"{to}: {len(corpus):,} pairs", title_justify="left")
    for column in (
        "language",
        "pairs in it",
        "queries translated",
        "passages translated",
        "rejected",
    ):
        table.add_column(column, justify="left" if column == "language" else "right")
    for language, count in zip(corpus.languages, corpus.availability.counts()[2], strict=True):
        rejected = sum(
            number
            for what, number in report.items()
            if what.startswith("rejected") and f" {language}:" in what
        )
        table.add_row(
            language,
            f"{count:,}",
            *(
                f"{report.get(f'translated {role} {language}', 0):,}"
                for role in ("query", "passage")
            ),
            f"{rejected:,}",
        )
    Console().print(table)
    for what, number in report.items():
        if what.startswith("rejected"):
            print(f"{what}: {number:,}")
    lost, kept = (
        sum(number for what, number in report.items() if what.startswith(kind))
        for kind in ("rejected", "translated")
    )
    if lost > DOUBTFUL * (lost + kept):
        print(
            f"{lost / (lost + kept):.0%} of the translations are rejected: look at {to}/rejects-*.parquet before you use the "
            "rest"
        )
    print(f"train with it: python train.py corpus=folder corpus.path={to}")
