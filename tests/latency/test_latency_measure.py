"""The timing loop under a fake clock: every nanosecond lands at its checkpoint, stage and query."""

# R rounds, U units, V contestants, S stages, Q queries

import gc
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_ir.latency.measure import Contestant, time_contestants
from hybrid_ir.latency.settings import Search
from hybrid_ir.latency.statistics import (
    build_equivalence_rows,
    build_language_rows,
    build_latency_rows,
    compare_latencies,
    compute_quantiles,
    sort_languages_by_tokens,
)
from hybrid_ir.latency.study import STAGES, Study, Timings, Units, cut_into_units
from hybrid_ir.types import Benchmark

PERCENTILES = ("p50", "p95", "p99")
KEYS = ["checkpoint", "backend", "batch_size", "search", "pool"]


class FakeClock:
    """A clock that moves only when a stage says how long it takes."""

    def __init__(self):
        self.now = 0
        self.visits: list[int] = []  # of checkpoints, in their order

    def __call__(self) -> int:
        return self.now

    def advance(self, ns: int) -> None:
        assert not gc.isenabled()
        self.now += ns


def compute_duration(checkpoint: int, stage: int, texts: list[str]) -> int:
    """Returns nanoseconds that differ for every checkpoint, stage and query."""
    letters = sum(len(text) for text in texts)
    return 1_000_000 * (checkpoint + 1) + 10_000 * (stage + 1) + 7 * letters + len(texts)


def build_stage(clock: FakeClock, checkpoint: int, stage: int) -> Callable:
    """Returns a stage that takes the time of its texts, and hands them on to the next one."""

    def run(texts: list[str]) -> list[str]:
        if stage == 0:
            clock.visits.append(checkpoint)
        clock.advance(compute_duration(checkpoint, stage, texts))
        return texts

    return run


def build_contestants(clock: FakeClock, count: int, searches: int) -> list[Contestant]:
    contestants = []
    for checkpoint in range(count):
        contestant = Contestant(
            f"checkpoint {checkpoint}",
            "torch_fp32",
            tokenise=build_stage(clock, checkpoint, 0),
            forward=build_stage(clock, checkpoint, 1),
            wait=lambda: None,
            searches=[build_stage(clock, checkpoint, 2 + search) for search in range(searches)],
        )
        contestants.append(contestant)
    return contestants


@settings(max_examples=20, deadline=None)
@given(
    batch_size=st.integers(1, 40),
    count=st.integers(1, 3),
    searches=st.integers(1, 2),
    seed=st.integers(0, 99),
)
def test_every_nanosecond_is_where_it_belongs(numbers_benchmark, batch_size, count, searches, seed):
    """A swap of two checkpoints, of stages or of queries would put a wrong number somewhere."""
    units = cut_into_units(numbers_benchmark, batch_size)
    clock = FakeClock()
    contestants = build_contestants(clock, count, searches)
    queries = numbers_benchmark.queries
    timings = time_contestants(contestants, queries, units, 2, 1, seed, clock=clock)
    assert timings.ns_RUVS.shape == (2, len(units), count, 2 + searches)
    for unit, checkpoint, stage in np.ndindex(timings.ns_RUVS.shape[1:]):
        texts = [queries[row] for row in units.rows[unit]]
        expected = compute_duration(checkpoint, stage, texts)
        assert (timings.ns_RUVS[:, unit, checkpoint, stage] == expected).all()
    assert gc.isenabled()


def list_visits(benchmark: Benchmark, seed: int) -> list[int]:
    """Returns in which order three checkpoints are timed on single queries, in two rounds."""
    clock = FakeClock()
    contestants = build_contestants(clock, 3, 1)
    units = cut_into_units(benchmark, 1)
    time_contestants(contestants, benchmark.queries, units, 2, 0, seed, clock=clock)
    return clock.visits


def test_checkpoints_are_interleaved_in_changing_orders(numbers_benchmark):
    visits = np.array(list_visits(numbers_benchmark, seed=5)).reshape(-1, 3)
    assert (np.sort(visits, axis=1) == np.arange(3)).all()  # on every unit each of them once
    assert len({tuple(order) for order in visits}) == 6


def test_the_seed_decides_all_orders(numbers_benchmark):
    visits = list_visits(numbers_benchmark, seed=5)
    assert list_visits(numbers_benchmark, seed=5) == visits
    assert list_visits(numbers_benchmark, seed=6) != visits


