"""Benchmarks from data sets of a hub on loopback, by real processes with the real libraries."""

from pathlib import Path

import pytest

from tests.support.hub_child import load_from_hub
from tests.support.hub_server import find_commit, serving_hub
from tests.support.raw_data import encode_json_lines
from tests.support.raw_sources import encode_columns

PARALLEL = ("sw", "te")


def write_card(*configurations: tuple[str, str, str]) -> bytes:
    """Returns a card that names a split and its files for each configuration."""
    lines = ["---", "license: mit", "configs:"]
    for name, split, path in configurations:
        lines.append(f"- config_name: {name}")
        lines.append("  data_files:")
        lines.append(f"  - split: {split}")
        lines.append(f"    path: {path}")
    return "\n".join([*lines, "---", ""]).encode()


def list_language_files() -> dict[str, bytes]:
    """Returns the files of a data set with three tables for each language."""
    configurations = []
    files = {}
    for language in PARALLEL:
        for table in ("corpus", "queries", "qrels"):
            name = f"{language}-{table}"
            configurations.append((name, "dev", f"{name}/*.parquet"))
        passages = {"docid": ["1", "2"], "text": [f"{language} p1", f"{language} p2"]}
        queries = {"query_id": [7], "query": [f"{language} q"]}
        qrels = {"query_id": [7, 7], "docid": ["1", "2"], "score": [0, 1]}
        files[f"{language}-corpus/dev.parquet"] = encode_columns(**passages)
        files[f"{language}-queries/dev.parquet"] = encode_columns(**queries)
        files[f"{language}-qrels/dev.parquet"] = encode_columns(**qrels)
    files["README.md"] = write_card(*configurations)
    return files


def list_files_of_mteb() -> dict[str, bytes]:
    """Returns the files of a data set as mteb uploads it, with a pair of languages as a subset."""
    configurations = []
    files = {}
    for subset in ("deu-deu", "eng-eng", "deu-eng"):
        query_language, passage_language = subset.split("-")
        tables = {
            "corpus": {"id": ["1", "2"], "text": [f"{passage_language} p{i}" for i in (1, 2)]},
            "queries": {"id": ["7"], "text": [f"{query_language} q"]},
            "qrels": {"query-id": ["7", "7"], "corpus-id": ["1", "2"], "score": [0, 2]},
        }
        for table, columns in tables.items():
            name = f"{subset}-{table}"
            configurations.append((name, "validation", f"{name}/*.parquet"))
            files[f"{name}/validation-00000-of-00001.parquet"] = encode_columns(**columns)
    files["README.md"] = write_card(*configurations)
    return files


SINGLE_CARD = write_card(
    ("corpus", "corpus", "corpus/*"),
    ("queries", "queries", "queries.jsonl"),
    ("default", "test", "qrels/test.tsv"),
    ("dev", "dev", "qrels/dev.tsv"),
)
PASSAGES = [
    {"_id": "1", "title": "T", "text": "p1"},
    {"_id": "2", "title": "", "text": "p2"},
    {"_id": "3", "title": None, "text": ""},
]
SINGLE = {
    "README.md": SINGLE_CARD,
    "corpus/a.jsonl": encode_json_lines(*PASSAGES[:1]),
    "corpus/b.jsonl": encode_json_lines(*PASSAGES[1:]),
    "queries.jsonl": encode_json_lines({"_id": "a", "text": "qa"}, {"_id": "b", "text": "qb"}),
    "qrels/test.tsv": b"query-id\tcorpus-id\tscore\na\t1\t2\na\t2\t1\nb\t2\t1\n",
    "qrels/dev.tsv": b"query-id\tcorpus-id\tscore\na\t9\t1\nb\t2\tx\n",
}
ODD = {
    "README.md": write_card(
        ("docs", "all", "d.csv"), ("topics", "all", "q.csv"), ("j", "x", "j.csv")
    ),
    "d.csv": b"key,id,body\n1,x,p1\n1,y,p2\n",
    "q.csv": b"id,text,language,question_id\n1,q1,en,k\n2,q2,de,k\n",
    "j.csv": b"qid,docid,mark\n1,x,1\n",
}
ODD_NAMES = {"configurations": {"corpus": "docs", "queries": "topics", "qrels": "j"}}
ODD_COLUMNS = {"corpus": {"id": "id", "text": "body"}, "qrels": {"score": "mark"}}
DEV = {"configurations": {"qrels": "dev"}, "splits": {"qrels": "dev"}}
LANGUAGES = {"repository": "owner/languages", "splits": {"qrels": "dev"}}
MTEB = {"repository": "owner/mteb", "splits": {"qrels": "validation"}}
PAIR = {table: f"deu-eng-{table}" for table in ("corpus", "queries", "qrels")}
# Name of a case -> keys of conf/benchmark/hub.yaml.
CASES = {
    "single": {},
    "streamed": {"streaming": True},
    "no titles": {"title": False},
    "one query": {"max_queries": 1},
    "languages": LANGUAGES,
    "a language": {**LANGUAGES, "languages": ["te"]},
    "unknown language": {**LANGUAGES, "languages": ["xx"]},
    "named": {
        **LANGUAGES,
        "configurations": {
            "corpus": "{language}-corpus",
            "queries": "{language}-queries",
            "qrels": "{language}-qrels",
        },
    },
    "half named": {**LANGUAGES, "configurations": {"qrels": "sw-qrels", "queries": "{language}-x"}},
    "unknown split": {"splits": {"qrels": "dev"}},
    "wrong judgements": DEV,
    "dropped": {**DEV, "unknown_passages": "drop"},
    "odd": {"repository": "owner/odd"},
    "odd named": {
        "repository": "owner/odd",
        **ODD_NAMES,
        "columns": ODD_COLUMNS,
        "splits": {"qrels": "x"},
    },
    "odd columns": {"repository": "owner/odd", **ODD_NAMES, "splits": {"qrels": "x"}},
    "wrong choices": {
        "columns": {"corpus": {"txt": "text"}, "passages": {}},
        "configurations": {"passages": "corpus"},
        "splits": {"topics": "test"},
        "max_queries": 0,
    },
    "mteb": MTEB,
    "pair of mteb": {
        **MTEB,
        "configurations": PAIR,
        "language": "en",
        "query_language": "de",
    },
    "query language": {**MTEB, "query_language": "de"},
    "wrong rule": {"unknown_passages": "hide"},
}


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> dict[str, dict]:
    """What each case gives, with a network; and without one under its name and "again"."""
    home = tmp_path_factory.mktemp("home")
    datasets = {
        "owner/single": SINGLE,
        "owner/languages": list_language_files(),
        "owner/mteb": list_files_of_mteb(),
        "owner/odd": ODD,
    }
    with serving_hub(datasets=datasets) as hub:
        answers = load_from_hub(hub.url, home, list_requests(tmp_path_factory.mktemp("cache")))
        asked = len(hub.asked)
        requests = list_requests(tmp_path_factory.mktemp("cache"))
        again = load_from_hub(hub.url, home, requests, offline=True)
        assert len(hub.asked) == asked
    results = dict(zip(CASES, answers, strict=True))
    for case, answer in zip(CASES, again, strict=True):
        results[f"{case} again"] = answer
    return results


