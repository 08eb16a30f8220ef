"""Copies of texts in which every line names its language: what changes, and what does not."""

import gzip
import json
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_ir.debias.texts import read_text_lines
from hybrid_ir.evaluation.benchmarks import beir_folder
from hybrid_ir.files.identified_copy import IdentificationReport, write_identified_copy
from hybrid_ir.files.language_identification import LanguageGuesser
from hybrid_ir.index.passages import read_passage_files
from tests.support.benchmarks import write_beir_folder
from tests.support.corpora import write_json_lines

ENGLISH = "Greece is a country in the south of Europe; its capital is Athens."
GERMAN = "Griechenland ist ein Land im Süden Europas, seine Hauptstadt ist Athen."
CANDIDATES = ("en", "de", "zh")
NEW_KEYS = ("language", "language_confidence")


@pytest.fixture(scope="module")
def guesser() -> LanguageGuesser:
    return LanguageGuesser(CANDIDATES)


@pytest.fixture
def folder(tmp_path) -> Path:
    """A benchmark in two languages whose lines name none, with other files beside it."""
    passages = [{"_id": "e", "title": "Greece", "text": ENGLISH}, {"_id": "d", "text": GERMAN}]
    queries = [
        {"_id": "qe", "question_id": "q", "text": "What is the capital of Greece?"},
        {"_id": "qd", "question_id": "q", "text": "Was ist die Hauptstadt von Griechenland?"},
    ]
    qrels = "query-id\tcorpus-id\tscore\nqe\te\t1\nqe\td\t1\nqd\te\t1\nqd\td\t1\n"
    folder = tmp_path / "plain"
    write_beir_folder(folder, passages, queries, qrels, "qrels/test.tsv")
    (folder / "README.md").write_text("mine")
    (folder / ".hidden").write_text("not read")
    return folder


def identify(path: Path, to: Path, guesser: LanguageGuesser) -> IdentificationReport:
    return write_identified_copy(path, to, guesser, least_confidence=0.5)


def read_lines(path: Path) -> list[dict]:
    content = path.read_bytes()
    if path.suffix == ".gz":
        content = gzip.decompress(content)
    return [json.loads(line) for line in content.splitlines()]


def list_files(folder: Path) -> dict[str, bytes]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=4,
)
LINES = st.fixed_dictionaries(
    {"text": st.sampled_from([ENGLISH, GERMAN, "1984", "", "Berlin", "a\u2028b", "中国的货币"])},
    optional={
        "id": st.integers(0, 99),
        "role": st.sampled_from(["query", "passage"]),
        "title": st.sampled_from(["", "Athen"]),
        "language": st.sampled_from([None, "und", "en", "DE", "sw", "zh_Hant"]),
        "language_confidence": st.floats(0, 1),
        "score": VALUES,
        "Ünïcode": VALUES,
    },
)


@given(lines=st.lists(LINES, max_size=6))
@settings(deadline=None, max_examples=60)
def test_a_copy_differs_by_languages_of_lines_that_name_none(tmp_path_factory, guesser, lines):
    folder = tmp_path_factory.mktemp("lines")
    path = write_json_lines(folder / "plain.jsonl", *lines)
    report = identify(path, folder / "new.jsonl", guesser)
    copied = read_lines(folder / "new.jsonl")
    assert len(copied) == len(lines) == report.lines
    identified = 0
    for line, copy in zip(lines, copied, strict=True):
        if line.get("language") not in (None, "und"):
            assert list(copy.items()) == list(line.items())
            continue
        identified += 1
        kept = [(key, value) for key, value in copy.items() if key not in NEW_KEYS]
        assert kept == [(key, value) for key, value in line.items() if key not in NEW_KEYS]
        assert copy["language"] in guesser.languages
        assert 0 <= copy["language_confidence"] <= 1
    assert report.identified == identified
    again = identify(folder / "new.jsonl", folder / "again.jsonl", guesser)
    assert (folder / "again.jsonl").read_bytes() == (folder / "new.jsonl").read_bytes()
    assert again.identified == 0
    assert again.texts == report.texts


