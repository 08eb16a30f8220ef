"""The loaders of a user's own data, in every form that they read."""

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
from tests.support.corpora import (
    RECORDS,
    list_expected_pairs,
    list_pairs,
    write_json_lines,
)

LANGUAGES = ("de", "en", "zh")
TEXTS = st.dictionaries(
    st.sampled_from(["en", "de", "zh-Hant", "sw"]),
    st.text("aé中 ", min_size=1, max_size=6).filter(str.strip),
    min_size=1,
)
ROWS = st.lists(st.tuples(TEXTS, TEXTS, st.lists(TEXTS, max_size=3)), min_size=1, max_size=15)


@given(ROWS)
@settings(max_examples=40, deadline=None)
def test_what_is_in_the_lines_is_in_the_corpus(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("own")
    records = []
    for number, (query, passage, negatives) in enumerate(rows):
        passage = {language: f"{text}." for language, text in passage.items()}
        records.append({"id": number, "query": query, "passage": passage, "negatives": negatives})
    path = write_json_lines(folder / "x.jsonl", *records)
    corpus = own.from_jsonl(str(path), cache=str(folder))
    assert list_pairs(corpus) == list_expected_pairs(records)


def test_records_of_several_blocks_are_all_there(tmp_path, monkeypatch):
    monkeypatch.setattr("hybrid_ir.files.records.RECORDS_PER_BLOCK", 2)
    records = []
    for copy in range(3):
        records += [{**record, "id": f"{record['id']} {copy}"} for record in RECORDS]
    path = write_json_lines(tmp_path / "x.jsonl", *records)
    corpus = own.from_jsonl(str(path), cache=str(tmp_path))
    assert list_pairs(corpus) == list_expected_pairs(records)


def test_a_negative_that_answers_the_query_in_another_record_is_left_out(tmp_path):
    """The second record asks the same in German, and its negative is the first one's passage."""
    records = [
        {
            "id": 1,
            "query": {"en": "q", "de": "f"},
            "passage": {"en": "p1", "de": "a1"},
            "negatives": [{"en": "n1"}, {"en": "p2"}],
        },
        {
            "id": 2,
            "query": {"de": "f"},
            "passage": {"en": "p2", "de": "a2"},
            "negatives": [{"de": "a1"}, {"de": "m2"}],
        },
        {
            "id": 3,
            "query": {"en": "other"},
            "passage": {"en": "p3"},
            "negatives": [{"en": "p1"}, {"en": "p2"}],
        },
    ]
    path = write_json_lines(tmp_path / "x.jsonl", *records)
    corpus = own.from_jsonl(str(path), cache=str(tmp_path), to=str(tmp_path / "c"))
    del records[0]["negatives"][1]
    del records[1]["negatives"][0]
    assert list_pairs(corpus) == list_expected_pairs(records)
    card = json.loads((tmp_path / "c" / "corpus.json").read_text(encoding="utf-8"))
    assert card["report"]["hard negatives left out that are a positive of their query"] == 2


def test_a_folder_of_plain_and_compressed_files_is_one_corpus(tmp_path):
    (tmp_path / "d").mkdir()
    write_json_lines(tmp_path / "d" / "a.jsonl", *RECORDS[:2])
    (tmp_path / "d" / "b.jsonl.gz").write_bytes(gzip.compress(json.dumps(RECORDS[2]).encode()))
    corpus = own.from_jsonl(str(tmp_path / "d"), cache=str(tmp_path))
    assert list_pairs(corpus) == list_expected_pairs(RECORDS)
    assert corpus.source.name == "d"


def test_the_cache_notices_when_a_file_changes(tmp_path):
    path = write_json_lines(tmp_path / "x.jsonl", RECORDS[0])
    assert len(own.from_jsonl(str(path), cache=str(tmp_path))) == 1
    write_json_lines(path, *RECORDS)
    assert len(own.from_jsonl(str(path), cache=str(tmp_path))) == 3


def test_the_languages_of_a_corpus_can_be_chosen(tmp_path):
    path = write_json_lines(tmp_path / "x.jsonl", *RECORDS)
    own.from_jsonl(str(path), cache=str(tmp_path))
    chosen = own.from_jsonl(str(path), cache=str(tmp_path), languages=["en", "de"])
    assert chosen.languages == ("de", "en")
    problem = r"corpus.languages=\['sw'\]: corpus 'x' has \['de', 'en', 'zh'\]"
    with pytest.raises(ValueError, match=problem):
        own.from_jsonl(str(path), cache=str(tmp_path), languages=["sw"])


def test_a_cache_folder_without_its_card_is_built_again(tmp_path):
    path = write_json_lines(tmp_path / "x.jsonl", *RECORDS)
    own.from_jsonl(str(path), cache=str(tmp_path))
    (folder,) = (tmp_path / "corpora").glob("x-*")
    (folder / "corpus.json").unlink()
    corpus = own.from_jsonl(str(path), cache=str(tmp_path))
    assert list_pairs(corpus) == list_expected_pairs(RECORDS)


def test_the_same_import_again_loads_what_is_there(tmp_path):
    path = write_json_lines(tmp_path / "x.jsonl", *RECORDS)
    for _ in range(2):
        corpus = own.from_jsonl(str(path), cache=str(tmp_path), to=str(tmp_path / "to"))
        assert list_pairs(corpus) == list_expected_pairs(RECORDS)
    write_json_lines(path, *RECORDS[:2])
    with pytest.raises(ValueError, match="is there already: name a new folder"):
        own.from_jsonl(str(path), cache=str(tmp_path), to=str(tmp_path / "to"))


def test_a_path_without_files_is_refused(tmp_path):
    for path in (tmp_path / "no", tmp_path / "*.jsonl", tmp_path):
        with pytest.raises(ValueError, match="it needs files that end in .jsonl or .jsonl.gz"):
            own.from_jsonl(str(path), cache=str(tmp_path))


def test_an_unknown_choice_of_errors_is_refused(tmp_path):
    path = write_json_lines(tmp_path / "x.jsonl", RECORDS[0])
    with pytest.raises(ValueError, match="errors='ignore' must be one of stop, skip"):
        own.from_jsonl(str(path), cache=str(tmp_path), errors="ignore")
    assert np.array_equal(own.from_jsonl(str(path), cache=str(tmp_path)).pairs, [[0, 0]])


def test_a_file_of_another_form_is_refused_by_its_name(tmp_path):
    (tmp_path / "x.parquet").write_bytes(b"PAR1")
    problem = r"x\.parquet is read by parquet, not by what needs \.jsonl or \.jsonl\.gz"
    with pytest.raises(ValueError, match=problem):
        own.from_jsonl(str(tmp_path / "x.parquet"), cache=str(tmp_path))


def write_table(path: Path, **columns) -> str:
    pq.write_table(pa.table(columns), path)
    return str(path)


@pytest.mark.parametrize("form", ["columns", "structs"])
def test_parquet_is_read_by_its_column_names(tmp_path, form):
    records = [
        RECORDS[1],
        {"id": "4", "query": {"de": "f", "zh": "问"}, "passage": {"en": "e"}},
    ]
    columns = {"id": [str(record["id"]) for record in records]}
    for role in ("query", "passage"):
        texts = [record[role] for record in records]
        if form == "structs":
            kind = pa.struct([(language, pa.string()) for language in LANGUAGES])
            columns[role] = pa.array(texts, kind)
        else:
            for language in LANGUAGES:
                columns[f"{role}_{language}"] = [row.get(language) for row in texts]
    path = write_table(tmp_path / "x.parquet", **columns)
    corpus = own.from_parquet(path, cache=str(tmp_path))
    assert list_pairs(corpus) == list_expected_pairs(records)


def test_negatives_of_parquet_keep_their_places_and_ids_are_no_texts(tmp_path):
    path = write_table(
        tmp_path / "x.parquet",
        query_en=["q"],
        passage_en=["p"],
        query_id=[1],
        passage_id=[2],
        negatives_en=[["a", "b"]],
        negatives_de=[[None, "B"]],
    )
    corpus = own.from_parquet(path, cache=str(tmp_path))
    negatives = [{"en": "a"}, {"de": "B", "en": "b"}]
    assert list_pairs(corpus) == [[{"en": "q"}, {"en": "p"}, negatives]]


TEXT_TYPES = {
    "string": pa.string(),
    "large string": pa.large_string(),
    "view": pa.string_view(),
    "dictionary": pa.dictionary(pa.int32(), pa.string()),
    "large dictionary": pa.dictionary(pa.int8(), pa.large_string()),
    "binary": pa.binary(),
}


@pytest.mark.parametrize("kind", TEXT_TYPES)
def test_texts_of_parquet_may_have_any_type(tmp_path, kind):
    def build(*values):
        return pa.array(values, pa.string()).cast(TEXT_TYPES[kind])

    lists = pa.array([["n", None], None, ["m"]], pa.large_list(pa.large_string()))
    path = write_table(
        tmp_path / "x.parquet",
        id=build("a", "b", "c"),
        query_en=build("q", "q", "r"),
        query_de=build(None, "f", None),
        passage_en=build("p1", "p2", "p3"),
        negatives_en=lists,
    )
    assert list_pairs(own.from_parquet(path, cache=str(tmp_path))) == [
        [{"de": "f", "en": "q"}, {"en": "p2"}, []],
        [{"en": "q"}, {"en": "p1"}, [{"en": "n"}]],
        [{"en": "r"}, {"en": "p3"}, [{"en": "m"}]],
    ]


def test_rows_of_parquet_that_are_not_utf_8_are_named(tmp_path):
    texts = pa.array([b"q", b"a\xff"], pa.binary()).view(pa.string())
    path = write_table(tmp_path / "x.parquet", query_en=texts, passage_en=["p1", "p2"])
    with pytest.raises(ValueError, match=r"x\.parquet, row 2: not UTF-8"):
        own.from_parquet(path, cache=str(tmp_path))
    corpus = own.from_parquet(path, cache=str(tmp_path), errors="skip")
    assert list_pairs(corpus) == [[{"en": "q"}, {"en": "p1"}, []]]
    # Arrow's reader refuses a block of a dictionary that is not UTF-8 as a whole.
    dictionary = pa.DictionaryArray.from_arrays(pa.array([0, 1]), texts)
    path = write_table(tmp_path / "y.parquet", query_en=dictionary, passage_en=["p1", "p2"])
    with pytest.raises(ValueError, match=r"y\.parquet, rows from 1 on: not texts .*UTF8"):
        own.from_parquet(path, cache=str(tmp_path), errors="skip")


def test_columns_of_parquet_that_cannot_be_read_are_named(tmp_path):
    for columns, problem in (
        (
            {"query_en": ["q"], "passage_en": ["p"], "query_id": ["x"]},
            "column 'query_id' may hold ids, or texts in Indonesian",
        ),
        (
            {"query_en": [["q"]], "passage_en": ["p"]},
            "x.parquet, rows from 1 on: not texts that can be read",
        ),
        (
            {"query_en": [1], "passage_english": ["p"], "passage_id": [1]},
            "'query_en' is int64, not texts; column 'passage_english': the language code "
            "'english' is not",
        ),
    ):
        path = write_table(tmp_path / "x.parquet", **columns)
        with pytest.raises(ValueError, match=problem):
            own.from_parquet(path, cache=str(tmp_path))


def test_a_file_that_is_not_parquet_is_named(tmp_path):
    (tmp_path / "y.parquet").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"y\.parquet: not a Parquet file that can be read"):
        own.from_parquet(str(tmp_path / "y.parquet"), cache=str(tmp_path))


