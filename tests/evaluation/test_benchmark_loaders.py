"""Benchmarks from miniatures in their raw formats, fetched over loopback; own folders; and everything that can be wrong."""

import gzip
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_ir.evaluation.benchmarks import belebele, miracl, mldr, squadshifts
from hybrid_ir.evaluation.benchmarks.beir_folder import load as load_folder
from hybrid_ir.files import arrow_texts as disk_texts
from hybrid_ir.files.fetching import fetch_files, verify_files
from hybrid_ir.types import Benchmark
from tests.support import raw_data
from tests.support.raw_data import lines
from tests.support.web import serving


def answers(benchmark: Benchmark) -> dict[tuple[str, str], set[str]]:
    """Relevant passage ids by language and question id."""
    return {
        (benchmark.languages[language], name): {benchmark.passage_ids[row] for row in rows}
        for language, name, rows in zip(
            benchmark.query_languages, benchmark.question_ids, benchmark.relevant, strict=True
        )
    }


def fetched(files, pages, folder: Path) -> str:
    with serving(pages=pages) as web:
        assert len(fetch_files(files, folder, mirror=web.url, pause=0)) == len(files)
        assert fetch_files(files, folder, mirror=web.url) == [] and len(web.asked) == len(files)
    assert {verdict.status for verdict in verify_files(files, folder)} == {"ok"}
    return str(folder)


def by_language(benchmark: Benchmark) -> dict[str, list[str]]:
    """Passages of each language; they must stand language by language."""
    assert (np.diff(benchmark.passage_languages) >= 0).all() and (
        np.diff(benchmark.query_languages) >= 0
    ).all()
    assert len(set(benchmark.passage_ids)) == len(benchmark.passages)
    return {
        name: [benchmark.passages[row] for row in np.flatnonzero(benchmark.passage_languages == i)]
        for i, name in enumerate(benchmark.languages)
    }


@pytest.fixture(scope="module")
def three_variants(tmp_path_factory) -> str:
    names = ["eng_Latn", "swh_Latn", "hin_Deva"]
    return fetched(
        belebele.files(names), raw_data.belebele_pages(*names), tmp_path_factory.mktemp("belebele")
    )


def test_belebele_asks_for_the_passage_of_the_link_in_every_variant(three_variants):
    benchmark = belebele.load(three_variants, ["swh_Latn", "eng_Latn", "hin_Deva"])
    assert benchmark.languages == ("eng_Latn", "hin_Deva", "swh_Latn")
    assert len(benchmark.queries) == 2700 and {
        len(texts) for texts in by_language(benchmark).values()
    } == {488}
    assert set(Counter(benchmark.question_ids).values()) == {3}
    for query, language, rows in zip(
        benchmark.queries, benchmark.query_languages, benchmark.relevant, strict=True
    ):
        asker, number = query.split(" asks ")
        assert asker == benchmark.languages[language]
        assert [benchmark.passages[row] for row in rows] == [
            f"{name} text {int(number) % 488}" for name in benchmark.languages
        ]


def test_belebele_of_some_variants_and_questions(three_variants):
    benchmark = belebele.load(three_variants, ["hin_Deva", "eng_Latn"], max_queries=10)
    assert len(benchmark.queries) == 20 and set(Counter(benchmark.question_ids).values()) == {2}
    assert {len(rows) for rows in benchmark.relevant} == {2} and len(benchmark.passages) == 976
    fewer = belebele.load(three_variants, "eng_Latn", max_queries=4)
    assert set(fewer.question_ids) < set(benchmark.question_ids)


def test_all_variants_of_belebele():
    assert len(belebele.VARIANTS) == len(set(belebele.VARIANTS)) == 122 == len(belebele.files())


