"""The languages of pairs, and corpora that go on without some of their pairs."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_ir.data.availability import Availability

PAIRS = 30
LANGUAGES = 3


def draw_availability(rng: np.random.Generator) -> tuple[Availability, np.ndarray, np.ndarray]:
    """Draws languages of pairs in runs, and returns them as booleans (P, L) beside the object."""
    queries_PL = np.repeat(rng.random((PAIRS // 5, LANGUAGES)) < 0.6, 5, axis=0)
    passages_PL = np.repeat(rng.random((PAIRS // 5, LANGUAGES)) < 0.6, 5, axis=0)
    availability = Availability.from_bits(
        np.packbits(queries_PL, axis=1), np.packbits(passages_PL, axis=1), LANGUAGES
    )
    return availability, queries_PL, passages_PL


@given(
    seed=st.integers(0, 10**6),
    first=st.sets(st.integers(0, PAIRS - 1)),
    second=st.sets(st.integers(0, PAIRS - 1)),
)
@settings(max_examples=100, deadline=None)
def test_pairs_that_are_left_out_are_gone_and_the_others_stay_as_they_are(seed, first, second):
    availability, queries_PL, passages_PL = draw_availability(np.random.default_rng(seed))
    for left_out in (first, second):
        availability = availability.without_rows(np.array(sorted(left_out), np.int64))
    kept = np.array(sorted(set(range(PAIRS)) - first - second), np.int64)
    rows = availability.select_rows(np.ones(len(availability.starts_R), bool))
    assert [int(rows[np.array([place])][0]) for place in range(len(rows))] == kept.tolist()
    if len(kept):
        shown_queries, shown_passages = availability.get_languages_of_pairs(kept)
        np.testing.assert_array_equal(shown_queries, queries_PL[kept])
        np.testing.assert_array_equal(shown_passages, passages_PL[kept])
    counted = availability.count_pairs()
    np.testing.assert_array_equal(counted[0], queries_PL[kept].sum(0))
    np.testing.assert_array_equal(counted[2], (queries_PL & passages_PL)[kept].sum(0))


def test_a_view_keeps_the_pairs_that_are_left_out():
    availability, _, _ = draw_availability(np.random.default_rng(1))
    view = availability.without_rows(np.array([3, 29])).view(np.array([1, -1]))
    rows = view.select_rows(np.ones(len(view.starts_R), bool))
    assert len(rows) == PAIRS - 2
