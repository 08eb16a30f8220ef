"""MIRACL: questions of native speakers over Wikipedia in 18 languages (2210.09984); monolingual."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

from hybrid_ir.evaluation.benchmarks.builder import BenchmarkBuilder, Query
from hybrid_ir.evaluation.benchmarks.choices import check_option, choose_languages, record_choices
from hybrid_ir.evaluation.benchmarks.miracl_parquet import (
    list_parquet_files,
    read_passages,
    read_qrels,
    read_queries,
)
from hybrid_ir.evaluation.benchmarks.relevance import JudgementRules, UnknownPassages
from hybrid_ir.files.arrow_texts import PassageRow, load_or_convert_passages
from hybrid_ir.files.fetching import RemoteFile, describe_hub_file
from hybrid_ir.files.json_lines import get_text_field, read_objects
from hybrid_ir.files.judgements import read_judgements, read_topics
from hybrid_ir.files.miracl import (
    MIRACL_CORPUS,
    MIRACL_SHARDS,
    MIRACL_TOPICS,
    list_passage_files,
    list_topic_files,
)
from hybrid_ir.files.problems import Problems
from hybrid_ir.types import Benchmark, Source

Pool = Literal["full", "hard_negatives"]
HARD_NEGATIVES = ("mteb/MIRACLRetrievalHardNegatives", "d7d94fa4b946cec4a27c84653aa0cf6b33f74a3c")
RELEASED = {  # queries and passages of the dev split
    "full": {
        "ar": (2896, 2061414),
        "bn": (411, 297265),
        "de": (305, 15866222),
        "en": (799, 32893221),
        "es": (648, 10373953),
        "fa": (632, 2207172),
        "fi": (1271, 1883509),
        "fr": (343, 14636953),
        "hi": (350, 506264),
        "id": (960, 1446315),
        "ja": (860, 6953614),
        "ko": (213, 1486752),
        "ru": (1252, 9543918),
        "sw": (482, 131924),
        "te": (828, 518079),
        "th": (733, 542166),
        "yo": (119, 49043),
        "zh": (393, 4934368),
    },
    "hard_negatives": {
        "ar": (1000, 192103),
        "bn": (411, 297265),
        "de": (305, 71277),
        "en": (799, 178768),
        "es": (648, 146750),
        "fa": (632, 133596),
        "fi": (1000, 194415),
        "fr": (343, 75357),
        "hi": (350, 63066),
        "id": (960, 168173),
        "ja": (860, 185319),
        "ko": (213, 43293),
        "ru": (1000, 219114),
        "sw": (482, 131924),
        "te": (828, 101961),
        "th": (733, 116649),
        "yo": (119, 49043),
        "zh": (393, 81309),
    },
}
SOURCE = Source(
    name="miracl",
    description=(
        "MIRACL: questions of native speakers over Wikipedia passages of their language, in up to "
        "18 languages"
    ),
    licence="Apache 2.0 (Wikipedia's texts CC BY-SA)",
    citation=(
        "Zhang et al. 2023, MIRACL: A Multilingual Retrieval Dataset Covering 18 Diverse "
        "Languages, arXiv 2210.09984"
    ),
)
REVISIONS = {
    "full": f"{MIRACL_TOPICS[0]}@{MIRACL_TOPICS[1][:7]}, {MIRACL_CORPUS[0]}@{MIRACL_CORPUS[1][:7]}",
    "hard_negatives": f"{HARD_NEGATIVES[0]}@{HARD_NEGATIVES[1][:7]}",
}


def list_files(
    languages: str | Sequence[str] | None = None, split: str = "dev", pool: Pool = "full"
) -> list[RemoteFile]:
    """Lists topics, judgements and corpus of each language."""
    errors = _check_pool_and_split(pool, split)
    files = []
    for language in choose_languages("miracl", languages, MIRACL_SHARDS, None, errors):
        if pool == "full":
            for path in list_topic_files(language, split):
                files.append(describe_hub_file(*MIRACL_TOPICS, path))
            for path in list_passage_files(language):
                files.append(describe_hub_file(*MIRACL_CORPUS, path))
        else:
            for path in list_parquet_files(language, split):
                files.append(describe_hub_file(*HARD_NEGATIVES, path))
    return files


def load(
    folder: str,
    cache: str,
    split: str = "dev",
    pool: Pool = "full",
    title: bool = True,
    require_counts: bool = True,
    unknown_passages: UnknownPassages = "error",
    languages: str | list[str] | None = None,
    max_queries: int | None = None,
) -> Benchmark:
    """Loads MIRACL from a folder that `hybrid-ir data fetch` has filled.

    Args:
        folder: with the files of `list_files`.
        cache: where the converted passages go, about as large as the corpus unpacked.
        split: `dev`, or of the full pool also `train`, which de and yo lack.
        pool: `full`, or `hard_negatives`: the passages near the queries, whose numbers are not
            comparable with the full pool's.
        title: whether passages are title + " " + text, as usual, or the text alone.
        require_counts: whether to refuse a dev set of another size than the released.
        unknown_passages: `drop` leaves out, and counts, judgements of passages that are not in
            the corpus.
        languages: codes to choose; None for all.
        max_queries: questions to keep of each language.
    """
    errors = _check_pool_and_split(pool, split)
    rules = JudgementRules(unknown_passages)
    errors += rules.list_errors()
    chosen = choose_languages("miracl", languages, MIRACL_SHARDS, max_queries, errors)
    name = "miracl" if pool == "full" else "miracl_hard_negatives"
    source = record_choices(
        replace(SOURCE, name=name, revision=REVISIONS[pool]),
        pool=pool,
        split=split,
        title=title,
        require_counts=require_counts,
        max_queries=max_queries,
    )
    problems = Problems(f"{folder} (hybrid-ir data fetch {name} gets it)")
    builder = BenchmarkBuilder(source, problems)
    add_language = _add_full_pool if pool == "full" else _add_hard_negatives
    for language in chosen:
        add_language(builder, Path(folder), language, split, title, Path(cache))
    if require_counts and split == "dev":
        builder.compare_with_release({language: RELEASED[pool][language] for language in chosen})
    return builder.build(chosen, max_queries, rules)


def _check_pool_and_split(pool: str, split: str) -> list[str]:
    splits = ("dev",) if pool == "hard_negatives" else ("dev", "train")
    return check_option("pool", pool, tuple(RELEASED)) + check_option("split", split, splits)


def _add_full_pool(
    builder: BenchmarkBuilder, folder: Path, language: str, split: str, title: bool, cache: Path
) -> None:
    """Adds a language of the full pool; its ids get the language in front."""
    problems = builder.problems
    passages = load_or_convert_passages(
        [folder / path for path in list_passage_files(language)],
        f"miracl {language} {title}",
        partial(_read_passages, language=language, title=title),
        cache,
        problems,
    )
    builder.add_stored_passages(passages)
    topics_file, qrels_file = list_topic_files(language, split)
    for where, name, text in read_topics(folder / topics_file, problems):
        query_id = f"{language}:{name}"
        builder.add_query(Query(language, query_id, text, query_id, where))
    judgements = []
    for judgement in read_judgements(folder / qrels_file, problems):
        query_id = f"{language}:{judgement.query_id}"
        passage_id = f"{language}:{judgement.passage_id}"
        judgements.append(
            replace(judgement, query_id=query_id, passage_id=passage_id, passage_language=language)
        )
    builder.add_judgements(judgements)


def _read_passages(
    path: Path, problems: Problems, language: str, title: bool
) -> Iterator[PassageRow]:
    for line, row in read_objects(path, problems):
        where = f"{path}, line {line}"
        name = get_text_field(row, "docid", where, problems)
        text = get_text_field(row, "text", where, problems, blank=True)
        headline = ""
        if title:
            headline = get_text_field(row, "title", where, problems, blank=True)
        if name is not None and text is not None and headline is not None:
            yield language, f"{language}:{name}", f"{headline} {text}".strip(), line


def _add_hard_negatives(
    builder: BenchmarkBuilder, folder: Path, language: str, split: str, title: bool, cache: Path
) -> None:
    """Adds a language of the pool of hard negatives; its ids get the language in front."""
    problems = builder.problems
    corpus_file, queries_file, qrels_file = list_parquet_files(language, split)
    passages = load_or_convert_passages(
        [folder / corpus_file],
        f"miracl parquet {language} {title}",
        partial(read_passages, language=language, title=title),
        cache,
        problems,
    )
    builder.add_stored_passages(passages)
    for query in read_queries(folder / queries_file, language, problems):
        builder.add_query(query)
    builder.add_judgements(read_qrels(folder / qrels_file, language, problems))