def test_belebele_refuses_what_is_not_the_released_data(three_variants, tmp_path):
    (tmp_path / "data").mkdir()
    text = (Path(three_variants) / "data/eng_Latn.jsonl").read_text().splitlines()
    (tmp_path / "data/eng_Latn.jsonl").write_text("\n".join(text[:-1]))
    (tmp_path / "data/hin_Deva.jsonl").write_text(
        "\n".join([text[0], *text, '{"link": "x", "question": 3}'])
    )
    with pytest.raises(ValueError) as raised:
        belebele.load(str(tmp_path), ["eng_Latn", "hin_Deva", "swh_Latn"])
    for said in (
        "has 899 questions on 488 passages, released are 900 on 488",
        "line 2: question 1 on https://x.org/000 is also in line 1",
        "line 902: no key 'flores_passage', there are 'link', 'question'",
        "line 902: 'question' is 3, need a text",
        "swh_Latn.jsonl is missing",
        "hybrid-ir data fetch belebele",
    ):
        assert said in str(raised.value)


def test_belebele_variants_must_share_their_links(three_variants, tmp_path):
    (tmp_path / "data").mkdir()
    for name in ("eng_Latn", "hin_Deva"):
        text = (Path(three_variants) / f"data/{name}.jsonl").read_text()
        (tmp_path / f"data/{name}.jsonl").write_text(
            text.replace("/003", "/other") if name == "hin_Deva" else text
        )
    with pytest.raises(
        ValueError,
        match="hin_Deva lacks 1 passages that other variants have, first 'https://x.org/003'",
    ):
        belebele.load(str(tmp_path), ["eng_Latn", "hin_Deva"])


@pytest.fixture(scope="module")
def miracl_folders(tmp_path_factory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("miracl")
    return {
        "full": fetched(miracl.files(["sw", "te"]), raw_data.miracl_pages(), root / "full"),
        "hard_negatives": fetched(
            miracl.files(["sw", "te"], pool="hard_negatives"),
            raw_data.hard_negatives_pages(),
            root / "hard",
        ),
    }


@pytest.mark.parametrize("pool", ["full", "hard_negatives"])
def test_miracl_in_both_formats(miracl_folders, tmp_path, pool):
    benchmark = miracl.load(
        miracl_folders[pool], str(tmp_path), pool=pool, languages=["te", "sw"], require_counts=False
    )
    assert answers(benchmark) == {
        ("sw", "sw:7"): {"sw:1#0", "sw:1#1"},
        ("sw", "sw:8"): {"sw:2#0"},
        ("te", "te:7"): {"te:9#3"},
    }
    texts = by_language(benchmark)
    assert (
        texts["sw"] == ["Afrika bara la pili", "Afrika watu wengi", "Ziwa maji"]
        and sorted(texts["te"])[-1] == "భారత్ దేశం"
    )
    assert benchmark.source.choices["pool"] == pool and len(benchmark.passages) == 6
    assert benchmark.name == {"full": "miracl", "hard_negatives": "miracl_hard_negatives"}[pool]


def test_miracl_without_titles_counts_passages_without_text(miracl_folders, tmp_path, caplog):
    benchmark = miracl.load(
        miracl_folders["full"], str(tmp_path), languages="te", title=False, require_counts=False
    )
    assert sorted(benchmark.passages) == ["దేశం", "నీరు"]
    assert (
        benchmark.source.choices["empty_passages"] == "left out, 1 passages"
        and "empty_passages" in caplog.text
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, "sw has 2 queries and 3 passages, released are 482 and 131,924"),
        ({"split": "test"}, "split=test must be one of dev, train"),
        ({"split": "train", "pool": "hard_negatives"}, "split=train must be one of dev"),
        ({"pool": "half"}, "pool=half must be one of full, hard_negatives"),
        (
            {"languages": ["sw", "xx"], "max_queries": 0},
            "languages=['sw', 'xx'] must be .*; max_queries=0 must be at least 1",
        ),
        (
            {"languages": ["sw", "yo"]},
            "miracl-v1.0-yo/topics/topics.miracl-v1.0-yo-dev.tsv is missing",
        ),
    ],
)
def test_miracl_refuses(miracl_folders, tmp_path, change, said):
    with pytest.raises(ValueError, match=said.replace("[", r"\[").replace("]", r"\]")):
        miracl.load(miracl_folders["full"], str(tmp_path), **{"languages": "sw"} | change)


