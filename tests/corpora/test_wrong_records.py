"""Wrong records: all that is wrong is said with its line, all is written or nothing, what is left out leaves nothing."""

import gzip
import json
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hybrid_ir.corpora.sources import own
from hybrid_ir.files import records
from hybrid_ir.files.problems import Problems
from tests.corpora.test_own import RECORDS, expected, lines, words

WRONG = [
    ('{"id": "w", "query": {"en": "q"', r"x.jsonl, line 2, column \d+: not JSON"),
    ("[1]", r"x.jsonl, line 2: \[1\] is not a JSON object"),
    ({"id": "w", "query": {"en": "q"}}, r"line 2: no key 'passage', there are 'id', 'query'"),
    (
        {"id": "w", "query": "q", "passage": {"en": "p"}},
        "line 2: 'query' is 'q', need an object of texts by language",
    ),
    ({"id": "w", "query": {}, "passage": {"en": "p"}}, "line 2: 'query' is {}, need an object"),
    ({"id": None, "query": {"en": "q"}, "passage": {"en": "p"}}, "line 2: 'id' is None"),
    (
        {"id": "w", "query": {"en": "q"}, "passage": {"en": "p"}, "negatives": ["n"]},
        r"line 2: 'negatives' is \['n'\], need a list",
    ),
    (
        {"id": "w", "query": {"english": "q"}, "passage": {"en": "p"}},
        "line 2: the language code 'english' is not known, did you mean 'en'",
    ),
    (
        {"id": "w", "query": {"en": "q"}, "passage": {"en": "p"}, "negatives": [{"zzz": "n"}]},
        "line 2: the language code 'zzz'",
    ),
    ({"id": "w", "query": {"en": " "}, "passage": {"en": "p"}}, "line 2: an empty query in 'en'"),
    (
        {"id": "w", "query": {"en": "q"}, "passage": {"en": "p"}, "negatives": [{"en": "　"}]},
        "line 2: an empty negative in 'en'",
    ),
    (
        {"id": "w", "query": {"en": "q"}, "passage": {"en": "p" * 300}},
        "line 2: a passage in 'en' has more characters than max_characters=200: 300",
    ),
    (
        {"id": "w", "query": {"en": "same"}, "passage": {"en": "same"}},
        "line 2: the query is its passage in 'en'",
    ),
    (
        {"id": 1, "query": {"en": "q"}, "passage": {"en": "p"}},
        "line 2: the id '1' is also in .*x.jsonl, line 1",
    ),
    (
        {"id": "w", "query": {"en": "q"}, "passage": {"en": None}},
        "line 2: no passage in any language for the id: 'w'",
    ),
    (
        {"id": "w", "query": {"en": "q"}, "passage": {"en": "p"}, "negative": [{"en": "n"}]},
        "unknown key 'negative', did you mean 'negatives'",
    ),
    (
        {"id": "w", "query": {"en": "q"}, "passage": {"en": "p"}, "negatives": [{"en": "n" * 300}]},
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
    (
        {"id": "w", "query": {"en": "q\0"}, "passage": {"en": "p"}},
        "line 2: a NUL character in a query in 'en'",
    ),
    (
        {"id": "w", "query": {"en": "q"}, "passage": {"en": "p"}, "negatives": [{"en": "n\0"}]},
        "line 2: a NUL character in a negative",
    ),
    (
        {
            "id": "w",
            "query": {"en": "q"},
            "passage": {"en": "p"},
            "negatives": [{"en": "n"}, {"en": "p"}],
        },
        "line 2: a negative in 'en' is the passage: 'p'",
    ),
    (
        {"id": "w", "qury": {"en": "q"}, "passage": "p"},
        r"line 2: no key 'query', .*; 'passage' is 'p', .*; unknown key 'qury', did",
    ),
]


@pytest.mark.parametrize(("line", "said"), WRONG, ids=[said[:40] for _, said in WRONG])
def test_what_is_wrong_is_said_and_nothing_is_written_or_it_alone_is_left_out(tmp_path, line, said):
    path = lines(tmp_path / "x.jsonl", RECORDS[0], line, RECORDS[1], RECORDS[2])
    with pytest.raises(ValueError, match=f"1 error in the data of corpus 'x':\n .*{said}"):
        own.from_jsonl(str(path), cache=str(tmp_path), max_characters=200, to=str(tmp_path / "to"))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["x.jsonl"]
    corpus = own.from_jsonl(
        str(path), cache=str(tmp_path), max_characters=200, errors="skip", to=str(tmp_path / "to")
    )
    assert words(corpus) == expected(RECORDS)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ({"id": "1", "query": {"en": "q"}}, "line 1: no key 'passage', there are 'id', 'query'"),
        (
            {"id": "1", "query": {"en": " "}, "passage": {"en": "p"}},
            "line 1: an empty query in 'en'",
        ),
    ],
)
def test_an_id_that_comes_twice_is_told_where_one_of_the_two_is_wrong_in_another_way(
    tmp_path, line, problem
):
    path = lines(tmp_path / "x.jsonl", line, *RECORDS)
    with pytest.raises(
        ValueError,
        match=rf"2 errors .*\n.*{problem}\n.*line 2: the id '1' is also in .*line 1\n.*errors=skip",
    ):
        own.from_jsonl(str(path), cache=str(tmp_path))
    assert words(own.from_jsonl(str(path), cache=str(tmp_path), errors="skip")) == expected(
        RECORDS
    )  # the other one is good


