"""What judgements (qrels) say: which passages are relevant to which queries, and how much."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from hybrid_ir.evaluation.benchmarks.choices import check_option
from hybrid_ir.files.judgements import (
    Judgement,
    are_columns_swapped,
    describe_contradiction,
    describe_swapped_columns,
)
from hybrid_ir.files.problems import Problems

UnknownPassages = Literal["error", "drop", "keep"]
GradesByTopic = dict[str, dict[int, float]]  # topic -> row of a relevant passage -> its grade


@dataclass(frozen=True)
class JudgementRules:
    """What the judgements of a benchmark mean.

    Args:
        unknown_passages: what becomes of judgements of passages that are not there: `error`
            refuses them, `drop` leaves them out, and `keep` counts the relevant ones as never
            found, as users of BEIR and trec_eval expect.
        ignore_identical_ids: whether a passage with the id of a query is left out of the rankings
            of this query: it is the question itself, as in ArguAna and Quora.
        threshold: the least score that makes a passage relevant for the binary measures, which are
            all but nDCG: 2 for TREC-DL, as in `trec_eval -l 2`. 0 for every score above 0.
    """

    unknown_passages: UnknownPassages = "error"
    ignore_identical_ids: bool = False
    threshold: float = 0.0

    def list_errors(self) -> list[str]:
        """Returns messages about values that are not allowed."""
        errors = check_option("unknown_passages", self.unknown_passages, get_args(UnknownPassages))
        if not (math.isfinite(self.threshold) and self.threshold >= 0):
            errors.append(f"relevance_threshold={self.threshold} must be a number from 0")
        return errors


@dataclass
class JudgedRelevance:
    """What the judgements of a benchmark say.

    Args:
        grades: for each topic or query the grades of the rows of its relevant passages.
        missing: for each query the grades of relevant passages that are not there, with their
            languages where these are known.
        query_ids: the queries that are judged, also those for which nothing is relevant.
        unknown: how many judgements are about passages that are not there.
    """

    grades: GradesByTopic = field(default_factory=dict)
    missing: dict[str, list[tuple[float, str | None]]] = field(default_factory=dict)
    query_ids: set[str] = field(default_factory=set)
    unknown: int = 0


def grade_judgements(
    judgements: Sequence[Judgement],
    query_ids: Collection[str],
    rows: Mapping[str, int | None],
    rules: JudgementRules,
    problems: Problems,
    hint: str = "",
) -> JudgedRelevance:
    """Grades the passages that are judged relevant: those with a score above 0.

    Args:
        judgements: all of them, in any order; equal ones may come again.
        query_ids: of the queries that there are.
        rows: the row of each id that a judgement names and a passage has; None in a language that
            is left out.
        rules: what the judgements mean.
        problems: gets judgements of what is not there, and those that contradict each other.
        hint: why passages may not be there, for the message.
    """
    relevance = JudgedRelevance()
    if are_columns_swapped(judgements, query_ids, rows):
        problems.add(describe_swapped_columns(judgements[0].place))
        return relevance
    first_judgements: dict[tuple[str, str], Judgement] = {}
    for judgement in judgements:
        pair = (judgement.query_id, judgement.passage_id)
        first = first_judgements.setdefault(pair, judgement)
        contradiction = describe_contradiction(judgement, first)
        if contradiction:
            problems.add(contradiction)
        if first is not judgement:
            continue
        if judgement.query_id not in query_ids:
            problems.add(f"{judgement.place}: there is no query {judgement.query_id!r}")
            continue
        relevance.query_ids.add(judgement.query_id)
        if judgement.passage_id not in rows:
            relevance.unknown += 1
            if rules.unknown_passages == "error":
                problems.add(_describe_unknown_passage(judgement, hint))
            elif judgement.score > 0:
                missing = relevance.missing.setdefault(judgement.query_id, [])
                missing.append((judgement.score, judgement.passage_language))
        elif judgement.score > 0 and rows[judgement.passage_id] is not None:
            grades = relevance.grades.setdefault(judgement.query_id, {})
            grades[rows[judgement.passage_id]] = judgement.score
    return relevance


def _describe_unknown_passage(judgement: Judgement, hint: str) -> str:
    return (
        f"{judgement.place}: there is no passage {judgement.passage_id!r}{hint}; "
        "unknown_passages=keep counts such passages as never found, as BEIR does, and "
        "unknown_passages=drop leaves such judgements out"
    )
