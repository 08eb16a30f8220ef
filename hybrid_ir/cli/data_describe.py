"""What a data set is, as tables on the terminal: licence and citation, sizes by language, samples, the first planned batches."""

from collections.abc import Sequence

import numpy as np
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table
from rich.text import Text as Plain

from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.runs.building import build
from hybrid_ir.types import Benchmark, Source

SAMPLES, BATCHES, SHOWN = 3, 3, 4  # rows, planned batches, examples of each
CHARACTERS = 500  # of a sample text
LOOKED_AT = 20_000  # texts, for their mean length


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
    table = Table(
        title=f"{len(corpus):,} pairs, {len(np.unique(corpus.content)):,} distinct contents, up to "
        f"{corpus.negatives.shape[1]} hard negatives",
        title_justify="left",
    )
    for column in (
        "language",
        "pairs in one language",
        "queries",
        "passages",
        "characters a query",
        "characters a passage",
    ):
        table.add_column(column, justify="left" if column == "language" else "right")
    together = corpus.availability.counts()[2]
    for i, language in enumerate(corpus.languages):
        sides = (
            (corpus.queries, corpus.index.query_languages),
            (corpus.passages, corpus.index.passage_languages),
        )
        counts, lengths = zip(
            *(counted(texts[language], sets.has(np.arange(len(sets)), i)) for texts, sets in sides),
            strict=True,
        )
        if any(counts):
            table.add_row(
                language, f"{together[i]:,}", *(f"{count:,}" for count in counts), *lengths
            )
    console.print(table)
    rows = np.random.default_rng(0).choice(len(corpus), min(SAMPLES, len(corpus)), replace=False)
    samples = Table(title="sample pairs", title_justify="left", show_lines=True)
    for column in ("pair", "query", "passage"):
        samples.add_column(column)
    for row in rows:
        (query, passage), (asked, told) = (
            corpus.pairs[row],
            corpus.availability.of_pairs(np.array([row])),
        )
        together = asked[0] & told[0]
        for cell in np.argwhere(
            np.diag(together) if together.any() else np.outer(asked[0], told[0])
        ):
            first, second = (corpus.languages[i] for i in cell)
            samples.add_row(
                f"{row} {first}" if first == second else f"{row} {first} to {second}",
                Plain(corpus.queries[first][query]),
                Plain(text_of(corpus.passages[second][passage])),
            )
    console.print(samples)


def counted(texts: Sequence[str | None], there_N: np.ndarray) -> tuple[int, str]:
    """How many texts there are, and their mean length, by a sample of a large corpus."""
    rows = np.flatnonzero(there_N)
    sample = (
        rows
        if len(rows) <= LOOKED_AT
        else np.random.default_rng(0).choice(rows, LOOKED_AT, replace=False)
    )
    return len(rows), f"{np.mean([len(texts[row]) for row in sample]):.0f}" if len(rows) else ""


def batches(sampler: DictConfig, corpus: ParallelCorpus, console: Console) -> None:
    """The first batches as the sampler plans them; where it cannot, those of one kind alone, and why."""
    told = []
    for share in (sampler.monolingual_share, 1.0, 0.0):
        try:
            planned = build(sampler)(corpus=corpus, monolingual_share=share)
        except ValueError as error:
            told.append(str(error))
            continue
        if told:
            console.print(Plain(f"monolingual_share={sampler.monolingual_share}: {told[0]}"))
        return preview(planned, console)
    return console.print(Plain(f"no batches can be planned: {told[0]}"))


def preview(sampler, console: Console) -> None:
    """The first examples of the first planned batches, as `sampler` draws them."""
    corpus = sampler.corpus
    console.print(
        Plain(
            f"first batches, monolingual_share={sampler.monolingual_share}, level={sampler.level}, "
            f"batch_size={sampler.batch_size}, seed={sampler.seed}",
            "italic",
        )
    )
    table = Table(expand=True)
    table.add_column("step", width=4)
    for column in ("query", "passage"):
        table.add_column(column, overflow="ellipsis", no_wrap=True, ratio=1)
    for step in range(BATCHES):
        plan = sampler[step]
        for pair, asked, answered in zip(
            plan.pairs[:SHOWN], plan.query_languages, plan.passage_languages, strict=False
        ):
            (query, passage), part = corpus.parts[plan.part].pairs[pair], corpus.parts[plan.part]
            asked, answered = corpus.languages[asked], corpus.languages[answered]
            table.add_row(
                str(step),
                Plain(f"{asked}: {part.queries[asked][query]}"),
                Plain(f"{answered}: {part.passages[answered][passage]}"),
            )
        table.add_section()
    console.print(table)


def describe_benchmark(benchmark: Benchmark, console: Console) -> None:
    describe_source(benchmark.source, "benchmark", console)
    table = Table(
        title=f"{len(benchmark.queries):,} queries ({len(set(benchmark.question_ids)):,} questions), "
        f"{len(benchmark.passages):,} passages",
        title_justify="left",
    )
    for column in ("language", "queries", "passages", "relevant per query"):
        table.add_column(column, justify="left" if column == "language" else "right")
    relevant = np.array([len(rows) for rows in benchmark.relevant])
    for i, language in enumerate(benchmark.languages):
        mine = benchmark.query_languages == i
        table.add_row(
            language,
            f"{mine.sum():,}",
            f"{(benchmark.passage_languages == i).sum():,}",
            f"{relevant[mine].mean():.2f}" if mine.any() else "",
        )
    console.print(table)
    samples = Table(
        title="sample queries, each with its first relevant passages",
        title_justify="left",
        show_lines=True,
    )
    for column in ("query", "relevant"):
        samples.add_column(column)
    for row in np.random.default_rng(0).choice(
        len(benchmark.queries), min(SAMPLES, len(benchmark.queries)), replace=False
    ):
        found = "\n".join(
            f"{benchmark.languages[benchmark.passage_languages[p]]}: {text_of(benchmark.passages[p])}"
            for p in benchmark.relevant[row][:SHOWN]
        )
        samples.add_row(
            Plain(
                f"{benchmark.languages[benchmark.query_languages[row]]}: {benchmark.queries[row]}"
            ),
            Plain(found),
        )
    console.print(samples)


def text_of(passage) -> str:
    text = passage if isinstance(passage, str) else " | ".join(passage)
    return (
        text if len(text) <= CHARACTERS else f"{text[:CHARACTERS]} ... ({len(text):,} characters)"
    )
