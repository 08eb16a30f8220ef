"""Training-free corrections: each against its definition in numpy, estimated where it says and nowhere else."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from hybrid_ir.evaluation.postprocess import (
    EstimationSplit,
    apply_correction,
    build_correction,
    require_corrections,
    require_split,
)
from tests.evaluation.test_language_bias import parallel


def split_with_vectors(seed: int = 0, per_language: int = 1):
    benchmark = parallel(per_language, others=5)
    rng = np.random.default_rng(seed)
    offsets = rng.normal(size=(3, 6)) * 2
    vectors = {
        role: F.normalize(
            torch.from_numpy(rng.normal(size=(len(codes), 6)) + offsets[codes]).float(), dim=1
        )
        for role, codes in (
            ("query", benchmark.query_languages),
            ("passage", benchmark.passage_languages),
        )
    }
    split = EstimationSplit(benchmark)
    for role, rows in vectors.items():
        for part in np.array_split(rng.permutation(len(rows)), 3):
            split.add(role, part, rows[torch.from_numpy(part)])
    return benchmark, vectors, split


def corrected(name: str, benchmark, vectors, split, role: str, **choices) -> np.ndarray:
    rows = np.random.default_rng(1).permutation(len(vectors[role]))
    out = apply_correction(
        build_correction(name, split, **choices),
        benchmark,
        role,
        rows,
        vectors[role][torch.from_numpy(rows)],
        True,
    )
    return out.numpy()[np.argsort(rows)]


def codes_of(benchmark, role: str) -> np.ndarray:
    return benchmark.query_languages if role == "query" else benchmark.passage_languages


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("role", ["query", "passage"])
def test_centring_subtracts_the_mean_of_the_language_and_role(role):
    benchmark, vectors, split = split_with_vectors()
    rows, codes = vectors[role].double().numpy(), codes_of(benchmark, role)
    means = np.stack([rows[codes == code].mean(0) for code in range(3)])
    np.testing.assert_allclose(
        corrected("center", benchmark, vectors, split, role), unit(rows - means[codes]), atol=1e-6
    )


@pytest.mark.parametrize("components", [1, 3])
@pytest.mark.parametrize("role", ["query", "passage"])
def test_lir_projects_the_first_singular_vectors_away(role, components):
    benchmark, vectors, split = split_with_vectors(2)
    rows, codes = vectors[role].double().numpy(), codes_of(benchmark, role)
    expected = rows.copy()
    for code in range(3):
        axes = np.linalg.svd(rows[codes == code], full_matrices=False)[2][:components]
        expected[codes == code] -= rows[codes == code] @ axes.T @ axes
    found = corrected("lir", benchmark, vectors, split, role, components=components)
    np.testing.assert_allclose(found, unit(expected), atol=1e-6)


@pytest.mark.parametrize("per_language", [1, 2])
def test_shift_moves_passages_by_the_mean_difference_of_translations(per_language):
    benchmark, vectors, split = split_with_vectors(3, per_language)
    rows, codes = vectors["passage"].double().numpy(), benchmark.passage_languages
    answers = {
        q: benchmark.relevant[q] for q in range(6)
    }  # the questions of one language: the others are their translations
    expected = rows.copy()
    for code in (0, 2):
        differences = [
            rows[r[codes[r] == code]].mean(0) - rows[r[codes[r] == 1]].mean(0)
            for r in answers.values()
        ]
        expected[codes == code] -= np.mean(differences, 0)
    np.testing.assert_allclose(
        corrected("shift", benchmark, vectors, split, "passage"), unit(expected), atol=1e-6
    )
    np.testing.assert_allclose(
        corrected("shift", benchmark, vectors, split, "query"), vectors["query"], atol=1e-6
    )


def test_dot_products_keep_their_lengths():
    benchmark, vectors, split = split_with_vectors()
    rows = np.arange(len(vectors["query"]))
    out = apply_correction(
        build_correction("center", split),
        benchmark,
        "query",
        rows,
        vectors["query"],
        unit_length=False,
    )
    assert (out.norm(dim=1) < 0.999).all()


def test_what_a_split_lacks_is_named():
    benchmark, vectors, _ = split_with_vectors()
    split = EstimationSplit(benchmark)
    english = np.flatnonzero(benchmark.passage_languages == 1)
    split.add("passage", english, vectors["passage"][torch.from_numpy(english)])
    with pytest.raises(
        ValueError, match=r"postprocess_on=made has no passage in 'de', only in \['en'\]"
    ):
        apply_correction(
            build_correction("center", split),
            benchmark,
            "passage",
            np.array([0]),
            vectors["passage"][:1],
            True,
        )
    split = split_with_vectors()[2]
    with pytest.raises(
        ValueError, match="passages that answer one question in 'de' and in postprocess_source='fr'"
    ):
        apply_correction(
            build_correction("shift", split, source="fr"),
            benchmark,
            "passage",
            np.array([0]),
            vectors["passage"][:1],
            True,
        )
    with pytest.raises(
        ValueError, match="postprocess_components=9 must be at least 1 and less than"
    ):
        apply_correction(
            build_correction("lir", split, components=9),
            benchmark,
            "passage",
            np.array([0]),
            vectors["passage"][:1],
            True,
        )


def test_a_correction_must_say_where_it_is_estimated():
    require_corrections(["none"], None)
    require_corrections(["center", "none"], "test")
    with pytest.raises(ValueError, match="postprocess_on is missing"):
        require_corrections(["none", "lir"], None)
    with pytest.raises(
        ValueError,
        match=r"postprocess=\['centre'\] must be at least one, and only some of none, center",
    ):
        require_corrections(["centre"], "test")


def test_what_a_split_cannot_correct_is_said_before_anything_is_encoded():
    """The measured texts are in three languages; splits lack German passages, Chinese queries, or the source language."""
    benchmark = parallel(others=0)
    queries, passages = benchmark.query_languages, benchmark.passage_languages
    no_german_passages = replace(benchmark, passage_languages=np.where(passages == 0, 1, passages))
    no_chinese_queries = replace(benchmark, query_languages=np.where(queries == 2, 1, queries))
    for name in ("center", "lir"):
        require_split([name, "none"], benchmark, benchmark, 1, "en")
        with pytest.raises(ValueError, match=r"no passage in \['de'\], only in \['en', 'zh'\]"):
            require_split([name], benchmark, no_german_passages, 1, "en")
        with pytest.raises(ValueError, match=r"no query in \['zh'\], only in \['de', 'en'\]"):
            require_split(["shift", name], benchmark, no_chinese_queries, 1, "en")
        require_split(
            [name], no_german_passages, no_german_passages, 1, "en"
        )  # asked for is only what is measured
    with pytest.raises(ValueError, match="one question in 'de' and in postprocess_source='en'"):
        require_split(["shift"], benchmark, no_german_passages, 1, "en")
    for source, lacked in (("de", "en"), ("en", "zh")):
        split = replace(
            benchmark,
            relevant=[rows[:1] if lacked == "en" else rows[:2] for rows in benchmark.relevant],
        )
        with pytest.raises(
            ValueError, match=f"one question in '{lacked}' and in postprocess_source='{source}'"
        ):
            require_split(["shift"], benchmark, split, 1, source)
        require_split(["center"], benchmark, split, 1, source)
    require_split(
        ["shift"], benchmark, no_chinese_queries, 0, "en"
    )  # of passages alone, and without components
    german = replace(benchmark, passage_languages=np.zeros_like(passages))
    require_split(
        ["shift"], german, no_german_passages, 1, "de"
    )  # nothing to shift, and so nothing that must be parallel
    with pytest.raises(ValueError, match="postprocess_components=0 must be at least 1"):
        require_split(["center", "lir"], benchmark, benchmark, 0, "en")
    require_split(["center", "shift"], benchmark, benchmark, 0, "en")
