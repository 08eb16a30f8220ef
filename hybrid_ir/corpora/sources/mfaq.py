"""MFAQ: questions and answers of the FAQ pages of the web, in 21 languages."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from hybrid_ir.corpora.sources.released import build_released_corpus, choose_languages, find_files
from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.files.fetching import RemoteFile, hub_file
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
LANGUAGES = (
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
)


def files(languages: str | Sequence[str] | None = None) -> list[RemoteFile]:
    """The pages of each language."""
    return [
        hub_file("clips/mfaq", SOURCE.revision, f"data/{code}/train.jsonl")
        for code in choose_languages("mfaq", languages, LANGUAGES)
    ]


def load(
    folder: str, cache: str, languages: str | Sequence[str] | None = ("en",)
) -> ParallelCorpus:
    """Pairs in one language each, so it serves monolingual batches; arXiv 2408.10536 takes the English ones."""
    chosen = choose_languages("mfaq", languages, LANGUAGES)
    places = find_files("mfaq", files(chosen), folder)
    parts = [partial(pages, place, code) for place, code in zip(places, chosen, strict=True)]
    return build_released_corpus(SOURCE, files(chosen), folder, cache, parts)


def pages(path: Path, language: str, problems: Problems) -> Iterator[Records]:
    """The pairs of the pages, each of which is a line."""
    rows: list[tuple[int, str, str, str]] = []
    for number, page in read_objects(path, problems):
        pairs = page.get("qa_pairs")
        if not isinstance(pairs, list) or not all(map(is_pair, pairs)):
            problems.add(
                f"{path}, line {number}: 'qa_pairs' is {pairs!r:.40}, need a list of objects with question and answer"
            )
            continue
        rows += [
            (number, f"{language} {number} {i}", pair["question"], pair["answer"])
            for i, pair in enumerate(pairs)
        ]
        if len(rows) >= RECORDS_PER_BLOCK:
            yield build_pair_records(f"{path}, line", language, rows)
            rows = []
    if rows:
        yield build_pair_records(f"{path}, line", language, rows)


def is_pair(pair: Any) -> bool:
    return isinstance(pair, dict) and all(
        isinstance(pair.get(key), str) for key in ("question", "answer")
    )
