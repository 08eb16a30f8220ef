"""Released benchmarks from miniatures in their raw formats, fetched over loopback."""

import gzip
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from hybrid_ir.evaluation.benchmarks import belebele, miracl, mldr, squadshifts
from hybrid_ir.types import Benchmark
from tests.support import raw_data
from tests.support.benchmarks import fetch_pages, find_answers


def group_passages(benchmark: Benchmark) -> dict[str, list[str]]:
    """Returns the passages of each language, after a check that languages stand together."""
    assert (np.diff(benchmark.passage_languages) >= 0).all()
    assert (np.diff(benchmark.query_languages) >= 0).all()
    assert len(set(benchmark.passage_ids)) == len(benchmark.passages)
    groups = {language: [] for language in benchmark.languages}
    for text, number in zip(benchmark.passages, benchmark.passage_languages, strict=True):
        groups[benchmark.languages[number]].append(text)
    return groups


@pytest.fixture(scope="module")
def three_variants(tmp_path_factory) -> str:
    variants = ["eng_Latn", "swh_Latn", "hin_Deva"]
    pages = raw_data.build_belebele_pages(*variants)
    folder = tmp_path_factory.mktemp("belebele")
    return fetch_pages(belebele.list_files(variants), pages, folder)


def test_belebele_asks_for_the_passage_of_the_link_in_every_variant(three_variants):
    benchmark = belebele.load(three_variants, ["swh_Latn", "eng_Latn", "hin_Deva"])
    sizes = {len(texts) for texts in group_passages(benchmark).values()}
    assert benchmark.languages == ("eng_Latn", "hin_Deva", "swh_Latn")
    assert sizes == {488}
    assert len(benchmark.queries) == 2700
    assert set(Counter(benchmark.question_ids).values()) == {3}
    for row, query in enumerate(benchmark.queries):
        variant, number = query.split(" asks ")
        assert variant == benchmark.languages[benchmark.query_languages[row]]
        assert [benchmark.passages[passage] for passage in benchmark.relevant[row]] == [
            f"{name} text {int(number) % 488}" for name in benchmark.languages
        ]


def test_belebele_keeps_the_same_questions_in_every_variant(three_variants):
    benchmark = belebele.load(three_variants, ["hin_Deva", "eng_Latn"], max_queries=10)
    fewer = belebele.load(three_variants, "eng_Latn", max_queries=4)
    assert len(benchmark.queries) == 20
    assert len(benchmark.passages) == 976
    assert set(Counter(benchmark.question_ids).values()) == {2}
    assert {len(rows) for rows in benchmark.relevant} == {2}
    assert set(fewer.question_ids) < set(benchmark.question_ids)


def test_belebele_has_122_variants():
    assert len(belebele.VARIANTS) == len(set(belebele.VARIANTS)) == 122
    assert len(belebele.list_files()) == 122


def test_belebele_refuses_what_is_not_the_released_data(three_variants, tmp_path):
    (tmp_path / "data").mkdir()
    released = (Path(three_variants) / "data/eng_Latn.jsonl").read_text().splitlines()
    broken = [released[0], *released, '{"link": "x", "question": 3}']
    (tmp_path / "data/eng_Latn.jsonl").write_text("\n".join(released[:-1]))
    (tmp_path / "data/hin_Deva.jsonl").write_text("\n".join(broken))
    with pytest.raises(ValueError) as raised:
        belebele.load(str(tmp_path), ["eng_Latn", "hin_Deva", "swh_Latn"])
    for message in (
        "has 899 questions on 488 passages, released are 900 on 488",
        "hin_Deva.jsonl, line 2: the id 'hin_Deva:https://x.org/000#1' is also in",
        "hin_Deva.jsonl, line 1",
        "line 902: no key 'flores_passage', there are 'link', 'question'",
        "line 902: 'question' is 3, need a text",
        "line 902: 'question_number' is None, need a number",
        "swh_Latn.jsonl is missing",
        "hybrid-ir data fetch belebele",
    ):
        assert message in str(raised.value)


def test_belebele_variants_must_share_their_links(three_variants, tmp_path):
    (tmp_path / "data").mkdir()
    english = (Path(three_variants) / "data/eng_Latn.jsonl").read_text()
    hindi = (Path(three_variants) / "data/hin_Deva.jsonl").read_text()
    (tmp_path / "data/eng_Latn.jsonl").write_text(english)
    (tmp_path / "data/hin_Deva.jsonl").write_text(hindi.replace("/003", "/other"))
    missing = "hin_Deva lacks 1 passages that other variants have, first 'https://x.org/003'"
    with pytest.raises(ValueError, match=missing):
        belebele.load(str(tmp_path), ["eng_Latn", "hin_Deva"])


