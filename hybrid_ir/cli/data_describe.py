"""What a data set is, as tables: licence, sizes by language, samples, the first planned batches."""

from collections.abc import Sequence

import numpy as np
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table
from rich.text import Text as PlainText

from hybrid_ir.data.availability import LanguageSets
from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.data.sampling import PairBatchSampler
from hybrid_ir.runs.building import build
from hybrid_ir.types import Benchmark, Source, Text

SAMPLE_ROWS = 3  # pairs or queries shown
PLANNED_BATCHES = 3  # shown
SHOWN_EXAMPLES = 4  # of a batch, or relevant passages of a query
SAMPLE_CHARACTERS = 500  # of a passage that is shown
TEXTS_FOR_LENGTH = 20_000  # a larger corpus is sampled for the mean length of its texts


def print_source(source: Source, kind: str, console: Console) -> None:
    """Prints where a data set comes from, under its name."""
    table = Table(title=f"{kind} {source.name}", show_header=False, title_justify="left")
    for key in ("description", "licence", "citation", "revision"):
        value = getattr(source, key)
        if value:
            table.add_row(key, PlainText(value))
    for key, value in source.choices.items():
        table.add_row(key, PlainText(str(value)))
    console.print(table)


def print_corpus(corpus: ParallelCorpus, console: Console) -> None:
    """Prints the source, the sizes and some pairs of a corpus, or of each corpus of a mixture."""
    print_source(corpus.source, "corpus", console)
    for name, reason in corpus.left_out.items():
        console.print(PlainText(f"left out: {name}: {reason}"))
    if len(corpus.parts) > 1:
        for part in corpus.parts:
            print_corpus(part, console)
        return
    console.print(build_size_table(corpus))
    console.print(build_pair_table(corpus))


def build_size_table(corpus: ParallelCorpus) -> Table:
    """Returns a table of pairs, texts and their mean lengths by language."""
    contents = len(np.unique(corpus.content))
    negatives = corpus.negatives.shape[1]
    table = Table(
        title=f"{len(corpus):,} pairs, {contents:,} distinct contents, up to {negatives} hard "
        "negatives",
        title_justify="left",
    )
    table.add_column("language")
    for column in (
        "pairs in one language",
        "queries",
        "passages",
        "characters a query",
        "characters a passage",
    ):
        table.add_column(column, justify="right")
    _, _, pairs_L = corpus.availability.count_pairs()
    for number, language in enumerate(corpus.languages):
        query_sets = corpus.index.query_languages
        passage_sets = corpus.index.passage_languages
        queries, query_length = measure_texts(corpus.queries[language], query_sets, number)
        passages, passage_length = measure_texts(corpus.passages[language], passage_sets, number)
        if queries or passages:
            table.add_row(
                language,
                f"{pairs_L[number]:,}",
                f"{queries:,}",
                f"{passages:,}",
                query_length,
                passage_length,
            )
    return table


def measure_texts(
    texts: Sequence[str | None], sets: LanguageSets, language: int
) -> tuple[int, str]:
    """Returns how many texts a language has, and their mean length in characters ("" for none)."""
    is_there = sets.has(np.arange(len(sets)), language)
    rows = np.flatnonzero(is_there)
    if not len(rows):
        return 0, ""
    sample = rows
    if len(rows) > TEXTS_FOR_LENGTH:
        sample = np.random.default_rng(0).choice(rows, TEXTS_FOR_LENGTH, replace=False)
    mean_length = np.mean([len(texts[row]) for row in sample])
    return len(rows), f"{mean_length:.0f}"


def build_pair_table(corpus: ParallelCorpus) -> Table:
    """Returns a table of some pairs in every language that has both texts, or in any two."""
    table = Table(title="sample pairs", title_justify="left", show_lines=True)
    for column in ("pair", "query", "passage"):
        table.add_column(column)
    size = min(SAMPLE_ROWS, len(corpus))
    for row in np.random.default_rng(0).choice(len(corpus), size, replace=False):
        query, passage = corpus.pairs[row]
        query_sides, passage_sides = corpus.availability.get_languages_of_pairs(np.array([row]))
        has_both = query_sides[0] & passage_sides[0]
        cells = np.diag(has_both)
        if not has_both.any():
            cells = np.outer(query_sides[0], passage_sides[0])
        for query_number, passage_number in np.argwhere(cells):
            query_language = corpus.languages[query_number]
            passage_language = corpus.languages[passage_number]
            label = f"{row} {query_language}"
            if query_language != passage_language:
                label += f" to {passage_language}"
            table.add_row(
                label,
                PlainText(corpus.queries[query_language][query]),
                PlainText(shorten_passage(corpus.passages[passage_language][passage])),
            )
    return table


