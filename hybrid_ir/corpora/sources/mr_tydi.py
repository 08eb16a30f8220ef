"""Mr. TyDi: questions of native speakers with Wikipedia passages of their language, in 11 languages."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from hybrid_ir.corpora.sources.released import build_released_corpus, choose_languages, find_files
from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.files.fetching import RemoteFile, hub_file
from hybrid_ir.files.json_lines import read_objects
from hybrid_ir.files.problems import Problems
from hybrid_ir.files.records import RECORDS_PER_BLOCK, Records, build_pair_records, join_title
from hybrid_ir.types import Source

SOURCE = Source(
    name="mr_tydi",
    description="Mr. TyDi 1.1, training set: questions with passages that answer them and hard negatives, in 11 languages",
    licence="Apache 2.0 (Wikipedia's texts CC BY-SA)",
    citation="Zhang et al. 2021, Mr. TyDi: A Multi-lingual Benchmark for Dense Retrieval, arXiv 2108.08787",
    revision="1d43c80218d06d0ef80f5b172ccabd848b948bc1",
)
NAMES = {
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
COUNTS = {
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
}  # pairs of a question and a passage


def files(languages: str | Sequence[str] | None = None) -> list[RemoteFile]:
    """The training questions of each language."""
    return [
        hub_file("castorini/mr-tydi", SOURCE.revision, f"mrtydi-v1.1-{NAMES[code]}/train.jsonl.gz")
        for code in choose_languages("mr_tydi", languages, NAMES)
    ]


def load(
    folder: str,
    cache: str,
    languages: str | Sequence[str] | None = None,
    negatives: int = 8,
    require_counts: bool = True,
) -> ParallelCorpus:
    """Pairs in one language each, so it serves monolingual batches; with the first hard negatives of each question."""
    chosen = choose_languages("mr_tydi", languages, NAMES)
    places = find_files("mr_tydi", files(chosen), folder)
    parts = [
        partial(questions, place, code, negatives)
        for place, code in zip(places, chosen, strict=True)
    ]
    counts = {code: COUNTS[code] for code in chosen} if require_counts else None
    return build_released_corpus(
        SOURCE, files(chosen), folder, cache, parts, counts, {"negatives": negatives}
    )


def questions(path: Path, language: str, negatives: int, problems: Problems) -> Iterator[Records]:
    """A record for each passage that answers a question, which is a line."""
    rows: list[tuple[int, str, str, str, list[str]]] = []
    for number, row in read_objects(path, problems):
        try:
            wrong = [
                text(passage) for passage in row["negative_passages"][:negatives] if text(passage)
            ]
            rows += [
                (
                    number,
                    f"{language} {row['query_id']} {passage['docid']}",
                    a_text(row["query"]),
                    text(passage),
                    wrong,
                )
                for passage in row["positive_passages"]
            ]
        except (KeyError, TypeError) as error:
            problems.add(
                f"{path}, line {number}: no {error}; need query_id, query, and in positive_passages and "
                "negative_passages docid, title, text"
            )
        if len(rows) >= RECORDS_PER_BLOCK:
            yield build_pair_records(f"{path}, line", language, rows)
            rows = []
    if rows:
        yield build_pair_records(f"{path}, line", language, rows)


def text(passage: dict[str, str | None]) -> str:
    """Title and text; TypeError where they are no texts."""
    return join_title(a_text(passage["title"] or ""), a_text(passage["text"] or ""))


def a_text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"text in {value!r:.40}")
    return value
