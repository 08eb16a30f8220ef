"""The builder of all benchmarks: order, relevance, and the problems that it names."""

import zlib

import numpy as np
import pytest

from hybrid_ir.evaluation.benchmarks.builder import BenchmarkBuilder, Query
from hybrid_ir.evaluation.benchmarks.choices import (
    check_option,
    choose_languages,
    record_choices,
)
from hybrid_ir.evaluation.selection import choose_questions, select_queries
from hybrid_ir.files.judgements import Judgement
from hybrid_ir.types import Benchmark, Source
from tests.support.benchmarks import find_answers

SOURCE = Source("made", "texts made for a test", "none", "none", choices={"split": "test"})


def build_parallel_benchmark(max_queries: int | None = None) -> Benchmark:
    """Six questions in German and English, each with one passage; English is added first."""
    builder = BenchmarkBuilder(SOURCE)
    for language in ("en", "de"):
        for i in range(6):
            topic = f"topic{i}"
            builder.add_passage(language, f"{language} p{i}", f"{language} says {i}", [topic])
            query_id = f"{language} q{i}"
            text = f"{language} asks {i}"
            builder.add_query(Query(language, query_id, text, f"q{i}", topics=(topic,)))
    return builder.build(("de", "en"), max_queries)


def build_judged_benchmark(*judgements: Judgement) -> Benchmark:
    builder = BenchmarkBuilder(SOURCE)
    for name in ("a", "b"):
        builder.add_passage("en", name, f"text {name}")
    builder.add_query(Query("en", "1", "?", "1"))
    builder.add_judgements(judgements)
    return builder.build(("en",))


def test_languages_stand_in_the_order_that_was_asked_for():
    benchmark = build_parallel_benchmark()
    assert benchmark.languages == ("de", "en")
    assert benchmark.query_languages.tolist() == [0] * 6 + [1] * 6
    assert benchmark.passage_languages.tolist() == [0] * 6 + [1] * 6
    assert benchmark.queries[:2] == ["de asks 0", "de asks 1"]
    assert benchmark.passages[6:8] == ["en says 0", "en says 1"]


def test_passages_of_a_topic_are_relevant_in_every_language():
    benchmark = build_parallel_benchmark()
    expected = {}
    for language in ("de", "en"):
        for i in range(6):
            expected[language, f"q{i}"] = {f"de p{i}", f"en p{i}"}
    assert find_answers(benchmark) == expected
    assert [rows.tolist() for rows in benchmark.relevant[:2]] == [[0, 6], [1, 7]]
    assert benchmark.grades is None


def test_a_query_of_two_topics_finds_the_passages_of_both_once():
    builder = BenchmarkBuilder(SOURCE)
    builder.add_passage("en", "a", "both", ["x", "y"])
    builder.add_passage("en", "b", "second", ["y"])
    builder.add_passage("en", "c", "none")
    builder.add_query(Query("en", "1", "?", "1", topics=("y", "x")))
    benchmark = builder.build(("en",))
    assert [rows.tolist() for rows in benchmark.relevant] == [[0, 1]]


def test_languages_that_are_not_chosen_are_left_out():
    builder = BenchmarkBuilder(SOURCE)
    for language in ("de", "en"):
        builder.add_passage(language, f"{language} p", "text", ["x"])
        builder.add_query(Query(language, f"{language} q", "?", "x", topics=("x",)))
    benchmark = builder.build(("en",))
    assert builder.languages == ["de", "en"]
    assert benchmark.passage_ids == ["en p"]
    assert [rows.tolist() for rows in benchmark.relevant] == [[0]]


def test_kept_questions_are_those_of_the_lowest_hashes():
    names = [f"q{i}" for i in range(20)]
    expected = sorted(names, key=lambda name: zlib.crc32(name.encode()))[:4]
    assert choose_questions(names, 4) == set(expected)
    assert choose_questions(names, 3) < choose_questions(names, 4)
    assert choose_questions(names, None) == choose_questions(names, 99) == set(names)


def test_max_queries_keeps_the_same_questions_in_order_in_each_language():
    benchmark = build_parallel_benchmark(max_queries=4)
    kept = choose_questions([f"q{i}" for i in range(6)], 4)
    in_order = [f"q{i}" for i in range(6) if f"q{i}" in kept]
    assert benchmark.question_ids == in_order * 2
    assert len(benchmark.passages) == 12


def test_max_queries_chooses_by_the_same_hash_among_different_questions():
    question_numbers = {"de": range(8), "en": range(5, 20), "zh": range(2)}
    builder = BenchmarkBuilder(SOURCE)
    for language, numbers in question_numbers.items():
        builder.add_passage(language, f"{language} p", "text", ["topic"])
        for i in numbers:
            query_id = f"{language} q{i}"
            builder.add_query(Query(language, query_id, "?", f"q{i}", topics=("topic",)))
    benchmark = builder.build(("de", "en", "zh"), max_queries=4)
    expected = []
    for language, numbers in question_numbers.items():
        names = [f"q{i}" for i in numbers]
        kept = sorted(names, key=lambda name: zlib.crc32(name.encode()))[:4]
        expected += [(language, name) for name in names if name in kept]
    assert len(expected) == 4 + 4 + 2
    assert list(find_answers(benchmark)) == expected
    assert len(benchmark.queries) == len(expected)


