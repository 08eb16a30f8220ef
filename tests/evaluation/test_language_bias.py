"""Language bias: each measure against its definition, an oracle, or a ranking of a known bias."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from hybrid_ir.evaluation.language_bias import (
    NeighbourLanguages,
    compute_alignment,
    compute_diagonal_gap,
    compute_equal_rank_probability,
    compute_language_bias,
    compute_one_target,
    compute_peer,
    compute_uniformity,
    find_best_ranks,
    run_friedman_test,
    sample_rows,
)
from hybrid_ir.evaluation.rank_counter import rank_benchmark
from hybrid_ir.evaluation.rank_table import RankTable
from hybrid_ir.types import Benchmark
from tests.support.vector_benchmarks import (
    LANGUAGES,
    QUESTIONS,
    parallel_benchmark,
    random_vectors,
)

SEEDS = st.integers(0, 10**6)


def rank_randomly(benchmark: Benchmark, seed: int = 0) -> RankTable:
    """The ranks of random vectors."""
    queries, passages = random_vectors(benchmark, seed)
    return rank_benchmark(queries, passages, benchmark)


@given(SEEDS, st.booleans(), st.integers(1, 2))
@settings(max_examples=30, deadline=None)
def test_one_target_is_a_ranking_without_the_twins(seed, with_ties, per_language):
    benchmark = parallel_benchmark(per_language)
    queries, passages = random_vectors(benchmark, seed, with_ties)
    cells = compute_one_target(rank_benchmark(queries, passages, benchmark))
    scores = np.round((queries.double() @ passages.double().T).numpy(), 12)
    expected = np.zeros((3, 3))
    for query, rows in enumerate(benchmark.relevant):
        others = np.setdiff1d(np.arange(len(benchmark.passages)), rows)
        for row in rows:
            above = (scores[query, others] > scores[query, row]).sum()
            tied = (scores[query, others] == scores[query, row]).sum()
            value = (1 / np.arange(above + 1, above + tied + 2)).mean()
            cell = (benchmark.query_languages[query], benchmark.passage_languages[row])
            expected[cell] += value / (QUESTIONS * per_language)
    np.testing.assert_allclose(cells, expected, rtol=1e-10)


def test_the_gap_is_that_of_diagonal_and_rest():
    cells = np.array([[0.9, 0.3, np.nan], [0.2, 0.7, 0.1], [0.4, 0.2, np.nan]])
    assert compute_diagonal_gap(cells) == pytest.approx(0.8 - 0.24)
    assert np.isnan(compute_diagonal_gap(np.array([[1.0]])))


@pytest.mark.parametrize("cells", [[[np.nan, 0.5], [0.5, np.nan]], [[0.5, np.nan], [np.nan, 0.5]]])
def test_there_is_no_gap_without_a_diagonal_or_without_a_rest(cells):
    assert np.isnan(compute_diagonal_gap(np.array(cells)))


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_friedman_is_that_of_scipy(seed):
    benchmark = parallel_benchmark()
    table = rank_randomly(benchmark, seed)
    tests = run_friedman_test(table)["by_query_language"]
    best_QL = find_best_ranks(table)
    for code, language in enumerate(LANGUAGES):
        ranks = best_QL[benchmark.query_languages == code]
        statistic, p = stats.friedmanchisquare(*ranks.T)
        assert tests[language]["statistic"] == pytest.approx(statistic)
        assert tests[language]["p"] == pytest.approx(p)
        assert tests[language]["kendalls_w"] == pytest.approx(statistic / (QUESTIONS * 2))
        assert sum(tests[language]["mean_place"].values()) == pytest.approx(1 + 2 + 3)


def biased_problem() -> tuple[Benchmark, torch.Tensor, torch.Tensor]:
    """Every query ranks the German answer first, then the English, then the Chinese one."""
    benchmark = parallel_benchmark(others=0)
    meaning = torch.eye(QUESTIONS)
    passages = []
    for similarity in (0.9, 0.8, 0.7):
        rest = torch.full((QUESTIONS, 1), (1 - similarity**2) ** 0.5)
        passages.append(torch.cat([meaning * similarity, rest], 1))
    queries = torch.cat([meaning, torch.zeros(QUESTIONS, 1)], 1).repeat(3, 1)
    return benchmark, queries, torch.cat(passages)


def test_a_known_bias_is_found():
    benchmark, queries, passages = biased_problem()
    table = rank_benchmark(queries, passages, benchmark)
    friedman = run_friedman_test(table)
    assert friedman["kendalls_w"] == pytest.approx(1)
    assert friedman["by_query_language"]["en"]["mean_place"] == {"de": 1, "en": 2, "zh": 3}
    assert (compute_one_target(table) == 1).all()  # alone, every answer would be found


def test_ties_everywhere_are_no_preference():
    benchmark, queries, passages = biased_problem()
    table = rank_benchmark(queries, torch.ones_like(passages), benchmark)
    friedman = run_friedman_test(table)
    assert friedman["kendalls_w"] == 0
    assert friedman["by_query_language"]["de"]["p"] == 1


def test_friedman_needs_queries_with_answers_in_all_languages():
    benchmark = parallel_benchmark()
    partial = replace(benchmark, relevant=[rows[:2] for rows in benchmark.relevant])
    assert "reason" in run_friedman_test(rank_randomly(partial))


def test_peer_is_refused_where_it_is_constant():
    assert "constant" in compute_peer(rank_randomly(parallel_benchmark()))["reason"]


def test_peer_of_one_passage_a_language_is_the_published_constant():
    """The p of eleven languages with one passage each is .4405, whatever the ranks."""
    ranks = np.random.default_rng(0).choice(1000, 11, replace=False).astype(float)
    assert compute_equal_rank_probability(ranks, np.arange(11)) == pytest.approx(0.4405, abs=5e-5)


@given(SEEDS)
@settings(max_examples=30, deadline=None)
def test_peer_is_kruskal_wallis_where_all_that_is_ranked_is_relevant(seed):
    rng = np.random.default_rng(seed)
    groups = np.concatenate([[0, 0, 1, 1], rng.integers(0, 3, rng.integers(1, 9))])
    ranks = rng.permutation(len(groups)) + 1.0
    samples = [ranks[groups == code] for code in np.unique(groups)]
    expected = stats.kruskal(*samples).pvalue
    assert compute_equal_rank_probability(ranks, groups) == pytest.approx(expected)


def test_peer_of_several_passages_a_language_follows_its_formula():
    benchmark = parallel_benchmark(per_language=2)
    queries, passages = random_vectors(benchmark, 3)
    scores = (queries.double() @ passages.double().T).numpy()
    expected = []
    for query, rows in enumerate(benchmark.relevant):
        ranks = np.array([(scores[query] > scores[query, row]).sum() + 1.0 for row in rows])
        codes = benchmark.passage_languages[rows]
        means = np.array([ranks[codes == code].mean() for code in range(3)])
        between = (2 * (means - ranks.mean()) ** 2).sum()
        total = ((ranks - ranks.mean()) ** 2).sum()
        expected.append(stats.chi2.sf(5 * between / total, 2))
    peer = compute_peer(rank_benchmark(queries, passages, benchmark))
    assert peer["peer"] == pytest.approx(np.mean(expected))
    assert peer["queries"] == 18


def test_equal_ranks_are_surely_equal():
    assert compute_equal_rank_probability(np.ones(5), np.array([0, 0, 1, 1, 2])) == 1


def test_renaming_languages_moves_the_cells_with_them():
    benchmark = parallel_benchmark(per_language=2)
    new_code = np.array([2, 0, 1])
    renamed = replace(
        benchmark,
        languages=tuple(LANGUAGES[code] for code in np.argsort(new_code)),
        query_languages=new_code[benchmark.query_languages],
        passage_languages=new_code[benchmark.passage_languages],
    )
    before = compute_language_bias(rank_randomly(benchmark))
    after = compute_language_bias(rank_randomly(renamed))
    cells = np.array(after["one_target"]["cells"])[np.ix_(new_code, new_code)]
    np.testing.assert_allclose(cells, before["one_target"]["cells"])
    assert after["peer"] == pytest.approx(before["peer"])
    expected_w = pytest.approx(before["friedman"]["kendalls_w"])
    assert after["friedman"]["kendalls_w"] == expected_w


def test_alignment_and_uniformity_by_their_definitions():
    benchmark = parallel_benchmark()
    queries, passages = random_vectors(benchmark, 1)
    alignment = compute_alignment(rank_benchmark(queries, passages, benchmark))
    distances = []
    is_same_language = []
    for query, rows in enumerate(benchmark.relevant):
        difference = queries[query].double() - passages[torch.from_numpy(rows)].double()
        distances += difference.square().sum(1).tolist()
        query_language = benchmark.query_languages[query]
        is_same_language += (benchmark.passage_languages[rows] == query_language).tolist()
    distances = np.array(distances)
    is_same_language = np.array(is_same_language)
    assert alignment["all"] == pytest.approx(distances.mean(), rel=1e-6)
    expected_same = distances[is_same_language].mean()
    assert alignment["same_language"] == pytest.approx(expected_same, rel=1e-6)
    expected_other = distances[~is_same_language].mean()
    assert alignment["other_language"] == pytest.approx(expected_other, rel=1e-6)
    vectors = passages.double().numpy()
    squared_NN = ((vectors[:, None] - vectors[None]) ** 2).sum(2)
    squared_P = squared_NN[np.triu_indices(len(vectors), 1)]
    expected_uniformity = np.log(np.exp(-2 * squared_P).mean())
    assert compute_uniformity(passages) == pytest.approx(expected_uniformity, rel=1e-5)


@given(SEEDS, st.integers(1, 4))
@settings(max_examples=20, deadline=None)
def test_neighbours_are_those_of_a_brute_force(seed, batches):
    benchmark = parallel_benchmark(others=6)
    _, passages = random_vectors(benchmark, seed)
    languages = benchmark.passage_languages
    sample = np.array([0, 5, 13, 20])
    neighbours = NeighbourLanguages(sample, passages[sample], languages[sample])
    order = np.random.default_rng(seed).permutation(len(passages))
    for rows in np.array_split(order, batches):
        neighbours.add(rows, passages[torch.from_numpy(rows)], languages[rows])
    scores = (passages.double() @ passages.double().T).numpy()
    np.fill_diagonal(scores, -2)
    nearest = np.argsort(-scores[sample], axis=1)[:, :10]
    expected = (languages[nearest] == languages[sample][:, None]).mean()
    assert neighbours.compute_same_language_share() == pytest.approx(expected)


def test_fewer_neighbours_than_wanted_are_all_counted():
    """Five passages have four neighbours each; three speak one language, two another."""
    languages = np.array([0, 0, 0, 1, 1])
    vectors = torch.from_numpy(np.random.default_rng(0).normal(size=(5, 4)))
    vectors = torch.nn.functional.normalize(vectors, dim=1)
    neighbours = NeighbourLanguages(np.arange(5), vectors, languages)
    neighbours.add(np.arange(5), vectors, languages)
    same_language_neighbours = np.array([2, 2, 2, 1, 1])
    expected = (same_language_neighbours / 4).mean()
    assert neighbours.compute_same_language_share() == pytest.approx(expected)


def test_the_sample_does_not_depend_on_the_order_of_the_corpus():
    ids = [f"p{row}" for row in range(50)]
    sample = {ids[row] for row in sample_rows(np.arange(50), ids, 7)}
    shuffled_ids = [ids[row] for row in np.random.default_rng(0).permutation(50)]
    sample_of_shuffled = {shuffled_ids[row] for row in sample_rows(np.arange(50), shuffled_ids, 7)}
    assert sample_of_shuffled == sample
    assert len(sample) == 7
