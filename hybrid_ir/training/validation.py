"""What a training is watched by, unless another benchmark is chosen: it follows the corpus.

A checkpoint that is chosen by other questions than those of the corpus may be the wrong one. So
the built-in facts are watched by facts that no training text holds, and every other corpus by
questions that are held out of it.
"""

# P pairs, N ids of queries or passages

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from hybrid_ir.data.corpus import ParallelCorpus, Texts
from hybrid_ir.data.mixture import Mixture
from hybrid_ir.data.row_streams import RowRuns
from hybrid_ir.evaluation.benchmarks import cldr_facts
from hybrid_ir.evaluation.benchmarks.builder import BenchmarkBuilder, Query
from hybrid_ir.evaluation.benchmarks.choices import (
    check_max_queries,
    choose_languages,
    raise_errors,
)
from hybrid_ir.types import Benchmark, Corpus, Source

BUILT_IN_CORPUS = "cldr_facts"
SEED = 17  # of the choice of questions
MOST_QUESTIONS = 200  # held out
MOST_TEXTS = 4000  # queries of all languages, so that a validation stays short
PAIRS_PER_QUESTION = 20  # at most one question of so many pairs is held out
LARGEST_SHARE = 0.1  # of the pairs is left out of the training; fewer questions are taken then
FEWEST_PAIRS = 400  # of fewer none is held out: the choice would be among too few questions
HELD_OUT_OF = "held out of"  # the choice in the source of such a benchmark that names its corpus
DRAWN_PAIRS_PER_QUESTION = 50  # since several pairs may have one question
PAIRS_PER_BLOCK = 1 << 20


