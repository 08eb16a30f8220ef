"""What is counted relevant, and which queries are kept: the cases in which one wrong comparison would go unseen."""

import gzip
import re
import zlib

import numpy as np
import pytest

from hybrid_ir.evaluation.benchmarks import belebele, miracl, mldr, squadshifts
from hybrid_ir.evaluation.benchmarks.judged import Query, some
from tests.evaluation.test_benchmark_loaders import (
    ASK,
    CORPUS,
    ONE,
    QUERIES,
    answers,
    fetched,
    load_folder,
    write,
)
from tests.support import raw_data
from tests.support.raw_data import lines


@pytest.mark.parametrize(
    ("scores", "relevant"),
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
def test_every_score_above_0_is_relevant_and_may_be_said_twice(tmp_path, scores, relevant):
    """Passage a is judged once or twice; b is there so that something is relevant."""
    qrels = "".join(f"1\ta\t{score}\n" for score in scores) + "1\tb\t1\n"
    folder = write(tmp_path / "mine", [ONE, ONE | {"_id": "b"}], [ASK], qrels)
    assert answers(load_folder(str(folder), str(tmp_path))) == {
        ("und", "und:1"): {"a", "b"} if relevant else {"b"}
    }


def test_so_many_queries_a_language_by_the_hash_of_the_question():
    queries = [
        Query(language, f"{language}{i}", "?", f"q{i}", "")
        for language, numbers in (("de", range(8)), ("en", range(5, 20)), ("zh", range(2)))
        for i in numbers
    ]
    kept = some(queries, 4)
    for language, numbers in (("de", range(8)), ("en", range(5, 20)), ("zh", range(2))):
        expected = sorted((f"q{i}" for i in numbers), key=lambda name: zlib.crc32(name.encode()))[
            :4
        ]
        assert sorted(query.question_id for query in kept if query.language == language) == sorted(
            expected
        )
    assert [query.id for query in kept] == [
        query.id for query in queries if query in kept
    ] and some(queries, None) == queries


def test_relevant_passages_across_languages_stand_in_the_rows_of_their_own(tmp_path):
    """Lines in another order than the rows; texts and rows must meet."""
    corpus = [
        {"_id": f"{language}{i}", "text": f"{language} text {i}", "language": language}
        for i in range(4)
        for language in ("zh", "en", "de")
    ]
    queries = [
        {"_id": f"q{language}", "text": "?", "language": language}
        for language in ("zh", "de", "en")
    ]
    wanted = {"qde": ["zh3", "de1"], "qen": ["en0", "zh0", "de3"], "qzh": ["en2"]}
    qrels = "".join(
        f"{query}\t{passage}\t1\n" for query, found in wanted.items() for passage in found
    )
    folder = write(tmp_path / "mine", corpus, queries, qrels)
    benchmark = load_folder(str(folder), str(tmp_path))
    for language, rows in zip(benchmark.query_languages, benchmark.relevant, strict=True):
        expected = wanted[f"q{benchmark.languages[language]}"]
        assert (np.diff(rows) > 0).all()
        assert sorted(benchmark.passages[row] for row in rows) == sorted(
            f"{one[:2]} text {one[2]}" for one in expected
        )
        assert [benchmark.languages[benchmark.passage_languages[row]] for row in rows] == sorted(
            one[:2] for one in expected
        )
    some_languages = load_folder(str(folder), str(tmp_path), languages=["en", "zh"])
    assert answers(some_languages) == {("en", "en:qen"): {"en0", "zh0"}, ("zh", "zh:qzh"): {"en2"}}


def test_folders_of_languages_keep_grades_questions_and_titles_apart(tmp_path):
    for name in ("fi", "en"):
        write(
            tmp_path / "mine" / name,
            [{"_id": "a", "title": "T", "text": f"{name} text"}, {"_id": "b", "text": "other"}],
            [{"_id": "1", "text": "?", "question_id": "Q"}, {"_id": "2", "text": "?"}],
            "1\ta\t1\n1\tb\t0\n2\tb\t1\n",
        )
    benchmark = load_folder(str(tmp_path / "mine"), str(tmp_path))
    assert answers(benchmark) == {
        (name, question): {f"{name}:{passage}"}
        for name in ("en", "fi")
        for question, passage in (("Q", "a"), (f"{name}:2", "b"))
    }
    assert list(benchmark.passages) == ["T en text", "other", "T fi text", "other"]


def test_passages_without_text_are_counted_over_all_languages(tmp_path):
    for name, empty in (("en", 1), ("fi", 2)):
        write(
            tmp_path / "mine" / name,
            [ONE, *({"_id": f"e{i}", "text": " "} for i in range(empty))],
            [ASK],
            "1\ta\t1\n",
        )
    benchmark = load_folder(str(tmp_path / "mine"), str(tmp_path))
    assert (
        benchmark.source.choices["empty_passages"] == "left out, 3 passages"
        and len(benchmark.passages) == 2
    )


def test_something_must_be_relevant_to_a_query_of_a_chosen_language(tmp_path):
    """The one judgement is of a German passage, by an English query."""
    folder = write(tmp_path / "mine", CORPUS, QUERIES, "1\tb\t1\n")
    with pytest.raises(ValueError, match="no query has a relevant passage"):
        load_folder(str(folder), str(tmp_path), languages="de")
    assert answers(load_folder(str(folder), str(tmp_path)))["en", "Q"] == {"b"}


def test_all_positive_documents_of_mldr_are_relevant(tmp_path):
    folder = fetched(
        mldr.files("de"),
        {path: page for path, page in raw_data.mldr_pages().items() if "-de/" in path},
        tmp_path,
    )
    path = tmp_path / "mldr-v1.0-de/test.jsonl.gz"
    path.write_bytes(
        gzip.compress(
            lines(
                {
                    "query_id": "q",
                    "query": "x",
                    "positive_passages": [{"docid": "doc-de-2"}, {"docid": "doc-de-0"}],
                    "negative_passages": [{"docid": "doc-de-1"}],
                }
            )
        )
    )
    benchmark = mldr.load(folder, str(tmp_path / "cache"), languages="de", require_counts=False)
    assert answers(benchmark) == {("de", "de:q"): {"de:doc-de-0", "de:doc-de-2"}}


@pytest.mark.parametrize("module", [belebele, miracl, mldr, squadshifts])
def test_a_card_names_revision_licence_and_paper(module):
    """The first seven digits of the revision stand in the address of every file too."""
    source = module.SOURCE
    assert source.licence and source.description and source.name
    assert re.search(r"\b20\d\d\b", source.citation)
    revision = miracl.REVISIONS["full"] if module is miracl else source.revision
    revisions = [one.partition("@")[2][:7] for one in revision.split(", ")]
    assert all(re.fullmatch("[0-9a-f]{7}", revision) for revision in revisions)
    urls = " ".join(file.url for file in module.files())
    assert all(revision in urls for revision in revisions)


def test_what_was_chosen_of_mldr_stands_on_the_card(tmp_path):
    folder = fetched(
        mldr.files("de"),
        {path: page for path, page in raw_data.mldr_pages().items() if "-de/" in path},
        tmp_path,
    )
    benchmark = mldr.load(folder, str(tmp_path / "cache"), languages="de", require_counts=False)
    assert benchmark.source.choices == {
        "split": "test",
        "require_counts": "False",
        "max_queries": "all",
    }
    with pytest.raises(
        ValueError,
        match="split=train must be one of .*; unknown_passages=ignore must be one of error, drop",
    ):
        mldr.load(
            folder,
            str(tmp_path / "cache"),
            languages="de",
            split="train",
            unknown_passages="ignore",
        )


def test_numbers_of_miracl_add_up_to_those_of_its_paper():
    """106,332,152 passages and 13,495 dev queries in 18 languages; hard negatives: 2.45 million passages."""
    totals = {
        pool: tuple(map(sum, zip(*numbers.values(), strict=True)))
        for pool, numbers in miracl.RELEASED.items()
    }
    assert totals == {"full": (13_495, 106_332_152), "hard_negatives": (11_076, 2_449_382)}
    assert all(len(numbers) == 18 for numbers in miracl.RELEASED.values())


@pytest.mark.parametrize(
    ("language", "split", "counts"),
    [
        ("en", "test", (800, 200_000)),
        ("zh", "test", (800, 200_000)),
        ("en", "dev", (200, 200_000)),
        ("de", "test", (200, 10_000)),
        ("ko", "dev", (200, 6_176)),
    ],
)
def test_numbers_of_mldr_are_those_of_its_paper(language, split, counts):
    assert mldr.released(language, split) == counts
