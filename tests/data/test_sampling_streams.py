"""The plan over corpora with gaps, across blocks of the schedule, and what the seed changes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_ir.data import sampling
from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.data.sampling import PairBatchSampler
from tests.support.corpora import (
    SOURCE,
    build_corpus_with_gaps,
    build_parallel_corpus,
    pair_equal_ids,
)
from tests.support.plans import PARALLEL, SAMPLERS, plan_batches


def require_planned_texts(corpus: ParallelCorpus, plan, languages=None) -> None:
    """Fails if a planned text does not exist, or is in a language that was not chosen."""
    for pair, query_language, passage_language in zip(
        plan.pairs, plan.query_languages, plan.passage_languages, strict=True
    ):
        query_id, passage_id = corpus.pairs[pair]
        query_code = corpus.languages[query_language]
        passage_code = corpus.languages[passage_language]
        assert corpus.queries[query_code][query_id] is not None
        assert corpus.passages[passage_code][passage_id] is not None
        assert languages is None or {query_code, passage_code} <= set(languages)


@pytest.mark.parametrize(("share", "level"), SAMPLERS)
@pytest.mark.parametrize("languages", [None, ["a", "b"]])
def test_every_planned_text_exists(share, level, languages):
    for seed in range(5):
        corpus = build_corpus_with_gaps(seed=seed)
        sampler = PairBatchSampler(corpus, 4, share, level, languages=languages, seed=seed)
        for plan in plan_batches(sampler, 30):
            require_planned_texts(corpus, plan, languages)


@given(
    available=st.lists(st.tuples(*[st.booleans()] * 3), min_size=40, max_size=40),
    share=st.sampled_from([0.0, 0.3, 1.0]),
    level=st.sampled_from(["batch", "example"]),
    seed=st.integers(0, 99),
)
@settings(max_examples=40, deadline=None)
def test_only_texts_that_exist_are_drawn_once_a_batch(available, share, level, seed):
    available = np.array(available)
    available[:6] = True  # so that every draw has something to draw from
    corpus = build_parallel_corpus(40, "abc", available)
    sampler = PairBatchSampler(corpus, 5, share, level, seed=seed)
    for plan in plan_batches(sampler, 30):
        require_planned_texts(corpus, plan)
        assert len(set(plan.pairs)) == 5


def test_a_language_with_gaps_passes_through_its_rows_only():
    available = np.ones((40, 2), bool)
    available[:20, 1] = False  # b has half of the pairs
    sampler = PairBatchSampler(build_parallel_corpus(40, "ab", available), 10, 1.0, seed=5)
    batches_of_b = [
        plan.pairs for plan in plan_batches(sampler, 200) if plan.query_languages[0] == 1
    ]
    for first, second in zip(batches_of_b[::2], batches_of_b[1::2], strict=False):
        assert set(first) | set(second) == set(range(20, 40))
    assert len(batches_of_b) == pytest.approx(100, abs=30)  # uniform over languages, not rows


def test_two_languages_of_one_size_have_different_orders():
    available = np.ones((40, 2), bool)
    available[:10, 0] = False
    available[10:20, 1] = False
    sampler = PairBatchSampler(build_parallel_corpus(40, "ab", available), 10, 1.0, seed=5)
    positions = {0: [], 1: []}  # of the rows of each batch, among those of its language
    for plan in plan_batches(sampler, 40):
        language = int(plan.query_languages[0])
        rows = np.flatnonzero(available[:, language])
        positions[language].append(np.searchsorted(rows, plan.pairs))
    pairs_of_batches = zip(positions[0], positions[1], strict=False)
    assert not all(np.array_equal(one, other) for one, other in pairs_of_batches)


def test_a_cross_lingual_row_needs_no_language_with_both_texts():
    queries = {"a": [f"q{i}" for i in range(8)], "b": [None] * 4 + [f"r{i}" for i in range(4)]}
    passages = {"a": [None] * 4 + [f"p{i}" for i in range(4)], "b": [f"s{i}" for i in range(8)]}
    corpus = ParallelCorpus(queries, passages, pair_equal_ids(8), SOURCE)
    plans = plan_batches(PairBatchSampler(corpus, 4, 0.5, seed=1), 40)
    rows = np.concatenate([plan.pairs for plan in plans if not plan.monolingual])
    assert set(rows) == set(range(8))


def test_an_example_level_batch_needs_no_language_that_fills_it():
    available = np.ones((40, 3), bool)
    available[3:, 2] = False
    corpus = build_parallel_corpus(40, "abc", available)
    assert len(PairBatchSampler(corpus, 5, 0.5, "example")[0].pairs) == 5


def test_a_pass_continues_from_one_block_of_draws_to_the_next(monkeypatch):
    monkeypatch.setattr(sampling, "SCHEDULE_BLOCK", 7)
    sampler = PairBatchSampler(PARALLEL, 20, 0.5, seed=1)
    for first in range(0, 60, 3):
        pairs = np.concatenate([sampler[first + i].pairs for i in range(3)])
        assert len(set(pairs)) == 60


def test_blocks_draw_differently(monkeypatch):
    monkeypatch.setattr(sampling, "SCHEDULE_BLOCK", 64)
    plans = plan_batches(PairBatchSampler(PARALLEL, 20, 0.5, seed=1), 128)
    kinds = [plan.monolingual for plan in plans]
    assert kinds[:64] != kinds[64:]


@pytest.mark.parametrize(("share", "level"), SAMPLERS)
def test_the_seed_changes_rows_and_languages(share, level):
    one = plan_batches(PairBatchSampler(PARALLEL, 20, share, level, seed=1), 30)
    other = plan_batches(PairBatchSampler(PARALLEL, 20, share, level, seed=2), 30)
    equal_rows = [set(a.pairs) == set(b.pairs) for a, b in zip(one, other, strict=True)]
    equal_languages = [
        np.array_equal(a.query_languages, b.query_languages)
        for a, b in zip(one, other, strict=True)
    ]
    assert not all(equal_rows)
    assert not all(equal_languages)


def test_the_seed_changes_the_kinds_of_batches():
    one = plan_batches(PairBatchSampler(PARALLEL, 20, 0.5, seed=1), 64)
    other = plan_batches(PairBatchSampler(PARALLEL, 20, 0.5, seed=2), 64)
    assert [plan.monolingual for plan in one] != [plan.monolingual for plan in other]


def test_the_seed_changes_the_languages_of_the_first_batch():
    one = PairBatchSampler(PARALLEL, 20, 0.0, seed=1)[0]
    other = PairBatchSampler(PARALLEL, 20, 0.0, seed=2)[0]
    assert not np.array_equal(one.query_languages, other.query_languages)
