"""Folders as people have them: which queries are measured, against what, and what is told."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from hybrid_ir.evaluation.benchmarks.beir_folder import load
from hybrid_ir.evaluation.rank_counter import rank_benchmark
from hybrid_ir.evaluation.results import Results
from hybrid_ir.files.beir import BeirFolder
from hybrid_ir.types import Benchmark
from tests.support.benchmarks import find_answers, write_beir_folder

THINGS = ["neon", "water", "star"]
CORPUS = [{"_id": i, "text": f"about {thing}"} for i, thing in enumerate(THINGS)]
# The query of each id asks for the passage of another one.
QUERIES = [
    {"_id": 0, "text": "star?"},
    {"_id": 1, "text": "neon?"},
    {"_id": 2, "text": "water?"},
]
QRELS = "query-id\tcorpus-id\tscore\n0\t2\t1\n1\t0\t1\n2\t1\t1\n"


def write(folder: Path, corpus=CORPUS, queries=QUERIES, qrels=QRELS, name="qrels/test.tsv") -> str:
    return write_beir_folder(folder, corpus, queries, qrels, name)


def embed(texts) -> torch.Tensor:
    """A vector for each text: which things it names, with a little of everything."""
    rows = []
    for text in texts:
        rows.append([1.0 + 0.1 * i if thing in text else 0.1 for i, thing in enumerate(THINGS)])
    return torch.tensor(rows)


def measure(benchmark: Benchmark, view: str = "mono") -> dict[str, float]:
    """Measures a benchmark with vectors that find every thing by its name."""
    table = rank_benchmark(embed(benchmark.queries), embed(benchmark.passages), benchmark)
    return Results.from_table(table, benchmark).macro(view)


@pytest.mark.parametrize(
    "qrels",
    [
        QRELS,
        "corpus-id\tquery-id\tscore\n2\t0\t1\n0\t1\t1\n1\t2\t1\n",
        "query-id\tscore\tcorpus-id\n0\t1\t2\n1\t1\t0\n2\t1\t1\n",
        "0 0 2 1\n1 0 0 1\n2 0 1 1\n",
        "query-id,corpus-id,score\n0,2,1\n1,0,1\n2,1,1\n",
    ],
)
def test_judgements_mean_the_same_in_every_form(tmp_path, qrels):
    benchmark = load(write(tmp_path / "mine", qrels=qrels), str(tmp_path), language="en")
    assert measure(benchmark)["map"] == 1
    answers = find_answers(benchmark)
    assert answers == {("en", "en:0"): {"2"}, ("en", "en:1"): {"0"}, ("en", "en:2"): {"1"}}


def test_columns_that_are_swapped_without_a_header_are_noticed_by_their_ids(tmp_path):
    corpus = [{"_id": f"d{i}", "text": "x"} for i in range(3)]
    qrels = "d2\t0\t1\nd0\t1\t1\nd1\t2\t1\n"
    with pytest.raises(ValueError, match=r"test\.tsv, line 1 and others name a passage as the que"):
        load(write(tmp_path / "mine", corpus, qrels=qrels), str(tmp_path))
    under_a_header = "query-id\tcorpus-id\tscore\n" + qrels
    with pytest.raises(ValueError, match="put a line that names the columns in their order"):
        load(write(tmp_path / "mine", corpus, qrels=under_a_header), str(tmp_path))


def test_only_queries_that_the_split_judges_are_sampled_and_measured(tmp_path, caplog):
    queries = [{"_id": f"q{i}", "text": f"star {i}?"} for i in range(300)]
    lines = {"test": "query-id\tcorpus-id\tscore\n", "train": "query-id\tcorpus-id\tscore\n"}
    for i in range(300):
        lines["test" if i % 10 == 0 else "train"] += f"q{i}\t2\t1\n"
    folder = write(tmp_path / "mine", queries=queries, qrels=lines["test"])
    write(tmp_path / "mine", queries=queries, qrels=lines["train"], name="qrels/train.tsv")
    everything = load(folder, str(tmp_path))
    sample = load(folder, str(tmp_path), max_queries=20)
    assert len(everything.queries) == 30
    assert len(sample.queries) == 20
    assert all(len(rows) == 1 for rows in sample.relevant)
    assert len(load(folder, str(tmp_path), max_queries=2).queries) == 2
    assert everything.source.choices["unjudged_queries"] == "left out, 270 of 300 queries"
    assert "unjudged_queries left out, 270 of 300 queries" in caplog.text
    # A query that is judged, though nothing is relevant to it, counts among the judged ones.
    zero = write(tmp_path / "zero", queries=queries[:2], qrels="q0\t2\t1\nq1\t2\t0\n")
    assert len(load(zero, str(tmp_path)).queries) == 2


def test_spellings_of_a_language_are_one_language(tmp_path):
    corpus = [
        {"_id": "a", "text": "one", "language": "EN"},
        {"_id": "b", "text": "two", "language": "en "},
        {"_id": "c", "text": "三", "language": "zh_cn"},
        {"_id": "d", "text": "四", "language": "zh-CN"},
    ]
    queries = [
        {"_id": "1", "text": "?", "language": "en"},
        {"_id": "2", "text": "?", "language": "ZH-cn"},
    ]
    folder = write(tmp_path / "mine", corpus, queries, "1\ta\t1\n2\tc\t1\n")
    benchmark = load(folder, str(tmp_path))
    assert benchmark.languages == ("en", "zh-CN")
    assert benchmark.passage_languages.tolist() == [0, 0, 1, 1]
    assert load(folder, str(tmp_path), languages=["zh_CN"]).languages == ("zh-CN",)


def test_a_folder_that_is_no_language_is_refused(tmp_path):
    for name in ("en", "backup"):
        write(tmp_path / "mine" / name)
    with pytest.raises(ValueError, match=r"backup has passages, but the language code 'backup'"):
        load(str(tmp_path / "mine"), str(tmp_path))
    (tmp_path / "mine" / "backup").rename(tmp_path / "mine" / "EN")
    with pytest.raises(ValueError, match=r"EN and .*en are of one language"):
        load(str(tmp_path / "mine"), str(tmp_path))


def test_a_country_in_the_place_of_a_language_is_refused(tmp_path):
    corpus = [{"_id": "a", "text": "서울은 한국의 수도이다", "language": "kr"}]
    queries = [{"_id": "1", "text": "수도?", "language": "kr"}]
    folder = write(tmp_path / "mine", corpus, queries, "1\ta\t1\n")
    with pytest.raises(ValueError, match="did you mean 'ko'"):
        load(folder, str(tmp_path))


def test_a_line_of_another_language_than_its_folder_is_refused(tmp_path):
    """A pool would lose a passage, or one folder the passages of another."""
    for name in ("en", "de"):
        corpus = [
            {"_id": "0", "text": f"water in {name}", "language": "en"},
            {"_id": "1", "text": f"{name} neon", "language": name},
        ]
        queries = [{"_id": "q", "text": "neon?", "language": name}]
        write(tmp_path / "mine" / name, corpus, queries, "q\t1\t1\n")
    problem = r"corpus\.jsonl, line 1: 'language' is 'en', but the folder is the one of 'de'"
    with pytest.raises(ValueError, match=problem):
        load(str(tmp_path / "mine"), str(tmp_path))


def test_languages_are_named_by_all_files_or_by_none(tmp_path):
    corpus = [{**passage, "language": "en"} for passage in CORPUS]
    folder = write(tmp_path / "mine", corpus)
    problem = "passages name their languages, and those of queries do not: .*data identify path="
    with pytest.raises(ValueError, match=problem):
        load(folder, str(tmp_path))
    assert load(folder, str(tmp_path), language="en").languages == ("en",)


def test_folders_over_the_same_passages_are_told_the_right_way(tmp_path):
    for name in ("de", "fr"):
        write(tmp_path / "mine" / name)
    with pytest.raises(
        ValueError, match="the folders of de and fr hold the same passages"
    ) as error:
        load(str(tmp_path / "mine"), str(tmp_path))
    assert "put one corpus.jsonl, queries.jsonl and qrels into the folder itself" in str(
        error.value
    )
    corpus = [{**passage, "language": "en"} for passage in CORPUS]
    queries = []
    qrels = ""
    for name in ("de", "fr"):
        for query in QUERIES:
            queries.append(
                {"_id": f"{name}{query['_id']}", "text": query["text"], "language": name}
            )
        qrels += f"{name}0\t2\t1\n{name}1\t0\t1\n{name}2\t1\t1\n"
    benchmark = load(write(tmp_path / "one", corpus, queries, qrels), str(tmp_path))
    assert benchmark.languages == ("de", "en", "fr")
    assert measure(benchmark, "cross")["map"] == 1


QUESTIONS = [{"_id": f"q{i}", "text": f"{thing}?"} for i, thing in enumerate(THINGS)]


@pytest.fixture
def questions_in_the_corpus(tmp_path) -> str:
    """A folder in which every question is a passage, too, and asks for another question."""
    corpus = [*QUESTIONS]
    for i, thing in enumerate(THINGS):
        corpus.append({"_id": f"d{i}", "text": f"{thing} it is"})
    qrels = "".join(f"q{i}\td{i}\t1\n" for i in range(3))
    return write(tmp_path / "mine", corpus, QUESTIONS, qrels)


def test_a_query_is_not_in_its_own_ranking(questions_in_the_corpus, tmp_path, caplog):
    benchmark = load(questions_in_the_corpus, str(tmp_path), language="en")
    assert measure(benchmark)["recall@1"] == 1
    note = benchmark.source.choices["ignore_identical_ids"]
    assert note.startswith("true, 3 queries have the id of a passage, which is not in their rank")
    assert "3 of these passages hold the text of the query" in note
    assert "ignore_identical_ids true, 3 queries" in caplog.text


def test_a_query_stays_in_its_ranking_where_that_is_asked_for(questions_in_the_corpus, tmp_path):
    benchmark = load(
        questions_in_the_corpus, str(tmp_path), language="en", ignore_identical_ids=False
    )
    assert measure(benchmark)["recall@1"] == 0.5  # it ties with the answer
    note = benchmark.source.choices["ignore_identical_ids"]
    assert note.startswith("false, 3 queries have the id of a passage, which stays in their rank")


def test_an_answer_with_the_id_of_its_query_counts(tmp_path):
    qrels = "0\t0\t1\n1\t1\t1\n2\t1\t1\n"
    benchmark = load(write(tmp_path / "mine", qrels=qrels), str(tmp_path))
    assert benchmark.own_passages.tolist() == [-1, -1, 2]
    note = benchmark.source.choices["ignore_identical_ids"]
    assert "0 of these passages hold the text of the query, and 2 more are judged relevant" in note


@pytest.fixture
def folder_with_unknown_passages(tmp_path) -> str:
    """Two queries find all that is there, of one of them another passage is missing."""
    return write(tmp_path / "mine", qrels=QRELS + "0\tnowhere\t1\n1\tgone\t0\n")


def test_unknown_passages_count_as_never_found_if_they_are_kept(
    folder_with_unknown_passages, tmp_path
):
    kept = load(folder_with_unknown_passages, str(tmp_path), unknown_passages="keep")
    dropped = load(folder_with_unknown_passages, str(tmp_path), unknown_passages="drop")
    assert measure(dropped)["map"] == 1
    assert measure(kept)["map"] == pytest.approx((0.5 + 1 + 1) / 3)
    assert measure(kept)["recall@10"] == pytest.approx((0.5 + 1 + 1) / 3)
    assert kept.source.choices["unknown_passages"] == "counted as never found, 2 judgements"
    assert dropped.source.choices["unknown_passages"] == "dropped, 2 judgements"


def test_both_ways_of_counting_are_computed_whichever_was_chosen(
    folder_with_unknown_passages, tmp_path
):
    for choice in ("keep", "drop"):
        benchmark = load(folder_with_unknown_passages, str(tmp_path), unknown_passages=choice)
        assert benchmark.count_missing_passages() == 1


def test_an_unknown_passage_of_no_known_language_is_missed_among_all_alone(tmp_path):
    """Lines of one folder are in two languages: nobody knows which one a missing passage has."""
    corpus = [
        {"_id": "a", "text": "star one", "language": "en"},
        {"_id": "b", "text": "star zwei", "language": "de"},
    ]
    queries = [{"_id": "q", "text": "star?", "language": "en"}]
    folder = write(tmp_path / "mine", corpus, queries, "q\ta\t1\nq\tb\t1\nq\tgone\t1\n")
    benchmark = load(folder, str(tmp_path), unknown_passages="keep")
    assert measure(benchmark)["map"] == 1
    assert measure(benchmark, "cross")["map"] == 1
    assert measure(benchmark, "multi")["recall@10"] == pytest.approx(2 / 3)
    english = load(folder, str(tmp_path), unknown_passages="keep", languages=["en"])
    assert measure(english)["map"] == 1
    for name, other in (("en", "one"), ("de", "zwei")):
        rows = [{"_id": "a", "text": f"star {other}"}]
        write(tmp_path / "many" / name, rows, [{"_id": "q", "text": "star?"}], "q\ta\t1\nq\tz\t1\n")
    parts = load(str(tmp_path / "many"), str(tmp_path), unknown_passages="keep")
    assert measure(parts)["recall@10"] == 0.5


def test_a_query_with_unknown_passages_alone_has_nothing_found(tmp_path):
    folder = write(tmp_path / "mine", qrels="0\tnowhere\t1\n1\t0\t1\n")
    kept = load(folder, str(tmp_path), unknown_passages="keep")
    assert measure(kept)["map"] == 0.5
    assert measure(load(folder, str(tmp_path), unknown_passages="drop"))["map"] == 1


def test_the_least_relevant_grade_is_that_of_the_key(tmp_path):
    folder = write(tmp_path / "mine", qrels="0\t2\t2\n0\t0\t1\n1\t0\t1\n")
    benchmark = load(folder, str(tmp_path), relevance_threshold=2)
    assert measure(benchmark)["map"] == 1  # of the first query alone
    assert benchmark.source.choices["relevance_threshold"] == "2"
    equal = write(tmp_path / "equal", qrels="0\t2\t2\n1\t0\t2\n")
    assert measure(load(equal, str(tmp_path), relevance_threshold=2))["map"] == 1
    with pytest.raises(ValueError, match="relevance_threshold=-1"):
        load(folder, str(tmp_path), relevance_threshold=-1)


@pytest.mark.parametrize("text", [None, "", " ", "\u200b\ufeff", "\u2800"])
def test_passages_that_show_nothing_are_left_out_or_kept(tmp_path, text):
    folder = write(tmp_path / "mine", [*CORPUS, {"_id": "e", "text": text}])
    assert len(load(folder, str(tmp_path)).passages) == 3
    kept = load(folder, str(tmp_path), empty_passages="keep")
    assert list(kept.passages)[3] == ""
    assert kept.source.choices["empty_passages"] == "kept, 1 passages"
    with pytest.raises(ValueError, match="empty_passages=some must be one of drop, keep"):
        load(folder, str(tmp_path), empty_passages="some")


def test_ids_that_look_the_same_are_the_same(tmp_path, caplog):
    corpus = [{"_id": "cafe\u0301", "text": "x"}, {"_id": "b ", "text": "y"}]
    folder = write(
        tmp_path / "mine", corpus, [{"_id": "q", "text": "?"}], "q\tcaf\u00e9\t1\nq\tb\t1"
    )
    for _ in range(2):  # from the cache, too
        benchmark = load(folder, str(tmp_path))
        assert find_answers(benchmark) == {("und", "und:q"): {"café", "b"}}
        note = benchmark.source.choices["ids"]
        assert note.startswith("2 ids are compared in Unicode's form NFC and without blanks")
        assert note.endswith("corpus.jsonl, line 1")


def test_nul_is_no_text_and_a_number_can_be_a_title(tmp_path):
    folder = write(tmp_path / "mine", [{"_id": "0", "text": "a\0b"}, *CORPUS[1:]])
    with pytest.raises(ValueError, match=r"corpus\.jsonl, line 1: a NUL character in 'text'"):
        load(folder, str(tmp_path))
    titled = write(
        tmp_path / "titled", [{"_id": "0", "title": 1984, "text": "a book"}, *CORPUS[1:]]
    )
    assert load(titled, str(tmp_path)).passages[0] == "1984 a book"
    odd = write(tmp_path / "odd", [{"_id": "0", "title": ["x"], "text": "a"}, *CORPUS[1:]])
    with pytest.raises(ValueError, match=r"'title' is \['x'\], need a text"):
        load(odd, str(tmp_path))


def test_parquet_and_topics_say_the_same_as_json_lines(tmp_path):
    expected = load(write(tmp_path / "lines"), str(tmp_path), language="en")
    root = tmp_path / "columns"
    (root / "corpus").mkdir(parents=True)
    for number in range(2):
        rows = CORPUS[:2] if number == 0 else CORPUS[2:]
        table = pa.table(
            {"_id": [str(row["_id"]) for row in rows], "text": [r["text"] for r in rows]}
        )
        pq.write_table(table, root / "corpus" / f"part-{number}.parquet")
    (root / "queries.tsv").write_text("".join(f"{q['_id']}\t{q['text']}\n" for q in QUERIES))
    (root / "qrels").mkdir()
    qrels = {"corpus-id": ["2", "0", "1"], "score": [1, 1, 1], "query-id": ["0", "1", "2"]}
    pq.write_table(pa.table(qrels), root / "qrels" / "test.parquet")
    benchmark = load(str(root), str(tmp_path), language="en")
    assert find_answers(benchmark) == find_answers(expected)
    assert list(benchmark.passages) == list(expected.passages)
    assert list(benchmark.queries) == list(expected.queries)


def test_judgements_may_be_json_lines(tmp_path):
    lines = ""
    for query, passage in ((0, 2), (1, 0), (2, 1)):
        lines += f'{{"query-id": {query}, "corpus-id": "{passage}", "score": 1}}\n'
    folder = write(tmp_path / "mine", qrels=lines, name="qrels/test.jsonl")
    assert measure(load(folder, str(tmp_path), language="en"))["map"] == 1


@pytest.mark.parametrize(
    ("name", "lines", "problem"),
    [
        ("test.tsv", "qid\tdocid\tlabel\tscore\n0\t2\t0\t12.7\n", "any of label, score may be"),
        ("test.tsv", "qid\tdocid\trank\tscore\n0\t2\t1\t9.9\n", "this is a run, the ranking"),
        (
            "test.jsonl",
            '{"qid": 0, "docid": 2, "label": 0, "score": 12.7}\n',
            "any of label, score may be the score",
        ),
        ("test.jsonl", '{"qid": 0, "docid": 2, "score": NaN}\n', "the score nan is not a number"),
        ("test.tsv", "0\t2\t1_0\n", "the score '1_0' is not a number|no column is known"),
    ],
)
def test_a_score_that_may_be_something_else_is_refused(tmp_path, name, lines, problem):
    folder = write(tmp_path / "mine", qrels=lines, name=f"qrels/{name}")
    with pytest.raises(ValueError, match=problem):
        load(folder, str(tmp_path))


def test_two_files_of_one_split_are_refused(tmp_path):
    folder = write(tmp_path / "mine")
    write(tmp_path / "mine", name="qrels/test.txt")
    with pytest.raises(ValueError, match="may all judge the split test: join them"):
        load(folder, str(tmp_path))


def test_topics_may_name_their_language_and_question(tmp_path):
    corpus = [{**passage, "language": "en"} for passage in CORPUS]
    folder = Path(write(tmp_path / "mine", corpus))
    (folder / "queries.jsonl").unlink()
    rows = "".join(f"{q['_id']}\tEN\tQ{q['_id']}\t{q['text']}\n" for q in QUERIES)
    (folder / "queries.tsv").write_text("id\tlanguage\tquestion_id\ttext\n" + rows)
    benchmark = load(str(folder), str(tmp_path))
    assert benchmark.languages == ("en",)
    assert list(benchmark.question_ids) == ["Q0", "Q1", "Q2"]
    assert measure(benchmark)["map"] == 1


@pytest.mark.parametrize("key", ["lang", "language_code", "locale"])
def test_the_language_of_a_line_is_read_under_its_other_names(tmp_path, key):
    corpus = [{**passage, key: "de"} for passage in CORPUS]
    queries = [{**query, key: "de-DE"} for query in QUERIES]
    assert load(write(tmp_path / "mine", corpus, queries), str(tmp_path)).languages == (
        "de",
        "de-DE",
    )


def test_a_list_in_the_place_of_json_lines_is_named(tmp_path):
    folder = write(tmp_path / "mine", b'[\n  {"_id": "0", "text": "x"},\n  {"_id": "1"}\n]\n')
    with pytest.raises(ValueError, match=r"corpus\.jsonl, line 1: the file is one JSON list"):
        load(folder, str(tmp_path))


@pytest.mark.parametrize("key", ["Title", "LANGUAGE", "Text"])
def test_a_key_in_capitals_is_not_passed_over(tmp_path, key):
    folder = write(tmp_path / "mine", [{**CORPUS[0], key: "x"}, *CORPUS[1:]])
    with pytest.raises(ValueError, match=f"line 1: the key '{key}' is not read, write"):
        load(folder, str(tmp_path))


def test_two_forms_of_one_thing_are_refused(tmp_path):
    folder = write(tmp_path / "mine")
    pq.write_table(pa.table({"_id": ["x"], "text": ["y"]}), tmp_path / "mine" / "corpus.parquet")
    with pytest.raises(ValueError, match="both hold corpus: leave one of them there"):
        BeirFolder(Path(folder)).list_corpus_files()


def test_ids_and_texts_are_read_under_their_other_names(tmp_path):
    corpus = [{"docid": str(p["_id"]), "contents": p["text"]} for p in CORPUS]
    queries = [{"query_id": str(q["_id"]), "query": q["text"]} for q in QUERIES]
    benchmark = load(write(tmp_path / "mine", corpus, queries), str(tmp_path), language="en")
    assert measure(benchmark)["map"] == 1
