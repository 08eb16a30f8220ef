"""Training data as people have it: other orders of columns, spellings of languages, other forms."""

import gzip
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_ir.corpora.sources import own, own_lists
from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.files.problems import Problems
from hybrid_ir.files.records import PAIR_LAYOUT
from tests.support.benchmarks import write_beir_folder
from tests.support.corpora import list_pairs, write_json_lines

PAIRS = [("1", "q 1", "p 1"), ("2", "q 2", "p 2")]
EXPECTED = [[{"en": "q 1"}, {"en": "p 1"}, []], [{"en": "q 2"}, {"en": "p 2"}, []]]


def import_tsv(place: Path, *lines: str, name: str = "en.tsv") -> ParallelCorpus:
    place.mkdir(parents=True, exist_ok=True)
    (place / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return own.from_tsv(str(place), cache=str(place / "cache"))


@given(
    order=st.permutations([0, 1, 2]),
    names=st.tuples(*map(st.sampled_from, PAIR_LAYOUT.names.values())),
    spell=st.sampled_from([str.upper, str.title, lambda name: name.replace("-", "_")]),
)
@settings(max_examples=30, deadline=None)
def test_pairs_stand_in_any_order_under_their_names(tmp_path_factory, order, names, spell):
    lines = []
    for cells in (tuple(map(spell, names)), *PAIRS):
        lines.append("\t".join(cells[i] for i in order))
    assert list_pairs(import_tsv(tmp_path_factory.mktemp("tsv"), *lines)) == EXPECTED


@pytest.mark.parametrize(
    "header",
    [
        "nummer\tFrage\tAntwort",
        "id\tquery\tfoo",
        "编号\t问题\t段落",
        "id\tsentence1\tsentence2",
        "#id\ttext1\ttext2",
        "ID\tThe question asked\tThe passage",
        "record_number\tquestion_text\tsupporting_document_text",
    ],
)
def test_an_unknown_header_of_pairs_is_refused(tmp_path, header):
    with pytest.raises(ValueError, match=r"en\.tsv, line 1: no column is known as") as error:
        import_tsv(tmp_path / "tsv", header, "1\tq 1\tp 1")
    assert "passage (passage, text, document," in str(error.value)
    assert "If this line is no header, put one above it" in str(error.value)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (
            "how old is it\tone\ttwo",
            "'how old is it', 'one', 'two' are not id, query, passage",
        ),
        ("q1\tsome passage\t0.9", "'q1', 'some passage', '0.9' are not id, query, passage"),
        ("id\tquery\tpositive\tnegative", "the column 'negative' in the header: hard negatives"),
        ("id\tquestion\tanswer\tcontext", "any of answer, context may be the passage"),
    ],
)
def test_columns_that_may_be_something_else_are_refused(tmp_path, line, problem):
    with pytest.raises(ValueError, match=problem):
        import_tsv(tmp_path / "tsv", line, "2\tq 2\tp 2")


def test_a_header_in_the_middle_is_of_a_second_file(tmp_path):
    header = "id\tquery\tpassage"
    corpus = import_tsv(tmp_path / "tsv", header, "1\tq 1\tp 1", header, "2\tq 2\tp 2")
    assert list_pairs(corpus) == EXPECTED


def test_quotation_marks_of_a_file_are_not_those_of_its_texts(tmp_path):
    corpus = import_tsv(
        tmp_path / "tsv", "id\tquery\tpassage", '1\t"who said ""hi"" first"\t"Hamlet"'
    )
    assert list_pairs(corpus) == [[{"en": 'who said "hi" first'}, {"en": '"Hamlet"'}, []]]


@pytest.mark.parametrize("code", ["en-de", "es_de", "ar-es"])
def test_a_pair_of_languages_is_no_language(tmp_path, code):
    with pytest.raises(ValueError, match="seems to be a pair of languages"):
        import_tsv(tmp_path / "tsv", "1\tq\tp", name=f"{code}.tsv")


