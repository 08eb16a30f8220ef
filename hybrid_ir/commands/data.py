"""`hybrid-ir data describe NAME`: what a data set is, before anything is trained on it."""

from collections.abc import Sequence

import numpy as np
from hydra import compose, initialize_config_dir
from rich.console import Console
from rich.table import Table
from rich.text import Text as Plain

from hybrid_ir.commands import build, conf_folder, shipped
from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.types import Benchmark, Source

SAMPLES, BATCHES, SHOWN = 3, 3, 4  # rows, planned batches, examples of each


def main(arguments: list[str]) -> None:
    if len(arguments) < 2 or arguments[0] != "describe":
        raise ValueError("usage: hybrid-ir data describe NAME [KEY=VALUE ...], NAME is one of "
                         f"{', '.join(sorted({*names('corpus'), *names('benchmark')}))}")
    describe(arguments[1], arguments[2:])


def names(group: str) -> list[str]:
    return sorted(path.stem for path in (shipped("conf") / group).glob("*.yaml") if path.stem != "none")


def describe(name: str, overrides: Sequence[str]) -> None:
    """Print everything known about a name in conf/corpus, conf/benchmark or both; `overrides` are those of train.py."""
    known = {group: name in names(group) for group in ("corpus", "benchmark")}
    if not any(known.values()):
        raise ValueError(f"no data set {name!r}: corpora are {', '.join(names('corpus'))}; "
                         f"benchmarks are {', '.join(names('benchmark'))}")
    chosen = [f"{group}={name}" for group, there in known.items() if there]
    with initialize_config_dir(conf_folder(), version_base="1.3"):
        cfg = compose("train", overrides=[*chosen, *overrides])
    console = Console()
    if known["corpus"]:
        corpus = build(cfg.corpus)
        describe_corpus(corpus, console)
        preview(build(cfg.sampler)(corpus=corpus), console)
    if known["benchmark"]:
        describe_benchmark(build(cfg.benchmark), console)


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
    table = Table(title=f"{len(corpus):,} pairs, {len(set(corpus.content.tolist())):,} distinct contents, up to "
                        f"{corpus.negatives.shape[1]} hard negatives", title_justify="left")
    for column in ("language", "pairs in one language", "queries", "passages", "characters a query", "characters a passage"):
        table.add_column(column, justify="left" if column == "language" else "right")
    together = (corpus.query_available & corpus.passage_available).sum(0)
    for i, language in enumerate(corpus.languages):
        texts = [[t for t in side[language] if t is not None] for side in (corpus.queries, corpus.passages)]
        table.add_row(language, f"{together[i]:,}", *(f"{len(rows):,}" for rows in texts),
                      *(f"{np.mean([len(t) for t in rows]):.0f}" if rows else "" for rows in texts))
    console.print(table)
    rows = np.random.default_rng(0).choice(len(corpus), min(SAMPLES, len(corpus)), replace=False)
    samples = Table(title="sample pairs", title_justify="left", show_lines=True)
    for column in ("pair", "query", "passage"):
        samples.add_column(column)
    for row in rows:
        query, passage = corpus.pairs[row]
        for i, language in enumerate(corpus.languages):
            if corpus.query_available[row, i] and corpus.passage_available[row, i]:
                samples.add_row(f"{row} {language}", Plain(corpus.queries[language][query]),
                                Plain(corpus.passages[language][passage]))
    console.print(samples)


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
            query, passage = corpus.pairs[pair]
            asked, answered = corpus.languages[asked], corpus.languages[answered]
            table.add_row(str(step), Plain(f"{asked}: {corpus.queries[asked][query]}"),
                          Plain(f"{answered}: {corpus.passages[answered][passage]}"))
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
    return passage if isinstance(passage, str) else " | ".join(passage)