class ValidationByCorpus:
    """Chooses the validation benchmark by the corpus.

    Args:
        languages: of the benchmark; None for all of the corpus.
        max_queries: questions, each in all its languages. None takes all dev facts of the built-in
            corpus, and 200 of any other corpus, or fewer where it has very many languages.
    """

    def __init__(
        self, languages: str | Sequence[str] | None = None, max_queries: int | None = None
    ):
        raise_errors("validation", check_max_queries(max_queries))
        self.languages = languages
        self.max_queries = max_queries

    def split(self, corpus: Corpus) -> tuple[Corpus, Benchmark | None]:
        """Splits a corpus into what is trained on and the benchmark that watches it.

        Args:
            corpus: the whole corpus.

        Returns:
            The corpus without the pairs that are held out, and the benchmark; None where the corpus
            is too small to hold anything out.
        """
        languages = self.languages or corpus.languages
        if corpus.source.name == BUILT_IN_CORPUS:
            return corpus, cldr_facts.load("dev", languages, self.max_queries, pool="split")
        chosen = choose_languages("validation", self.languages, corpus.languages)
        most_questions = self.max_queries
        if most_questions is None:
            most_questions = min(MOST_QUESTIONS, MOST_TEXTS // len(chosen))
        builder = BenchmarkBuilder(describe_held_out(corpus))
        parts = []
        for number, part in enumerate(corpus.parts):
            questions = max(1, most_questions // len(corpus.parts))
            of_questions, left_out = choose_held_out_pairs(part, questions)
            passages = _find_passages(part, of_questions)
            parts.append(part.without_pairs(left_out, passages))
            _add_questions(builder, part, of_questions, f"{number}-", chosen)
            _add_passages(builder, part, passages, f"{number}-", chosen)
        if not builder.languages:
            return corpus, None
        return _join_parts(corpus, parts), builder.build(chosen, languages_may_be_empty=True)


def prepare_validation(
    validation: ValidationByCorpus | Benchmark | None, corpus: Corpus
) -> tuple[Corpus, Benchmark | None]:
    """Returns the corpus to train on, and the benchmark that watches the training.

    Args:
        validation: a benchmark, which leaves the corpus as it is, or a choice by the corpus.
        corpus: the whole corpus.
    """
    if isinstance(validation, ValidationByCorpus):
        return validation.split(corpus)
    return corpus, validation


def describe_held_out(corpus: Corpus) -> Source:
    """Describes the questions that are held out of a corpus, as a benchmark of their own."""
    source = corpus.source
    return Source(
        name=f"{source.name}_held_out",
        description=f"questions that are held out of the training on {source.name}",
        licence=source.licence,
        citation=source.citation,
        revision=source.revision,
        choices={HELD_OUT_OF: source.name},
    )


def choose_held_out_pairs(part: ParallelCorpus, questions: int) -> tuple[np.ndarray, np.ndarray]:
    """Chooses questions of a corpus at random, and finds every pair that speaks of them.

    Args:
        part: the corpus.
        questions: how many, at most.

    Returns:
        The rows of the pairs of these questions. And the rows of all pairs to leave out of the
        training: these, and those with a passage that answers one of the questions, by content.
        Both are empty for a corpus that is too small, or has too few passages.
    """
    usable = part.find_usable_pairs()
    questions = min(questions, len(usable) // PAIRS_PER_QUESTION)
    if len(usable) >= FEWEST_PAIRS:
        contents = _draw_questions(part, usable, questions)
        while questions:
            of_questions, left_out = _find_pairs_of_questions(part, contents[:questions])
            if len(left_out) <= LARGEST_SHARE * len(usable):
                return of_questions, left_out
            questions //= 2
    none = np.empty(0, np.int64)
    return none, none


def _draw_questions(part: ParallelCorpus, usable: RowRuns, questions: int) -> np.ndarray:
    """Draws distinct questions; returns the content ids of their queries in random order."""
    rng = np.random.default_rng(SEED)
    drawn = min(len(usable), DRAWN_PAIRS_PER_QUESTION * questions)
    positions = rng.choice(len(usable), drawn, replace=False)
    query_ids = np.asarray(part.pairs[usable[positions], 0], np.int64)
    contents = np.asarray(part.query_content[query_ids])
    _, first_places = np.unique(contents, return_index=True)
    return contents[np.sort(first_places)]


def _find_pairs_of_questions(
    part: ParallelCorpus, questions: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the rows of the pairs of questions, and of these and all with their passages."""
    is_chosen_N = _mark(questions, len(part.query_content))
    of_questions = _find_pairs(part, 0, is_chosen_N[part.query_content])
    is_answer_N = np.zeros(len(part.content), bool)
    is_answer_N[_find_passages(part, of_questions)] = True
    with_passages = _find_pairs(part, 1, is_answer_N)
    return of_questions, np.union1d(of_questions, with_passages)


def _find_passages(part: ParallelCorpus, rows: np.ndarray) -> np.ndarray:
    """Returns the ids of all passages that say the same as one of some pairs."""
    passage_ids = np.asarray(part.pairs[rows, 1], np.int64)
    is_answer_N = _mark(part.content[passage_ids], len(part.content))
    return np.flatnonzero(is_answer_N[part.content])


def _mark(numbers: np.ndarray, size: int) -> np.ndarray:
    is_marked_N = np.zeros(size, bool)
    is_marked_N[numbers] = True
    return is_marked_N


def _find_pairs(part: ParallelCorpus, side: int, is_held_N: np.ndarray) -> np.ndarray:
    """Returns the rows of the pairs whose query (side 0) or passage (side 1) is marked."""
    rows = []
    for start in range(0, len(part.pairs), PAIRS_PER_BLOCK):
        ids = part.pairs[start : start + PAIRS_PER_BLOCK, side]
        rows.append(start + np.flatnonzero(is_held_N[ids]))
    return np.concatenate(rows)


def _add_questions(
    builder: BenchmarkBuilder,
    part: ParallelCorpus,
    rows: np.ndarray,
    prefix: str,
    languages: Sequence[str],
) -> None:
    """Adds the queries of pairs in the chosen languages, each text once."""
    query_ids = set()
    topics_of_question: dict[int, set[str]] = {}  # by the content of the query
    for query_id, passage_id in np.asarray(part.pairs[rows], np.int64).tolist():
        query_ids.add(query_id)
        topics = topics_of_question.setdefault(int(part.query_content[query_id]), set())
        topics.add(f"{prefix}{part.content[passage_id]}")
    for language in languages:
        for query_id, text in _iterate_texts(part.queries, query_ids, language):
            question = int(part.query_content[query_id])
            query = Query(
                language=language,
                id=f"{prefix}{query_id}-{language}",
                text=text,
                question_id=f"{prefix}{question}",
                topics=tuple(sorted(topics_of_question[question])),
            )
            builder.add_query(query)


def _add_passages(
    builder: BenchmarkBuilder,
    part: ParallelCorpus,
    passage_ids: np.ndarray,
    prefix: str,
    languages: Sequence[str],
) -> None:
    """Adds passages in the chosen languages, each text once."""
    for language in languages:
        for passage_id, text in _iterate_texts(part.passages, passage_ids.tolist(), language):
            topic = f"{prefix}{part.content[passage_id]}"
            builder.add_passage(language, f"{prefix}{passage_id}-{language}", text, [topic])


def _iterate_texts(texts: Texts, ids: Iterable[int], language: str) -> Iterator[tuple[int, str]]:
    """Yields the texts of ids in a language, without those that are missing or come again."""
    known = set()
    for text_id in sorted(ids):
        text = texts[language][text_id]
        if text is not None and text not in known:
            known.add(text)
            yield text_id, text


def _join_parts(corpus: Corpus, parts: Sequence[ParallelCorpus]) -> Corpus:
    """Returns the corpus with other parts."""
    if isinstance(corpus, Mixture):
        return corpus.with_parts(parts)
    [part] = parts
    return part
