"""The top of the rankings against sorting everything, the languages in it, and TREC files."""

from collections.abc import Iterable
from dataclasses import replace
from itertools import permutations
from urllib.parse import unquote

import numpy as np
import pytest
import pytrec_eval
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_ir.evaluation import block_counter
from hybrid_ir.evaluation.top_k import TopK, quote_blanks, write_trec_runs
from hybrid_ir.types import Benchmark
from tests.support.vector_benchmarks import (
    PASSAGES,
    compute_all_scores,
    create_counter,
    random_problem,
)


def fill_tops(
    tops: Iterable[TopK],
    benchmark: Benchmark,
    queries_QD: torch.Tensor,
    passages_ND: torch.Tensor,
    order: np.ndarray,
) -> None:
    """Lets tops see all passages in an order, in three batches."""
    counter = create_counter(benchmark, queries_QD, passages_ND, listeners=tuple(tops))
    for rows in np.array_split(order, 3):
        counter.add(rows, passages_ND[torch.from_numpy(rows)], benchmark.passage_languages[rows])
        counter.sums()


@given(st.integers(0, 10**6), st.integers(1, 45), st.booleans())
@settings(max_examples=40, deadline=None)
def test_the_top_is_that_of_a_sort(seed, depth, with_ties):
    benchmark, queries, passages = random_problem(seed, with_ties=with_ties)
    all_languages = TopK(len(queries), depth)
    own_language = TopK(len(queries), depth, benchmark.query_languages)
    order = np.random.default_rng(seed).permutation(PASSAGES)
    fill_tops([all_languages, own_language], benchmark, queries, passages, order)
    scores = np.round((queries.double() @ passages.double().T).numpy(), 12)
    for query, query_language in enumerate(benchmark.query_languages):
        sorted_rows = np.lexsort((np.arange(PASSAGES), -scores[query]))
        sorted_languages = benchmark.passage_languages[sorted_rows]
        require_top(all_languages.rows_QK[query], sorted_rows, depth)
        require_top(all_languages.languages_QK[query], sorted_languages, depth)
        own_rows = sorted_rows[sorted_languages == query_language]
        require_top(own_language.rows_QK[query], own_rows, depth)


@given(
    st.integers(0, 10**6),
    st.sampled_from([1, 3, 40]),
    st.integers(1, 90),
    st.booleans(),
    st.sampled_from([48, 400]),
)
@settings(max_examples=40, deadline=None)
def test_the_top_of_many_equal_passages_is_that_of_a_sort(seed, depth, distinct, is_near, at_once):
    """Equals that are crowded out, groups of which one score is sorted, and blocks of passages."""
    rng = np.random.default_rng(seed)
    benchmark, queries, passages = random_problem(seed, passages=300, with_ties=False)
    passages = passages[torch.from_numpy(rng.integers(0, distinct, 300))]
    if is_near:  # all scores within the margin of float32
        passages = passages[:1] + 1e-7 * passages
    top = TopK(len(queries), depth)
    own_language = TopK(len(queries), depth, benchmark.query_languages)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(block_counter, "PASSAGES_AT_ONCE", at_once)
        fill_tops([top, own_language], benchmark, queries, passages, rng.permutation(300))
    scores = torch.from_numpy(compute_all_scores(queries, passages)).round(decimals=12).numpy()
    for query, query_language in enumerate(benchmark.query_languages):
        rows = np.lexsort((np.arange(300), -scores[query]))
        require_top(top.rows_QK[query], rows, depth)
        own_rows = rows[benchmark.passage_languages[rows] == query_language]
        require_top(own_language.rows_QK[query], own_rows, depth)
        assert top.scores_QK[query].tolist() == scores[query, rows[:depth]].tolist()


