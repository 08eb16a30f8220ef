"""What becomes of answers, beside a count by brute force over all scores."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_ir.bias.answer_places import (
    DEPTH,
    FOUND,
    HIDDEN,
    NOT_FOUND,
    AnswerPlaces,
    share_by_languages,
)
from hybrid_ir.bias.hiding import find_hiding_languages
from hybrid_ir.evaluation.encoding import EncodedRows
from hybrid_ir.evaluation.rank_counter import rank_benchmark
from hybrid_ir.evaluation.streaming import StreamedRanking
from hybrid_ir.types import Benchmark, Source
from tests.support.vector_benchmarks import random_problem


def count_place(scores_N: np.ndarray, row: int, pool_N: np.ndarray, left_out: set[int]) -> float:
    """The mean place of a passage among those of a pool with its score, by looking at each."""
    higher = 0
    equal = 0
    for other in np.flatnonzero(pool_N):
        if other == row or int(other) in left_out:
            continue
        higher += scores_N[other] > scores_N[row]
        equal += scores_N[other] == scores_N[row]
    return 1 + higher + equal / 2


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10_000), with_ties=st.booleans(), depth=st.integers(1, 12))
def test_places_and_fates_are_those_of_a_brute_force(seed, with_ties, depth):
    benchmark, queries, passages = random_problem(seed, with_ties=with_ties)
    places = AnswerPlaces.from_table(rank_benchmark(queries, passages, benchmark), depth)
    fate_P = places.decide_fates(depth)
    exact = queries.double() @ passages.double().T
    # Vectors of the same bits have the same score, whatever the order of a sum.
    scores_QN = exact.numpy().round(13)
    languages_N = np.asarray(benchmark.passage_languages)
    assert len(places.query_P) == sum(len(rows) for rows in benchmark.relevant)
    for pair in range(len(places.query_P)):
        query = int(places.query_P[pair])
        row = int(places.row_P[pair])
        answers = set(benchmark.relevant[query].tolist())
        is_own_N = languages_N == languages_N[row]
        own = count_place(scores_QN[query], row, is_own_N, answers)
        mixed = count_place(scores_QN[query], row, np.ones(len(languages_N), bool), answers)
        assert places.own_place_P[pair] == own
        assert places.mixed_place_P[pair] == mixed
        fair = depth * len(languages_N) / is_own_N.sum()
        expected = FOUND if mixed <= fair else HIDDEN if own <= depth else NOT_FOUND
        assert fate_P[pair] == expected


def build_two_languages(offset: float) -> tuple[Benchmark, torch.Tensor, torch.Tensor]:
    """Questions with an answer in each of two languages, whose axis has a length."""
    count = 4 * DEPTH
    rng = np.random.default_rng(3)
    topics = rng.normal(size=(count, 16))
    vectors = []
    for sign in (1, -1):
        noise = rng.normal(size=(count, 16)) * 0.05
        axis = np.full((count, 1), sign * offset)
        vectors.append(np.hstack([topics + noise, axis]))
    stacked = torch.from_numpy(np.vstack(vectors).astype(np.float32))
    stacked = torch.nn.functional.normalize(stacked, dim=1)
    ids = [f"{language}{topic}" for language in ("de", "en") for topic in range(count)]
    relevant = [np.array([row % count, row % count + count]) for row in range(2 * count)]
    languages = np.repeat([0, 1], count)
    benchmark = Benchmark(
        languages=("de", "en"),
        queries=ids,
        query_languages=languages,
        question_ids=[str(row % count) for row in range(2 * count)],
        passages=ids,
        passage_languages=languages,
        passage_ids=ids,
        relevant=relevant,
        source=Source("two languages", "", "", ""),
    )
    return benchmark, stacked, stacked


def test_an_unbiased_space_hides_nothing_and_a_biased_one_hides_the_other_language():
    shares = {}
    for offset in (0.0, 8.0):
        benchmark, queries, passages = build_two_languages(offset)
        places = AnswerPlaces.from_table(rank_benchmark(queries, passages, benchmark))
        fate_P = places.decide_fates()
        is_across_P = places.is_across_P
        shares[offset] = (fate_P[is_across_P] == HIDDEN).mean()
        assert (fate_P[~is_across_P] == FOUND).all()
        cells = share_by_languages(fate_P == HIDDEN, places, 2)
        assert cells[0, 0] == cells[1, 1] == 0
        assert np.isclose(cells[[0, 1], [1, 0]].mean(), shares[offset])
    assert shares[0.0] == 0
    assert shares[8.0] == 1


def test_what_stands_before_hidden_answers_is_what_hides_them():
    benchmark, queries, passages = build_two_languages(8.0)
    ranking = StreamedRanking(benchmark, run_depth=DEPTH + 2)
    rows = np.arange(len(queries))
    ranking.add(EncodedRows("queries", rows, queries))
    ranking.add(EncodedRows("relevant", rows, passages))
    places = AnswerPlaces.from_table(ranking.results().table)
    hiding = find_hiding_languages(places, places.decide_fates(), ranking.runs["multi"], DEPTH, 2)
    assert np.array_equal(hiding, np.eye(2))


@pytest.mark.parametrize("depth", [1, 5])
def test_without_hidden_answers_nobody_hides(depth):
    benchmark, queries, passages = build_two_languages(0.0)
    ranking = StreamedRanking(benchmark, run_depth=depth)
    rows = np.arange(len(queries))
    ranking.add(EncodedRows("queries", rows, queries))
    ranking.add(EncodedRows("relevant", rows, passages))
    places = AnswerPlaces.from_table(ranking.results().table)
    hiding = find_hiding_languages(places, places.decide_fates(), ranking.runs["multi"], depth, 2)
    assert np.isnan(hiding).all()