def test_what_looks_like_keys_inside_of_a_text_is_text(tmp_path):
    record = {"id": "1", "query": {"en": '"en": q, "en": r'}, "passage": {"en": '{"a":1,"a":2}'}}
    assert words(
        own.from_jsonl(str(lines(tmp_path / "x.jsonl", record)), cache=str(tmp_path))
    ) == expected([record])


def test_a_file_of_another_form_is_told_by_its_name(tmp_path):
    (tmp_path / "x.parquet").write_bytes(b"PAR1")
    with pytest.raises(
        ValueError, match=r"x\.parquet is read by parquet, not by what needs \.jsonl or \.jsonl\.gz"
    ):
        own.from_jsonl(str(tmp_path / "x.parquet"), cache=str(tmp_path))
    (tmp_path / "eng.tsv").write_text("1\tq\tp\n")
    with pytest.raises(
        ValueError,
        match=r"called by its language, as en\.tsv: .*eng\.tsv: the language code 'eng' .*mean 'en'",
    ):
        own.from_tsv(str(tmp_path / "eng.tsv"), cache=str(tmp_path))
    (tmp_path / "de").mkdir()
    (tmp_path / "de" / "corpus.jsonl").touch()
    with pytest.raises(
        ValueError, match="is missing, but there are such folders inside: leave language= out"
    ):
        own.from_beir(str(tmp_path), language="en", cache=str(tmp_path))


def test_what_an_earlier_import_found_wrong_is_gone_after_a_good_one(tmp_path):
    told = tmp_path / "to.problems.txt"
    with pytest.raises(ValueError, match="in all of them|all of them in"):
        own.from_jsonl(
            str(lines(tmp_path / "x.jsonl", *["{"] * 20)),
            cache=str(tmp_path),
            to=str(tmp_path / "to"),
        )
    assert len(told.read_text().splitlines()) == 20
    own.from_jsonl(
        str(lines(tmp_path / "x.jsonl", *RECORDS)), cache=str(tmp_path), to=str(tmp_path / "to")
    )
    assert not told.exists()


