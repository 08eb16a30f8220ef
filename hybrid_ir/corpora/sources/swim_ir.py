"""SWIM-IR: questions that a language model asked of Wikipedia passages, in one or two languages."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from hybrid_ir.corpora.sources.released import (
    build_released_corpus,
    choose_training_languages,
    require_files,
)
from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.files.fetching import RemoteFile, describe_hub_file
from hybrid_ir.files.problems import Problems
from hybrid_ir.files.records import Records
from hybrid_ir.files.tables import ColumnMap, read_parquet_records
from hybrid_ir.types import Source

SOURCE = Source(
    name="swim_ir",
    description="SWIM-IR: questions that PaLM 2 asked of Wikipedia passages, in their language or "
    "of English ones in 17 others",
    licence="CC BY-SA 4.0",
    citation="Thakur et al. 2023, Leveraging LLMs for Synthesizing Training Data Across Many "
    "Languages in Multilingual Dense Retrieval, arXiv 2311.05800",
    revision="monolingual 834c20f, cross-lingual 1d4d91d",
)
Variant = Literal["monolingual", "cross_lingual"]
REVISIONS = {
    "monolingual": "834c20f0ceef6a68e029fb4447d17d20bb0288c3",
    "cross_lingual": "1d4d91d3bb020536b4a88cc4982ae4f9dc87cc5e",
}
LANGUAGES = {
    "monolingual": ["ar", "bn", "de", "en", "es", "fi", "fr", "hi", "id", "yo"],
    "cross_lingual": [
        "ar",
        "bn",
        "de",
        "es",
        "fa",
        "fi",
        "fr",
        "hi",
        "id",
        "ja",
        "ko",
        "ru",
        "sw",
        "te",
        "th",
        "yo",
        "zh",
    ],
}
SHARDS = {"monolingual": 1, "cross_lingual": 2}  # files of a language
COUNTS = {  # queries of a language, as far as published
    "monolingual": {
        "ar": 277_651,
        "bn": 106_816,
        "de": 446_918,
        "en": 501_538,
        "es": 492_536,
        "fi": 353_725,
    },
    "cross_lingual": {
        "ar": 901_363,
        "bn": 909_748,
        "de": 909_145,
        "es": 905_771,
        "fa": 910_295,
        "fi": 906_429,
        "sw": 905_242,
        "th": 914_610,
    },
}


def list_files(
    variant: Variant = "cross_lingual", languages: str | Sequence[str] | None = None
) -> list[RemoteFile]:
    """Lists the Parquet files of each language."""
    files = []
    for language in choose_training_languages("swim_ir", languages, LANGUAGES[variant]):
        files += _list_shards(variant, language)
    return files


def _list_shards(variant: Variant, language: str) -> list[RemoteFile]:
    repository = f"nthakur/swim-ir-{variant.replace('_', '-')}"
    count = SHARDS[variant]
    paths = [f"{language}/train-{shard:05d}-of-{count:05d}.parquet" for shard in range(count)]
    return [describe_hub_file(repository, REVISIONS[variant], path) for path in paths]


def load(
    folder: str,
    cache: str,
    variant: Variant = "cross_lingual",
    languages: str | Sequence[str] | None = None,
    require_counts: bool = True,
) -> ParallelCorpus:
    """Loads the corpus, in which no text has a translation.

    Args:
        folder: where `hybrid-ir data fetch` has put the files.
        cache: the cache folder.
        variant: `cross_lingual` has queries in many languages and passages in English,
            `monolingual` has both in the same language.
        languages: the languages of the queries to use, all by default.
        require_counts: whether to refuse another number of queries than released.
    """
    chosen = choose_training_languages("swim_ir", languages, LANGUAGES[variant])
    files = list_files(variant, chosen)
    require_files("swim_ir", files, folder)
    parts = []
    for language in chosen:
        for file in _list_shards(variant, language):
            parts.append(partial(_read_shard, Path(folder) / file.path, language, variant))
    counts = None
    if require_counts:
        counts = {code: count for code, count in COUNTS[variant].items() if code in chosen}
    return build_released_corpus(
        SOURCE, files, folder, cache, parts, counts, key={"variant": variant}
    )


def _read_shard(
    path: Path, language: str, variant: Variant, problems: Problems
) -> Iterator[Records]:
    passage_language = "en" if variant == "cross_lingual" else language
    columns = ColumnMap(
        query={language: "query"}, passage={passage_language: ["title", "text"]}, id=None
    )
    yield from read_parquet_records(path, columns, problems)
