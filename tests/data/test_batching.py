"""From plans to tokens: the right texts, the right labels, the same for every worker."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from hybrid_ir.data.batching import (
    PlannedBatches,
    choose_hard_negatives,
    hash_text,
    select_passages,
)
from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.data.sampling import PairBatchSampler
from hybrid_ir.training.datamodule import RetrievalData
from hybrid_ir.types import Source

SOURCE = Source("made", "texts made for a test", "none", "none")
PAIRS = 30


@pytest.fixture(scope="module")
def corpus() -> ParallelCorpus:
    """Pairs 2 i and 2 i + 1 ask for the same passage; three negatives, the last often missing."""
    queries, passages = (
        {
            lang: [
                f"{kind} {lang} {i // each}" if each == 2 else f"{kind} {lang} {i}"
                for i in range(PAIRS)
            ]
            for lang in "abc"
        }
        for kind, each in (("question", 1), ("answer", 2))
    )
    negatives = np.stack([(np.arange(PAIRS) + shift) % PAIRS for shift in (2, 5, 9)], 1)
    negatives[::3, 2] = -1
    return ParallelCorpus(
        queries, passages, np.repeat(np.arange(PAIRS)[:, None], 2, 1), SOURCE, negatives
    )


def batches(corpus, tokenizers, cache, hard_negatives=0, **choices) -> PlannedBatches:
    sampler = PairBatchSampler(
        corpus, **{"batch_size": 10, "monolingual_share": 0.5, "seed": 4, **choices}
    )
    return PlannedBatches(sampler, tokenizers, cache, hard_negatives)


@given(step=st.integers(0, 500), hard_negatives=st.integers(0, 3))
@settings(max_examples=25, deadline=None)
def test_tokens_are_those_of_the_planned_texts(corpus, tokenizers, cache, step, hard_negatives):
    data = batches(corpus, tokenizers, cache, hard_negatives)
    batch, plan = data[step], data.sampler[step]
    queries, passages = (
        [
            tokenizers["query"].tokenizer.decode(ids, skip_special_tokens=True)
            for ids in tokens.ids_T.split(tokens.lengths_B.tolist())
        ]
        for tokens in (batch.queries, batch.passages)
    )
    assert len(queries) == 10 and len(passages) == 10 * (1 + hard_negatives)
    for i, (pair, asked, answered) in enumerate(
        zip(plan.pairs, plan.query_languages, plan.passage_languages, strict=True)
    ):
        query, passage = corpus.pairs[pair]
        assert queries[i].endswith(corpus.queries[corpus.languages[asked]][query])
        assert passages[i * (1 + hard_negatives)].endswith(
            corpus.passages[corpus.languages[answered]][passage]
        )


@given(step=st.integers(0, 500))
@settings(max_examples=25, deadline=None)
def test_hard_negatives_are_the_corpus_own_distinct_and_in_the_passage_language(corpus, step):
    plan = PairBatchSampler(corpus, 10, seed=1)[step]
    chosen = choose_hard_negatives(corpus, plan, 3, seed=1)
    for pair, row in zip(plan.pairs, chosen, strict=True):
        named = corpus.negatives[pair]
        assert sorted(row[row >= 0]) == sorted(named[named >= 0])
    passages, labels = select_passages(corpus, plan, 3, seed=1)
    empty = np.concatenate([np.zeros((10, 1), bool), chosen < 0], axis=1)
    assert np.array_equal(labels.content_N.numpy().reshape(10, 4) == -1, empty)
    assert (passages[empty] == np.repeat(passages[:, :1], 4, 1)[empty]).all()


def test_missing_translations_are_no_hard_negatives():
    passages = {"a": ["p0", "p1", "p2"], "b": ["r0", None, "r2"]}
    queries = {"a": ["q0", "q1", "q2"], "b": ["s0", None, "s2"]}
    corpus = ParallelCorpus(
        queries, passages, np.repeat(np.arange(3)[:, None], 2, 1), SOURCE, np.array([[1], [0], [1]])
    )
    for step in range(40):
        plan = PairBatchSampler(corpus, 1, 1.0)[step]
        chosen = choose_hard_negatives(corpus, plan, 1, seed=0)
        assert chosen[0, 0] == -1 if plan.passage_languages[0] == 1 else chosen[0, 0] >= 0


def test_labels_know_contents_and_texts(corpus):
    plan = PairBatchSampler(corpus, PAIRS, 0.0, seed=1)[0]
    _, labels = select_passages(corpus, plan, 0, seed=1)
    passages = corpus.pairs[plan.pairs, 1]
    assert labels.content_N.tolist() == (passages // 2 * 2).tolist()
    texts = [
        corpus.passages[corpus.languages[lang]][row]
        for lang, row in zip(plan.passage_languages, passages, strict=True)
    ]
    assert labels.text_N.tolist() == [hash_text(text) for text in texts]


def test_workers_and_a_late_start_change_nothing(corpus, tokenizers, cache):
    data = batches(corpus, tokenizers, cache)
    alone = [data[step] for step in range(12)]
    for workers, start in ((0, 0), (2, 0), (2, 5)):
        loader = DataLoader(data, sampler=range(start, 12), batch_size=None, num_workers=workers)
        for one, other in zip(alone[start:], loader, strict=True):
            assert one.step == other.step and torch.equal(one.queries.ids_T, other.queries.ids_T)
            assert torch.equal(one.passages.ids_T, other.passages.ids_T)
            assert torch.equal(one.labels.content_N, other.labels.content_N)


def test_more_hard_negatives_than_there_are_is_refused(corpus, tokenizers, cache):
    with pytest.raises(
        ValueError,
        match=r"data.hard_negatives=4, but corpus 'made' has up to 3 per question: use 0 to 3",
    ):
        RetrievalData(PairBatchSampler(corpus, 2, 0.5), tokenizers, cache=cache, hard_negatives=4)