def test_a_file_that_ends_too_early_is_never_skipped(tmp_path):
    whole = gzip.compress(
        "\n".join(json.dumps({**RECORDS[0], "id": i}) for i in range(500)).encode()
    )
    (tmp_path / "x.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="the compressed data is broken"):
        own.from_jsonl(str(tmp_path / "x.jsonl.gz"), cache=str(tmp_path), errors="skip")
    pq.write_table(pa.table({"other": ["x"]}), tmp_path / "y.parquet")
    with pytest.raises(
        ValueError, match="no column query_LL; no column passage_LL; there are other"
    ):
        own.from_parquet(str(tmp_path / "y.parquet"), cache=str(tmp_path), errors="skip")


def test_what_is_left_out_is_counted_and_told(tmp_path, capsys):
    wrong = {"id": "w", "query": {"fr": " "}, "passage": {"fr": "p"}}
    path = lines(tmp_path / "x.jsonl", RECORDS[0], "nothing", wrong, RECORDS[1])
    corpus = own.from_jsonl(
        str(path), cache=str(tmp_path), errors="skip", to=str(tmp_path / "to") + "/"
    )
    report = json.loads((tmp_path / "to" / "corpus.json").read_text())["report"]
    assert (report["records"], report["records left out"], report["problems"]) == (3, 1, 2)
    assert corpus.languages == ("de", "en", "zh")  # none of the record that was left out
    assert (
        "2 problems" in capsys.readouterr().out
        and len((tmp_path / "to.problems.txt").read_text().splitlines()) == 2
    )


def test_broken_utf_8_and_all_problems_in_a_file(tmp_path):
    path = lines(tmp_path / "x.jsonl", *RECORDS, *['{"id": 1'] * 20)
    path.write_bytes(path.read_bytes() + b'{"id": "\xff"}\n')
    with pytest.raises(
        ValueError,
        match=r"(?s)21 errors in .*\.\.\. and 11 more, all of them in .*to\.problems\.txt",
    ) as error:
        own.from_jsonl(str(path), cache=str(tmp_path), to=str(tmp_path / "to"))
    told = (tmp_path / "to.problems.txt").read_text().splitlines()
    assert len(told) == 21 and "line 24: not UTF-8" in told[-1] and "line 4" in str(error.value)


def test_what_is_left_out_brings_no_language_and_no_text(tmp_path):
    rows = [
        {
            "id": 1,
            "query": {"en": "q"},
            "passage": {"en": "p"},
            "negatives": [{"sw": None, "en": "n"}],
        },
        {"id": 2, "query": {"en": " "}, "passage": {"en": "x"}, "negatives": [{"fr": "n"}]},
        {
            "id": 1,
            "query": {"de": "f"},
            "passage": {"de": "another answer"},
            "negatives": [{"de": "not"}],
        },
        {"id": 3, "query": {"en": "r"}, "passage": {"en": "s", "zh": "t"}},
    ]
    corpus = own.from_jsonl(
        str(lines(tmp_path / "x.jsonl", *rows)),
        cache=str(tmp_path),
        errors="skip",
        to=str(tmp_path / "to"),
    )
    assert corpus.languages == ("en", "zh") and words(corpus) == expected(
        [{**rows[0], "negatives": [{"en": "n"}]}, rows[3]]
    )
    assert list(corpus.passages["en"]) == ["p", "n", "s"] and corpus.pairs.tolist() == [
        [0, 0],
        [1, 2],
    ]
    report = json.loads((tmp_path / "to" / "corpus.json").read_text())["report"]
    assert report == {"records": 4, "records left out": 2, "in one language only": 1, "problems": 2}
    assert not [
        path
        for path in (tmp_path / "to").iterdir()
        if path.suffix not in (".arrow", ".npy", ".json")
    ]


def test_lines_that_are_no_records_are_handed_on_in_time(tmp_path, monkeypatch):
    monkeypatch.setattr("hybrid_ir.files.records.RECORDS_PER_BLOCK", 10)
    path = lines(tmp_path / "x.jsonl", *[{"id": i, "query": "q"} for i in range(95)], RECORDS[0])
    found = list(records.read_json_line_records(path, Problems("x")))
    assert [len(part.others) for part in found] == [10] * 9 + [5] and [
        len(part) for part in found
    ] == [0] * 9 + [1]


def test_a_record_has_only_so_many_negatives_in_all_languages_together(tmp_path):
    negatives = [{code: f"{code} {i}"} for code in ("en", "de", "fr") for i in range(40)]
    path = lines(
        tmp_path / "x.jsonl",
        {"id": 1, "query": {"en": "q"}, "passage": {"en": "p"}, "negatives": negatives},
    )
    with pytest.raises(ValueError, match="line 1: more than 100 negatives"):
        own.from_jsonl(str(path), cache=str(tmp_path))


def test_a_title_alone_is_no_passage(tmp_path):
    pq.write_table(
        pa.table({"id": ["1", "2"], "q": ["q", "r"], "title": ["T", "U"], "text": ["p", " "]}),
        tmp_path / "x.parquet",
    )
    with pytest.raises(ValueError, match=r"x\.parquet, row 2: an empty passage in 'en'"):
        own.from_parquet(
            str(tmp_path / "x.parquet"),
            cache=str(tmp_path),
            columns={"query": {"en": "q"}, "passage": {"en": ["title", "text"]}},
        )
    given = ("T", "p"), ("T", ""), ("T", None), (None, "p"), ("", " ")
    assert [records.join_title(*pair) for pair in given] == ["T p", "", "", "p", ""]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.binary(), "id", "negatives"])
