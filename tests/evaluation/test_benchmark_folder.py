"""A benchmark of one's own in a folder: languages, relevance, and everything that can be wrong."""

import gzip
import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_ir.evaluation.benchmarks.beir_folder import load
from hybrid_ir.files import arrow_texts
from hybrid_ir.files.texts import is_blank
from tests.support.benchmarks import find_answers, write_beir_folder
from tests.support.raw_data import encode_json_lines

CORPUS = [
    {"_id": "a", "title": "T", "text": "one", "language": "en"},
    {"_id": "b", "text": "eins", "language": "de"},
    {"_id": "c", "text": "two", "language": "en"},
]
QUERIES = [
    {"_id": "1", "text": "uno?", "language": "en", "question_id": "Q"},
    {"_id": "2", "text": "eins?", "language": "de", "question_id": "Q"},
    {"_id": "3", "text": "zwei?", "language": "de"},
]
QRELS = "query-id\tcorpus-id\tscore\n1\ta\t1\n1\tb\t2\n2\ta\t1\n2\tb\t1\n2\tc\t0\n"
PASSAGE = {"_id": "a", "text": "one"}  # without a language
QUERY = {"_id": "1", "text": "x"}
ONE_QREL = "1\ta\t1"


def load_with_errors(folder: str, cache: Path, **choices: str) -> str:
    """Loads a folder that has errors twice; returns the message, which must be the same.

    Nothing of a failed conversion may be taken from the cache.
    """
    texts = []
    for _ in range(2):
        with pytest.raises(ValueError) as raised:
            load(folder, str(cache), **choices)
        texts.append(str(raised.value))
    assert texts[0] == texts[1]
    assert folder in texts[0]
    assert list(cache.rglob(".*")) == []  # temporary files are hidden
    return texts[0]


@pytest.fixture
def mixed_folder(tmp_path) -> str:
    return write_beir_folder(tmp_path / "mine", CORPUS, QUERIES, QRELS)


def test_lines_may_name_their_languages(mixed_folder, tmp_path):
    benchmark = load(mixed_folder, str(tmp_path))
    assert benchmark.name == "mine"
    assert benchmark.languages == ("de", "en")
    assert list(benchmark.passages) == ["eins", "T one", "two"]
    assert find_answers(benchmark) == {
        ("de", "Q"): {"a", "b"},
        ("en", "Q"): {"a", "b"},
    }
    assert [len(rows) for rows in benchmark.relevant] == [2, 2]


def test_scores_that_differ_are_grades(mixed_folder, tmp_path):
    benchmark = load(mixed_folder, str(tmp_path))
    assert [grades.tolist() for grades in benchmark.grades] == [[1, 1], [2, 1]]  # of b, then a
    assert benchmark.source.choices["relevance"] == "graded"


def test_of_one_language_only_its_own_judgements_count(mixed_folder, tmp_path):
    german = load(mixed_folder, str(tmp_path), languages="de")
    assert find_answers(german) == {("de", "Q"): {"b"}}
    assert list(german.passages) == ["eins"]
    # nothing there is more relevant than the rest
    assert german.grades is None
    assert "relevance" not in german.source.choices


def test_titles_and_most_of_the_queries_can_be_left_out(mixed_folder, tmp_path):
    untitled = load(mixed_folder, str(tmp_path), title=False)
    fewer = load(mixed_folder, str(tmp_path), max_queries=1)
    assert list(untitled.passages) == ["eins", "one", "two"]
    assert fewer.query_languages.tolist() == [0, 1]


def test_texts_without_a_language_are_in_the_one_that_is_given(tmp_path):
    asked = [{"_id": 1, "text": "x"}]
    folder = write_beir_folder(tmp_path / "mine", [PASSAGE], asked, "1 a 1\n")
    benchmark = load(folder, str(tmp_path), language="sw")
    assert benchmark.languages == ("sw",)
    assert find_answers(benchmark) == {("sw", "sw:1"): {"a"}}
    assert load(folder, str(tmp_path)).languages == ("und",)


def test_a_split_must_be_there(tmp_path):
    splits = write_beir_folder(
        tmp_path / "splits", [PASSAGE], [QUERY], ONE_QREL, qrels_name="qrels/test.tsv"
    )
    single = write_beir_folder(tmp_path / "single", [PASSAGE], [QUERY], ONE_QREL)
    missing = "dev.tsv is missing: split=dev must be one of those there: test"
    assert missing in load_with_errors(splits, tmp_path / "cache", split="dev")
    text = load_with_errors(single, tmp_path / "cache", split="dev")
    assert re.search("split=dev must be in .*dev.tsv, and there is no folder", text)
    assert find_answers(load(splits, str(tmp_path / "cache"))) == {("und", "und:1"): {"a"}}


