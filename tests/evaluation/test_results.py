"""Views: the values of trec_eval and ranx in every pool, and the means over them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_ir.evaluation.rank_counter import rank_benchmark
from hybrid_ir.evaluation.rank_table import MULTILINGUAL, VIEWS, RankTable
from hybrid_ir.evaluation.results import RETRIEVAL, Results
from hybrid_ir.types import Benchmark
from tests.support.vector_benchmarks import LANGUAGES, random_problem, random_relevant

METRICS = ("map", "ndcg@10", "recall@1", "recall@10", "mrr@10", "mrr@300")
QUERIES = 24
PASSAGES = 150
SEEDS = st.integers(0, 10**6)


@dataclass
class Ranking:
    """One pool as the oracles want it: relevant passages and ranking of every query."""

    view: str
    passage_language: int
    qrels: dict[str, dict[str, int]]
    run: dict[str, dict[str, float]]


def ranked_problem(
    seed: int, graded: bool = False, with_ties: bool = False
) -> tuple[Benchmark, RankTable, np.ndarray]:
    """A benchmark, its ranks and all scores; some queries lack answers in some languages."""
    benchmark, queries_QD, passages_ND = random_problem(
        seed, QUERIES, PASSAGES, width=8, with_ties=with_ties
    )
    rng = np.random.default_rng(seed)
    relevant = random_relevant(rng, QUERIES, PASSAGES, most=6)
    grades = None
    if graded:
        grades = [rng.integers(1, 4, len(rows)).astype(float) for rows in relevant]
    benchmark = replace(benchmark, relevant=relevant, grades=grades)
    scores_QN = (queries_QD.double() @ passages_ND.double().T).numpy()
    return benchmark, rank_benchmark(queries_QD, passages_ND, benchmark), scores_QN


def compute_results(seed: int) -> tuple[Benchmark, Results]:
    benchmark, table, _ = ranked_problem(seed)
    return benchmark, Results.from_table(table, benchmark)


def iterate_rankings(benchmark: Benchmark, scores_QN: np.ndarray) -> Iterator[Ranking]:
    """The rankings of every pool, in the order of views and languages."""
    for view in VIEWS:
        languages = [MULTILINGUAL] if view == "multi" else range(3)
        for language in languages:
            ranking = Ranking(view, language, {}, {})
            for query in range(QUERIES):
                add_query(ranking, query, benchmark, scores_QN)
            yield ranking


def add_query(ranking: Ranking, query: int, benchmark: Benchmark, scores_QN: np.ndarray) -> None:
    """Adds a query to a ranking, if it asks that pool and has something relevant there."""
    language = ranking.passage_language
    is_in_pool = np.ones(PASSAGES, bool)
    if language != MULTILINGUAL:
        is_in_pool = benchmark.passage_languages == language
        is_own_language = benchmark.query_languages[query] == language
        if is_own_language != (ranking.view == "mono"):
            return
    relevant = {}
    for place, row in enumerate(benchmark.relevant[query]):
        if is_in_pool[row]:
            grade = 1 if benchmark.grades is None else int(benchmark.grades[query][place])
            relevant[str(row)] = grade
    if relevant:
        order = [row for row in np.argsort(-scores_QN[query]) if is_in_pool[row]]
        scores = range(len(order), 0, -1)
        ranking.qrels[str(query)] = relevant
        ranking.run[str(query)] = {
            str(row): float(score) for row, score in zip(order, scores, strict=True)
        }


@pytest.fixture(scope="module", params=[(0, False), (2, True)], ids=str)
def case(request) -> tuple[Results, list[Ranking]]:
    seed, graded = request.param
    benchmark, table, scores_QN = ranked_problem(seed, graded)
    results = Results.from_table(table, benchmark, METRICS)
    return results, list(iterate_rankings(benchmark, scores_QN))


def find_rows(results: Results, view: str, language: int) -> np.ndarray:
    """The rows of results that belong to one pool."""
    is_in_view = results.view == VIEWS.index(view)
    return np.flatnonzero(is_in_view & (results.passage_language == language))


def test_values_are_those_of_trec_eval(case):
    trec_names = {
        "map": "map",
        "ndcg@10": "ndcg_cut_10",
        "recall@1": "recall_1",
        "recall@10": "recall_10",
        "mrr@300": "recip_rank",
    }
    results, rankings = case
    for ranking in rankings:
        evaluator = pytrec_eval.RelevanceEvaluator(ranking.qrels, set(trec_names.values()))
        oracle = evaluator.evaluate(ranking.run)
        rows = find_rows(results, ranking.view, ranking.passage_language)
        assert [str(query) for query in results.query[rows]] == list(ranking.qrels)
        for name, trec_name in trec_names.items():
            expected = [oracle[query][trec_name] for query in ranking.qrels]
            np.testing.assert_allclose(
                results.values[name][rows], expected, rtol=1e-9, err_msg=f"{ranking.view} {name}"
            )


@pytest.fixture(scope="module")
def ranx():
    numba = pytest.importorskip("numba")
    with pytest.MonkeyPatch.context() as patch:
        # compiling takes a minute, these data a second
        patch.setattr(numba.config, "DISABLE_JIT", True)
        yield pytest.importorskip("ranx")


def test_values_are_those_of_ranx(case, ranx):
    names = ["map", "ndcg@10", "recall@1", "recall@10", "mrr@10"]
    results, rankings = case
    for ranking in rankings:
        oracle = ranx.evaluate(
            ranx.Qrels(ranking.qrels),
            ranx.Run(ranking.run),
            names,
            return_mean=False,
            make_comparable=True,
        )
        queries = sorted(map(int, ranking.qrels))
        order = np.argsort([str(query) for query in queries])  # ranx sorts the ids as texts
        rows = find_rows(results, ranking.view, ranking.passage_language)[order]
        for name in names:
            np.testing.assert_allclose(
                results.values[name][rows],
                oracle[name],
                rtol=1e-9,
                err_msg=f"{ranking.view} {name}",
            )


def test_rank_distance_is_last_minus_first_rank(case):
    results, rankings = case
    ranking = rankings[-1]
    rows = find_rows(results, "multi", MULTILINGUAL)
    for row, (query, relevant) in zip(rows, ranking.qrels.items(), strict=True):
        order = list(ranking.run[query])
        ranks = sorted(order.index(passage) + 1 for passage in relevant)
        distance = ranks[-1] - ranks[0] if len(ranks) > 1 else np.nan  # of one there is none
        np.testing.assert_equal(results.values["rank_distance"][row], distance)
        assert results.values["max_rank"][row] == ranks[-1]


def test_language_metrics_follow_the_languages_of_relevant_passages():
    benchmark, table, scores_QN = ranked_problem(3)
    results = Results.from_table(table, benchmark)
    for row in find_rows(results, "multi", MULTILINGUAL):
        query = results.query[row]
        order = np.argsort(-scores_QN[query]).tolist()
        relevant = sorted(benchmark.relevant[query].tolist(), key=order.index)
        ranks = np.array([order.index(passage) + 1 for passage in relevant])
        query_language = benchmark.query_languages[query]
        is_own = benchmark.passage_languages[relevant] == query_language
        # undefined unless both an own and another language could come first
        own_first = is_own[0] if is_own.any() and not is_own.all() else np.nan
        np.testing.assert_equal(results.values["lpr@1"][row], own_first)
        distance = (ranks[-1] - ranks[0]) / PASSAGES if len(ranks) > 1 else np.nan
        found = results.values["rank_distance_normalised"][row]
        assert found == pytest.approx(distance, nan_ok=True)
        if not is_own.all():
            expected = np.mean(ranks[~is_own] <= 20)
            assert results.values["tlr@20"][row] == pytest.approx(expected)


def test_the_tie_rate_counts_relevant_passages_that_tie():
    benchmark, table, scores_QN = ranked_problem(3, with_ties=True)
    results = Results.from_table(table, benchmark)
    for row in find_rows(results, "multi", MULTILINGUAL):
        query = results.query[row]
        relevant_scores = scores_QN[query, benchmark.relevant[query]]
        differences = np.abs(relevant_scores[:, None] - scores_QN[query])
        is_tie = (differences < 1e-15).sum(1) > 1
        assert results.values["tie_rate"][row] == pytest.approx(is_tie.mean())
    assert results.values["tie_rate"].max() > 0


@settings(max_examples=15, deadline=None)
@given(SEEDS)
def test_macro_is_the_mean_of_settings_and_micro_of_questions(seed):
    _, results = compute_results(seed)
    for number, view in enumerate(VIEWS):
        is_in_view = results.view == number
        view_settings = [setting for setting in results.settings if setting.view == view]
        sizes = np.array([setting.queries for setting in view_settings])
        assert sizes.sum() == is_in_view.sum()
        for name in RETRIEVAL:
            means = np.array([setting.means[name] for setting in view_settings])
            micro = results.values[name][is_in_view].mean()
            assert results.macro(view)[name] == pytest.approx(means.mean())
            assert results.micro(view)[name] == pytest.approx(micro)
            assert results.micro(view)[name] == pytest.approx(np.average(means, weights=sizes))


@settings(max_examples=15, deadline=None)
@given(SEEDS)
def test_every_query_is_in_a_view_or_counted_as_without_relevant(seed):
    benchmark, results = compute_results(seed)
    has_answer_QL = np.zeros((QUERIES, 3), bool)
    for query, rows in enumerate(benchmark.relevant):
        has_answer_QL[query, benchmark.passage_languages[rows]] = True
    own = has_answer_QL[np.arange(QUERIES), benchmark.query_languages].sum()
    multi = has_answer_QL.any(1).sum()
    expected = {"mono": own, "cross": has_answer_QL.sum() - own, "multi": multi}
    possible = {"mono": QUERIES, "cross": 2 * QUERIES, "multi": QUERIES}
    for number, view in enumerate(VIEWS):
        assert (results.view == number).sum() == expected[view]
        assert results.queries_without_relevant[view] == possible[view] - expected[view]


def test_the_matrix_has_monolingual_means_on_the_diagonal():
    _, results = compute_results(0)
    matrix = results.matrix("map")
    for setting in results.settings:
        if setting.view == "multi":
            continue
        row = LANGUAGES.index(setting.query_language)
        column = LANGUAGES.index(setting.passage_language)
        assert (setting.view == "mono") == (row == column)
        assert matrix[row, column] == setting.means["map"]
    assert np.mean(np.diag(matrix)) == pytest.approx(results.macro("mono")["map"])


def test_the_table_of_queries_has_names_instead_of_numbers():
    benchmark, results = compute_results(1)
    table = results.to_arrow().to_pandas()
    languages = np.array(benchmark.languages)
    asked = [benchmark.question_ids[query] for query in table["query"]]
    is_multi = table["view"] == "multi"
    assert len(table) == len(results.view)
    assert set(table["view"]) == set(VIEWS)
    assert table["question_id"].tolist() == asked
    expected_languages = languages[benchmark.query_languages[table["query"]]]
    assert (table["query_language"] == expected_languages).all()
    assert set(table["passage_language"][is_multi]) == {"all"}
    assert set(table["passage_language"][~is_multi]) == set(LANGUAGES)
    assert np.isnan(table["rank_distance"][~is_multi]).all()


def test_pools_have_the_size_of_their_language():
    benchmark, results = compute_results(1)
    sizes = np.bincount(benchmark.passage_languages).tolist()
    assert results.pool_sizes == dict(zip(LANGUAGES, sizes, strict=True))


def test_the_summary_is_flat_and_leaves_out_what_is_undefined():
    _, results = compute_results(1)
    summary = results.summary()
    assert summary["multi/rank_distance"] > 0
    assert "mono/rank_distance" not in summary
    assert "loss" not in summary
    assert not np.isnan(list(summary.values())).any()


def test_queries_without_a_value_of_a_metric_are_counted():
    benchmark, results = compute_results(1)
    single = sum(len(rows) == 1 for rows in benchmark.relevant)
    undefined = results.count_undefined_queries("multi")
    assert single > 0
    assert undefined["rank_distance"] == single
    assert "map" not in undefined
    assert results.count_undefined_queries("mono") == {}  # no query of that view has a distance


def test_a_monolingual_benchmark_has_no_cross_lingual_numbers():
    benchmark, queries_QD, passages_ND = random_problem(2, QUERIES, PASSAGES, with_ties=False)
    multilingual = Results.from_table(rank_benchmark(queries_QD, passages_ND, benchmark), benchmark)
    own_relevant = []
    for query, rows in enumerate(benchmark.relevant):
        is_own = benchmark.passage_languages[rows] == benchmark.query_languages[query]
        own_relevant.append(rows[is_own])
    monolingual = replace(benchmark, relevant=own_relevant)
    table = rank_benchmark(queries_QD, passages_ND, monolingual, temperature=0.05)
    results = Results.from_table(table, monolingual)
    expected = multilingual.queries_without_relevant["mono"]
    assert results.queries_without_relevant["mono"] == expected
    assert VIEWS.index("cross") not in results.view
    assert np.isnan(results.macro("cross")["map"])
    assert not any(name.startswith("cross") for name in results.summary())
    assert results.summary()["loss"] > 0