@pytest.mark.parametrize(
    ("part", "content", "said"),
    [
        ("sw-corpus", b"PAR1 no", "not parquet, or broken"),
        (
            "sw-queries",
            raw_data.parquet([{"id": "7", "text": "x"}]),
            r"lacks the columns \['_id'\], it has \['id', 'text'\]",
        ),
        (
            "sw-qrels",
            raw_data.parquet([{"query-id": "7", "corpus-id": "1#0", "score": "high"}]),
            "row 1: the score 'high' is not",
        ),
    ],
)
def test_broken_parquet_is_named(miracl_folders, tmp_path, part, content, said):
    for path in Path(miracl_folders["hard_negatives"]).glob("sw-*/*.parquet"):
        (tmp_path / path.parent.name).mkdir(exist_ok=True)
        (tmp_path / path.parent.name / path.name).write_bytes(
            content if path.parent.name == part else path.read_bytes()
        )
    with pytest.raises(ValueError, match=said):
        miracl.load(
            str(tmp_path),
            str(tmp_path / "cache"),
            pool="hard_negatives",
            languages="sw",
            require_counts=False,
        )


def test_mldr_has_one_relevant_document_a_query(tmp_path):
    folder = fetched(mldr.files(["de", "pt"]), raw_data.mldr_pages(), tmp_path / "mldr")
    benchmark = mldr.load(folder, str(tmp_path), languages=["pt", "de"], require_counts=False)
    assert answers(benchmark) == {
        (name, f"{name}:q-{name}-{i}"): {f"{name}:doc-{name}-{i}"}
        for name in ("de", "pt")
        for i in range(2)
    }
    assert [len(texts) for texts in by_language(benchmark).values()] == [
        3,
        3,
    ] and benchmark.passages[4].startswith("pt 1 pt 1")
    with pytest.raises(
        ValueError, match="de has 2 queries and 3 passages, released are 200 and 10,000"
    ):
        mldr.load(folder, str(tmp_path), languages="de")
    path = tmp_path / "mldr/mldr-v1.0-de/test.jsonl.gz"
    path.write_bytes(
        gzip.compress(
            lines(
                {"query_id": "q", "query": "x", "positive_passages": "y"},
                {"query_id": "q", "query": "x", "positive_passages": [{"id": 1}]},
            )
        )
    )
    with pytest.raises(
        ValueError,
        match="line 1: 'positive_passages' is 'y', need a list(.|\n)*line 2: no key 'docid'",
    ):
        mldr.load(folder, str(tmp_path), languages="de", require_counts=False)


def test_squadshifts_finds_paragraphs(tmp_path):
    folder = fetched(squadshifts.files("nyt"), raw_data.squadshifts_pages(), tmp_path)
    benchmark = squadshifts.load(folder, "nyt", require_counts=False)
    both = {"nyt:0", "nyt:2"}  # paragraphs of the same text
    assert answers(benchmark) == {
        ("en", "nyt:a"): both,
        ("en", "nyt:b"): both,
        ("en", "nyt:c"): {"nyt:1"},
        ("en", "nyt:d"): both,
    }
    assert benchmark.passages == ["one", "two", "one", "three"]
    assert len(squadshifts.load(folder, "nyt", False, max_queries=2).queries) == 2
    for arguments, said in (
        ({}, "has 4 questions, released are 10,065"),
        ({"max_queries": 0}, "max_queries=0"),
        ({"domains": ["nyt", "bbc"]}, "domains=bbc must be one of amazon, new_wiki, nyt, reddit"),
        ({"domains": "reddit"}, "reddit_v1.0.json is missing"),
    ):
        with pytest.raises(ValueError, match=said):
            squadshifts.load(folder, **{"domains": "nyt"} | arguments)


