"""MFAQ: questions and answers of the FAQ pages of the web, in 21 languages."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from hybrid_ir.corpora.sources.released import (
    build_released_corpus,
    choose_training_languages,
    require_files,
)
from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.files.fetching import RemoteFile, describe_hub_file
from hybrid_ir.files.json_lines import read_objects
from hybrid_ir.files.problems import Problems
from hybrid_ir.files.records import RECORDS_PER_BLOCK, Records, build_pair_records
from hybrid_ir.types import Source

SOURCE = Source(
    name="mfaq",
    description="MFAQ: questions and answers of FAQ pages, each in one of 21 languages",
    licence="CC0 1.0 for the collection; the pages have owners",
    citation="De Bruyn et al. 2021, MFAQ: a Multilingual FAQ Dataset, arXiv 2109.12870",
    revision="72248e10c1bbe5e3c3710e5e969a41947ca43937",
)
LANGUAGES = [
    "cs",
    "da",
    "de",
    "en",
    "es",
    "fi",
    "fr",
    "he",
    "hr",
    "hu",
    "id",
    "it",
    "nl",
    "no",
    "pl",
    "pt",
    "ro",
    "ru",
    "sv",
    "tr",
    "vi",
]


def list_files(languages: str | Sequence[str] | None = None) -> list[RemoteFile]:
    """Lists the file of each language."""
    files = []
    for language in choose_training_languages("mfaq", languages, LANGUAGES):
        files.append(
            describe_hub_file("clips/mfaq", SOURCE.revision, f"data/{language}/train.jsonl")
        )
    return files


def load(
    folder: str, cache: str, languages: str | Sequence[str] | None = ("en",)
) -> ParallelCorpus:
    """Loads the corpus, whose pairs are in one language each: it serves monolingual batches alone.

    Args:
        folder: where `hybrid-ir data fetch` has put the files.
        cache: the cache folder.
        languages: the languages to use; arXiv 2408.10536 takes the English pairs.
    """
    chosen = choose_training_languages("mfaq", languages, LANGUAGES)
    files = list_files(chosen)
    paths = require_files("mfaq", files, folder)
    parts = []
    for path, language in zip(paths, chosen, strict=True):
        parts.append(partial(_read_pages, path, language))
    return build_released_corpus(SOURCE, files, folder, cache, parts)


def _read_pages(path: Path, language: str, problems: Problems) -> Iterator[Records]:
    """Yields the pairs of the pages; each line of the file is a page."""
    place = f"{path}, line"
    rows: list[tuple[int, str, str, str]] = []
    for line, page in read_objects(path, problems):
        pairs = page.get("qa_pairs")
        if not isinstance(pairs, list) or not all(_is_pair(pair) for pair in pairs):
            problems.add(
                f"{place} {line}: 'qa_pairs' is {pairs!r:.40}, need a list of objects with "
                "question and answer"
            )
            continue
        for number, pair in enumerate(pairs):
            record_id = f"{language} {line} {number}"
            rows.append((line, record_id, pair["question"], pair["answer"]))
        if len(rows) >= RECORDS_PER_BLOCK:
            yield build_pair_records(place, language, rows)
            rows = []
    if rows:
        yield build_pair_records(place, language, rows)


def _is_pair(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    return isinstance(value.get("question"), str) and isinstance(value.get("answer"), str)