def test_grades_are_kept_only_if_they_differ():
    equal = build_judged_benchmark(Judgement("1", "a", 2, ""), Judgement("1", "b", 2, ""))
    graded = build_judged_benchmark(Judgement("1", "b", 2, ""), Judgement("1", "a", 1, ""))
    assert equal.grades is None
    assert [grades.tolist() for grades in graded.grades] == [[1, 2]]
    assert graded.source.choices == {"split": "test", "relevance": "graded"}


def test_problems_of_a_benchmark_are_raised_together():
    builder = BenchmarkBuilder(SOURCE)
    builder.add_query(Query("en", "1", "?", "1", "line 1"))
    builder.add_query(Query("en", "1", "?", "1", "line 2"))
    builder.add_passage("de", "a", "eins")
    builder.add_passage("de", "a", "zwei")
    builder.add_judgements([Judgement("2", "a", 1, "line 3"), Judgement("1", "z", 1, "line 4")])
    with pytest.raises(ValueError) as raised:
        builder.build(("de", "en"))
    for message in (
        "6 errors in made",
        "line 2: the id '1' is also in line 1",
        "the passage id 'a' comes twice",
        "language de has no queries",
        "language en has no passages",
        "line 3: there is no query '2'",
        "line 4: there is no passage 'z'; unknown_passages=keep counts such passages",
    ):
        assert message in str(raised.value)


def test_a_language_may_be_empty_only_where_that_is_allowed():
    builder = BenchmarkBuilder(SOURCE)
    builder.add_passage("en", "a", "text", ["x"])
    builder.add_query(Query("en", "1", "?", "1", topics=("x",)))
    benchmark = builder.build(("de", "en"), languages_may_be_empty=True)
    assert benchmark.languages == ("de", "en")
    assert benchmark.passage_languages.tolist() == [1]
    with pytest.raises(ValueError, match="language de has no queries"):
        builder.build(("de", "en"))


def test_data_of_another_size_than_the_release_is_a_problem():
    builder = BenchmarkBuilder(SOURCE)
    builder.add_passage("en", "a", "text")
    builder.compare_with_release({"en": (2000, 1), "de": (0, 0)})
    with pytest.raises(ValueError) as raised:
        builder.problems.raise_if_any()
    expected = "en has 0 queries and 1 passages, released are 2,000 and 1: fetch made again"
    assert expected in str(raised.value)
    assert "1 error in" in str(raised.value)


def test_all_choices_that_are_not_allowed_are_named_together():
    errors = check_option("split", "x", ("dev", "test"))
    with pytest.raises(ValueError) as raised:
        choose_languages("made", ["en", "xx"], ["en", "de"], 0, errors)
    assert str(raised.value) == (
        "made: split=x must be one of dev, test; languages=['en', 'xx'] must be at least one and "
        "only some of ['de', 'en'] (not there: 'xx'); max_queries=0 must be at least 1, or null "
        "for all"
    )
    with pytest.raises(ValueError, match=r"languages=\[\] must be at least one"):
        choose_languages("made", [], ["en"])
    assert choose_languages("made", "en", ["en", "de"]) == ("en",)
    assert choose_languages("made", None, ["en", "de"], 1) == ("de", "en")


def test_choices_are_recorded_as_texts():
    source = record_choices(SOURCE, title=True, max_queries=None)
    assert source.choices == {"split": "test", "title": "True", "max_queries": "all"}


def test_selected_queries_keep_their_relevant_passages_and_grades():
    builder = BenchmarkBuilder(SOURCE)
    for i in range(6):
        builder.add_passage("en", f"p{i}", f"says {i}")
    for i in range(3):
        builder.add_query(Query("en", f"q{i}", f"asks {i}", f"q{i}"))
        judgements = [Judgement(f"q{i}", f"p{i + 3}", 1, ""), Judgement(f"q{i}", f"p{i}", 2, "")]
        builder.add_judgements(judgements)
    benchmark = builder.build(("en",))
    selected = select_queries(benchmark, [2, 0])
    assert selected.queries == ["asks 2", "asks 0"]
    assert find_answers(selected) == {("en", "q2"): {"p2", "p5"}, ("en", "q0"): {"p0", "p3"}}
    assert selected.passages == ["says 0", "says 2", "says 3", "says 5"]
    assert [grades.tolist() for grades in selected.grades] == [[2, 1], [2, 1]]
    nothing = select_queries(benchmark, np.array([], dtype=np.int64))
    assert len(nothing.queries) == len(nothing.passages) == 0