def test_what_pandas_writes_for_missing_texts_is_missing(tmp_path):
    lines = ['{"_id": "d1", "title": NaN, "text": "alpha"}', '{"_id": "d2", "text": NaN}']
    folder = Path(write_beir_folder(tmp_path / "beir", queries=[{"_id": "q", "text": "?"}]))
    write_json_lines(folder / "corpus.jsonl", *lines)
    (folder / "qrels.tsv").write_text("q\td1\t1\nq\td2\t0\n")
    corpus = own.from_beir(str(folder), "en", cache=str(tmp_path))
    assert list_pairs(corpus) == [[{"en": "?"}, {"en": "alpha"}, []]]
    record = {"id": "1", "query": {"nan": "q"}, "passage": {"en": "p"}}
    path = write_json_lines(tmp_path / "x.jsonl", record)
    with pytest.raises(ValueError, match="'nan' is what pandas makes of a missing one"):
        own.from_jsonl(str(path), cache=str(tmp_path))


def test_the_same_passages_in_two_languages_are_noticed(tmp_path):
    passages = [{"_id": f"d{i}", "text": f"text {i}"} for i in range(9)]
    qrels = "".join(f"q{i}\td{i}\t1\n" for i in range(9))
    for language in ("de", "en"):
        queries = [{"_id": f"q{i}", "text": f"{language} {i}?"} for i in range(9)]
        write_beir_folder(tmp_path / "beir" / language, passages, queries, qrels)
        passages.reverse()
    with pytest.raises(ValueError, match="the files of de and en hold the same passages"):
        own.from_beir(str(tmp_path / "beir"), cache=str(tmp_path))


def test_files_of_several_languages_are_one_corpus_of_lists(tmp_path):
    for language in ("de", "en"):
        (tmp_path / "lists").mkdir(exist_ok=True)
        line = {"query": f"{language} q", "pos": [f"{language} p"], "id": None}
        write_json_lines(tmp_path / "lists" / f"{language}.jsonl", line)
    corpus = own_lists.from_flagembedding(str(tmp_path / "lists"), cache=str(tmp_path))
    assert list_pairs(corpus) == [
        [{"de": "de q"}, {"de": "de p"}, []],
        [{"en": "en q"}, {"en": "en p"}, []],
    ]


def test_a_first_line_of_sentences_is_a_pair(tmp_path):
    corpus = import_tsv(tmp_path / "tsv", "q1\tWhere is it?\tHere it is.", "q2\tq 2\tp 2")
    assert len(corpus) == 2


def test_texts_keep_their_blanks_and_ids_lose_them(tmp_path):
    corpus = import_tsv(tmp_path / "tsv", "id\tquery\tpassage", " 1 \t q \tp ")
    assert list_pairs(corpus) == [[{"en": " q "}, {"en": "p "}, []]]


def test_spellings_of_a_language_are_one_language_of_a_corpus(tmp_path):
    path = write_json_lines(
        tmp_path / "x.jsonl",
        {"id": "1", "query": {"zh-CN": "问"}, "passage": {"zh_CN": "答"}},
        {"id": "2", "query": {"zh_cn": "问二"}, "passage": {"ZH-CN": "答二"}},
        {"id": "3", "query": {"EN": "q"}, "passage": {"en ": "p"}, "negatives": [{"En": "n"}]},
    )
    corpus = own.from_jsonl(str(path), cache=str(tmp_path))
    assert corpus.languages == ("en", "zh-CN")
    assert list_pairs(corpus)[0] == [{"en": "q"}, {"en": "p"}, [{"en": "n"}]]
    chosen = own.from_jsonl(str(path), cache=str(tmp_path), languages=["zh_CN"])
    assert chosen.languages == ("zh-CN",)


def test_two_spellings_in_one_record_are_refused(tmp_path):
    record = {"id": "1", "query": {"zh-CN": "问", "zh_CN": "另"}, "passage": {"zh-CN": "答"}}
    path = write_json_lines(tmp_path / "x.jsonl", record)
    problem = "line 1: a query in 'zh-CN' and 'zh_CN', which are one language"
    with pytest.raises(ValueError, match=problem):
        own.from_jsonl(str(path), cache=str(tmp_path))


def test_codes_that_are_likely_one_language_are_told(tmp_path, capsys):
    path = write_json_lines(
        tmp_path / "x.jsonl", {"id": "1", "query": {"zh": "问"}, "passage": {"zh-CN": "答"}}
    )
    own.from_jsonl(str(path), cache=str(tmp_path))
    assert "zh, zh-CN are counted as different languages" in capsys.readouterr().err