@pytest.fixture(scope="module")
def miracl_folders(tmp_path_factory) -> dict[str, str]:
    """The folders of both pools of MIRACL."""
    root = tmp_path_factory.mktemp("miracl")
    languages = ["sw", "te"]
    full_files = miracl.list_files(languages)
    hard_files = miracl.list_files(languages, pool="hard_negatives")
    return {
        "full": fetch_pages(full_files, raw_data.build_miracl_pages(), root / "full"),
        "hard_negatives": fetch_pages(
            hard_files, raw_data.build_hard_negatives_pages(), root / "hard"
        ),
    }


@pytest.mark.parametrize(
    ("pool", "name"), [("full", "miracl"), ("hard_negatives", "miracl_hard_negatives")]
)
def test_both_pools_of_miracl_have_the_same_content(miracl_folders, tmp_path, pool, name):
    benchmark = miracl.load(
        miracl_folders[pool], str(tmp_path), pool=pool, languages=["te", "sw"], require_counts=False
    )
    texts = group_passages(benchmark)
    assert find_answers(benchmark) == {
        ("sw", "sw:7"): {"sw:1#0", "sw:1#1"},
        ("sw", "sw:8"): {"sw:2#0"},
        ("te", "te:7"): {"te:9#3"},
    }
    assert texts["sw"] == ["Afrika bara la pili", "Afrika watu wengi", "Ziwa maji"]
    assert "భారత్ దేశం" in texts["te"]
    assert len(texts["te"]) == 3
    assert benchmark.source.choices["pool"] == pool
    assert benchmark.name == name


def test_miracl_without_titles_counts_passages_without_text(miracl_folders, tmp_path, caplog):
    benchmark = miracl.load(
        miracl_folders["full"], str(tmp_path), languages="te", title=False, require_counts=False
    )
    assert sorted(benchmark.passages) == ["దేశం", "నీరు"]
    assert benchmark.source.choices["empty_passages"] == "left out, 1 passages"
    assert "empty_passages" in caplog.text


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({}, "sw has 2 queries and 3 passages, released are 482 and 131,924"),
        ({"split": "test"}, "split=test must be one of dev, train"),
        ({"split": "train", "pool": "hard_negatives"}, "split=train must be one of dev"),
        ({"pool": "half"}, "pool=half must be one of full, hard_negatives"),
        (
            {"languages": ["sw", "xx"], "max_queries": 0},
            r"languages=\['sw', 'xx'\] must be .*; max_queries=0 must be at least 1",
        ),
        (
            {"languages": ["sw", "yo"]},
            "miracl-v1.0-yo/topics/topics.miracl-v1.0-yo-dev.tsv is missing",
        ),
    ],
)
def test_miracl_names_what_is_wrong(miracl_folders, tmp_path, choices, message):
    arguments = {"languages": "sw"} | choices
    with pytest.raises(ValueError, match=message):
        miracl.load(miracl_folders["full"], str(tmp_path), **arguments)


@pytest.mark.parametrize(
    ("part", "content", "message"),
    [
        ("sw-corpus", b"PAR1 no", "not parquet, or broken"),
        (
            "sw-queries",
            raw_data.encode_parquet([{"id": "7", "text": "x"}]),
            r"lacks the columns \['_id'\], it has \['id', 'text'\]",
        ),
        (
            "sw-qrels",
            raw_data.encode_parquet([{"query-id": "7", "corpus-id": "1#0", "score": "high"}]),
            "row 1: the score 'high' is not",
        ),
    ],
)
def test_broken_parquet_is_named(miracl_folders, tmp_path, part, content, message):
    for path in Path(miracl_folders["hard_negatives"]).glob("sw-*/*.parquet"):
        copy = tmp_path / path.parent.name / path.name
        copy.parent.mkdir()
        copy.write_bytes(content if path.parent.name == part else path.read_bytes())
    for _ in range(2):  # nothing of a failed load may be taken from the cache
        with pytest.raises(ValueError, match=message):
            miracl.load(
                str(tmp_path),
                str(tmp_path / "cache"),
                pool="hard_negatives",
                languages="sw",
                require_counts=False,
            )


def test_numbers_of_miracl_add_up_to_those_of_its_paper():
    """The paper has 106,332,152 passages and 13,495 dev queries in 18 languages."""
    totals = {}
    for pool, counts in miracl.RELEASED.items():
        queries = sum(language_queries for language_queries, _ in counts.values())
        passages = sum(language_passages for _, language_passages in counts.values())
        totals[pool] = (queries, passages, len(counts))
    assert totals == {
        "full": (13_495, 106_332_152, 18),
        "hard_negatives": (11_076, 2_449_382, 18),
    }


@pytest.fixture
def mldr_folder(tmp_path) -> str:
    pages = raw_data.build_mldr_pages()
    return fetch_pages(mldr.list_files(["de", "pt"]), pages, tmp_path / "mldr")


