"""Passages that are judged and missing, that are the query itself, and grades that are too low.

The oracles are trec_eval and float64 brute force.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import pytrec_eval
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_ir.evaluation.card import hash_benchmark
from hybrid_ir.evaluation.encoding import EncodedRows, mark_relevant
from hybrid_ir.evaluation.rank_counter import rank_benchmark
from hybrid_ir.evaluation.rank_table import MULTILINGUAL, VIEWS
from hybrid_ir.evaluation.report import describe_exclusions, results_to_dict
from hybrid_ir.evaluation.results import Results
from hybrid_ir.evaluation.selection import select_queries
from hybrid_ir.evaluation.streaming import StreamedRanking
from hybrid_ir.evaluation.top_k import write_trec_runs
from hybrid_ir.types import Benchmark
from tests.support.vector_benchmarks import (
    PASSAGES,
    compute_all_scores,
    count_by_brute_force,
    random_problem,
)

QUERIES = 14
SEEDS = st.integers(0, 10**6)
TREC_NAMES = {
    "map": "map",
    "recall@1": "recall_1",
    "recall@10": "recall_10",
    "mrr@40": "recip_rank",
    "ndcg@10": "ndcg_cut_10",
}
WITHOUT_RANK = ("max_rank", "max_rank_normalised", "rank_distance", "rank_distance_normalised")


def judged_problem(seed: int, least_relevant_grade: float = 0.0):
    """A graded benchmark without ties of which judged passages are missing, and its vectors."""
    benchmark, queries_QD, passages_ND = random_problem(seed, QUERIES, with_ties=False)
    rng = np.random.default_rng(seed)
    grades = [rng.integers(1, 4, len(rows)).astype(float) for rows in benchmark.relevant]
    missing_grades = [
        rng.integers(1, 4, rng.integers(0, 3)).astype(float) for _ in benchmark.relevant
    ]
    benchmark = replace(
        benchmark,
        grades=grades,
        missing_grades=missing_grades,
        least_relevant_grade=least_relevant_grade,
    )
    return benchmark, queries_QD, passages_ND


def with_missing_languages(benchmark: Benchmark, seed: int) -> Benchmark:
    """The benchmark with known and unknown languages of its missing passages."""
    rng = np.random.default_rng(seed)
    languages = [rng.integers(-1, 3, len(grades)) for grades in benchmark.missing_grades]
    return replace(benchmark, missing_languages=languages)


def with_own_passages(benchmark: Benchmark, seed: int) -> Benchmark:
    """The benchmark with a passage that is the query itself for most queries."""
    rng = np.random.default_rng(seed)
    own_passages = np.full(len(benchmark.queries), -1)
    for query, rows in enumerate(benchmark.relevant):
        if rng.random() < 0.8:
            own_passages[query] = rng.choice(np.setdiff1d(np.arange(PASSAGES), rows))
    return replace(benchmark, own_passages=own_passages)


def iterate_pools_of_trec_eval(benchmark: Benchmark, scores_QN: np.ndarray) -> Iterator[tuple]:
    """The view, language, judgements and run of every pool; missing passages are in no run."""
    for view in VIEWS:
        for language in [MULTILINGUAL] if view == "multi" else range(3):
            qrels = {}
            run = {}
            for query, query_language in enumerate(benchmark.query_languages):
                is_own_language = query_language == language
                if view != "multi" and is_own_language != (view == "mono"):
                    continue
                is_in_pool_N = np.ones(PASSAGES, bool)
                if view != "multi":
                    is_in_pool_N = benchmark.passage_languages == language
                judged = judge_query(benchmark, query, is_in_pool_N, language)
                if judged:
                    qrels[str(query)] = judged
                    run[str(query)] = {
                        str(row): float(scores_QN[query, row])
                        for row in np.flatnonzero(is_in_pool_N)
                    }
            yield view, language, qrels, run


def judge_query(
    benchmark: Benchmark, query: int, is_in_pool_N: np.ndarray, language: int
) -> dict[str, int]:
    judged = {}
    for row, grade in zip(benchmark.relevant[query], benchmark.grades[query], strict=True):
        if is_in_pool_N[row]:
            judged[str(row)] = int(grade)
    if not benchmark.count_missing:
        return judged
    languages = np.full(len(benchmark.missing_grades[query]), benchmark.query_languages[query])
    if benchmark.missing_languages is not None:
        languages = benchmark.missing_languages[query]
    for place, grade in enumerate(benchmark.missing_grades[query]):
        if language in (MULTILINGUAL, languages[place]):
            judged[f"missing-{place}"] = int(grade)
    return judged


def compute_results(benchmark: Benchmark, queries_QD, passages_ND) -> Results:
    table = rank_benchmark(queries_QD, passages_ND, benchmark)
    return Results.from_table(table, benchmark, list(TREC_NAMES))


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.booleans(), st.booleans(), st.sampled_from([0, 1, 2, 3]))
def test_missing_passages_and_low_grades_count_as_in_trec_eval(
    seed, count_missing, are_languages_told, least_grade
):
    benchmark, queries_QD, passages_ND = judged_problem(seed, least_grade)
    if are_languages_told:
        benchmark = with_missing_languages(benchmark, seed)
    benchmark = replace(benchmark, count_missing=count_missing)
    results = compute_results(benchmark, queries_QD, passages_ND)
    scores_QN = (queries_QD.double() @ passages_ND.double().T).numpy()
    for view, language, qrels, run in iterate_pools_of_trec_eval(benchmark, scores_QN):
        is_of_pool_V = (results.view == VIEWS.index(view)) & (results.passage_language == language)
        rows = np.flatnonzero(is_of_pool_V)
        assert [str(query) for query in results.query[rows]] == list(qrels)
        evaluator = pytrec_eval.RelevanceEvaluator(
            qrels, set(TREC_NAMES.values()), relevance_level=max(1, least_grade)
        )
        oracle = evaluator.evaluate(run)
        for name, trec_name in TREC_NAMES.items():
            expected = []
            for query, judged in qrels.items():
                is_measured = name == "ndcg@10" or max(judged.values()) >= least_grade
                expected.append(oracle[query][trec_name] if is_measured else np.nan)
            np.testing.assert_allclose(
                results.values[name][rows], expected, atol=1e-12, err_msg=f"{view} {name}"
            )


@settings(max_examples=15, deadline=None)
@given(SEEDS)
def test_both_treatments_of_missing_passages_come_from_one_count(seed):
    benchmark, queries_QD, passages_ND = judged_problem(seed)
    counted = compute_results(benchmark, queries_QD, passages_ND)
    left_out = compute_results(replace(benchmark, count_missing=False), queries_QD, passages_ND)
    without = compute_results(replace(benchmark, missing_grades=None), queries_QD, passages_ND)
    for results in (left_out, counted.recount(False), left_out.recount(True).recount(False)):
        assert results.summary() == without.summary()
        np.testing.assert_array_equal(results.query, without.query)
    assert left_out.recount(True).summary() == counted.summary()
    record = results_to_dict(counted)["unknown_passages"]
    judgements = sum(len(grades) for grades in benchmark.missing_grades)
    assert record["judgements"] == judgements
    assert record["main"] == "counted_as_missed"
    for name, results in (("counted_as_missed", counted), ("left_out", without)):
        assert record[name]["macro_over_settings"]["mono"]["map"] == results.macro("mono")["map"]
    assert f"unknown passages: {judgements} judgements of" in describe_exclusions(counted)[-1]
    assert describe_exclusions(left_out)[-1].endswith("have them left out")
    assert "unknown_passages" not in results_to_dict(without)


@settings(max_examples=15, deadline=None)
@given(SEEDS)
def test_a_query_with_a_missing_passage_has_no_last_rank(seed):
    benchmark, queries_QD, passages_ND = judged_problem(seed)
    results = Results.from_table(rank_benchmark(queries_QD, passages_ND, benchmark), benchmark)
    is_multi_V = results.view == VIEWS.index("multi")
    has_missing_V = np.array([len(benchmark.missing_grades[query]) > 0 for query in results.query])
    for name in WITHOUT_RANK:
        assert np.isnan(results.values[name][is_multi_V & has_missing_V]).all()
    assert not np.isnan(results.values["max_rank"][is_multi_V & ~has_missing_V]).any()
    assert (results.values["complete@100"][is_multi_V & has_missing_V] == 0).all()
    assert (results.values["complete@100"][is_multi_V & ~has_missing_V] == 1).all()


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.booleans())
def test_the_passage_that_is_the_query_is_in_no_ranking(seed, with_ties):
    benchmark, queries_QD, passages_ND = random_problem(seed, QUERIES, with_ties=with_ties)
    benchmark = with_own_passages(benchmark, seed)
    temperature = 0.1
    table = rank_benchmark(queries_QD, passages_ND, benchmark, temperature)
    scores_QN = compute_all_scores(queries_QD, passages_ND)
    for query, row in enumerate(benchmark.own_passages):
        if row >= 0:
            scores_QN[query, row] = -np.inf
    above, tied = count_by_brute_force(benchmark, scores_QN)
    np.testing.assert_array_equal(table.above, above)
    np.testing.assert_array_equal(table.tied, tied)
    for query, rows in enumerate(benchmark.relevant):
        others = np.delete(scores_QN[query], rows) / temperature
        losses = []
        for row in rows:
            logit = scores_QN[query, row] / temperature
            losses.append(np.logaddexp.reduce([logit, *others]) - logit)
        if losses:
            assert table.losses[query] == pytest.approx(np.mean(losses), rel=1e-9)


@settings(max_examples=15, deadline=None)
@given(SEEDS, SEEDS)
def test_own_passages_are_left_out_in_any_order_and_of_tops_and_mixes(seed, order):
    benchmark, queries_QD, passages_ND = random_problem(seed, QUERIES, with_ties=False)
    benchmark = with_own_passages(benchmark, seed)
    rng = np.random.default_rng(order)
    ranking = StreamedRanking(benchmark, temperature=0.1, run_depth=PASSAGES, with_geometry=True)
    is_relevant_N = mark_relevant(benchmark)
    rows_of_stage = {
        "queries": np.arange(QUERIES),
        "relevant": np.flatnonzero(is_relevant_N),
        "others": np.flatnonzero(~is_relevant_N),
    }
    for stage, rows in rows_of_stage.items():
        vectors = queries_QD if stage == "queries" else passages_ND
        for part in np.array_split(rng.permutation(rows), 3):
            ranking.add(EncodedRows(stage, part, vectors[torch.from_numpy(part)]))
    results = ranking.results()
    expected = rank_benchmark(queries_QD, passages_ND, benchmark, 0.1)
    np.testing.assert_array_equal(results.table.above, expected.above)
    np.testing.assert_array_equal(results.table.tied, expected.tied)
    np.testing.assert_allclose(results.table.losses, expected.losses, rtol=1e-12)
    scores_QN = (queries_QD.double() @ passages_ND.double().T).numpy()
    shares = []
    for query, own_row in enumerate(benchmark.own_passages.tolist()):
        ranked = [row for row in np.argsort(-scores_QN[query]).tolist() if row != own_row]
        kept = ranking.runs["multi"].rows_QK[query].tolist()
        assert kept == ranked + [-1] * (PASSAGES - len(ranked))
        shares.append(np.bincount(benchmark.passage_languages[ranked[:10]], minlength=3) / 10)
    for code in range(3):
        is_asked_Q = benchmark.query_languages == code
        if is_asked_Q.any():
            mix = results.geometry["language_mix@10"][code]
            np.testing.assert_allclose(mix, np.mean(np.array(shares)[is_asked_Q], 0))


def test_pools_of_normalised_measures_lose_the_query_itself():
    benchmark, queries_QD, passages_ND = random_problem(4, QUERIES, with_ties=False)
    benchmark = with_own_passages(benchmark, 4)
    results = Results.from_table(rank_benchmark(queries_QD, passages_ND, benchmark), benchmark)
    is_multi_V = results.view == VIEWS.index("multi")
    pool_V = PASSAGES - (benchmark.own_passages[results.query] >= 0)
    distance_V = results.values["rank_distance"][is_multi_V]
    normalised_V = results.values["rank_distance_normalised"][is_multi_V]
    np.testing.assert_array_equal(normalised_V, distance_V / pool_V[is_multi_V])


@settings(max_examples=10, deadline=None)
@given(SEEDS)
def test_a_selection_of_queries_keeps_what_is_said_of_them(seed):
    benchmark, *_ = judged_problem(seed, 2)
    benchmark = with_own_passages(benchmark, seed)
    rows = [3, 1, 8]
    selected = select_queries(benchmark, rows)
    assert selected.least_relevant_grade == 2
    for place, row in enumerate(rows):
        np.testing.assert_array_equal(selected.missing_grades[place], benchmark.missing_grades[row])
        own_row = int(benchmark.own_passages[row])
        kept_row = int(selected.own_passages[place])
        own_id = benchmark.passage_ids[own_row] if own_row >= 0 else None
        if own_id in selected.passage_ids:
            assert selected.passage_ids[kept_row] == own_id
        else:
            assert kept_row == -1
    assert hash_benchmark(selected) is not None


def test_judgements_of_missing_passages_are_written_for_other_tools(tmp_path):
    benchmark, queries_QD, passages_ND = judged_problem(6)
    ranking = StreamedRanking(benchmark, run_depth=PASSAGES)
    rows_of_stage = {"queries": np.arange(QUERIES), "relevant": np.arange(PASSAGES)}
    for stage, rows in rows_of_stage.items():
        vectors = queries_QD if stage == "queries" else passages_ND
        ranking.add(EncodedRows(stage, rows, vectors))
    results = ranking.results()
    write_trec_runs(ranking.runs, benchmark, "made up", tmp_path)
    for view in ("mono", "multi"):
        with open(tmp_path / f"qrels.{view}.trec") as file:
            qrels = pytrec_eval.parse_qrel(file)
        with open(tmp_path / f"run.{view}.trec") as file:
            run = pytrec_eval.parse_run(file)
        values = pytrec_eval.RelevanceEvaluator(qrels, {"map"}).evaluate(run)
        mean = np.mean([value["map"] for value in values.values()])
        assert mean == pytest.approx(results.micro(view)["map"], abs=1e-9)


def test_queries_without_a_grade_that_is_high_enough_are_counted():
    benchmark, queries_QD, passages_ND = judged_problem(2, 3)
    results = Results.from_table(rank_benchmark(queries_QD, passages_ND, benchmark), benchmark)
    counts = results.count_undefined_queries("multi")
    without = 0
    for grades, missing in zip(benchmark.grades, benchmark.missing_grades, strict=True):
        all_grades = np.concatenate([grades, missing])
        without += len(all_grades) > 0 and all_grades.max() < 3
    assert counts["map"] == without > 0
    assert "ndcg@10" not in counts
    lines = "\n".join(describe_exclusions(results))
    assert f"counted by nDCG alone: {without} queries of the multilingual view" in lines
    record = results_to_dict(results)
    assert record["undefined_queries"]["multi"]["map"] == without
