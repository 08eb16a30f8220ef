"""MIRACL, training set: questions of native speakers with judged Wikipedia passages."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from hybrid_ir.corpora.sources.released import (
    build_released_corpus,
    choose_training_languages,
    require_files,
)
from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.files.fetching import RemoteFile, describe_hub_file
from hybrid_ir.files.json_lines import read_objects
from hybrid_ir.files.judgements import Judgement, read_judgements, read_topics
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
    description="MIRACL, training set: questions, passages that answer them and others that were "
    "judged not to, in 16 languages",
    licence="Apache 2.0 (Wikipedia's texts CC BY-SA)",
    citation="Zhang et al. 2023, MIRACL: A Multilingual Retrieval Dataset Covering 18 Diverse "
    "Languages, arXiv 2210.09984",
    revision=f"{MIRACL_TOPICS[0]}@{MIRACL_TOPICS[1][:7]}, "
    f"{MIRACL_CORPUS[0]}@{MIRACL_CORPUS[1][:7]}",
)
COUNTS = {  # passages that answer a question
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
}


def list_files(languages: str | Sequence[str] | None = None) -> list[RemoteFile]:
    """Lists the questions, the judgements and the whole corpus of each language.

    The judged passages may be anywhere in the corpus.
    """
    files = []
    for language in choose_training_languages("miracl_train", languages, COUNTS):
        for path in list_topic_files(language, "train"):
            files.append(describe_hub_file(*MIRACL_TOPICS, path))
        for path in list_passage_files(language):
            files.append(describe_hub_file(*MIRACL_CORPUS, path))
    return files


def load(
    folder: str,
    cache: str,
    languages: str | Sequence[str] | None = None,
    negatives: int = 8,
    require_counts: bool = True,
) -> ParallelCorpus:
    """Loads the corpus, whose pairs are in one language each: it serves monolingual batches alone.

    Passages that were judged not to answer a question are its hard negatives.

    Args:
        folder: where `hybrid-ir data fetch` has put the files.
        cache: the cache folder.
        languages: the languages to use, all by default.
        negatives: how many hard negatives a pair may have.
        require_counts: whether to refuse another number of pairs than released.
    """
    chosen = choose_training_languages("miracl_train", languages, COUNTS)
    parts = [partial(_read_pairs, Path(folder), language, negatives) for language in chosen]
    counts = {language: COUNTS[language] for language in chosen} if require_counts else None
    files = list_files(chosen)
    require_files("miracl_train", files, folder)
    return build_released_corpus(
        SOURCE, files, folder, cache, parts, counts, key={"negatives": negatives}
    )


def _read_pairs(
    folder: Path, language: str, negatives: int, problems: Problems
) -> Iterator[Records]:
    """Yields a record for each passage that answers a question."""
    topics_path, qrels_path = list_topic_files(language, "train")
    queries = {name: text for _, name, text in read_topics(folder / topics_path, problems)}
    judgements: dict[str, list[Judgement]] = {}
    for judgement in read_judgements(folder / qrels_path, problems):
        judgements.setdefault(judgement.query_id, []).append(judgement)
    passage_ids = set()
    for of_query in judgements.values():
        passage_ids.update(judgement.passage_id for judgement in of_query)
    texts = _read_passages(folder, language, passage_ids, problems)

    rows = []
    for query_id, of_query in judgements.items():
        negative_texts = []
        for judgement in of_query:
            text = texts.get(judgement.passage_id)
            if judgement.score <= 0 and text:
                negative_texts.append(text)
        for judgement in of_query:
            if judgement.score > 0:
                record_id = f"{language} {query_id} {judgement.passage_id}"
                passage = texts.get(judgement.passage_id)
                query = queries.get(query_id)
                rows.append((judgement.line, record_id, query, passage, negative_texts[:negatives]))
    yield build_pair_records(f"{folder / qrels_path}, line", language, rows)


def _read_passages(
    folder: Path, language: str, passage_ids: set[str], problems: Problems
) -> dict[str, str]:
    """Returns the texts of those passages that the corpus has, with their titles in front."""
    texts = {}
    for path in list_passage_files(language):
        for _, row in read_objects(folder / path, problems):
            passage_id = row.get("docid")
            if isinstance(passage_id, str) and passage_id in passage_ids:
                title = row.get("title")
                text = row.get("text")
                texts[passage_id] = join_title(
                    title if isinstance(title, str) else None,
                    text if isinstance(text, str) else None,
                )
    return texts
