"""StreamedRanking: the same ranks as ranking all at once."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_ir.evaluation.rank_counter import rank_benchmark
from hybrid_ir.evaluation.streaming import StreamedRanking
from hybrid_ir.types import Benchmark, Source


def problem(seed: int) -> tuple[Benchmark, torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    queries, passages = 12, 40
    relevant = [
        np.sort(rng.choice(passages, rng.integers(1, 4), replace=False)) for _ in range(queries)
    ]
    benchmark = Benchmark(
        ("a", "b"),
        [f"q{i}" for i in range(queries)],
        rng.integers(0, 2, queries),
        [str(i) for i in range(queries)],
        [f"p{i}" for i in range(passages)],
        rng.integers(0, 2, passages),
        [f"id{i}" for i in range(passages)],
        relevant,
        Source("made", "vectors made for a test", "none", "none"),
    )
    vectors = [
        F.normalize(torch.from_numpy(rng.normal(size=(n, 8)) + 1).float(), dim=1)
        for n in (queries, passages)
    ]
    return benchmark, *vectors


def streamed(benchmark, queries, passages, seed, **choices):
    rng = np.random.default_rng(seed)
    ranking = StreamedRanking(benchmark, **choices)
    found = np.unique(np.concatenate(benchmark.relevant))
    stages = {
        "queries": (np.arange(len(queries)), queries),
        "relevant": (found, passages),
        "others": (np.setdiff1d(np.arange(len(passages)), found), passages),
    }
    for stage, (rows, vectors) in stages.items():
        for part in np.array_split(rng.permutation(rows), 3):
            ranking.add(stage, [np.array([row]) for row in part], vectors[torch.from_numpy(part)])
    return ranking.results()


@given(seed=st.integers(0, 999))
@settings(max_examples=15, deadline=None)
def test_languages_at_the_top_are_those_of_each_query_language(seed):
    benchmark, queries, passages = problem(seed)
    found = streamed(benchmark, queries, passages, seed, with_geometry=True).geometry["language_mix@10"]
    order = np.argsort(-(queries.double() @ passages.double().T).numpy(), axis=1)[:, :10]
    for code in range(2):
        mine = benchmark.passage_languages[order[benchmark.query_languages == code]]
        expected = (
            [(mine == language).mean() for language in range(2)] if len(mine) else [np.nan] * 2
        )
        np.testing.assert_allclose(found[code], expected)


@pytest.mark.parametrize("asked", [0, 12])
def test_nothing_relevant_is_nothing_to_measure(asked):
    benchmark, *_ = problem(1)
    nothing = replace(
        benchmark,
        queries=benchmark.queries[:asked],
        query_languages=benchmark.query_languages[:asked],
        question_ids=benchmark.question_ids[:asked],
        relevant=[np.zeros(0, np.int64)] * asked,
    )
    with pytest.raises(ValueError, match="no query has a relevant passage"):
        StreamedRanking(nothing)


@given(seed=st.integers(0, 999), order=st.integers(0, 999))
@settings(max_examples=20, deadline=None)
def test_order_and_batches_do_not_matter(seed, order):
    benchmark, queries, passages = problem(seed)
    table = rank_benchmark(queries, passages, benchmark, 0.05)
    results = streamed(benchmark, queries, passages, order, temperature=0.05)
    again = streamed(benchmark, queries, passages, order + 1, temperature=0.05)
    assert results.summary() == pytest.approx(again.summary(), abs=1e-12)
    assert results.loss == pytest.approx(float(np.nanmean(table.losses)), rel=1e-6)
