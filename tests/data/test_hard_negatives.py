"""Hard negatives: usable ones, drawn anew at each step, in the language of the passage."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_ir.data.batching import PlannedBatches, choose_hard_negatives, select_passages
from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.data.hard_negatives import HardNegatives
from hybrid_ir.data.sampling import PairBatchSampler
from tests.support.corpora import (
    SOURCE,
    build_parallel_corpus_with_negatives,
    pair_equal_ids,
)
from tests.support.plans import decode

PAIRS = 12


@pytest.fixture(scope="module")
def corpus() -> ParallelCorpus:
    return build_parallel_corpus_with_negatives(PAIRS)


def fill_rows(rows: list[list[int]]) -> np.ndarray:
    """Returns lists of ids as an array, -1 where a list is shorter than the longest."""
    table = np.full((len(rows), max(map(len, rows))), -1, np.int64)
    for number, row in enumerate(rows):
        table[number, : len(row)] = row
    return table


def test_only_usable_candidates_are_chosen(corpus):
    sampler = PairBatchSampler(corpus, 6, 0.0, seed=2)
    for step in range(60):
        plan = sampler[step]
        chosen = choose_hard_negatives(corpus, plan, 1, seed=2)
        for row, pair, language in zip(chosen, plan.pairs, plan.passage_languages, strict=True):
            texts = corpus.passages[corpus.languages[language]]
            assert row[0] in corpus.negatives[pair]
            assert row[0] >= 0
            assert texts[row[0]] is not None


@given(step=st.integers(0, 500))
@settings(max_examples=25, deadline=None)
def test_all_candidates_are_chosen_once_where_they_are_just_enough(corpus, step):
    plan = PairBatchSampler(corpus, 6, 1.0, languages=["a"], seed=1)[step]
    chosen = choose_hard_negatives(corpus, plan, 4, seed=1)
    for pair, row in zip(plan.pairs, chosen, strict=True):
        candidates = corpus.negatives[pair]
        assert sorted(row[row >= 0]) == sorted(candidates[candidates >= 0])


def test_an_empty_slot_repeats_the_positive_and_is_labelled(corpus):
    plan = PairBatchSampler(corpus, 6, 0.0, seed=1)[0]
    chosen = choose_hard_negatives(corpus, plan, 4, seed=1)
    passages, labels = select_passages(corpus, plan, 4, seed=1)
    is_positive = np.zeros((6, 1), bool)
    is_empty = np.concatenate([is_positive, chosen < 0], axis=1)
    positives = np.repeat(passages[:, :1], 5, axis=1)
    assert is_empty.any()
    assert np.array_equal(labels.content_N.numpy().reshape(6, 5) == -1, is_empty)
    assert np.array_equal(passages[is_empty], positives[is_empty])


def test_missing_translations_are_no_hard_negatives():
    passages = {"a": ["p0", "p1", "p2"], "b": ["r0", None, "r2"]}
    queries = {"a": ["q0", "q1", "q2"], "b": ["s0", None, "s2"]}
    negatives = np.array([[1], [0], [1]])
    corpus = ParallelCorpus(queries, passages, pair_equal_ids(3), SOURCE, negatives)
    sampler = PairBatchSampler(corpus, 1, 1.0)
    for step in range(40):
        plan = sampler[step]
        chosen = choose_hard_negatives(corpus, plan, 1, seed=0)
        is_missing = plan.passage_languages[0] == 1
        assert (chosen[0, 0] == -1) == is_missing


def test_every_step_draws_anew(corpus):
    plan = PairBatchSampler(corpus, PAIRS, 1.0, languages=["a"], seed=2)[0]
    draws = set()
    for step in range(5):
        chosen = choose_hard_negatives(corpus, replace(plan, step=step), 1, seed=2)
        draws.add(tuple(chosen[:, 0]))
    assert len(draws) == 5


def test_negatives_are_in_the_language_of_the_passage(corpus, tokenizers, cache):
    sampler = PairBatchSampler(corpus, 6, 0.0, seed=1)
    plan = sampler[0]
    passages, _ = select_passages(corpus, plan, 2, seed=1)
    expected = []
    for language, row in zip(plan.passage_languages, passages, strict=True):
        texts = corpus.passages[corpus.languages[language]]
        expected.extend(texts[passage] for passage in row)
    shown = decode(PlannedBatches(sampler, tokenizers, cache, 2)[0].passages, tokenizers)
    for text, expected_text in zip(shown, expected, strict=True):
        assert text.endswith(expected_text)


@given(
    rows=st.lists(st.lists(st.integers(0, 50), max_size=5), min_size=1, max_size=30),
    random=st.randoms(),
)
@settings(max_examples=100, deadline=None)
def test_negatives_by_pair_read_like_a_table(rows, random):
    table = fill_rows(rows)
    negatives = HardNegatives.from_array(table)
    order = np.array(random.sample(range(len(rows)), len(rows)))
    assert negatives.shape == table.shape
    assert np.array_equal(np.asarray(negatives), table)
    for selection in (order, order > 3, order[0], slice(2, 5)):
        assert np.array_equal(negatives[selection], table[selection])


@given(
    rows=st.lists(st.lists(st.integers(0, 50), max_size=5), min_size=1, max_size=30),
    random=st.randoms(),
)
@settings(max_examples=20, deadline=None)
def test_blocks_have_the_ids_of_all_pairs_in_the_new_order(rows, random):
    order = random.sample(range(len(rows)), len(rows))
    blocks = list(
        HardNegatives.from_array(fill_rows(rows)).iterate_id_blocks(np.array(order), size=4)
    )
    expected = []
    for row in order:
        expected.extend(rows[row])
    assert np.concatenate(blocks).tolist() == expected


@given(st.lists(st.integers(0, 4), min_size=1, max_size=30))
@settings(max_examples=50, deadline=None)
def test_negatives_that_follow_their_passage(counts):
    rows = []
    passages = []
    next_id = 0
    for count in counts:
        passages.append(next_id)
        rows.append(list(range(next_id + 1, next_id + 1 + count)))
        next_id += 1 + count
    negatives = HardNegatives.number_after_passages(np.array(passages), np.array(counts))
    assert np.array_equal(np.asarray(negatives), fill_rows(rows))
