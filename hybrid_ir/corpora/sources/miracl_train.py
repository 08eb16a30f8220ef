"""MIRACL, training set: questions of native speakers with judged Wikipedia passages of their language, in 16 languages."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from hybrid_ir.corpora.sources.released import build_released_corpus, choose_languages, find_files
from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.files.fetching import RemoteFile, hub_file
from hybrid_ir.files.json_lines import Judgement, read_columns, read_judgements, read_objects
from hybrid_ir.files.miracl import (
    MIRACL_CORPUS,
    MIRACL_TOPICS,
    list_passage_files,
    list_topic_files,
)
from hybrid_ir.files.problems import Problems
from hybrid_ir.files.records import Records, build_pair_records, join_title
from hybrid_ir.types import Source

SOURCE = Source(
    name="miracl_train",
    description="MIRACL, training set: questions, passages that answer them and others that were judged not to, in 16 languages",
    licence="Apache 2.0 (Wikipedia's texts CC BY-SA)",
    citation="Zhang et al. 2023, MIRACL: A Multilingual Retrieval Dataset Covering 18 Diverse Languages, arXiv 2210.09984",
    revision=f"{MIRACL_TOPICS[0]}@{MIRACL_TOPICS[1][:7]}, {MIRACL_CORPUS[0]}@{MIRACL_CORPUS[1][:7]}",
)
COUNTS = {
    "ar": 6_217,
    "bn": 3_859,
    "en": 7_899,
    "es": 10_025,
    "fa": 4_277,
    "fi": 4_928,
    "fr": 2_321,
    "hi": 2_469,
    "id": 12_505,
    "ja": 6_984,
    "ko": 1_973,
    "ru": 10_000,
    "sw": 2_687,
    "te": 4_119,
    "th": 4_778,
    "zh": 3_187,
}  # passages that answer


def files(languages: str | Sequence[str] | None = None) -> list[RemoteFile]:
    """Questions, judgements and the whole corpus of each language: the passages of the judgements are anywhere in it."""
    return [
        file
        for code in choose_languages("miracl_train", languages, COUNTS)
        for file in (
            *(hub_file(*MIRACL_TOPICS, path) for path in list_topic_files(code, "train")),
            *(hub_file(*MIRACL_CORPUS, path) for path in list_passage_files(code)),
        )
    ]


def load(
    folder: str,
    cache: str,
    languages: str | Sequence[str] | None = None,
    negatives: int = 8,
    require_counts: bool = True,
) -> ParallelCorpus:
    """Pairs in one language each, so it serves monolingual batches; with passages judged not to answer as hard negatives."""
    chosen = choose_languages("miracl_train", languages, COUNTS)
    find_files("miracl_train", files(chosen), folder)
    parts = [partial(read, Path(folder), code, negatives) for code in chosen]
    counts = {code: COUNTS[code] for code in chosen} if require_counts else None
    return build_released_corpus(
        SOURCE, files(chosen), folder, cache, parts, counts, {"negatives": negatives}
    )


def read(folder: Path, language: str, negatives: int, problems: Problems) -> Iterator[Records]:
    """A record for each passage that answers a question."""
    asked, qrels = (folder / path for path in list_topic_files(language, "train"))
    queries = {name: text for _, (name, text) in read_columns(asked, 2, problems)}
    judged: dict[str, list[Judgement]] = {}
    for judgement in read_judgements(qrels, True, problems):
        judged.setdefault(judgement.query_id, []).append(judgement)
    texts = dict.fromkeys(one.passage_id for own in judged.values() for one in own)
    for path in list_passage_files(language):
        for _, row in read_objects(folder / path, problems):
            if row.get("docid") in texts:
                texts[row["docid"]] = join_title(
                    *(
                        row[key] if isinstance(row.get(key), str) else None
                        for key in ("title", "text")
                    )
                )
    rows = []
    for query, own in judged.items():
        wrong = [texts[one.passage_id] for one in own if one.score <= 0 and texts[one.passage_id]][
            :negatives
        ]
        rows += [
            (
                int(one.where.rpartition(" ")[2]),
                f"{language} {query} {one.passage_id}",
                queries.get(query),
                texts[one.passage_id],
                wrong,
            )
            for one in own
            if one.score > 0
        ]
    yield build_pair_records(f"{qrels}, line", language, rows)
