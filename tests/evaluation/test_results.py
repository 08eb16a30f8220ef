"""Views: the values of trec_eval and ranx in every monolingual, cross-lingual and multilingual pool."""

import numpy as np
import pytest
import pytrec_eval
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_ir.evaluation.rank_counter import rank_benchmark
from hybrid_ir.evaluation.results import RETRIEVAL, VIEWS, Results
from hybrid_ir.types import Benchmark, Source

LANGUAGES = ("de", "en", "zh")
METRICS = ("map", "ndcg@10", "recall@1", "recall@10", "mrr@10", "mrr@300")


def world(seed: int, queries: int = 24, passages: int = 150, graded: bool = False):
    """A benchmark without ties, and the scores of its embeddings; some queries lack answers in some languages."""
    rng = np.random.default_rng(seed)
    queries_QD, passages_ND = (
        torch.nn.functional.normalize(torch.from_numpy(rng.normal(size=(n, 8))), dim=1).float()
        for n in (queries, passages)
    )
    relevant = [
        np.sort(rng.choice(passages, rng.integers(0, 7), replace=False)) for _ in range(queries)
    ]
    benchmark = Benchmark(
        languages=LANGUAGES,
        queries=["?"] * queries,
        query_languages=rng.integers(0, 3, queries),
        question_ids=[f"id{i // 2}" for i in range(queries)],
        passages=["."] * passages,
        passage_languages=rng.integers(0, 3, passages),
        passage_ids=[f"p{i}" for i in range(passages)],
        relevant=relevant,
        source=Source("world", "", "", ""),
        grades=[rng.integers(1, 4, len(rows)).astype(float) for rows in relevant]
        if graded
        else None,
    )
    return (
        benchmark,
        rank_benchmark(queries_QD, passages_ND, benchmark),
        (queries_QD.double() @ passages_ND.double().T).numpy(),
    )


def rankings(benchmark, scores_QN):
    """Qrels and run of every view as the oracles want them: (view, passage language) -> (qrels, run)."""
    for view in VIEWS:
        for language in [MULTILINGUAL] if view == "multi" else range(3):
            pool = (benchmark.passage_languages == language) | (language == MULTILINGUAL)
            qrels, run = {}, {}
            for q, rows in enumerate(benchmark.relevant):
                grade = dict(
                    zip(
                        rows,
                        benchmark.grades[q] if benchmark.grades else np.ones(len(rows)),
                        strict=True,
                    )
                )
                found = [row for row in rows if pool[row]]
                if found and (
                    view == "multi"
                    or (benchmark.query_languages[q] == language) == (view == "mono")
                ):
                    order = [row for row in np.argsort(-scores_QN[q]) if pool[row]]
                    qrels[str(q)] = {str(row): int(grade[row]) for row in found}
                    run[str(q)] = {
                        str(row): float(len(order) - place) for place, row in enumerate(order)
                    }
            yield view, language, qrels, run


@pytest.fixture(scope="module", params=[(0, False), (1, False), (2, True), (3, True)], ids=str)
def case(request):
    seed, graded = request.param
    benchmark, table, scores_QN = world(seed, graded=graded)
    return Results.from_table(table, benchmark, METRICS), list(rankings(benchmark, scores_QN))


def rows_of(results: Results, view: str, language: int) -> np.ndarray:
    return ((results.view == VIEWS.index(view)) & (results.passage_language == language)).nonzero()[
        0
    ]


def test_values_are_those_of_trec_eval(case):
    names = {
        "map": "map",
        "ndcg@10": "ndcg_cut_10",
        "recall@1": "recall_1",
        "recall@10": "recall_10",
        "mrr@300": "recip_rank",
    }
    results, cases = case
    for view, language, qrels, run in cases:
        oracle = pytrec_eval.RelevanceEvaluator(qrels, set(names.values())).evaluate(run)
        rows = rows_of(results, view, language)
        assert [str(q) for q in results.query[rows]] == list(qrels)
        for ours, theirs in names.items():
            expected = [oracle[q][theirs] for q in qrels]
            np.testing.assert_allclose(
                results.values[ours][rows], expected, rtol=1e-9, err_msg=f"{view} {ours}"
            )


@pytest.fixture(scope="module")
def ranx():
    numba = pytest.importorskip("numba")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            numba.config, "DISABLE_JIT", True
        )  # compiling takes a minute, these data a second
        yield pytest.importorskip("ranx")


def test_values_are_those_of_ranx(case, ranx):
    names = ["map", "ndcg@10", "recall@1", "recall@10", "mrr@10"]
    results, cases = case
    for view, language, qrels, run in cases:
        oracle = ranx.evaluate(
            ranx.Qrels(qrels), ranx.Run(run), names, return_mean=False, make_comparable=True
        )
        order = np.argsort([str(q) for q in sorted(map(int, qrels))])  # ranx sorts the ids as texts
        rows = rows_of(results, view, language)[order]
        for name in names:
            np.testing.assert_allclose(
                results.values[name][rows], oracle[name], rtol=1e-9, err_msg=f"{view} {name}"
            )