@pytest.fixture
def language_folders(tmp_path) -> str:
    """A folder for each of two languages, whose ids are the same."""
    for name in ("fi", "en"):
        corpus = [
            {"_id": "a", "title": "T", "text": f"{name} text"},
            {"_id": "b", "text": "other"},
        ]
        queries = [{"_id": "1", "text": "?", "question_id": "Q"}, {"_id": "2", "text": "?"}]
        write_beir_folder(tmp_path / "mine" / name, corpus, queries, "1\ta\t1\n1\tb\t0\n2\tb\t1\n")
    return str(tmp_path / "mine")


def test_folders_of_languages_do_not_mix(language_folders, tmp_path):
    benchmark = load(language_folders, str(tmp_path))
    finnish = load(language_folders, str(tmp_path), languages="fi")
    assert find_answers(benchmark) == {
        ("en", "Q"): {"en:a"},
        ("en", "en:2"): {"en:b"},
        ("fi", "Q"): {"fi:a"},
        ("fi", "fi:2"): {"fi:b"},
    }
    assert list(benchmark.passages) == ["T en text", "other", "T fi text", "other"]
    assert finnish.passages[:] == ["T fi text", "other"]
    with pytest.raises(ValueError, match=r"languages=\['xx'\] must be .* \['en', 'fi'\]"):
        load(language_folders, str(tmp_path), languages="xx")


@pytest.mark.parametrize(
    ("scores", "is_relevant"),
    [
        ([1], True),
        ([2], True),
        ([0.5], True),
        ([2, 2], True),
        ([0], False),
        ([-1], False),
        ([0, -1], False),
    ],
)
def test_every_score_above_0_is_relevant_and_may_come_twice(tmp_path, scores, is_relevant):
    qrels = "1\tb\t1\n"  # so that something is relevant
    for score in scores:
        qrels += f"1\ta\t{score}\n"
    corpus = [PASSAGE, PASSAGE | {"_id": "b"}]
    folder = write_beir_folder(tmp_path / "mine", corpus, [QUERY], qrels)
    expected = {"a", "b"} if is_relevant else {"b"}
    assert find_answers(load(folder, str(tmp_path))) == {("und", "und:1"): expected}


def test_relevant_passages_across_languages_stand_in_their_rows(tmp_path):
    """The lines stand in another order than the rows; texts and rows must meet."""
    corpus = []
    for i in range(4):
        for language in ("zh", "en", "de"):
            text = f"{language} text {i}"
            corpus.append({"_id": f"{language}{i}", "text": text, "language": language})
    queries = []
    for language in ("zh", "de", "en"):
        queries.append({"_id": f"q{language}", "text": "?", "language": language})
    expected = {"qde": ["de1", "zh3"], "qen": ["de3", "en0", "zh0"], "qzh": ["en2"]}
    qrels = ""
    for query, passages in expected.items():
        for passage in reversed(passages):
            qrels += f"{query}\t{passage}\t1\n"
    folder = write_beir_folder(tmp_path / "mine", corpus, queries, qrels)

    benchmark = load(folder, str(tmp_path))
    without_german = load(folder, str(tmp_path), languages=["en", "zh"])

    for language, rows in zip(benchmark.query_languages, benchmark.relevant, strict=True):
        passages = expected[f"q{benchmark.languages[language]}"]
        assert (np.diff(rows) > 0).all()
        assert [benchmark.passages[row] for row in rows] == [
            f"{passage[:2]} text {passage[2]}" for passage in passages
        ]
        assert [benchmark.languages[benchmark.passage_languages[row]] for row in rows] == [
            passage[:2] for passage in passages
        ]
    assert find_answers(without_german) == {
        ("en", "en:qen"): {"en0", "zh0"},
        ("zh", "zh:qzh"): {"en2"},
    }


def test_something_must_be_relevant_to_a_query_of_a_chosen_language(tmp_path):
    """The only judgement is of a German passage, by an English query."""
    folder = write_beir_folder(tmp_path / "mine", CORPUS, QUERIES, "1\tb\t1\n")
    with pytest.raises(ValueError, match="no query has a relevant passage"):
        load(folder, str(tmp_path), languages="de")
    with pytest.raises(ValueError, match="no query has a relevant passage"):
        load(folder, str(tmp_path), languages="en")
    assert find_answers(load(folder, str(tmp_path)))["en", "Q"] == {"b"}