def write(folder: Path, corpus=(), queries=(), qrels="", name="qrels.tsv") -> Path:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    for file, rows in (("corpus.jsonl", corpus), ("queries.jsonl", queries)):
        (folder / file).write_bytes(rows if isinstance(rows, bytes) else lines(*rows))
    (folder / name).write_text(qrels)
    return folder


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


def test_a_folder_with_languages_in_its_lines(tmp_path):
    folder = write(tmp_path / "mine", CORPUS, QUERIES, QRELS)
    benchmark = load_folder(str(folder), str(tmp_path))
    assert benchmark.languages == ("de", "en") and list(benchmark.passages) == [
        "eins",
        "T one",
        "two",
    ]
    assert answers(benchmark) == {
        ("de", "Q"): {"a", "b"},
        ("de", "de:3"): set(),
        ("en", "Q"): {"a", "b"},
    }
    assert benchmark.name == "mine" and [len(rows) for rows in benchmark.relevant] == [2, 0, 2]
    assert [rows.tolist() for rows in benchmark.grades] == [[1, 1], [], [2, 1]]  # of b, then a
    assert benchmark.source.choices["relevance"] == "graded"
    german = load_folder(str(folder), str(tmp_path), languages="de")
    assert (
        german.grades is None and "relevance" not in german.source.choices
    )  # nothing there is more relevant than the rest
    assert answers(german) == {("de", "Q"): {"b"}, ("de", "de:3"): set()} and list(
        german.passages
    ) == ["eins"]
    assert list(load_folder(str(folder), str(tmp_path), title=False).passages) == [
        "eins",
        "one",
        "two",
    ]
    assert load_folder(str(folder), str(tmp_path), max_queries=1).question_ids.count("Q") in (1, 2)


def test_a_folder_without_languages_and_with_splits(tmp_path):
    plain = [{key: value for key, value in row.items() if key != "language"} for row in CORPUS]
    asked = [{"_id": 1, "text": "x"}]
    folder = write(tmp_path / "mine", plain, asked, "1 a 1\n", "qrels/test.tsv")
    benchmark = load_folder(str(folder), str(tmp_path), language="sw")
    assert answers(benchmark) == {("sw", "sw:1"): {"a"}} and benchmark.languages == ("sw",)
    assert load_folder(str(folder), str(tmp_path)).languages == ("und",)
    (tmp_path / "single").mkdir()
    single = write(tmp_path / "single", plain, asked, "1 a 1\n")
    with pytest.raises(
        ValueError, match="split=dev must be in .*dev.tsv, and there is no folder qrels"
    ):
        load_folder(str(single), str(tmp_path), split="dev")
    with pytest.raises(
        ValueError, match="dev.tsv is missing: split=dev must be one of those there: test"
    ):
        load_folder(str(folder), str(tmp_path), split="dev")


def test_a_folder_for_each_language(tmp_path):
    for name in ("fi", "en"):
        write(
            tmp_path / "mine" / name,
            [{"_id": "a", "text": f"{name} text"}],
            [{"_id": "1", "text": f"{name}?"}],
            "1\ta\t1\n",
        )
    benchmark = load_folder(str(tmp_path / "mine"), str(tmp_path))
    assert answers(benchmark) == {("en", "en:1"): {"en:a"}, ("fi", "fi:1"): {"fi:a"}}
    assert load_folder(str(tmp_path / "mine"), str(tmp_path), languages="fi").passages[:] == [
        "fi text"
    ]
    with pytest.raises(ValueError, match=r"languages=\['xx'\] must be .* \['en', 'fi'\]"):
        load_folder(str(tmp_path / "mine"), str(tmp_path), languages="xx")


ONE = {"_id": "a", "text": "one"}
ASK = {"_id": "1", "text": "x"}