def test_rank_distance_is_last_minus_first_rank(case):
    results, cases = case
    *_, qrels, run = cases[-1]
    rows = rows_of(results, "multi", MULTILINGUAL)
    for row, (q, relevant) in zip(rows, qrels.items(), strict=True):
        order = sorted(run[q], key=run[q].get, reverse=True)
        ranks = sorted(order.index(passage) + 1 for passage in relevant)
        distance = (
            ranks[-1] - ranks[0] if len(ranks) > 1 else np.nan
        )  # of one passage there is none
        np.testing.assert_equal(results.values["rank_distance"][row], distance)
        assert results.values["max_rank"][row] == ranks[-1]


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6))
def test_macro_is_the_mean_of_settings_and_micro_of_questions(seed):
    benchmark, table, _ = world(seed)
    results = Results.from_table(table, benchmark)
    for view in VIEWS:
        rows = results.view == VIEWS.index(view)
        settings_ = [setting for setting in results.settings if setting.view == view]
        assert sum(setting.queries for setting in settings_) == rows.sum()
        for name in RETRIEVAL:
            assert results.macro(view)[name] == pytest.approx(
                np.mean([setting.means[name] for setting in settings_])
            )
            assert results.micro(view)[name] == pytest.approx(results.values[name][rows].mean())
            weighted = (
                sum(setting.means[name] * setting.queries for setting in settings_) / rows.sum()
            )
            assert results.micro(view)[name] == pytest.approx(weighted)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6))
def test_every_query_is_in_a_view_or_counted_as_left_out(seed):
    benchmark, table, _ = world(seed)
    results = Results.from_table(table, benchmark)
    has = np.array(
        [
            [(benchmark.passage_languages[rows] == language).any() for language in range(3)]
            for rows in benchmark.relevant
        ]
    )
    own = has[np.arange(len(has)), benchmark.query_languages]
    expected = {"mono": own.sum(), "cross": has.sum() - own.sum(), "multi": has.any(1).sum()}
    possible = {"mono": len(has), "cross": 2 * len(has), "multi": len(has)}
    for number, view in enumerate(VIEWS):
        assert (results.view == number).sum() == expected[view]
        assert results.queries_without_relevant[view] == possible[view] - expected[view]


def test_matrix_has_monolingual_means_on_the_diagonal():
    benchmark, table, _ = world(0)
    results = Results.from_table(table, benchmark)
    matrix, cells = (
        results.matrix("map"),
        {(s.query_language, s.passage_language, s.view): s for s in results.settings},
    )
    for i, query in enumerate(LANGUAGES):
        for j, passage in enumerate(LANGUAGES):
            assert matrix[i, j] == cells[query, passage, "mono" if i == j else "cross"].means["map"]
    assert np.mean(np.diag(matrix)) == pytest.approx(results.macro("mono")["map"])


def test_columns_name_every_query_and_the_summary_is_flat():
    benchmark, table, _ = world(1)
    results = Results.from_table(table, benchmark)
    columns = results.to_arrow().to_pandas()
    assert len(columns) == len(results.view)
    assert set(columns["view"]) == set(VIEWS) and set(columns["passage_language"]) == {
        *LANGUAGES,
        "all",
    }
    assert columns["question_id"][3] == benchmark.question_ids[columns["query"][3]]
    assert np.isnan(columns["rank_distance"][columns["view"] != "multi"]).all()
    summary = results.summary()
    assert (
        summary["multi/rank_distance"] > 0
        and "mono/rank_distance" not in summary
        and "loss" not in summary
    )
    assert not any(np.isnan(list(summary.values())))


def test_what_is_undefined_is_counted():
    benchmark, table, _ = world(1)
    results = Results.from_table(table, benchmark)
    single = sum(len(rows) == 1 for rows in benchmark.relevant)
    assert single and results.count_undefined_queries("multi")["rank_distance"] == single
    assert (
        "map" not in results.count_undefined_queries("multi") and results.count_undefined_queries("mono") == {}
    )  # of no row of that view


def test_a_monolingual_benchmark_has_no_cross_lingual_numbers():
    benchmark, table, _ = world(2)
    one = Results.from_table(table, benchmark)
    keep = [
        np.array(
            [
                row
                for row in rows
                if benchmark.passage_languages[row] == benchmark.query_languages[q]
            ],
            int,
        )
        for q, rows in enumerate(benchmark.relevant)
    ]
    alone = Benchmark(**{**vars(benchmark), "relevant": keep})
    vectors = torch.nn.functional.normalize(
        torch.randn(200, 4, generator=torch.Generator().manual_seed(0)), dim=1
    )
    results = Results.from_table(
        rank_benchmark(vectors[:24], vectors[24:174], alone, temperature=0.05), alone
    )
    assert (
        results.queries_without_relevant["mono"] == one.queries_without_relevant["mono"]
        and not (results.view == VIEWS.index("cross")).any()
    )
    assert np.isnan(results.macro("cross")["map"]) and not any(
        name.startswith("cross") for name in results.summary()
    )
    assert results.summary()["loss"] > 0