def test_a_country_in_the_place_of_its_language_is_refused(tmp_path):
    records = []
    for number in range(5):
        texts = {"query": {"kr": f"수도 {number}?"}, "passage": {"kr": f"서울이다 {number}"}}
        records.append({"id": number, **texts})
    english = {"id": "en", "query": {"en": "q"}, "passage": {"en": "p"}}
    path = write_json_lines(tmp_path / "x.jsonl", *records, english)
    problem = "1 error in .*\n.*line 1: 'kr' is the code of Kanuri, .* did you mean 'ko'"
    with pytest.raises(ValueError, match=problem):
        own.from_jsonl(str(path), cache=str(tmp_path))
    corpus = own.from_jsonl(str(path), cache=str(tmp_path), errors="skip")
    assert corpus.languages == ("en",)
    assert len(corpus) == 1


def test_texts_that_show_nothing_are_empty(tmp_path):
    record = {"id": "1", "query": {"en": "q"}, "passage": {"en": "\u200b\ufeff"}}
    path = write_json_lines(tmp_path / "x.jsonl", record)
    with pytest.raises(ValueError, match="line 1: an empty passage in 'en'"):
        own.from_jsonl(str(path), cache=str(tmp_path))


def test_ids_that_look_the_same_are_one_id(tmp_path, capsys):
    first = {"id": "caf\u00e9", "query": {"en": "q"}, "passage": {"en": "p"}}
    second = {"id": "cafe\u0301 ", "query": {"en": "r"}, "passage": {"en": "s"}}
    path = write_json_lines(tmp_path / "x.jsonl", first, second)
    with pytest.raises(ValueError, match=r"line 2: the id 'café' is also in .*line 1"):
        own.from_jsonl(str(path), cache=str(tmp_path))
    path = write_json_lines(tmp_path / "y.jsonl", second)
    own.from_jsonl(str(path), cache=str(tmp_path))
    assert "1 ids are compared in Unicode's form NFC" in capsys.readouterr().out


@pytest.fixture
def beir_folder(tmp_path) -> Path:
    """A folder with packed files, a single file of judgements, and an equal judgement twice."""
    corpus = [
        {"_id": 0, "title": 1984, "text": "p 1"},
        {"_id": 1, "text": "n"},
        {"_id": 2, "text": None},
    ]
    queries = [{"_id": "a", "text": "q 1"}]
    qrels = "corpus-id\tquery-id\tscore\n0\ta\t1\n1\ta\t0\n0\ta\t1\n2\ta\t0\n"
    folder = Path(write_beir_folder(tmp_path / "beir", corpus, queries, qrels))
    for name in ("corpus", "queries"):
        data = (folder / f"{name}.jsonl").read_bytes()
        (folder / f"{name}.jsonl.gz").write_bytes(gzip.compress(data))
        (folder / f"{name}.jsonl").unlink()
    return folder


def test_a_beir_folder_is_read_for_training_as_for_evaluation(beir_folder, tmp_path):
    corpus = own.from_beir(str(beir_folder), "EN", cache=str(tmp_path))
    assert list_pairs(corpus) == [[{"en": "q 1"}, {"en": "1984 p 1"}, [{"en": "n"}]]]


def test_swapped_columns_of_a_beir_folder_are_noticed(beir_folder, tmp_path):
    (beir_folder / "qrels.tsv").write_text("0\ta\t1\n1\ta\t0\n")
    with pytest.raises(ValueError, match="name a passage as the query and a query as the passage"):
        own.from_beir(str(beir_folder), "en", cache=str(tmp_path))


def test_a_pair_that_is_judged_in_two_ways_is_refused(beir_folder, tmp_path):
    (beir_folder / "qrels.tsv").write_text("a\t0\t1\na\t0\t2\n")
    with pytest.raises(ValueError, match="line 2: passage '0' is judged otherwise in"):
        own.from_beir(str(beir_folder), "en", cache=str(tmp_path))


LISTS = [
    {"query": "q 1", "pos": ["p 1", "p 2"], "neg": ["n 1", " ", "n 2"], "pos_scores": [1, 1]},
    {"query": "q 2", "pos": ["p 3"], "prompt": "Represent: "},
]
EXPECTED_LISTS = [
    [{"en": "q 1"}, {"en": "p 1"}, [{"en": "n 1"}, {"en": "n 2"}]],
    [{"en": "q 1"}, {"en": "p 2"}, [{"en": "n 1"}, {"en": "n 2"}]],
    [{"en": "q 2"}, {"en": "p 3"}, []],
]


