"""The records that everyone shares: what they refuse, and numbers that must never change."""

from dataclasses import replace

import numpy as np
import pytest

from hybrid_ir.types import Benchmark, RandomStream, parse_languages
from tests.support.corpora import SOURCE


@pytest.fixture(scope="module")
def benchmark() -> Benchmark:
    return Benchmark(
        languages=("a",),
        queries=["q1", "q2"],
        query_languages=np.zeros(2, int),
        question_ids=["1", "2"],
        passages=["p1", "p2", "p3"],
        passage_languages=np.zeros(3, int),
        passage_ids=["1", "2", "3"],
        relevant=[np.array([0]), np.array([1, 2])],
        source=SOURCE,
    )


def test_a_benchmark_names_all_fields_of_different_length(benchmark):
    message = (
        "benchmark 'made': queries has 1 entries, query_languages has 2 entries, "
        "question_ids has 2 entries, relevant has 2 entries: they need equal lengths; "
        "passages has 3 entries, passage_languages has 3 entries, passage_ids has 4 entries"
    )
    with pytest.raises(ValueError, match=message):
        replace(benchmark, queries=["q1"], passage_ids=list("1234"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"languages": ("a", "a")}, "name one twice"),
        ({"query_languages": np.array([0, 1])}, "query_languages must hold whole numbers from 0"),
        ({"passage_languages": np.array([0, 0, -1])}, "passage_languages must hold whole numbers"),
        ({"passage_languages": np.zeros(3)}, "passage_languages must hold whole numbers"),
        ({"passage_ids": ["1", "2", "1"]}, "passage_ids has '1' more than once"),
        ({"relevant": [np.array([0]), np.array([-1])]}, r"relevant\[1\].*from 0 to 2"),
        ({"relevant": [np.array([0]), np.array([3])]}, r"relevant\[1\].*from 0 to 2"),
        ({"relevant": [np.array([0]), np.array([2, 1])]}, r"relevant\[1\].*must be sorted"),
        ({"relevant": [np.array([0, 0]), np.array([1])]}, r"relevant\[0\].*each row once"),
        ({"relevant": [np.array([True]), np.array([1])]}, r"relevant\[0\].*as whole numbers"),
        ({"relevant": [np.array([0.7]), np.array([1])]}, r"relevant\[0\].*as whole numbers"),
        ({"grades": [np.array([1.0]), np.array([1.0, np.nan])]}, r"grades\[1\].*and finite"),
        ({"grades": [np.array([0.0]), np.array([1.0, 2.0])]}, r"grades\[0\].*above 0"),
        ({"missing_grades": [np.array([1.0])]}, "missing_grades has 1 entries, queries has 2"),
        ({"missing_grades": [np.zeros(0), np.zeros(1)]}, r"missing_grades\[1\].*above 0"),
        ({"own_passages": np.array([1])}, "own_passages has 1 entries, queries has 2 entries"),
        ({"own_passages": np.array([1, 3])}, "own_passages must hold rows of the 3 passages"),
        ({"own_passages": np.array([1, -2])}, "own_passages must hold rows of the 3 passages"),
        ({"own_passages": np.array([1.0, 2.0])}, "own_passages must hold rows of the 3 passages"),
        ({"own_passages": np.array([-1, 2])}, r"own_passages\[1\]=2 .* cannot be in relevant"),
        ({"least_relevant_grade": -1.0}, "least_relevant_grade=-1.0 must be a finite number"),
        ({"least_relevant_grade": 2}, "least_relevant_grade=2 leaves nothing relevant"),
    ],
)
def test_a_benchmark_with_wrong_content_is_refused(benchmark, changes, message):
    with pytest.raises(ValueError, match=message):
        replace(benchmark, **changes)


@pytest.mark.parametrize(
    ("grades", "message"),
    [
        ([np.array([1])], "grades has 1 entries, relevant has 2 entries"),
        (
            [np.array([1]), np.array([1])],
            r"grades\[1\] has 1 entries, relevant\[1\] has 2: every relevant passage needs its",
        ),
    ],
)
def test_a_benchmark_needs_a_grade_for_every_relevant_passage(benchmark, grades, message):
    with pytest.raises(ValueError, match=message):
        replace(benchmark, grades=grades)
    replace(benchmark, grades=[np.array([1]), np.array([1, 2])])


def test_random_streams_keep_their_numbers():
    assert {stream.name: stream.value for stream in RandomStream} == {
        "SCHEDULE": 0,
        "ROWS": 1,
        "EXAMPLES": 2,
        "NEGATIVES": 3,
        "DROPOUT": 4,
        "SWITCHING": 5,
    }


def test_languages_are_a_list_a_single_code_or_none():
    assert parse_languages(None) is None
    assert parse_languages("en") == ["en"]
    assert parse_languages(("en", "de")) == ["en", "de"]
    with pytest.raises(ValueError, match=r"languages=\[False\] must be codes like en, as a list"):
        parse_languages([False])