def print_planned_batches(
    sampler_config: DictConfig, corpus: ParallelCorpus, console: Console
) -> None:
    """Prints the first batches that the sampler plans; if it cannot, those of one kind, and why."""
    problem = None
    for share in (sampler_config.monolingual_share, 1.0, 0.0):
        try:
            sampler = build(sampler_config)(corpus=corpus, monolingual_share=share)
        except ValueError as error:
            problem = problem or str(error)
            continue
        if problem:
            console.print(
                PlainText(f"monolingual_share={sampler_config.monolingual_share}: {problem}")
            )
        print_first_batches(sampler, console)
        return
    console.print(PlainText(f"no batches can be planned: {problem}"))


def print_first_batches(sampler: PairBatchSampler, console: Console) -> None:
    """Prints the first examples of the first batches that a sampler plans."""
    corpus = sampler.corpus
    title = (
        f"first batches, monolingual_share={sampler.monolingual_share}, level={sampler.level}, "
        f"batch_size={sampler.batch_size}, seed={sampler.seed}"
    )
    console.print(PlainText(title, "italic"))
    table = Table(expand=True)
    table.add_column("step", width=4)
    for column in ("query", "passage"):
        table.add_column(column, overflow="ellipsis", no_wrap=True, ratio=1)
    for step in range(PLANNED_BATCHES):
        plan = sampler[step]
        part = corpus.parts[plan.part]
        for example in range(min(SHOWN_EXAMPLES, len(plan.pairs))):
            query, passage = part.pairs[plan.pairs[example]]
            query_language = corpus.languages[plan.query_languages[example]]
            passage_language = corpus.languages[plan.passage_languages[example]]
            table.add_row(
                str(step),
                PlainText(f"{query_language}: {part.queries[query_language][query]}"),
                PlainText(f"{passage_language}: {part.passages[passage_language][passage]}"),
            )
        table.add_section()
    console.print(table)


def print_benchmark(benchmark: Benchmark, console: Console) -> None:
    """Prints the source, the sizes and some queries of a benchmark."""
    print_source(benchmark.source, "benchmark", console)
    questions = len(set(benchmark.question_ids))
    table = Table(
        title=f"{len(benchmark.queries):,} queries ({questions:,} questions), "
        f"{len(benchmark.passages):,} passages",
        title_justify="left",
    )
    table.add_column("language")
    for column in ("queries", "passages", "relevant per query"):
        table.add_column(column, justify="right")
    relevant = np.array([len(rows) for rows in benchmark.relevant])
    for number, language in enumerate(benchmark.languages):
        is_query = benchmark.query_languages == number
        is_passage = benchmark.passage_languages == number
        mean_relevant = f"{relevant[is_query].mean():.2f}" if is_query.any() else ""
        table.add_row(language, f"{is_query.sum():,}", f"{is_passage.sum():,}", mean_relevant)
    console.print(table)
    console.print(build_query_table(benchmark))


def build_query_table(benchmark: Benchmark) -> Table:
    """Returns a table of some queries, each with its first relevant passages."""
    table = Table(
        title="sample queries, each with its first relevant passages",
        title_justify="left",
        show_lines=True,
    )
    for column in ("query", "relevant"):
        table.add_column(column)
    size = min(SAMPLE_ROWS, len(benchmark.queries))
    for row in np.random.default_rng(0).choice(len(benchmark.queries), size, replace=False):
        passages = []
        for passage in benchmark.relevant[row][:SHOWN_EXAMPLES]:
            language = benchmark.languages[benchmark.passage_languages[passage]]
            passages.append(f"{language}: {shorten_passage(benchmark.passages[passage])}")
        query_language = benchmark.languages[benchmark.query_languages[row]]
        query = f"{query_language}: {benchmark.queries[row]}"
        table.add_row(PlainText(query), PlainText("\n".join(passages)))
    return table


def shorten_passage(passage: Text) -> str:
    """Returns a passage as one text that is short enough for a table."""
    text = passage if isinstance(passage, str) else " | ".join(passage)
    if len(text) <= SAMPLE_CHARACTERS:
        return text
    return f"{text[:SAMPLE_CHARACTERS]} ... ({len(text):,} characters)"
