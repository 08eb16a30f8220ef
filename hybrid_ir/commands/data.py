"""`hybrid-ir data describe|fetch|verify|import|clean NAME`: what a data set is, get its files, check them."""

from collections.abc import Sequence
from importlib import import_module
from inspect import signature
from pathlib import Path

import numpy as np
from hydra import compose, initialize_config_dir
from hydra.errors import InstantiationException
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table
from rich.text import Text as Plain

from hybrid_ir.commands import build, conf_folder, data_clean, data_import, names
from hybrid_ir.commands.overrides import set_texts, split_texts
from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.formats import files
from hybrid_ir.types import Benchmark, Source

PATHS = ("corpus.path", "paths.data_dir", "paths.cache_dir")  # as they stand, as every *.folder: Hydra stops at a blank
SAMPLES, BATCHES, SHOWN = 3, 3, 4  # rows, planned batches, examples of each
CHARACTERS = 500  # of a sample text
LOOKED_AT = 20_000  # texts, for their mean length


def main(arguments: list[str]) -> None:
    if arguments[:1] in (["import"], ["clean"]):
        return {"import": data_import, "clean": data_clean}[arguments[0]].main(arguments[1:])
    verbs = {"describe": describe, "fetch": fetch, "verify": verify}
    if len(arguments) < 2 or arguments[0] not in verbs:
        raise ValueError("usage: hybrid-ir data describe|fetch|verify NAME [KEY=VALUE ...], fetch also takes mirror=URL, or "
                         "hybrid-ir data import FORM path=FILES to=FOLDER; NAME is one of "
                         f"{', '.join(sorted({*names('corpus'), *names('benchmark')}))}")
    return verbs[arguments[0]](arguments[1], arguments[2:])


def composed(name: str, overrides: Sequence[str]) -> dict[str, DictConfig]:
    """The config of a name in conf/corpus, conf/benchmark or both, and of the sampler; `overrides` are those of train.py."""
    groups = [group for group in ("corpus", "benchmark") if name in names(group)]
    if not groups:
        raise ValueError(f"no data set {name!r}: corpora are {', '.join(names('corpus'))}; "
                         f"benchmarks are {', '.join(names('benchmark'))}")
    with initialize_config_dir(conf_folder(), version_base="1.3"):
        rest, texts = split_texts(overrides, PATHS)
        cfg = set_texts(compose("train", overrides=[*(f"{group}={name}" for group in groups), *rest]), texts)
    return {group: cfg[group] for group in (*groups, "sampler")}


def describe(name: str, overrides: Sequence[str]) -> None:
    """Print everything known about a data set."""
    cfg, console = composed(name, overrides), Console()
    if "corpus" in cfg:
        try:
            corpus = build(cfg["corpus"])
        except (ValueError, InstantiationException):  # no files yet: what is known without them is said all the same
            module = import_module(cfg["corpus"]._target_.rpartition(".")[0])
            if known := getattr(module, "SOURCE", None) or getattr(getattr(module, "TABLES", None), "source", None):
                describe_source(known, "corpus", console)
            raise
        describe_corpus(corpus, console)
        preview(build(cfg["sampler"])(corpus=corpus), console)
    if "benchmark" in cfg:
        describe_benchmark(build(cfg["benchmark"]), console)


def fetch(name: str, overrides: Sequence[str]) -> None:
    """Get the files that are missing; `mirror=URL` gets them from a server with the same paths."""
    mirror = next((text.partition("=")[2] for text in overrides if text.startswith("mirror=")), None)
    wanted, folder = files_of(name, [text for text in overrides if not text.startswith("mirror=")])
    got = files.fetch(wanted, folder, mirror)
    print(f"{name}: {len(got)} files fetched, {len(wanted) - len(got)} were there, in {folder}")


def verify(name: str, overrides: Sequence[str]) -> None:
    """Hash the files again; ValueError, and so exit code 2, if any is missing or not as released or fetched."""
    wanted, folder = files_of(name, overrides)
    verdicts = files.verify(wanted, folder)
    table = Table(title=f"{name} in {folder}", title_justify="left")
    for column in ("file", "status", "detail"):
        table.add_column(column, overflow="fold")
    for verdict in verdicts:
        table.add_row(Plain(verdict.path), verdict.status, Plain(verdict.detail))
    Console().print(table)
    wrong = sum(verdict.wrong for verdict in verdicts)
    if wrong:
        raise ValueError(f"{wrong} of {len(verdicts)} files are missing or wrong: delete the wrong ones, then "
                         f"`hybrid-ir data fetch {name}` gets them")


def files_of(name: str, overrides: Sequence[str]) -> tuple[list[files.RemoteFile], Path]:
    """The files of a data set for the chosen languages, and their folder: as the module of its loader records them."""
    cfg_of = composed(name, overrides)
    for cfg in (cfg_of[group] for group in ("corpus", "benchmark") if group in cfg_of):
        record = getattr(import_module(cfg._target_.rpartition(".")[0]), "files", None)
        if callable(record):
            plain = OmegaConf.to_container(cfg, resolve=True)
            return record(**{key: plain[key] for key in signature(record).parameters if key in plain}), Path(plain["folder"])
    raise ValueError(f"{name} has no files to fetch: it comes with the package, or it is a folder of your own")


