"""Joins one file of pairs per language by their ids, and reads the pairs of a BEIR folder."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hybrid_ir.files.arrow_texts import DiskTexts, spill_to_disk, take_rows
from hybrid_ir.files.beir import BeirFolder, read_beir_texts
from hybrid_ir.files.judgement_rows import read_beir_judgements
from hybrid_ir.files.judgements import Judgement, are_columns_swapped, describe_swapped_columns
from hybrid_ir.files.problems import Problems
from hybrid_ir.files.records import (
    RECORDS_PER_BLOCK,
    ROLES,
    Records,
    build_pair_records,
    join_title,
)
from hybrid_ir.files.repeated_texts import report_repeated_texts

TEXT_SCHEMA = pa.schema([(role, pa.string()) for role in ROLES])


@dataclass(frozen=True)
class _LanguagePairs:
    """All pairs of one language."""

    place: str  # the file and its unit, see Records
    numbers: np.ndarray  # of the lines
    ids: pa.Array
    texts: pa.Table  # a column for each role, on disk
    negatives: list[list[str]] | None  # of each pair; None if no pair has any


class _PairCollector:
    """Passes the texts of records on, block by block, and keeps the rest of the records."""

    def __init__(self, language: str):
        self.language = language
        self.place = ""
        self.numbers = [np.empty(0, np.int64)]
        self.ids: list[pa.Array] = []
        self.negatives: list[list[str]] = []

    def iterate_texts(self, blocks: Iterable[Records]) -> Iterator[pa.RecordBatch]:
        """Yields the texts of each block of records, a column for each role."""
        for records in blocks:
            self.place = records.place
            self.numbers.append(np.asarray(records.numbers, np.int64))
            self.ids.append(records.ids)
            if records.negatives:
                for texts in records.negatives[self.language].to_pylist():
                    self.negatives.append(texts or [])
            columns = [records.columns[role, self.language] for role in ROLES]
            yield pa.record_batch(columns, schema=TEXT_SCHEMA)


def _collect_pairs(blocks: Iterable[Records], language: str, scratch: Path) -> _LanguagePairs:
    """Reads all records of a language, with their texts in a file in `scratch`."""
    collector = _PairCollector(language)
    texts = spill_to_disk(collector.iterate_texts(blocks), TEXT_SCHEMA, scratch)
    # Large strings, as the ids of a whole language may exceed the 2 GiB of an array of strings.
    ids = pa.chunked_array(collector.ids, pa.string()).cast(pa.large_string()).combine_chunks()
    return _LanguagePairs(
        place=collector.place,
        numbers=np.concatenate(collector.numbers),
        ids=ids,
        texts=texts,
        negatives=collector.negatives if any(collector.negatives) else None,
    )


class _JoinedPlaces(Sequence[str]):
    """The places of joined records in their files, put together only when one is asked for."""

    def __init__(self, languages: Sequence[_LanguagePairs], rows: Sequence[pa.Array]):
        self.languages = languages
        self.rows = rows  # for each language the row of each record, null where it has none

    def __len__(self) -> int:
        return len(self.rows[0])

    def __getitem__(self, record: int) -> str:
        places = []
        for pairs, rows in zip(self.languages, self.rows, strict=True):
            row = rows[record].as_py()
            if row is not None:
                places.append(f"{pairs.place} {pairs.numbers[row]}")
        return "; ".join(places)


def join_languages(
    readers: Mapping[str, Callable[[], Iterable[Records]]], problems: Problems, scratch: Path
) -> Iterator[Records]:
    """Joins the records of several languages by their ids.

    Ids and negatives are held in memory, the other texts in temporary files.

    Args:
        readers: for each language a function that reads its records, which have texts in this
            language only.
        problems: gets every id that comes twice in a language.
        scratch: the folder of the temporary files.
    """
    languages: dict[str, _LanguagePairs] = {}
    for language, read in readers.items():
        languages[language] = _collect_pairs(read(), language, scratch)
    for pairs in languages.values():
        _report_repeated_ids(pairs, problems)
    passages = {code: DiskTexts(pairs.texts["passage"]) for code, pairs in languages.items()}
    report_repeated_texts(passages, "file", problems)
    all_ids = [pairs.ids for pairs in languages.values()]
    ids = pa.chunked_array(all_ids, pa.large_string()).unique()
    # For each language the row of each id, null where the language does not have it.
    rows_of_language = {
        language: pc.index_in(ids, value_set=pairs.ids) for language, pairs in languages.items()
    }
    for start in range(0, len(ids), RECORDS_PER_BLOCK):
        block_rows = {
            language: rows.slice(start, RECORDS_PER_BLOCK)
            for language, rows in rows_of_language.items()
        }
        records = Records(
            place="",
            numbers=_JoinedPlaces(list(languages.values()), list(block_rows.values())),
            ids=ids.slice(start, RECORDS_PER_BLOCK).cast(pa.string()),
            negatives=_join_negatives(languages, block_rows),
            share_read=min(1.0, (start + RECORDS_PER_BLOCK) / len(ids)),
        )
        for language, rows in block_rows.items():
            for role in ROLES:
                records.columns[role, language] = take_rows(languages[language].texts[role], rows)
        yield records


def _report_repeated_ids(pairs: _LanguagePairs, problems: Problems) -> None:
    first_rows = pc.index_in(pairs.ids, value_set=pairs.ids).to_numpy()
    for row in np.flatnonzero(first_rows != np.arange(len(first_rows))):
        problems.add(
            f"{pairs.place} {pairs.numbers[row]}: the id {pairs.ids[row].as_py()!r:.60} is also in "
            f"line {pairs.numbers[first_rows[row]]}"
        )


def _join_negatives(
    languages: Mapping[str, _LanguagePairs], rows_of_language: Mapping[str, pa.Array]
) -> dict[str, pa.Array]:
    """Joins the negatives of records.

    Nothing says which of them are translations of each other, so each negative is there in its
    language alone: in the lists of the other languages its place is empty.
    """
    if all(pairs.negatives is None for pairs in languages.values()):
        return {}
    lists: dict[str, list[list[str | None]]] = {language: [] for language in languages}
    rows_by_record = zip(*(rows.to_pylist() for rows in rows_of_language.values()), strict=True)
    for record_rows in rows_by_record:
        negatives_before = 0
        for language, row in zip(languages, record_rows, strict=True):
            negatives = languages[language].negatives
            texts = [] if negatives is None or row is None else negatives[row]
            lists[language].append([None] * negatives_before + texts)
            negatives_before += len(texts)
    return {
        language: pa.array(of_records, pa.list_(pa.string()))
        for language, of_records in lists.items()
    }


@dataclass
class _JudgedPassages:
    """The ids of the passages that are judged for one query."""

    relevant: list[tuple[int, str]] = field(default_factory=list)  # line of the qrels, and id
    negatives: list[str] = field(default_factory=list)


def read_beir_pairs(
    folder: BeirFolder, language: str, split: str, problems: Problems
) -> Iterator[Records]:
    """Reads the judged pairs of a folder in the format of BEIR (arXiv 2104.08663).

    Passages that are judged 0 are hard negatives of their query.

    Args:
        folder: with queries, passages and judgements.
        language: the language of all texts.
        split: the name of the file of qrels.
        problems: gets what is wrong with the files.
    """
    queries = _read_texts(folder.list_query_files(), language, problems)
    passages = _read_texts(folder.list_corpus_files(), language, problems)
    qrels = folder.find_qrels(split, problems)
    if qrels is None:
        return
    judged: dict[str, _JudgedPassages] = {}
    for judgement in _read_known_judgements(qrels, queries, passages, problems):
        of_query = judged.setdefault(judgement.query_id, _JudgedPassages())
        if judgement.score > 0:
            of_query.relevant.append((judgement.line, judgement.passage_id))
        else:
            of_query.negatives.append(judgement.passage_id)
    rows = []
    for query_id, of_query in judged.items():
        negatives = [passages[name] for name in of_query.negatives if passages[name]]
        for line, passage_id in of_query.relevant:
            pair_id = f"{query_id}\t{passage_id}"
            rows.append((line, pair_id, queries[query_id], passages[passage_id], negatives))
    unit = "row" if qrels.suffix == ".parquet" else "line"
    for start in range(0, len(rows), RECORDS_PER_BLOCK):
        block = rows[start : start + RECORDS_PER_BLOCK]
        yield build_pair_records(f"{qrels}, {unit}", language, block)


def _read_known_judgements(
    qrels: Path, queries: Mapping[str, str], passages: Mapping[str, str], problems: Problems
) -> Iterator[Judgement]:
    """Reads qrels, without judgements whose query or passage is not there."""
    judgements = list(read_beir_judgements(qrels, problems))
    if are_columns_swapped(judgements, queries, passages):
        problems.add(describe_swapped_columns(judgements[0].place), file_unreadable=True)
        return
    for judgement in judgements:
        query_id = judgement.query_id
        passage_id = judgement.passage_id
        if query_id not in queries:
            problems.add(f"{judgement.place}: {query_id!r:.60} is not among the queries")
        if passage_id not in passages:
            problems.add(f"{judgement.place}: {passage_id!r:.60} is not in the corpus")
        if query_id in queries and passage_id in passages:
            yield judgement


def _read_texts(files: Sequence[Path], language: str, problems: Problems) -> dict[str, str]:
    """Returns the texts of files by their ids, with their titles in front."""
    texts: dict[str, str] = {}
    first_places: dict[str, str] = {}
    for path in files:
        for text in read_beir_texts(path, problems):
            if text.id in texts:
                first = first_places[text.id]
                problems.add(f"{text.place}: the id {text.id!r:.60} is also in {first}")
                continue
            if text.language not in (None, language):
                problems.add(
                    f"{text.place}: 'language' is {text.language!r}, but the folder is read as "
                    f"{language!r}: for training, put every language into a folder of its own"
                )
            texts[text.id] = join_title(text.title, text.text)
            first_places[text.id] = text.place
    return texts
