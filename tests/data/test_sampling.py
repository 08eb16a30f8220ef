"""The plan of batches: a pure function of (seed, k), without replacement, exact in its two numbers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.data.language_choice import choose_columns
from hybrid_ir.data.sampling import PairBatchSampler
from hybrid_ir.types import Source

SOURCE = Source("made", "texts made for a test", "none", "none")
FAMILY = [
    (1.0, "batch"),
    (0.0, "batch"),
    (0.5, "batch"),
    (1.0, "example"),
    (0.5, "example"),
    (0.0, "example"),
]


def parallel(
    pairs: int = 60, languages: str = "abcd", available: np.ndarray | None = None
) -> ParallelCorpus:
    there = np.ones((pairs, len(languages)), bool) if available is None else available
    queries, passages = (
        {
            language: [f"{kind} {language} {i}" if there[i, j] else None for i in range(pairs)]
            for j, language in enumerate(languages)
        }
        for kind in ("q", "p")
    )
    return ParallelCorpus(
        queries, passages, np.repeat(np.arange(pairs)[:, None], 2, axis=1), SOURCE
    )


def same(a, b) -> bool:
    return (a.step, a.monolingual) == (b.step, b.monolingual) and all(
        np.array_equal(getattr(a, name), getattr(b, name))
        for name in ("pairs", "query_languages", "passage_languages")
    )


@pytest.mark.parametrize(("share", "level"), FAMILY)
@given(seed=st.integers(0, 2**31), steps=st.lists(st.integers(0, 10_000), min_size=1, max_size=8))
@settings(max_examples=10, deadline=None)
def test_a_batch_depends_on_seed_and_step_alone(share, level, seed, steps):
    corpus = parallel()
    asked_in_order = PairBatchSampler(corpus, 8, share, level, seed=seed)
    for step in steps:
        fresh = PairBatchSampler(corpus, 8, share, level, seed=seed)
        assert same(asked_in_order[step], fresh[step])


@pytest.mark.parametrize(("share", "level"), FAMILY)
@given(seed=st.integers(0, 2**31), size=st.integers(1, 20), start=st.integers(0, 50))
@settings(max_examples=10, deadline=None)
def test_a_pass_repeats_no_pair_whatever_the_draws(share, level, seed, size, start):
    sampler = PairBatchSampler(parallel(), size, share, level, seed=seed)
    per_pass = 60 // size
    seen = np.concatenate([sampler[start * per_pass + i].pairs for i in range(per_pass)])
    assert len(seen) == per_pass * size == len(set(seen))


def test_passes_leave_out_different_pairs_and_come_in_different_orders():
    sampler = PairBatchSampler(parallel(), 25, 0.5, seed=1)
    passes = [np.concatenate([sampler[2 * i].pairs, sampler[2 * i + 1].pairs]) for i in range(30)]
    assert set(np.concatenate(passes)) == set(range(60))
    assert len({tuple(rows) for rows in passes}) == 30


def test_the_kinds_are_what_their_names_say():
    for step in range(200):
        mono = PairBatchSampler(parallel(), 8, 1.0, "batch")[step]
        assert len({*mono.query_languages, *mono.passage_languages}) == 1 and mono.monolingual
        cross = PairBatchSampler(parallel(), 8, 0.0, "batch")[step]
        assert (cross.query_languages != cross.passage_languages).all() and not cross.monolingual
        same_language = PairBatchSampler(parallel(), 8, 1.0, "example")[step]
        assert (same_language.query_languages == same_language.passage_languages).all()
        hybrid = PairBatchSampler(parallel(), 8, 0.5, "batch")[step]
        assert hybrid.monolingual == (hybrid.query_languages == hybrid.passage_languages).all()
    mixed = [
        len(set(PairBatchSampler(parallel(), 8, 1.0, "example")[step].query_languages))
        for step in range(50)
    ]
    assert min(mixed) > 1


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_shares_are_realised_within_chance(share):
    steps = 4000
    sampler = PairBatchSampler(parallel(), 4, share, "batch", seed=3)
    plans = [sampler[step] for step in range(steps)]
    mono = np.array([plan.monolingual for plan in plans])
    assert abs(mono.mean() - share) < 4 * np.sqrt(share * (1 - share) / steps)
    languages = np.array([plan.query_languages[0] for plan in plans])[mono]
    assert np.bincount(languages, minlength=4) / mono.sum() == pytest.approx(
        0.25, abs=4 * np.sqrt(0.19 / mono.sum())
    )
    pairs = np.zeros((4, 4))
    for plan in (plan for plan in plans if not plan.monolingual):
        np.add.at(pairs, (plan.query_languages, plan.passage_languages), 1)
    off = pairs[~np.eye(4, dtype=bool)] / pairs.sum()
    assert np.trace(pairs) == 0 and off == pytest.approx(
        1 / 12, abs=4 * np.sqrt(1 / 12 / pairs.sum())
    )


def test_example_level_draws_every_example():
    sampler = PairBatchSampler(parallel(), 20, 0.5, "example", seed=3)
    equal = np.array(
        [
            (plan.query_languages == plan.passage_languages).mean()
            for plan in map(sampler.__getitem__, range(500))
        ]
    )
    assert equal.mean() == pytest.approx(0.5, abs=0.02) and 0.05 < equal.std() < 0.2


def test_weights_and_languages():
    weighted = PairBatchSampler(parallel(), 4, 1.0, language_weights={"a": 3, "d": 0}, seed=1)
    drawn = (
        np.bincount([weighted[step].query_languages[0] for step in range(4000)], minlength=4) / 4000
    )
    assert drawn == pytest.approx([0.6, 0.2, 0.2, 0], abs=0.03)
    pairs = np.zeros((4, 4))
    crossed = PairBatchSampler(
        parallel(), 8, 0.0, language_weights={"a": 3}, languages=["a", "b", "c"], seed=1
    )
    for step in range(2000):
        np.add.at(pairs, (crossed[step].query_languages, crossed[step].passage_languages), 1)
    expected = (
        np.array([[0, 3, 3, 0], [3, 0, 1, 0], [3, 1, 0, 0], [0, 0, 0, 0]]) / 14
    )  # product of the weights
    assert pairs / pairs.sum() == pytest.approx(expected, abs=0.015)
    english = PairBatchSampler(parallel(), 4, 1.0, languages=["b"])
    assert {language for step in range(50) for language in english[step].query_languages} == {1}


def test_same_language_may_be_allowed_in_x_y():
    sampler = PairBatchSampler(parallel(), 16, 0.0, allow_same_language=True, seed=1)
    equal = np.mean(
        [
            (sampler[step].query_languages == sampler[step].passage_languages).mean()
            for step in range(500)
        ]
    )
    assert equal == pytest.approx(0.25, abs=0.02)


@given(
    data=st.data(),
    share=st.sampled_from([0.0, 0.3, 1.0]),
    level=st.sampled_from(["batch", "example"]),
)
@settings(max_examples=40, deadline=None)
def test_only_texts_that_exist_are_drawn(data, share, level):
    available = np.array(
        data.draw(
            st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=40, max_size=40)
        )
    )
    available[:6] = True  # so that every draw has something to draw from
    corpus = parallel(40, "abc", available)
    sampler = PairBatchSampler(corpus, 5, share, level, seed=data.draw(st.integers(0, 99)))
    for step in range(30):
        plan = sampler[step]
        queries, passages = corpus.availability.of_pairs(plan.pairs)
        rows = np.arange(len(plan.pairs))
        assert (
            queries[rows, plan.query_languages].all()
            and passages[rows, plan.passage_languages].all()
        )
        assert len(set(plan.pairs)) == 5


def test_a_language_with_gaps_passes_through_its_own_rows():
    available = np.ones((40, 2), bool)
    available[:20, 1] = False
    sampler = PairBatchSampler(parallel(40, "ab", available), 10, 1.0, seed=5)
    of_b = [
        plan.pairs for plan in map(sampler.__getitem__, range(200)) if plan.query_languages[0] == 1
    ]
    for first, second in zip(of_b[::2], of_b[1::2], strict=False):
        assert set(first) | set(second) == set(range(20, 40))
    assert len(of_b) == pytest.approx(100, abs=30)  # uniform over languages, not over rows


def test_two_equal_sized_languages_do_not_meet_the_same_rows_in_the_same_order():
    available = np.ones((40, 2), bool)
    available[:10, 0] = available[10:20, 1] = False
    sampler = PairBatchSampler(parallel(40, "ab", available), 10, 1.0, seed=5)
    orders = {0: [], 1: []}
    for plan in map(sampler.__getitem__, range(40)):
        orders[plan.query_languages[0]].append(
            np.searchsorted(np.flatnonzero(available[:, plan.query_languages[0]]), plan.pairs)
        )
    assert not all(np.array_equal(a, b) for a, b in zip(*orders.values(), strict=False))


@given(
    st.lists(st.floats(0, 1e6), min_size=1, max_size=9).filter(lambda w: max(w) > 0),
    st.integers(0, 99),
)
def test_choose_never_takes_what_weighs_nothing(weights, seed):
    chosen = choose_columns(np.tile(weights, (50, 1)), np.random.default_rng(seed))
    assert (np.array(weights)[chosen] > 0).all()


@pytest.mark.parametrize(
    ("choices", "said"),
    [
        ({"batch_size": 61}, r"batch_size=61 is larger than the data.*60.*use batch_size=60"),
        (
            {"languages": ["a", "xx"]},
            r"languages has \['xx'\], corpus 'made' has \['a', 'b', 'c', 'd'\]",
        ),
        ({"language_weights": {"zz": 1}}, r"language_weights has \['zz'\]"),
        ({"language_weights": {"a": -1}}, r"language_weights has \{'a': -1\}"),
        ({"monolingual_share": 1.5}, r"monolingual_share=1.5 is a probability"),
        ({"level": "sentence"}, r"level='sentence' must be 'batch' or 'example'"),
        ({"languages": ["a"]}, r"draws two different languages"),
        ({"batch_size": 0}, r"batch_size=0"),
    ],
)
def test_bad_choices_are_named_with_the_cure(choices, said):
    with pytest.raises(ValueError, match=said):
        PairBatchSampler(parallel(), **{"batch_size": 8, **choices})


def test_everything_wrong_is_said_at_once():
    with pytest.raises(
        ValueError, match=r"batch_size=-1.*monolingual_share=7.*level='x'.*languages has"
    ):
        PairBatchSampler(parallel(), -1, 7, "x", languages=["xx"])


def test_a_million_steps_ahead_is_the_same_as_stepping_there():
    sampler = PairBatchSampler(parallel(), 8, 0.5, seed=2)
    counts = {0: 0}
    for step in range(9000):  # across two blocks of the schedule
        plan = sampler[step]
        counts[0] += len(plan.pairs)
    assert same(PairBatchSampler(parallel(), 8, 0.5, seed=2)[8999], plan)
    assert len(PairBatchSampler(parallel(), 8, 0.5, seed=2)[1_000_000].pairs) == 8
