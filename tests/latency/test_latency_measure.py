"""The timing loop under a fake clock: every nanosecond lands at its checkpoint, stage and query."""

# R rounds, U units, V contestants, S stages

import gc
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
from hybrid_ir.latency.study import Study, Timings, cut_into_units


class Clock:
    """Moves only when a stage says how long it takes."""

    def __init__(self):
        self.now, self.visits = 0, []

    def __call__(self) -> int:
        return self.now

    def take(self, ns: int) -> None:
        assert not gc.isenabled()
        self.now += ns


def nanoseconds(checkpoint: int, stage: int, texts: list[str]) -> int:
    """A different number for every checkpoint, stage and query."""
    return (
        1_000_000 * (checkpoint + 1) + 10_000 * (stage + 1) + sum(map(len, texts)) * 7 + len(texts)
    )


def contestants_of(clock: Clock, count: int, searches: int) -> list[Contestant]:
    def one(checkpoint: int) -> Contestant:
        def step(stage: int):
            def take(texts: list[str]) -> list[str]:
                if stage == 0:
                    clock.visits.append(checkpoint)
                clock.take(nanoseconds(checkpoint, stage, texts))
                return texts

            return take

        return Contestant(
            f"checkpoint {checkpoint}",
            "torch_fp32",
            step(0),
            step(1),
            lambda: None,
            [step(2 + s) for s in range(searches)],
        )

    return [one(checkpoint) for checkpoint in range(count)]


@settings(max_examples=20, deadline=None)
@given(
    batch_size=st.integers(1, 40),
    count=st.integers(1, 3),
    searches=st.integers(1, 2),
    seed=st.integers(0, 99),
)
def test_every_nanosecond_is_where_it_belongs(numbers_benchmark, batch_size, count, searches, seed):
    """A swap of two checkpoints, of stages or of queries would put a wrong number somewhere."""
    cut, clock = cut_into_units(numbers_benchmark, batch_size), Clock()
    timings = time_contestants(
        contestants_of(clock, count, searches),
        numbers_benchmark.queries,
        cut,
        2,
        1,
        seed,
        clock=clock,
    )
    assert timings.ns_RUVS.shape == (2, len(cut), count, 2 + searches)
    for _, unit, checkpoint, stage in np.ndindex(timings.ns_RUVS.shape):
        texts = [numbers_benchmark.queries[row] for row in cut.rows[unit]]
        assert (
            timings.ns_RUVS[:, unit, checkpoint, stage] == nanoseconds(checkpoint, stage, texts)
        ).all()
    assert gc.isenabled()


def test_checkpoints_are_interleaved_in_changing_orders(numbers_benchmark):
    cut, clock = cut_into_units(numbers_benchmark, 1), Clock()
    time_contestants(
        contestants_of(clock, 3, 1), numbers_benchmark.queries, cut, 2, 0, 5, clock=clock
    )
    visits = np.array(clock.visits).reshape(-1, 3)
    assert (np.sort(visits, axis=1) == np.arange(3)).all()  # on every unit each of them once
    assert len({tuple(order) for order in visits}) == 6
    again = Clock()
    time_contestants(
        contestants_of(again, 3, 1), numbers_benchmark.queries, cut, 2, 0, 5, clock=again
    )
    assert again.visits == clock.visits


def test_what_is_waited_for_belongs_to_its_stage(numbers_benchmark):
    """Work of a device that ends only when it is waited for."""
    clock = Clock()
    pending = []
    one = contestants_of(clock, 1, 1)[0]
    asynchronous = replace(
        one,
        tokenise=lambda texts: pending.append(3) or texts,
        forward=lambda texts: pending.append(50) or texts,
        wait=lambda: clock.take(pending.pop()),
    )
    timings = time_contestants(
        [asynchronous],
        numbers_benchmark.queries,
        cut_into_units(numbers_benchmark, 8),
        1,
        0,
        0,
        clock=clock,
    )
    assert (timings.ns_RUVS[..., 0] == 3).all() and (timings.ns_RUVS[..., 1] == 50).all()


@settings(max_examples=30, deadline=None)
@given(batch_size=st.integers(1, 50))
def test_units_hold_every_query_once_in_one_language(numbers_benchmark, batch_size):
    cut = cut_into_units(numbers_benchmark, batch_size)
    assert sorted(np.concatenate(cut.rows)) == list(range(len(numbers_benchmark.queries)))
    assert cut.queries_U.max() <= batch_size
    for rows, language in zip(cut.rows, cut.languages_U, strict=True):
        assert (numbers_benchmark.query_languages[rows] == language).all()
    for language in range(3):
        sizes = cut.queries_U[cut.languages_U == language]
        assert sizes.max() - sizes.min() <= 1
        assert (
            cut.clusters_U[cut.languages_U == language] == cut.clusters_U[cut.languages_U == 0]
        ).all()  # parallel


@pytest.fixture
def study(numbers_benchmark) -> Study:
    rng = np.random.default_rng(4)
    timings = [
        Timings(cut, rng.integers(1_000, 9_000_000, (3, len(cut), 2, 4)))
        for cut in (cut_into_units(numbers_benchmark, 1), cut_into_units(numbers_benchmark, 7))
    ]
    tokens_Q = rng.integers(3, 40, len(numbers_benchmark.queries))
    return Study(
        numbers_benchmark,
        [("a", "onnx"), ("b", "onnx")],
        [Search("exact", 50), Search("exact", 90)],
        {"a": tokens_Q, "b": tokens_Q},
        timings,
    )