@pytest.fixture
def questions(tmp_path) -> str:
    """A Parquet file whose column names do not tell what they hold."""
    return write_table(
        tmp_path / "x.parquet",
        question=["q", "r", "t"],
        title=["T", None, "alone"],
        text=["p", "s", None],
        bad=[["n", "m"], None, None],
        worse=["w", None, None],
    )


def test_parquet_is_read_by_a_map_of_columns(tmp_path, questions):
    columns = {
        "query": {"en": "question"},
        "passage": {"en": ["title", "text"]},
        "negatives": {"en": ["bad", "worse"]},
    }
    corpus = own.from_parquet(questions, columns, cache=str(tmp_path), errors="skip")
    negatives = [{"en": "n"}, {"en": "m"}, {"en": "w"}]
    assert list_pairs(corpus) == [
        [{"en": "q"}, {"en": "T p"}, negatives],
        [{"en": "r"}, {"en": "s"}, []],
    ]


def test_what_is_wrong_with_a_map_of_columns_is_said(tmp_path, questions):
    for columns, problem in (
        (
            {"query": {"en": "nothing"}, "passage": {"en": "text"}},
            "no column 'nothing'; there are question, title, text, bad, worse",
        ),
        ({"query": {"en": "question"}}, "x.parquet: no column passage_LL; there are"),
        (
            {"qury": {"en": "q"}},
            "corpus.columns: qury is none of query, passage, negatives and id, did you mean query?",
        ),
        ({"query": "q"}, "corpus.columns: query='q' must be columns by language"),
        ({"query": {"en": 3}}, "corpus.columns: query={'en': 3} must be columns by language"),
        (
            {"query": {"english": "q"}},
            "corpus.columns: query: the language code 'english' is not known, did you mean 'en'",
        ),
        ("q", "corpus.columns='q' must be {query: "),
    ):
        with pytest.raises(ValueError, match=re.escape(problem)):
            own.from_parquet(questions, columns, cache=str(tmp_path))


