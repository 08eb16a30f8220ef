"""Your own data: every line is checked, all that is wrong is said with its line, and all is written or nothing."""

import gzip
import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_ir.corpora.sources import own
from hybrid_ir.data.corpus import ParallelCorpus
from tests.support.web import serving

RECORDS = [
    {
        "id": "1",
        "query": {"en": "q1", "de": "f1"},
        "passage": {"en": "p1", "de": "a1"},
        "negatives": [{"en": "n1", "de": "m1"}],
    },
    {"id": 2, "query": {"en": "q2"}, "passage": {"en": "p2", "zh": "中"}},
    {
        "id": "3",
        "query": {"de": "f3", "en": None},
        "passage": {"de": "a3"},
        "negatives": [{"de": "m3"}, {"en": "n3"}],
    },
]


def lines(path: Path, *records) -> Path:
    text = "\n".join(
        record if isinstance(record, str) else json.dumps(record, ensure_ascii=False)
        for record in records
    )
    path.write_bytes(text.encode() + b"\n")
    return path


def words(corpus: ParallelCorpus) -> list:
    """Every pair as query texts, passage texts and texts of its negatives, by language."""

    def of(texts, row):
        return {
            code: texts[code][int(row)]
            for code in corpus.languages
            if texts[code][int(row)] is not None
        }

    return in_order(
        [
            of(corpus.queries, query),
            of(corpus.passages, passage),
            [of(corpus.passages, n) for n in known if n >= 0],
        ]
        for (query, passage), known in zip(corpus.pairs, corpus.negatives, strict=True)
    )


def in_order(found) -> list:
    return sorted(found, key=lambda row: json.dumps(row, sort_keys=True))


def expected(records: list[dict]) -> list:
    def there(texts):
        return {code: text for code, text in texts.items() if text is not None}

    return in_order(
        [there(r["query"]), there(r["passage"]), [there(n) for n in r.get("negatives", [])]]
        for r in records
    )


TEXTS = st.dictionaries(
    st.sampled_from(["en", "de", "zh-Hant", "sw"]),
    st.text("aé中 ", min_size=1, max_size=6).filter(str.strip),
    min_size=1,
)


