"""SWIM-IR: questions that a language model asked of Wikipedia passages, in the passage's language or across languages."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from hybrid_ir.corpora.sources.released import build_released_corpus, choose_languages, find_files
from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.files.fetching import RemoteFile, hub_file
from hybrid_ir.files.problems import Problems
from hybrid_ir.files.records import Records
from hybrid_ir.files.tables import ColumnMap, read_parquet_records
from hybrid_ir.types import Source

SOURCE = Source(
    name="swim_ir",
    description="SWIM-IR: questions that PaLM 2 asked of Wikipedia passages, in their language or of English ones in 17 others",
    licence="CC BY-SA 4.0",
    citation="Thakur et al. 2023, Leveraging LLMs for Synthesizing Training Data Across Many Languages in Multilingual Dense "
    "Retrieval, arXiv 2311.05800",
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
SHARDS = {"monolingual": 1, "cross_lingual": 2}
COUNTS = {
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
}  # as far as published


def files(
    variant: Variant = "cross_lingual", languages: str | Sequence[str] | None = None
) -> list[RemoteFile]:
    """The Parquet files of each language."""
    repository, count = f"nthakur/swim-ir-{variant.replace('_', '-')}", SHARDS[variant]
    return [
        hub_file(repository, REVISIONS[variant], f"{code}/train-{shard:05d}-of-{count:05d}.parquet")
        for code in choose_languages("swim_ir", languages, LANGUAGES[variant])
        for shard in range(count)
    ]


def load(
    folder: str,
    cache: str,
    variant: Variant = "cross_lingual",
    languages: str | Sequence[str] | None = None,
    require_counts: bool = True,
) -> ParallelCorpus:
    """Queries in many languages with passages in English, or both in one language; an example has no other translation."""
    chosen = choose_languages("swim_ir", languages, LANGUAGES[variant])
    wanted = files(variant, chosen)
    places = find_files("swim_ir", wanted, folder)
    codes = [code for code in chosen for _ in range(SHARDS[variant])]
    parts = [partial(rows, place, code, variant) for place, code in zip(places, codes, strict=True)]
    counts = (
        {code: count for code, count in COUNTS[variant].items() if code in chosen}
        if require_counts
        else None
    )
    return build_released_corpus(SOURCE, wanted, folder, cache, parts, counts, {"variant": variant})


def rows(path: Path, language: str, variant: Variant, problems: Problems) -> Iterator[Records]:
    told = "en" if variant == "cross_lingual" else language
    yield from read_parquet_records(
        path, ColumnMap({language: "query"}, {told: ["title", "text"]}, id=None), problems
    )