def test_a_title_without_a_text_is_no_passage(tmp_path):
    path = write_table(
        tmp_path / "x.parquet", id=["1", "2"], q=["q", "r"], title=["T", "U"], text=["p", " "]
    )
    columns = {"query": {"en": "q"}, "passage": {"en": ["title", "text"]}}
    with pytest.raises(ValueError, match=r"x\.parquet, row 2: an empty passage in 'en'"):
        own.from_parquet(path, columns, cache=str(tmp_path))


def test_tab_separated_files_are_joined_by_their_ids(tmp_path):
    (tmp_path / "en.tsv").write_text("1\tq1\tp1\n2\tq2\tp2\n")
    (tmp_path / "de.tsv").write_text("2\tf2\ta2\n1\tf1\ta1\n")
    corpus = own.from_tsv(str(tmp_path), cache=str(tmp_path / "cache"))
    assert list_pairs(corpus) == [
        [{"de": "f1", "en": "q1"}, {"de": "a1", "en": "p1"}, []],
        [{"de": "f2", "en": "q2"}, {"de": "a2", "en": "p2"}, []],
    ]


def test_everything_wrong_in_tab_separated_files_is_said(tmp_path):
    (tmp_path / "en.tsv").write_text("1\tq1\tp1\n2\tq2\tp2\n")
    (tmp_path / "de.tsv").write_text("2\tf2\ta2\n3\tf3\ta3\n2\tx\ty\nonly two\tcolumns\n")
    with pytest.raises(ValueError, match="4 errors") as error:
        own.from_tsv(str(tmp_path), cache=str(tmp_path / "cache"))
    for problem in (
        "de.tsv, line 4: 2 columns",
        "de.tsv, line 3: the id '2' is also in line 1",
        "en.tsv, line 1: no twin in another language (twins=false takes it without) for the id: "
        "'1'",
        "de.tsv, line 2: no twin in another language",
    ):
        assert problem in str(error.value)