def test_passages_without_text_are_counted_over_all_languages(tmp_path):
    for name, empty in (("en", 1), ("fi", 2)):
        corpus = [PASSAGE] + [{"_id": f"e{i}", "text": " "} for i in range(empty)]
        write_beir_folder(tmp_path / "mine" / name, corpus, [QUERY], ONE_QREL)
    benchmark = load(str(tmp_path / "mine"), str(tmp_path))
    assert benchmark.source.choices["empty_passages"] == "left out, 3 passages"
    assert len(benchmark.passages) == 2


def test_dropped_judgements_and_empty_passages_are_on_the_card(tmp_path, caplog):
    corpus = [PASSAGE, {"_id": "b", "text": ""}]
    folder = write_beir_folder(tmp_path / "mine", corpus, [QUERY], "1\ta\t1\n1\tz\t1\n1\tb\t1")
    benchmark = load(folder, str(tmp_path), unknown_passages="drop")
    assert benchmark.source.choices["unknown_passages"] == "dropped, 2 judgements"
    assert benchmark.source.choices["empty_passages"] == "left out, 1 passages"
    assert "unknown_passages dropped, 2 judgements" in caplog.text
    assert find_answers(benchmark) == {("und", "und:1"): {"a"}}
    with pytest.raises(ValueError, match="unknown_passages=all must be one of error, drop, keep"):
        load(folder, str(tmp_path), unknown_passages="all")


def b_and(change: dict) -> dict:
    return {"_id": "b", **change}


@pytest.mark.parametrize(
    ("corpus", "messages"),
    [
        (b'{"_id": "a", "text": "one"}\n{"_id"\n', ["line 2, column 7: not JSON"]),
        (
            b'{"_id": "a", "text": "o\xffne"}\n',
            ["line 1: not UTF-8 (invalid start byte at byte 23)"],
        ),
        (b"[1]\n", ["line 1: [1] is not a JSON object"]),
        (b'{"_id": "a", "text": "\\ud800"}\n', ["line 1: half of a surrogate pair"]),
        (b"[" * 100_000 + b"\n", ["line 1: not JSON that can be read"]),
        (
            b'{"_id": ' + b"9" * 5000 + b', "text": "x"}\n',
            ["line 1: not JSON that can be read"],
        ),
        (
            [PASSAGE, {"_id": "b"}, {"text": "x"}],
            ["line 2: no key 'text', there are '_id'", "line 3: no key '_id'"],
        ),
        ([PASSAGE, b_and({"text": 3})], ["line 2: 'text' is 3, need a text"]),
        ([PASSAGE, b_and({"text": "y"}), PASSAGE], ["line 3: the id 'a' is also in", "line 1"]),
    ],
)
def test_what_is_wrong_in_a_corpus_is_named_by_its_line(tmp_path, corpus, messages):
    folder = write_beir_folder(tmp_path / "mine", corpus, [QUERY], ONE_QREL)
    text = load_with_errors(folder, tmp_path / "cache")
    for message in messages:
        assert f"corpus.jsonl, {message}" in text
    assert list((tmp_path / "cache").rglob("*.arrow*")) == []  # temporary files included


@pytest.mark.parametrize(
    ("corpus", "queries", "qrels", "messages"),
    [
        (
            [PASSAGE, b_and({"text": "one", "language": "en"})],
            [QUERY],
            ONE_QREL,
            ["corpus.jsonl: line 2 has a language, line 1 has none"],
        ),
        (
            [PASSAGE],
            [QUERY | {"text": " "}],
            ONE_QREL,
            ["queries.jsonl, line 1: the query '1' has no text to ask with"],
        ),
        (
            [PASSAGE],
            [QUERY, QUERY],
            ONE_QREL,
            ["queries.jsonl, line 2: the id '1' is also in", "queries.jsonl, line 1"],
        ),
        ([PASSAGE], [], ONE_QREL, ["1 error in", "language und has no queries"]),
        ([], [QUERY], ONE_QREL, ["language und has no passages", "there is no passage 'a'"]),
        (
            [PASSAGE, b_and({"text": " "})],
            [QUERY],
            "1\tb\t1",
            ["there is no passage 'b' (1 without text were left out)"],
        ),
    ],
)
def test_files_that_do_not_fit_together_are_named(tmp_path, corpus, queries, qrels, messages):
    folder = write_beir_folder(tmp_path / "mine", corpus, queries, qrels)
    text = load_with_errors(folder, tmp_path / "cache")
    for message in messages:
        assert message in text


