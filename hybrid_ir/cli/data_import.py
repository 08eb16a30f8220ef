"""`hybrid-ir data import FORM path=... to=FOLDER`: your own training data, checked line by line, as a corpus in a folder."""

from collections.abc import Sequence
from pathlib import Path

from hydra import compose, initialize_config_dir
from rich.console import Console
from rich.table import Table

from hybrid_ir.cli.config import set_plain_texts, split_plain_texts
from hybrid_ir.corpora.stored import read_corpus_card
from hybrid_ir.runs.building import build
from hybrid_ir.runs.conf import find_conf_folder
from hybrid_ir.system.interruption import raise_when_asked_to_stop

FORMS = ("jsonl", "parquet", "tsv", "beir", "hub")
TEXTS = ("path", "to", "folder", "paths.data_dir", "paths.cache_dir")
USAGE = (
    f"usage: hybrid-ir data import {'|'.join(FORMS)} path=FILES to=NEW_FOLDER [errors=skip] [KEY=VALUE of "
    "conf/corpus/FORM.yaml ...]; then train with corpus=folder corpus.path=NEW_FOLDER"
)


def main(arguments: Sequence[str]) -> None:
    form, overrides = (arguments[0], arguments[1:]) if arguments else (None, [])
    if form not in FORMS:
        raise ValueError(USAGE)
    if bare := [override for override in overrides if "=" not in override]:
        raise ValueError(
            f"{bare[0]!r} has no key: write path={bare[0]}, if it is the data. {USAGE}"
        )
    rest, texts = split_plain_texts(overrides, TEXTS)
    own = {
        key if key.startswith("paths.") else f"corpus.{key}": value for key, value in texts.items()
    }
    if not own.get("corpus.to"):
        raise ValueError(f"to= names the folder that the corpus shall be in. {USAGE}")
    with initialize_config_dir(find_conf_folder(), version_base="1.3"):
        cfg = compose(
            "train", overrides=[f"corpus={form}", *(f"corpus.{override}" for override in rest)]
        )
    raise_when_asked_to_stop()
    corpus = build(set_plain_texts(cfg, own).corpus)
    show(own["corpus.to"], len(corpus), corpus.availability.counts()[2], corpus.languages)


def show(folder: str, pairs: int, together: Sequence[int], languages: Sequence[str]) -> None:
    report = read_corpus_card(Path(folder).expanduser())["report"]
    table = Table(title=f"{folder}: {pairs:,} pairs", title_justify="left")
    for column in ("language", "pairs in it"):
        table.add_column(column, justify="left" if column == "language" else "right")
    for language, count in zip(languages, together, strict=True):
        table.add_row(language, f"{count:,}")
    Console().print(table)
    print(", ".join(f"{count:,} {what}" for what, count in report.items()))
    print(f"train with it: python train.py corpus=folder corpus.path={folder}")
    print(
        "measure it with benchmark=beir_folder benchmark.folder=YOURS, or benchmark=xquad_r; by default that is cldr_facts"
    )
