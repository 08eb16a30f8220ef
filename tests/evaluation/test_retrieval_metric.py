"""The metric: exact in any order of texts, in any number of processes, in anybody's module."""

import copy
import json
import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics import retrieval

from hybrid_ir import MultilingualRetrieval
from hybrid_ir.evaluation.encoding import mark_relevant
from hybrid_ir.evaluation.rank_counter import rank_benchmark
from hybrid_ir.evaluation.rank_table import MULTILINGUAL, VIEWS
from hybrid_ir.evaluation.results import Results
from hybrid_ir.system.processes import RankProcesses
from hybrid_ir.types import Benchmark
from tests.support.command_line import ROOT, environment
from tests.support.metric_rank import EPOCHS, TEMPERATURE, build_problem
from tests.support.vector_benchmarks import PASSAGES, random_problem

SEEDS = st.integers(0, 10**6)
TORCHMETRICS = {
    "map": retrieval.RetrievalMAP(empty_target_action="skip"),
    "mrr@10": retrieval.RetrievalMRR(empty_target_action="skip", top_k=10),
    "ndcg@10": retrieval.RetrievalNormalizedDCG(empty_target_action="skip", top_k=10),
    "recall@1": retrieval.RetrievalRecall(empty_target_action="skip", top_k=1),
    "recall@10": retrieval.RetrievalRecall(empty_target_action="skip", top_k=10),
}


def iterate_updates(benchmark: Benchmark, seed: int, chunks: int) -> Iterator[tuple]:
    """Role and rows of chunks in random order; some texts come again in a later chunk."""
    rng = np.random.default_rng(seed)
    updates = []
    for role, texts in (("query", benchmark.queries), ("passage", benchmark.passages)):
        rows = rng.permutation(len(texts))
        updates += [(role, part) for part in np.array_split(rows, chunks)]
    updates = [updates[place] for place in rng.permutation(len(updates))]
    repeated = updates[: chunks // 2]
    yield from updates
    yield from repeated


def fill(metric: MultilingualRetrieval, updates, queries_QD, passages_ND) -> None:
    for role, rows in updates:
        vectors = queries_QD if role == "query" else passages_ND
        metric.update(vectors[torch.from_numpy(rows)], rows, role)


def require_exact(results: Results, benchmark: Benchmark, queries_QD, passages_ND) -> None:
    """Asserts the results of ranking all vectors at once."""
    table = rank_benchmark(queries_QD, passages_ND, benchmark, TEMPERATURE)
    np.testing.assert_array_equal(results.table.above, table.above)
    np.testing.assert_array_equal(results.table.tied, table.tied)
    assert results.table.above.dtype == table.above.dtype
    np.testing.assert_array_equal(results.table.scores, table.scores)
    np.testing.assert_allclose(results.table.losses, table.losses, rtol=1e-12)
    assert results.summary() == Results.from_table(table, benchmark).summary()


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.integers(1, 7))
def test_order_chunks_and_repeated_texts_change_nothing(seed, chunks):
    problem = build_problem(seed)
    benchmark, *vectors = problem
    metric = MultilingualRetrieval(benchmark, TEMPERATURE)
    fill(metric, iterate_updates(benchmark, seed, chunks), *vectors)
    results = metric.compute()
    require_exact(results, *problem)
    assert metric.compute() is results
    metric.reset()
    other_vectors = build_problem(seed + 1)[1:]
    fill(metric, iterate_updates(benchmark, seed + 1, chunks), *other_vectors)
    require_exact(metric.compute(), benchmark, *other_vectors)


def test_vectors_that_are_all_in_memory_need_no_rows():
    problem = build_problem(3)
    benchmark, queries_QD, passages_ND = problem
    metric = MultilingualRetrieval(benchmark, TEMPERATURE)
    assert metric(queries_QD, role="query") is None
    assert metric(passages_ND) is None
    require_exact(metric.compute(), *problem)


