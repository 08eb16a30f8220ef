"""Corrections: each against its definition in numpy, estimated where it says and nowhere else."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from hybrid_ir.evaluation.encoding import EncodedRows
from hybrid_ir.evaluation.postprocess import (
    EstimationSplit,
    apply_correction,
    build_correction,
    get_languages,
    require_corrections,
    require_split,
)
from hybrid_ir.evaluation.selection import select_questions
from hybrid_ir.types import Benchmark, Role
from tests.support.small_run import PAIRS
from tests.support.vector_benchmarks import QUESTIONS, parallel_benchmark

STAGE_OF = {"query": "queries", "passage": "others"}


@dataclass
class CorrectionProblem:
    """A parallel benchmark whose vectors tell their language, and the split made of them."""

    benchmark: Benchmark
    vectors: dict[Role, torch.Tensor]
    split: EstimationSplit

    def encode(self, role: Role, rows: np.ndarray) -> EncodedRows:
        """The vectors of some rows."""
        return EncodedRows(STAGE_OF[role], rows, self.vectors[role][torch.from_numpy(rows)])

    def correct(self, name: str, role: Role, **choices) -> np.ndarray:
        """The corrected vectors of all rows, which are given in random order."""
        order = np.random.default_rng(1).permutation(len(self.vectors[role]))
        correction = build_correction(name, self.split, **choices)
        encoded = self.encode(role, order)
        corrected = apply_correction(correction, self.benchmark, encoded, unit_length=True)
        return corrected.vectors_ND.numpy()[np.argsort(order)]

    def get_vectors(self, role: Role) -> np.ndarray:
        """The vectors as they are, in float64."""
        return self.vectors[role].double().numpy()


def correction_problem(seed: int = 0, per_language: int = 1) -> CorrectionProblem:
    benchmark = parallel_benchmark(per_language, others=5)
    rng = np.random.default_rng(seed)
    offsets = rng.normal(size=(3, 6)) * 2
    vectors = {}
    for role in ("query", "passage"):
        languages = get_languages(benchmark, role)
        drawn = rng.normal(size=(len(languages), 6)) + offsets[languages]
        vectors[role] = F.normalize(torch.from_numpy(drawn).float(), dim=1)
    problem = CorrectionProblem(benchmark, vectors, EstimationSplit(benchmark))
    for role in ("query", "passage"):
        for rows in np.array_split(rng.permutation(len(vectors[role])), 3):
            problem.split.add(problem.encode(role, rows))
    return problem


def normalise(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("role", ["query", "passage"])
def test_centring_subtracts_the_mean_of_the_language_and_role(role):
    problem = correction_problem()
    vectors = problem.get_vectors(role)
    languages = get_languages(problem.benchmark, role)
    means = np.stack([vectors[languages == code].mean(0) for code in range(3)])
    expected = normalise(vectors - means[languages])
    np.testing.assert_allclose(problem.correct("center", role), expected, atol=1e-6)


@pytest.mark.parametrize("components", [1, 3])
@pytest.mark.parametrize("role", ["query", "passage"])
def test_lir_projects_the_first_singular_vectors_away(role, components):
    problem = correction_problem(2)
    vectors = problem.get_vectors(role)
    languages = get_languages(problem.benchmark, role)
    expected = vectors.copy()
    for code in range(3):
        mine = vectors[languages == code]
        directions = np.linalg.svd(mine, full_matrices=False)[2][:components]
        expected[languages == code] -= mine @ directions.T @ directions
    corrected = problem.correct("lir", role, components=components)
    np.testing.assert_allclose(corrected, normalise(expected), atol=1e-6)


@pytest.mark.parametrize("per_language", [1, 2])
def test_shift_moves_passages_by_the_mean_difference_of_translations(per_language):
    problem = correction_problem(3, per_language)
    vectors = problem.get_vectors("passage")
    languages = problem.benchmark.passage_languages
    expected = vectors.copy()
    for code in (0, 2):
        differences = []
        for rows in problem.benchmark.relevant[:QUESTIONS]:  # the others are their translations
            mean = vectors[rows[languages[rows] == code]].mean(0)
            english_mean = vectors[rows[languages[rows] == 1]].mean(0)
            differences.append(mean - english_mean)
        expected[languages == code] -= np.mean(differences, 0)
    corrected = problem.correct("shift", "passage")
    np.testing.assert_allclose(corrected, normalise(expected), atol=1e-6)
    queries = problem.correct("shift", "query")
    np.testing.assert_allclose(queries, problem.vectors["query"], atol=1e-6)


def test_corrected_vectors_of_dot_products_keep_their_lengths():
    problem = correction_problem()
    encoded = problem.encode("query", np.arange(len(problem.vectors["query"])))
    correction = build_correction("center", problem.split)
    corrected = apply_correction(correction, problem.benchmark, encoded, unit_length=False)
    assert (corrected.vectors_ND.norm(dim=1) < 0.999).all()


def test_a_passage_of_several_windows_counts_as_their_mean():
    problem = correction_problem()
    split = EstimationSplit(problem.benchmark)
    vectors = problem.vectors["passage"][:3]
    split.add(EncodedRows("others", np.array([4, 4, 5]), vectors))
    moments = split.get_moments("passage", "de")
    assert moments.count == 2
    expected = vectors[:2].double().mean(0) + vectors[2].double()
    torch.testing.assert_close(moments.sum_D, expected)


@pytest.mark.parametrize(
    ("name", "choices", "message"),
    [
        ("shift", {"source": "fr"}, "question in 'de' and in postprocess_source='fr'"),
        ("lir", {"components": 9}, "postprocess_components=9 must be at least 1 and less than"),
    ],
)
def test_a_correction_that_cannot_be_estimated_says_why(name, choices, message):
    problem = correction_problem()
    with pytest.raises(ValueError, match=message):
        problem.correct(name, "passage", **choices)


def test_a_language_that_a_split_lacks_is_named():
    problem = correction_problem()
    english = np.flatnonzero(problem.benchmark.passage_languages == 1)
    english_split = EstimationSplit(problem.benchmark)
    english_split.add(problem.encode("passage", english))
    english_problem = replace(problem, split=english_split)
    message = r"postprocess_on=parallel has no passage in 'de', only in \['en'\]"
    with pytest.raises(ValueError, match=message):
        english_problem.correct("center", "passage")


def test_a_correction_must_say_where_it_is_estimated():
    require_corrections(["none"], None)
    require_corrections(["center", "none"], "test")
    with pytest.raises(ValueError, match="postprocess_on is missing"):
        require_corrections(["none", "lir"], None)
    message = r"postprocess=\['centre'\] must be at least one, and only some of none, center"
    with pytest.raises(ValueError, match=message):
        require_corrections(["centre"], "test")


@pytest.fixture
def benchmark() -> Benchmark:
    """Queries and passages in German, English and Chinese."""
    return parallel_benchmark(others=0)


@pytest.fixture
def no_german_passages(benchmark) -> Benchmark:
    languages = benchmark.passage_languages
    return replace(benchmark, passage_languages=np.where(languages == 0, 1, languages))


@pytest.fixture
def no_chinese_queries(benchmark) -> Benchmark:
    languages = benchmark.query_languages
    return replace(benchmark, query_languages=np.where(languages == 2, 1, languages))


@pytest.mark.parametrize("name", ["center", "lir"])
def test_means_and_components_need_every_language_of_the_benchmark(
    name, benchmark, no_german_passages, no_chinese_queries
):
    require_split([name, "none"], benchmark, benchmark, 1, "en")
    with pytest.raises(ValueError, match=r"no passage in \['de'\], only in \['en', 'zh'\]"):
        require_split([name], benchmark, no_german_passages, 1, "en")
    with pytest.raises(ValueError, match=r"no query in \['zh'\], only in \['de', 'en'\]"):
        require_split(["shift", name], benchmark, no_chinese_queries, 1, "en")
    # only the languages that are measured are asked for
    require_split([name], no_german_passages, no_german_passages, 1, "en")


@pytest.mark.parametrize(("source", "missing"), [("de", "en"), ("en", "zh")])
def test_shift_needs_translations_in_the_source_language(source, missing, benchmark):
    languages_kept = 1 if missing == "en" else 2
    relevant = [rows[:languages_kept] for rows in benchmark.relevant]
    split = replace(benchmark, relevant=relevant)
    message = f"one question in '{missing}' and in postprocess_source='{source}'"
    with pytest.raises(ValueError, match=message):
        require_split(["shift"], benchmark, split, 1, source)
    require_split(["center"], benchmark, split, 1, source)


def test_shift_needs_neither_queries_nor_components(
    benchmark, no_german_passages, no_chinese_queries
):
    with pytest.raises(ValueError, match="one question in 'de' and in postprocess_source='en'"):
        require_split(["shift"], benchmark, no_german_passages, 1, "en")
    require_split(["shift"], benchmark, no_chinese_queries, 0, "en")
    german = replace(benchmark, passage_languages=np.zeros_like(benchmark.passage_languages))
    # nothing is shifted, and so nothing must be parallel
    require_split(["shift"], german, no_german_passages, 1, "de")


def test_lir_needs_a_component(benchmark):
    with pytest.raises(ValueError, match="postprocess_components=0 must be at least 1"):
        require_split(["center", "lir"], benchmark, benchmark, 0, "en")
    require_split(["center", "shift"], benchmark, benchmark, 0, "en")


def test_selected_questions_come_with_their_translations_and_answers_alone(numbers_benchmark):
    part = select_questions(numbers_benchmark, 5)
    assert len(set(part.question_ids)) == 5
    assert len(part.queries) == 15
    assert len(part.passages) == 15
    for place, query in enumerate(part.queries):
        row = numbers_benchmark.queries.index(query)
        assert part.query_languages[place] == numbers_benchmark.query_languages[row]
        answers = [part.passages[answer] for answer in part.relevant[place]]
        expected = [
            numbers_benchmark.passages[answer] for answer in numbers_benchmark.relevant[row]
        ]
        assert answers == expected
    all_questions = select_questions(numbers_benchmark, 10 * PAIRS)
    assert all_questions.passages == list(numbers_benchmark.passages)
