"""The plan over corpora with gaps, across blocks of draws, and the reach of its seed."""

import numpy as np
import pytest

from hybrid_ir.data import sampling
from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.data.sampling import PairBatchSampler
from tests.data.test_sampling import FAMILY, SOURCE, parallel


def with_gaps(pairs: int = 40, seed: int = 0) -> ParallelCorpus:
    """Queries and passages lack different languages, and no pair has its query's id."""
    has = np.random.default_rng(seed).random((2, pairs, 3)) < 0.7
    has[:, :8] = True
    queries, passages = (
        {
            language: [f"{kind} {language} {i}" if there[i, j] else None for i in range(pairs)]
            for j, language in enumerate("abc")
        }
        for kind, there in zip("qp", has, strict=True)
    )
    return ParallelCorpus(
        queries, passages, np.stack([np.roll(np.arange(pairs), 3), np.arange(pairs)], 1), SOURCE
    )


@pytest.mark.parametrize(("share", "level"), FAMILY)
@pytest.mark.parametrize("languages", [None, ["a", "b"]])
def test_every_planned_text_exists(share, level, languages):
    for seed in range(5):
        corpus = with_gaps(seed=seed)
        sampler = PairBatchSampler(corpus, 4, share, level, languages=languages, seed=seed)
        for plan in (sampler[step] for step in range(30)):
            for (query, passage), asked, answered in zip(
                corpus.pairs[plan.pairs], plan.query_languages, plan.passage_languages, strict=True
            ):
                asked, answered = corpus.languages[asked], corpus.languages[answered]
                assert (
                    corpus.queries[asked][query] is not None
                    and corpus.passages[answered][passage] is not None
                )
                assert languages is None or {asked, answered} <= set(languages)


def test_a_pass_goes_on_from_one_block_of_draws_to_the_next(monkeypatch):
    monkeypatch.setattr(sampling, "SCHEDULE_BLOCK", 7)
    sampler = PairBatchSampler(parallel(), 20, 0.5, seed=1)
    for start in range(0, 60, 3):
        assert len(set(np.concatenate([sampler[start + i].pairs for i in range(3)]))) == 60


def test_blocks_draw_differently(monkeypatch):
    monkeypatch.setattr(sampling, "SCHEDULE_BLOCK", 64)
    sampler = PairBatchSampler(parallel(), 20, 0.5, seed=1)
    assert [sampler[k].monolingual for k in range(64)] != [
        sampler[64 + k].monolingual for k in range(64)
    ]


@pytest.mark.parametrize(("share", "level"), FAMILY)
def test_the_seed_moves_rows_and_languages(share, level):
    one, other = (PairBatchSampler(parallel(), 20, share, level, seed=seed) for seed in (1, 2))
    plans = [(one[step], other[step]) for step in range(30)]
    assert any(set(a.pairs) != set(b.pairs) for a, b in plans)
    assert not all(np.array_equal(a.query_languages, b.query_languages) for a, b in plans)


def test_the_seed_moves_kinds():
    one, other = (PairBatchSampler(parallel(), 20, 0.5, seed=seed) for seed in (1, 2))
    assert [one[step].monolingual for step in range(64)] != [
        other[step].monolingual for step in range(64)
    ]
    one, other = (PairBatchSampler(parallel(), 20, 0.0, seed=seed) for seed in (1, 2))
    assert not np.array_equal(one[0].query_languages, other[0].query_languages)


def test_weights_count_at_example_level():
    sampler = PairBatchSampler(
        parallel(), 20, 1.0, "example", language_weights={"a": 3, "d": 0}, seed=1
    )
    drawn = (
        np.bincount(
            np.concatenate([sampler[step].query_languages for step in range(500)]), minlength=4
        )
        / 10_000
    )
    assert drawn == pytest.approx([0.6, 0.2, 0.2, 0], abs=0.03)


def test_a_cross_lingual_row_needs_no_language_with_both_texts():
    queries = {"a": [f"q{i}" for i in range(8)], "b": [None] * 4 + [f"r{i}" for i in range(4)]}
    passages = {"a": [None] * 4 + [f"p{i}" for i in range(4)], "b": [f"s{i}" for i in range(8)]}
    corpus = ParallelCorpus(queries, passages, np.repeat(np.arange(8)[:, None], 2, 1), SOURCE)
    sampler = PairBatchSampler(corpus, 4, 0.5, seed=1)
    assert {
        row for step in range(40) if not sampler[step].monolingual for row in sampler[step].pairs
    } == set(range(8))


def test_an_example_level_batch_asks_no_language_to_fill_it():
    there = np.ones((40, 3), bool)
    there[3:, 2] = False
    assert len(PairBatchSampler(parallel(40, "abc", there), 5, 0.5, "example")[0].pairs) == 5


def test_one_language_may_be_a_plain_text():
    assert PairBatchSampler(parallel(), 5, 1.0, languages="a").languages == ("a",)
    with pytest.raises(ValueError, match="seed=-1 must be 0 or more"):
        PairBatchSampler(parallel(), 5, seed=-1)