@pytest.mark.parametrize(
    ("corpus", "queries", "qrels", "said"),
    [
        (
            b'{"_id": "a", "text": "one"}\n{"_id"\n',
            [ASK],
            "1\ta\t1",
            ["corpus.jsonl, line 2, column 7: not JSON"],
        ),
        (
            b'{"_id": "a", "text": "o\xffne"}\n',
            [ASK],
            "1\ta\t1",
            ["corpus.jsonl, line 1: not UTF-8 (invalid start byte at byte 23)"],
        ),
        (b"[1]\n", [ASK], "1\ta\t1", ["corpus.jsonl, line 1: [1] is not a JSON object"]),
        (
            b'{"_id": "a", "text": "\\ud800"}\n',
            [ASK],
            "1\ta\t1",
            ["corpus.jsonl, line 1: half of a surrogate pair"],
        ),
        (
            [ONE, {"_id": "b"}, {"text": "x"}],
            [ASK],
            "1\ta\t1",
            [
                "2 errors",
                "corpus.jsonl, line 2: no key 'text', there are '_id'",
                "corpus.jsonl, line 3: no key '_id'",
            ],
        ),
        (
            [ONE, {"_id": "b", "text": 3}],
            [ASK],
            "1\ta\t1",
            ["corpus.jsonl, line 2: 'text' is 3, need a text"],
        ),
        (
            [ONE, {"_id": "b", "text": "y"}, ONE],
            [ASK],
            "1\ta\t1",
            ["corpus.jsonl, line 3: the id 'a' is also in", "corpus.jsonl, line 1"],
        ),
        (
            [ONE, ONE | {"_id": "b", "language": "en"}],
            [ASK],
            "1\ta\t1",
            ["corpus.jsonl: line 2 has a language, line 1 has none"],
        ),
        (
            [ONE],
            [ASK | {"text": " "}],
            "1\ta\t1",
            ["queries.jsonl, line 1: 'text' is ' ', need a text"],
        ),
        (
            [ONE],
            [ASK, ASK],
            "1\ta\t1",
            ["queries.jsonl, line 2: the id '1' is also in", "queries.jsonl, line 1"],
        ),
        ([ONE], [ASK], "1\ta\t1\n9\ta\t1", ["qrels.tsv, line 2: there is no query '9'"]),
        (
            [ONE],
            [ASK],
            "1\ta\t1\n1\tz\t0",
            ["qrels.tsv, line 2: there is no passage 'z'; unknown_passages=drop leaves"],
        ),
        (
            [ONE],
            [ASK],
            "1\ta\t1\n1\ta\t0",
            ["qrels.tsv, line 2: passage 'a' is judged otherwise in", "qrels.tsv, line 1"],
        ),
        (
            [ONE],
            [ASK],
            "1\ta\t1\n1\ta\t2",
            ["qrels.tsv, line 2: passage 'a' is judged otherwise in", "qrels.tsv, line 1"],
        ),
        (
            [ONE],
            [ASK],
            "1\ta\t1\n1\ta\thigh",
            ["qrels.tsv, line 2: the score 'high' is not a number"],
        ),
        (
            [ONE],
            [ASK],
            "1\ta\t1\n1\ta\tnan",
            ["qrels.tsv, line 2: the score 'nan' is not a number"],
        ),
        (
            [ONE],
            [ASK],
            "1\ta\tnan\n1\ta\t1",
            ["qrels.tsv, line 1: the score 'nan' is not a number"],
        ),
        ([ONE], [ASK], "1\ta\t1\n1\ta\t" + "9" * 999, ["qrels.tsv, line 2: the score '99999"]),
        (
            b"[" * 100_000 + b"\n",
            [ASK],
            "1\ta\t1",
            ["corpus.jsonl, line 1: not JSON that can be read"],
        ),
        (
            b'{"_id": ' + b"9" * 5000 + b', "text": "x"}\n',
            [ASK],
            "1\ta\t1",
            ["corpus.jsonl, line 1: not JSON that can be read"],
        ),
        ([ONE], [ASK], "1\tQ0\ta\t1", ["qrels.tsv, line 1: 4 columns, need 3"]),
        ([ONE], [ASK], "1\ta\t0", ["no query has a relevant passage"]),
        ([ONE], [ASK], "", ["no query has a relevant passage"]),
        ([ONE], [], "1\ta\t1", ["1 error in", "language und has no queries"]),
        (
            [ONE | {"language": "en"}],
            [ASK | {"language": "de"}],
            "1\ta\t1",
            ["language de has no passages", "language en has no queries"],
        ),
        ([], [ASK], "1\ta\t1", ["language und has no passages", "there is no passage 'a'"]),
        (
            [ONE, {"_id": "b", "text": " "}],
            [ASK],
            "1\tb\t1",
            ["there is no passage 'b' (1 without text were left out)"],
        ),
    ],
)
def test_bad_folders_are_one_clear_error(tmp_path, corpus, queries, qrels, said):
    folder = write(tmp_path / "mine", corpus, queries, qrels)
    for _ in range(2):  # nothing of a failed conversion may be taken from the cache
        with pytest.raises(ValueError) as raised:
            load_folder(str(folder), str(tmp_path / "cache"))
        for text in [*said, str(folder)]:
            assert text in str(raised.value)
    assert (
        not list((tmp_path / "cache/texts").glob(".writing*"))
        if (tmp_path / "cache/texts").exists()
        else True
    )


