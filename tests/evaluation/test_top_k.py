"""The top of the rankings against sorting everything, and the languages in it."""

from dataclasses import replace
from itertools import permutations
from urllib.parse import unquote

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_ir.evaluation.rank_counter import RankCounter
from hybrid_ir.evaluation.rank_table import list_relevant_rows, pad_rows
from hybrid_ir.evaluation.top_k import TopK
from hybrid_ir.evaluation.top_k import quote_blanks, write_trec_runs
from tests.evaluation.test_rank_counter import world


def filled(benchmark, queries, passages, order, tops) -> None:
    relevant_QR = pad_rows(benchmark.relevant)
    rows = list_relevant_rows(relevant_QR)
    counter = RankCounter(
        queries,
        benchmark.query_languages,
        relevant_QR,
        passages[rows],
        benchmark.passage_languages[rows],
        benchmark.languages,
        listeners=tops,
    )
    for part in np.array_split(order, 3):
        counter.add(part, passages[torch.from_numpy(part)], benchmark.passage_languages[part])
        counter.sums()


@given(st.integers(0, 10**6), st.integers(1, 45), st.sampled_from(["mixed", "plain"]))
@settings(max_examples=40, deadline=None)
def test_the_top_is_that_of_a_sort(seed, depth, kind):
    benchmark, queries, passages = world(seed, kind=kind)
    every, own = TopK(7, depth), TopK(7, depth, benchmark.query_languages)
    filled(benchmark, queries, passages, np.random.default_rng(seed).permutation(40), [every, own])
    scores = np.round((queries.double() @ passages.double().T).numpy(), 12)
    for q in range(7):
        order = np.lexsort((np.arange(40), -scores[q]))
        mine = order[benchmark.passage_languages[order] == benchmark.query_languages[q]]
        for top, expected in ((every, order), (own, mine)):
            assert top.rows_QK[q][: len(expected)].tolist() == expected[:depth].tolist()
            assert (top.rows_QK[q][len(expected) :] == -1).all()
        assert (
            every.languages_QK[q].tolist()[:40]
            == benchmark.passage_languages[order][:depth].tolist()
        )


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=6),
    st.integers(1, 7),
)
@settings(max_examples=60, deadline=None)
def test_ties_at_the_edge_share_the_places_that_are_left(pool, k):
    """The mean over all orders of the tied passages."""
    scores, languages = np.array([s for s, _ in pool], float), np.array([code for _, code in pool])
    top = TopK(1, 12)
    for language in range(3):
        rows = np.flatnonzero(languages == language)
        if len(rows):
            top.take(0, torch.from_numpy(scores[rows])[None], torch.from_numpy(rows), language)
    allowed = [
        list(order)
        for order in permutations(range(len(pool)))
        if (np.diff(scores[list(order)]) <= 0).all()
    ]
    expected = np.mean(
        [np.bincount(languages[order[:k]], minlength=3) / min(k, len(pool)) for order in allowed], 0
    )
    np.testing.assert_allclose(top.language_shares(k, 3)[0], expected, atol=1e-12)


@pytest.mark.parametrize(
    ("k", "expected"), [(1, [1, 0]), (2, [0.5, 0.5]), (3, [2 / 3, 1 / 3]), (4, [2 / 3, 1 / 3])]
)
def test_shares_of_all_that_is_kept_and_of_fewer(k, expected):
    """Three passages that do not tie, in a top as deep as is asked for; a query that found nothing has no shares."""
    top = TopK(2, k)
    top.take(1, torch.tensor([[0.9, 0.1]]), torch.tensor([4, 5]), 0)
    top.take(1, torch.tensor([[0.5]]), torch.tensor([2]), 1)
    assert top.language_shares(k, 2)[1] == pytest.approx(expected)
    assert np.isnan(top.language_shares(k, 2)[0]).all()


def test_ids_with_blanks_are_one_word_each_and_stay_different():
    ids = ["a b", "a_b", "a\tb", "a%20b", "a\u00a0b", "ab", "100%"]
    words = [quote_blanks(name) for name in ids]
    assert len(set(words)) == len(ids) and all(len(one.split()) == 1 for one in words)
    assert [unquote(one) for one in words] == ids


def test_run_files_are_read_by_pytrec_eval(tmp_path):
    pytrec_eval = pytest.importorskip("pytrec_eval")
    benchmark, queries, passages = world(3, queries=12, kind="plain")
    benchmark = replace(
        benchmark, grades=[np.arange(1.0, 1 + len(rows)) for rows in benchmark.relevant]
    )
    tops = {"multi": TopK(12, 40)}
    filled(benchmark, queries, passages, np.arange(40), tops.values())
    write_trec_runs(tops, benchmark, "made up", tmp_path)
    with open(tmp_path / "qrels.multi.trec") as qrels, open(tmp_path / "run.multi.trec") as run:
        judged, ranked = pytrec_eval.parse_qrel(qrels), pytrec_eval.parse_run(run)
    values = pytrec_eval.RelevanceEvaluator(judged, {"map"}).evaluate(ranked)
    most = max(map(len, benchmark.relevant))
    assert {grade for grades in judged.values() for grade in grades.values()} == set(
        range(1, 1 + most)
    )
    for q, rows in enumerate(benchmark.relevant):
        if len(rows):
            order = np.argsort(-(queries[q].double() @ passages.double().T).numpy())
            ranks = np.sort([np.flatnonzero(order == row)[0] + 1 for row in rows])
            name = f"{benchmark.languages[benchmark.query_languages[q]]}:{q // 2}:{q}"
            assert values[name]["map"] == pytest.approx(
                (np.arange(1, len(rows) + 1) / ranks).mean(), abs=1e-6
            )
