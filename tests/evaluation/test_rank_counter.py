"""Counting ranks: the counts of a brute force, whatever the batches, their order and the shards."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_ir.evaluation import block_counter, exact_scores, rank_counter, sorted_rows
from hybrid_ir.evaluation.exact_scores import (
    bound_rounding_error,
    compute_paired_dots,
    find_first_equal,
)
from hybrid_ir.evaluation.rank_counter import RankCounter, rank_benchmark
from hybrid_ir.evaluation.rank_table import ALL_LANGUAGES, RankTable
from hybrid_ir.types import Benchmark, Source
from tests.support.vector_benchmarks import (
    LANGUAGES,
    PASSAGES,
    compute_all_scores,
    count_by_brute_force,
    create_counter,
    random_problem,
)

SEEDS = st.integers(0, 10**6)


def require_counts(
    table: RankTable, benchmark: Benchmark, queries_QD: torch.Tensor, passages_ND: torch.Tensor
) -> None:
    """Asserts that a table has the counts of a brute force."""
    above, tied = count_by_brute_force(benchmark, compute_all_scores(queries_QD, passages_ND))
    np.testing.assert_array_equal(table.above, above)
    np.testing.assert_array_equal(table.tied, tied)


def require_equal_tables(left: RankTable, right: RankTable) -> None:
    """Asserts that two tables are equal to the last bit."""
    for name in ("above", "tied", "relevant", "relevant_languages", "scores", "pool_sizes"):
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name), err_msg=name)


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.integers(1, 12), st.integers(6, 60), st.integers(1, 9), st.booleans())
def test_counts_are_those_of_a_brute_force(seed, queries, passages, width, with_ties):
    benchmark, queries_QD, passages_ND = random_problem(seed, queries, passages, width, with_ties)
    table = rank_benchmark(queries_QD, passages_ND, benchmark)
    require_counts(table, benchmark, queries_QD, passages_ND)


@settings(max_examples=20, deadline=None)
@given(
    SEEDS, st.sampled_from([2.0**20, 2.0**-20]), st.sampled_from(["queries", "passages", "both"])
)
def test_vectors_of_any_length_keep_their_counts(seed, factor, scaled):
    """Scaling by a power of two is exact, and rounding errors grow with the vectors."""
    benchmark, queries_QD, passages_ND = random_problem(seed, width=9)
    expected = rank_benchmark(queries_QD, passages_ND, benchmark)
    if scaled != "passages":
        queries_QD = factor * queries_QD
    if scaled != "queries":
        passages_ND = factor * passages_ND
    table = rank_benchmark(queries_QD, passages_ND, benchmark)
    np.testing.assert_array_equal(table.above, expected.above)
    np.testing.assert_array_equal(table.tied, expected.tied)


@settings(max_examples=15, deadline=None)
@given(SEEDS)
def test_passages_of_different_lengths_are_counted_exactly(seed):
    benchmark, queries_QD, passages_ND = random_problem(seed, queries=10, width=64)
    powers = np.random.default_rng(seed).integers(0, 3, PASSAGES)
    passages_ND = passages_ND * torch.from_numpy(2.0**powers).float()[:, None] * 64
    passages_ND[0] /= 2**12
    table = rank_benchmark(queries_QD * 1024, passages_ND, benchmark)
    require_counts(table, benchmark, queries_QD * 1024, passages_ND)


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.data())
def test_batching_order_and_shards_change_nothing(seed, data):
    benchmark, queries_QD, passages_ND = random_problem(seed)
    expected = rank_benchmark(queries_QD, passages_ND, benchmark)
    order = np.random.default_rng(data.draw(SEEDS)).permutation(PASSAGES)
    shards = data.draw(st.integers(1, 4))
    batch = data.draw(st.integers(1, PASSAGES + 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rank_counter, "QUERIES_AT_ONCE", data.draw(st.sampled_from([1, 3, 256])))
        patch.setattr(block_counter, "PASSAGES_AT_ONCE", data.draw(st.sampled_from([5, 13, 64])))
        patch.setattr(block_counter, "MOST_COMPARED", data.draw(st.sampled_from([0, 1, 8])))
        patch.setattr(sorted_rows, "COMPARED_AT_ONCE", data.draw(st.sampled_from([1, 50])))
        products_at_once = data.draw(st.sampled_from([1, 50]))
        patch.setattr(exact_scores, "PRODUCTS_AT_ONCE", products_at_once)
        counters = [create_counter(benchmark, queries_QD, passages_ND) for _ in range(shards)]
        for number, start in enumerate(range(0, PASSAGES, batch)):
            add_rows(
                counters[number % shards], order[start : start + batch], benchmark, passages_ND
            )
        for other in counters[1:]:
            for name, total in counters[0].sums().items():
                total += other.sums()[name]
        require_equal_tables(counters[0].table(), expected)


def add_rows(
    counter: RankCounter, rows: np.ndarray, benchmark: Benchmark, passages_ND: torch.Tensor
) -> None:
    """Has a counter count some passages at once, however few they are."""
    counter.add(rows, passages_ND[torch.from_numpy(rows)], benchmark.passage_languages[rows])
    counter.sums()


def test_passages_that_fill_several_batches_are_all_counted(monkeypatch):
    benchmark, queries_QD, passages_ND = random_problem(0)
    expected = rank_benchmark(queries_QD, passages_ND, benchmark)
    monkeypatch.setattr(rank_counter, "PASSAGES_PER_COUNT", 16)
    require_equal_tables(rank_benchmark(queries_QD, passages_ND, benchmark), expected)


@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_counts_of_all_passages_are_the_sum_of_the_shards(seed):
    benchmark, queries_QD, passages_ND = random_problem(seed)
    sums = []
    for rows in (np.arange(40), np.arange(13), np.arange(13, 40)):
        counter = create_counter(benchmark, queries_QD, passages_ND, temperature=0.1)
        add_rows(counter, rows, benchmark, passages_ND)
        sums.append(counter.sums())
    all_passages, first_shard, second_shard = sums
    for name, total in all_passages.items():
        torch.testing.assert_close(
            first_shard[name] + second_shard[name], total, rtol=1e-12, atol=1e-12, equal_nan=True
        )


@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_shuffling_the_corpus_and_renaming_languages_change_nothing(seed):
    benchmark, queries_QD, passages_ND = random_problem(seed)
    rng = np.random.default_rng(seed)
    order = rng.permutation(PASSAGES)  # new row i was order[i]
    new_code = rng.permutation(3)  # language l is now new_code[l]
    place = np.argsort(order)
    moved = Benchmark(
        languages=tuple(LANGUAGES[code] for code in np.argsort(new_code)),
        queries=benchmark.queries,
        query_languages=new_code[benchmark.query_languages],
        question_ids=benchmark.question_ids,
        passages=[benchmark.passages[row] for row in order],
        passage_languages=new_code[benchmark.passage_languages[order]],
        passage_ids=[benchmark.passage_ids[row] for row in order],
        relevant=[np.sort(place[rows]) for rows in benchmark.relevant],
        source=benchmark.source,
    )
    before = rank_benchmark(queries_QD, passages_ND, benchmark)
    after = rank_benchmark(queries_QD, passages_ND[torch.from_numpy(order)], moved)
    for query, rows in enumerate(benchmark.relevant):
        column = np.searchsorted(np.sort(place[rows]), place[rows])
        np.testing.assert_array_equal(before.above[query, : len(rows)], after.above[query, column])
        np.testing.assert_array_equal(before.tied[query, : len(rows)], after.tied[query, column])


def test_planted_duplicates_tie_and_a_passage_never_counts_itself():
    benchmark, queries_QD, passages_ND = random_problem(
        1, queries=50, passages=300, width=384, with_ties=False
    )
    assert rank_benchmark(queries_QD, passages_ND, benchmark).tied.sum() == 0
    relevant = np.unique(np.concatenate(benchmark.relevant))
    originals = [int(rows[0]) for rows in benchmark.relevant if len(rows)]
    copies = np.setdiff1d(np.arange(300), relevant)[: len(originals)]
    passages_ND[copies] = passages_ND[originals[: len(copies)]]
    table = rank_benchmark(queries_QD, passages_ND, benchmark)
    assert table.tied.sum() >= len(copies)
    require_counts(table, benchmark, queries_QD, passages_ND)


@pytest.mark.parametrize("width", [3, 384])
def test_one_unit_in_the_last_place_decides(width):
    benchmark, queries_QD, passages_ND = random_problem(
        2, queries=20, passages=60, width=width, with_ties=False
    )
    passages_ND[:] = passages_ND[0]
    for row in range(60):  # a staircase of neighbours
        for _ in range(row % 7):
            neighbour = torch.nextafter(passages_ND[row, row % 3], torch.tensor(2.0))
            passages_ND[row, row % 3] = neighbour
    table = rank_benchmark(queries_QD, passages_ND, benchmark)
    require_counts(table, benchmark, queries_QD, passages_ND)
    exact = [float(compute_fraction(queries_QD[0], passage)) for passage in passages_ND]
    scores = compute_all_scores(queries_QD, passages_ND)[0]
    np.testing.assert_array_equal(
        np.argsort(exact, kind="stable"), np.argsort(scores, kind="stable")
    )


def compute_fraction(left_D: torch.Tensor, right_D: torch.Tensor) -> Fraction:
    """The dot product without any rounding."""
    total = Fraction(0)
    for left, right in zip(left_D.tolist(), right_D.tolist(), strict=True):
        total += Fraction(left) * Fraction(right)
    return total


def test_a_collapsed_model_ties_with_everything():
    benchmark, queries_QD, passages_ND = random_problem(3)
    table = rank_benchmark(queries_QD, torch.ones_like(passages_ND), benchmark)
    is_present = table.relevant >= 0
    assert table.above.sum() == 0
    assert (table.tied[is_present, ALL_LANGUAGES] == PASSAGES - 1).all()


@pytest.mark.parametrize("zero", ["queries", "passages", "one query"])
def test_zero_vectors_tie_and_are_not_above_all(zero):
    """A mean that is subtracted from its only vector leaves a zero vector."""
    benchmark, queries_QD, passages_ND = random_problem(3)
    if zero == "queries":
        queries_QD.zero_()
    elif zero == "passages":
        passages_ND.zero_()
    else:
        queries_QD[0].zero_()
    table = rank_benchmark(queries_QD, passages_ND, benchmark)
    require_counts(table, benchmark, queries_QD, passages_ND)


@given(SEEDS, st.integers(1, 200))
@settings(max_examples=30, deadline=None)
def test_paired_dots_are_exact_and_do_not_depend_on_their_neighbours(seed, width):
    rng = np.random.default_rng(seed)
    left, right = torch.from_numpy(rng.normal(size=(2, 9, width)).astype(np.float32))
    rows = torch.arange(9)
    together = compute_paired_dots(left, right, rows, rows)
    for row in range(9):
        alone = compute_paired_dots(left, right, rows[row, None], rows[row, None])
        assert together[row].item() == alone.item()
        exact = math.fsum((left[row].double() * right[row].double()).tolist())
        bound = bound_rounding_error(width) * left[row].norm() * right[row].norm()
        assert abs(together[row].item() - exact) <= bound


@given(st.lists(st.tuples(st.integers(-2, 2), st.integers(-2, 2)), min_size=1, max_size=12))
@settings(max_examples=50, deadline=None)
def test_equal_vectors_find_their_first(rows):
    vectors = torch.tensor(rows, dtype=torch.float64)
    assert find_first_equal(vectors).tolist() == [rows.index(row) for row in rows]


def test_different_vectors_with_one_signature_stand_for_themselves():
    vectors = torch.tensor([[2.0, 0, 0, 0], [0, 0, 0, 1]])
    assert find_first_equal(vectors).tolist() == [0, 1]


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.sampled_from([0.02, 0.05, 1.0]))
def test_losses_are_infonce_of_each_relevant_passage_against_the_rest(seed, temperature):
    benchmark, queries_QD, passages_ND = random_problem(seed)
    logits_QN = compute_all_scores(queries_QD, passages_ND) / temperature
    losses = rank_benchmark(queries_QD, passages_ND, benchmark, temperature).losses
    for query, rows in enumerate(benchmark.relevant):
        if len(rows) == 0:
            assert np.isnan(losses[query])
            continue
        others = np.delete(logits_QN[query], rows)
        expected = []
        for row in rows:
            logit = logits_QN[query, row]
            expected.append(np.logaddexp.reduce([logit, *others]) - logit)
        assert math.isclose(losses[query], np.mean(expected), rel_tol=1e-9, abs_tol=1e-12)


@pytest.mark.parametrize("temperature", [0.005, 0.05, 1.0])
def test_the_loss_of_three_passages_by_hand(temperature):
    benchmark = Benchmark(
        languages=("a",),
        queries=["q"],
        query_languages=np.zeros(1, int),
        question_ids=["0"],
        passages=list("abc"),
        passage_languages=np.zeros(3, int),
        passage_ids=list("abc"),
        relevant=[np.array([2])],
        source=Source("made", "", "", ""),
    )
    query = torch.tensor([[1.0, 0]])
    passages = F.normalize(torch.tensor([[0.99, 0.1], [0.98, 0.2], [-1, 0.1]]), dim=1)
    logits = (query.double() @ passages.double().T)[0] / temperature
    expected = float(logits.logsumexp(0) - logits[2])
    losses = rank_benchmark(query, passages, benchmark, temperature).losses
    assert losses[0] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("what", ["query", "passage"])
def test_non_finite_embeddings_are_refused_with_their_first_row(what, value):
    benchmark, queries_QD, passages_ND = random_problem(4)
    vectors = queries_QD if what == "query" else passages_ND
    vectors[[5, 6], 2] = value
    with pytest.raises(ValueError, match=r"embeddings hold NaN or infinity, first at row [56]"):
        rank_benchmark(queries_QD, passages_ND, benchmark)


def test_the_first_bad_vector_is_named_by_its_row_in_the_corpus():
    benchmark, queries_QD, passages_ND = random_problem(0)
    counter = create_counter(benchmark, queries_QD, passages_ND)
    broken = passages_ND.clone()
    broken[34] = torch.nan
    with pytest.raises(ValueError, match="first at row 34"):
        counter.add(np.arange(30, 40), broken[30:], benchmark.passage_languages[30:])


def test_forgotten_and_repeated_passages_are_refused():
    benchmark, queries_QD, passages_ND = random_problem(5)
    counter = create_counter(benchmark, queries_QD, passages_ND)
    with pytest.raises(ValueError, match=r"not added exactly once, first row \d+ \(0 times\)"):
        counter.table()
    for _ in range(2):
        counter.add(range(PASSAGES), passages_ND, benchmark.passage_languages)
    with pytest.raises(ValueError, match=r"\(2 times\)"):
        counter.table()


def test_missing_embeddings_are_refused():
    benchmark, queries_QD, passages_ND = random_problem(6)
    with pytest.raises(ValueError, match="39 embeddings for the 40 passages"):
        rank_benchmark(queries_QD, passages_ND[:-1], benchmark)
    with pytest.raises(ValueError, match="6 query embeddings for the 7 queries"):
        rank_benchmark(queries_QD[:-1], passages_ND, benchmark)
