"""Orders and rows: what is computed where it is needed is what a whole table would say."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from hybrid_ir.data import row_streams
from hybrid_ir.data.availability import Availability, order_by_languages
from hybrid_ir.data.row_streams import Permutation

TABLES = st.lists(st.tuples(*[st.booleans()] * 6), min_size=1, max_size=60)
LARGE = 40_000_000


@pytest.fixture(autouse=True, scope="module")
def _short_permutations_are_computed_like_long_ones():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_streams, "LARGEST_DRAWN_SIZE", 0)
        patch.setattr(row_streams, "POSITIONS_AT_ONCE", 7)
        yield


@given(
    size=st.integers(1, 3000),
    seed=st.integers(0, 2**40),
    bounds=st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 3000)), max_size=5),
)
@settings(max_examples=100, deadline=None)
def test_an_order_has_every_row_once_and_any_part_of_it_is_the_same(size, seed, bounds):
    all_rows = Permutation([seed, 1], size)[0:size]
    assert sorted(all_rows) == list(range(size))
    order = Permutation([seed, 1], size)
    for bound, other_bound in bounds:
        start = min(bound, other_bound, size)
        stop = min(max(bound, other_bound), size)
        assert order[start:stop].tolist() == all_rows[start:stop].tolist()


@pytest.fixture(scope="module")
def elements() -> np.ndarray:
    """The first 4,000 elements of each of 50 large orders."""
    return np.stack([Permutation([seed, 1], LARGE)[0:4000] for seed in range(50)])


@pytest.mark.parametrize("bins", [7, 64, 1000])
def test_elements_look_drawn_at_random(elements, bins):
    high = np.bincount(elements.ravel() * bins // LARGE, minlength=bins)
    assert chisquare(high).pvalue > 1e-4
    low = np.bincount(elements.ravel() % bins, minlength=bins)
    assert chisquare(low).pvalue > 1e-4


def test_steps_from_one_element_to_the_next_look_drawn_at_random(elements):
    steps = np.diff(elements, axis=1).ravel() % LARGE
    assert chisquare(np.bincount(steps * 100 // LARGE, minlength=100)).pvalue > 1e-4


def test_orders_of_different_keys_differ(elements):
    assert len(np.unique(elements)) > 0.99 * elements.size
    assert len({tuple(Permutation([7, key], 10)[0:10]) for key in range(50)}) > 45


def pack_sides(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the languages of queries (3 columns) and of passages (3 columns) as bits."""
    return np.packbits(table[:, :3], axis=1), np.packbits(table[:, 3:], axis=1)


@pytest.mark.parametrize("is_sorted", [False, True])
@given(table=TABLES, searched=st.tuples(*[st.booleans()] * 6))
@settings(max_examples=100, deadline=None)
def test_runs_know_of_any_pair_what_a_table_would(is_sorted, table, searched):
    table = np.array(table)
    if is_sorted:
        table = table[order_by_languages(*pack_sides(table))]
    runs = Availability.from_bits(*pack_sides(table), 3)
    queries, passages = runs.get_languages_of_pairs(np.arange(len(table)))
    assert np.array_equal(np.concatenate([queries, passages], axis=1), table)

    runs_table = np.concatenate([runs.queries_RL, runs.passages_RL], axis=1)
    rows = runs.select_rows((runs_table == searched).any(1))
    expected = np.flatnonzero((table == searched).any(1))
    assert len(rows) == len(expected)
    assert rows[np.arange(len(rows))].tolist() == expected.tolist()


@given(table=TABLES)
@settings(max_examples=100, deadline=None)
def test_sorted_pairs_have_one_run_for_each_set_of_languages(table):
    table = np.array(table)
    order = order_by_languages(*pack_sides(table))
    runs = Availability.from_bits(*pack_sides(table[order]), 3)
    assert sorted(order) == list(range(len(table)))
    assert len(runs.starts_R) == len(np.unique(table, axis=0))
    for start, end in zip(runs.starts_R, runs.ends_R, strict=True):
        assert (np.diff(order[start:end]) > 0).all()  # equal ones keep their order
