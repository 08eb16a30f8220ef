"""Builds the Benchmark of every loader from queries, passages and relevance: docs/library.md."""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from hybrid_ir.evaluation.benchmarks.choices import record_choices
from hybrid_ir.evaluation.benchmarks.own_passages import find_own_passages
from hybrid_ir.evaluation.benchmarks.queries import (
    Query,
    choose_queries,
    find_relevant_passages,
    has_topic,
    list_missing_grades,
    list_missing_languages,
)
from hybrid_ir.evaluation.benchmarks.relevance import (
    GradesByTopic,
    JudgedRelevance,
    JudgementRules,
    grade_judgements,
)
from hybrid_ir.files.arrow_texts import ConvertedPassages, StoredPassages, concatenate_passages
from hybrid_ir.files.judgements import Judgement
from hybrid_ir.files.languages import describe_spellings
from hybrid_ir.files.problems import Problems
from hybrid_ir.files.texts import is_blank
from hybrid_ir.types import Benchmark, Source, Text

log = logging.getLogger(__name__)


class BenchmarkBuilder:
    """Collects queries, passages and relevance, checks them, and joins them to a Benchmark.

    What is relevant can be said in two ways. A passage can be added with topics: it is relevant to
    every query that has one of them. Or judgements (qrels) name pairs of a query and a passage.

    Args:
        source: describes the benchmark on every card.
        problems: receives everything that is wrong with the data, to be raised at once.
        keeps_empty_passages: whether passages without a text were converted with the others, for
            the card.
    """

    def __init__(
        self,
        source: Source,
        problems: Problems | None = None,
        keeps_empty_passages: bool = False,
    ):
        self.source = source
        self.keeps_empty_passages = keeps_empty_passages
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
        """Adds passages on disk, behind those that there are already on disk in their languages.

        None stands for a conversion that failed, whose reasons are among the problems.
        """
        if passages is None:
            self._conversion_failed = True
            return
        for language, pool in passages.languages.items():
            first_pool = self._pools.get(language)
            if isinstance(first_pool, StoredPassages):
                pool = concatenate_passages([first_pool, pool])
            elif first_pool is not None:
                self.problems.add(f"the passages of language {language} come from two places")
            self._pools[language] = pool
        self._empty_passages += passages.empty
        changed_ids, first_place = passages.changed_ids
        self.problems.note_changed_id(first_place, changed_ids)

    def add_judgements(self, judgements: Iterable[Judgement]) -> None:
        """Adds lines of qrels; a passage is relevant to a query if its score is above 0."""
        self._judgements.extend(judgements)

    def require_converted_passages(self) -> None:
        """Raises the problems so far as a ValueError if a conversion of passages failed."""
        if self._conversion_failed:
            self.problems.raise_if_any()

    def require_all_languages_named(self, default: str) -> None:
        """Raises ValueError if passages are of named languages and queries of none, or contrary.

        Args:
            default: the language of texts that name none.
        """
        query_languages = {query.language for query in self._queries.values()}
        has_named = {
            "queries": query_languages != {default},
            "passages": set(self._pools) != {default},
        }
        if default != "und" or not (query_languages and self._pools):
            return
        if has_named["queries"] != has_named["passages"]:
            named = "queries" if has_named["queries"] else "passages"
            others = "passages" if has_named["queries"] else "queries"
            raise ValueError(
                f"{self.source.name}: the lines of {named} name their languages, and those of "
                f"{others} do not: give them a key language, too (`hybrid-ir data identify "
                f"path={self.problems.what} to=NEW` writes the likeliest one), or set language= to "
                "the one that they are in"
            )

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
        rules: JudgementRules | None = None,
        languages_may_be_empty: bool = False,
    ) -> Benchmark:
        """Joins queries and passages language by language, each in the order of its addition.

        Of a benchmark with judgements only the queries that they name are measured.

        Args:
            languages: those of the Benchmark; what was added in other languages is left out.
            max_queries: questions to keep of each language, see `choose_questions`.
            rules: what the judgements mean.
            languages_may_be_empty: whether a language may lack queries or passages.

        Raises:
            ValueError: lists all problems; besides those so far, judgements of what is not there
                or that contradict each other, a language without queries or without passages, and
                no relevant passage for any query.
        """
        rules = JudgementRules() if rules is None else rules
        self.require_converted_passages()
        if not languages_may_be_empty:
            self._report_empty_languages(languages)
        if not self._queries:
            self.problems.raise_if_any()  # every judgement would be one without its query
        first_rows = self._number_first_rows(languages)
        rows = self._find_judged_rows(first_rows)
        relevance = self._grade_judgements(rows, rules)
        for topic, grades in self._grade_shared_topics(first_rows).items():
            relevance.grades.setdefault(topic, {}).update(grades)
        self._require_relevance(languages, relevance)
        judged = self._list_judged_queries(languages, relevance)
        self._require_texts(judged)
        self.problems.raise_if_any()

        queries = choose_queries(judged, languages, max_queries)
        notes = self._describe_exclusions(languages, relevance, judged, rules)
        return self._join(languages, queries, relevance, rows, rules, notes)

    def _join(
        self,
        languages: Sequence[str],
        queries: Sequence[Query],
        relevance: JudgedRelevance,
        rows: Mapping[str, int | None],
        rules: JudgementRules,
        notes: dict[str, str],
    ) -> Benchmark:
        """Joins the queries that are measured with all passages, and warns of what was left out."""
        relevant, grades = find_relevant_passages(
            queries, relevance, keep_grades=rules.threshold > 0
        )
        language_numbers = {language: number for number, language in enumerate(languages)}
        query_languages = [language_numbers[query.language] for query in queries]
        passage_ids, texts, passage_languages = self._join_pools(languages)
        own_passages = find_own_passages(queries, relevant, rows, texts)
        leaves_out = rules.ignore_identical_ids and own_passages.number > 0
        if own_passages.number:
            notes["ignore_identical_ids"] = own_passages.describe(rules.ignore_identical_ids)
        self._warn(languages, notes)
        source = record_choices(self.source, **notes)
        if grades is not None:
            source = record_choices(source, relevance="graded")
        return Benchmark(
            languages=tuple(languages),
            queries=[query.text for query in queries],
            query_languages=np.array(query_languages, dtype=np.int64),
            question_ids=[query.question_id for query in queries],
            passages=texts,
            passage_languages=passage_languages,
            passage_ids=passage_ids,
            relevant=relevant,
            source=source,
            grades=grades,
            missing_grades=list_missing_grades(queries, relevance, grades is not None),
            missing_languages=list_missing_languages(queries, relevance, languages),
            count_missing=rules.unknown_passages == "keep",
            own_passages=own_passages.rows_Q if leaves_out else None,
            least_relevant_grade=rules.threshold,
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

    def _find_judged_rows(self, first_rows: Mapping[str, int]) -> dict[str, int | None]:
        """Returns the row of each passage whose id is in a judgement, as a passage or a query.

        The row is None in a language that is left out.
        """
        judged_ids = set()
        for judgement in self._judgements:
            judged_ids.add(judgement.passage_id)
            judged_ids.add(judgement.query_id)
        rows: dict[str, int | None] = {}
        if not judged_ids:
            return rows
        for language, pool in self._pools.items():
            first_row = first_rows.get(language)
            for passage_id, row in pool.find_rows(judged_ids).items():
                rows[passage_id] = None if first_row is None else first_row + row
        return rows

    def _grade_judgements(
        self, rows: Mapping[str, int | None], rules: JudgementRules
    ) -> JudgedRelevance:
        hint = ""
        if self._empty_passages and not self.keeps_empty_passages:
            hint = f" ({self._empty_passages} without text were left out)"
        return grade_judgements(self._judgements, self._queries, rows, rules, self.problems, hint)

    def _require_relevance(self, languages: Sequence[str], relevance: JudgedRelevance) -> None:
        """Adds a problem if nothing is relevant, unless there is another problem or no query."""
        if self.problems.number or not self._queries:
            return
        for query in self._queries.values():
            if query.language in languages and has_topic(query, relevance.grades):
                return
        self.problems.add(
            "no query has a relevant passage: are these the judgements (qrels) of this data, with "
            "scores above 0?"
        )

    def _list_judged_queries(
        self, languages: Sequence[str], relevance: JudgedRelevance
    ) -> list[Query]:
        """Returns the queries of the chosen languages, without those that no judgement names.

        Where nothing is judged one by one, passages are relevant by their topics, to all queries.
        """
        queries = []
        for query in self._queries.values():
            is_judged = not self._judgements or query.id in relevance.query_ids
            is_measured = is_judged or has_topic(query, relevance.grades)
            if query.language in languages and is_measured:
                queries.append(query)
        return queries

    def _require_texts(self, queries: Iterable[Query]) -> None:
        """Adds a problem for every query that has no text."""
        for query in queries:
            if is_blank(query.text):
                self.problems.add(f"{query.where}: the query {query.id!r} has no text to ask with")

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

    def _describe_exclusions(
        self,
        languages: Sequence[str],
        relevance: JudgedRelevance,
        judged: Sequence[Query],
        rules: JudgementRules,
    ) -> dict[str, str]:
        """Describes what was left out or counts in another way, for the card and a warning."""
        notes = {}
        if relevance.unknown:
            effect = "counted as never found" if rules.unknown_passages == "keep" else "dropped"
            notes["unknown_passages"] = f"{effect}, {relevance.unknown:,} judgements"
        if self._empty_passages:
            effect = "kept" if self.keeps_empty_passages else "left out"
            notes["empty_passages"] = f"{effect}, {self._empty_passages:,} passages"
        queries = [query for query in self._queries.values() if query.language in languages]
        if len(judged) < len(queries):
            notes["unjudged_queries"] = (
                f"left out, {len(queries) - len(judged):,} of {len(queries):,} queries"
            )
        changed_ids = self.problems.describe_changed_ids()
        if changed_ids:
            notes["ids"] = changed_ids
        if rules.threshold:
            notes["relevance_threshold"] = f"{rules.threshold:g}"
        return notes

    def _warn(self, languages: Sequence[str], notes: Mapping[str, str]) -> None:
        for key, note in notes.items():
            if key != "relevance_threshold":
                log.warning("%s: %s %s", self.source.name, key, note)
        for warning in describe_spellings(languages):
            log.warning("%s: %s", self.source.name, warning)


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
