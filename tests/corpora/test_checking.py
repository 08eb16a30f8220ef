"""Wrong records: everything wrong is said with its line, and wrong records alone are left out."""

import gzip
import json
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hybrid_ir.corpora.sources import own
from hybrid_ir.files import records
from hybrid_ir.files.problems import Problems
from tests.support.corpora import (
    RECORDS,
    list_expected_pairs,
    list_pairs,
    write_json_lines,
)

GOOD = {"id": "w", "query": {"en": "q"}, "passage": {"en": "p"}}
WRONG = [
    ('{"id": "w", "query": {"en": "q"', r"x.jsonl, line 2, column \d+: not JSON"),
    ("[1]", r"x.jsonl, line 2: \[1\] is not a JSON object"),
    (
        {"id": "w", "query": {"en": "q"}},
        r"line 2: no key 'passage', there are 'id', 'query'",
    ),
    (
        {**GOOD, "query": "q"},
        "line 2: 'query' is 'q', need an object of texts by language",
    ),
    ({**GOOD, "query": {}}, "line 2: 'query' is {}, need an object"),
    ({**GOOD, "id": None}, "line 2: 'id' is None"),
    ({**GOOD, "negatives": ["n"]}, r"line 2: 'negatives' is \['n'\], need a list"),
    (
        {**GOOD, "query": {"english": "q"}},
        "line 2: the language code 'english' is not known, did you mean 'en'",
    ),
    ({**GOOD, "negatives": [{"zzz": "n"}]}, "line 2: the language code 'zzz'"),
    ({**GOOD, "query": {"en": " "}}, "line 2: an empty query in 'en'"),
    ({**GOOD, "negatives": [{"en": "　"}]}, "line 2: an empty negative in 'en'"),
    (
        {**GOOD, "passage": {"en": "p" * 300}},
        "line 2: a passage in 'en' has more characters than max_characters=200: 300",
    ),
    (
        {**GOOD, "query": {"en": "same"}, "passage": {"en": "same"}},
        "line 2: the query is its passage in 'en'",
    ),
    ({**GOOD, "id": 1}, "line 2: the id '1' is also in .*x.jsonl, line 1"),
    (
        {**GOOD, "passage": {"en": None}},
        "line 2: no passage in any language for the id: 'w'",
    ),
    (
        {**GOOD, "negative": [{"en": "n"}]},
        "unknown key 'negative', did you mean 'negatives'",
    ),
    (
        {**GOOD, "negatives": [{"en": "n" * 300}]},
        "line 2: a negative in 'en' has more characters",
    ),
    (
        '{"id": "w", "query": {"en": "\\ud800"}, "passage": {"en": "p"}}',
        "line 2: half of a surrogate pair",
    ),
    (
        '{"id": "w", "query": {"en": "q", "en": "r"}, "passage": {"en": "p"}}',
        "line 2: the key 'en' comes twice in an object",
    ),
    (
        '{"id": "w", "query" : {"en" : "q"}, "passage": {"de": "p"}, "query": {"en": "r"}}',
        "the key 'query' comes twice",
    ),
    ({**GOOD, "query": {"en": "q\0"}}, "line 2: a NUL character in a query in 'en'"),
    ({**GOOD, "negatives": [{"en": "n\0"}]}, "line 2: a NUL character in a negative"),
    (
        {**GOOD, "negatives": [{"en": "n"}, {"en": "p"}]},
        "line 2: a negative in 'en' is the passage: 'p'",
    ),
    (
        {"id": "w", "qury": {"en": "q"}, "passage": "p"},
        r"line 2: no key 'query', .*; 'passage' is 'p', .*; unknown key 'qury', did",
    ),
]


@pytest.mark.parametrize(("line", "problem"), WRONG, ids=[problem[:40] for _, problem in WRONG])
def test_a_wrong_record_stops_the_import_or_is_left_out_alone(tmp_path, line, problem):
    path = write_json_lines(tmp_path / "x.jsonl", RECORDS[0], line, RECORDS[1], RECORDS[2])
    choices = {"cache": str(tmp_path), "to": str(tmp_path / "to"), "max_characters": 200}
    with pytest.raises(ValueError, match=f"1 error in the data of corpus 'x':\n .*{problem}"):
        own.from_jsonl(str(path), **choices)
    assert [file.name for file in tmp_path.iterdir()] == ["x.jsonl"]
    corpus = own.from_jsonl(str(path), errors="skip", **choices)
    assert list_pairs(corpus) == list_expected_pairs(RECORDS)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (
            {"id": "1", "query": {"en": "q"}},
            "line 1: no key 'passage', there are 'id', 'query'",
        ),
        (
            {"id": "1", "query": {"en": " "}, "passage": {"en": "p"}},
            "line 1: an empty query in 'en'",
        ),
    ],
)
def test_a_repeated_id_is_named_even_if_one_record_is_wrong_otherwise(tmp_path, line, problem):
    path = write_json_lines(tmp_path / "x.jsonl", line, *RECORDS)
    errors = rf"2 errors .*\n.*{problem}\n.*line 2: the id '1' is also in .*line 1\n.*errors=skip"
    with pytest.raises(ValueError, match=errors):
        own.from_jsonl(str(path), cache=str(tmp_path))
    # The other record is good.
    corpus = own.from_jsonl(str(path), cache=str(tmp_path), errors="skip")
    assert list_pairs(corpus) == list_expected_pairs(RECORDS)


