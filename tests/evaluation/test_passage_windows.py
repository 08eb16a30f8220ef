"""Passages of several windows score as the best of them, and windows cover a text."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from hybrid_ir.evaluation.exact_scores import PassageVectors
from hybrid_ir.evaluation.rank_counter import RankCounter
from hybrid_ir.evaluation.rank_table import list_relevant_rows, pad_rows
from hybrid_ir.model.tokens import cut_into_windows, find_window_spans
from hybrid_ir.types import Benchmark
from tests.support.vector_benchmarks import (
    compute_all_scores,
    count_by_brute_force,
    random_benchmark,
    random_relevant,
)

PASSAGES = 30


def windowed_problem(seed: int) -> tuple[Benchmark, torch.Tensor, np.ndarray, torch.Tensor]:
    """A benchmark whose passages have one to four windows, which repeat: best windows tie.

    Returns the vectors of the queries, the row of each window, and the vectors of the windows.
    """
    rng = np.random.default_rng(seed)
    relevant = random_relevant(rng, 8, PASSAGES, most=4)
    benchmark = random_benchmark(rng, 8, PASSAGES, relevant)
    rows_W = np.repeat(np.arange(PASSAGES), rng.integers(1, 5, PASSAGES))
    vectors_WD = F.normalize(torch.from_numpy(rng.normal(size=(len(rows_W), 6))).float(), dim=1)
    vectors_WD = vectors_WD[torch.from_numpy(rng.integers(0, len(rows_W), len(rows_W)))]
    queries_QD = F.normalize(torch.from_numpy(rng.normal(size=(8, 6))).float(), dim=1)
    return benchmark, queries_QD, rows_W, vectors_WD


def select_windows(rows_W: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The places of the windows of some passages, in the order of these passages."""
    places = [np.flatnonzero(rows_W == row) for row in rows]
    return np.concatenate([np.zeros(0, int), *places])


@given(st.integers(0, 10**6), st.integers(1, 8))
@settings(max_examples=40, deadline=None)
def test_counts_of_windows_are_those_of_a_brute_force(seed, batches):
    benchmark, queries_QD, rows_W, vectors_WD = windowed_problem(seed)
    relevant_QR = pad_rows(benchmark.relevant)
    rows_U = list_relevant_rows(relevant_QR)
    is_relevant_W = np.isin(rows_W, rows_U)
    counter = RankCounter(
        queries_QD,
        benchmark.query_languages,
        relevant_QR,
        vectors_WD[torch.from_numpy(is_relevant_W)],
        benchmark.passage_languages[rows_U],
        benchmark.languages,
        relevant_rows_W=rows_W[is_relevant_W],
    )
    order = np.random.default_rng(seed).permutation(PASSAGES)
    for rows in np.array_split(order, batches):
        places = select_windows(rows_W, rows)
        languages = benchmark.passage_languages[rows_W[places]]
        counter.add(rows_W[places], vectors_WD[torch.from_numpy(places)], languages)
        counter.sums()
    table = counter.table()
    scores_QW = compute_all_scores(queries_QD, vectors_WD)
    best_scores = [scores_QW[:, rows_W == row].max(1) for row in range(PASSAGES)]
    above, tied = count_by_brute_force(benchmark, np.stack(best_scores, 1))
    assert table.pool_sizes.sum() == PASSAGES
    np.testing.assert_array_equal(table.above, above)
    np.testing.assert_array_equal(table.tied, tied)


def test_paired_scores_are_those_of_the_best_windows():
    rows = torch.tensor([4, 4, 2, 7, 7, 7])
    vectors = torch.randn(6, 5, generator=torch.Generator().manual_seed(0)).double()
    queries = torch.randn(3, 5, generator=torch.Generator().manual_seed(1)).double()
    distinct_rows, passages = PassageVectors.from_windows(rows, vectors)
    best = [(queries @ vectors[rows == row].T).amax(1) for row in distinct_rows]
    expected = torch.stack(best, 1)
    assert distinct_rows.tolist() == [4, 2, 7]
    torch.testing.assert_close(passages.compute_scores(queries), expected)
    query = torch.tensor([0, 2, 2, 1])
    passage = torch.tensor([2, 0, 1, 2])
    found = passages.compute_paired_scores(queries, query, passage)
    torch.testing.assert_close(found, expected[query, passage])


@pytest.fixture(scope="session")
def reader(tokenizers) -> PreTrainedTokenizerBase:
    return tokenizers["passage"].tokenizer


@pytest.fixture(scope="session")
def letters() -> PreTrainedTokenizerBase:
    """A token a letter, and one more where a text begins.

    A piece that is cut inside a word has more tokens than it had there.
    """
    pieces = [
        ("<unk>", 0.0),
        ("▁", -1.0),
        *((letter, -1.0) for letter in "abcdefgh中国:"),
        ("Pasge", -1.0),
    ]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")


@pytest.mark.parametrize("overlap", [0.0, 0.3, 0.9])
@given(
    words=st.lists(st.text("abcdefgh中国", min_size=1, max_size=40), min_size=1, max_size=12),
    length=st.integers(3, 30),
)
@settings(max_examples=40, deadline=None)
def test_pieces_that_get_tokens_at_their_edges_still_fit(letters, words, length, overlap):
    text = " ".join(words)
    end = 0
    for first, last in find_window_spans(text, letters, length, overlap):
        assert len(letters(text[first:last])["input_ids"]) <= length
        assert not text[end:first].strip()
        assert last >= end
        assert last > first
        end = last
    assert not text[end:].strip()


@given(
    words=st.lists(st.text("abcdefgh中国", min_size=1, max_size=6), min_size=1, max_size=80),
    length=st.integers(16, 40),
    overlap=st.sampled_from([0.0, 0.25, 0.5]),
)
@settings(max_examples=40, deadline=None)
def test_windows_fit_overlap_and_cover_the_text(reader, words, length, overlap):
    text = " ".join(words)
    prefix = "Passage: "
    spans = find_window_spans(text, reader, length, overlap, prefix)
    windows = cut_into_windows(text, reader, length, overlap, prefix)
    assert windows == [text[first:last] for first, last in spans]
    # each begins before or where the one before it ended, and reaches at least as far
    end = 0
    for first, last in spans:
        assert len(reader(prefix + text[first:last])["input_ids"]) <= length
        assert not text[end:first].strip()
        assert last >= end
        end = last
    assert not text[end:].strip()
    if len(spans) > 1 and overlap == 0.5:
        assert spans[1][0] < spans[0][1]


@pytest.mark.parametrize(
    ("text", "length", "overlap", "message"),
    [
        (("a", "b"), 30, 0.5, "not pairs"),
        ("a", 30, 1.0, "window_overlap=1.0 must be"),
        ("a b c", 4, 0.5, "leaves no room"),
    ],
)
def test_impossible_windows_are_refused(reader, text, length, overlap, message):
    with pytest.raises(ValueError, match=message):
        cut_into_windows(text, reader, length, overlap, "Passage: Passage: Passage: Passage: ")