@given(st.lists(st.tuples(TEXTS, TEXTS, st.lists(TEXTS, max_size=3)), min_size=1, max_size=15))
@settings(max_examples=40, deadline=None)
def test_what_is_in_the_lines_is_in_the_corpus(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("own")
    records = [
        {
            "id": i,
            "query": q,
            "passage": {code: f"{text}." for code, text in p.items()},
            "negatives": n,
        }
        for i, (q, p, n) in enumerate(rows)
    ]
    corpus = own.from_jsonl(str(lines(folder / "x.jsonl", *records)), cache=str(folder))
    assert words(corpus) == expected(records)


def test_more_records_than_are_read_together(tmp_path, monkeypatch):
    monkeypatch.setattr("hybrid_ir.files.records.RECORDS_PER_BLOCK", 2)
    records = [{**record, "id": f"{record['id']} {i}"} for i in range(3) for record in RECORDS]
    assert words(
        own.from_jsonl(str(lines(tmp_path / "x.jsonl", *records)), cache=str(tmp_path))
    ) == expected(records)


def test_a_folder_of_files_some_of_them_compressed(tmp_path):
    (tmp_path / "d").mkdir()
    lines(tmp_path / "d" / "a.jsonl", *RECORDS[:2])
    (tmp_path / "d" / "b.jsonl.gz").write_bytes(gzip.compress(json.dumps(RECORDS[2]).encode()))
    corpus = own.from_jsonl(str(tmp_path / "d"), cache=str(tmp_path))
    assert words(corpus) == expected(RECORDS) and corpus.source.name == "d"


def test_negatives_keep_their_places_and_ids_are_no_texts(tmp_path):
    pq.write_table(
        pa.table(
            {
                "query_en": ["q"],
                "passage_en": ["p"],
                "query_id": [1],
                "passage_id": [2],
                "negatives_en": [["a", "b"]],
                "negatives_de": [[None, "B"]],
            }
        ),
        tmp_path / "x.parquet",
    )
    corpus = own.from_parquet(str(tmp_path / "x.parquet"), cache=str(tmp_path))
    assert words(corpus) == [[{"en": "q"}, {"en": "p"}, [{"en": "a"}, {"de": "B", "en": "b"}]]]
    pq.write_table(
        pa.table({"query_en": ["q"], "passage_en": ["p"], "query_id": ["x"]}),
        tmp_path / "y.parquet",
    )
    with pytest.raises(ValueError, match="column 'query_id' may hold ids, or texts in Indonesian"):
        own.from_parquet(str(tmp_path / "y.parquet"), cache=str(tmp_path))
    pq.write_table(pa.table({"query_en": [["q"]], "passage_en": ["p"]}), tmp_path / "z.parquet")
    with pytest.raises(ValueError, match="z.parquet, rows from 1 on: not texts that can be read"):
        own.from_parquet(str(tmp_path / "z.parquet"), cache=str(tmp_path))


def test_the_cache_knows_when_the_file_changes(tmp_path):
    path = lines(tmp_path / "x.jsonl", RECORDS[0])
    assert len(own.from_jsonl(str(path), cache=str(tmp_path))) == 1
    lines(path, *RECORDS)
    assert len(own.from_jsonl(str(path), cache=str(tmp_path))) == 3
    with pytest.raises(
        ValueError, match=r"corpus.languages=\['sw'\]: corpus 'x' has \['de', 'en', 'zh'\]"
    ):
        own.from_jsonl(str(path), cache=str(tmp_path), languages=["sw"])
    assert own.from_jsonl(str(path), cache=str(tmp_path), languages=["en", "de"]).languages == (
        "de",
        "en",
    )


@pytest.mark.parametrize("form", ["columns", "structs"])
def test_parquet_by_its_column_names(tmp_path, form):
    rows = [r for r in RECORDS if "negatives" not in r] + [
        {"id": "4", "query": {"de": "f", "zh": "问"}, "passage": {"en": "e"}}
    ]
    if form == "structs":
        table = pa.table(
            {
                "id": [str(r["id"]) for r in rows],
                **{
                    role: pa.array(
                        [r[role] for r in rows],
                        pa.struct([(code, pa.string()) for code in ("de", "en", "zh")]),
                    )
                    for role in ("query", "passage")
                },
            }
        )
    else:
        table = pa.table(
            {
                "id": [str(r["id"]) for r in rows],
                **{
                    f"{role}_{code}": [r[role].get(code) for r in rows]
                    for role in ("query", "passage")
                    for code in ("de", "en", "zh")
                },
            }
        )
    pq.write_table(table, tmp_path / "x.parquet")
    assert words(own.from_parquet(str(tmp_path / "x.parquet"), cache=str(tmp_path))) == expected(
        rows
    )


def test_parquet_by_a_map_of_columns(tmp_path):
    pq.write_table(
        pa.table(
            {
                "question": ["q", "r", "t"],
                "title": ["T", None, "alone"],
                "text": ["p", "s", None],
                "bad": [["n", "m"], None, None],
                "worse": ["w", None, None],
            }
        ),
        tmp_path / "x.parquet",
    )
    corpus = own.from_parquet(
        str(tmp_path / "x.parquet"),
        cache=str(tmp_path),
        errors="skip",
        columns={
            "query": {"en": "question"},
            "passage": {"en": ["title", "text"]},
            "negatives": {"en": ["bad", "worse"]},
        },
    )
    negatives = [{"en": "n"}, {"en": "m"}, {"en": "w"}]
    assert words(corpus) == [
        [{"en": "q"}, {"en": "T p"}, negatives],
        [{"en": "r"}, {"en": "s"}, []],
    ]
    with pytest.raises(
        ValueError, match="no column 'nothing'; there are question, title, text, bad, worse"
    ):
        own.from_parquet(
            str(tmp_path / "x.parquet"),
            cache=str(tmp_path),
            columns={"query": {"en": "nothing"}, "passage": {"en": "text"}},
        )
    for columns, told in (
        (
            {"qury": {"en": "q"}},
            "qury is none of query, passage, negatives and id, did you mean query?",
        ),
        ({"query": "q"}, "query='q' must be columns by language"),
        ({"query": {"en": 3}}, "must be columns by language"),
        ({"query": {"eng": "q"}}, "query: the language code 'eng' is not known, did you mean 'en'"),
        ("q", "must be {query: "),
    ):
        with pytest.raises(ValueError, match=rf"corpus\.columns.*{re.escape(told)}"):
            own.from_parquet(str(tmp_path / "x.parquet"), cache=str(tmp_path), columns=columns)
    with pytest.raises(ValueError, match="x.parquet: no column passage_LL; there are"):
        own.from_parquet(
            str(tmp_path / "x.parquet"), cache=str(tmp_path), columns={"query": {"en": "question"}}
        )
    pq.write_table(
        pa.table({"query_en": [1], "passage_eng": ["p"], "passage_id": [1]}), tmp_path / "z.parquet"
    )
    with pytest.raises(
        ValueError,
        match=r"'query_en' is int64, not texts; column 'passage_eng': the language code 'eng' is not",
    ):
        own.from_parquet(str(tmp_path / "z.parquet"), cache=str(tmp_path))
    (tmp_path / "y.parquet").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"y\.parquet: not a Parquet file that can be read"):
        own.from_parquet(str(tmp_path / "y.parquet"), cache=str(tmp_path))