def test_a_folder_keeps_its_other_files_and_its_order(folder, guesser):
    report = identify(folder, folder.parent / "new", guesser)
    new = list_files(folder.parent / "new")
    assert sorted(new) == ["README.md", "corpus.jsonl", "qrels/test.tsv", "queries.jsonl"]
    for name in ("README.md", "qrels/test.tsv"):
        assert new[name] == (folder / name).read_bytes()
    passages = read_lines(folder.parent / "new" / "corpus.jsonl")
    assert [passage["language"] for passage in passages] == ["en", "de"]
    assert list(passages[0]) == ["_id", "title", "text", *NEW_KEYS]
    assert report.texts == {"passage": {"en": 1, "de": 1}, "query": {"en": 1, "de": 1}}
    assert sorted(path.name for path in folder.parent.iterdir()) == ["new", "plain"]


def test_readers_take_the_copy_of_a_folder(folder, guesser):
    new = folder.parent / "new"
    identify(folder, new, guesser)
    benchmark = beir_folder.load(str(new), str(folder.parent / "cache"))
    assert benchmark.languages == ("de", "en")
    assert [len(rows) for rows in benchmark.relevant] == [2, 2]
    indexed = read_passage_files(new, folder.parent / "cache")
    assert indexed.count_languages() == {"de": 1, "en": 1}


def test_a_copy_of_a_copy_has_the_same_bytes(folder, guesser):
    (folder / "corpus.jsonl.gz").write_bytes(gzip.compress((folder / "corpus.jsonl").read_bytes()))
    (folder / "corpus.jsonl").unlink()
    identify(folder, folder.parent / "new", guesser)
    report = identify(folder.parent / "new", folder.parent / "again", guesser)
    assert list_files(folder.parent / "again") == list_files(folder.parent / "new")
    assert "corpus.jsonl.gz" in list_files(folder.parent / "new")
    assert report.identified == 0


def test_parquet_and_topics_become_json_lines(folder, guesser):
    lines = read_lines(folder / "corpus.jsonl")
    (folder / "corpus.jsonl").unlink()
    (folder / "corpus").mkdir()
    for number, line in enumerate(lines):
        pq.write_table(pa.Table.from_pylist([line]), folder / "corpus" / f"{number}.parquet")
    (folder / "queries.jsonl").unlink()
    (folder / "topics.tsv").write_text("qe\tWhat is its capital?\nqd\tWie heißt die Hauptstadt?\n")
    identify(folder, folder.parent / "new", guesser)
    new = folder.parent / "new"
    assert sorted(path.name for path in new.iterdir()) == [
        "README.md",
        "corpus.jsonl",
        "qrels",
        "queries.jsonl",
    ]
    assert [line["_id"] for line in read_lines(new / "corpus.jsonl")] == ["e", "d"]
    benchmark = beir_folder.load(str(new), str(folder.parent / "cache"))
    assert benchmark.languages == ("de", "en")


def test_a_folder_without_queries_has_passages_to_index(tmp_path, guesser):
    (tmp_path / "plain").mkdir()
    write_json_lines(tmp_path / "plain" / "corpus.jsonl", {"id": 1, "text": GERMAN})
    report = identify(tmp_path / "plain", tmp_path / "new", guesser)
    assert report.texts["query"].total() == 0
    assert read_passage_files(tmp_path / "new", tmp_path / "cache").languages == ("de",)


def test_a_line_names_its_language_under_any_key_that_readers_know(tmp_path, guesser):
    lines = [{"text": GERMAN, "lang": "sw"}, {"text": GERMAN, "lang": None, "id": 3}]
    path = write_json_lines(tmp_path / "plain.jsonl", *lines)
    identify(path, tmp_path / "new.jsonl", guesser)
    first, second = read_lines(tmp_path / "new.jsonl")
    assert first == lines[0]
    assert list(second)[:3] == ["text", "lang", "id"]
    assert second["lang"] == "de"


def test_lines_without_letters_or_confidence_are_told(tmp_path, guesser):
    texts = [ENGLISH, "1 + 1 = 2", GERMAN, "", "?", "!", "3", "4"]
    path = write_json_lines(tmp_path / "plain.jsonl", "", *[{"text": text} for text in texts])
    report = identify(path, tmp_path / "new.jsonl", guesser)
    assert report.uncertain.total() == 6
    # The blank line is not in the copy, whose lines the places name.
    assert [line.place for line in report.first_uncertain] == [
        f"{tmp_path / 'new.jsonl'}, line {number}" for number in (2, 4, 5, 6, 7)
    ]
    everything = write_identified_copy(path, tmp_path / "strict.jsonl", guesser, 1.0)
    assert everything.uncertain.total() >= 6
    assert read_lines(tmp_path / "strict.jsonl") == read_lines(tmp_path / "new.jsonl")


