"""From plans to tokens: the right texts and labels, the same for every worker."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from hybrid_ir.data.batching import PlannedBatches, describe_batch, select_passages
from hybrid_ir.data.content_ids import hash_text
from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.data.mixture import Mixture
from hybrid_ir.data.sampling import PairBatchSampler
from hybrid_ir.training.datamodule import RetrievalData
from tests.support.corpora import SOURCE, pair_equal_ids, write_texts
from tests.support.plans import decode

PAIRS = 30


@pytest.fixture(scope="module")
def corpus() -> ParallelCorpus:
    """Pairs 2 i and 2 i + 1 have equal passages; each has three negatives, often only two."""
    queries = write_texts("question", "abc", np.ones((PAIRS, 3), bool))
    passages = {}
    for language in "abc":
        passages[language] = [f"answer {language} {i // 2}" for i in range(PAIRS)]
    negatives = np.stack([(np.arange(PAIRS) + shift) % PAIRS for shift in (2, 5, 9)], axis=1)
    negatives[::3, 2] = -1
    return ParallelCorpus(queries, passages, pair_equal_ids(PAIRS), SOURCE, negatives)


@pytest.fixture
def batches(corpus, tokenizers, cache) -> PlannedBatches:
    sampler = PairBatchSampler(corpus, batch_size=10, monolingual_share=0.5, seed=4)
    return PlannedBatches(sampler, tokenizers, cache)


@pytest.fixture(scope="module")
def mixture(corpus) -> Mixture:
    """The corpus and another one, which shares two of its languages and no text."""
    queries = write_texts("other question", "bcd", np.ones((PAIRS, 3), bool))
    passages = write_texts("other answer", "bcd", np.ones((PAIRS, 3), bool))
    pairs = np.stack([np.arange(PAIRS), np.arange(PAIRS)[::-1]], axis=1)
    negatives = (pairs[:, 1:] + [1, 2]) % PAIRS
    other = ParallelCorpus(queries, passages, pairs, SOURCE, negatives)
    return Mixture({"first": corpus, "other": other})


@given(step=st.integers(0, 500), hard_negatives=st.integers(0, 3))
@settings(max_examples=25, deadline=None)
def test_tokens_are_those_of_the_planned_texts(corpus, tokenizers, cache, step, hard_negatives):
    sampler = PairBatchSampler(corpus, batch_size=10, monolingual_share=0.5, seed=4)
    batch = PlannedBatches(sampler, tokenizers, cache, hard_negatives)[step]
    queries = decode(batch.queries, tokenizers)
    passages = decode(batch.passages, tokenizers)
    assert len(queries) == 10
    assert len(passages) == 10 * (1 + hard_negatives)
    planned = describe_batch(corpus, sampler[step])["picks"]
    for example, texts in enumerate(planned):
        assert queries[example].endswith(texts["query"])
        assert passages[example * (1 + hard_negatives)].endswith(texts["passage"])


@pytest.mark.parametrize("level", ["batch", "example"])
def test_tokens_of_a_mixture_are_texts_of_the_part_of_the_batch(mixture, tokenizers, cache, level):
    sampler = PairBatchSampler(mixture, 10, monolingual_share=0.5, level=level, seed=4)
    batches = PlannedBatches(sampler, tokenizers, cache, hard_negatives=2)
    drawn_parts = []
    for step in range(20):
        plan = sampler[step]
        drawn_parts.append(plan.part)
        part = mixture.parts[plan.part]
        queries = strip_prefixes(decode(batches[step].queries, tokenizers))
        passages = strip_prefixes(decode(batches[step].passages, tokenizers))
        assert len(queries) == 10
        assert len(passages) == 30
        for example, pair in enumerate(plan.pairs):
            query_language = mixture.languages[plan.query_languages[example]]
            passage_language = mixture.languages[plan.passage_languages[example]]
            query_id, passage_id = part.pairs[pair]
            positive, *negatives = passages[3 * example : 3 * example + 3]
            assert queries[example] == part.queries[query_language][query_id]
            assert positive == part.passages[passage_language][passage_id]
            for negative in negatives:
                assert negative in part.passages[passage_language]
    assert min(drawn_parts.count(0), drawn_parts.count(1)) > 3


def strip_prefixes(texts: list[str]) -> list[str]:
    """Returns texts without the `query:` or `passage:` before them."""
    return [text.partition(": ")[2] for text in texts]


def test_slices_of_ranks_are_the_batch_in_order(batches, tokenizers, cache):
    halves = [
        PlannedBatches(batches.sampler, tokenizers, cache, rank_slice=rank_slice)[3]
        for rank_slice in (slice(0, 5), slice(5, 10))
    ]
    whole = batches[3]
    for side in ("queries", "passages"):
        parts = [getattr(half, side).ids_T for half in halves]
        assert torch.equal(torch.cat(parts), getattr(whole, side).ids_T)
    assert [half.labels.first for half in halves] == [0, 5]
    assert torch.equal(halves[1].labels.content_N, whole.labels.content_N)


def test_labels_know_contents_and_texts(corpus):
    plan = PairBatchSampler(corpus, PAIRS, 0.0, seed=1)[0]
    _, labels = select_passages(corpus, plan, 0, seed=1)
    passages = corpus.pairs[plan.pairs, 1]
    texts = [shown["passage"] for shown in describe_batch(corpus, plan)["picks"]]
    assert labels.content_N.tolist() == (passages // 2 * 2).tolist()
    assert labels.text_N.tolist() == [hash_text(text) for text in texts]


def test_labels_follow_the_query_of_a_pair_and_not_its_row():
    pairs = np.array([[1, 0], [0, 1], [2, 2]])
    corpus = ParallelCorpus({"a": ["q", "r", "q"]}, {"a": ["p", "s", "t"]}, pairs, SOURCE)
    plan = PairBatchSampler(corpus, 3, 1.0)[0]
    _, labels = select_passages(corpus, plan, 0, seed=0)
    content_of_row = [1, 0, 0]  # queries 0 and 2 are the same text
    assert labels.query_G.tolist() == [content_of_row[row] for row in plan.pairs]


@pytest.mark.parametrize(("workers", "start"), [(0, 0), (2, 0), (2, 5)])
def test_workers_and_a_late_start_change_nothing(batches, workers, start):
    loader = DataLoader(batches, sampler=range(start, 12), batch_size=None, num_workers=workers)
    for step, batch in enumerate(loader, start):
        expected = batches[step]
        assert batch.step == step
        assert torch.equal(batch.queries.ids_T, expected.queries.ids_T)
        assert torch.equal(batch.passages.ids_T, expected.passages.ids_T)
        assert torch.equal(batch.labels.content_N, expected.labels.content_N)


def test_more_hard_negatives_than_there_are_is_refused(corpus, tokenizers, cache):
    sampler = PairBatchSampler(corpus, 2, 0.5)
    message = r"data.hard_negatives=4, but corpus 'made' has up to 3 per question: use 0 to 3"
    with pytest.raises(ValueError, match=message):
        RetrievalData(sampler, tokenizers, cache=cache, hard_negatives=4)