def test_the_caller_may_fill_the_same_memory_again():
    problem = build_problem(4)
    benchmark, *vectors = problem
    metric = MultilingualRetrieval(benchmark, TEMPERATURE)
    for role, rows in iterate_updates(benchmark, 4, 5):
        texts = vectors[0] if role == "query" else vectors[1]
        buffer = texts[torch.from_numpy(rows)]
        metric.update(buffer, rows, role)
        buffer.zero_()
    require_exact(metric.compute(), *problem)


@settings(max_examples=10, deadline=None)
@given(SEEDS)
def test_passages_are_forgotten_once_everything_needed_is_known(seed):
    benchmark, queries_QD, passages_ND = random_problem(seed)
    is_relevant_N = mark_relevant(benchmark)
    relevant_rows = np.flatnonzero(is_relevant_N)
    other_rows = np.flatnonzero(~is_relevant_N)
    metric = MultilingualRetrieval(benchmark, TEMPERATURE)
    fill(metric, [("passage", other_rows[:5])], queries_QD, passages_ND)
    assert len(metric.waiting_rows) == 1
    metric.update(queries_QD, role="query")
    assert len(metric.waiting_rows) == 1
    fill(metric, [("passage", relevant_rows)], queries_QD, passages_ND)
    assert metric.waiting_rows == []
    fill(metric, [("passage", other_rows[5:])], queries_QD, passages_ND)
    assert metric.waiting_rows == []
    require_exact(metric.compute(), benchmark, queries_QD, passages_ND)


@settings(max_examples=12, deadline=None)
@given(SEEDS, st.integers(0, 8), st.sampled_from(["pickle", "deepcopy", "state_dict", "device"]))
def test_a_copy_of_a_metric_goes_on_where_it_was(seed, place, kind):
    problem = build_problem(seed)
    benchmark, *vectors = problem
    metric = MultilingualRetrieval(benchmark, TEMPERATURE)
    updates = list(iterate_updates(benchmark, seed, 4))
    fill(metric, updates[:place], *vectors)
    if kind == "pickle":
        copied = pickle.loads(pickle.dumps(metric))
    elif kind == "deepcopy":
        copied = copy.deepcopy(metric)
    elif kind == "state_dict":
        assert metric.state_dict() == {}
        metric.persistent(True)
        copied = MultilingualRetrieval(benchmark, TEMPERATURE)
        copied.load_state_dict(metric.state_dict())
    else:
        copied = metric.to("cpu").double().half()
    fill(copied, updates[place:], *vectors)
    require_exact(copied.compute(), *problem)
    if kind != "device":
        fill(metric, updates[place:], *vectors)
        require_exact(metric.compute(), *problem)


@settings(max_examples=10, deadline=None)
@given(SEEDS)
def test_a_passage_of_several_windows_scores_as_its_best_one(seed):
    benchmark, queries_QD, _ = random_problem(seed)
    rng = np.random.default_rng(seed)
    rows_W = rng.permutation(np.repeat(np.arange(PASSAGES), rng.integers(1, 4, PASSAGES)))
    windows_WD = torch.from_numpy(rng.normal(size=(len(rows_W), 5)).astype(np.float32))
    metric = MultilingualRetrieval(benchmark)
    metric.update(queries_QD, role="query")
    for part in np.array_split(np.arange(PASSAGES), 3):
        is_of_part = np.isin(rows_W, part)
        metric.update(windows_WD[torch.from_numpy(is_of_part)], rows_W[is_of_part])
    table = metric.compute().table
    scores_QW = (queries_QD.double() @ windows_WD.double().T).numpy()
    for query, rows in enumerate(benchmark.relevant):
        best_N = [scores_QW[query, rows_W == row].max() for row in range(PASSAGES)]
        for place, row in enumerate(rows):
            assert table.above[query, place, 1] == (best_N > best_N[row] + 1e-12).sum()


