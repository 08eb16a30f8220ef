"""Orders and rows: what is computed where it is looked at is what a whole table would say."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from hybrid_ir.data import row_streams
from hybrid_ir.data.availability import Availability, order_by_languages
from hybrid_ir.data.row_streams import Permutation


@pytest.fixture(autouse=True, scope="module")
def _computed_however_small():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_streams, "EXACT", 0)
        patch.setattr(row_streams, "AHEAD", 7)
        yield


@given(size=st.integers(1, 3000), seed=st.integers(0, 2**40), data=st.data())
@settings(deadline=None)
def test_an_order_has_every_row_once_and_any_part_of_it_is_the_same(size, seed, data):
    whole = Permutation([seed, 1], size)[0:size]
    assert sorted(whole) == list(range(size))
    asked = Permutation([seed, 1], size)
    for _ in range(5):
        start = data.draw(st.integers(0, size))
        stop = data.draw(st.integers(start, size))
        assert asked[start:stop].tolist() == whole[start:stop].tolist()


def test_orders_look_drawn_by_chance():
    size = 40_000_000
    found = np.concatenate([Permutation([seed, 1], size)[0:4000] for seed in range(50)])
    for bins in (7, 64, 1000):
        assert chisquare(np.bincount(found * bins // size, minlength=bins)).pvalue > 1e-4
        assert chisquare(np.bincount(found % bins, minlength=bins)).pvalue > 1e-3 or size % bins
    steps = np.diff(found.reshape(50, -1), axis=1).ravel() % size
    assert chisquare(np.bincount(steps * 100 // size, minlength=100)).pvalue > 1e-4
    assert (
        len(np.unique(found)) > 0.99 * len(found)
        and len({tuple(Permutation([7, i], 10)[0:10]) for i in range(50)}) > 45
    )


@given(
    st.lists(st.tuples(*[st.booleans()] * 6), min_size=1, max_size=60),
    st.tuples(*[st.booleans()] * 6),
)
def test_runs_say_of_any_pair_what_a_table_would(table, asked):
    table = np.array(table)
    for order_P in (np.arange(len(table)), None):
        bits = [np.packbits(side, axis=1) for side in (table[:, :3], table[:, 3:])]
        order_P = order_by_languages(*bits) if order_P is None else order_P
        runs = Availability.of(*(side[order_P] for side in bits), 3)
        queries, passages = runs.of_pairs(np.arange(len(table)))
        assert (np.concatenate([queries, passages], 1) == table[order_P]).all()
        chosen_R = (np.concatenate([runs.queries_RL, runs.passages_RL], 1) == asked).any(1)
        rows = runs.rows(chosen_R)
        expected = np.flatnonzero((table[order_P] == asked).any(1))
        assert (
            len(rows) == len(expected) and rows[np.arange(len(rows))].tolist() == expected.tolist()
        )
    assert len(runs.starts_R) == len(
        np.unique(table, axis=0)
    )  # sorted: one run for each set of languages