def test_tables_are_those_of_the_rows(study):
    """Every number of the tables again, by pandas from the rows of the file."""
    frame = study.build_table().to_pandas()
    frame["total_ns"] = frame["tokenise_ns"] + frame["encode_ns"] + frame["search_ns"]
    keys = ["checkpoint", "backend", "batch_size", "search", "pool"]
    for row in build_latency_rows(study):
        mine = frame[(frame[keys] == [row[key] for key in keys]).all(axis=1)]
        assert len(mine) == 3 * row["units"]
        for stage in ("tokenise", "encode", "search", "total"):
            expected = np.percentile(mine[f"{stage}_ns"], [50, 95, 99]) / 1e6
            assert [row["ms"][stage][name] for name in ("p50", "p95", "p99")] == pytest.approx(
                expected
            )
            assert row["ms"][stage]["mean"] == pytest.approx(mine[f"{stage}_ns"].mean() / 1e6)
        assert row["queries_per_second"] == pytest.approx(
            mine["queries"].sum() / mine["total_ns"].sum() * 1e9
        )
        assert row["ms"]["per_query"]["p50"] == pytest.approx(
            (mine["total_ns"] / mine["queries"]).median() / 1e6
        )
    for row in build_language_rows(study):
        mine = frame[
            (frame[keys] == [row[key] for key in keys]).all(axis=1)
            & (frame["language"] == row["language"])
        ]
        assert row["ms"]["total"]["p95"] == pytest.approx(np.percentile(mine["total_ns"], 95) / 1e6)
        assert row["tokens_per_query"]["mean"] == pytest.approx(
            mine["tokens"].sum() / mine["queries"].sum()
        )
    assert len(build_language_rows(study)) == 2 * 2 * 2 * 3


def test_swapped_timings_of_two_checkpoints_are_seen(study):
    """Whoever reads b's timings as a's is found out by the comparison."""
    slower = [
        replace(t, ns_RUVS=np.stack([t.ns_RUVS[:, :, 0], t.ns_RUVS[:, :, 0] * 3 // 2], axis=2))
        for t in study.timings
    ]
    swapped = [replace(t, ns_RUVS=t.ns_RUVS[:, :, ::-1]) for t in slower]
    for timings, sign in ((slower, 1), (swapped, -1)):
        rows = build_equivalence_rows(replace(study, timings=timings), 0.05, 1)
        assert len(rows) == 2 * 3 and all(sign * row["slower"]["mean"] > 0.3 for row in rows)
        assert {row["verdict"] for row in rows if row["batch_size"] == 1} == {"different"}


def test_equivalence_rows_are_those_of_the_stages_that_they_name(study):
    rows = build_equivalence_rows(study, 0.3, 3)
    assert [(row["batch_size"], row["search"], row["pool"]) for row in rows] == [
        (size, *search)
        for size in (1, 7)
        for search in ((None, None), ("exact", 50), ("exact", 90))
    ]
    for row in rows:
        timings = next(t for t in study.timings if t.units.batch_size == row["batch_size"])
        first, second = (
            study.contestants.index((row[name], row["backend"])) for name in ("first", "second")
        )
        assert (first, second) == (0, 1) and row["stage"] == (
            "encode" if row["search"] is None else "total"
        )
        place = 1 if row["pool"] == 90 else 0
        ns = [timings.get_stages(v, place)[row["stage"]] for v in (first, second)]
        expected = compare_latencies(*ns, timings.units.clusters_U, 0.3, seed=3)
        for name, value in row["slower"].items():
            assert value == pytest.approx(np.exp(getattr(expected, name)) - 1)
        assert (row["p"], row["verdict"], row["questions"], row["margin"]) == (
            expected.p,
            expected.verdict,
            expected.questions,
            0.3,
        )


def test_rows_by_language_hold_the_tokens_of_their_checkpoint_most_tokens_first(study):
    benchmark = study.benchmark
    tokens_Q = (
        np.array([5, 9, 2])[benchmark.query_languages] + np.arange(len(benchmark.queries)) % 3
    )
    rows = build_language_rows(replace(study, tokens={"a": tokens_Q, "b": 3 * tokens_Q[::-1]}))
    for row in rows:
        mine_Q = benchmark.query_languages == benchmark.languages.index(row["language"])
        tokens = tokens_Q[mine_Q] if row["checkpoint"] == "a" else 3 * tokens_Q[::-1][mine_Q]
        assert row["queries"] == mine_Q.sum()
        assert row["tokens_per_query"] == pytest.approx(
            {"mean": tokens.mean(), "p95": np.percentile(tokens, 95)}
        )
    order = [benchmark.languages[code] for code in (1, 0, 2)]
    assert list(dict.fromkeys(row["language"] for row in rows)) == order
    uneven_Q = np.pad([1, 2, 2], (0, len(tokens_Q) - 3))  # one, two, and all the other queries
    fewer = replace(
        study,
        benchmark=replace(benchmark, query_languages=uneven_Q),
        tokens={"a": np.array([5, 9, 2])[uneven_Q]},
    )
    assert sort_languages_by_tokens(fewer) == order
    per_unit = {row["batch_size"]: row["queries_per_unit"] for row in build_latency_rows(study)}
    assert per_unit == {
        t.units.batch_size: pytest.approx(len(benchmark.queries) / len(t.units))
        for t in study.timings
    }


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=50))
def test_quantiles_are_numpys(ns):
    found = compute_quantiles(np.array(ns))
    assert [found[name] for name in ("p50", "p95", "p99")] == pytest.approx(
        np.percentile(ns, [50, 95, 99]) / 1e6
    )