@pytest.mark.parametrize(
    ("qrels", "messages"),
    [
        ("1\ta\t1\n9\ta\t1", ["line 2: there is no query '9'"]),
        ("1\ta\t1\n1\tz\t0", ["line 2: there is no passage 'z'; unknown_passages=keep counts"]),
        ("1\ta\t1\n1\ta\t0", ["line 2: passage 'a' is judged otherwise in", "line 1"]),
        ("1\ta\t1\n1\ta\t2", ["line 2: passage 'a' is judged otherwise in", "line 1"]),
        ("1\ta\t1\n1\ta\thigh", ["line 2: the score 'high' is not a number"]),
        ("1\ta\t1\n1\ta\tnan", ["line 2: the score 'nan' is not a number"]),
        ("1\ta\tnan\n1\ta\t1", ["line 1: the score 'nan' is not a number"]),
        ("1\ta\t1\n1\ta\t" + "9" * 999, ["line 2: the score '99999"]),
        ("1\ta", ["line 1: 2 columns, need 4 with something in each (query, iteration"]),
    ],
)
def test_what_is_wrong_in_qrels_is_named_by_its_line(tmp_path, qrels, messages):
    folder = write_beir_folder(tmp_path / "mine", [PASSAGE], [QUERY], qrels)
    text = load_with_errors(folder, tmp_path / "cache")
    for message in messages:
        assert f"qrels.tsv, {message}" in text


@pytest.mark.parametrize("qrels", ["1\ta\t0", ""])
def test_judgements_must_hold_something_relevant(tmp_path, qrels):
    folder = write_beir_folder(tmp_path / "mine", [PASSAGE], [QUERY], qrels)
    assert "no query has a relevant passage" in load_with_errors(folder, tmp_path / "cache")


def test_errors_are_counted_and_their_folder_is_named(tmp_path):
    corpus = [PASSAGE, {"_id": "b"}, {"text": "x"}]
    folder = write_beir_folder(tmp_path / "mine", corpus, [QUERY], ONE_QREL)
    assert load_with_errors(folder, tmp_path / "cache").startswith(f"2 errors in {folder}")


def test_many_errors_are_counted(tmp_path):
    folder = write_beir_folder(tmp_path / "mine", b"x\n" * 25, [QUERY], ONE_QREL)
    text = load_with_errors(folder, tmp_path / "cache")
    assert text.startswith(f"25 errors in {folder}")
    assert "line 10, " in text
    assert text.endswith("... and 15 more")


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("corpus.jsonl", b'{"_id": "a", "text": "one"}\n{"_id"\n'),
        ("corpus.jsonl", b'{"_id": "z", "text": "one"}\n'),
        ("queries.jsonl", b'{"_id": "1", "text": " "}\n'),
        ("qrels.tsv", b"1\tz\t1\n"),
        ("qrels.tsv", b"1\ta\t0\n"),
    ],
)
def test_a_folder_whose_errors_are_mended_is_loaded(tmp_path, file, content):
    folder = write_beir_folder(tmp_path / "mine", [PASSAGE], [QUERY], ONE_QREL)
    mended = (tmp_path / "mine" / file).read_bytes()
    (tmp_path / "mine" / file).write_bytes(content)
    load_with_errors(folder, tmp_path / "cache")
    (tmp_path / "mine" / file).write_bytes(mended)
    for _ in range(2):
        benchmark = load(folder, str(tmp_path / "cache"))
        assert list(benchmark.passages) == ["one"]
        assert find_answers(benchmark) == {("und", "und:1"): {"a"}}


def test_missing_files_are_named(tmp_path):
    folder = write_beir_folder(tmp_path / "mine", [PASSAGE], [QUERY], ONE_QREL)
    (tmp_path / "mine/queries.jsonl").unlink()
    assert "queries.jsonl is missing" in load_with_errors(folder, tmp_path / "cache")
    (tmp_path / "mine/corpus.jsonl").unlink()
    no_corpus = "no corpus.jsonl in it or below it. It needs corpus.jsonl with _id"
    assert no_corpus in load_with_errors(folder, tmp_path / "cache")
    with pytest.raises(ValueError, match="benchmark.folder=nowhere: there is no such folder"):
        load("nowhere", str(tmp_path))