def test_what_looks_like_keys_inside_a_text_is_text(tmp_path):
    record = {"id": "1", "query": {"en": '"en": q, "en": r'}, "passage": {"en": '{"a":1,"a":2}'}}
    path = write_json_lines(tmp_path / "x.jsonl", record)
    corpus = own.from_jsonl(str(path), cache=str(tmp_path))
    assert list_pairs(corpus) == list_expected_pairs([record])


def test_a_good_import_deletes_the_problems_of_an_earlier_one(tmp_path):
    problems_file = tmp_path / "to.problems.txt"
    path = write_json_lines(tmp_path / "x.jsonl", *["{"] * 20)
    with pytest.raises(ValueError, match="all of them in"):
        own.from_jsonl(str(path), cache=str(tmp_path), to=str(tmp_path / "to"))
    assert len(problems_file.read_text().splitlines()) == 20
    write_json_lines(path, *RECORDS)
    own.from_jsonl(str(path), cache=str(tmp_path), to=str(tmp_path / "to"))
    assert not problems_file.exists()


def test_a_file_that_ends_too_early_is_never_skipped(tmp_path):
    lines = [json.dumps({**RECORDS[0], "id": number}) for number in range(500)]
    whole = gzip.compress("\n".join(lines).encode())
    (tmp_path / "x.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="the compressed data is broken"):
        own.from_jsonl(str(tmp_path / "x.jsonl.gz"), cache=str(tmp_path), errors="skip")


def test_a_table_without_the_needed_columns_is_never_skipped(tmp_path):
    pq.write_table(pa.table({"other": ["x"]}), tmp_path / "y.parquet")
    problem = "no column query_LL; no column passage_LL; there are other"
    with pytest.raises(ValueError, match=problem):
        own.from_parquet(str(tmp_path / "y.parquet"), cache=str(tmp_path), errors="skip")


def read_report(folder) -> dict:
    return json.loads((folder / "corpus.json").read_text())["report"]


def test_what_is_left_out_is_counted_and_listed(tmp_path, capsys):
    wrong = {"id": "w", "query": {"fr": " "}, "passage": {"fr": "p"}}
    path = write_json_lines(tmp_path / "x.jsonl", RECORDS[0], "nothing", wrong, RECORDS[1])
    to = tmp_path / "to"
    corpus = own.from_jsonl(str(path), cache=str(tmp_path), errors="skip", to=f"{to}/")
    report = read_report(to)
    assert (report["records"], report["records left out"], report["problems"]) == (3, 1, 2)
    assert corpus.languages == ("de", "en", "zh")  # none of the record that was left out
    assert "2 problems" in capsys.readouterr().out
    assert len((tmp_path / "to.problems.txt").read_text().splitlines()) == 2


def test_broken_utf_8_and_more_problems_than_are_shown_are_in_a_file(tmp_path):
    path = write_json_lines(tmp_path / "x.jsonl", *RECORDS, *['{"id": 1'] * 20)
    path.write_bytes(path.read_bytes() + b'{"id": "\xff"}\n')
    summary = r"(?s)21 errors in .*\.\.\. and 11 more, all of them in .*to\.problems\.txt"
    with pytest.raises(ValueError, match=summary) as error:
        own.from_jsonl(str(path), cache=str(tmp_path), to=str(tmp_path / "to"))
    problems = (tmp_path / "to.problems.txt").read_text().splitlines()
    assert len(problems) == 21
    assert "line 24: not UTF-8" in problems[-1]
    assert "line 4" in str(error.value)


def test_what_is_left_out_brings_no_language_and_no_text(tmp_path):
    first = {
        "id": 1,
        "query": {"en": "q"},
        "passage": {"en": "p"},
        "negatives": [{"sw": None, "en": "n"}],
    }
    wrong = {"id": 2, "query": {"en": " "}, "passage": {"en": "x"}, "negatives": [{"fr": "n"}]}
    repeated = {
        "id": 1,
        "query": {"de": "f"},
        "passage": {"de": "another answer"},
        "negatives": [{"de": "not"}],
    }
    last = {"id": 3, "query": {"en": "r"}, "passage": {"en": "s", "zh": "t"}}
    path = write_json_lines(tmp_path / "x.jsonl", first, wrong, repeated, last)
    to = tmp_path / "to"
    corpus = own.from_jsonl(str(path), cache=str(tmp_path), errors="skip", to=str(to))
    assert corpus.languages == ("en", "zh")
    assert list_pairs(corpus) == list_expected_pairs([{**first, "negatives": [{"en": "n"}]}, last])
    assert list(corpus.passages["en"]) == ["p", "n", "s"]
    assert corpus.pairs.tolist() == [[0, 0], [1, 2]]
    assert read_report(to) == {
        "records": 4,
        "records left out": 2,
        "in one language only": 1,
        "problems": 2,
    }
    assert {path.suffix for path in to.iterdir()} == {".arrow", ".npy", ".json"}


def test_lines_that_are_no_records_are_handed_on_in_time(tmp_path, monkeypatch):
    monkeypatch.setattr("hybrid_ir.files.records.RECORDS_PER_BLOCK", 10)
    wrong = [{"id": number, "query": "q"} for number in range(95)]
    path = write_json_lines(tmp_path / "x.jsonl", *wrong, RECORDS[0])
    blocks = list(records.read_json_line_records(path, Problems("x")))
    assert [len(block.others) for block in blocks] == [10] * 9 + [5]
    assert [len(block) for block in blocks] == [0] * 9 + [1]


def test_the_negatives_of_a_record_are_limited_over_all_languages(tmp_path):
    negatives = []
    for language in ("en", "de", "fr"):
        negatives += [{language: f"{language} {number}"} for number in range(40)]
    path = write_json_lines(tmp_path / "x.jsonl", {**GOOD, "negatives": negatives})
    with pytest.raises(ValueError, match="line 1: more than 100 negatives"):
        own.from_jsonl(str(path), cache=str(tmp_path))


@pytest.mark.parametrize(
    ("title", "text", "passage"),
    [("T", "p", "T p"), ("T", "", ""), ("T", None, ""), (None, "p", "p"), ("", " ", "")],
)
def test_a_title_stands_in_front_of_its_text_only(title, text, passage):
    assert records.join_title(title, text) == passage


BROKEN = pa.array([b"one", b"tw\xff", b"three"], pa.binary())
BROKEN_COLUMNS = {
    "string": BROKEN.view(pa.string()),
    "large_string": BROKEN.cast(pa.large_binary()).view(pa.large_string()),
    "binary": BROKEN,
}


@pytest.mark.parametrize("column", ["string", "large_string", "binary", "id", "negatives"])
def test_a_row_of_parquet_that_is_not_utf_8_is_named_and_left_out(tmp_path, column):
    good = pa.array(["x", "y", "z"])
    columns = {"id": good, "query_en": good, "passage_en": ["p", "q", "r"], "negatives_en": good}
    if column == "id":
        columns["id"] = BROKEN_COLUMNS["string"]
    elif column == "negatives":
        columns["negatives_en"] = BROKEN_COLUMNS["string"]
    else:
        columns["query_en"] = BROKEN_COLUMNS[column]
    offsets = pa.array([0, 1, 2, 3], pa.int32())
    columns["negatives_en"] = pa.ListArray.from_arrays(offsets, columns["negatives_en"])
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table(columns), path)
    with pytest.raises(ValueError, match=r"1 error in .*\n.*x\.parquet, row 2: not UTF-8"):
        own.from_parquet(str(path), cache=str(tmp_path))
    corpus = own.from_parquet(str(path), cache=str(tmp_path), errors="skip")
    assert [passage["en"] for _, passage, _ in list_pairs(corpus)] == ["p", "r"]


def test_a_stopped_build_of_other_data_is_deleted_after_a_week(tmp_path):
    old = tmp_path / "corpora" / ".x-old.building"
    new = tmp_path / "corpora" / ".x-new.building"
    old.mkdir(parents=True)
    new.mkdir()
    os.utime(old, (0, 0))
    path = write_json_lines(tmp_path / "x.jsonl", *RECORDS)
    own.from_jsonl(str(path), cache=str(tmp_path))
    assert new.exists()
    assert not old.exists()