def test_a_copy_of_a_file_is_read_as_texts_of_known_languages(tmp_path, guesser):
    lines = []
    for group in ("1", "2"):
        lines.append({"id": group, "role": "query", "text": "Was ist die Hauptstadt?"})
        lines.append({"id": group, "role": "passage", "text": ENGLISH})
    path = write_json_lines(tmp_path / "plain.jsonl", *lines)
    with pytest.raises(ValueError, match=r"hybrid-ir data identify path=.*plain\.jsonl to="):
        read_text_lines(path)
    identify(path, tmp_path / "new.jsonl.gz", guesser)
    benchmark = read_text_lines(tmp_path / "new.jsonl.gz")
    assert benchmark.languages == ("de", "en")
    assert [len(rows) for rows in benchmark.relevant] == [1, 1]


def test_everything_that_is_wrong_is_one_error_and_nothing_is_written(folder, guesser):
    with open(folder / "corpus.jsonl", "a") as file:
        file.write('{"_id": "x"}\nno json\n{"_id": "y", "text": "a", "language": "xx"}\n')
    with open(folder / "queries.jsonl", "a") as file:
        file.write('{"_id": "z", "Text": "a"}\n')
    with pytest.raises(ValueError, match="4 errors in") as caught:
        identify(folder, folder.parent / "new", guesser)
    message = str(caught.value)
    for place in ("line 3: no key 'text'", "line 4, column 1: not JSON", "line 5: 'language'"):
        assert f"{folder / 'corpus.jsonl'}, {place}" in message
    assert f"{folder / 'queries.jsonl'}, line 3: the key 'Text' is not read" in message
    assert [path.name for path in folder.parent.iterdir()] == ["plain"]


def test_a_value_that_json_cannot_have_is_refused(tmp_path, guesser):
    (tmp_path / "plain").mkdir()
    table = pa.table({"_id": ["1"], "text": [ENGLISH], "raw": [b"\x00"]})
    pq.write_table(table, tmp_path / "plain" / "corpus.parquet")
    with pytest.raises(ValueError, match=r"corpus\.parquet, row 1: .*bytes.*leave the column out"):
        identify(tmp_path / "plain", tmp_path / "new", guesser)
    assert [path.name for path in tmp_path.iterdir()] == ["plain"]


def test_a_wrong_role_is_refused(tmp_path, guesser):
    path = write_json_lines(tmp_path / "plain.jsonl", {"text": "a", "role": "answer"})
    with pytest.raises(ValueError, match="line 1: role='answer' must be query or passage"):
        identify(path, tmp_path / "new.jsonl", guesser)


@pytest.mark.parametrize(
    ("path", "to", "problem"),
    [
        ("nowhere", "new", "path=.*nowhere does not exist: need a folder with corpus.jsonl"),
        ("plain", "plain/new", "is inside of path="),
        ("plain", "plain", "is inside of path="),
        ("plain", "old", "exists: nothing is overwritten"),
        ("old", "new", "has no corpus.jsonl"),
        ("languages", "new", r"the languages are the names of its folders \(de, en\)"),
        ("plain/corpus.jsonl", "new", r"must end in \.jsonl or \.jsonl\.gz, as it is a copy"),
        ("plain/corpus.jsonl", "plain/queries.jsonl", "exists: nothing is overwritten"),
        ("plain/README.md", "new.jsonl", r"README\.md must end in \.jsonl"),
    ],
)
def test_wrong_places_are_refused(folder, guesser, path, to, problem):
    root = folder.parent
    (root / "old").mkdir()
    for language in ("de", "en"):
        write_beir_folder(root / "languages" / language, [{"_id": "1", "text": "a"}])
    before = list_files(root)
    with pytest.raises(ValueError, match=problem):
        identify(root / path, root / to, guesser)
    assert list_files(root) == before


def test_memory_does_not_grow_with_the_file(tmp_path, guesser):
    peaks = []
    for count in (500, 5000):
        lines = [
            {"text": f"the line {number} of this file", "id": number} for number in range(count)
        ]
        path = write_json_lines(tmp_path / f"{count}.jsonl", *lines)
        del lines
        tracemalloc.start()
        identify(path, tmp_path / f"new{count}.jsonl", guesser)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]
