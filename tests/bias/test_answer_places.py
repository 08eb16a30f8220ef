"""What becomes of answers, beside a count by brute force over all scores."""

import itertools

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
    fate_P = places.fate_P
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
        fate_P = places.fate_P
        is_across_P = places.is_across_P
        shares[offset] = (fate_P[is_across_P] == HIDDEN).mean()
        assert (fate_P[~is_across_P] == FOUND).all()
    assert shares[0.0] == 0
    assert shares[8.0] == 1


def test_what_stands_before_hidden_answers_is_what_hides_them():
    benchmark, queries, passages = build_two_languages(8.0)
    ranking = StreamedRanking(benchmark, run_depth=DEPTH + 2)
    rows = np.arange(len(queries))
    ranking.add(EncodedRows("queries", rows, queries))
    ranking.add(EncodedRows("relevant", rows, passages))
    places = AnswerPlaces.from_table(ranking.results().table)
    hiding = find_hiding_languages(places, ranking.runs["multi"], 2)
    assert np.array_equal(hiding.shares_LL, np.eye(2))
    assert hiding.answers_L.tolist() == [4 * DEPTH, 4 * DEPTH]
    assert hiding.compute_own_share() == 1


@pytest.mark.parametrize("depth", [1, 5])
def test_without_hidden_answers_nobody_hides(depth):
    benchmark, queries, passages = build_two_languages(0.0)
    ranking = StreamedRanking(benchmark, run_depth=depth)
    rows = np.arange(len(queries))
    ranking.add(EncodedRows("queries", rows, queries))
    ranking.add(EncodedRows("relevant", rows, passages))
    places = AnswerPlaces.from_table(ranking.results().table)
    hiding = find_hiding_languages(places, ranking.runs["multi"], 2)
    assert np.isnan(hiding.shares_LL).all()
    assert np.isnan(hiding.compute_own_share())


@settings(deadline=None, max_examples=60)
@given(data=st.data(), own=st.integers(1, 5), others=st.integers(0, 5), depth=st.integers(1, 6))
def test_chance_is_the_share_of_all_orders_of_the_languages_that_hide_the_answer(
    data, own, others, depth
):
    """An answer at a place of a ranking, and every way to give languages to the other places."""
    size = own + others
    mixed_place = data.draw(st.integers(1, size))
    fair_depth = depth * size / own
    other_places = [place for place in range(1, size + 1) if place != mixed_place]
    hidden = 0
    orders = list(itertools.combinations(other_places, own - 1))
    for own_places in orders:
        own_place = 1 + sum(place < mixed_place for place in own_places)
        hidden += mixed_place > fair_depth and own_place <= depth
    places = build_place(1, mixed_place, own, size, fair_depth, depth)
    assert places.chance_P == pytest.approx([hidden / len(orders)], abs=1e-12)


def build_place(
    own_place: float,
    mixed_place: float,
    own_size: int,
    mixed_size: int,
    fair_depth: float,
    depth: int = DEPTH,
) -> AnswerPlaces:
    """The places of one answer to a question in another language."""
    return AnswerPlaces(
        query_P=np.array([0]),
        query_language_P=np.array([0]),
        answer_language_P=np.array([1]),
        row_P=np.array([0]),
        own_place_P=np.array([float(own_place)]),
        mixed_place_P=np.array([float(mixed_place)]),
        own_size_P=np.array([own_size]),
        mixed_size_P=np.array([mixed_size]),
        fair_depth_P=np.array([fair_depth]),
        depth=depth,
    )


@pytest.mark.parametrize("sizes", [(300, 300, 300), (900, 120, 120)])
def test_scores_that_ignore_language_lose_nothing_beyond_chance(sizes):
    """Questions whose answer is a little better than the rest, in collections of any sizes."""
    rng = np.random.default_rng(5)
    languages_N = np.repeat(range(len(sizes)), sizes)
    bounds = np.cumsum([0, *sizes])
    excess = 0.0
    hidden = 0
    found_alone = 0
    for _ in range(3000):
        scores_N = rng.normal(size=len(languages_N))
        language = int(rng.integers(len(sizes)))
        row = int(bounds[language])
        scores_N[row] = rng.normal(1.8)
        own_place = 1 + (scores_N[languages_N == language] > scores_N[row]).sum()
        mixed_place = 1 + (scores_N > scores_N[row]).sum()
        size = sizes[language]
        fair_depth = DEPTH * len(languages_N) / size
        places = build_place(own_place, mixed_place, size, len(languages_N), fair_depth)
        is_hidden = places.fate_P[0] == HIDDEN
        hidden += is_hidden
        found_alone += own_place <= DEPTH
        excess += is_hidden - places.chance_P[0]
    assert hidden > 0.01 * found_alone
    assert abs(excess) < 0.01 * found_alone