def test_many_errors_are_counted_and_missing_files_named(tmp_path):
    folder = write(tmp_path / "mine", b"x\n" * 25, [ASK], "1\ta\t1")
    with pytest.raises(
        ValueError, match=r"25 errors in .*mine(.|\n)*line 10, (.|\n)*\.\.\. and 15 more$"
    ):
        load_folder(str(folder), str(tmp_path))
    (folder / "queries.jsonl").unlink()
    with pytest.raises(ValueError, match=r"queries.jsonl is missing|26 errors"):
        load_folder(str(folder), str(tmp_path))
    (folder / "corpus.jsonl").unlink()
    with pytest.raises(
        ValueError, match=r"no corpus.jsonl in it or below it. It needs corpus.jsonl with _id"
    ):
        load_folder(str(folder), str(tmp_path))
    with pytest.raises(ValueError, match="benchmark.folder=nowhere: there is no such folder"):
        load_folder("nowhere", str(tmp_path))


def test_a_cut_gzip_is_named(tmp_path):
    folder = write(tmp_path / "mine", [ONE], [ASK], "1\ta\t1")
    packed = gzip.compress(lines(*({"_id": str(i), "text": str(hash(i))} for i in range(999))))
    (folder / "corpus.jsonl").unlink()
    (folder / "corpus.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(
        ValueError, match=r"corpus.jsonl.gz, after line \d+: the compressed data is broken"
    ):
        load_folder(str(folder), str(tmp_path))


def test_something_must_be_relevant_in_the_chosen_languages(tmp_path):
    folder = write(tmp_path / "mine", CORPUS, QUERIES, "1\ta\t1\n")
    assert len(load_folder(str(folder), str(tmp_path), languages="en").queries) == 1
    with pytest.raises(ValueError, match="no query has a relevant passage"):
        load_folder(str(folder), str(tmp_path), languages="de")


def test_dropped_judgements_and_passages_without_text_stand_on_the_card(tmp_path, caplog):
    folder = write(
        tmp_path / "mine", [ONE, {"_id": "b", "text": ""}], [ASK], "1\ta\t1\n1\tz\t1\n1\tb\t1"
    )
    benchmark = load_folder(str(folder), str(tmp_path), unknown_passages="drop")
    assert benchmark.source.choices["unknown_passages"] == "dropped, 2 judgements"
    assert benchmark.source.choices["empty_passages"] == "left out, 1 passages"
    assert "unknown_passages dropped, 2 judgements" in caplog.text and answers(benchmark) == {
        ("und", "und:1"): {"a"}
    }
    with pytest.raises(ValueError, match="unknown_passages=keep must be one of error, drop"):
        load_folder(str(folder), str(tmp_path), unknown_passages="keep")


