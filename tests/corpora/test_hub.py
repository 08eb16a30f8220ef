"""Corpora from data sets of a hub on loopback, by real processes with the real libraries."""

import gzip
import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.hub_child import load_from_hub
from tests.support.hub_server import find_commit, serving_hub
from tests.support.raw_sources import encode_columns


def encode_table(table: pa.Table) -> bytes:
    """Returns a Parquet file with the types of a table."""
    file = io.BytesIO()
    pq.write_table(table, file)
    return file.getvalue()


COMMIT = find_commit("owner/set", "main")
COLUMNS = {"query": {"en": "q"}, "passage": {"en": "p"}}
CARD = """---
license: cc-by-4.0
configs:
- config_name: en
  data_files:
  - split: train
    path: en/train-*.parquet
  - split: test
    path: en/test.parquet
- config_name: de
  data_files: de/*.jsonl.gz
- config_name: tabs
  data_dir: tabs
---
"""
LINES = [{"query_de": "f", "passage_de": "a"}, {"query_de": "g", "passage_de": None}]
FILES = {
    "README.md": CARD.encode(),
    "en/train-0.parquet": encode_columns(q=["a", "b"], p=["x", "y"]),
    "en/train-1.parquet": encode_columns(q=["c"], p=["z"]),
    "en/test.parquet": encode_columns(q=["t"], p=["u"]),
    "de/x.jsonl.gz": gzip.compress("".join(json.dumps(line) + "\n" for line in LINES).encode()),
    "tabs/train.tsv": b"id\tquery_en\tpassage_en\n007\tnull\tNA\n8\t1\t2\n",
    "other/x.csv": b'q,p\n"a, b",x\n',
    "other/types.parquet": encode_table(
        pa.table(
            {
                "q": pa.array(["d", "e"]).dictionary_encode(),
                "p": pa.array(["r", "s"], pa.large_string()),
            }
        )
    ),
    "bad/cut.parquet": encode_columns(q=["a"], p=["x"])[:-20],
    "bad/cut.jsonl.gz": gzip.compress(json.dumps(LINES).encode())[:-12],
    "bad/x.txt": b"text",
}
PLAIN_FILES = {"train.csv": b"query_en,passage_en\nq,p\n", "notes.txt": b"notes"}
# Name of a case -> keys of conf/corpus/hub.yaml; the revision is main, the columns are q and p.
CASES = {
    "en": {"configuration": "en"},
    "branch": {"configuration": "en", "revision": "main", "name": "branch"},
    "streamed": {"configuration": "en", "streaming": True, "name": "streamed", "split": "test"},
    "test": {"configuration": "en", "split": "test"},
    "de": {"configuration": "de", "columns": None},
    "de skipped": {"configuration": "de", "columns": None, "errors": "skip"},
    "tabs": {"configuration": "tabs", "columns": None},
    "pattern": {"files": "other/*"},
    "several": {"files": ["en/test.parquet", "other/x.csv"]},
    "no cards": {"repository": "owner/plain", "columns": None},
    "unknown repository": {"repository": "owner/other"},
    "no repository": {"repository": "a/b/c"},
    "unknown revision": {"revision": "abc", "configuration": "en"},
    "other commit": {"revision": "a" * 40, "configuration": "en"},
    "no configuration": {},
    "unknown configuration": {"configuration": "fr"},
    "unknown split": {"configuration": "en", "split": "dev"},
    "unknown files": {"files": "fr/*"},
    "unreadable files": {"files": "bad/x.txt"},
    "both": {"files": "other/*", "split": "train"},
    "folder": {"configuration": "en", "folder": "hub"},
    "cut parquet": {"files": "bad/cut.parquet"},
    "cut lines": {"files": "bad/cut.jsonl.gz", "columns": None},
    "gated": {"repository": "owner/gated"},
    "wrong columns": {"configuration": "en", "columns": {"query": {"en": "r"}}},
}


def complete(cache: Path, case: str) -> tuple[str, dict]:
    """Returns the request of a case."""
    keys = {"repository": "owner/set", "revision": COMMIT, "columns": COLUMNS}
    return "corpus", {**keys, "cache": str(cache), **CASES[case]}


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def hub():
    datasets = {"owner/set": FILES, "owner/plain": PLAIN_FILES, "owner/gated": PLAIN_FILES}
    with serving_hub(datasets=datasets, gated=("owner/gated",), tokens=("mine",)) as server:
        yield server


@pytest.fixture(scope="module")
def results(hub, home, tmp_path_factory) -> dict[str, dict]:
    """What each case gives, loaded in this order with a network."""
    cache = tmp_path_factory.mktemp("cache")
    answers = load_from_hub(hub.url, home, [complete(cache, case) for case in CASES])
    return dict(zip(CASES, answers, strict=True))


def pair(query: str, passage: str, language: str = "en") -> list:
    return [{language: query}, {language: passage}, []]