def test_a_tab_separated_file_must_be_named_by_its_language(tmp_path):
    (tmp_path / "jp.tsv").write_text("1\tq\tp\n")
    problem = r"called by its language, as en\.tsv: .*jp\.tsv: the language code 'jp' .*mean 'ja'"
    with pytest.raises(ValueError, match=problem):
        own.from_tsv(str(tmp_path / "jp.tsv"), cache=str(tmp_path))


def write_beir_folder(folder: Path, language: str) -> None:
    (folder / "qrels").mkdir(parents=True)
    queries = [{"_id": f"q{i}", "text": f"{language} asks {i}"} for i in range(3)]
    passages = [{"_id": f"d{i}", "title": "", "text": f"{language} tells {i}"} for i in range(4)]
    passages[0]["title"] = "T"
    write_json_lines(folder / "queries.jsonl", *queries)
    write_json_lines(folder / "corpus.jsonl", *passages)
    (folder / "qrels" / "train.tsv").write_text(
        "query-id\tcorpus-id\tscore\nq0\td0\t1\nq0\td3\t0\nq1\td1\t2\n"
    )


def test_a_beir_folder_is_read_in_one_language(tmp_path):
    write_beir_folder(tmp_path / "b", "en")
    corpus = own.from_beir(str(tmp_path / "b"), language="en", cache=str(tmp_path))
    assert list_pairs(corpus) == [
        [{"en": "en asks 0"}, {"en": "T en tells 0"}, [{"en": "en tells 3"}]],
        [{"en": "en asks 1"}, {"en": "en tells 1"}, []],
    ]


