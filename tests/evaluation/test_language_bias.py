"""Language bias: each measure against its definition, an oracle, or a ranking made to have a known bias."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from hybrid_ir.evaluation.language_bias import (
    NeighbourLanguages,
    compute_alignment,
    compute_uniformity,
    sample_rows,
)
from hybrid_ir.evaluation.language_bias import (
    compute_diagonal_gap,
    compute_equal_rank_probability,
    compute_language_bias,
    compute_one_target,
    compute_peer,
    find_best_ranks,
    run_friedman_test,
)
from hybrid_ir.evaluation.rank_counter import rank_benchmark
from hybrid_ir.types import Benchmark, Source

LANGUAGES, QUESTIONS = ("de", "en", "zh"), 6


def parallel(per_language: int = 1, others: int = 4) -> Benchmark:
    """Questions in three languages with `per_language` relevant passages in each, and some passages that nobody wants."""
    size = QUESTIONS * per_language + others
    return Benchmark(
        LANGUAGES,
        [f"{language}{i}" for language in LANGUAGES for i in range(QUESTIONS)],
        np.repeat(range(3), QUESTIONS),
        [str(i) for _ in LANGUAGES for i in range(QUESTIONS)],
        [f"{language}{i}" for language in LANGUAGES for i in range(size)],
        np.repeat(range(3), size),
        [f"{language}{i}" for language in LANGUAGES for i in range(size)],
        [
            np.sort(
                [
                    language * size + i * per_language + j
                    for language in range(3)
                    for j in range(per_language)
                ]
            )
            for _ in LANGUAGES
            for i in range(QUESTIONS)
        ],
        Source("made", "", "", ""),
    )


def vectors(
    benchmark: Benchmark, seed: int, ties: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    made = [
        rng.normal(size=(len(texts), 6)).astype(np.float32)
        for texts in (benchmark.queries, benchmark.passages)
    ]
    if ties:
        made[1] = made[1][rng.integers(0, 8, len(made[1]))]
    return tuple(F.normalize(torch.from_numpy(v), dim=1) for v in made)


@given(st.integers(0, 10**6), st.booleans(), st.integers(1, 2))
@settings(max_examples=30, deadline=None)
def test_one_target_is_a_ranking_without_the_twins(seed, ties, per_language):
    benchmark = parallel(per_language)
    queries, passages = vectors(benchmark, seed, ties)
    cells = compute_one_target(rank_benchmark(queries, passages, benchmark))
    scores = np.round((queries.double() @ passages.double().T).numpy(), 12)
    expected = np.zeros((3, 3))
    for q, rows in enumerate(benchmark.relevant):
        for row in rows:
            pool = np.setdiff1d(np.arange(len(benchmark.passages)), np.setdiff1d(rows, [row]))
            above = (scores[q, pool] > scores[q, row]).sum()
            together = (scores[q, pool] == scores[q, row]).sum()
            value = (1 / np.arange(above + 1, above + together + 1)).mean()
            expected[benchmark.query_languages[q], benchmark.passage_languages[row]] += value / (
                QUESTIONS * per_language
            )
    np.testing.assert_allclose(cells, expected, rtol=1e-10)


def test_the_gap_is_that_of_diagonal_and_rest():
    cells = np.array([[0.9, 0.3, np.nan], [0.2, 0.7, 0.1], [0.4, 0.2, np.nan]])
    assert compute_diagonal_gap(cells) == pytest.approx(0.8 - 0.24)
    assert np.isnan(compute_diagonal_gap(np.array([[1.0]])))


@given(st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_friedman_is_that_of_scipy(seed):
    benchmark = parallel()
    table = rank_benchmark(*vectors(benchmark, seed), benchmark)
    found = run_friedman_test(table)
    best = find_best_ranks(table)
    for code, language in enumerate(LANGUAGES):
        rows = best[benchmark.query_languages == code]
        statistic, p = stats.friedmanchisquare(*rows.T)
        row = found["by_query_language"][language]
        assert (row["statistic"], row["p"]) == (pytest.approx(statistic), pytest.approx(p))
        assert row["kendalls_w"] == pytest.approx(statistic / (QUESTIONS * 2))
        assert sum(row["mean_place"].values()) == pytest.approx(6)


def biased() -> tuple[Benchmark, torch.Tensor, torch.Tensor]:
    """Every query ranks the German answer first, then the English, then the Chinese one."""
    benchmark = parallel(others=0)
    meaning = torch.eye(QUESTIONS)
    passages = torch.cat(
        [
            torch.cat([meaning * share, torch.full((QUESTIONS, 1), (1 - share**2) ** 0.5)], 1)
            for share in (0.9, 0.8, 0.7)
        ]
    )
    queries = torch.cat([meaning, torch.zeros(QUESTIONS, 1)], 1).repeat(3, 1)
    return benchmark, queries, passages


def test_a_known_bias_is_found():
    benchmark, queries, passages = biased()
    found = run_friedman_test(rank_benchmark(queries, passages, benchmark))
    assert found["kendalls_w"] == pytest.approx(1)
    assert found["by_query_language"]["en"]["mean_place"] == {"de": 1, "en": 2, "zh": 3}
    cells = compute_one_target(rank_benchmark(queries, passages, benchmark))
    assert (cells == 1).all()  # alone, every answer would be found


def test_ties_everywhere_are_no_preference():
    benchmark, queries, passages = biased()
    found = run_friedman_test(rank_benchmark(queries, torch.ones_like(passages), benchmark))
    assert found["kendalls_w"] == 0 and found["by_query_language"]["de"]["p"] == 1


def test_friedman_needs_all_languages():
    benchmark = parallel()
    partial = Benchmark(
        **{**benchmark.__dict__, "relevant": [rows[:2] for rows in benchmark.relevant]}
    )
    assert "reason" in run_friedman_test(rank_benchmark(*vectors(partial, 0), partial))


def test_peer_is_refused_where_it_is_constant_and_has_the_published_constant():
    benchmark = parallel()
    assert "constant" in compute_peer(rank_benchmark(*vectors(benchmark, 0), benchmark))["reason"]
    rng = np.random.default_rng(
        0
    )  # protocol: p = .4405 for eleven languages with one passage each, whatever the ranks
    ranks = rng.choice(1000, 11, replace=False).astype(float)
    assert compute_equal_rank_probability(ranks, np.arange(11)) == pytest.approx(0.4405, abs=5e-5)


@given(st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_peer_is_kruskal_wallis_where_all_that_is_ranked_is_relevant(seed):
    rng = np.random.default_rng(seed)
    groups = np.concatenate([[0, 0, 1, 1], rng.integers(0, 3, rng.integers(1, 9))])
    ranks = rng.permutation(len(groups)) + 1.0
    expected = stats.kruskal(*(ranks[groups == code] for code in np.unique(groups))).pvalue
    assert compute_equal_rank_probability(ranks, groups) == pytest.approx(expected)


def test_peer_of_several_passages_a_language():
    benchmark = parallel(per_language=2)
    queries, passages = vectors(benchmark, 3)
    scores = (queries.double() @ passages.double().T).numpy()
    expected = []
    for q, rows in enumerate(benchmark.relevant):
        ranks = np.array([(scores[q] > scores[q, row]).sum() + 1.0 for row in rows])
        codes = benchmark.passage_languages[rows]
        mean = ranks.mean()
        between = sum(2 * (ranks[codes == code].mean() - mean) ** 2 for code in range(3))
        expected.append(stats.chi2.sf(5 * between / ((ranks - mean) ** 2).sum(), 2))
    found = compute_peer(rank_benchmark(queries, passages, benchmark))
    assert found["peer"] == pytest.approx(np.mean(expected)) and found["queries"] == 18


def test_equal_ranks_are_surely_equal():
    assert compute_equal_rank_probability(np.ones(5), np.array([0, 0, 1, 1, 2])) == 1


def test_renaming_languages_moves_the_cells_with_them():
    benchmark = parallel(per_language=2)
    queries, passages = vectors(benchmark, 5)
    name = np.array([2, 0, 1])
    moved = Benchmark(
        **{
            **benchmark.__dict__,
            "languages": tuple(LANGUAGES[i] for i in np.argsort(name)),
            "query_languages": name[benchmark.query_languages],
            "passage_languages": name[benchmark.passage_languages],
        }
    )
    before, after = (
        compute_language_bias(rank_benchmark(queries, passages, b)) for b in (benchmark, moved)
    )
    cells = np.array(after["one_target"]["cells"])[np.ix_(name, name)]
    np.testing.assert_allclose(cells, before["one_target"]["cells"])
    assert after["peer"] == pytest.approx(before["peer"])
    assert after["friedman"]["kendalls_w"] == pytest.approx(before["friedman"]["kendalls_w"])


def test_alignment_and_uniformity_by_their_definitions():
    benchmark = parallel()
    queries, passages = vectors(benchmark, 1)
    found = compute_alignment(rank_benchmark(queries, passages, benchmark))
    pairs = [(q, row) for q, rows in enumerate(benchmark.relevant) for row in rows]
    distances = np.array(
        [float((queries[q].double() - passages[row].double()).square().sum()) for q, row in pairs]
    )
    same = np.array(
        [benchmark.query_languages[q] == benchmark.passage_languages[row] for q, row in pairs]
    )
    assert found["all"] == pytest.approx(distances.mean(), rel=1e-6)
    assert found["same_language"] == pytest.approx(distances[same].mean(), rel=1e-6)
    assert found["other_language"] == pytest.approx(distances[~same].mean(), rel=1e-6)
    potential = [
        np.exp(-2 * float((a - b).double().square().sum()))
        for i, a in enumerate(passages)
        for b in passages[:i]
    ]
    assert compute_uniformity(passages) == pytest.approx(np.log(np.mean(potential)), rel=1e-5)


@given(st.integers(0, 10**6), st.integers(1, 4))
@settings(max_examples=20, deadline=None)
def test_neighbours_are_those_of_a_brute_force(seed, parts):
    benchmark = parallel(others=6)
    _, passages = vectors(benchmark, seed)
    languages, rows = benchmark.passage_languages, np.array([0, 5, 13, 20])
    found = NeighbourLanguages(rows, passages[rows], languages[rows])
    for part in np.array_split(np.random.default_rng(seed).permutation(len(passages)), parts):
        found.add(part, passages[torch.from_numpy(part)], languages[part])
    scores = (passages.double() @ passages.double().T).numpy()
    np.fill_diagonal(scores, -2)
    nearest = np.argsort(-scores[rows], axis=1)[:, :10]
    assert found.same_language_share() == pytest.approx(
        (languages[nearest] == languages[rows][:, None]).mean()
    )


def test_the_sample_does_not_depend_on_the_order_of_the_corpus():
    ids = [f"p{i}" for i in range(50)]
    chosen = {ids[row] for row in sample_rows(np.arange(50), ids, 7)}
    order = np.random.default_rng(0).permutation(50)
    shuffled = [ids[i] for i in order]
    assert {shuffled[row] for row in sample_rows(np.arange(50), shuffled, 7)} == chosen and len(
        chosen
    ) == 7
