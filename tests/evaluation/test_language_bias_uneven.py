"""Bias and geometry on uneven data: ties, queries with few or no relevant passages, and languages without any."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from hybrid_ir.evaluation.language_bias import NeighbourLanguages, compute_alignment, compute_uniformity
from hybrid_ir.evaluation.language_bias import (
    compute_diagonal_gap,
    compute_expected_ranks,
    compute_one_target,
    compute_peer,
    find_best_ranks,
    run_friedman_test,
)
from hybrid_ir.evaluation.rank_counter import rank_benchmark
from hybrid_ir.evaluation.rank_table import RankTable
from hybrid_ir.types import Benchmark
from tests.evaluation.test_rank_counter import LANGUAGES, brute_force, world


def uneven(
    seed: int, relevant: int = 12, without: int = -1
) -> tuple[Benchmark, RankTable, np.ndarray, np.ndarray]:
    """A world with ties, its scores, and the rank of every passage: of tied ones the mean. Nothing `without` is relevant."""
    benchmark, queries, passages = world(seed, queries=30)
    rng = np.random.default_rng(seed)
    answers = [np.sort(rng.choice(40, rng.integers(0, relevant), replace=False)) for _ in range(30)]
    answers = [rows[benchmark.passage_languages[rows] != without] for rows in answers]
    benchmark = replace(benchmark, relevant=answers)
    *_, scores_QN = brute_force(benchmark, queries, passages)
    return (
        benchmark,
        rank_benchmark(queries, passages, benchmark),
        scores_QN,
        stats.rankdata(-scores_QN, axis=1),
    )


SEEDS = given(st.integers(0, 10**6))


@SEEDS
@settings(max_examples=20, deadline=None)
def test_the_rank_of_a_tied_passage_is_the_mean_over_the_orders(seed):
    benchmark, table, _, ranks_QN = uneven(seed)
    ranks_QR, best_QL = compute_expected_ranks(table), find_best_ranks(table)
    for q, rows in enumerate(benchmark.relevant):
        assert (
            ranks_QR[q, : len(rows)].tolist() == ranks_QN[q, rows].tolist()
            and np.isnan(ranks_QR[q, len(rows) :]).all()
        )
        for code in range(3):
            mine = ranks_QN[q, rows[benchmark.passage_languages[rows] == code]]
            np.testing.assert_equal(best_QL[q, code], mine.min() if len(mine) else np.nan)


@given(st.integers(0, 10**6), st.integers(-1, 2))
@settings(max_examples=20, deadline=None)
def test_one_target_leaves_cells_without_relevant_passages_undefined(seed, without):
    benchmark, table, scores_QN, _ = uneven(seed, without=without)
    found: dict[tuple[int, int], list[float]] = {}
    for q, rows in enumerate(benchmark.relevant):
        for row in rows:
            pool = scores_QN[q, np.setdiff1d(np.arange(40), np.setdiff1d(rows, [row]))]
            first = (pool > scores_QN[q, row]).sum() + 1
            value = np.mean(1 / np.arange(first, first + (pool == scores_QN[q, row]).sum()))
            found.setdefault(
                (benchmark.query_languages[q], benchmark.passage_languages[row]), []
            ).append(value)
    expected = [[np.mean(found.get((i, j), [np.nan])) for j in range(3)] for i in range(3)]
    np.testing.assert_allclose(compute_one_target(table), expected, rtol=1e-10)
    assert without < 0 or np.isnan(compute_one_target(table)[:, without]).all()


@pytest.mark.parametrize("cells", [[[np.nan, 0.5], [0.5, np.nan]], [[0.5, np.nan], [np.nan, 0.5]]])
def test_no_gap_without_a_diagonal_or_without_a_rest(cells):
    assert np.isnan(compute_diagonal_gap(np.array(cells)))


@given(st.integers(0, 10**6), st.integers(4, 20))
@settings(max_examples=30, deadline=None)
def test_friedman_takes_the_best_passage_of_each_language_and_whole_queries(seed, relevant):
    """Of a language with one whole query there is no test."""
    benchmark, table, _, ranks_QN = uneven(seed, relevant)
    codes, blocks, left_out = benchmark.passage_languages, {code: [] for code in range(3)}, 0
    for q, rows in enumerate(benchmark.relevant):
        best = [ranks_QN[q, rows[codes[rows] == code]].min(initial=np.inf) for code in range(3)]
        if np.isinf(best).any():
            left_out += 1
        else:
            blocks[benchmark.query_languages[q]].append(best)
    found = run_friedman_test(table)
    if left_out == 30:
        assert "needs queries" in found["reason"]
        return
    assert (found["queries"], found["queries_left_out"]) == (30 - left_out, left_out)
    assert set(found["by_query_language"]) == {
        LANGUAGES[code] for code, rows in blocks.items() if len(rows) > 1
    }
    for code, language in enumerate(LANGUAGES):
        if len(blocks[code]) > 1 and np.ptp(blocks[code], axis=1).any():
            row, places = found["by_query_language"][language], stats.rankdata(blocks[code], axis=1)
            statistic, p = stats.friedmanchisquare(*np.array(blocks[code]).T)
            assert (row["queries"], row["statistic"], row["p"]) == (
                len(places),
                pytest.approx(statistic),
                pytest.approx(p),
            )
            assert row["mean_place"] == pytest.approx(
                dict(zip(LANGUAGES, places.mean(0), strict=True))
            )
    every = [row["kendalls_w"] for row in found["by_query_language"].values()]
    assert found["kendalls_w"] == pytest.approx(np.mean(every or [np.nan]), nan_ok=True)


@SEEDS
@settings(max_examples=20, deadline=None)
def test_peer_refuses_and_counts_queries_whose_p_would_be_a_constant(seed):
    """H from the F of a one-way analysis of variance: its between share of the total times n - 1."""
    benchmark, table, _, ranks_QN = uneven(seed, relevant=7)
    values = []
    for q, rows in enumerate(benchmark.relevant):
        groups = [ranks_QN[q, rows[benchmark.passage_languages[rows] == code]] for code in range(3)]
        groups = [group for group in groups if len(group)]
        if len(groups) < 2 or max(map(len, groups)) < 2:
            continue
        within, n = sum(((group - group.mean()) ** 2).sum() for group in groups), len(rows)
        total = n * np.var(ranks_QN[q, rows])
        values.append(
            stats.chi2.sf((n - 1) * (1 - within / total), len(groups) - 1) if total else 1.0
        )
    found = compute_peer(table)
    if values:
        assert found["peer"] == pytest.approx(np.mean(values))
        assert (found["queries"], found["queries_refused"]) == (len(values), 30 - len(values))
    else:
        assert "constant" in found["reason"]


@SEEDS
@settings(max_examples=20, deadline=None)
def test_alignment_counts_each_pair_once_and_nothing_else(seed):
    benchmark, table, scores_QN, _ = uneven(seed)
    pairs = [(q, row) for q, rows in enumerate(benchmark.relevant) for row in rows]
    distances = np.array([2 - 2 * scores_QN[pair] for pair in pairs])
    same = np.array(
        [benchmark.query_languages[q] == benchmark.passage_languages[row] for q, row in pairs]
    )
    expected = {
        "same_language": distances[same].mean(),
        "other_language": distances[~same].mean(),
        "all": distances.mean(),
    }
    assert compute_alignment(table) == pytest.approx(expected)


def test_the_geometry_of_nothing_is_undefined():
    benchmark, queries, passages = world(1)
    nobody = replace(benchmark, relevant=[np.array([], int)] * 7)
    assert np.isnan(
        list(compute_alignment(rank_benchmark(queries, passages, nobody)).values())
    ).all()
    assert np.isnan(compute_uniformity(passages[:1])) and np.isfinite(
        compute_uniformity(passages[:2])
    )
    assert np.isnan(
        NeighbourLanguages(np.array([], int), passages[:0], np.array([], int)).same_language_share()
    )


def test_fewer_neighbours_than_wanted_are_all_counted():
    """Five passages have four neighbours each; of languages 0 0 0 1 1 two, two, two, one and one speak their own."""
    languages, passages = (
        np.array([0, 0, 0, 1, 1]),
        torch.from_numpy(np.random.default_rng(0).normal(size=(5, 4))),
    )
    passages = torch.nn.functional.normalize(passages, dim=1)
    found = NeighbourLanguages(np.arange(5), passages, languages)
    found.add(np.arange(5), passages, languages)
    assert found.same_language_share() == pytest.approx((2 + 2 + 2 + 1 + 1) / 4 / 5)
