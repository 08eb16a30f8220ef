"""Counting in float32 with a bound: the counts of float64 for vectors of any kind."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_ir.evaluation import block_counter, passage_batch, rank_counter
from hybrid_ir.evaluation.passage_batch import (
    PassageBatch,
    bound_product_error,
    cut_dimensions,
    multiplies_in_float32,
)
from hybrid_ir.evaluation.rank_counter import rank_benchmark
from hybrid_ir.evaluation.sorted_rows import NO_GROUP, count_higher_and_equal, search_rows
from hybrid_ir.types import Benchmark
from tests.support.vector_benchmarks import (
    compute_all_scores,
    count_by_brute_force,
    random_benchmark,
    random_problem,
    random_relevant,
)

SEEDS = st.integers(0, 10**6)
SUBNORMAL = 1e-42  # in float32


def collapse(vectors: torch.Tensor, _) -> torch.Tensor:
    return vectors[:1].repeat(len(vectors), 1)


def nearly_collapse(vectors: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """All vectors within a few units in the last place of one."""
    collapsed = collapse(vectors, rng)
    steps = torch.from_numpy(rng.integers(-3, 4, vectors.shape).astype(np.float32))
    return collapsed * (1 + steps * 2.0**-23)


def repeat(vectors: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    return vectors[torch.from_numpy(rng.integers(0, 3, len(vectors)))]


def stretch(vectors: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Lengths from 1e-30 to 1e30, as dot products of a diverged model have them."""
    powers = rng.integers(-100, 100, len(vectors))
    return vectors * torch.from_numpy(2.0**powers).float()[:, None]


def round_coarsely(vectors: torch.Tensor, _) -> torch.Tensor:
    """Few distinct numbers: many exact ties of different vectors."""
    return (2 * vectors).round()


SHAPES = {
    "as they are": lambda vectors, _: vectors,
    "collapsed": collapse,
    "nearly collapsed": nearly_collapse,
    "repeated": repeat,
    "of any length": stretch,
    "huge": lambda vectors, _: vectors * 1e30,
    "subnormal": lambda vectors, _: vectors * SUBNORMAL,
    "zero": lambda vectors, _: vectors * 0,
    "of few numbers": round_coarsely,
    "float64": lambda vectors, rng: vectors.double() * (1 + 1e-9 * rng.normal()),
}


def build_problem(
    seed: int, width: int, most: int
) -> tuple[Benchmark, torch.Tensor, torch.Tensor, np.random.Generator]:
    """A benchmark with up to `most` relevant passages a query, and random vectors."""
    rng = np.random.default_rng(seed)
    benchmark = random_benchmark(rng, 6, 50, random_relevant(rng, 6, 50, most))
    queries_QD = torch.from_numpy(rng.normal(size=(6, width)).astype(np.float32))
    passages_ND = torch.from_numpy(rng.normal(size=(50, width)).astype(np.float32))
    return benchmark, queries_QD, passages_ND, rng


def require_counts_of_float64(benchmark, queries_QD, passages_ND) -> None:
    table = rank_benchmark(queries_QD, passages_ND, benchmark)
    above, tied = count_by_brute_force(benchmark, compute_all_scores(queries_QD, passages_ND))
    np.testing.assert_array_equal(table.above, above)
    np.testing.assert_array_equal(table.tied, tied)


@settings(max_examples=150, deadline=None)
@given(
    SEEDS,
    st.sampled_from(sorted(SHAPES)),
    st.sampled_from(sorted(SHAPES)),
    st.sampled_from([1, 2, 7, 130, 300]),
    st.sampled_from([3, 45]),
    st.booleans(),
)
def test_any_vectors_get_the_counts_of_float64(
    seed, shape_of_queries, shape_of_passages, width, most, may_start_again
):
    benchmark, queries_QD, passages_ND, rng = build_problem(seed, width, most)
    queries_QD = SHAPES[shape_of_queries](queries_QD, rng)
    passages_ND = SHAPES[shape_of_passages](passages_ND, rng)
    with pytest.MonkeyPatch.context() as patch:
        if may_start_again:
            patch.setattr(block_counter, "FEWEST_DOUBTFUL", 0)
        else:
            patch.setattr(block_counter, "LARGEST_DOUBTFUL_SHARE", 1.0)
        require_counts_of_float64(benchmark, queries_QD, passages_ND)


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.sampled_from(sorted(SHAPES)))
def test_a_query_that_is_a_passage_does_not_count_itself(seed, shape):
    benchmark, queries_QD, passages_ND, rng = build_problem(seed, 9, 20)
    passages_ND = SHAPES[shape](passages_ND, rng)
    own_rows = np.full(6, -1)
    for query in range(5):
        own_rows[query] = np.setdiff1d(np.arange(50), benchmark.relevant[query])[0]
    scores_QN = compute_all_scores(queries_QD, passages_ND)
    scores_QN[np.arange(5), own_rows[:5]] = -np.inf
    above, tied = count_by_brute_force(benchmark, scores_QN)
    benchmark = replace(benchmark, own_passages=own_rows)
    table = rank_benchmark(queries_QD, passages_ND, benchmark)
    np.testing.assert_array_equal(table.above, above)
    np.testing.assert_array_equal(table.tied, tied)