def describe_source(source: Source, kind: str, console: Console) -> None:
    table = Table(title=f"{kind} {source.name}", show_header=False, title_justify="left")
    for key in ("description", "licence", "citation", "revision"):
        if getattr(source, key):
            table.add_row(key, Plain(getattr(source, key)))
    for key, value in source.choices.items():
        table.add_row(key, Plain(str(value)))
    console.print(table)


def describe_corpus(corpus: ParallelCorpus, console: Console) -> None:
    describe_source(corpus.source, "corpus", console)
    for name, reason in corpus.left_out.items():
        console.print(Plain(f"left out: {name}: {reason}"))
    if len(corpus.parts) > 1:
        for part in corpus.parts:
            describe_corpus(part, console)
        return
    table = Table(title=f"{len(corpus):,} pairs, {len(np.unique(corpus.content)):,} distinct contents, up to "
                        f"{corpus.negatives.shape[1]} hard negatives", title_justify="left")
    for column in ("language", "pairs in one language", "queries", "passages", "characters a query", "characters a passage"):
        table.add_column(column, justify="left" if column == "language" else "right")
    together = corpus.availability.counts()[2]
    for i, language in enumerate(corpus.languages):
        sides = (corpus.queries, corpus.derived.query_languages), (corpus.passages, corpus.derived.passage_languages)
        counts, lengths = zip(*(counted(texts[language], sets.has(np.arange(len(sets)), i)) for texts, sets in sides),
                              strict=True)
        if any(counts):
            table.add_row(language, f"{together[i]:,}", *(f"{count:,}" for count in counts), *lengths)
    console.print(table)
    rows = np.random.default_rng(0).choice(len(corpus), min(SAMPLES, len(corpus)), replace=False)
    samples = Table(title="sample pairs", title_justify="left", show_lines=True)
    for column in ("pair", "query", "passage"):
        samples.add_column(column)
    for row in rows:
        (query, passage), (asked, told) = corpus.pairs[row], corpus.availability.of_pairs(np.array([row]))
        for i in np.flatnonzero(asked[0] & told[0]):
            language = corpus.languages[i]
            samples.add_row(f"{row} {language}", Plain(corpus.queries[language][query]),
                            Plain(text_of(corpus.passages[language][passage])))
    console.print(samples)


def counted(texts: Sequence[str | None], there_N: np.ndarray) -> tuple[int, str]:
    """How many texts there are, and their mean length, by a sample of a large corpus."""
    rows = np.flatnonzero(there_N)
    sample = rows if len(rows) <= LOOKED_AT else np.random.default_rng(0).choice(rows, LOOKED_AT, replace=False)
    return len(rows), f"{np.mean([len(texts[row]) for row in sample]):.0f}" if len(rows) else ""


def preview(sampler, console: Console) -> None:
    """The first examples of the first planned batches, as `sampler` draws them."""
    corpus = sampler.corpus
    table = Table(title=f"first batches, monolingual_share={sampler.monolingual_share}, level={sampler.level}, "
                        f"batch_size={sampler.batch_size}, seed={sampler.seed}", title_justify="left")
    table.add_column("step", min_width=4)
    for column in ("query", "passage"):
        table.add_column(column, overflow="ellipsis", no_wrap=True, max_width=70)
    for step in range(BATCHES):
        plan = sampler[step]
        for pair, asked, answered in zip(plan.pairs[:SHOWN], plan.query_languages, plan.passage_languages, strict=False):
            (query, passage), part = corpus.parts[plan.part].pairs[pair], corpus.parts[plan.part]
            asked, answered = corpus.languages[asked], corpus.languages[answered]
            table.add_row(str(step), Plain(f"{asked}: {part.queries[asked][query]}"),
                          Plain(f"{answered}: {part.passages[answered][passage]}"))
        table.add_section()
    console.print(table)


def describe_benchmark(benchmark: Benchmark, console: Console) -> None:
    describe_source(benchmark.source, "benchmark", console)
    table = Table(title=f"{len(benchmark.queries):,} queries ({len(set(benchmark.question_ids)):,} questions), "
                        f"{len(benchmark.passages):,} passages", title_justify="left")
    for column in ("language", "queries", "passages", "relevant per query"):
        table.add_column(column, justify="left" if column == "language" else "right")
    relevant = np.array([len(rows) for rows in benchmark.relevant])
    for i, language in enumerate(benchmark.languages):
        mine = benchmark.query_languages == i
        table.add_row(language, f"{mine.sum():,}", f"{(benchmark.passage_languages == i).sum():,}",
                      f"{relevant[mine].mean():.2f}" if mine.any() else "")
    console.print(table)
    samples = Table(title="sample queries, each with its first relevant passages", title_justify="left", show_lines=True)
    for column in ("query", "relevant"):
        samples.add_column(column)
    for row in np.random.default_rng(0).choice(len(benchmark.queries), min(SAMPLES, len(benchmark.queries)), replace=False):
        found = "\n".join(f"{benchmark.languages[benchmark.passage_languages[p]]}: {text_of(benchmark.passages[p])}"
                          for p in benchmark.relevant[row][:SHOWN])
        samples.add_row(Plain(f"{benchmark.languages[benchmark.query_languages[row]]}: {benchmark.queries[row]}"), Plain(found))
    console.print(samples)


def text_of(passage) -> str:
    text = passage if isinstance(passage, str) else " | ".join(passage)
    return text if len(text) <= CHARACTERS else f"{text[:CHARACTERS]} ... ({len(text):,} characters)"