@pytest.mark.parametrize(
    ("case", "pairs"),
    [
        ("en", [pair("a", "x"), pair("b", "y"), pair("c", "z")]),
        ("streamed", [pair("t", "u")]),
        ("test", [pair("t", "u")]),
        ("de skipped", [pair("f", "a", "de")]),
        ("tabs", [pair("1", "2"), pair("null", "NA")]),
        ("pattern", [pair("a, b", "x"), pair("d", "r"), pair("e", "s")]),
        ("several", [pair("a, b", "x"), pair("t", "u")]),
        ("no cards", [pair("q", "p")]),
        ("other commit", [pair("a", "x"), pair("b", "y"), pair("c", "z")]),
    ],
)
def test_what_the_files_hold_is_in_the_corpus(results, case, pairs):
    assert results[case].get("pairs") == pairs, results[case]


def test_the_card_names_the_commit_of_a_branch_and_the_choice(results):
    card = results["branch"]["card"]
    assert card["revision"] == f"owner/set@{COMMIT}"
    assert card["choices"] == {"configuration": "en", "split": "train"}
    assert card["licence"] == "cc-by-4.0"
    assert results["several"]["card"]["choices"] == {"files": "en/test.parquet, other/x.csv"}
    assert results["no cards"]["card"]["licence"] == "see its card"


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("de", "owner/set/de/x.jsonl.gz, row 2: no passage in any language"),
        ("unknown repository", "repository=owner/other: the data set owner/other of the Hugging"),
        ("no repository", "repository='a/b/c' must be owner/name of a data set"),
        ("unknown revision", "revision=abc: the data set owner/set of the Hugging Face hub has no"),
        ("no configuration", "has the configurations en, de, tabs: choose one with configuration="),
        (
            "unknown configuration",
            f"configuration=fr: owner/set at {COMMIT} has the configurations",
        ),
        (
            "unknown split",
            f"split=dev: owner/set at {COMMIT}, configuration en has the splits train",
        ),
        ("unknown files", f"files=['fr/*']: owner/set at {COMMIT} has no such file, but README.md"),
        ("unreadable files", "bad/x.txt of owner/set cannot be read; files must end in .parquet"),
        ("both", "names the files, so that configuration=None and split=train have nothing to"),
        ("folder", "corpus.folder=hub: the files of the hub are kept where HF_HOME says"),
        ("cut parquet", "owner/set/bad/cut.parquet cannot be read as parquet"),
        ("cut lines", "owner/set/bad/cut.jsonl.gz"),
        ("gated", "the data set owner/gated of the Hugging Face hub is gated: ask for access"),
        (
            "wrong columns",
            "en/train-0.parquet: no column 'r'; no column passage_LL; there are q, p",
        ),
    ],
)
def test_what_cannot_be_loaded_is_said_with_what_there_is(results, case, message):
    assert message in results[case].get("error", ""), results[case]


def test_without_a_network_the_cache_serves_what_was_loaded(hub, home, results, tmp_path):
    cases = ("en", "branch", "streamed", "pattern", "no cards", "other commit", "gated")
    asked = len(hub.asked)
    requests = [complete(tmp_path, case) for case in cases]
    answers = load_from_hub(hub.url, home, requests, offline=True)
    assert len(hub.asked) == asked
    for case, answer in zip(cases[:-1], answers[:-1], strict=True):
        assert answer == results[case]
    assert "is not in the cache and cannot be fetched" in answers[-1]["error"]


def test_without_a_network_an_incomplete_cache_is_refused(hub, tmp_path):
    """The library datasets itself would give the files that it has, of whatever commit."""
    requests = [complete(tmp_path / "cache", "test")]
    [answer] = load_from_hub(hub.url, tmp_path, requests)
    assert "error" not in answer
    incomplete = [complete(tmp_path / "cache", "en")]
    other_commit = ("corpus", {**incomplete[0][1], "revision": "b" * 40})
    answers = load_from_hub(hub.url, tmp_path, [*incomplete, other_commit], offline=True)
    assert "is not in the cache and cannot be fetched" in answers[0]["error"]
    assert "is not in the cache and cannot be fetched" in answers[1]["error"]


def test_a_token_opens_what_is_gated(hub, tmp_path):
    keys = {"repository": "owner/gated", "revision": "main", "cache": str(tmp_path / "cache")}
    [answer] = load_from_hub(hub.url, tmp_path, [("corpus", keys)], token="mine")
    assert answer.get("pairs") == [pair("q", "p")], answer


def test_a_stream_keeps_no_copy_of_the_files(hub, tmp_path):
    group, keys = complete(tmp_path / "cache", "en")
    [answer] = load_from_hub(hub.url, tmp_path, [(group, {**keys, "streaming": True})])
    assert len(answer["pairs"]) == 3, answer
    assert not list((tmp_path / "hub").rglob("*.parquet"))


def test_a_damaged_file_of_the_cache_is_noticed_and_fetched_anew(hub, tmp_path):
    requests = [complete(tmp_path / "a", "test")]
    [whole] = load_from_hub(hub.url, tmp_path, requests)
    [link] = tmp_path.rglob("en/test.parquet")
    content = link.read_bytes()
    link.resolve().write_bytes(content[:60] + b"x" + content[61:])
    requests = [complete(tmp_path / "b", "test"), complete(tmp_path / "b", "test")]
    answers = load_from_hub(hub.url, tmp_path, requests)
    assert "test.parquet is not the file that the hub announces" in answers[0]["error"]
    assert answers[1] == whole
