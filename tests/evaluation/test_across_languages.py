"""What the multilingual view says of languages, ties inside the views, and vectors that come in any form."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from hybrid_ir.evaluation import rank_counter as ranking
from hybrid_ir.evaluation.metrics import Ranks, compute_metrics
from hybrid_ir.evaluation.rank_counter import RankCounter, rank_benchmark
from hybrid_ir.evaluation.relevant_passages import list_relevant_rows, pad_rows
from hybrid_ir.evaluation.results import ALL, Results
from hybrid_ir.evaluation.streaming import StreamedRanking
from hybrid_ir.types import Benchmark, Source
from tests.evaluation import test_rank_counter as test_ranking
from tests.evaluation.test_results import rows_of, world

SOURCE = Source("made", "texts made for a test", "none", "none")


def unit_vectors(seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(174, 8, generator=torch.Generator().manual_seed(seed)), dim=1)


def test_language_metrics_of_the_multilingual_view():
    benchmark, table, scores = world(3)
    results = Results.of(table, benchmark)
    for i in rows_of(results, "multi", ALL):
        query = results.query[i]
        order = np.argsort(-scores[query])
        relevant = [row for row in order if row in benchmark.relevant[query]]
        own = benchmark.passage_languages[relevant] == benchmark.query_languages[query]
        place = np.array([int(np.flatnonzero(order == row)[0]) + 1 for row in relevant])
        first = own[0] if own.any() and not own.all() else np.nan  # where both could come first
        np.testing.assert_equal(results.values["lpr@1"][i], first)
        distance = (place[-1] - place[0]) / 150 if len(place) > 1 else np.nan
        assert results.values["rank_distance_normalised"][i] == pytest.approx(distance, nan_ok=True)
        if not own.all():
            assert results.values["tlr@20"][i] == pytest.approx(np.mean(place[~own] <= 20))


def test_ties_reach_the_views():
    benchmark, _, _ = world(3)
    vectors = unit_vectors()
    vectors[24:] = vectors[24:][torch.from_numpy(np.random.default_rng(0).integers(0, 60, 150))]
    scores = vectors[:24].double() @ vectors[24:].double().T
    results = Results.of(rank_benchmark(vectors[:24], vectors[24:], benchmark), benchmark)
    for i in rows_of(results, "multi", ALL):
        query = results.query[i]
        tied = [
            ((scores[query] - scores[query, row]).abs() < 1e-12).sum().item() > 1
            for row in benchmark.relevant[query]
        ]
        assert results.values["tie_rate"][i] == pytest.approx(np.mean(tied))


def test_columns_name_the_query_language_and_pools_have_their_size():
    benchmark, table, _ = world(1)
    results = Results.of(table, benchmark)
    columns, names = results.columns().to_pandas(), np.array(benchmark.languages)
    assert (columns["query_language"] == names[benchmark.query_languages[columns["query"]]]).all()
    asked = [str(benchmark.question_ids[query]) for query in columns["query"]]
    assert columns["question_id"].tolist() == asked
    multi = columns["view"] == "multi"
    assert (columns["passage_language"][multi] == "all").all() and set(
        columns["passage_language"][~multi]
    ) <= set(names)
    assert results.pool_sizes == dict(
        zip(names, np.bincount(benchmark.passage_languages).tolist(), strict=True)
    )


def test_full_batches_are_counted_too(monkeypatch):
    benchmark, vectors = world(0)[0], unit_vectors(1)
    whole = rank_benchmark(vectors[:24], vectors[24:], benchmark)
    monkeypatch.setattr(ranking, "PASSAGES_PER_COUNT", 16)
    cut = rank_benchmark(vectors[:24], vectors[24:], benchmark)
    assert cut.pool_sizes.sum() == 150 and np.array_equal(cut.above, whole.above)


@pytest.mark.parametrize("seed", range(20))
def test_vectors_of_any_length(seed):
    benchmark, queries, passages = test_ranking.world(seed, 10, 40, 64)
    scales = (
        torch.from_numpy(2.0 ** np.random.default_rng(seed).integers(0, 3, 40)).float()[:, None]
        * 64
    )
    queries, passages = queries * 1024, passages * scales
    passages[0] /= 2**12
    above, tied, _ = test_ranking.brute_force(benchmark, queries, passages)
    table = rank_benchmark(queries, passages, benchmark)
    assert np.array_equal(table.above, above) and np.array_equal(table.tied, tied)


def test_the_first_bad_vector_is_named_by_its_row():
    benchmark, vectors = world(0)[0], unit_vectors()
    relevant_QR = pad_rows(benchmark.relevant)
    rows = list_relevant_rows(relevant_QR)
    counter = RankCounter(
        vectors[:24],
        benchmark.query_languages,
        relevant_QR,
        vectors[24:][rows],
        benchmark.passage_languages[rows],
        benchmark.languages,
    )
    broken = vectors[24:].clone()
    broken[140] = torch.nan
    with pytest.raises(ValueError, match="first at row 140"):
        counter.add(np.arange(100, 150), broken[100:], benchmark.passage_languages[100:])


@pytest.mark.parametrize("temperature", [0.005, 0.05, 1.0])
def test_the_loss_at_any_temperature(temperature):
    benchmark = Benchmark(
        ("a",),
        ["q"],
        np.zeros(1, int),
        ["0"],
        list("abc"),
        np.zeros(3, int),
        list("abc"),
        [np.array([2])],
        SOURCE,
    )
    query, passages = (
        torch.tensor([[1.0, 0]]),
        F.normalize(torch.tensor([[0.99, 0.1], [0.98, 0.2], [-1, 0.1]]), dim=1),
    )
    scores = (query.double() @ passages.double().T)[0] / temperature
    expected = float(scores.logsumexp(0) - scores[2])
    assert rank_benchmark(query, passages, benchmark, temperature).losses[0] == pytest.approx(
        expected, rel=1e-9
    )


def test_normalised_maximal_rank_of_three():
    ranks = Ranks(
        np.array([[0, 1, 5]]), np.zeros((1, 3), int), np.ones((1, 3), bool), np.array([3]), 16
    )
    expected = 100 * (4 - np.log2(6)) / (4 - np.log2(3))
    assert compute_metrics(ranks, ["max_rank_normalised"])["max_rank_normalised"][
        0
    ] == pytest.approx(expected)


def streamed(benchmark: Benchmark, vectors: torch.Tensor, left_out: int = 0) -> StreamedRanking:
    """Three neighbouring passages share a text, hence a vector."""
    found = set(np.concatenate(benchmark.relevant).tolist())
    ranking_ = StreamedRanking(benchmark)
    ranking_.add("queries", [np.array([i]) for i in range(24)], vectors[:24])
    for stage, wanted in (("relevant", True), ("others", False)):
        groups = [
            rows
            for rows in (np.arange(i, i + 3) for i in range(0, 150, 3))
            if bool(found & set(rows.tolist())) == wanted
        ]
        groups = groups[left_out:] if stage == "others" else groups
        ranking_.add(stage, groups, vectors[24:][torch.tensor([rows[0] for rows in groups])])
    return ranking_


def test_all_rows_of_a_text_get_its_vector_and_none_may_be_missing():
    benchmark, vectors = world(5)[0], unit_vectors()
    vectors[24:] = vectors[24:][torch.arange(150) // 3 * 3]
    expected = Results.of(rank_benchmark(vectors[:24], vectors[24:], benchmark), benchmark)
    assert (
        streamed(benchmark, vectors).results().values["map"].tolist()
        == expected.values["map"].tolist()
    )
    with pytest.raises(
        ValueError, match="147 of 150 passages were encoded; ranks need the whole pool"
    ):
        streamed(benchmark, vectors, left_out=1).results()
