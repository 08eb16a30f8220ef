"""One file of pairs per language, joined by their ids; and a BEIR folder as pairs."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hybrid_ir.files.arrow_texts import spill_to_disk, take_rows
from hybrid_ir.files.json_lines import get_text_field, read_judgements, read_objects
from hybrid_ir.files.problems import Problems
from hybrid_ir.files.records import (
    RECORDS_PER_BLOCK,
    ROLES,
    Records,
    build_pair_records,
    join_title,
)

TEXTS = pa.schema([(role, pa.string()) for role in ROLES])


@dataclass(frozen=True)
class LanguageSide:
    """All pairs of one language: place, numbers, ids, texts (queries, passages), and negatives where there are any."""

    place: str
    numbers: np.ndarray
    ids: pa.Array
    texts: pa.Table  # a column of each role, on disk
    negatives: list[list[str]] | None

    @classmethod
    def of(cls, parts: Iterable[Records], language: str, scratch: Path) -> "LanguageSide":
        place, numbers, ids, negatives = "", [np.empty(0, np.int64)], [], []

        def batches() -> Iterator[pa.RecordBatch]:
            nonlocal place
            for part in parts:
                place = part.place
                numbers.append(np.asarray(part.numbers))
                ids.append(part.ids)
                if part.negatives:
                    negatives.extend(row or [] for row in part.negatives[language].to_pylist())
                yield pa.record_batch(
                    [part.columns[role, language] for role in ROLES], schema=TEXTS
                )

        texts = spill_to_disk(batches(), TEXTS, scratch)
        own = pa.chunked_array(ids, pa.string()).cast(pa.large_string()).combine_chunks()
        return cls(
            place, np.concatenate(numbers), own, texts, negatives if any(negatives) else None
        )


class RecordPlaces(Sequence[str]):
    """Where each joined record is in its files, put together only for those that are asked for."""

    def __init__(self, sides: Sequence[LanguageSide], rows: Sequence[pa.Array]):
        self.sides, self.rows = sides, rows

    def __len__(self) -> int:
        return len(self.rows[0])

    def __getitem__(self, row: int) -> str:
        return "; ".join(
            f"{side.place} {side.numbers[rows[row].as_py()]}"
            for side, rows in zip(self.sides, self.rows, strict=True)
            if rows[row].is_valid
        )


def join_languages(
    read: Mapping[str, Callable[[], Iterable[Records]]], problems: Problems, scratch: Path
) -> Iterator[Records]:
    """Records in all languages, from readers that have one each; an id that comes twice in a language is a problem.

    Ids and negatives are in memory, the other texts in files in `scratch` meanwhile.
    """
    sides = {
        language: LanguageSide.of(parts(), language, scratch) for language, parts in read.items()
    }
    for side in sides.values():
        report_repeated_side_ids(side, problems)
    everything = pa.chunked_array([side.ids for side in sides.values()], pa.large_string()).unique()
    row_of = {
        language: pc.index_in(everything, value_set=side.ids) for language, side in sides.items()
    }
    for start in range(0, len(everything), RECORDS_PER_BLOCK):
        rows = {language: own.slice(start, RECORDS_PER_BLOCK) for language, own in row_of.items()}
        columns = {
            (role, language): take_rows(sides[language].texts[role], own)
            for language, own in rows.items()
            for role in ROLES
        }
        places = RecordPlaces(list(sides.values()), list(rows.values()))
        yield Records(
            "",
            places,
            everything.slice(start, RECORDS_PER_BLOCK).cast(pa.string()),
            columns,
            join_negatives(sides, rows),
            min(1.0, (start + RECORDS_PER_BLOCK) / len(everything)),
        )


def join_negatives(
    sides: Mapping[str, LanguageSide], rows: Mapping[str, pa.Array]
) -> dict[str, pa.Array]:
    """The negatives of joined records: nothing says which are translations of each other, so each is in its language alone."""
    if all(side.negatives is None for side in sides.values()):
        return {}
    found: dict[str, list[list[str | None]]] = {language: [] for language in sides}
    for places in zip(*(own.to_pylist() for own in rows.values()), strict=True):
        own = {
            language: side.negatives[place]
            if place is not None and side.negatives is not None
            else []
            for (language, side), place in zip(sides.items(), places, strict=True)
        }
        before = 0
        for language, texts in own.items():
            found[language].append([None] * before + texts)
            before += len(texts)
    return {language: pa.array(lists, pa.list_(pa.string())) for language, lists in found.items()}


def report_repeated_side_ids(side: LanguageSide, problems: Problems) -> None:
    first = pc.index_in(side.ids, value_set=side.ids).to_numpy()
    for row in np.flatnonzero(first != np.arange(len(first))):
        problems.add(
            f"{side.place} {side.numbers[row]}: the id {side.ids[row].as_py()!r:.60} is also in line "
            f"{side.numbers[first[row]]}"
        )


def read_beir_pairs(
    folder: Path, language: str, split: str, problems: Problems
) -> Iterator[Records]:
    """The judged pairs of a folder in the form of BEIR (2104.08663); passages judged 0 are hard negatives of their query."""
    where = f"{folder / 'qrels' / f'{split}.tsv'}, line"
    queries, passages = (
        read_beir_texts(folder / f"{name}.jsonl", problems) for name in ("queries", "corpus")
    )
    asked, known = dict(queries), dict(passages)
    judged: dict[str, dict[bool, list[tuple[int, str]]]] = {}
    first: dict[tuple[str, str], str] = {}
    for judgement in read_judgements(folder / "qrels" / f"{split}.tsv", False, problems):
        pair = judgement.query_id, judgement.passage_id
        if pair in first:
            problems.add(
                f"{judgement.where}: {pair[0]!r:.60} and {pair[1]!r:.60} are judged in {first[pair]}, too"
            )
            continue
        first[pair] = judgement.where
        number = int(judgement.where.rpartition(" ")[2])
        for name, there in ((judgement.query_id, asked), (judgement.passage_id, known)):
            if name not in there:
                problems.add(
                    f"{judgement.where}: {name!r:.60} is not in {'queries' if there is asked else 'corpus'}.jsonl"
                )
        if judgement.query_id in asked and judgement.passage_id in known:
            sides = judged.setdefault(judgement.query_id, {True: [], False: []})
            sides[judgement.score > 0].append((number, judgement.passage_id))
    rows = [
        (
            number,
            f"{query}\t{passage}",
            asked[query],
            known[passage],
            [known[other] for _, other in sides[False] if known[other]],
        )
        for query, sides in judged.items()
        for number, passage in sides[True]
    ]
    for start in range(0, len(rows), RECORDS_PER_BLOCK):
        yield build_pair_records(where, language, rows[start : start + RECORDS_PER_BLOCK])


def read_beir_texts(path: Path, problems: Problems) -> Iterator[tuple[str, str]]:
    """Id and text of each line, a title in front of it."""
    first: dict[str, int] = {}
    for number, row in read_objects(path, problems):
        where = f"{path}, line {number}"
        name, text = (
            get_text_field(row, "_id", where, problems),
            get_text_field(row, "text", where, problems, blank=True),
        )
        if name in first:
            problems.add(f"{where}: the id {name!r:.60} is also in line {first[name]}")
        elif name is not None and text is not None:
            first[name] = number
            title = row.get("title")
            yield name, join_title(title if isinstance(title, str) else None, text)