@settings(max_examples=40, deadline=None)
@given(
    SEEDS,
    st.sampled_from([1, 5, 128, 129, 500]),
    st.floats(-15, 15),
    st.sampled_from([1.0, 0.0, -1.0]),
)
def test_no_score_in_float32_is_further_off_than_its_bound(seed, width, exponent, sign):
    """Numbers of one sign lose the most bits, of both signs the most of the result."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(60, width)) * 2.0**exponent
    if sign:
        vectors = sign * np.abs(vectors)
    vectors_AD = torch.from_numpy(vectors).float()
    queries_QD = vectors_AD[:20]
    rows = torch.arange(40)
    batch = PassageBatch(rows, vectors_AD[20:], torch.zeros_like(rows))
    scores_QN = batch.score(cut_dimensions(queries_QD, torch.float32), 0, 40)
    exact_QN = torch.from_numpy(compute_all_scores(queries_QD, vectors_AD[20:]))
    margin_Q1 = batch.compute_margin(queries_QD, torch.float32)
    assert ((scores_QN.double() - exact_QN).abs() <= margin_Q1).all()
    assert bound_product_error(width) < 2e-5


def test_half_precision_that_someone_allows_changes_nothing():
    """Autocast is turned off, and where torch may multiply with fewer bits float64 is used."""
    benchmark, queries_QD, passages_ND = random_problem(
        1, queries=70, passages=300, width=64, with_ties=False
    )
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        require_counts_of_float64(benchmark, queries_QD, passages_ND)
    finally:
        torch.set_float32_matmul_precision(before)
    with torch.autocast("cpu", torch.bfloat16):
        assert multiplies_in_float32(torch.device("cpu"))
        require_counts_of_float64(benchmark, queries_QD, passages_ND)


@pytest.mark.parametrize("is_inference", [True, False])
def test_threads_change_nothing_and_are_given_back(is_inference, monkeypatch):
    monkeypatch.setattr(rank_counter, "QUERIES_AT_ONCE", 2)
    benchmark, queries_QD, passages_ND = random_problem(2, queries=20)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        with torch.inference_mode(is_inference):
            require_counts_of_float64(benchmark, queries_QD, passages_ND)
        assert torch.get_num_threads() == 3
        monkeypatch.setattr(passage_batch.PassageBatch, "score", fail)
        with pytest.raises(ArithmeticError, match="in a thread"):
            rank_benchmark(queries_QD, passages_ND, benchmark)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)


def fail(*_) -> None:
    raise ArithmeticError("in a thread")


@given(
    st.lists(st.lists(st.integers(0, 4), min_size=5, max_size=5), min_size=1, max_size=6),
    st.integers(-1, 5),
    st.integers(0, 5),
    st.integers(0, 5),
)
@settings(max_examples=60, deadline=None)
def test_parts_of_rows_are_searched_as_numpy_does(rows, value, low, length):
    sorted_QT = torch.tensor(rows).sort(1).values
    high = min(5, low + length)
    row_P = torch.arange(len(rows))
    value_P = torch.full_like(row_P, value)
    low_P = torch.full_like(row_P, low)
    high_P = torch.full_like(row_P, high)
    for side in ("left", "right"):
        places = search_rows(sorted_QT, row_P, value_P, low_P, high_P, right=side == "right")
        for row, place in itertools.zip_longest(sorted_QT.numpy(), places.tolist()):
            assert place == low + np.searchsorted(row[low:high], value, side)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(NO_GROUP, 2)), min_size=1, max_size=9))
@settings(max_examples=60, deadline=None)
def test_higher_and_equal_values_of_a_group_are_counted(row):
    values_QR = torch.tensor([[float(value) for value, _ in row]])
    groups_QR = torch.tensor([[group for _, group in row]])
    higher_QR, equal_QR = count_higher_and_equal(values_QR, groups_QR)
    for place, (value, group) in enumerate(row):
        others = [other for other, other_group in row if other_group == group]
        if group == NO_GROUP:
            others = [value]
        assert higher_QR[0, place] == sum(other > value for other in others)
        assert equal_QR[0, place] == others.count(value) - 1


def test_thousands_of_relevant_passages_are_counted():
    rng = np.random.default_rng(0)
    relevant = [np.sort(rng.choice(6000, size, replace=False)) for size in (3000, 0, 5999)]
    benchmark = random_benchmark(rng, 3, 6000, relevant)
    queries_QD = F.normalize(torch.from_numpy(rng.normal(size=(3, 8))).float(), dim=1)
    passages_ND = F.normalize(torch.from_numpy(rng.normal(size=(6000, 8))).float(), dim=1)
    passages_ND[3000:] = passages_ND[:3000]
    table = rank_benchmark(queries_QD, passages_ND, benchmark)
    scores_QN = compute_all_scores(queries_QD, passages_ND)
    for query, rows in enumerate(relevant):
        sorted_scores = np.sort(scores_QN[query])
        last = np.searchsorted(sorted_scores, scores_QN[query, rows], "right")
        first = np.searchsorted(sorted_scores, scores_QN[query, rows])
        np.testing.assert_array_equal(table.above[query, : len(rows), 1], 6000 - last)
        np.testing.assert_array_equal(table.tied[query, : len(rows), 1], last - first - 1)