def test_beir_folders_of_several_languages_are_joined(tmp_path):
    write_beir_folder(tmp_path / "b" / "en", "en")
    write_beir_folder(tmp_path / "b" / "de", "de")
    corpus = own.from_beir(str(tmp_path / "b"), cache=str(tmp_path))
    first, second = list_pairs(corpus)
    assert first[0] == {"de": "de asks 0", "en": "en asks 0"}
    assert second[0] == {"de": "de asks 1", "en": "en asks 1"}
    # Nothing says that the negatives are translations of each other.
    assert sorted(first[2], key=str) == [{"de": "de tells 3"}, {"en": "en tells 3"}]


def test_judgements_of_unknown_texts_in_a_beir_folder_are_named(tmp_path):
    write_beir_folder(tmp_path / "b", "en")
    (tmp_path / "b" / "qrels" / "train.tsv").write_text("q0\tnowhere\t1\nq9\td0\t1\n")
    with pytest.raises(ValueError, match=r"'nowhere' is not in the corpus") as error:
        own.from_beir(str(tmp_path / "b"), language="en", cache=str(tmp_path))
    assert "'q9' is not among the queries" in str(error.value)


def test_a_folder_that_is_not_in_the_form_of_beir_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"must be a folder with corpus\.jsonl"):
        own.from_beir(str(tmp_path), cache=str(tmp_path))
    (tmp_path / "de").mkdir()
    (tmp_path / "de" / "corpus.jsonl").touch()
    hint = "is missing, but there are such folders inside: leave language= out"
    with pytest.raises(ValueError, match=hint):
        own.from_beir(str(tmp_path), language="en", cache=str(tmp_path))


def test_a_beir_folder_in_another_language_is_another_corpus(tmp_path):
    write_beir_folder(tmp_path / "b", "any")
    for language in ("en", "de"):
        corpus = own.from_beir(str(tmp_path / "b"), language, cache=str(tmp_path / "cache"))
        assert corpus.languages == (language,)


def test_an_empty_passage_of_a_beir_folder_is_no_negative(tmp_path):
    write_beir_folder(tmp_path / "b", "en")
    passages = [{"_id": "d0", "text": "p", "title": ""}, {"_id": "d3", "text": "", "title": "T"}]
    write_json_lines(tmp_path / "b" / "corpus.jsonl", *passages)
    (tmp_path / "b" / "qrels" / "train.tsv").write_text("q0\td0\t1\nq0\td3\t0\n")
    corpus = own.from_beir(str(tmp_path / "b"), "en", cache=str(tmp_path))
    assert corpus.negatives.shape == (1, 0)


def test_ids_of_beir_with_blanks_are_not_mixed_up(tmp_path):
    for language, query_id, passage_id in (("en", "a b", "c"), ("de", "a", "b c")):
        folder = tmp_path / "b" / language
        (folder / "qrels").mkdir(parents=True)
        write_json_lines(folder / "queries.jsonl", {"_id": query_id, "text": f"{language} asks"})
        write_json_lines(folder / "corpus.jsonl", {"_id": passage_id, "text": f"{language} tells"})
        (folder / "qrels" / "train.tsv").write_text(f"{query_id}\t{passage_id}\t1\n")
    corpus = own.from_beir(str(tmp_path / "b"), cache=str(tmp_path), twins=False)
    assert list_pairs(corpus) == [
        [{"de": "de asks"}, {"de": "de tells"}, []],
        [{"en": "en asks"}, {"en": "en tells"}, []],
    ]