def test_a_query_of_mldr_finds_its_documents(mldr_folder, tmp_path):
    benchmark = mldr.load(mldr_folder, str(tmp_path), languages=["pt", "de"], require_counts=False)
    sizes = [len(texts) for texts in group_passages(benchmark).values()]
    assert find_answers(benchmark) == {
        ("de", "de:q-de-0"): {"de:doc-de-0"},
        ("de", "de:q-de-1"): {"de:doc-de-1"},
        ("pt", "pt:q-pt-0"): {"pt:doc-pt-0"},
        ("pt", "pt:q-pt-1"): {"pt:doc-pt-1"},
    }
    assert sizes == [3, 3]
    assert benchmark.passages[4].startswith("pt 1 pt 1")


def write_mldr_queries(folder: str, *queries: dict) -> None:
    path = Path(folder) / "mldr-v1.0-de/test.jsonl.gz"
    path.write_bytes(gzip.compress(raw_data.encode_json_lines(*queries)))


def test_all_positive_documents_of_mldr_are_relevant(mldr_folder, tmp_path):
    query = {
        "query_id": "q",
        "query": "x",
        "positive_passages": [{"docid": "doc-de-2"}, {"docid": "doc-de-0"}],
        "negative_passages": [{"docid": "doc-de-1"}],
    }
    write_mldr_queries(mldr_folder, query)
    benchmark = mldr.load(mldr_folder, str(tmp_path), languages="de", require_counts=False)
    assert find_answers(benchmark) == {("de", "de:q"): {"de:doc-de-0", "de:doc-de-2"}}


def test_mldr_names_what_is_wrong(mldr_folder, tmp_path):
    counts = "de has 2 queries and 3 passages, released are 200 and"
    for _ in range(2):  # the second time passages are taken from the cache
        with pytest.raises(ValueError, match=counts):
            mldr.load(mldr_folder, str(tmp_path), languages="de")
    choices = "split=train must be one of .*; unknown_passages=ignore must be one of error, drop"
    with pytest.raises(ValueError, match=choices):
        mldr.load(mldr_folder, str(tmp_path), split="train", unknown_passages="ignore")
    write_mldr_queries(
        mldr_folder,
        {"query_id": "q", "query": "x", "positive_passages": "y"},
        {"query_id": "q", "query": "x", "positive_passages": [{"id": 1}]},
    )
    with pytest.raises(ValueError) as raised:
        mldr.load(mldr_folder, str(tmp_path), languages="de", require_counts=False)
    assert "line 1: 'positive_passages' is 'y', need a list" in str(raised.value)
    assert "line 2: no key 'docid'" in str(raised.value)


def test_choices_of_mldr_are_on_the_card(mldr_folder, tmp_path):
    benchmark = mldr.load(mldr_folder, str(tmp_path), languages="de", require_counts=False)
    assert benchmark.source.choices == {
        "split": "test",
        "require_counts": "False",
        "max_queries": "all",
    }


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
    assert mldr.get_released_counts(language, split) == counts


@pytest.fixture
def squadshifts_folder(tmp_path) -> str:
    pages = raw_data.build_squadshifts_pages()
    return fetch_pages(squadshifts.list_files("nyt"), pages, tmp_path)


def test_squadshifts_finds_every_paragraph_of_the_same_text(squadshifts_folder):
    benchmark = squadshifts.load(squadshifts_folder, "nyt", require_counts=False)
    fewer = squadshifts.load(squadshifts_folder, "nyt", require_counts=False, max_queries=2)
    same_text = {"nyt:0", "nyt:2"}
    assert benchmark.passages == ["one", "two", "one", "three"]
    assert find_answers(benchmark) == {
        ("en", "nyt:a"): same_text,
        ("en", "nyt:b"): same_text,
        ("en", "nyt:c"): {"nyt:1"},
        ("en", "nyt:d"): same_text,
    }
    assert len(fewer.queries) == 2


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({}, "has 4 questions, released are 10,065"),
        ({"max_queries": 0}, "max_queries=0"),
        ({"domains": ["nyt", "bbc"]}, "domains=bbc must be one of amazon, new_wiki, nyt, reddit"),
        ({"domains": []}, "domains=none must be one of"),
        ({"domains": "reddit"}, "reddit_v1.0.json is missing"),
    ],
)
def test_squadshifts_names_what_is_wrong(squadshifts_folder, choices, message):
    arguments = {"domains": "nyt"} | choices
    with pytest.raises(ValueError, match=message):
        squadshifts.load(squadshifts_folder, **arguments)


@pytest.mark.parametrize("module", [belebele, miracl, mldr, squadshifts])
def test_a_card_names_revision_licence_and_paper(module):
    """The first seven digits of the revision stand in the address of every file too."""
    source = module.SOURCE
    revision = miracl.REVISIONS["full"] if module is miracl else source.revision
    urls = " ".join(file.url for file in module.list_files())
    assert source.licence and source.description and source.name
    assert re.search(r"\b20\d\d\b", source.citation)
    for part in revision.split(", "):
        commit = part.partition("@")[2][:7]
        assert re.fullmatch("[0-9a-f]{7}", commit)
        assert commit in urls