def require_top(kept_K: torch.Tensor, expected: np.ndarray, depth: int) -> None:
    """Asserts that the first values are kept, and that -1 fills what is left of the depth."""
    filling = [-1] * max(0, depth - len(expected))
    assert kept_K.tolist() == expected[:depth].tolist() + filling


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=6),
    st.integers(1, 7),
)
@settings(max_examples=60, deadline=None)
def test_ties_at_the_edge_share_the_places_that_are_left(pool, k):
    """The shares are the mean over all orders of the tied passages."""
    scores = np.array([score for score, _ in pool], float)
    languages = np.array([language for _, language in pool])
    top = TopK(1, 12)
    for language in range(3):
        rows = np.flatnonzero(languages == language)
        if len(rows):
            top.take(0, torch.from_numpy(scores[rows])[None], torch.from_numpy(rows), language)
    shares = []
    for order in permutations(range(len(pool))):
        order = list(order)
        if (np.diff(scores[order]) <= 0).all():
            counts = np.bincount(languages[order[:k]], minlength=3)
            shares.append(counts / min(k, len(pool)))
    np.testing.assert_allclose(top.compute_language_shares(k, 3)[0], np.mean(shares, 0), atol=1e-12)


@pytest.mark.parametrize(
    ("k", "expected"), [(1, [1, 0]), (2, [0.5, 0.5]), (3, [2 / 3, 1 / 3]), (4, [2 / 3, 1 / 3])]
)
def test_shares_count_no_more_places_than_are_filled(k, expected):
    """Three passages that do not tie; a query that found nothing has no shares."""
    top = TopK(2, k)
    top.take(1, torch.tensor([[0.9, 0.1]]), torch.tensor([4, 5]), 0)
    top.take(1, torch.tensor([[0.5]]), torch.tensor([2]), 1)
    shares_QL = top.compute_language_shares(k, 2)
    assert shares_QL[1] == pytest.approx(expected)
    assert np.isnan(shares_QL[0]).all()


@pytest.mark.parametrize("tied", range(10, 60))
def test_a_share_of_places_is_never_more_than_all(tied):
    """Tenths of places that are shared by 12 or 13 passages do not sum to exactly ten."""
    top = TopK(1, 64)
    top.take(0, torch.zeros(1, tied), torch.arange(tied), 0)
    assert top.compute_language_shares(10, 2)[0].tolist() == [pytest.approx(1), 0]
    assert top.compute_language_shares(10, 2).max() <= 1


def test_ids_with_blanks_are_one_word_each_and_stay_different():
    ids = ["a b", "a_b", "a\tb", "a%20b", "a\u00a0b", "ab", "100%"]
    words = [quote_blanks(name) for name in ids]
    assert len(set(words)) == len(ids)
    assert all(len(word.split()) == 1 for word in words)
    assert [unquote(word) for word in words] == ids


def test_run_files_are_read_by_pytrec_eval(tmp_path):
    benchmark, queries, passages = random_problem(3, queries=12, with_ties=False)
    grades = [np.arange(1.0, 1 + len(rows)) for rows in benchmark.relevant]
    benchmark = replace(benchmark, grades=grades)
    top = TopK(12, PASSAGES)
    fill_tops([top], benchmark, queries, passages, np.arange(PASSAGES))
    write_trec_runs({"multi": top}, benchmark, "made up", tmp_path)
    with open(tmp_path / "qrels.multi.trec") as file:
        qrels = pytrec_eval.parse_qrel(file)
    with open(tmp_path / "run.multi.trec") as file:
        run = pytrec_eval.parse_run(file)
    values = pytrec_eval.RelevanceEvaluator(qrels, {"map"}).evaluate(run)
    scores = (queries.double() @ passages.double().T).numpy()
    for query, rows in enumerate(benchmark.relevant):
        if len(rows) == 0:
            continue
        language = benchmark.languages[benchmark.query_languages[query]]
        query_id = f"{language}:{query // 2}:{query}"
        assert sorted(qrels[query_id].values()) == list(range(1, 1 + len(rows)))
        order = np.argsort(-scores[query]).tolist()
        ranks = np.sort([order.index(row) + 1 for row in rows])
        expected = (np.arange(1, len(rows) + 1) / ranks).mean()
        assert values[query_id]["map"] == pytest.approx(expected, abs=1e-6)
