"""`hybrid-ir data import FORM path=... to=FOLDER`: your own pairs, checked, as a corpus."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from hybrid_ir.cli.config import sort_arguments
from hybrid_ir.runs.conf import compose_config, set_values
from hybrid_ir.runs.suggestions import suggest
from hybrid_ir.system.interruption import raise_when_asked_to_stop

if TYPE_CHECKING:
    from hybrid_ir.data.corpus import ParallelCorpus

FORMS = ("jsonl", "parquet", "tsv", "beir", "flagembedding", "tevatron", "datasets", "hub")
USAGE = (
    f"usage: hybrid-ir data import {'|'.join(FORMS)} path=FILES to=NEW_FOLDER [errors=skip] "
    "[KEY=VALUE of conf/corpus/FORM.yaml ...]; then train with corpus=folder corpus.path=NEW_FOLDER"
)


def main(arguments: Sequence[str]) -> None:
    """Runs the command with its arguments."""
    form = arguments[0] if arguments else ""
    if form not in FORMS:
        meant = suggest(form, FORMS)
        hint = f"{form!r} is no form, did you mean {meant}? " if meant else ""
        raise ValueError(hint + USAGE)
    for previous, argument in pairwise(arguments):
        is_of_option = argument.startswith("-") or previous in ("--config-dir", "-cd")
        if "=" not in argument and not is_of_option:
            raise ValueError(
                f"{argument!r} has no key: write path={argument}, if it is the data. {USAGE}"
            )
    sorted_arguments = sort_arguments(arguments[1:])
    if not sorted_arguments.plain_texts.get("to"):
        raise ValueError(f"to= names the folder that the corpus shall be in. {USAGE}")
    overrides = [f"corpus={form}"]
    for override in sorted_arguments.overrides:
        overrides.append(f"corpus.{override}")
    plain_texts = {}
    for key, value in sorted_arguments.plain_texts.items():
        full_key = key if key.startswith("paths.") else f"corpus.{key}"
        plain_texts[full_key] = value
    if any(override.startswith("languages=") for override in sorted_arguments.overrides):
        raise ValueError(
            "languages=: an import keeps all languages of the data, and those to use are chosen "
            f"where it is used: corpus=folder corpus.path={sorted_arguments.plain_texts['to']} "
            "corpus.languages=[...]"
        )
    cfg = compose_config("train", overrides, sorted_arguments.config_folders)
    set_values(cfg, plain_texts)
    from hybrid_ir.runs.building import build  # Here, so that a misspelt key is refused at once.

    raise_when_asked_to_stop()
    print_import(plain_texts["corpus.to"], build(cfg.corpus))


def print_import(folder: str, corpus: "ParallelCorpus") -> None:
    """Prints what was imported, and how to go on from there."""
    # Imported here, since the corpus is loaded by now.
    from rich.console import Console
    from rich.table import Table

    from hybrid_ir.corpora.stored import read_corpus_card

    report = read_corpus_card(Path(folder).expanduser())["report"]
    table = Table(title=f"{folder}: {len(corpus):,} pairs", title_justify="left")
    table.add_column("language")
    table.add_column("pairs in it", justify="right")
    _, _, pairs_L = corpus.availability.count_pairs()
    for language, count in zip(corpus.languages, pairs_L, strict=True):
        table.add_row(language, f"{count:,}")
    Console().print(table)
    print(", ".join(f"{count:,} {what}" for what, count in report.items()))
    print(f"train with it: hybrid-ir train corpus=folder corpus.path={folder}")
    print(
        "measure it with benchmark=beir_folder benchmark.folder=YOURS, or benchmark=xquad_r; "
        "by default that is cldr_facts"
    )
    print(
        "while training it is watched by questions that are held out of it, or by another "
        "benchmark with benchmark@validation=NAME"
    )