def test_tabs_are_joined_by_their_ids(tmp_path):
    (tmp_path / "en.tsv").write_text("1\tq1\tp1\n2\tq2\tp2\n")
    (tmp_path / "de.tsv").write_text("2\tf2\ta2\n1\tf1\ta1\n")
    corpus = own.from_tsv(str(tmp_path), cache=str(tmp_path / "cache"))
    assert words(corpus) == [
        [{"de": f"f{i}", "en": f"q{i}"}, {"de": f"a{i}", "en": f"p{i}"}, []] for i in (1, 2)
    ]
    (tmp_path / "de.tsv").write_text("2\tf2\ta2\n3\tf3\ta3\n2\tx\ty\nonly two\tcolumns\n")
    with pytest.raises(ValueError, match="4 errors") as error:
        own.from_tsv(str(tmp_path), cache=str(tmp_path / "cache"))
    for said in (
        r"de.tsv, line 4: 2 columns",
        "de.tsv, line 3: the id '2' is also in line 1",
        "en.tsv, line 1: no twin in another language (twins=false takes it without) for the id: '1'",
        "de.tsv, line 2: no twin in another language",
    ):
        assert said in str(error.value)


def beir(folder: Path, code: str) -> None:
    (folder / "qrels").mkdir(parents=True)
    lines(
        folder / "queries.jsonl", *({"_id": f"q{i}", "text": f"{code} asks {i}"} for i in range(3))
    )
    lines(
        folder / "corpus.jsonl",
        *({"_id": f"d{i}", "title": "T" * (i == 0), "text": f"{code} tells {i}"} for i in range(4)),
    )
    (folder / "qrels" / "train.tsv").write_text(
        "query-id\tcorpus-id\tscore\nq0\td0\t1\nq0\td3\t0\nq1\td1\t2\n"
    )


def test_a_beir_folder_in_one_language_and_one_for_each(tmp_path):
    for code in ("en", "de"):
        beir(tmp_path / "b" / code, code)
    one = own.from_beir(str(tmp_path / "b" / "en"), language="en", cache=str(tmp_path))
    assert words(one) == [
        [{"en": "en asks 0"}, {"en": "T en tells 0"}, [{"en": "en tells 3"}]],
        [{"en": "en asks 1"}, {"en": "en tells 1"}, []],
    ]
    both = own.from_beir(str(tmp_path / "b"), cache=str(tmp_path))
    assert [query for query, *_ in words(both)] == [
        {"de": f"de asks {i}", "en": f"en asks {i}"} for i in (0, 1)
    ]
    assert words(both)[0][2] == [{"en": "en tells 3"}, {"de": "de tells 3"}] or words(both)[0][
        2
    ] == [{"de": "de tells 3"}, {"en": "en tells 3"}]  # nothing says that they are one passage
    (tmp_path / "b" / "en" / "qrels" / "train.tsv").write_text("q0\tnowhere\t1\nq9\td0\t1\n")
    with pytest.raises(ValueError, match=r"'nowhere' is not in corpus\.jsonl") as error:
        own.from_beir(str(tmp_path / "b" / "en"), language="en", cache=str(tmp_path))
    assert "'q9' is not in queries.jsonl" in str(error.value)
    with pytest.raises(ValueError, match=r"must be a folder with corpus\.jsonl"):
        own.from_beir(str(tmp_path), cache=str(tmp_path))


