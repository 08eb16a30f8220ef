"""The plan of batches: a pure function of (seed, k), without replacement, exact in its numbers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_ir.data.language_choice import choose_columns
from hybrid_ir.data.sampling import SCHEDULE_BLOCK, PairBatchSampler
from hybrid_ir.types import PlannedBatch
from tests.support.plans import PARALLEL, SAMPLERS, plan_batches


def assert_same_plan(one: PlannedBatch, other: PlannedBatch) -> None:
    assert one.step == other.step
    assert one.monolingual == other.monolingual
    assert np.array_equal(one.pairs, other.pairs)
    assert np.array_equal(one.query_languages, other.query_languages)
    assert np.array_equal(one.passage_languages, other.passage_languages)


def count_language_pairs(plans: list[PlannedBatch]) -> np.ndarray:
    """Returns the share of the examples by query language (row) and passage language."""
    counts = np.zeros((4, 4))
    for plan in plans:
        np.add.at(counts, (plan.query_languages, plan.passage_languages), 1)
    return counts / counts.sum()


@pytest.mark.parametrize(("share", "level"), SAMPLERS)
@given(seed=st.integers(0, 2**31), steps=st.lists(st.integers(0, 10_000), min_size=1, max_size=8))
@settings(max_examples=10, deadline=None)
def test_a_batch_depends_on_seed_and_step_only(share, level, seed, steps):
    used_before = PairBatchSampler(PARALLEL, 8, share, level, seed=seed)
    for step in steps:
        fresh = PairBatchSampler(PARALLEL, 8, share, level, seed=seed)
        assert_same_plan(used_before[step], fresh[step])


@pytest.mark.parametrize(("share", "level"), SAMPLERS)
@given(seed=st.integers(0, 2**31), size=st.integers(1, 20), start=st.integers(0, 50))
@settings(max_examples=10, deadline=None)
def test_a_pass_repeats_no_pair_whatever_is_drawn(share, level, seed, size, start):
    sampler = PairBatchSampler(PARALLEL, size, share, level, seed=seed)
    batches_per_pass = 60 // size
    first = start * batches_per_pass
    pairs = np.concatenate([sampler[first + i].pairs for i in range(batches_per_pass)])
    assert len(pairs) == batches_per_pass * size
    assert len(set(pairs)) == len(pairs)


def test_passes_drop_different_pairs_and_come_in_different_orders():
    sampler = PairBatchSampler(PARALLEL, 25, 0.5, seed=1)
    passes = []
    for number in range(30):
        batches = [sampler[2 * number].pairs, sampler[2 * number + 1].pairs]
        passes.append(np.concatenate(batches))
    assert set(np.concatenate(passes)) == set(range(60))
    assert len({tuple(pairs) for pairs in passes}) == 30


def test_monolingual_batches_have_one_language():
    for plan in plan_batches(PairBatchSampler(PARALLEL, 8, 1.0, "batch"), 200):
        assert plan.monolingual
        assert len({*plan.query_languages, *plan.passage_languages}) == 1


def test_cross_lingual_batches_have_no_example_in_one_language():
    for plan in plan_batches(PairBatchSampler(PARALLEL, 8, 0.0, "batch"), 200):
        assert not plan.monolingual
        assert (plan.query_languages != plan.passage_languages).all()


def test_hybrid_batches_are_of_one_kind_or_the_other():
    plans = plan_batches(PairBatchSampler(PARALLEL, 8, 0.5, "batch"), 200)
    for plan in plans:
        same = plan.query_languages == plan.passage_languages
        assert same.all() if plan.monolingual else not same.any()
    assert {plan.monolingual for plan in plans} == {True, False}


def test_same_language_examples_mix_languages_in_a_batch():
    for plan in plan_batches(PairBatchSampler(PARALLEL, 8, 1.0, "example"), 200):
        assert not plan.monolingual
        assert (plan.query_languages == plan.passage_languages).all()
        assert len(set(plan.query_languages)) > 1


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_shares_are_realised_within_chance(share):
    steps = 4000
    plans = plan_batches(PairBatchSampler(PARALLEL, 4, share, "batch", seed=3), steps)
    monolingual = [plan for plan in plans if plan.monolingual]
    cross_lingual = [plan for plan in plans if not plan.monolingual]

    deviation = np.sqrt(share * (1 - share) / steps)
    assert len(monolingual) / steps == pytest.approx(share, abs=4 * deviation)

    languages = np.bincount([plan.query_languages[0] for plan in monolingual], minlength=4)
    deviation = np.sqrt(0.19 / len(monolingual))  # of a share of 1/4
    assert languages / len(monolingual) == pytest.approx(0.25, abs=4 * deviation)

    shares = count_language_pairs(cross_lingual)
    deviation = np.sqrt(1 / 12 / (4 * len(cross_lingual)))  # of a share of 1/12
    assert np.trace(shares) == 0
    assert shares[~np.eye(4, dtype=bool)] == pytest.approx(1 / 12, abs=4 * deviation)


def test_example_level_draws_every_example():
    plans = plan_batches(PairBatchSampler(PARALLEL, 20, 0.5, "example", seed=3), 500)
    same = [(plan.query_languages == plan.passage_languages).mean() for plan in plans]
    assert np.mean(same) == pytest.approx(0.5, abs=0.02)
    assert 0.05 < np.std(same) < 0.2


def test_weights_count_for_monolingual_batches():
    weights = {"a": 3, "d": 0}
    sampler = PairBatchSampler(PARALLEL, 4, 1.0, language_weights=weights, seed=1)
    drawn = [plan.query_languages[0] for plan in plan_batches(sampler, 4000)]
    shares = np.bincount(drawn, minlength=4) / len(drawn)
    assert shares == pytest.approx([0.6, 0.2, 0.2, 0], abs=0.03)


def test_weights_of_a_language_pair_are_multiplied():
    sampler = PairBatchSampler(
        PARALLEL, 8, 0.0, language_weights={"a": 3}, languages=["a", "b", "c"], seed=1
    )
    shares = count_language_pairs(plan_batches(sampler, 2000))
    expected = np.array([[0, 3, 3, 0], [3, 0, 1, 0], [3, 1, 0, 0], [0, 0, 0, 0]]) / 14
    assert shares == pytest.approx(expected, abs=0.015)


def test_weights_count_at_example_level():
    weights = {"a": 3, "d": 0}
    sampler = PairBatchSampler(PARALLEL, 20, 1.0, "example", language_weights=weights, seed=1)
    drawn = np.concatenate([plan.query_languages for plan in plan_batches(sampler, 500)])
    shares = np.bincount(drawn, minlength=4) / len(drawn)
    assert shares == pytest.approx([0.6, 0.2, 0.2, 0], abs=0.03)


def test_only_the_chosen_languages_are_drawn():
    english = PairBatchSampler(PARALLEL, 4, 1.0, languages=["b"])
    drawn = np.concatenate([plan.query_languages for plan in plan_batches(english, 50)])
    assert set(drawn) == {1}


def test_the_same_language_may_be_allowed_in_x_y():
    sampler = PairBatchSampler(PARALLEL, 16, 0.0, allow_same_language=True, seed=1)
    shares = count_language_pairs(plan_batches(sampler, 500))
    assert np.trace(shares) == pytest.approx(0.25, abs=0.02)


@given(
    weights=st.lists(st.floats(0, 1e6), min_size=1, max_size=9).filter(lambda w: max(w) > 0),
    seed=st.integers(0, 99),
)
@settings(deadline=None)
def test_what_weighs_nothing_is_never_chosen(weights, seed):
    chosen = choose_columns(np.tile(weights, (50, 1)), np.random.default_rng(seed))
    assert (np.array(weights)[chosen] > 0).all()


@pytest.mark.parametrize(
    ("choices", "message"),
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
        ({"seed": -1}, r"seed=-1 must be 0 or more"),
    ],
)
def test_invalid_choices_are_named_with_the_cure(choices, message):
    with pytest.raises(ValueError, match=message):
        PairBatchSampler(PARALLEL, **{"batch_size": 8, **choices})


def test_all_invalid_choices_are_named_at_once():
    message = r"batch_size=-1.*monolingual_share=7.*level='x'.*languages has"
    with pytest.raises(ValueError, match=message):
        PairBatchSampler(PARALLEL, -1, 7, "x", languages=["xx"])


def test_one_language_may_be_a_plain_text():
    assert PairBatchSampler(PARALLEL, 5, 1.0, languages="a").languages == ("a",)


@pytest.mark.parametrize("first", [0, 1_000_000 - 2 * SCHEDULE_BLOCK])
def test_a_far_batch_is_the_one_that_stepping_there_gives(first):
    """In the second case the steps end a million steps ahead."""
    last = first + 2 * SCHEDULE_BLOCK  # two ends of a block are on the way
    sampler = PairBatchSampler(PARALLEL, 8, 0.5, seed=2)
    for step in range(first, last + 1):
        plan = sampler[step]
    assert_same_plan(PairBatchSampler(PARALLEL, 8, 0.5, seed=2)[last], plan)