@settings(max_examples=10, deadline=None)
@given(SEEDS)
def test_means_are_those_of_torchmetrics(seed):
    benchmark, queries_QD, passages_ND = random_problem(seed, queries=9, with_ties=False)
    metric = MultilingualRetrieval(benchmark)
    fill(metric, iterate_updates(benchmark, seed, 3), queries_QD, passages_ND)
    results = metric.compute()
    for view in VIEWS:
        places, targets, indexes = flatten_view(benchmark, queries_QD, passages_ND, view)
        if not targets.any():
            continue
        for name, other_metric in TORCHMETRICS.items():
            expected = other_metric(places, targets, indexes=indexes)
            assert results.micro(view)[name] == pytest.approx(expected.item(), abs=1e-5), name
            other_metric.reset()


def flatten_view(
    benchmark: Benchmark, queries_QD: torch.Tensor, passages_ND: torch.Tensor, view: str
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Scores, relevance and number of the ranking of each pair of a query and a passage."""
    scores_QN = queries_QD.double() @ passages_ND.double().T
    # places instead of scores, which float32 could make equal; what is not above 0 is not found
    places_QN = 1 + scores_QN.argsort(dim=1).argsort(dim=1).float()
    parts = []
    number = 0
    for query, query_language in enumerate(benchmark.query_languages):
        languages = [MULTILINGUAL] if view == "multi" else range(3)
        for language in languages:
            if view != "multi" and (language == query_language) != (view == "mono"):
                continue
            rows = np.arange(PASSAGES)
            if view != "multi":
                rows = np.flatnonzero(benchmark.passage_languages == language)
            is_relevant = torch.from_numpy(np.isin(rows, benchmark.relevant[query]))
            places = places_QN[query, torch.from_numpy(rows)]
            parts.append((places, is_relevant, torch.full((len(rows),), number)))
            number += 1
    places, targets, indexes = zip(*parts, strict=True)
    return torch.cat(places), torch.cat(targets), torch.cat(indexes)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"role": "document"}, "role='document' must be query or passage"),
        ({"role": "query"}, r"40 vectors and rows of shape \(7,\).*which of the 7 rows"),
        ({"rows": range(39)}, r"40 vectors and rows of shape \(39,\)"),
        ({"rows": np.arange(40.0)}, "40 vectors and rows .* type float64"),
        ({"rows": range(1, 41)}, "rows from 1 to 40 must be rows of the 40 passage texts"),
        ({"rows": range(-1, 39)}, "rows from -1 to 38 must be rows of the 40"),
        ({"vectors": torch.zeros(40)}, r"vectors of shape \(40,\) must be a tensor"),
        ({"vectors": torch.full((40, 5), torch.nan)}, "40 of 40 passage embeddings hold NaN"),
        ({"vectors": torch.zeros(40, 4)}, "width 4 after vectors of width 5"),
    ],
)
def test_wrong_input_is_one_error(arguments, message):
    benchmark, queries_QD, passages_ND = random_problem(1)
    metric = MultilingualRetrieval(benchmark)
    metric.update(queries_QD, role="query")
    with pytest.raises(ValueError, match=message):
        metric.update(**({"vectors": passages_ND} | arguments))
    metric.update(passages_ND)
    require_exact_ranks(metric, benchmark, queries_QD, passages_ND)


def require_exact_ranks(metric, benchmark, queries_QD, passages_ND) -> None:
    table = rank_benchmark(queries_QD, passages_ND, benchmark)
    np.testing.assert_array_equal(metric.compute().table.above, table.above)


def test_an_incomplete_pool_is_an_error_until_it_is_complete():
    benchmark, queries_QD, passages_ND = random_problem(1)
    metric = MultilingualRetrieval(benchmark)
    metric.update(queries_QD[:3], range(3), "query")
    metric.update(passages_ND[2:], range(2, PASSAGES))
    message = f"3 of 7 queries and {PASSAGES - 2} of {PASSAGES} passages were encoded"
    for incomplete in (metric.compute, metric.share):
        with pytest.raises(ValueError, match=message):
            incomplete()
    metric.update(queries_QD[3:], range(3, 7), "query")
    metric.update(passages_ND[:2], range(2))
    require_exact_ranks(metric, benchmark, queries_QD, passages_ND)


def test_vectors_after_the_results_need_a_reset():
    benchmark, queries_QD, passages_ND = random_problem(3)
    metric = MultilingualRetrieval(benchmark)
    for _ in range(2):
        metric.update(queries_QD, role="query")
        metric.update(passages_ND)
        require_exact_ranks(metric, benchmark, queries_QD, passages_ND)
        with pytest.raises(ValueError, match=r"compute\(\) has given the results of all"):
            metric.update(queries_QD, role="query")
        metric.reset()


def test_results_and_benchmarks_are_shown_without_their_texts():
    benchmark, queries_QD, passages_ND = random_problem(3)
    metric = MultilingualRetrieval(benchmark)
    metric.update(queries_QD, role="query")
    metric.update(passages_ND)
    assert repr(metric.compute()).startswith("Results(Benchmark('random', ")
    assert len(repr(metric.compute())) < 300


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_a_temperature_that_no_softmax_has_is_refused(temperature):
    benchmark, _, _ = random_problem(3)
    with pytest.raises(ValueError, match="must be above 0"):
        MultilingualRetrieval(benchmark, temperature=temperature)
    with pytest.raises(ValueError, match="benchmark='xquad_r' is no Benchmark"):
        MultilingualRetrieval("xquad_r")


def test_metrics_cannot_be_merged():
    benchmark, *_ = random_problem(1)
    metric = MultilingualRetrieval(benchmark)
    with pytest.raises(NotImplementedError, match="cannot be merged"):
        metric.merge_state(MultilingualRetrieval(benchmark))


def test_a_metric_made_in_inference_mode_is_usable_outside():
    problem = build_problem(5)
    benchmark, *vectors = problem
    metric = MultilingualRetrieval(benchmark, TEMPERATURE)
    updates = list(iterate_updates(benchmark, 5, 4))
    with torch.inference_mode():
        metric.reset()
        fill(metric, updates[:5], *vectors)
    fill(metric, updates[5:], *vectors)
    require_exact(metric.compute(), *problem)


@pytest.fixture(scope="module")
def run_processes(tmp_path_factory) -> Callable[[int], list[dict]]:
    """Returns a function that runs all cases in so many processes, once, and what each measured."""
    place = tmp_path_factory.mktemp("processes")

    def run(ranks: int) -> list[dict]:
        folder = place / f"{ranks}"
        if not folder.exists():
            folder.mkdir()
            command = [sys.executable, "-m", "tests.support.metric_rank", str(folder), str(ranks)]
            variables = environment(place, PYTHONPATH=str(ROOT), OMP_NUM_THREADS="1")
            RankProcesses(ranks, variables).start(command).wait()
        return [read_measured(folder, rank) for rank in range(ranks)]

    return run


def read_measured(folder: Path, rank: int) -> dict:
    return json.loads((folder / f"measured-{rank}.json").read_text())


@pytest.mark.parametrize("ranks", [2, 3])
def test_any_number_of_processes_measures_the_same_bits(run_processes, ranks):
    [one] = run_processes(1)
    for measured in run_processes(ranks):
        for name, expected in one.items():
            assert measured[name] == expected, name


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_a_plain_module_under_a_plain_trainer_logs_the_exact_means(run_processes, ranks):
    """The sampler of the trainer repeats texts where the last batch is not full."""
    benchmark, *_ = build_problem(0)
    expected = []
    for epoch in range(EPOCHS):
        _, queries_QD, passages_ND = build_problem(epoch)
        table = rank_benchmark(queries_QD, passages_ND, benchmark, TEMPERATURE)
        expected.append(Results.from_table(table, benchmark).summary())
    for measured in run_processes(ranks):
        assert measured["trainer"] == expected


def test_a_passage_that_two_processes_counted_is_an_error(run_processes):
    for measured in run_processes(2):
        assert "1 passages were encoded by several processes after share()" in measured["repeated"]
