"""Ranking while texts are encoded: the same results as ranking all vectors at once."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_ir.evaluation.encoding import EncodedRows, mark_relevant
from hybrid_ir.evaluation.rank_counter import rank_benchmark
from hybrid_ir.evaluation.results import Results
from hybrid_ir.evaluation.streaming import StreamedRanking
from hybrid_ir.types import Benchmark
from tests.support.vector_benchmarks import PASSAGES, random_problem

SEEDS = st.integers(0, 999)


def ranked_in_chunks(
    benchmark: Benchmark,
    queries_QD: torch.Tensor,
    passages_ND: torch.Tensor,
    seed: int = 0,
    left_out: int = 0,
    **choices,
) -> StreamedRanking:
    """Streams all vectors in three chunks a stage, in random order; some can be left out."""
    rng = np.random.default_rng(seed)
    ranking = StreamedRanking(benchmark, **choices)
    is_relevant = mark_relevant(benchmark)
    rows_of_stage = {
        "queries": np.arange(len(queries_QD)),
        "relevant": np.flatnonzero(is_relevant),
        "others": np.flatnonzero(~is_relevant)[left_out:],
    }
    for stage, rows in rows_of_stage.items():
        vectors = queries_QD if stage == "queries" else passages_ND
        for part in np.array_split(rng.permutation(rows), 3):
            ranking.add(EncodedRows(stage, part, vectors[torch.from_numpy(part)]))
    return ranking


@given(seed=SEEDS)
@settings(max_examples=15, deadline=None)
def test_languages_at_the_top_are_those_of_each_query_language(seed):
    benchmark, queries, passages = random_problem(seed, queries=12, with_ties=False)
    ranking = ranked_in_chunks(benchmark, queries, passages, seed, with_geometry=True)
    mix_LL = ranking.results().geometry["language_mix@10"]
    scores = (queries.double() @ passages.double().T).numpy()
    top_rows = np.argsort(-scores, axis=1)[:, :10]
    for code in range(3):
        top_languages = benchmark.passage_languages[top_rows[benchmark.query_languages == code]]
        expected = [np.nan] * 3
        if len(top_languages):
            expected = [(top_languages == language).mean() for language in range(3)]
        np.testing.assert_allclose(mix_LL[code], expected)


@pytest.mark.parametrize("queries", [0, 7])
def test_a_benchmark_without_relevant_passages_is_refused(queries):
    benchmark, *_ = random_problem(1)
    nothing = replace(
        benchmark,
        queries=benchmark.queries[:queries],
        query_languages=benchmark.query_languages[:queries],
        question_ids=benchmark.question_ids[:queries],
        relevant=[np.zeros(0, np.int64)] * queries,
    )
    with pytest.raises(ValueError, match="no query has a relevant passage"):
        StreamedRanking(nothing)


@given(seed=SEEDS, order=SEEDS)
@settings(max_examples=20, deadline=None)
def test_order_and_chunks_do_not_matter(seed, order):
    benchmark, queries, passages = random_problem(seed, queries=12)
    table = rank_benchmark(queries, passages, benchmark, 0.05)
    expected = Results.from_table(table, benchmark)
    results = ranked_in_chunks(benchmark, queries, passages, order, temperature=0.05).results()
    np.testing.assert_array_equal(results.table.above, table.above)
    np.testing.assert_array_equal(results.table.tied, table.tied)
    assert results.summary() == pytest.approx(expected.summary(), abs=1e-12)
    assert results.loss == pytest.approx(float(np.nanmean(table.losses)), rel=1e-6)


def test_an_incomplete_pool_has_no_results():
    benchmark, queries, passages = random_problem(5)
    ranking = ranked_in_chunks(benchmark, queries, passages, left_out=3)
    message = f"{PASSAGES - 3} of {PASSAGES} passages were encoded; ranks need the whole pool"
    with pytest.raises(ValueError, match=message):
        ranking.results()


def test_a_passage_that_shares_a_chunk_with_its_relevant_twin_is_counted():
    """A group of equal texts, of which one is relevant, comes with the relevant passages."""
    benchmark, queries, passages = random_problem(5)
    is_relevant = mark_relevant(benchmark)
    relevant_row = int(np.flatnonzero(is_relevant)[0])
    twin = int(np.flatnonzero(~is_relevant)[0])
    passages[twin] = passages[relevant_row]
    with_twin = np.append(np.flatnonzero(is_relevant), twin)
    others = np.setdiff1d(np.arange(PASSAGES), with_twin)
    ranking = StreamedRanking(benchmark)
    ranking.add(EncodedRows("queries", np.arange(len(queries)), queries))
    ranking.add(EncodedRows("relevant", with_twin, passages[torch.from_numpy(with_twin)]))
    ranking.add(EncodedRows("others", others, passages[torch.from_numpy(others)]))
    results = ranking.results()
    table = rank_benchmark(queries, passages, benchmark)
    np.testing.assert_array_equal(results.table.above, table.above)
    np.testing.assert_array_equal(results.table.tied, table.tied)