def test_waiting_for_the_device_belongs_to_its_stage(numbers_benchmark):
    """The work of a device ends only when it is waited for."""
    clock = FakeClock()
    pending = []

    def start_tokenising(texts: list[str]) -> list[str]:
        pending.append(3)
        return texts

    def start_encoding(texts: list[str]) -> list[str]:
        pending.append(50)
        return texts

    asynchronous = replace(
        build_contestants(clock, 1, 1)[0],
        tokenise=start_tokenising,
        forward=start_encoding,
        wait=lambda: clock.advance(pending.pop()),
    )
    units = cut_into_units(numbers_benchmark, 8)
    timings = time_contestants(
        [asynchronous], numbers_benchmark.queries, units, 1, 0, 0, clock=clock
    )
    assert (timings.ns_RUVS[..., 0] == 3).all()
    assert (timings.ns_RUVS[..., 1] == 50).all()


@settings(max_examples=30, deadline=None)
@given(batch_size=st.integers(1, 50))
def test_units_hold_every_query_once_in_one_language(numbers_benchmark, batch_size):
    units = cut_into_units(numbers_benchmark, batch_size)
    assert sorted(np.concatenate(units.rows)) == list(range(len(numbers_benchmark.queries)))
    for rows, language in zip(units.rows, units.languages_U, strict=True):
        assert (numbers_benchmark.query_languages[rows] == language).all()


@settings(max_examples=20, deadline=None)
@given(batch_size=st.integers(1, 50))
def test_units_are_even_and_parallel_across_languages(numbers_benchmark, batch_size):
    units = cut_into_units(numbers_benchmark, batch_size)
    assert units.queries_U.max() <= batch_size
    first_clusters = units.clusters_U[units.languages_U == 0]
    for language in range(len(numbers_benchmark.languages)):
        is_language_U = units.languages_U == language
        sizes = units.queries_U[is_language_U]
        assert sizes.max() - sizes.min() <= 1
        assert (units.clusters_U[is_language_U] == first_clusters).all()


def draw_timings(rng: np.random.Generator, units: Units) -> Timings:
    """Draws timings of two contestants with two searches, in three rounds."""
    return Timings(units, rng.integers(1_000, 9_000_000, (3, len(units), 2, 4)))


@pytest.fixture
def study(numbers_benchmark) -> Study:
    rng = np.random.default_rng(4)
    timings = [
        draw_timings(rng, cut_into_units(numbers_benchmark, 1)),
        draw_timings(rng, cut_into_units(numbers_benchmark, 7)),
    ]
    tokens_Q = rng.integers(3, 40, len(numbers_benchmark.queries))
    return Study(
        numbers_benchmark,
        contestants=[("a", "onnx"), ("b", "onnx")],
        searches=[Search("exact", 50), Search("exact", 90)],
        tokens={"a": tokens_Q, "b": tokens_Q},
        timings=timings,
    )


@pytest.fixture
def frame(study):
    """The rows of the parquet file, with the total of their stages."""
    frame = study.build_table().to_pandas()
    frame["total_ns"] = frame["tokenise_ns"] + frame["encode_ns"] + frame["search_ns"]
    return frame


def test_latency_rows_can_be_computed_from_the_parquet_rows(study, frame):
    for row in build_latency_rows(study):
        units = frame[(frame[KEYS] == [row[key] for key in KEYS]).all(axis=1)]
        assert len(units) == 3 * row["units"]
        for stage in STAGES:
            ns = units[f"{stage}_ns"]
            percentiles = [row["ms"][stage][name] for name in PERCENTILES]
            assert percentiles == pytest.approx(np.percentile(ns, [50, 95, 99]) / 1e6)
            assert row["ms"][stage]["mean"] == pytest.approx(ns.mean() / 1e6)
        queries_per_ns = units["queries"].sum() / units["total_ns"].sum()
        assert row["queries_per_second"] == pytest.approx(queries_per_ns * 1e9)
        ns_per_query = units["total_ns"] / units["queries"]
        assert row["ms"]["per_query"]["p50"] == pytest.approx(ns_per_query.median() / 1e6)


def test_language_rows_can_be_computed_from_the_parquet_rows(study, frame):
    keys = [*KEYS, "language"]
    rows = build_language_rows(study)
    assert len(rows) == 2 * 2 * 2 * 3  # contestants, batch sizes, searches, languages
    for row in rows:
        units = frame[(frame[keys] == [row[key] for key in keys]).all(axis=1)]
        expected = np.percentile(units["total_ns"], 95) / 1e6
        assert row["ms"]["total"]["p95"] == pytest.approx(expected)
        tokens_per_query = units["tokens"].sum() / units["queries"].sum()
        assert row["tokens_per_query"]["mean"] == pytest.approx(tokens_per_query)


