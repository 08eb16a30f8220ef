"""Overlap: texts that a benchmark and a corpus share, exactly or nearly, and repeated pairs."""

import numpy as np
import pyarrow as pa
import pytest

from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.data.overlap import (
    BenchmarkTexts,
    NearTextIndex,
    choose_band_count,
    find_repeated_pairs,
    normalise_texts,
)
from hybrid_ir.types import Benchmark
from tests.support.corpora import SOURCE, build_corpus_of_animals, pair_equal_ids


def test_texts_are_compared_without_case_punctuation_and_form():
    texts = normalise_texts(pa.array(["  ＷＨＯ is “it”?!", "who IS it", None]))
    assert texts.to_pylist() == ["who is it", "who is it", None]


def build_benchmark(queries: list[str], passages: list[str]) -> Benchmark:
    """Builds a benchmark in English in which query i is answered by passage i."""
    return Benchmark(
        languages=("en",),
        queries=queries,
        query_languages=np.zeros(len(queries), int),
        question_ids=[str(i) for i in range(len(queries))],
        passages=passages,
        passage_languages=np.zeros(len(passages), int),
        passage_ids=[str(i) for i in range(len(passages))],
        relevant=[np.array([i]) for i in range(len(queries))],
        source=SOURCE,
    )


def test_shares_of_a_benchmark_in_a_corpus():
    benchmark = build_benchmark(
        ["Which cat is number 3?", "something else", "welche ZAHL 4"],
        ["which cat is number 1, indeed", "x", "y"],
    )
    texts = BenchmarkTexts.from_benchmark(benchmark)
    assert texts.compute_shared_fractions(build_corpus_of_animals()) == {
        "queries": pytest.approx(2 / 3),
        "passages": pytest.approx(1 / 3),
    }


def compute_jaccard(text: str, other: str) -> float:
    """Computes the similarity of the sets of five characters in a row of two texts."""
    shingles = {text[i : i + 5] for i in range(len(text) - 4)}
    other_shingles = {other[i : i + 5] for i in range(len(other) - 4)}
    return len(shingles & other_shingles) / len(shingles | other_shingles)


def test_near_matches_are_those_of_exact_jaccard_similarity():
    rng = np.random.default_rng(0)
    words = ["alpha", "beta", "gamma", "delta", "omega", "kappa"]
    texts = [" ".join(rng.choice(words, 12)) + f" {i}" for i in range(40)]
    changed = [text.replace("alpha", "alphas", 1) for text in texts]
    near = NearTextIndex(0.8).add(texts)
    for text, is_near in zip(changed, near.mark_near_texts(changed), strict=True):
        best = max(compute_jaccard(text, other) for other in texts)
        assert is_near == (best >= 0.8) or abs(best - 0.8) < 0.1
    other_text = "something that is nothing like any of these texts at all"
    assert near.mark_near_texts([other_text]) == [False]
    assert near.mark_near_texts(texts) == [True] * 40


def compute_recall(threshold: float, bands: int) -> float:
    """Computes the probability that two texts at the threshold agree in all hashes of a band."""
    return 1 - (1 - threshold ** (128 // bands)) ** bands


@pytest.mark.parametrize("threshold", [0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
def test_bands_find_what_is_at_the_threshold_and_are_no_more_than_that_takes(threshold):
    bands = choose_band_count(threshold)
    assert compute_recall(threshold, bands) >= 0.95
    assert bands == 1 or compute_recall(threshold, bands // 2) < 0.95


def test_repeated_pairs_are_found_exactly_and_nearly():
    long = "a question about the history of the city of Kabul and its people"
    queries = [long, long + " today", "short", "other question altogether about rivers", long]
    passages = ["answer text one"] * 5
    corpus = ParallelCorpus({"en": queries}, {"en": passages}, pair_equal_ids(5), SOURCE)
    assert list(find_repeated_pairs(corpus, 0)) == [4]
    assert list(find_repeated_pairs(corpus, 0.7)) == [1, 4]
