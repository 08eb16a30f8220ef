"""Mr. TyDi: questions of native speakers with Wikipedia passages of their language."""

from collections.abc import Sequence
from functools import partial

from hybrid_ir.corpora.sources.released import (
    build_released_corpus,
    choose_training_languages,
    require_files,
)
from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.files.fetching import RemoteFile, describe_hub_file
from hybrid_ir.files.training_formats import read_tevatron_records
from hybrid_ir.types import Source

SOURCE = Source(
    name="mr_tydi",
    description="Mr. TyDi 1.1, training set: questions with passages that answer them and hard "
    "negatives, in 11 languages",
    licence="Apache 2.0 (Wikipedia's texts CC BY-SA)",
    citation="Zhang et al. 2021, Mr. TyDi: A Multi-lingual Benchmark for Dense Retrieval, "
    "arXiv 2108.08787",
    revision="1d43c80218d06d0ef80f5b172ccabd848b948bc1",
)
NAMES = {  # of a language in the names of the files
    "ar": "arabic",
    "bn": "bengali",
    "en": "english",
    "fi": "finnish",
    "id": "indonesian",
    "ja": "japanese",
    "ko": "korean",
    "ru": "russian",
    "sw": "swahili",
    "te": "telugu",
    "th": "thai",
}
COUNTS = {  # pairs of a question and a passage
    "ar": 12_377,
    "bn": 1_719,
    "en": 3_547,
    "fi": 6_561,
    "id": 4_902,
    "ja": 3_697,
    "ko": 1_317,
    "ru": 5_366,
    "sw": 2_401,
    "te": 3_880,
    "th": 3_360,
}


def list_files(languages: str | Sequence[str] | None = None) -> list[RemoteFile]:
    """Lists the file with the training questions of each language."""
    files = []
    for language in choose_training_languages("mr_tydi", languages, NAMES):
        path = f"mrtydi-v1.1-{NAMES[language]}/train.jsonl.gz"
        files.append(describe_hub_file("castorini/mr-tydi", SOURCE.revision, path))
    return files


def load(
    folder: str,
    cache: str,
    languages: str | Sequence[str] | None = None,
    negatives: int = 8,
    require_counts: bool = True,
) -> ParallelCorpus:
    """Loads the corpus, whose pairs are in one language each: it serves monolingual batches alone.

    Args:
        folder: where `hybrid-ir data fetch` has put the files.
        cache: the cache folder.
        languages: the languages to use, all by default.
        negatives: how many of the hard negatives of a question to use, the first ones.
        require_counts: whether to refuse another number of pairs than released.
    """
    chosen = choose_training_languages("mr_tydi", languages, NAMES)
    files = list_files(chosen)
    paths = require_files("mr_tydi", files, folder)
    parts = []
    for path, language in zip(paths, chosen, strict=True):
        parts.append(partial(read_tevatron_records, path, language, negatives))
    counts = {language: COUNTS[language] for language in chosen} if require_counts else None
    return build_released_corpus(
        SOURCE, files, folder, cache, parts, counts, key={"negatives": negatives}
    )