@pytest.mark.parametrize(("slower", "sign"), [("b", 1), ("a", -1)])
def test_the_comparison_sees_which_of_two_checkpoints_is_slower(study, slower, sign):
    """Whoever reads b's timings as a's is found out by the comparison."""
    timings = []
    for original in study.timings:
        fast_RUS = original.ns_RUVS[:, :, 0]
        by_checkpoint = [fast_RUS, fast_RUS * 3 // 2]
        if slower == "a":
            by_checkpoint.reverse()
        timings.append(replace(original, ns_RUVS=np.stack(by_checkpoint, axis=2)))
    rows = build_equivalence_rows(replace(study, timings=timings), 0.05, 1)
    assert len(rows) == 2 * 3  # batch sizes; encoding and the totals of two searches
    for row in rows:
        assert sign * row["slower"]["mean"] > 0.3
        if row["batch_size"] == 1:
            assert row["verdict"] == "different"


def test_equivalence_rows_are_those_of_the_stages_that_they_name(study):
    rows = build_equivalence_rows(study, 0.3, 3)
    names = [(row["batch_size"], row["stage"], row["search"], row["pool"]) for row in rows]
    assert names == [
        (1, "encode", None, None),
        (1, "total", "exact", 50),
        (1, "total", "exact", 90),
        (7, "encode", None, None),
        (7, "total", "exact", 50),
        (7, "total", "exact", 90),
    ]
    timings_by_size = {timings.units.batch_size: timings for timings in study.timings}
    for row in rows:
        assert (row["first"], row["second"], row["backend"]) == ("a", "b", "onnx")
        timings = timings_by_size[row["batch_size"]]
        search = 1 if row["pool"] == 90 else 0
        expected = compare_latencies(
            timings.get_stages(0, search)[row["stage"]],
            timings.get_stages(1, search)[row["stage"]],
            timings.units.clusters_U,
            0.3,
            seed=3,
        )
        for name, share in row["slower"].items():
            assert share == pytest.approx(np.exp(getattr(expected, name)) - 1)
        assert row["p"] == expected.p
        assert row["verdict"] == expected.verdict
        assert row["questions"] == expected.questions
        assert row["margin"] == 0.3


def test_language_rows_hold_the_tokens_of_their_checkpoint_most_tokens_first(study):
    benchmark = study.benchmark
    language_Q = benchmark.query_languages
    tokens_Q = np.array([5, 9, 2])[language_Q] + np.arange(len(language_Q)) % 3
    tokens = {"a": tokens_Q, "b": 3 * tokens_Q[::-1]}
    rows = build_language_rows(replace(study, tokens=tokens))
    for row in rows:
        is_language_Q = language_Q == benchmark.languages.index(row["language"])
        expected = tokens[row["checkpoint"]][is_language_Q]
        assert row["queries"] == is_language_Q.sum()
        assert row["tokens_per_query"] == pytest.approx(
            {"mean": expected.mean(), "p95": np.percentile(expected, 95)}
        )
    languages = list(dict.fromkeys(row["language"] for row in rows))
    assert languages == [benchmark.languages[code] for code in (1, 0, 2)]


def test_languages_are_sorted_by_tokens_per_query_however_many_queries_they_have(study):
    queries = len(study.benchmark.queries)
    uneven_Q = np.full(queries, 0)
    uneven_Q[0] = 1
    uneven_Q[1:3] = 2
    uneven = replace(
        study,
        benchmark=replace(study.benchmark, query_languages=uneven_Q),
        tokens={"a": np.array([5, 9, 2])[uneven_Q]},
    )
    expected = [study.benchmark.languages[code] for code in (1, 0, 2)]
    assert sort_languages_by_tokens(uneven) == expected


def test_latency_rows_say_how_many_queries_a_unit_holds_on_average(study):
    units_by_size = {timings.units.batch_size: timings.units for timings in study.timings}
    for row in build_latency_rows(study):
        units = units_by_size[row["batch_size"]]
        expected = len(study.benchmark.queries) / len(units)
        assert row["queries_per_unit"] == pytest.approx(expected)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=50))
def test_quantiles_are_those_of_numpy_in_milliseconds(ns):
    quantiles = compute_quantiles(np.array(ns))
    expected = np.percentile(ns, [50, 95, 99]) / 1e6
    assert [quantiles[name] for name in PERCENTILES] == pytest.approx(expected)


def test_the_speed_of_a_backend_is_that_of_torch_on_the_same_queries(study):
    timings = study.timings[0]
    ns_RUVS = timings.ns_RUVS.copy()
    ns_RUVS[:, :, 1] = ns_RUVS[:, :, 0] // 4  # whatever a query takes
    both = replace(
        study,
        contestants=[("a", "torch_fp32"), ("a", "onnx_int8")],
        timings=[Timings(timings.units, ns_RUVS)],
    )
    speeds = [row["encode_speed"] for row in build_latency_rows(both)]
    assert speeds == pytest.approx([1, 1, 4, 4], rel=1e-3)
    assert [row["encode_speed"] for row in build_latency_rows(study)] == [None] * 8
