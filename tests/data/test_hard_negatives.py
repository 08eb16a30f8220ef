"""Hard negatives and their numbers on the card: a new draw each step, in the passage's language."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_ir.data.batching import PlannedBatches, choose_hard_negatives, select_passages
from hybrid_ir.data.content_ids import hash_text
from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.data.hard_negatives import HardNegatives
from hybrid_ir.data.sampling import PairBatchSampler
from hybrid_ir.training.batch_card import BatchCard
from hybrid_ir.training.losses import InfoNCE
from hybrid_ir.types import Source

SOURCE = Source("made", "texts made for a test", "none", "none")
PAIRS = 12


@pytest.fixture
def corpus() -> ParallelCorpus:
    """Three candidates and a filler per pair; every other passage is missing in "b"."""
    queries, passages = (
        {language: [f"{kind} {language} {i}" for i in range(PAIRS)] for language in "ab"}
        for kind in "qp"
    )
    passages["b"][::2] = [None] * (PAIRS // 2)
    negatives = np.stack(
        [(np.arange(PAIRS) + shift) % PAIRS for shift in (1, 2, 3)] + [np.full(PAIRS, -1)], 1
    )
    return ParallelCorpus(
        queries, passages, np.repeat(np.arange(PAIRS)[:, None], 2, 1), SOURCE, negatives
    )


def test_of_many_candidates_usable_ones_are_taken(corpus):
    sampler = PairBatchSampler(corpus, 6, 0.0, seed=2)
    for plan in (sampler[step] for step in range(60)):
        chosen = choose_hard_negatives(corpus, plan, 1, 2)
        for row, pair, language in zip(chosen, plan.pairs, plan.passage_languages, strict=True):
            texts = corpus.passages[corpus.languages[language]]
            assert row[0] in [
                passage
                for passage in corpus.negatives[pair]
                if passage >= 0 and texts[passage] is not None
            ]


def test_every_step_draws_anew(corpus):
    plan = PairBatchSampler(corpus, PAIRS, 1.0, languages=["a"], seed=2)[0]
    assert (
        len(
            {
                tuple(choose_hard_negatives(corpus, replace(plan, step=step), 1, 2)[:, 0])
                for step in range(5)
            }
        )
        == 5
    )


def test_tokens_of_negatives_are_in_the_language_of_the_passage(corpus, tokenizers, cache):
    data = PlannedBatches(PairBatchSampler(corpus, 6, 0.0, seed=1), tokenizers, cache, 2)
    batch, plan = data[0], data.sampler[0]
    passages, _ = select_passages(corpus, plan, 2, 1)
    said = [
        tokenizers["passage"].tokenizer.decode(ids, skip_special_tokens=True)
        for ids in batch.passages.ids_T.split(batch.passages.lengths_B.tolist())
    ]
    planned = [
        corpus.passages[corpus.languages[language]][passage]
        for language, row in zip(plan.passage_languages, passages, strict=True)
        for passage in row
    ]
    assert all(text.endswith(wanted) for text, wanted in zip(said, planned, strict=True))


def test_negatives_beyond_the_passages_are_refused(corpus):
    for wrong in (PAIRS, -2):
        with pytest.raises(
            ValueError, match=r"passage ids of negatives reach .* 12 passages and -1 for none"
        ):
            ParallelCorpus(
                corpus.queries, corpus.passages, corpus.pairs, SOURCE, np.full((PAIRS, 1), wrong)
            )


def test_labels_follow_the_query_of_a_pair_not_its_row():
    corpus = ParallelCorpus(
        {"a": ["q", "r", "q"]}, {"a": ["p", "s", "t"]}, np.array([[1, 0], [0, 1], [2, 2]]), SOURCE
    )
    plan = PairBatchSampler(corpus, 3, 1.0)[0]
    assert select_passages(corpus, plan, 0, 0)[1].query_G.tolist() == [
        [1, 0, 0][row] for row in plan.pairs
    ]


def test_a_text_has_the_same_hash_in_every_process():
    assert hash_text("Kabul") == 8867130010577433881


def test_the_card_counts_what_the_loss_compares(corpus):
    sampler = PairBatchSampler(corpus, 4, 1.0, languages=["a"], seed=1)
    in_batch = BatchCard.of(sampler, 10, 1, InfoNCE(mask="none"), hard_negatives=2)
    explicit = BatchCard.of(
        sampler, 10, 1, InfoNCE(mask="none", negatives="explicit"), hard_negatives=2
    )
    assert (in_batch.negatives_per_query, explicit.negatives_per_query) == (11, 8)
    accumulated = BatchCard.of(sampler, 10, 3, InfoNCE(mask="none"))
    assert (accumulated.queries_per_step, accumulated.negatives_per_query, accumulated.passes) == (
        12,
        3,
        10,
    )


def test_empty_places_for_negatives_are_not_taken_for_masked_ones(corpus):
    few = ParallelCorpus(
        corpus.queries,
        corpus.passages,
        corpus.pairs,
        corpus.source,
        np.where((np.arange(len(corpus)) % 2 == 0)[:, None], corpus.negatives, -1),
    )
    whole, card = (
        BatchCard.of(
            PairBatchSampler(given, 4, 1.0, languages=["a"], seed=1),
            50,
            1,
            InfoNCE(mask="none"),
            hard_negatives=2,
        )
        for given in (corpus, few)
    )
    assert whole.empty_share == card.masked_share == 0 and whole.negatives_per_query == 11
    assert (
        card.negatives_per_query == pytest.approx(11 * (1 - card.empty_share))
        and 0.2 < card.empty_share < 0.7
    )


@given(st.lists(st.lists(st.integers(0, 50), max_size=5), min_size=1, max_size=30), st.randoms())
@settings(max_examples=100, deadline=None)
def test_negatives_pair_by_pair_are_those_of_a_table(rows, random):
    most = max(map(len, rows))
    table = np.array([[*row, *[-1] * (most - len(row))] for row in rows], np.int64).reshape(
        len(rows), most
    )
    found, order = HardNegatives.of(table), np.array(random.sample(range(len(rows)), len(rows)))
    assert found.shape == table.shape and np.array_equal(np.asarray(found), table)
    assert np.array_equal(found[order], table[order]) and np.array_equal(
        found[order > 3], table[order > 3]
    )
    assert np.array_equal(found[order[0]], table[order[0]]) and np.array_equal(
        found[2:5], table[2:5]
    )
    assert np.concatenate([*found.blocks(order, 4)]).tolist() == [
        i for row in order for i in rows[row]
    ]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=30))
@settings(max_examples=50, deadline=None)
def test_negatives_that_follow_their_passage(counts):
    counts = np.array(counts)
    passages = np.arange(len(counts)) + np.cumsum(counts) - counts
    expected = [
        [*range(p + 1, p + 1 + count), *[-1] * (counts.max() - count)]
        for p, count in zip(passages, counts, strict=True)
    ]
    assert np.asarray(HardNegatives.following(passages, counts)).tolist() == expected
