"""Small corpora for tests: as files to import, in memory, on disk, and as lists to compare."""

import json
from collections.abc import Iterable, Mapping
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


def make_corpus(count: int, languages: str = "abc", seed: int = 0) -> ParallelCorpus:
    """Makes a corpus of which the first language has every text, and the others most of them."""
    rng = np.random.default_rng(seed)
    has_text = rng.random((2, len(languages), count)) < 0.8
    has_text[:, 0] = True
    queries = {}
    passages = {}
    for number, language in enumerate(languages):
        queries[language] = make_texts(f"q {language}", has_text[0, number])
        passages[language] = make_texts(f"p {language}", has_text[1, number])
    negatives = rng.integers(-1, count, (count, 2))
    pairs = np.stack([np.arange(count), rng.permutation(count)], axis=1)
    return ParallelCorpus(queries, passages, pairs, SOURCE, negatives)


def make_texts(start: str, has_text: np.ndarray) -> list[str | None]:
    """Makes a text for each id that has one."""
    return [f"{start} {i}" if has else None for i, has in enumerate(has_text)]


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
