"""The batch card: how many negatives a query has, and how many places for them are empty."""

import numpy as np
import pytest

from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.data.sampling import PairBatchSampler
from hybrid_ir.training.batch_card import BatchCard
from hybrid_ir.training.losses import InfoNCE
from tests.support.corpora import build_parallel_corpus_with_negatives


@pytest.fixture(scope="module")
def corpus() -> ParallelCorpus:
    return build_parallel_corpus_with_negatives()


def test_the_card_counts_what_the_loss_compares(corpus):
    sampler = PairBatchSampler(corpus, 4, 1.0, languages=["a"], seed=1)
    explicit_loss = InfoNCE(mask="none", negatives="explicit")
    in_batch = BatchCard.of(sampler, 10, 1, InfoNCE(mask="none"), hard_negatives=2)
    explicit = BatchCard.of(sampler, 10, 1, explicit_loss, hard_negatives=2)
    assert in_batch.negatives_per_query == 11
    assert explicit.negatives_per_query == 8


def test_accumulated_batches_add_queries_but_no_negatives(corpus):
    sampler = PairBatchSampler(corpus, 4, 1.0, languages=["a"], seed=1)
    card = BatchCard.of(sampler, 10, 3, InfoNCE(mask="none"))
    assert card.queries_per_step == 12
    assert card.negatives_per_query == 3
    assert card.passes == 10


def test_empty_places_for_negatives_are_not_counted_as_masked(corpus):
    has_negatives = np.arange(len(corpus)) % 2 == 0
    negatives = np.where(has_negatives[:, None], corpus.negatives, -1)
    few = ParallelCorpus(corpus.queries, corpus.passages, corpus.pairs, corpus.source, negatives)
    cards = []
    for part in (corpus, few):
        sampler = PairBatchSampler(part, 4, 1.0, languages=["a"], seed=1)
        cards.append(BatchCard.of(sampler, 50, 1, InfoNCE(mask="none"), hard_negatives=2))
    card_of_all, card_of_few = cards
    assert card_of_all.empty_share == 0
    assert card_of_all.negatives_per_query == 11
    assert card_of_few.masked_share == 0
    assert 0.2 < card_of_few.empty_share < 0.7
    expected = 11 * (1 - card_of_few.empty_share)
    assert card_of_few.negatives_per_query == pytest.approx(expected)


def test_queries_without_any_negative_are_counted(corpus):
    same = {"a": ["the same passage"] * len(corpus)}
    queries = {"a": corpus.queries["a"]}
    repeated = ParallelCorpus(queries, same, corpus.pairs, corpus.source)
    sampler = PairBatchSampler(repeated, 4, 1.0, seed=1)
    masked = BatchCard.of(sampler, 10, 1, InfoNCE(mask="translations"))
    unmasked = BatchCard.of(sampler, 10, 1, InfoNCE(mask="none"))
    assert masked.share_without_negatives == 1
    assert masked.negatives_per_query == 0
    assert unmasked.share_without_negatives == 0
