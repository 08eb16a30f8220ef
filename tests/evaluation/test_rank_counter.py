"""Counting ranks: the counts of a float64 brute force, whatever the batches, their order and the shards."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_ir.evaluation import exact_scores as exact
from hybrid_ir.evaluation import rank_counter as ranking
from hybrid_ir.evaluation import relevant_passages as relevant
from hybrid_ir.evaluation.exact_scores import (
    bound_rounding_error,
    compute_paired_dots,
    find_first_equal,
)
from hybrid_ir.evaluation.rank_counter import RankCounter, rank_benchmark
from hybrid_ir.evaluation.rank_table import EVERY, OWN
from hybrid_ir.evaluation.relevant_passages import list_relevant_rows, pad_rows
from hybrid_ir.types import Benchmark, Source

LANGUAGES = ("de", "en", "zh")


def world(seed: int, queries: int = 7, passages: int = 40, width: int = 5, kind: str = "mixed"):
    """A benchmark with its embeddings; `mixed` vectors repeat, and some are one unit in the last place apart."""
    rng = np.random.default_rng(seed)
    queries_QD = torch.from_numpy(rng.normal(size=(queries, width)).astype(np.float32))
    passages_ND = torch.from_numpy(rng.normal(size=(passages, width)).astype(np.float32))
    if kind == "mixed":
        passages_ND = passages_ND[
            torch.from_numpy(rng.integers(0, max(1, passages // 2), passages))
        ]
        queries_QD = queries_QD[torch.from_numpy(rng.integers(0, queries, queries))]
    queries_QD, passages_ND = (
        torch.nn.functional.normalize(v, dim=1) for v in (queries_QD, passages_ND)
    )
    if kind == "mixed":
        moved = torch.from_numpy(rng.random(passages) < 0.3)
        passages_ND[moved, 0] = torch.nextafter(passages_ND[moved, 0], torch.tensor(2.0))
    answers = [
        np.sort(rng.choice(passages, rng.integers(0, 6), replace=False)) for _ in range(queries)
    ]
    return benchmark_of(rng, queries, passages, answers), queries_QD, passages_ND


def benchmark_of(rng, queries: int, passages: int, relevant: list[np.ndarray]) -> Benchmark:
    return Benchmark(
        languages=LANGUAGES,
        queries=[f"q{i}" for i in range(queries)],
        query_languages=rng.integers(0, 3, queries),
        question_ids=[str(i // 2) for i in range(queries)],
        passages=[f"p{i}" for i in range(passages)],
        passage_languages=rng.integers(0, 3, passages),
        passage_ids=[f"p{i}" for i in range(passages)],
        relevant=relevant,
        source=Source("world", "", "", ""),
    )


def counter_of(benchmark, queries_QD, passages_ND, temperature=None) -> RankCounter:
    relevant_QR = pad_rows(benchmark.relevant)
    rows_U = list_relevant_rows(relevant_QR)
    return RankCounter(
        queries_QD,
        benchmark.query_languages,
        relevant_QR,
        passages_ND[rows_U],
        benchmark.passage_languages[rows_U],
        benchmark.languages,
        temperature,
    )


def fold(products: np.ndarray) -> np.ndarray:
    """The order of summation that the package promises, written again."""
    width = 1 << (products.shape[-1] - 1).bit_length()
    products = np.pad(products, [(0, 0)] * (products.ndim - 1) + [(0, width - products.shape[-1])])
    while products.shape[-1] > 1:
        products = (
            products[..., : products.shape[-1] // 2] + products[..., products.shape[-1] // 2 :]
        )
    return products[..., 0]


def brute_force(benchmark, queries_QD, passages_ND):
    scores_QN = fold(queries_QD.double().numpy()[:, None] * passages_ND.double().numpy()[None])
    shape = (*pad_rows(benchmark.relevant).shape, 2)
    above, tied = np.zeros(shape, int), np.zeros(shape, int)
    for q, rows in enumerate(benchmark.relevant):
        for r, row in enumerate(rows):
            own = benchmark.passage_languages == benchmark.passage_languages[row]
            for kind, pool in ((OWN, own), (EVERY, np.ones_like(own))):
                above[q, r, kind] = (scores_QN[q, pool] > scores_QN[q, row]).sum()
                pool[row] = False
                tied[q, r, kind] = (scores_QN[q, pool] == scores_QN[q, row]).sum()
    return above, tied, scores_QN


def same(left, right) -> bool:
    names = ("above", "tied", "relevant", "relevant_languages", "scores", "pool_sizes")
    return all(np.array_equal(getattr(left, name), getattr(right, name)) for name in names)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10**6), st.integers(1, 12), st.integers(6, 60), st.integers(1, 9), st.booleans()
)
def test_counts_are_those_of_a_brute_force(seed, queries, passages, width, mixed):
    benchmark, queries_QD, passages_ND = world(
        seed, queries, passages, width, "mixed" if mixed else "plain"
    )
    above, tied, _ = brute_force(benchmark, queries_QD, passages_ND)
    table = rank_benchmark(queries_QD, passages_ND, benchmark)
    assert np.array_equal(table.above, above) and np.array_equal(table.tied, tied)


@settings(max_examples=20, deadline=None)
@given(
    st.integers(0, 10**6),
    st.sampled_from([2.0**20, 2.0**-20]),
    st.sampled_from(["queries", "passages"]),
)
def test_vectors_of_any_length_keep_their_counts(seed, factor, longer):
    """Scaled by a power of two every score is exact again, and so is every rounding error: it grows with the vectors."""
    benchmark, queries_QD, passages_ND = world(seed, width=9)
    expected = rank_benchmark(queries_QD, passages_ND, benchmark)
    scaled = (
        (factor * queries_QD, passages_ND)
        if longer == "queries"
        else (queries_QD, factor * passages_ND)
    )
    table = rank_benchmark(*scaled, benchmark)
    assert np.array_equal(table.above, expected.above) and np.array_equal(table.tied, expected.tied)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.data())
def test_batching_order_and_shards_change_nothing(seed, data):
    benchmark, queries_QD, passages_ND = world(seed)
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    order, shards, batch = (
        rng.permutation(40),
        data.draw(st.integers(1, 4)),
        data.draw(st.integers(1, 41)),
    )
    expected = rank_benchmark(queries_QD, passages_ND, benchmark)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranking, "SCORES_AT_ONCE", data.draw(st.sampled_from([8, 50, 200])))
        patch.setattr(relevant, "BLOCK", data.draw(st.sampled_from([1, 50])))
        patch.setattr(exact, "CHUNK", data.draw(st.sampled_from([1, 50])))
        counters = sharded(benchmark, queries_QD, passages_ND, order, shards, batch)
        for other in counters[1:]:
            counters[0].merge(other)
        assert same(counters[0].table(), expected)


def sharded(
    benchmark, queries_QD, passages_ND, order, shards: int, batch: int
) -> list[RankCounter]:
    """Counters that saw the passages in this order, dealt out in batches."""
    counters = [counter_of(benchmark, queries_QD, passages_ND) for _ in range(shards)]
    for number, start in enumerate(range(0, 40, batch)):
        rows = order[start : start + batch]
        counters[number % shards].add(rows, passages_ND[rows], benchmark.passage_languages[rows])
        counters[
            number % shards
        ].sums()  # counts what waits, so that small batches are really small
    return counters


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_count_of_the_whole_is_the_sum_of_the_shards(seed):
    benchmark, queries_QD, passages_ND = world(seed)
    counters = [counter_of(benchmark, queries_QD, passages_ND, temperature=0.1) for _ in range(3)]
    for counter, rows in zip(counters, (range(40), range(13), range(13, 40)), strict=True):
        counter.add(list(rows), passages_ND[list(rows)], benchmark.passage_languages[list(rows)])
    whole, *parts = (counter.sums() for counter in counters)
    for name, total in whole.items():
        torch.testing.assert_close(
            parts[0][name] + parts[1][name], total, rtol=1e-12, atol=1e-12, equal_nan=True
        )


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_shuffling_the_corpus_and_renaming_languages_change_nothing(seed):
    benchmark, queries_QD, passages_ND = world(seed)
    rng = np.random.default_rng(seed)
    order, name = (
        rng.permutation(40),
        rng.permutation(3),
    )  # new row i was order[i]; language l is now name[l]
    place = np.argsort(order)
    moved = Benchmark(
        languages=tuple(LANGUAGES[i] for i in np.argsort(name)),
        queries=benchmark.queries,
        query_languages=name[benchmark.query_languages],
        question_ids=benchmark.question_ids,
        passages=[benchmark.passages[i] for i in order],
        passage_languages=name[benchmark.passage_languages[order]],
        passage_ids=[benchmark.passage_ids[i] for i in order],
        relevant=[np.sort(place[rows]) for rows in benchmark.relevant],
        source=benchmark.source,
    )
    before, after = (
        rank_benchmark(queries_QD, passages_ND, benchmark),
        rank_benchmark(queries_QD, passages_ND[order], moved),
    )
    for q, rows in enumerate(benchmark.relevant):
        column = np.searchsorted(np.sort(place[rows]), place[rows])
        assert np.array_equal(before.above[q, : len(rows)], after.above[q, column])
        assert np.array_equal(before.tied[q, : len(rows)], after.tied[q, column])


def test_planted_duplicates_tie_and_a_relevant_passage_never_counts_itself():
    benchmark, queries_QD, passages_ND = world(1, queries=50, passages=300, width=384, kind="plain")
    table = rank_benchmark(queries_QD, passages_ND, benchmark)
    assert table.tied.sum() == 0
    rows = [int(rows[0]) for rows in benchmark.relevant if len(rows)]
    taken = set(np.concatenate(benchmark.relevant).tolist())
    free = [row for row in range(300) if row not in taken][: len(rows)]
    passages_ND[free] = passages_ND[rows[: len(free)]]
    tied = rank_benchmark(queries_QD, passages_ND, benchmark).tied
    assert tied.sum() >= len(free) and np.array_equal(
        tied, brute_force(benchmark, queries_QD, passages_ND)[1]
    )


@pytest.mark.parametrize("width", [3, 384])
def test_one_unit_in_the_last_place_decides(width):
    benchmark, queries_QD, passages_ND = world(
        2, queries=20, passages=60, width=width, kind="plain"
    )
    passages_ND[:] = passages_ND[0]
    for row in range(60):  # a staircase of neighbours
        for _ in range(row % 7):
            passages_ND[row, row % 3] = torch.nextafter(
                passages_ND[row, row % 3], torch.tensor(2.0)
            )
    table = rank_benchmark(queries_QD, passages_ND, benchmark)
    above, tied, scores_QN = brute_force(benchmark, queries_QD, passages_ND)
    assert np.array_equal(table.above, above) and np.array_equal(table.tied, tied)
    exact = [
        sum(
            Fraction(a) * Fraction(b)
            for a, b in zip(queries_QD[0].tolist(), p.tolist(), strict=True)
        )
        for p in passages_ND
    ]
    assert np.array_equal(
        np.argsort([float(x) for x in exact], kind="stable"),
        np.argsort(scores_QN[0], kind="stable"),
    )


def test_a_collapsed_model_ties_with_everything():
    benchmark, queries_QD, passages_ND = world(3)
    table = rank_benchmark(queries_QD, torch.ones_like(passages_ND), benchmark)
    present = table.relevant >= 0
    assert table.above.sum() == 0 and (table.tied[present, EVERY] == 39).all()


@pytest.mark.parametrize("zero", ["queries", "passages", "one query"])
def test_zero_vectors_tie_and_are_not_above_all(zero):
    """A mean that is subtracted from its only vector leaves one."""
    benchmark, queries_QD, passages_ND = world(3)
    {"queries": queries_QD, "passages": passages_ND, "one query": queries_QD[:1]}[zero].zero_()
    table = rank_benchmark(queries_QD, passages_ND, benchmark)
    above, tied, _ = brute_force(benchmark, queries_QD, passages_ND)
    assert np.array_equal(table.above, above) and np.array_equal(table.tied, tied)


@given(st.integers(0, 10**6), st.integers(1, 200))
@settings(max_examples=30, deadline=None)
def test_paired_dots_are_exact_and_do_not_depend_on_their_neighbours(seed, width):
    rng = np.random.default_rng(seed)
    left, right = torch.from_numpy(rng.normal(size=(2, 9, width)).astype(np.float32))
    rows = torch.arange(9)
    together = compute_paired_dots(left, right, rows, rows)
    assert together.tolist() == [
        compute_paired_dots(left, right, row[None], row[None]).item() for row in rows
    ]
    for row in range(9):
        exact = math.fsum((left[row].double() * right[row].double()).tolist())
        assert (
            abs(together[row].item() - exact)
            <= bound_rounding_error(width) * left[row].norm() * right[row].norm()
        )


@given(st.lists(st.tuples(st.integers(-2, 2), st.integers(-2, 2)), min_size=1, max_size=12))
@settings(max_examples=50, deadline=None)
def test_equal_vectors_find_their_first(rows):
    vectors = torch.tensor(rows, dtype=torch.float64)
    assert find_first_equal(vectors).tolist() == [rows.index(row) for row in rows]
    # these two have the same signature, yet they differ
    assert find_first_equal(torch.tensor([[2.0, 0, 0, 0], [0, 0, 0, 1]])).tolist() == [0, 1]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.02, 0.05, 1.0]))
def test_losses_are_infonce_of_each_relevant_passage_against_the_rest(seed, temperature):
    benchmark, queries_QD, passages_ND = world(seed)
    scores_QN = brute_force(benchmark, queries_QD, passages_ND)[2] / temperature
    losses = rank_benchmark(queries_QD, passages_ND, benchmark, temperature).losses
    for q, rows in enumerate(benchmark.relevant):
        rest = np.delete(scores_QN[q], rows)
        expected = [
            np.logaddexp.reduce([scores_QN[q, row], *rest]) - scores_QN[q, row] for row in rows
        ]
        if len(rows):
            assert math.isclose(losses[q], np.mean(expected), rel_tol=1e-9, abs_tol=1e-12)
        else:
            assert np.isnan(losses[q])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("what", ["query", "passage"])
def test_non_finite_embeddings_are_refused_with_their_first_row(what, value):
    benchmark, queries_QD, passages_ND = world(4)
    (queries_QD if what == "query" else passages_ND)[[5, 6], 2] = value
    with pytest.raises(ValueError, match=r"embeddings hold NaN or infinity, first at row [56]"):
        rank_benchmark(queries_QD, passages_ND, benchmark)


def test_forgotten_and_repeated_passages_are_refused():
    benchmark, queries_QD, passages_ND = world(5)
    counter = counter_of(benchmark, queries_QD, passages_ND)
    with pytest.raises(ValueError, match=r"not added exactly once, first row \d+ \(0 times\)"):
        counter.table()
    for _ in range(2):
        counter.add(range(40), passages_ND, benchmark.passage_languages)
    with pytest.raises(ValueError, match=r"\(2 times\)"):
        counter.table()


def test_wrong_numbers_of_embeddings_are_refused():
    benchmark, queries_QD, passages_ND = world(6)
    with pytest.raises(ValueError, match="39 embeddings for the 40 passages"):
        rank_benchmark(queries_QD, passages_ND[:-1], benchmark)
    with pytest.raises(ValueError, match="6 query embeddings for the 7 queries"):
        rank_benchmark(queries_QD[:-1], passages_ND, benchmark)