def test_a_cut_gzip_is_named(tmp_path):
    folder = write_beir_folder(tmp_path / "mine", [PASSAGE], [QUERY], ONE_QREL)
    rows = [{"_id": str(i), "text": str(hash(i))} for i in range(999)]
    packed = gzip.compress(encode_json_lines(*rows))
    (tmp_path / "mine/corpus.jsonl").unlink()
    (tmp_path / "mine/corpus.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    broken = r"corpus.jsonl.gz, after line \d+: the compressed data is broken"
    assert re.search(broken, load_with_errors(folder, tmp_path / "cache"))


def test_converted_passages_are_cached_until_the_file_changes(tmp_path, monkeypatch):
    folder = write_beir_folder(tmp_path / "mine", [PASSAGE], [QUERY], ONE_QREL)
    cache = str(tmp_path / "cache")
    load(folder, cache)
    with monkeypatch.context() as without_conversion:
        without_conversion.setattr(arrow_texts, "convert_passages", None)
        assert load(folder, cache).passages[0] == "one"
    (tmp_path / "mine/corpus.jsonl").write_bytes(encode_json_lines(PASSAGE | {"text": "uno"}))
    assert load(folder, cache).passages[0] == "uno"


def test_damaged_converted_passages_are_converted_again(tmp_path):
    folder = write_beir_folder(tmp_path / "mine", [PASSAGE], [QUERY], ONE_QREL)
    cache = tmp_path / "cache"
    load(folder, str(cache))
    for path in (cache / "texts").glob("*.arrow"):
        path.write_bytes(path.read_bytes()[:40])
    assert load(folder, str(cache)).passages[0] == "one"
    for damage in ("{", '{"languages": {"und": 5}, "empty": 0}'):
        for path in (cache / "texts").glob("*.json"):
            path.write_text(damage)
        assert load(folder, str(cache)).passages[:] == ["one"]
    assert load(folder, str(cache)).passages[0] == "one"


@given(
    texts=st.lists(
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8).filter(
            lambda text: not is_blank(text) and "\0" not in text
        ),
        min_size=1,
        max_size=30,
    ),
    languages=st.lists(st.sampled_from(["en", "de", "zh-Hant"]), min_size=30, max_size=30),
    batch=st.integers(1, 7),
    cut=st.tuples(st.integers(-40, 40), st.integers(-40, 40), st.sampled_from([1, 2, -1])),
)
@settings(max_examples=60, deadline=None)
def test_lazy_passages_are_the_list_they_stand_for(tmp_path_factory, texts, languages, batch, cut):
    place = tmp_path_factory.mktemp("lazy")
    corpus = []
    for i, (text, language) in enumerate(zip(texts, languages, strict=False)):
        corpus.append({"_id": str(i), "text": text, "language": language})
    used = sorted({row["language"] for row in corpus})
    queries = [{"_id": f"q{name}", "text": "x", "language": name} for name in used]
    qrels = ""
    for name in used:
        for row in corpus:
            qrels += f"q{name}\t{row['_id']}\t1\n"
    folder = write_beir_folder(place / "mine", corpus, queries, qrels)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrow_texts, "BATCH_ROWS", batch)
        benchmark = load(folder, str(place), title=False)

    expected = sorted(corpus, key=lambda row: row["language"])
    assert_same_sequence(benchmark.passages, [row["text"] for row in expected], slice(*cut))
    assert_same_sequence(benchmark.passage_ids, [row["_id"] for row in expected], slice(*cut))
    assert [benchmark.languages[i] for i in benchmark.passage_languages] == [
        row["language"] for row in expected
    ]
    for rows in benchmark.relevant:
        assert rows.tolist() == list(range(len(corpus)))


def assert_same_sequence(lazy, plain: list[str], cut: slice) -> None:
    """Asserts that a lazy sequence behaves as a list of the same texts."""
    assert list(lazy) == plain
    assert len(lazy) == len(plain)
    assert lazy[cut] == plain[cut]
    for i in range(-len(plain), len(plain)):
        assert lazy[np.int64(i)] == plain[i]
    with pytest.raises(IndexError):
        lazy[len(plain)]


def test_json_lines_break_only_at_newlines(tmp_path):
    row = {"_id": "a", "text": "one\u2028two\x85three"}
    corpus = b"\xef\xbb\xbf" + json.dumps(row, ensure_ascii=False).encode() + b"\r\n\r\n"
    folder = write_beir_folder(tmp_path / "mine", corpus, [QUERY], ONE_QREL)
    assert load(folder, str(tmp_path)).passages[0] == "one\u2028two\x85three"
