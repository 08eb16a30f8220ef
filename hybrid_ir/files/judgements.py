"""Reads judgements (qrels) and topics, in the forms of BEIR and of TREC."""

import math
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hybrid_ir.files.columns import Cells, Layout, read_table
from hybrid_ir.files.json_lines import read_lines
from hybrid_ir.files.problems import Problems
from hybrid_ir.files.texts import normalize_id

QUERY_NAMES = ("query-id", "qid", "topic-id", "question-id", "query", "topic")
PASSAGE_NAMES = (
    "corpus-id",
    "doc-id",
    "docno",
    "document-id",
    "passage-id",
    "pid",
    "did",
    "doc",
    "document",
    "passage",
)
SCORE_NAMES = ("score", "relevance", "rel", "label", "grade", "judgement", "judgment", "qrel")
QRELS = Layout(
    what="judgements",
    names={
        "query": QUERY_NAMES,
        "passage": PASSAGE_NAMES,
        "score": SCORE_NAMES,
        "iteration": ("iteration", "iter", "Q0", "unused"),
    },
    orders={3: ("query", "passage", "score"), 4: ("query", "iteration", "passage", "score")},
    separators=("\t", None, ",", ";"),
    number_column="score",
    optional=("iteration",),
    single=("score",),
    refused={"rank": "this is a run, the ranking of a system, and no judgements"},
)
TOPICS = Layout(
    what="topics",
    names={
        "id": ("_id", "id", "qid", "query-id", "topic-id"),
        "text": ("text", "query", "question", "title", "topic"),
        "language": ("language", "lang", "language-code", "locale"),
        "question_id": ("question-id",),
    },
    orders={2: ("id", "text")},
    optional=("language", "question_id"),
)


@dataclass(frozen=True)
class Judgement:
    """One line of qrels. The passage is relevant if the score is above 0.

    Args:
        query_id: the id of the query.
        passage_id: the id of the passage.
        score: how relevant the passage is.
        place: file and line, for error messages.
        passage_language: of the passage, where it is known whether the passage is there or not.
    """

    query_id: str
    passage_id: str
    score: float
    place: str
    passage_language: str | None = None

    @property
    def line(self) -> int:
        """Returns the number of the line, which its place ends with."""
        return int(self.place.rpartition(" ")[2])


def describe_contradiction(judgement: Judgement, first: Judgement) -> str | None:
    """Says that a pair is judged in two ways; None if both ways mean the same.

    Args:
        judgement: of a pair of query and passage.
        first: an earlier judgement of the same pair.
    """
    if judgement.score == first.score or max(judgement.score, first.score) <= 0:
        return None
    return (
        f"{judgement.place}: passage {judgement.passage_id!r:.60} is judged otherwise in "
        f"{first.place}"
    )


def are_columns_swapped(
    judgements: Sequence[Judgement], query_ids: Container[str], passage_ids: Container[str]
) -> bool:
    """Returns whether most judgements only make sense with query and passage exchanged.

    Args:
        judgements: of a file.
        query_ids: of the queries that there are.
        passage_ids: of the passages that there are, as far as a judgement names their ids.
    """
    swapped = 0
    for judgement in judgements:
        is_right = judgement.query_id in query_ids and judgement.passage_id in passage_ids
        is_swapped = judgement.query_id in passage_ids and judgement.passage_id in query_ids
        swapped += int(is_swapped and not is_right)
    return 2 * swapped > len(judgements)


def describe_swapped_columns(place: str) -> str:
    """Says that queries and passages stand in each other's column, for all judgements of a file."""
    return (
        f"{place} and others name a passage as the query and a query as the passage: put a line "
        "that names the columns in their order on top, such as corpus-id, query-id, score, or "
        "correct the one that is there"
    )


def read_judgements(path: Path, problems: Problems) -> Iterator[Judgement]:
    """Reads qrels.

    A line has the three columns of BEIR (query, passage, score) or the four of TREC (query,
    unused, passage, score), between tabs, blanks or commas. Where the first line names the
    columns, they may stand in any order.

    Args:
        path: the file.
        problems: gets what is wrong with lines; they are left out.
    """
    for place, cells in read_table(path, QRELS, problems):
        score = parse_score(_strip_quotes(cells["score"]))
        if score is None:
            problems.add(f"{place}: the score {cells['score']!r:.40} is not a number")
            continue
        query_id = _strip_quotes(cells["query"])
        passage_id = _strip_quotes(cells["passage"])
        yield Judgement(normalize_id(query_id), normalize_id(passage_id), score, place)


def parse_score(value: Any) -> float | None:
    """Returns a score as a number; None if it is none that a passage can be judged with."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number and not (isinstance(value, str) and "_" not in value):
        return None
    try:
        score = float(value)
    except (ValueError, OverflowError):
        return None
    return score if math.isfinite(score) else None


def _strip_quotes(cell: str) -> str:
    """Returns a cell without quotation marks around it, with which some programs write ids."""
    if len(cell) > 2 and cell[0] == cell[-1] == '"':
        return cell[1:-1].replace('""', '"')
    return cell


def read_topics(path: Path, problems: Problems) -> Iterator[tuple[str, str, str]]:
    """Reads the queries of a file with an id and a text, between a tab, on each line.

    Args:
        path: the file. Its first line may name the columns.
        problems: gets what is wrong with lines; they are left out.

    Yields:
        The place of each query, as file and line number, its id and its text.
    """
    for place, cells in read_topic_rows(path, problems):
        yield place, cells["id"], cells["text"]


def read_topic_rows(path: Path, problems: Problems) -> Iterator[tuple[str, Cells]]:
    """Reads the queries of a file as `read_topics`, with their language and question where named.

    Yields:
        The place of each query, and its cells: id, text, and language and question_id if there
        are columns of them.
    """
    for _, text in read_lines(path, Problems("")):
        if text.lstrip().lower().startswith(("<top", "<?xml", "<query")):
            problems.add(
                f"{path}, line 1: TREC's topics between <top> and </top> are not read: write each "
                "as a line of its id and its text between a tab",
                file_unreadable=True,
            )
            return
        break
    for place, cells in read_table(path, TOPICS, problems):
        yield place, {**cells, "id": normalize_id(cells["id"])}
