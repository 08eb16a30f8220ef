"""Small corpora for tests: as files to import, in memory, on disk, and as lists to compare."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hybrid_ir.corpora.stored import load_corpus_folder
from hybrid_ir.corpora.writing import CorpusWriter
from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.types import Source

SOURCE = Source("made", "texts made for a test", "none", "none")
RECORDS = [
    {
        "id": "1",
        "query": {"en": "q1", "de": "f1"},
        "passage": {"en": "p1", "de": "a1"},
        "negatives": [{"en": "n1", "de": "m1"}],
    },
    {"id": 2, "query": {"en": "q2"}, "passage": {"en": "p2", "zh": "中"}},
    {
        "id": "3",
        "query": {"de": "f3", "en": None},
        "passage": {"de": "a3"},
        "negatives": [{"de": "m3"}, {"en": "n3"}],
    },
]


def write_json_lines(path: Path, *records: Mapping[str, Any] | str) -> Path:
    """Writes a file with a record on each line; a text is a line as it stands."""
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        for record in records:
            line = record
            if not isinstance(record, str):
                line = json.dumps(record, ensure_ascii=False)
            file.write(line + "\n")
    return path


def list_pairs(corpus: ParallelCorpus) -> list:
    """Lists query, passage and hard negatives of every pair, each as texts by language."""
    pairs = []
    for (query, passage), negatives in zip(corpus.pairs, corpus.negatives, strict=True):
        negative_texts = []
        for negative in negatives:
            if negative >= 0:
                negative_texts.append(collect_texts(corpus.passages, int(negative)))
        query_texts = collect_texts(corpus.queries, int(query))
        passage_texts = collect_texts(corpus.passages, int(passage))
        pairs.append([query_texts, passage_texts, negative_texts])
    return sort_pairs(pairs)


def collect_texts(texts: Mapping, row: int) -> dict[str, str]:
    """Returns the texts of an id by language."""
    return drop_missing({language: column[row] for language, column in texts.items()})


def list_expected_pairs(records: Iterable[Mapping[str, Any]]) -> list:
    """Lists the pairs of records as `list_pairs` lists those of a corpus."""
    pairs = []
    for record in records:
        negatives = [drop_missing(negative) for negative in record.get("negatives", [])]
        pairs.append([drop_missing(record["query"]), drop_missing(record["passage"]), negatives])
    return sort_pairs(pairs)


def drop_missing(texts: Mapping[str, str | None]) -> dict[str, str]:
    """Returns the languages that have a text."""
    return {language: text for language, text in texts.items() if text is not None}


def sort_pairs(pairs: list) -> list:
    """Returns pairs in an order that does not depend on the corpus."""
    return sorted(pairs, key=lambda pair: json.dumps(pair, sort_keys=True))


def write_texts(
    role: str, languages: Sequence[str], available: np.ndarray
) -> dict[str, list[str | None]]:
    """Returns a text like "query a 3" for each language and id; None where it is not available.

    Args:
        role: first word of the texts.
        languages: codes.
        available: booleans (ids, languages).
    """
    texts = {}
    for column, language in enumerate(languages):
        texts[language] = [
            f"{role} {language} {i}" if available[i, column] else None
            for i in range(len(available))
        ]
    return texts


def pair_equal_ids(count: int) -> np.ndarray:
    """Returns pairs of query i and passage i."""
    return np.stack([np.arange(count), np.arange(count)], axis=1)


def build_parallel_corpus(
    pairs: int = 60, languages: str = "abcd", available: np.ndarray | None = None
) -> ParallelCorpus:
    """Returns a corpus whose queries and passages are available in the same languages.

    Args:
        pairs: number of pairs.
        languages: codes of one letter each.
        available: booleans (pairs, languages), all True by default.
    """
    if available is None:
        available = np.ones((pairs, len(languages)), bool)
    queries = write_texts("query", languages, available)
    passages = write_texts("passage", languages, available)
    return ParallelCorpus(queries, passages, pair_equal_ids(pairs), SOURCE)


def build_corpus_with_gaps(pairs: int = 40, seed: int = 0) -> ParallelCorpus:
    """Returns a corpus whose queries and passages lack different languages.

    No pair has the same id on both sides. The first 8 texts of each side are in all languages.
    """
    available = np.random.default_rng(seed).random((2, pairs, 3)) < 0.7
    available[:, :8] = True
    queries = write_texts("query", "abc", available[0])
    passages = write_texts("passage", "abc", available[1])
    query_ids = np.roll(np.arange(pairs), 3)
    return ParallelCorpus(
        queries, passages, np.stack([query_ids, np.arange(pairs)], axis=1), SOURCE
    )


def build_parallel_corpus_with_negatives(pairs: int = 12) -> ParallelCorpus:
    """Returns a corpus in "a" and "b" whose pairs have three hard negatives and one empty place.

    Every other passage is missing in "b".
    """
    available = np.ones((pairs, 2), bool)
    queries = write_texts("query", "ab", available)
    available[::2, 1] = False
    passages = write_texts("passage", "ab", available)
    rows = np.arange(pairs)
    empty = np.full(pairs, -1)
    negatives = np.stack(
        [(rows + 1) % pairs, (rows + 2) % pairs, (rows + 3) % pairs, empty], axis=1
    )
    return ParallelCorpus(queries, passages, pair_equal_ids(pairs), SOURCE, negatives)


def build_corpus_with_several_positives(
    queries: int = 16, languages: str = "ab", negatives: np.ndarray | None = None
) -> ParallelCorpus:
    """Returns a corpus in which passages i and i + 1 answer query i.

    Args:
        queries: number of queries; there is one passage more.
        languages: codes of one letter each.
        negatives: hard negatives of the pairs, those of each query one after the other.
    """
    pairs = []
    for query in range(queries):
        pairs += [(query, query), (query, query + 1)]
    return ParallelCorpus(
        write_texts("query", languages, np.ones((queries, len(languages)), bool)),
        write_texts("passage", languages, np.ones((queries + 1, len(languages)), bool)),
        np.array(pairs),
        SOURCE,
        negatives,
    )


def build_corpus_of_animals(pairs: int = 24) -> ParallelCorpus:
    """Returns a corpus in English, where queries and passages have the word "cat", and German."""
    queries = {
        "en": [f"which cat is number {i}" for i in range(pairs)],
        "de": [f"welche Zahl {i}" for i in range(pairs)],
    }
    passages = {}
    for language, texts in queries.items():
        passages[language] = [f"{text} indeed" for text in texts]
    return ParallelCorpus(queries, passages, pair_equal_ids(pairs), SOURCE)


def draw_corpus(count: int, languages: Sequence[str] = "abc", seed: int = 0) -> ParallelCorpus:
    """Draws a corpus of which the first language has every text, and the others most of them."""
    rng = np.random.default_rng(seed)
    available = rng.random((2, len(languages), count)) < 0.8
    available[:, 0] = True
    queries = write_texts("q", languages, available[0].T)
    passages = write_texts("p", languages, available[1].T)
    negatives = rng.integers(-1, count, (count, 2))
    pairs = np.stack([np.arange(count), rng.permutation(count)], axis=1)
    return ParallelCorpus(queries, passages, pairs, SOURCE, negatives)


def write_to_disk(folder: Path, corpus: ParallelCorpus) -> ParallelCorpus:
    """Writes a corpus to a folder, and loads it from there."""
    with CorpusWriter(folder) as writer:
        for language in corpus.languages:
            queries = corpus.queries[language]
            passages = corpus.passages[language]
            writer.write_column("query", language, [queries[:2], queries[2:]])
            writer.write_column("passage", language, [passages[:2], passages[2:]])
        writer.finish(corpus.source, corpus.pairs, corpus.negatives)
    return load_corpus_folder(folder)
