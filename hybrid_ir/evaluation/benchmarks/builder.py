"""Builds the Benchmark of every loader from queries, passages and relevance: docs/library.md."""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hybrid_ir.evaluation.benchmarks.choices import record_choices
from hybrid_ir.evaluation.selection import choose_questions
from hybrid_ir.files.arrow_texts import ConvertedPassages, StoredPassages, concatenate_passages
from hybrid_ir.files.json_lines import Judgement
from hybrid_ir.files.problems import Problems
from hybrid_ir.types import Benchmark, Source, Text

UnknownPassages = Literal["error", "drop"]
GradesByTopic = dict[str, dict[int, float]]  # topic -> row of a relevant passage -> its grade
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Query:
    """A text to search with.

    Args:
        language: the code of its language.
        id: unique in the benchmark, over all languages.
        text: what is asked.
        question_id: shared with the translations of the query.
        where: file and line, for error messages.
        topics: the passages of these topics are relevant; of its own id if there are none.
    """

    language: str
    id: str
    text: str
    question_id: str
    where: str = ""
    topics: tuple[str, ...] = ()


class BenchmarkBuilder:
    """Collects queries, passages and relevance, checks them, and joins them to a Benchmark.

    What is relevant can be said in two ways. A passage can be added with topics: it is relevant to
    every query that has one of them. Or judgements (qrels) name pairs of a query and a passage.

    Args:
        source: describes the benchmark on every card.
        problems: receives everything that is wrong with the data, to be raised at once.
    """

    def __init__(self, source: Source, problems: Problems | None = None):
        self.source = source
        self.problems = Problems(source.name) if problems is None else problems
        self._queries: dict[str, Query] = {}
        self._pools: dict[str, _PassageList | StoredPassages] = {}
        self._passages_by_topic: dict[str, list[tuple[str, int]]] = {}  # language, row within it
        self._passage_ids: set[str] = set()  # of the passages in memory
        self._judgements: list[Judgement] = []
        self._empty_passages = 0
        self._conversion_failed = False

    @property
    def languages(self) -> list[str]:
        """The languages in which there is a query or a passage, sorted."""
        query_languages = {query.language for query in self._queries.values()}
        return sorted(query_languages | set(self._pools))

    def add_query(self, query: Query) -> None:
        """Adds a query; an id that came before is a problem."""
        if query.id in self._queries:
            first = self._queries[query.id]
            self.problems.add(f"{query.where}: the id {query.id!r} is also in {first.where}")
            return
        self._queries[query.id] = query

    def add_passage(
        self, language: str, passage_id: str, text: Text, topics: Iterable[str] = ()
    ) -> None:
        """Adds a passage in memory; it is relevant to the queries that have one of its topics."""
        if passage_id in self._passage_ids:
            self.problems.add(f"the passage id {passage_id!r} comes twice")
            return
        self._passage_ids.add(passage_id)
        pool = self._pools.setdefault(language, _PassageList())
        for topic in topics:
            self._passages_by_topic.setdefault(topic, []).append((language, len(pool)))
        pool.ids.append(passage_id)
        pool.texts.append(text)

    def add_stored_passages(self, passages: ConvertedPassages | None) -> None:
        """Adds passages on disk, in languages that have none yet.

        None stands for a conversion that failed, whose reasons are among the problems.
        """
        if passages is None:
            self._conversion_failed = True
            return
        for language, pool in passages.languages.items():
            if language in self._pools:
                self.problems.add(f"the passages of language {language} come from two places")
            self._pools[language] = pool
        self._empty_passages += passages.empty

    def add_judgements(self, judgements: Iterable[Judgement]) -> None:
        """Adds lines of qrels; a passage is relevant to a query if its score is above 0."""
        self._judgements.extend(judgements)

    def require_converted_passages(self) -> None:
        """Raises the problems so far as a ValueError if a conversion of passages failed."""
        if self._conversion_failed:
            self.problems.raise_if_any()

    def compare_with_release(self, released: Mapping[str, tuple[int, int]]) -> None:
        """Adds a problem for every language of another size than the released data.

        Args:
            released: the numbers of queries and of passages by language.
        """
        self.require_converted_passages()
        queries = Counter(query.language for query in self._queries.values())
        for language, (released_queries, released_passages) in released.items():
            passages = len(self._pools.get(language, ()))
            if (queries[language], passages) != (released_queries, released_passages):
                self.problems.add(
                    f"{language} has {queries[language]:,} queries and {passages:,} passages, "
                    f"released are {released_queries:,} and {released_passages:,}: fetch "
                    f"{self.source.name} again, or set require_counts=false to measure on a part "
                    "of it"
                )

    def build(
        self,
        languages: Sequence[str],
        max_queries: int | None = None,
        unknown_passages: UnknownPassages = "error",
        languages_may_be_empty: bool = False,
    ) -> Benchmark:
        """Joins queries and passages language by language, each in the order of its addition.

        Args:
            languages: those of the Benchmark; what was added in other languages is left out.
            max_queries: questions to keep of each language, see `choose_questions`.
            unknown_passages: `drop` leaves out, and counts, judgements of passages that were not
                added; for `error` they are problems.
            languages_may_be_empty: whether a language may lack queries or passages.

        Raises:
            ValueError: lists all problems; besides those so far, judgements of what is not there
                or that contradict each other, a language without queries or without passages, and
                no relevant passage for any query.
        """
        self.require_converted_passages()
        if not languages_may_be_empty:
            self._report_empty_languages(languages)
        if not self._queries:
            self.problems.raise_if_any()  # every judgement would be one without its query
        first_rows = self._number_first_rows(languages)
        grades_by_topic = self._grade_shared_topics(first_rows)
        dropped = self._grade_judgements(first_rows, grades_by_topic, unknown_passages)
        self._require_relevance(languages, grades_by_topic)
        self.problems.raise_if_any()

        queries = self._select_queries(languages, max_queries)
        relevant, grades = _find_relevant_passages(queries, grades_by_topic)
        language_numbers = {language: number for number, language in enumerate(languages)}
        passage_ids, texts, passage_languages = self._join_pools(languages)
        return Benchmark(
            languages=tuple(languages),
            queries=[query.text for query in queries],
            query_languages=np.array(
                [language_numbers[query.language] for query in queries], dtype=np.int64
            ),
            question_ids=[query.question_id for query in queries],
            passages=texts,
            passage_languages=passage_languages,
            passage_ids=passage_ids,
            relevant=relevant,
            source=self._describe_source(dropped, is_graded=grades is not None),
            grades=grades,
        )

    def _report_empty_languages(self, languages: Sequence[str]) -> None:
        query_languages = {query.language for query in self._queries.values()}
        for language in languages:
            if language not in query_languages:
                self.problems.add(f"language {language} has no queries")
            if language not in self._pools:
                self.problems.add(f"language {language} has no passages")

    def _number_first_rows(self, languages: Sequence[str]) -> dict[str, int]:
        """Returns the row of the first passage of each language that has passages."""
        first_rows = {}
        rows = 0
        for language in languages:
            if language in self._pools:
                first_rows[language] = rows
                rows += len(self._pools[language])
        return first_rows

    def _grade_shared_topics(self, first_rows: Mapping[str, int]) -> GradesByTopic:
        """Returns the rows of the passages that were added with topics, each with the grade 1."""
        grades_by_topic: GradesByTopic = {}
        for topic, places in self._passages_by_topic.items():
            grades = {
                first_rows[language] + row: 1 for language, row in places if language in first_rows
            }
            if grades:
                grades_by_topic[topic] = grades
        return grades_by_topic

    def _grade_judgements(
        self,
        first_rows: Mapping[str, int],
        grades_by_topic: GradesByTopic,
        unknown_passages: UnknownPassages,
    ) -> int:
        """Adds the relevant passages of all judgements; returns how many judgements were dropped.

        A judgement is dropped if its passage was not added in any language.
        """
        rows = self._find_rows_of_judgements(first_rows)
        first_judgements: dict[tuple[str, str], Judgement] = {}
        dropped = 0
        for judgement in self._judgements:
            pair = (judgement.query_id, judgement.passage_id)
            self._report_contradiction(judgement, first_judgements.setdefault(pair, judgement))
            if judgement.query_id not in self._queries:
                self.problems.add(f"{judgement.place}: there is no query {judgement.query_id!r}")
            elif judgement.passage_id not in rows:
                dropped += 1
                if unknown_passages == "error":
                    self._report_unknown_passage(judgement)
            elif judgement.score > 0 and rows[judgement.passage_id] is not None:
                grades = grades_by_topic.setdefault(judgement.query_id, {})
                grades[rows[judgement.passage_id]] = judgement.score
        return dropped

    def _find_rows_of_judgements(self, first_rows: Mapping[str, int]) -> dict[str, int | None]:
        """Returns the row of each passage of a judgement; None in a language that is left out."""
        passage_ids = {judgement.passage_id for judgement in self._judgements}
        rows: dict[str, int | None] = {}
        for language, pool in self._pools.items():
            first_row = first_rows.get(language)
            for passage_id, row in pool.find_rows(passage_ids).items():
                rows[passage_id] = None if first_row is None else first_row + row
        return rows

    def _report_contradiction(self, judgement: Judgement, first: Judgement) -> None:
        if judgement.score != first.score and max(judgement.score, first.score) > 0:
            self.problems.add(
                f"{judgement.place}: passage {judgement.passage_id!r} is judged otherwise in "
                f"{first.place}"
            )

    def _report_unknown_passage(self, judgement: Judgement) -> None:
        hint = ""
        if self._empty_passages:
            hint = f" ({self._empty_passages} without text were left out)"
        self.problems.add(
            f"{judgement.place}: there is no passage {judgement.passage_id!r}{hint}; "
            "unknown_passages=drop leaves such judgements out"
        )

    def _require_relevance(self, languages: Sequence[str], grades_by_topic: GradesByTopic) -> None:
        """Adds a problem if nothing is relevant, unless there is another problem or no query."""
        if self.problems.number or not self._queries:
            return
        for query in self._queries.values():
            if query.language in languages and _has_topic(query, grades_by_topic):
                return
        self.problems.add(
            "no query has a relevant passage: are these the judgements (qrels) of this data, with "
            "scores above 0?"
        )

    def _select_queries(self, languages: Sequence[str], max_queries: int | None) -> list[Query]:
        """Returns the queries that are kept, language by language."""
        by_language: dict[str, list[Query]] = {language: [] for language in languages}
        for query in self._queries.values():
            if query.language in by_language:
                by_language[query.language].append(query)
        selected = []
        for queries in by_language.values():
            kept = choose_questions((query.question_id for query in queries), max_queries)
            selected += [query for query in queries if query.question_id in kept]
        return selected

    def _join_pools(
        self, languages: Sequence[str]
    ) -> tuple[Sequence[str], Sequence[Text], np.ndarray]:
        """Returns ids, texts and language numbers of all passages, language by language."""
        pools = [self._pools.get(language, _PassageList()) for language in languages]
        sizes = [len(pool) for pool in pools]
        if all(isinstance(pool, StoredPassages) for pool in pools):
            joined = concatenate_passages(pools)
            # a hundred million passages on disk have their languages in memory
            language_numbers = np.arange(len(languages), dtype=np.int16)
            return joined.ids, joined.texts, np.repeat(language_numbers, sizes)
        ids: list[str] = []
        texts: list[Text] = []
        for pool in pools:
            ids += pool.ids
            texts += pool.texts
        return ids, texts, np.repeat(np.arange(len(languages)), sizes)

    def _describe_source(self, dropped: int, is_graded: bool) -> Source:
        """Returns the source with what was left out, of which a warning is logged as well."""
        exclusions = {}
        if dropped:
            exclusions["unknown_passages"] = f"dropped, {dropped:,} judgements"
        if self._empty_passages:
            exclusions["empty_passages"] = f"left out, {self._empty_passages:,} passages"
        for key, exclusion in exclusions.items():
            log.warning("%s: %s %s", self.source.name, key, exclusion)
        source = record_choices(self.source, **exclusions)
        return record_choices(source, relevance="graded") if is_graded else source