def test_converted_passages_come_from_the_cache_until_the_file_changes(tmp_path, monkeypatch):
    folder, cache = write(tmp_path / "mine", [ONE], [ASK], "1\ta\t1"), tmp_path / "cache"
    load_folder(str(folder), str(cache))
    convert = disk_texts.convert_passages
    monkeypatch.setattr(disk_texts, "convert_passages", None)
    assert load_folder(str(folder), str(cache)).passages[0] == "one"
    monkeypatch.setattr(disk_texts, "convert_passages", convert)
    (folder / "corpus.jsonl").write_bytes(lines(ONE | {"text": "uno"}))
    assert load_folder(str(folder), str(cache)).passages[0] == "uno"
    for path in (cache / "texts").glob("*.arrow"):  # a damaged cache is made anew
        path.write_bytes(path.read_bytes()[:40])
    assert load_folder(str(folder), str(cache)).passages[0] == "uno"
    for text in ("{", '{"languages": {"und": 5}, "empty": 0}'):
        for path in (cache / "texts").glob("*.json"):
            path.write_text(text)
        assert load_folder(str(folder), str(cache)).passages[:] == ["uno"]
    assert load_folder(str(folder), str(cache)).passages[0] == "uno"


@given(
    texts=st.lists(
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8).filter(str.strip),
        min_size=1,
        max_size=30,
    ),
    languages=st.lists(st.sampled_from(["en", "de", "sw/x"]), min_size=30, max_size=30),
    batch=st.integers(1, 7),
    cut=st.tuples(st.integers(-40, 40), st.integers(-40, 40), st.sampled_from([1, 2, -1])),
)
@settings(max_examples=60, deadline=None)
def test_lazy_passages_are_the_list_they_stand_for(tmp_path_factory, texts, languages, batch, cut):
    place = tmp_path_factory.mktemp("lazy")
    corpus = [
        {"_id": str(i), "text": text, "language": language}
        for i, (text, language) in enumerate(zip(texts, languages, strict=False))
    ]
    used = sorted({row["language"] for row in corpus})
    queries = [{"_id": f"q{name}", "text": "x", "language": name} for name in used]
    write(
        place / "mine",
        corpus,
        queries,
        "".join(f"q{name}\t{i}\t1\n" for name in used for i in range(len(corpus))),
    )
    whole, disk_texts.BATCH_ROWS = disk_texts.BATCH_ROWS, batch
    try:
        benchmark = load_folder(str(place / "mine"), str(place), title=False)
    finally:
        disk_texts.BATCH_ROWS = whole
    expected = [row for name in used for row in corpus if row["language"] == name]
    for lazy, key in ((benchmark.passages, "text"), (benchmark.passage_ids, "_id")):
        plain = [row[key] for row in expected]
        assert (
            list(lazy) == plain
            and len(lazy) == len(plain)
            and lazy[slice(*cut)] == plain[slice(*cut)]
        )
        assert [lazy[np.int64(i)] for i in range(-len(plain), len(plain))] == plain * 2
        with pytest.raises(IndexError):
            lazy[len(plain)]
    assert [benchmark.languages[i] for i in benchmark.passage_languages] == [
        row["language"] for row in expected
    ]
    assert all((rows == np.arange(len(corpus))).all() for rows in benchmark.relevant)


def test_json_lines_break_only_at_newlines(tmp_path):
    odd = (
        json.dumps({"_id": "a", "text": "one two\x85three"}, ensure_ascii=False).encode()
        + b"\r\n\r\n"
    )
    folder = write(tmp_path / "mine", b"\xef\xbb\xbf" + odd, [ASK], "1\ta\t1")
    assert load_folder(str(folder), str(tmp_path)).passages[0] == "one two\x85three"
