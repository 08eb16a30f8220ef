"""Language bias on uneven data: ties, queries and languages with few relevant passages or none."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from hybrid_ir.evaluation.language_bias import (
    NeighbourLanguages,
    compute_alignment,
    compute_expected_own_language,
    compute_expected_ranks,
    compute_one_target,
    compute_peer,
    compute_uniformity,
    find_best_ranks,
    run_friedman_test,
)
from hybrid_ir.evaluation.rank_counter import rank_benchmark
from hybrid_ir.evaluation.rank_table import RankTable
from hybrid_ir.evaluation.results import Results
from hybrid_ir.types import Benchmark
from tests.support.vector_benchmarks import (
    LANGUAGES,
    PASSAGES,
    compute_all_scores,
    random_problem,
    random_relevant,
)

QUERIES = 30
SEEDS = st.integers(0, 10**6)


@dataclass
class UnevenProblem:
    """A benchmark with its ranks as they are counted, and as all scores give them."""

    benchmark: Benchmark
    table: RankTable
    scores_QN: np.ndarray
    ranks_QN: np.ndarray  # of every passage; tied ones have their mean rank

    def list_ranks_by_language(self, query: int) -> list[np.ndarray]:
        """The ranks of the relevant passages of a query in each language."""
        rows = self.benchmark.relevant[query]
        languages = self.benchmark.passage_languages[rows]
        return [self.ranks_QN[query, rows[languages == code]] for code in range(3)]


def uneven_problem(seed: int, most: int = 11, without: int | None = None) -> UnevenProblem:
    """Queries with up to `most` relevant passages; no passage of the language `without` is one."""
    benchmark, queries, passages = random_problem(seed, QUERIES)
    relevant = random_relevant(np.random.default_rng(seed), QUERIES, PASSAGES, most)
    if without is not None:
        relevant = [rows[benchmark.passage_languages[rows] != without] for rows in relevant]
    benchmark = replace(benchmark, relevant=relevant)
    scores_QN = compute_all_scores(queries, passages)
    return UnevenProblem(
        benchmark=benchmark,
        table=rank_benchmark(queries, passages, benchmark),
        scores_QN=scores_QN,
        ranks_QN=stats.rankdata(-scores_QN, axis=1),
    )


@given(SEEDS)
@settings(max_examples=10, deadline=None)
def test_the_rank_of_a_tied_passage_is_the_mean_over_the_orders(seed):
    problem = uneven_problem(seed)
    ranks_QR = compute_expected_ranks(problem.table)
    best_QL = find_best_ranks(problem.table)
    for query, rows in enumerate(problem.benchmark.relevant):
        expected = problem.ranks_QN[query, rows]
        np.testing.assert_array_equal(ranks_QR[query, : len(rows)], expected)
        assert np.isnan(ranks_QR[query, len(rows) :]).all()
        for code, ranks in enumerate(problem.list_ranks_by_language(query)):
            expected_best = ranks.min() if len(ranks) else np.nan
            np.testing.assert_equal(best_QL[query, code], expected_best)


@given(SEEDS, st.integers(0, 19), st.sampled_from([None, 0, 1, 2]))
@settings(max_examples=20, deadline=None)
def test_without_preference_the_best_answer_is_any_of_them(seed, most, without):
    """Where all scores tie, each measure is its mean over all orders of the answers."""
    benchmark = uneven_problem(seed, most, without).benchmark
    same_vectors = torch.ones(max(QUERIES, PASSAGES), 4) / 2
    table = rank_benchmark(same_vectors[:QUERIES], same_vectors[:PASSAGES], benchmark)

    expected = compute_expected_own_language(uneven_problem(seed, most, without).table)

    own_first = Results.from_table(table, benchmark).macro("multi")["lpr@1"]
    np.testing.assert_allclose(expected, own_first, rtol=1e-12)


@given(SEEDS, st.sampled_from([None, 0, 1, 2]))
@settings(max_examples=20, deadline=None)
def test_one_target_leaves_cells_without_relevant_passages_undefined(seed, without):
    problem = uneven_problem(seed, without=without)
    benchmark = problem.benchmark
    values: dict[tuple[int, int], list[float]] = {}
    for query, rows in enumerate(benchmark.relevant):
        others = np.setdiff1d(np.arange(PASSAGES), rows)
        for row in rows:
            score = problem.scores_QN[query, row]
            above = (problem.scores_QN[query, others] > score).sum()
            tied = (problem.scores_QN[query, others] == score).sum()
            value = np.mean(1 / np.arange(above + 1, above + tied + 2))
            cell = (benchmark.query_languages[query], benchmark.passage_languages[row])
            values.setdefault(cell, []).append(value)
    expected = np.full((3, 3), np.nan)
    for cell, cell_values in values.items():
        expected[cell] = np.mean(cell_values)
    cells = compute_one_target(problem.table)
    np.testing.assert_allclose(cells, expected, rtol=1e-10)
    if without is not None:
        assert np.isnan(cells[:, without]).all()


@given(SEEDS, st.integers(3, 19))
@settings(max_examples=30, deadline=None)
def test_friedman_takes_the_best_passages_of_queries_with_all_languages(seed, most):
    problem = uneven_problem(seed, most)
    best_ranks: dict[int, list[list[float]]] = {0: [], 1: [], 2: []}
    left_out = 0
    for query in range(QUERIES):
        best = [ranks.min(initial=np.inf) for ranks in problem.list_ranks_by_language(query)]
        if np.isinf(best).any():
            left_out += 1
        else:
            best_ranks[problem.benchmark.query_languages[query]].append(best)
    friedman = run_friedman_test(problem.table)
    if left_out == QUERIES:
        assert "needs queries" in friedman["reason"]
        return
    assert friedman["queries"] == QUERIES - left_out
    assert friedman["queries_left_out"] == left_out
    tests = friedman["by_query_language"]
    # there is no test of a language with a single query
    tested = [code for code, rows in best_ranks.items() if len(rows) > 1]
    assert set(tests) == {LANGUAGES[code] for code in tested}
    for code in tested:
        require_friedman(tests[LANGUAGES[code]], np.array(best_ranks[code]))
    values = [test["kendalls_w"] for test in tests.values()]
    expected = np.mean(values) if values else np.nan
    assert friedman["kendalls_w"] == pytest.approx(expected, nan_ok=True)


def require_friedman(test: dict, best_QL: np.ndarray) -> None:
    """Asserts that a test is scipy's, unless everything ties, of which scipy has none."""
    places = stats.rankdata(best_QL, axis=1)
    assert test["queries"] == len(best_QL)
    assert list(test["mean_place"].values()) == pytest.approx(places.mean(0).tolist())
    if np.ptp(best_QL, axis=1).any():
        statistic, p = stats.friedmanchisquare(*best_QL.T)
        assert test["statistic"] == pytest.approx(statistic)
        assert test["p"] == pytest.approx(p)


