"""Judgements are read by the names of their columns, in whatever order and form they stand."""

import gzip
from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_ir.files.judgements import (
    PASSAGE_NAMES,
    QUERY_NAMES,
    SCORE_NAMES,
    read_judgements,
    read_topics,
)
from hybrid_ir.files.problems import Problems

ROWS = [("0", "2", 1.0), ("1", "0", 2.0), ("2", "1", 0.0)]


def read(path: Path) -> tuple[list[tuple[str, str, float]], list[str]]:
    """Returns what a file of judgements says, and what is wrong with it."""
    problems = Problems("qrels")
    judgements = list(read_judgements(path, problems))
    rows = [(one.query_id, one.passage_id, one.score) for one in judgements]
    return rows, problems.first


def write(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


@pytest.mark.parametrize("order", permutations(range(3)), ids=str)
@pytest.mark.parametrize("separator", ["\t", " ", ",", ";"], ids=["tab", "blank", ",", ";"])
def test_columns_stand_in_any_order_under_their_names(tmp_path, order, separator):
    lines = []
    for cells in (("query-id", "corpus-id", "score"), *ROWS):
        lines.append(separator.join(str(cells[i]) for i in order))
    assert read(write(tmp_path / "qrels.tsv", *lines)) == (ROWS, [])


@given(
    names=st.tuples(*map(st.sampled_from, (QUERY_NAMES, PASSAGE_NAMES, SCORE_NAMES))),
    order=st.permutations([0, 1, 2]),
    spell=st.sampled_from([str.upper, str.title, lambda name: name.replace("-", "_")]),
)
@settings(deadline=None)
def test_every_known_name_is_found_in_every_spelling(tmp_path_factory, names, order, spell):
    path = tmp_path_factory.mktemp("names") / "qrels.tsv"
    lines = ["\t".join(spell(names[i]) for i in order)]
    for row in ROWS:
        lines.append("\t".join(str(row[i]) for i in order))
    assert read(write(path, *lines)) == (ROWS, [])


def test_more_columns_than_needed_are_passed_over(tmp_path):
    lines = ["score\tannotator\tdocid\tqid\tquery", "1\tx\t2\t0\twhat?", "2\ty\t0\t1\twho?"]
    assert read(write(tmp_path / "qrels.tsv", *lines)) == (ROWS[:2], [])


@pytest.mark.parametrize(
    "lines",
    [
        ["0 0 2 1", "1 0 0 2", "2 Q0 1 0"],
        ["0\t0\t2\t1", "1 0 0 2", "2\tQ0\t1\t0"],
        ["topic iteration docno relevance", "0 0 2 1", "1 0 0 2", "2 0 1 0"],
        ['"query-id"\t"corpus-id"\t"score"', '"0"\t"2"\t"1"', '"1"\t"0"\t2', '2\t"1"\t0'],
        ["query-id\tcorpus-id\tscore", '"0"\t"2"\t1', '"1"\t"0"\t2', '"2"\t"1"\t0'],
        ["0\t2\t1.0", "1\t0\t+2", "2\t1\t0"],
        ["", "query-id\tcorpus-id\tscore", "", "0\t2\t1", "1\t0\t2", "2\t1\t0"],
    ],
)
def test_the_forms_of_beir_and_trec_say_the_same(tmp_path, lines):
    assert read(write(tmp_path / "qrels.tsv", *lines)) == (ROWS, [])


def test_a_packed_file_with_a_byte_order_mark_is_read(tmp_path):
    path = tmp_path / "qrels.tsv.gz"
    path.write_bytes(gzip.compress(b"\xef\xbb\xbfcorpus-id\tquery-id\tscore\n2\t0\t1\n"))
    assert read(path) == (ROWS[:1], [])


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        ("foo\tbar\tbaz", "no column is known as query or as passage or as score in the header"),
        ("query-id\tcorpus-id\tpoints", "no column is known as score in the header"),
        ("query-id\tquery_id\tscore", "the column 'query-id' comes twice"),
        ("query-id\tcorpus-id\tscore\tscore", "the column 'score' comes twice"),
    ],
)
def test_an_unknown_header_is_refused_with_the_known_names(tmp_path, header, problem):
    rows, problems = read(write(tmp_path / "qrels.tsv", header, "0\t2\t1"))
    assert rows == []
    assert f"line 1: {problem}" in problems[0]
    assert "may be called: query (query-id, qid," in problems[0]


def test_ids_are_normalised(tmp_path):
    path = write(tmp_path / "qrels.tsv", "cafe\u0301\td\u200b\t1")
    assert read(path) == ([("café", "d", 1.0)], [])


def test_topics_are_read_by_their_names_too(tmp_path):
    path = write(tmp_path / "topics.tsv", "Query\tqid", "was ist das?\t7")
    problems = Problems("topics")
    assert [(name, text) for _, name, text in read_topics(path, problems)] == [
        ("7", "was ist das?")
    ]
    assert problems.number == 0


def test_topics_in_marks_are_named(tmp_path):
    path = write(tmp_path / "topics.tsv", "<top>", "<num> Number: 301", "</top>")
    problems = Problems("topics")
    assert list(read_topics(path, problems)) == []
    assert "line 1: TREC's topics between <top> and </top> are not read" in problems.first[0]