class _PassageList:
    """The passages of one language in memory, with the interface of StoredPassages."""

    def __init__(self):
        self.ids: list[str] = []
        self.texts: list[Text] = []

    def __len__(self) -> int:
        return len(self.ids)

    def find_rows(self, ids: Iterable[str]) -> dict[str, int]:
        """Returns the row of each of the ids that is there."""
        wanted = set(ids)
        return {passage_id: row for row, passage_id in enumerate(self.ids) if passage_id in wanted}


def _list_topics(query: Query) -> tuple[str, ...]:
    return query.topics or (query.id,)


def _has_topic(query: Query, grades_by_topic: GradesByTopic) -> bool:
    return any(topic in grades_by_topic for topic in _list_topics(query))


def _find_relevant_passages(
    queries: Sequence[Query], grades_by_topic: GradesByTopic
) -> tuple[list[np.ndarray], list[np.ndarray] | None]:
    """Returns rows and grades of the relevant passages of each query.

    Queries of the same topics share their arrays. The grades are None if all of them are equal.
    """
    joined: dict[tuple[str, ...], tuple[np.ndarray, np.ndarray]] = {}
    distinct_grades: set[float] = set()
    for query in queries:
        topics = _list_topics(query)
        if topics not in joined:
            rows, grades = _join_topics(topics, grades_by_topic)
            joined[topics] = (rows, grades)
            distinct_grades.update(grades.tolist())
    relevant = [joined[_list_topics(query)][0] for query in queries]
    if len(distinct_grades) < 2:
        return relevant, None
    return relevant, [joined[_list_topics(query)][1] for query in queries]


def _join_topics(
    topics: Sequence[str], grades_by_topic: GradesByTopic
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the rows of the passages of all topics, sorted, and their grades."""
    grades: dict[int, float] = {}
    for topic in topics:
        grades.update(grades_by_topic.get(topic, {}))
    rows = sorted(grades)
    return np.array(rows, dtype=np.int64), np.array([grades[row] for row in rows])