@given(SEEDS)
@settings(max_examples=12, deadline=None)
def test_peer_refuses_and_counts_queries_whose_p_would_be_a_constant(seed):
    """H comes from an analysis of variance: its share between groups times n - 1."""
    problem = uneven_problem(seed, most=6)
    values = []
    for query, rows in enumerate(problem.benchmark.relevant):
        groups = [ranks for ranks in problem.list_ranks_by_language(query) if len(ranks)]
        sizes = [len(group) for group in groups]
        if len(groups) < 2 or max(sizes) < 2:
            continue
        within = sum(len(group) * np.var(group) for group in groups)
        total = len(rows) * np.var(problem.ranks_QN[query, rows])
        p = 1.0
        if total:
            h = (len(rows) - 1) * (1 - within / total)
            p = stats.chi2.sf(h, len(groups) - 1)
        values.append(p)
    peer = compute_peer(problem.table)
    if values:
        assert peer["peer"] == pytest.approx(np.mean(values))
        assert peer["queries"] == len(values)
        assert peer["queries_refused"] == QUERIES - len(values)
    else:
        assert "constant" in peer["reason"]


@given(SEEDS)
@settings(max_examples=10, deadline=None)
def test_alignment_counts_each_pair_once_and_nothing_else(seed):
    problem = uneven_problem(seed)
    benchmark = problem.benchmark
    distances = []
    is_same_language = []
    for query, rows in enumerate(benchmark.relevant):
        distances.append(2 - 2 * problem.scores_QN[query, rows])
        query_language = benchmark.query_languages[query]
        is_same_language.append(benchmark.passage_languages[rows] == query_language)
    distances = np.concatenate(distances)
    is_same_language = np.concatenate(is_same_language)
    expected = {
        "same_language": distances[is_same_language].mean(),
        "other_language": distances[~is_same_language].mean(),
        "all": distances.mean(),
    }
    assert compute_alignment(problem.table) == pytest.approx(expected)


def test_the_geometry_of_nothing_is_undefined():
    benchmark, queries, passages = random_problem(1)
    no_rows = np.array([], int)
    nothing = replace(benchmark, relevant=[no_rows] * len(queries))
    alignment = compute_alignment(rank_benchmark(queries, passages, nothing))
    assert np.isnan(list(alignment.values())).all()
    assert np.isnan(compute_uniformity(passages[:1]))
    assert np.isfinite(compute_uniformity(passages[:2]))
    neighbours = NeighbourLanguages(no_rows, torch.empty(0, 5), no_rows)
    assert np.isnan(neighbours.compute_same_language_share())
