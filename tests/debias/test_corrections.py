"""Corrections: what they take out of vectors, what they leave as it was, what they refuse."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_ir.debias.correction import LanguageCorrection, fit_correction
from hybrid_ir.debias.maps import METHODS
from hybrid_ir.evaluation.encoding import EncodedRows
from hybrid_ir.evaluation.postprocess import EstimationSplit
from hybrid_ir.types import Benchmark, Role
from tests.support.corpora import SOURCE

LANGUAGES = ("de", "en", "zh")
WIDTH = 16
QUESTIONS = 20


def build_benchmark() -> Benchmark:
    codes = np.tile(np.arange(3), QUESTIONS)
    names = [f"{LANGUAGES[code]} {row // 3}" for row, code in enumerate(codes)]
    answers = np.arange(3 * QUESTIONS).reshape(QUESTIONS, 3)
    return Benchmark(
        languages=LANGUAGES,
        queries=names,
        query_languages=codes,
        question_ids=[str(row // 3) for row in range(len(codes))],
        passages=names,
        passage_languages=codes,
        passage_ids=names,
        relevant=[answers[row // 3] for row in range(len(codes))],
        source=SOURCE,
    )


def draw_vectors(seed: int) -> dict[Role, torch.Tensor]:
    """Unit vectors of queries and passages: a topic, and an offset of the language."""
    random = torch.Generator().manual_seed(seed)
    topics_QD = torch.randn(QUESTIONS, WIDTH, generator=random, dtype=torch.float64)
    vectors = {}
    for role in ("query", "passage"):
        offsets_LD = torch.randn(3, WIDTH, generator=random, dtype=torch.float64)
        noise_ND = 0.1 * torch.randn(3 * QUESTIONS, WIDTH, generator=random, dtype=torch.float64)
        vectors_ND = topics_QD.repeat_interleave(3, 0) + offsets_LD.repeat(QUESTIONS, 1) + noise_ND
        vectors[role] = torch.nn.functional.normalize(vectors_ND, dim=1)
    return vectors


def fill_split(vectors: dict[Role, torch.Tensor], benchmark: Benchmark) -> EstimationSplit:
    split = EstimationSplit(benchmark)
    rows_N = np.arange(len(benchmark.queries))
    split.add(EncodedRows("queries", rows_N, vectors["query"]))
    split.add(EncodedRows("relevant", rows_N, vectors["passage"]))
    return split


def fit(seed: int, method: str, **choices) -> tuple[dict[Role, torch.Tensor], LanguageCorrection]:
    vectors = draw_vectors(seed)
    return vectors, fit_correction(fill_split(vectors, build_benchmark()), method, **choices)


def compute_means(vectors_ND: torch.Tensor) -> torch.Tensor:
    return torch.stack([vectors_ND[code::3].mean(0) for code in range(3)])


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_subspace_takes_the_means_of_all_languages_away_exactly(seed):
    vectors, correction = fit(seed, "subspace", unit_length=False)
    for role in ("query", "passage"):
        assert compute_means(correction.apply(vectors[role], role)).abs().max() < 1e-12


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000), method=st.sampled_from(["subspace", "lir"]))
def test_a_projection_applied_twice_is_applied_once(seed, method):
    vectors, correction = fit(seed, method)
    once = correction.apply(vectors["passage"], "passage", "de")
    twice = correction.apply(once, "passage", "de")
    torch.testing.assert_close(once, twice, rtol=0, atol=1e-12)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_correcting_passages_alone_ranks_as_correcting_both(seed):
    vectors, both = fit(seed, "subspace")
    _, passages = fit(seed, "subspace", passages_only=True)
    corrected = both.apply(vectors["passage"], "passage")
    scores = both.apply(vectors["query"], "query") @ corrected.T
    one_sided = vectors["query"] @ passages.apply(vectors["passage"], "passage").T
    lengths = one_sided.norm(dim=1, keepdim=True) / scores.norm(dim=1, keepdim=True)
    torch.testing.assert_close(scores * lengths, one_sided, rtol=0, atol=1e-12)
    unchanged = passages.apply(vectors["query"], "query")
    torch.testing.assert_close(unchanged, vectors["query"], rtol=0, atol=1e-15)


@pytest.mark.parametrize("passages_only", [False, True])
def test_center_gives_all_languages_one_mean(passages_only):
    vectors, correction = fit(1, "center", unit_length=False, passages_only=passages_only)
    corrected_ND = vectors["passage"].clone()
    for code, language in enumerate(LANGUAGES):
        corrected_ND[code::3] = correction.apply(vectors["passage"][code::3], "passage", language)
    means_LD = compute_means(corrected_ND)
    expected_D = vectors["passage"].mean(0) * float(passages_only)
    torch.testing.assert_close(means_LD, expected_D.expand(3, -1), rtol=0, atol=1e-12)


def test_lir_leaves_nothing_along_the_first_direction_of_the_language():
    vectors, correction = fit(2, "lir", unit_length=False)
    german_ND = vectors["passage"][0::3]
    direction_D = torch.linalg.svd(german_ND).Vh[0]
    corrected_ND = correction.apply(german_ND, "passage", "de")
    assert (corrected_ND @ direction_D).abs().max() < 1e-12


def test_shift_moves_passages_onto_their_translations_and_nothing_else():
    vectors, correction = fit(3, "shift", unit_length=False)
    german = correction.apply(vectors["passage"][0::3], "passage", "de")
    english = vectors["passage"][1::3]
    torch.testing.assert_close(german.mean(0), english.mean(0), rtol=0, atol=1e-12)
    assert torch.equal(correction.apply(english, "passage", "en"), english)
    assert torch.equal(correction.apply(vectors["query"], "query"), vectors["query"])


@pytest.mark.parametrize("method", METHODS)
def test_a_language_without_texts_gets_the_common_map(method):
    vectors, correction = fit(4, method)
    unknown = correction.apply(vectors["passage"], "passage", "xx")
    assert torch.equal(unknown, correction.apply(vectors["passage"], "passage"))


@pytest.mark.parametrize("method", ["center", "shift"])
def test_an_unknown_language_is_guessed_from_the_vector(method):
    vectors, correction = fit(5, method, unit_length=False)
    guessed_ND = correction.apply(vectors["passage"], "passage")
    before = compute_means(vectors["passage"]).var(0).sum()
    assert compute_means(guessed_ND).var(0).sum() < before / 2


def test_what_cannot_be_fitted_is_refused_with_the_cure():
    vectors = draw_vectors(6)
    benchmark = build_benchmark()
    split = fill_split(vectors, benchmark)
    with pytest.raises(ValueError, match="method='mean' must be one of subspace, center"):
        fit_correction(split, "mean")
    with pytest.raises(ValueError, match="components=7 must be from 1 to 6"):
        fit_correction(split, "subspace", components=7)
    with pytest.raises(ValueError, match="components=2 is for method=subspace and lir"):
        fit_correction(split, "center", components=2)
    with pytest.raises(ValueError, match="components=99 must be at least 1 and less"):
        fit_correction(split, "lir", components=99)
    with pytest.raises(ValueError, match="source='xx'.*de, en, zh"):
        fit_correction(split, "shift", source="xx")
    alone = replace(benchmark, relevant=[np.array([row]) for row in range(3 * QUESTIONS)])
    with pytest.raises(ValueError, match="method=shift needs passages in 'de' and their"):
        fit_correction(fill_split(vectors, alone), "shift")


def test_one_language_has_no_bias_to_correct():
    benchmark = build_benchmark()
    codes = np.zeros(3 * QUESTIONS, np.int64)
    german = replace(benchmark, query_languages=codes, passage_languages=codes)
    with pytest.raises(ValueError, match="has texts in de: the bias between languages needs"):
        fit_correction(fill_split(draw_vectors(7), german), "subspace")
