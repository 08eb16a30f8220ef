"""The measured cost of a search is that of the rankings which it really gives."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from hybrid_ir.evaluation.rank_table import VIEWS
from hybrid_ir.index.quality import (
    COMPLETE,
    EXACT,
    SearchesToMeasure,
    compare_with_exact,
    measure_searches,
)
from hybrid_ir.index.search_methods import (
    ExactSearch,
    RescoredSearch,
    build_faiss_file,
    load_faiss_search,
)
from hybrid_ir.index.vectors import (
    FloatVectors,
    QuantisedVectors,
    fit_quantiser,
    name_shard,
    write_tensors,
)
from tests.support.vector_benchmarks import random_problem


@pytest.fixture(scope="module")
def problem(tmp_path_factory):
    """A benchmark, vectors of its queries, and of its passages as floats and as 1 bit."""
    folder = tmp_path_factory.mktemp("quality")
    benchmark, queries, passages = random_problem(3, queries=24, passages=90, with_ties=False)
    queries = torch.nn.functional.normalize(queries)
    passages = torch.nn.functional.normalize(passages)
    write_tensors(folder / "queries", {"vectors": queries})
    paths = []
    for number in range(3):
        path = folder / name_shard("vectors", number)
        write_tensors(path, {"vectors": passages[30 * number : 30 * (number + 1)]})
        paths.append(path)
    vectors = FloatVectors(paths)
    quantiser = fit_quantiser("binary", vectors)
    codes_paths = []
    for number, (_, block) in enumerate(vectors.iterate_blocks()):
        path = folder / name_shard("codes", number)
        write_tensors(path, {"codes": quantiser.encode(block)})
        codes_paths.append(path)
    codes = QuantisedVectors(codes_paths, quantiser, vectors.width)
    return benchmark, FloatVectors([folder / "queries"]), vectors, codes, folder


def compute_average_precision(rows_K: np.ndarray, relevant: set[int]) -> float:
    precisions = []
    for rank, row in enumerate(rows_K.tolist(), start=1):
        if row in relevant:
            precisions.append((len(precisions) + 1) / rank)
    return sum(precisions) / len(relevant)


def average_over_languages(benchmark, values: dict[int, float]) -> float:
    means = []
    for language in range(len(benchmark.languages)):
        of_language = []
        for query, value in values.items():
            if benchmark.query_languages[query] == language:
                of_language.append(value)
        if of_language:
            means.append(np.mean(of_language))
    return float(np.mean(means))


def test_a_deep_exact_search_is_the_complete_ranking(problem):
    benchmark, queries, vectors, _, _ = problem
    quality = measure_searches(benchmark, queries, SearchesToMeasure(vectors), 90)
    searches = quality["searches"]
    assert searches[EXACT] == searches[COMPLETE]
    assert set(searches[EXACT]["map"]) == set(VIEWS)
    assert searches[EXACT]["overlap"] == 1
    shallow = measure_searches(benchmark, queries, SearchesToMeasure(vectors), 5)["searches"]
    for view in VIEWS:
        assert shallow[EXACT]["map"][view] < searches[EXACT]["map"][view]
    assert shallow[COMPLETE]["map"] == searches[COMPLETE]["map"]


def test_the_measure_is_that_of_the_real_searches(problem):
    pytest.importorskip("faiss")
    benchmark, queries, vectors, codes, folder = problem
    build_faiss_file("hnsw", vectors, folder / "faiss")
    faiss = load_faiss_search(folder / "faiss", vectors, None)
    depth = 8
    searches = SearchesToMeasure(vectors, codes, "binary", 3, faiss, "faiss hnsw")
    quality = measure_searches(benchmark, queries, searches, depth)
    methods = {
        EXACT: ExactSearch(vectors),
        "binary": ExactSearch(codes),
        "binary, rescored": RescoredSearch(ExactSearch(codes), vectors, 3),
        "faiss hnsw": RescoredSearch(faiss, vectors),
    }
    queries_QD = queries.take(np.arange(len(queries)))
    for name, method in methods.items():
        _, rows_QK = method.search(queries_QD, depth)
        precisions = {}
        for query, relevant in enumerate(benchmark.relevant):
            if len(relevant):
                precisions[query] = compute_average_precision(rows_QK[query], set(relevant))
        expected = average_over_languages(benchmark, precisions)
        values = quality["searches"][name]
        assert values["map"]["multi"] == pytest.approx(expected, abs=1e-6)
        languages_Q = benchmark.passage_languages[rows_QK[:, 0]]
        share = (languages_Q == benchmark.query_languages).mean()
        assert values["own_language_first"] == pytest.approx(share, abs=1e-6)
        precisions = {}
        for language in range(3):
            is_allowed = benchmark.passage_languages == language
            _, rows_QK = method.search(queries_QD, depth, is_allowed)
            for query, relevant in enumerate(benchmark.relevant):
                own = {row for row in relevant if is_allowed[row]}
                if own and benchmark.query_languages[query] == language:
                    precisions[query] = compute_average_precision(rows_QK[query], own)
        expected = average_over_languages(benchmark, precisions)
        assert values["map"]["mono"] == pytest.approx(expected, abs=1e-6)


def test_changes_are_differences_to_the_exact_search(problem):
    benchmark, queries, vectors, codes, _ = problem
    searches = SearchesToMeasure(vectors, codes, "binary", 3)
    quality = measure_searches(benchmark, queries, searches, 8)
    changes = compare_with_exact(quality, "binary")
    assert set(changes) == set(benchmark.languages)
    for language, change in changes.items():
        exact = quality["searches"][EXACT]["by_language"][language]["multi"]
        coded = quality["searches"]["binary"]["by_language"][language]["multi"]
        assert change["multi"] == pytest.approx(coded - exact)
    for change in compare_with_exact(quality, EXACT).values():
        assert set(change.values()) == {0.0}


def test_a_passage_that_is_the_query_is_left_out(problem):
    benchmark, queries, vectors, _, _ = problem
    own = np.full(len(benchmark.queries), -1)
    query_0 = queries.take(np.array([0]))
    _, rows_QK = ExactSearch(vectors).search(query_0, 90)
    relevant = set(benchmark.relevant[0])
    own[0] = next(row for row in rows_QK[0] if row not in relevant)
    changed = replace(benchmark, own_passages=own)
    quality = measure_searches(changed, queries, SearchesToMeasure(vectors), 90)
    assert quality["searches"][EXACT]["map"] == quality["searches"][COMPLETE]["map"]