def test_every_positive_of_flagembedding_makes_a_pair(tmp_path):
    path = write_json_lines(tmp_path / "en.jsonl", *LISTS)
    corpus = own_lists.from_flagembedding(str(path), cache=str(tmp_path))
    assert list_pairs(corpus) == EXPECTED_LISTS
    one = own_lists.from_flagembedding(str(path), negatives=1, cache=str(tmp_path))
    assert list_pairs(one)[0][2] == [{"en": "n 1"}]


@pytest.mark.parametrize("key", ["query", "query_text"])
def test_every_positive_of_tevatron_makes_a_pair(tmp_path, key):
    lines = []
    for number, line in enumerate(LISTS):
        passages = {}
        for side, texts in (("positive", line["pos"]), ("negative", line.get("neg", []))):
            passages[f"{side}_passages"] = [{"docid": t, "title": "", "text": t} for t in texts]
        lines.append({"query_id": number, key: line["query"], **passages})
    lines[0]["positive_passages"][0]["title"] = "T"
    path = write_json_lines(tmp_path / "train.jsonl", *lines)
    corpus = own_lists.from_tevatron(str(path), language="eng", cache=str(tmp_path))
    pairs = list_pairs(corpus)
    assert pairs[0][1] == {"en": "T p 1"} or pairs[1][1] == {"en": "T p 1"}
    assert len(pairs) == 3


@pytest.mark.parametrize(
    ("load", "line", "problem"),
    [
        (own_lists.from_flagembedding, {"query": "q", "pos": "p"}, "'pos' is 'p', need a list of"),
        (own_lists.from_flagembedding, {"query": "q", "pos": []}, r"'pos' is \[\], need a list"),
        (own_lists.from_flagembedding, {"query": 3, "pos": ["p"]}, "'query' is 3, need a text"),
        (own_lists.from_flagembedding, {"query": "q", "pos": [" "]}, "'pos' has no text"),
        (
            own_lists.from_flagembedding,
            {"query": "q", "pos": ["p"], "negatives": ["n"]},
            "the key 'negatives' is not read here",
        ),
        (
            own_lists.from_flagembedding,
            {"query": "q", "pos": ["p"], "language": "de"},
            "the language is 'de', but the file is read as 'en'",
        ),
        (
            own_lists.from_tevatron,
            {"query": "q", "positive_passages": [{"docid": "d", "text": ""}]},
            "'positive_passages' has no passage with a text",
        ),
        (own_lists.from_tevatron, {"query": "q"}, "'positive_passages' is None, need a list of"),
        (
            own_lists.from_tevatron,
            {"query": "q", "positive_passages": [{"docid": 1}]},
            r"line 1, positive_passages\[0\]: no key 'text', there are 'docid'",
        ),
    ],
)
def test_what_is_wrong_with_lists_is_named_by_its_line(tmp_path, load, line, problem):
    path = write_json_lines(tmp_path / "en.jsonl", line)
    with pytest.raises(ValueError, match=problem):
        load(str(path), cache=str(tmp_path))


@pytest.mark.parametrize(
    ("line", "form"),
    [
        (LISTS[0], "in the form of FlagEmbedding .* data import flagembedding path="),
        ({"query_id": 1, "query": "q", "positive_passages": []}, "data import tevatron path="),
        ({"_id": "1", "text": "x"}, "data import beir path=FOLDER"),
        ({"anchor": "q", "positive": "p"}, "data import datasets path="),
        ({"query_id": 1, "positive_document_ids": ["1"]}, "ids of documents instead of their tex"),
    ],
)
def test_data_in_another_form_is_named_once(tmp_path, line, form):
    path = write_json_lines(tmp_path / "x.jsonl", *[line] * 20)
    for errors in ("stop", "skip"):
        with pytest.raises(ValueError, match="1 error in the data of corpus 'x'") as error:
            own.from_jsonl(str(path), cache=str(tmp_path), errors=errors)
        assert error.match(form)


def test_a_collector_of_problems_can_join_another():
    first = Problems("a")
    second = Problems("b")
    for number in range(15):
        second.add(f"problem {number}", file_unreadable=number == 0)
    first.add_all(second)
    assert (first.number, first.unreadable_files, len(first.first)) == (15, 1, 10)
