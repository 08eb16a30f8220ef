"""Validation follows the corpus: dev facts for the built-in one, held-out questions of others."""

from unittest import mock

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hybrid_ir.corpora.sources import cldr_facts
from hybrid_ir.data.batching import choose_hard_negatives
from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.data.mixture import Mixture
from hybrid_ir.data.sampling import PairBatchSampler
from hybrid_ir.evaluation.benchmarks import cldr_facts as dev_facts
from hybrid_ir.training import validation
from hybrid_ir.training.validation import ValidationByCorpus, prepare_validation
from hybrid_ir.types import PlannedBatch
from tests.support.corpora import SOURCE

LANGUAGES = ("de", "en", "zh")


def draw_texts(rng: np.random.Generator, role: str, count: int) -> dict[str, list[str | None]]:
    """Draws texts with gaps and repetitions; every id has a text in some language."""
    texts = {}
    contents = rng.integers(0, max(1, count * 3 // 4), count)
    for language in LANGUAGES:
        is_missing = rng.random(count) < 0.2
        column = [f"{role} {content} in {language}" for content in contents]
        texts[language] = [
            None if missing and language != "en" else text
            for text, missing in zip(column, is_missing, strict=True)
        ]
    return texts


def draw_corpus(seed: int, pairs: int = 60) -> ParallelCorpus:
    rng = np.random.default_rng(seed)
    return ParallelCorpus(
        draw_texts(rng, "query", 40),
        draw_texts(rng, "passage", 50),
        np.stack([rng.integers(0, 40, pairs), rng.integers(0, 50, pairs)], axis=1),
        SOURCE,
        negatives=rng.integers(-1, 50, (pairs, 3)),
    )


def list_texts(corpus: ParallelCorpus, rows: np.ndarray) -> tuple[set[str], set[str]]:
    """Returns all texts of the queries and of the passages of pairs."""
    queries = set()
    passages = set()
    for query_id, passage_id in corpus.pairs[rows]:
        for language in corpus.languages:
            queries.add(corpus.queries[language][query_id])
            passages.add(corpus.passages[language][passage_id])
    return queries - {None}, passages - {None}


@pytest.fixture(autouse=True)
def small_corpora_count(monkeypatch):
    monkeypatch.setattr(validation, "FEWEST_PAIRS", 20)
    monkeypatch.setattr(validation, "PAIRS_PER_QUESTION", 10)
    monkeypatch.setattr(validation, "LARGEST_SHARE", 1.0)


@given(seed=st.integers(0, 10**6), questions=st.integers(1, 6))
@settings(max_examples=40, deadline=None)
def test_no_batch_has_a_text_of_the_questions_that_are_held_out(seed, questions):
    corpus = draw_corpus(seed)
    rest, benchmark = ValidationByCorpus(max_queries=questions).split(corpus)
    assert 1 <= len(set(benchmark.question_ids)) <= questions
    trained_rows = rest.find_usable_pairs()[np.arange(rest.usable_pair_count)]
    queries, passages = list_texts(corpus, trained_rows)
    assert not queries & set(benchmark.queries)
    relevant = {row for rows in benchmark.relevant for row in rows}
    assert relevant == set(range(len(benchmark.passages)))
    assert not passages & set(benchmark.passages)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_relevant_are_all_passages_that_say_what_a_pair_names_for_the_question(seed):
    corpus = draw_corpus(seed)
    _, benchmark = ValidationByCorpus(max_queries=3).split(corpus)
    for text, rows in zip(benchmark.queries, benchmark.relevant, strict=True):
        assert {benchmark.passages[row] for row in rows} == find_answers(corpus, text)


def find_answers(corpus: ParallelCorpus, text: str) -> set[str]:
    """Returns the texts, in all languages, of the passages of a question, by content."""
    questions = set()
    for query_id in range(40):
        if text in [corpus.queries[language][query_id] for language in LANGUAGES]:
            questions.add(corpus.query_content[query_id])
    contents = set()
    for query_id, passage_id in corpus.pairs:
        if corpus.query_content[query_id] in questions:
            contents.add(corpus.content[passage_id])
    answers = set()
    for passage_id in range(50):
        if corpus.content[passage_id] in contents:
            answers |= {corpus.passages[language][passage_id] for language in LANGUAGES}
    return answers - {None}


def test_the_choice_is_the_same_every_time():
    first = ValidationByCorpus().split(draw_corpus(3))
    second = ValidationByCorpus().split(draw_corpus(3))
    assert first[1].queries == second[1].queries
    np.testing.assert_array_equal(first[0].availability.starts_R, second[0].availability.starts_R)


def test_a_plan_goes_on_without_the_pairs_that_are_held_out():
    corpus = draw_corpus(5, pairs=200)
    rest, _ = ValidationByCorpus(max_queries=1).split(corpus)
    rows = set(rest.find_usable_pairs()[np.arange(rest.usable_pair_count)].tolist())
    sampler = PairBatchSampler(rest, batch_size=8, monolingual_share=0.5, seed=1)
    planned = {int(row) for step in range(100) for row in sampler[step].pairs}
    assert planned <= rows
    assert len(rows) < 200


@given(seed=st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_no_batch_shows_a_passage_that_is_held_out_as_a_hard_negative(seed):
    corpus = draw_corpus(seed, pairs=120)
    rest, benchmark = ValidationByCorpus(max_queries=1).split(corpus)
    rows = rest.find_usable_pairs()[np.arange(rest.usable_pair_count)]
    assume(len(rows) > 0)
    languages = np.full(len(rows), LANGUAGES.index("en"))  # every text is there in English
    plan = PlannedBatch(0, True, rows, languages, languages)
    negatives = choose_hard_negatives(rest, plan, 3, seed)
    shown = {rest.passages["en"][passage_id] for passage_id in negatives[negatives >= 0]}
    assert shown
    assert not shown & set(benchmark.passages)


def test_a_mixture_holds_questions_of_every_part_out():
    mixture = Mixture({"a": draw_corpus(1), "b": draw_corpus(2)})
    rest, benchmark = ValidationByCorpus(max_queries=6).split(mixture)
    assert {question.partition("-")[0] for question in benchmark.question_ids} == {"0", "1"}
    assert [part.source.name for part in rest.parts] == ["a", "b"]
    for part, whole in zip(rest.parts, mixture.parts, strict=True):
        assert part.usable_pair_count < whole.usable_pair_count
    assert rest.part_weights == mixture.part_weights


@given(seed=st.integers(0, 10**6), share=st.floats(0.05, 0.5))
@settings(max_examples=30, deadline=None)
def test_no_more_than_a_share_of_the_pairs_is_left_out(seed, share):
    corpus = draw_corpus(seed)
    with mock.patch.object(validation, "LARGEST_SHARE", share):
        rest, _ = ValidationByCorpus().split(corpus)
    usable = corpus.usable_pair_count
    assert usable - rest.usable_pair_count <= share * usable


def test_a_small_corpus_is_trained_on_whole(monkeypatch):
    monkeypatch.setattr(validation, "FEWEST_PAIRS", 400)
    corpus = draw_corpus(1)
    assert ValidationByCorpus().split(corpus) == (corpus, None)


def test_the_built_in_corpus_is_watched_by_its_dev_facts():
    facts = cldr_facts.load(["de", "en"])
    corpus, benchmark = ValidationByCorpus(languages=["de", "en"], max_queries=4).split(facts)
    expected = dev_facts.load("dev", ["de", "en"], 4, pool="split")
    assert corpus is facts
    assert benchmark.queries == expected.queries
    assert benchmark.passages == expected.passages


def test_another_benchmark_leaves_the_corpus_as_it_is(numbers_benchmark):
    corpus = draw_corpus(1)
    assert prepare_validation(numbers_benchmark, corpus) == (corpus, numbers_benchmark)
    assert prepare_validation(None, corpus) == (corpus, None)


@pytest.mark.parametrize(
    ("choices", "message"),
    [({"max_queries": 0}, "max_queries=0"), ({"languages": ["xx"]}, "languages=.*'xx'")],
)
def test_wrong_choices_are_refused(choices, message):
    with pytest.raises(ValueError, match=message):
        ValidationByCorpus(**choices).split(draw_corpus(1))