def test_files_of_the_hub_are_found_fetched_once_and_mapped(tmp_path, monkeypatch):
    pq.write_table(
        pa.table({"anchor": ["q"], "positive": ["p"], "negative": ["n"]}), tmp_path / "x.parquet"
    )
    listing = [
        {"type": "file", "path": "en-triplet/train-0.parquet"},
        {"type": "directory", "path": "en-triplet"},
    ]
    pages = {
        "/datasets/owner/set/resolve/abc/en-triplet/train-0.parquet": (
            tmp_path / "x.parquet"
        ).read_bytes(),
        "/api/datasets/owner/set/tree/abc?recursive=true": json.dumps(listing).encode(),
    }
    columns = {
        "query": {"en": "anchor"},
        "passage": {"en": "positive"},
        "negatives": {"en": "negative"},
    }
    with serving(pages=pages) as web:
        monkeypatch.setenv("HF_ENDPOINT", web.url)
        for _ in range(2):
            corpus = own.from_hub(
                "owner/set",
                "en-triplet/*.parquet",
                columns,
                "abc",
                str(tmp_path / "hub"),
                cache=str(tmp_path),
            )
            assert (
                words(corpus) == [[{"en": "q"}, {"en": "p"}, [{"en": "n"}]]]
                and corpus.source.name == "set"
            )
        assert len([path for path in web.paths if path.endswith(".parquet")]) == 1
        with pytest.raises(
            ValueError, match="owner/set at abc has no such file, but en-triplet/train-0.parquet"
        ):
            own.from_hub(
                "owner/set", "de/*", columns, "abc", str(tmp_path / "hub"), cache=str(tmp_path)
            )
        with pytest.raises(ValueError, match="does not list the files"):
            own.from_hub(
                "owner/other", "de/*", columns, "abc", str(tmp_path / "hub"), cache=str(tmp_path)
            )


def test_nothing_at_a_path_is_said(tmp_path):
    for path in (tmp_path / "no", tmp_path / "*.jsonl", tmp_path):
        with pytest.raises(ValueError, match="it needs files that end in .jsonl or .jsonl.gz"):
            own.from_jsonl(str(path), cache=str(tmp_path))
    with pytest.raises(ValueError, match="errors='ignore' must be one of stop, skip"):
        own.from_jsonl(
            str(lines(tmp_path / "x.jsonl", RECORDS[0])), cache=str(tmp_path), errors="ignore"
        )
    assert np.array_equal(
        own.from_jsonl(str(tmp_path / "x.jsonl"), cache=str(tmp_path)).pairs, [[0, 0]]
    )


def test_a_beir_folder_read_as_another_language_is_another_corpus(tmp_path):
    (tmp_path / "b" / "qrels").mkdir(parents=True)
    lines(
        tmp_path / "b" / "corpus.jsonl",
        {"_id": "1", "text": "p", "title": ""},
        {"_id": "2", "text": "", "title": "T"},
    )
    lines(tmp_path / "b" / "queries.jsonl", {"_id": "q", "text": "asked"})
    (tmp_path / "b" / "qrels" / "train.tsv").write_text(
        "query-id\tcorpus-id\tscore\nq\t1\t1\nq\t2\t0\n"
    )
    found = [
        own.from_beir(str(tmp_path / "b"), code, cache=str(tmp_path / "cache"))
        for code in ("en", "de")
    ]
    assert [corpus.languages for corpus in found] == [("en",), ("de",)] and found[
        0
    ].negatives.shape == (1, 0)


def test_a_folder_of_the_cache_without_its_card_is_built_again(tmp_path):
    path = lines(tmp_path / "x.jsonl", *RECORDS)
    own.from_jsonl(str(path), cache=str(tmp_path))
    (folder,) = (tmp_path / "corpora").glob("x-*")
    (folder / "corpus.json").unlink()
    assert words(own.from_jsonl(str(path), cache=str(tmp_path))) == expected(RECORDS)