def test_a_row_of_parquet_that_is_not_utf_8_is_told_and_left_out(tmp_path, kind):
    broken = pa.array([b"one", b"tw\xff", b"three"], pa.binary()).view(pa.string())
    good, wrong = (
        pa.array(["x", "y", "z"]),
        broken
        if isinstance(kind, str)
        else broken.view(pa.binary()).cast(pa.large_binary()).view(kind)
        if kind == pa.large_string()
        else broken.view(kind),
    )
    negatives = pa.ListArray.from_arrays(
        pa.array([0, 1, 2, 3], pa.int32()), broken if kind == "negatives" else good
    )
    pq.write_table(
        pa.table(
            {
                "id": wrong if kind == "id" else good,
                "query_en": good if isinstance(kind, str) else wrong,
                "passage_en": pa.array(["p", "q", "r"]),
                "negatives_en": negatives,
            }
        ),
        tmp_path / "x.parquet",
    )
    with pytest.raises(ValueError, match=r"1 error in .*\n.*x\.parquet, row 2: not UTF-8"):
        own.from_parquet(str(tmp_path / "x.parquet"), cache=str(tmp_path))
    corpus = own.from_parquet(str(tmp_path / "x.parquet"), cache=str(tmp_path), errors="skip")
    assert [passage["en"] for _, passage, _ in words(corpus)] == ["p", "r"]


def test_ids_of_beir_with_blanks_are_not_mixed_up(tmp_path):
    for code, judged in (("en", ("a b", "c")), ("de", ("a", "b c"))):
        folder = tmp_path / "b" / code
        (folder / "qrels").mkdir(parents=True)
        lines(folder / "queries.jsonl", {"_id": judged[0], "text": f"{code} asks"})
        lines(folder / "corpus.jsonl", {"_id": judged[1], "text": f"{code} tells"})
        (folder / "qrels" / "train.tsv").write_text("\t".join([*judged, "1"]) + "\n")
    corpus = own.from_beir(str(tmp_path / "b"), cache=str(tmp_path), twins=False)
    assert words(corpus) == [
        [{code: f"{code} asks"}, {code: f"{code} tells"}, []] for code in ("de", "en")
    ]


def test_what_a_stopped_build_of_other_data_left_is_deleted_after_a_week(tmp_path):
    old, new = (tmp_path / "corpora" / f".x-{name}.building" for name in ("old", "new"))
    for folder in (old, new):
        folder.mkdir(parents=True)
    os.utime(old, (0, 0))
    own.from_jsonl(str(lines(tmp_path / "x.jsonl", *RECORDS)), cache=str(tmp_path))
    assert new.exists() and not old.exists()


def test_the_same_import_again_is_there(tmp_path):
    path = lines(tmp_path / "x.jsonl", *RECORDS)
    for _ in range(2):
        assert words(
            own.from_jsonl(str(path), cache=str(tmp_path), to=str(tmp_path / "to"))
        ) == expected(RECORDS)
    lines(path, *RECORDS[:2])
    with pytest.raises(ValueError, match="is there already: name a new folder"):
        own.from_jsonl(str(path), cache=str(tmp_path), to=str(tmp_path / "to"))