def list_requests(cache: Path) -> list[tuple[str, dict]]:
    requests = []
    for keys in CASES.values():
        complete = {"repository": "owner/single", "revision": "main", "cache": str(cache), **keys}
        requests.append(("benchmark", complete))
    return requests


def test_tables_in_one_language_are_joined_with_their_grades(results):
    single = results["single"]
    assert single.get("relevant") == {"qa": ["T p1", "p2"], "qb": ["p2"]}, single
    assert single["grades"] == [[2, 1], [1]]
    assert single["passages"] == ["T p1", "p2"]
    assert list(single["languages"]) == ["und"]
    card = single["card"]
    assert card["revision"] == f"owner/single@{find_commit('owner/single', 'main')}"
    assert card["licence"] == "mit"
    assert "1 passages" in card["choices"]["empty_passages"]
    assert results["streamed"] == single
    assert results["no titles"]["passages"] == ["p1", "p2"]
    assert results["one query"]["relevant"].keys() <= {"qa", "qb"}
    assert len(results["one query"]["relevant"]) == 1


def test_tables_for_each_language_are_one_benchmark(results):
    languages = results["languages"]
    assert languages.get("relevant") == {"sw q": ["sw p2"], "te q": ["te p2"]}, languages
    assert list(languages["languages"]) == ["sw", "te"]
    assert results["named"] == languages
    assert results["a language"]["relevant"] == {"te q": ["te p2"]}


def test_a_data_set_of_mteb_is_read_in_all_its_languages(results):
    of_mteb = results["mteb"]
    assert of_mteb.get("relevant") == {"deu q": ["deu p2"], "eng q": ["eng p2"]}, of_mteb
    assert list(of_mteb["languages"]) == ["de", "en"]
    assert "tell the language; leave it out" in results["query language"]["error"]


def test_a_cross_lingual_subset_of_mteb_is_read_by_its_names(results):
    pair = results["pair of mteb"]
    assert pair.get("relevant") == {"deu q": ["eng p2"]}, pair
    assert list(pair["languages"]) == ["de", "en"]


def test_columns_and_configurations_of_other_names_are_named(results):
    odd = results["odd named"]
    assert odd.get("relevant") == {"q1": ["p1"]}, odd
    assert list(odd["languages"]) == ["de", "en", "und"]
    error = results["odd"]["error"]
    assert "none is called {language}-corpus, for corpus" in error
    assert "there are docs, topics, j. Name them, as in" in error
    error = results["odd columns"]["error"]
    assert "owner/odd/d.csv, row 1: no key 'text', there are 'key', 'id', 'body'" in error
    assert "owner/odd/j.csv, row 1: the score None is not a number" in error


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("unknown language", "languages=['xx'] must be at least one and only some of ['sw', 'te']"),
        ("half named", "none is called {language}-x, for queries"),
        ("unknown split", "configuration default has the splits test"),
        ("wrong judgements", "qrels/dev.tsv, row 2: the score 'x' is not a number"),
        ("wrong judgements", "qrels/dev.tsv, row 1: there is no passage '9'"),
        ("wrong choices", "columns.corpus.txt must be one of id, text, title, language"),
        ("wrong choices", "columns.passages must be one of corpus, queries, qrels"),
        ("wrong choices", "configurations.passages must be one of corpus, queries, qrels"),
        ("wrong choices", "splits.topics must be one of corpus, queries, qrels"),
        ("wrong choices", "max_queries=0 must be at least 1"),
        ("wrong rule", "unknown_passages='hide' must be one of error, drop, keep"),
    ],
)
def test_what_is_wrong_is_said_with_what_there_is(results, case, message):
    assert message in results[case].get("error", ""), results[case]


def test_without_a_network_the_cache_serves_the_same(results):
    for case in CASES:
        assert results[f"{case} again"] == results[case]
