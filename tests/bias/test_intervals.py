"""Intervals of the measures of bias: groups of questions are drawn, not queries."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_ir.bias.answer_places import DEPTH, FOUND, HIDDEN, AnswerPlaces
from hybrid_ir.bias.intervals import compute_intervals, group_questions
from hybrid_ir.bias.measures import compute_measures
from hybrid_ir.evaluation.encoding import EncodedRows
from hybrid_ir.evaluation.results import Results
from hybrid_ir.evaluation.streaming import StreamedRanking
from hybrid_ir.types import Benchmark
from tests.support.vector_benchmarks import random_problem


def build_places(relevant: list[list[int]]) -> AnswerPlaces:
    """Places of which only queries and answers matter."""
    queries = []
    rows = []
    for query, query_rows in enumerate(relevant):
        queries += [query] * len(query_rows)
        rows += query_rows
    ones_P = np.ones(len(rows))
    return AnswerPlaces(
        query_P=np.array(queries, np.int64),
        query_language_P=ones_P,
        answer_language_P=ones_P,
        row_P=np.array(rows, np.int64),
        own_place_P=ones_P,
        mixed_place_P=ones_P,
        own_size_P=ones_P,
        mixed_size_P=ones_P,
        fair_depth_P=ones_P,
    )


def test_questions_with_a_common_answer_are_one_group():
    places = build_places([[0], [1], [1, 2], [3], [2, 4], []])
    groups = group_questions(["a", "a", "b", "c", "d", "e"], places).tolist()
    assert groups[0] == groups[1] == groups[2] == groups[4]
    assert len({groups[0], groups[3], groups[5]}) == 3
    assert sorted(set(groups)) == [0, 1, 2]


@settings(deadline=None, max_examples=40)
@given(
    links=st.lists(st.tuples(st.integers(0, 7), st.lists(st.integers(0, 19))), min_size=1),
)
def test_groups_are_those_of_walking_from_question_to_question(links):
    question_ids = [str(question) for question, _ in links]
    relevant = [sorted(set(rows)) for _, rows in links]
    group_Q = group_questions(question_ids, build_places(relevant))
    reached = {0}
    while True:
        questions = {question_ids[query] for query in reached}
        rows = {row for query in reached for row in relevant[query]}
        more = set()
        for query, question in enumerate(question_ids):
            if question in questions or rows.intersection(relevant[query]):
                more.add(query)
        if more == reached:
            break
        reached |= more
    assert set(np.flatnonzero(group_Q == group_Q[0]).tolist()) == reached


def rank(benchmark: Benchmark, queries: torch.Tensor, passages: torch.Tensor) -> Results:
    """Returns the results of vectors, with what is at the top of the rankings."""
    ranking = StreamedRanking(benchmark, with_geometry=True)
    ranking.add(EncodedRows("queries", np.arange(len(queries)), queries))
    ranking.add(EncodedRows("relevant", np.arange(len(passages)), passages))
    return ranking.results()


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 1000))
def test_the_share_of_the_own_language_is_that_of_a_brute_force(seed):
    benchmark, queries, passages = random_problem(seed, with_ties=False)
    results = rank(benchmark, queries, passages)
    measures = compute_measures(results, AnswerPlaces.from_table(results.relevant_table))
    scores_QN = queries.double() @ passages.double().T
    languages_N = np.asarray(benchmark.passage_languages)
    query_languages_Q = np.asarray(benchmark.query_languages)
    shares = []
    fair_shares = []
    for language in np.unique(query_languages_Q):
        of_language = []
        for query in np.flatnonzero(query_languages_Q == language):
            top = scores_QN[query].argsort(descending=True)[:DEPTH].numpy()
            of_language.append((languages_N[top] == language).mean())
        shares.append(np.mean(of_language))
        fair_shares.append((languages_N == language).mean())
    assert measures["own_language_share"] == pytest.approx(np.mean(shares))
    assert measures["own_language_share.fair"] == pytest.approx(np.mean(fair_shares))


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 1000))
def test_an_interval_is_that_of_drawing_groups_one_by_one(seed):
    benchmark, queries, passages = random_problem(seed)
    results = rank(benchmark, queries, passages)
    places = AnswerPlaces.from_table(results.relevant_table)
    group_Q = np.arange(len(queries)) % max(2, len(queries) // 2)
    intervals = compute_intervals(results, places, group_Q)
    measures = compute_measures(results, places)
    fate_P = places.fate_P
    is_across_P = places.is_across_P
    group_P = group_Q[places.query_P]
    groups = np.unique(group_P[is_across_P])
    if len(groups) < 2:
        assert "hidden" not in intervals
        return
    rng = np.random.default_rng(7)
    chances_P = places.chance_P
    drawn = {"found": [], "lost": []}
    for _ in range(1500):
        rows = []
        for group in rng.choice(groups, len(groups)):
            rows.append(np.flatnonzero((group_P == group) & is_across_P))
        fates = fate_P[np.concatenate(rows)]
        excess = (fates == HIDDEN).sum() - chances_P[np.concatenate(rows)].sum()
        can_be_found = np.isin(fates, (FOUND, HIDDEN)).sum()
        drawn["found"].append((fates == FOUND).mean())
        if can_be_found:
            drawn["lost"].append(excess / can_be_found)
    for name, values in drawn.items():
        if name not in intervals:
            can_be_found_P = is_across_P & np.isin(fate_P, (FOUND, HIDDEN))
            assert len(np.unique(group_P[can_be_found_P])) < 2
            continue
        if name == "lost" and not (fate_P[is_across_P] == HIDDEN).any():
            continue  # its upper end is no matter of resampling
        low, high = intervals[name]
        if 0 < measures[name] < 1:
            assert low <= measures[name] <= high
        if np.ptp(values) > 0:
            # Both are of random draws: ends within a few per cent of the width and of the steps.
            room = 0.15 * (high - low) + 0.02
            assert abs(np.quantile(values, 0.025) - low) <= room
            assert abs(np.quantile(values, 0.975) - high) <= room


def test_what_all_questions_say_has_a_width_all_the_same():
    benchmark, queries, passages = random_problem(3)
    results = rank(benchmark, queries, passages)
    table = results.relevant_table
    places = AnswerPlaces.from_table(table, depth=10_000)
    group_Q = np.arange(len(queries))
    intervals = compute_intervals(results, places, group_Q)
    groups = len(np.unique(places.query_P[places.is_across_P]))
    assert intervals["found"] == [pytest.approx(0.025 ** (1 / groups)), 1.0]
    assert intervals["hidden"] == [0.0, pytest.approx(1 - 0.025 ** (1 / groups))]
    assert intervals["lost"] == intervals["hidden"]


def test_one_group_has_no_interval():
    benchmark, queries, passages = random_problem(3)
    results = rank(benchmark, queries, passages)
    places = AnswerPlaces.from_table(results.relevant_table)
    assert compute_intervals(results, places, np.zeros(len(queries), np.int64)) == {}
