"""Every key of conf/corpus and conf/benchmark: another value loads other data, or is refused."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset, DatasetDict

from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.runs.building import build
from hybrid_ir.runs.conf import compose_config
from hybrid_ir.runs.errors import describe_error
from tests.support import raw_data
from tests.support.benchmarks import write_beir_folder
from tests.support.corpora import list_pairs, write_json_lines
from tests.support.hub_server import serving_hub, using_hub
from tests.support.raw_sources import PASSAGES, SETS, build_entity_questions_archive, encode_columns


@dataclass(frozen=True)
class Loaded:
    """Another value of a key loads something else, or is refused.

    Args:
        change: KEY=VALUE.
        message: of the refusal; None if the data is loaded.
        look: returns what must be different of the data; None compares all of it.
        base: choices of both, beside those of the data set.
    """

    change: str
    message: str | None = None
    look: Callable[[Any], Any] | None = None
    base: tuple[str, ...] = ()


COLUMNS = "columns={query: {en: q}, passage: {en: p}}"
# The choices with which each small copy loads.
BASES: dict[str, list[str]] = {
    "corpus/beir": ["path=beir", "language=en"],
    "corpus/flagembedding": ["path=lists.jsonl", "language=en"],
    "corpus/tevatron": ["path=passages.jsonl", "language=en"],
    "corpus/cldr_facts": ["languages=[de,en]"],
    "corpus/entity_questions": ["passages=wiki.tsv", "require_counts=false"],
    "corpus/folder": ["path=folder"],
    "corpus/datasets": ["path=saved/train", COLUMNS],
    "corpus/hub": ["repository=owner/set", f"revision={'a' * 40}", "configuration=en", COLUMNS],
    "corpus/jsonl": ["path=pairs.jsonl"],
    "corpus/mixture": [],
    "corpus/mlqa_r": ["languages=[de,en]"],
    "corpus/parquet": ["path=a.parquet", COLUMNS],
    "corpus/tsv": ["path=tsv"],
    "benchmark/beir_folder": ["folder=beir_folders"],
    "benchmark/belebele": ["languages=[eng_Latn,hin_Deva]"],
    "benchmark/cldr_facts": ["languages=[de,en]"],
    "benchmark/cldr_facts_dev": ["languages=[de,en]"],
    "benchmark/hub": ["repository=owner/set", f"revision={'a' * 40}"],
    "benchmark/miracl": ["languages=[sw,te]", "require_counts=false"],
    "benchmark/miracl_hard_negatives": ["languages=[sw,te]", "require_counts=false"],
    "benchmark/mldr": ["languages=[de,pt]", "require_counts=false"],
    "benchmark/mlqa_r": ["languages=[de,en]"],
    "benchmark/squadshifts": ["domains=[nyt]", "require_counts=false"],
    "benchmark/xquad_r": ["languages=[de,en]"],
}
for name, (choices, _, _) in SETS.items():
    BASES[f"corpus/{name}"] = [*choices, "require_counts=false"]
BASES["corpus/mfaq"] = SETS["mfaq"][0]
REAL = ("corpus/mlqa_r", "benchmark/mlqa_r", "benchmark/xquad_r")  # of which there is no small copy

ROWS: dict[tuple[str, str], Loaded] = {}


def look_at_name(corpus: ParallelCorpus) -> str:
    return corpus.source.name


def look_at_languages(data: Any) -> tuple[str, ...]:
    return data.languages


def look_at_cache(_: Any) -> bool:
    return any(Path("cache2").glob("*/*"))


def look_at_copy(_: Any) -> bool:
    return Path("copy").exists()


for name in (*SETS, "entity_questions"):
    owner = f"corpus/{name}"
    ROWS[owner, "folder"] = Loaded("folder=nowhere", f"files of {name} are missing")
    ROWS[owner, "cache"] = Loaded("cache=cache2", look=look_at_cache)
    ROWS[owner, "languages"] = Loaded("languages=[xx]", "languages=['xx']")
    if name != "mfaq":
        ROWS[owner, "require_counts"] = Loaded("require_counts=true", "require_counts=false takes")
for name in (
    "jsonl",
    "parquet",
    "tsv",
    "beir",
    "hub",
    "datasets",
    "flagembedding",
    "tevatron",
):
    owner = f"corpus/{name}"
    ROWS[owner, "cache"] = Loaded("cache=cache2", look=look_at_cache)
    ROWS[owner, "name"] = Loaded("name=other", look=look_at_name)
    ROWS[owner, "to"] = Loaded("to=copy", look=look_at_copy)
    ROWS[owner, "max_characters"] = Loaded("max_characters=5", "max_characters=5: ")
    ROWS[owner, "languages"] = Loaded("languages=[xx]", "the language code 'xx' is not known")
    ROWS[owner, "errors"] = Loaded("errors=skip", base=("max_characters=19",))
    ROWS[owner, "twins"] = Loaded("twins=true", "language")
    ROWS[owner, "path"] = Loaded("path=nowhere", "nowhere")
del ROWS["corpus/hub", "path"]
for name in ("flagembedding", "tevatron"):
    del ROWS[f"corpus/{name}", "twins"]
    ROWS[f"corpus/{name}", "language"] = Loaded("language=fr", look=look_at_languages)
    ROWS[f"corpus/{name}", "negatives"] = Loaded("negatives=1")
for name in ("beir_folder", "belebele", "miracl", "miracl_hard_negatives", "mldr", "squadshifts"):
    owner = f"benchmark/{name}"
    ROWS[owner, "folder"] = Loaded("folder=nowhere", "nowhere")
    ROWS[owner, "languages"] = Loaded("languages=[xx]", "languages=")
    ROWS[owner, "max_queries"] = Loaded("max_queries=1")
del ROWS["benchmark/squadshifts", "languages"]
for name in ("miracl", "miracl_hard_negatives", "mldr", "squadshifts"):
    owner = f"benchmark/{name}"
    ROWS[owner, "require_counts"] = Loaded("require_counts=true", "released are")
for name in ("miracl", "miracl_hard_negatives", "mldr", "beir_folder"):
    owner = f"benchmark/{name}"
    ROWS[owner, "cache"] = Loaded("cache=cache2", look=look_at_cache)
    ROWS[owner, "split"] = Loaded("split=other", "other")
    ROWS[owner, "unknown_passages"] = Loaded("unknown_passages=all", "must be one of error, drop")
for name in ("miracl", "miracl_hard_negatives", "beir_folder"):
    ROWS[f"benchmark/{name}", "title"] = Loaded("title=false")
# Facts that this process knows are not stored again: each row has languages of its own.
for owner, languages in (
    ("corpus/cldr_facts", "languages=[ar,el]"),
    ("benchmark/cldr_facts", "languages=[hi,tr]"),
    ("benchmark/cldr_facts_dev", "languages=[vi,zh]"),
):
    ROWS[owner, "cache"] = Loaded("cache=cache2", look=look_at_cache, base=(languages,))
for name in ("mlqa_r", "xquad_r"):
    owner = f"benchmark/{name}"
    ROWS[owner, "folder"] = Loaded("folder=nowhere", "nowhere")
    ROWS[owner, "languages"] = Loaded("languages=[de]", look=look_at_languages)
    ROWS[owner, "max_queries"] = Loaded("max_queries=1")
    ROWS[owner, "queries"] = Loaded("queries=some", "must be one of all, distinct_text")
    ROWS[owner, "candidates"] = Loaded("candidates=paragraph")
MIXED = (
    "parts.a={_target_: hybrid_ir.corpora.sources.own.from_jsonl, path: pairs.jsonl, cache: cache}",
    "parts.b={_target_: hybrid_ir.corpora.sources.own.from_tsv, path: tsv, cache: cache}",
)


def look_at_weights(mixture: Any) -> tuple:
    return mixture.part_weights


def look_at_parts(mixture: Any) -> list:
    parts = []
    for part in mixture.parts:
        kinds = [part.availability.count_pairs()[0], part.availability.count_pairs()[1]]
        parts.append([str(kinds), part.usable_pair_count])
    return parts


ROWS |= {
    ("corpus/cldr_facts", "languages"): Loaded("languages=[en]", look=look_at_languages),
    ("corpus/beir", "language"): Loaded("language=fr", look=look_at_languages),
    ("corpus/beir", "split"): Loaded("split=dev"),
    ("corpus/entity_questions", "passages"): Loaded("passages=nowhere.tsv", "is no file"),
    ("corpus/folder", "path"): Loaded("path=nowhere", "nowhere is no corpus"),
    ("corpus/folder", "languages"): Loaded("languages=[de]", look=look_at_languages),
    ("corpus/datasets", "split"): Loaded("split=test", base=("path=saved", "split=train")),
    ("corpus/datasets", "columns"): Loaded("columns={query: {en: q}, passage: {en: r}}", "'r'"),
    ("corpus/hub", "repository"): Loaded("repository=owner/other", "owner/other"),
    ("corpus/hub", "revision"): Loaded("revision=def", "def"),
    ("corpus/hub", "configuration"): Loaded("configuration=fr", "the configurations en, corpus"),
    ("corpus/hub", "split"): Loaded("split=dev"),
    ("corpus/hub", "files"): Loaded("files=['b.parquet']", "names the files, so that conf"),
    ("corpus/hub", "columns"): Loaded("columns={query: {en: q}, passage: {en: r}}", "'r'"),
    ("corpus/hub", "streaming"): Loaded("streaming=perhaps", "streaming"),
    ("corpus/hub", "folder"): Loaded("folder=hub", "kept where HF_HOME says"),
    ("benchmark/hub", "repository"): Loaded("repository=owner/other", "owner/other"),
    ("benchmark/hub", "revision"): Loaded("revision=def", "def"),
    ("benchmark/hub", "configurations"): Loaded(
        "configurations={qrels: topics}", "none is called topics, for qrels"
    ),
    ("benchmark/hub", "splits"): Loaded("splits={qrels: dev}"),
    ("benchmark/hub", "columns"): Loaded("columns={corpus: {text: body}}", "no column 'body'"),
    ("benchmark/hub", "language"): Loaded("language=fr", look=look_at_languages),
    ("benchmark/hub", "query_language"): Loaded("query_language=fr", look=look_at_languages),
    ("benchmark/hub", "languages"): Loaded("languages=[xx]", "languages="),
    ("benchmark/hub", "max_queries"): Loaded("max_queries=1"),
    ("benchmark/hub", "streaming"): Loaded("streaming=perhaps", "streaming"),
    ("benchmark/hub", "cache"): Loaded("cache=cache2", look=look_at_cache),
    ("benchmark/hub", "title"): Loaded("title=false"),
    ("benchmark/hub", "unknown_passages"): Loaded(
        "unknown_passages=hide", "must be one of error, drop, keep"
    ),
    ("benchmark/hub", "empty_passages"): Loaded("empty_passages=keep"),
    ("benchmark/hub", "ignore_identical_ids"): Loaded(
        "ignore_identical_ids=false", look=lambda data: data.source.choices
    ),
    ("benchmark/hub", "relevance_threshold"): Loaded(
        "relevance_threshold=-1", "relevance_threshold=-1"
    ),
    ("corpus/parquet", "columns"): Loaded("columns={query: {en: q}, passage: {en: r}}", "'r'"),
    ("corpus/miracl_train", "negatives"): Loaded("negatives=0"),
    ("corpus/mmarco", "negatives"): Loaded("negatives=1"),
    ("corpus/mmarco", "rows"): Loaded("rows=triples"),
    ("corpus/mr_tydi", "negatives"): Loaded("negatives=2"),
    ("corpus/swim_ir", "variant"): Loaded("variant=monolingual", "languages=['zh'] of swim_ir"),
    ("corpus/mlqa_r", "folder"): Loaded("folder=nowhere", "nowhere"),
    ("corpus/mlqa_r", "languages"): Loaded("languages=[en]", look=look_at_languages),
    ("corpus/mlqa_r", "exclude_articles"): Loaded("exclude_articles=[]", look=len),
    ("corpus/mixture", "parts"): Loaded(f"+{MIXED[1]}", base=(f"+{MIXED[0]}",), look=len),
    ("benchmark/cldr_facts", "split"): Loaded("split=dev"),
    ("benchmark/cldr_facts", "languages"): Loaded("languages=[en]", look=look_at_languages),
    ("benchmark/cldr_facts", "max_queries"): Loaded("max_queries=1"),
    ("benchmark/cldr_facts_dev", "split"): Loaded("split=test"),
    ("benchmark/cldr_facts_dev", "languages"): Loaded("languages=[en]", look=look_at_languages),
    ("benchmark/cldr_facts_dev", "max_queries"): Loaded("max_queries=1"),
    ("benchmark/cldr_facts_dev", "pool"): Loaded("pool=all"),
    ("benchmark/beir_folder", "empty_passages"): Loaded(
        "empty_passages=keep", base=("folder=beir_oddities",)
    ),
    ("benchmark/beir_folder", "ignore_identical_ids"): Loaded(
        "ignore_identical_ids=false",
        look=lambda benchmark: benchmark.own_passages,
        base=("folder=beir_oddities",),
    ),
    ("benchmark/beir_folder", "relevance_threshold"): Loaded(
        "relevance_threshold=2", look=lambda benchmark: benchmark.least_relevant_grade
    ),
    ("benchmark/beir_folder", "language"): Loaded(
        "language=fr", look=look_at_languages, base=("folder=beir",)
    ),
    ("benchmark/miracl", "pool"): Loaded("pool=half", "must be one of full, hard_negatives"),
    ("benchmark/miracl_hard_negatives", "pool"): Loaded(
        "pool=half", "must be one of full, hard_negatives"
    ),
    ("benchmark/squadshifts", "domains"): Loaded("domains=[bbc]", "domains=bbc must be one of"),
}
OF_BOTH = tuple(f"+{part}" for part in MIXED)
for key, row in {
    "name": Loaded("name=other", look=look_at_name),
    "tau": Loaded("tau=0", look=look_at_weights, base=("+sizes.a=9",)),
    "sizes": Loaded("+sizes.a=1000", look=look_at_weights),
    "weights": Loaded("+weights.a=3", look=look_at_weights),
    "languages": Loaded("languages=[en]", look=look_at_languages),
    "languages_of": Loaded("+languages_of.a=[en]", look=look_at_parts),
    "kinds": Loaded("+kinds.a=[nothing]", "nothing"),
    "left_out": Loaded("+left_out.c=unknown", look=lambda mixture: mixture.left_out),
}.items():
    ROWS["corpus/mixture", key] = replace(row, base=(*OF_BOTH, *row.base))


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with small copies of all data sets."""
    place = tmp_path_factory.mktemp("data_sets")
    for name, (_, contents, _) in SETS.items():
        write_files(place / "data" / name, contents)
    archive = {"dataset.zip": build_entity_questions_archive()}
    write_files(place / "data" / "entity_questions", archive)
    (place / "wiki.tsv").write_text(PASSAGES)
    write_own_data(place)
    for name, pages in {
        "belebele": raw_data.build_belebele_pages("eng_Latn", "hin_Deva"),
        "miracl": raw_data.build_miracl_pages(),
        "miracl-hard-negatives": raw_data.build_hard_negatives_pages(),
        "mldr": raw_data.build_mldr_pages(),
        "squadshifts": raw_data.build_squadshifts_pages(),
    }.items():
        write_pages(place / "data" / name, name, pages)
    return place


def write_files(folder: Path, contents: dict[str, bytes]) -> None:
    for name, content in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def write_pages(folder: Path, name: str, pages: dict[str, bytes]) -> None:
    """Writes the pages of a server to where the files of a benchmark are."""
    module = import_module(f"hybrid_ir.evaluation.benchmarks.{name.partition('-')[0]}")
    choices: dict[str, Any] = {"pool": "hard_negatives"} if name.endswith("negatives") else {}
    for file in module.list_files(**choices):
        page = "/" + file.url.split("/", 3)[3]
        if page in pages:
            write_files(folder, {file.path: pages[page]})


def to_tevatron(line: dict[str, Any]) -> dict[str, Any]:
    """Returns a line of FlagEmbedding in the form of tevatron."""
    return {
        "query_id": line["query"],
        "query": line["query"],
        "positive_passages": [{"docid": "p", "text": text} for text in line["pos"]],
        "negative_passages": [{"docid": "n", "title": "", "text": text} for text in line["neg"]],
    }


def write_own_data(place: Path) -> None:
    """Writes pairs in every form of one's own data, in English and some of them in German."""
    texts = [("how many is 0", "0 is few"), ("how many is 1", "1 is one more than it")]
    records = []
    for number, (query, passage) in enumerate(texts):
        record = {"id": str(number), "query": {"en": query}, "passage": {"en": passage}}
        if number == 0:
            record["query"]["de"] = "wie viele"
            record["passage"]["de"] = "wenige"
        records.append(record)
    path = write_json_lines(place / "pairs.jsonl", *records)
    columns = {"q": [query for query, _ in texts], "p": [passage for _, passage in texts]}
    write_files(place, {"a.parquet": encode_columns(**columns)})
    lines = "".join(f"{i}\t{query}\t{passage}\n" for i, (query, passage) in enumerate(texts))
    write_files(place / "tsv", {"en.tsv": lines.encode()})
    passages = [{"_id": f"p{i}", "text": text} for i, (_, text) in enumerate(texts)]
    passages[0]["title"] = "T"
    queries = [{"_id": f"q{i}", "text": text} for i, (text, _) in enumerate(texts)]
    qrels = "query-id\tcorpus-id\tscore\nq0\tp0\t1\n"
    for folder in (place / "beir", place / "beir_folders" / "en"):
        write_beir_folder(folder, passages, queries, qrels + "q1\tp1\t1\n", "qrels/test.tsv")
        write_beir_folder(folder, passages, queries, qrels + "q1\tp1\t1\n", "qrels/train.tsv")
        write_beir_folder(folder, passages, queries, qrels, "qrels/dev.tsv")
    lists = [{"query": text, "pos": [answer], "neg": ["n 1", "n 2"]} for text, answer in texts]
    write_json_lines(place / "lists.jsonl", *lists)
    write_json_lines(place / "passages.jsonl", *map(to_tevatron, lists))
    odd_passages = [*passages, {"_id": "q0", "text": "a question"}, {"_id": "p9", "text": ""}]
    write_beir_folder(place / "beir_oddities", odd_passages, queries, qrels, "qrels/test.tsv")
    saved = DatasetDict(train=Dataset.from_dict(columns), test=Dataset.from_dict(columns).take(1))
    saved.save_to_disk(place / "saved")
    config = compose_config(
        "train",
        [
            "corpus=jsonl",
            f"corpus.path={path}",
            f"corpus.to={place / 'folder'}",
            f"corpus.cache={place / 'cache'}",
        ],
    )
    build(config.corpus)


@pytest.fixture(autouse=True)
def here(place, monkeypatch):
    """Works in the folder of the small copies, with a server of the hub."""
    monkeypatch.chdir(place)
    translations = import_module("hybrid_ir.corpora.sources.mlqa_translate_train")
    small = replace(translations.ARCHIVE, size=None, sha256=None)
    monkeypatch.setattr(translations, "ARCHIVE", small)
    datasets = {"owner/set": list_hub_files(place)}
    with serving_hub(datasets=datasets) as hub, using_hub(place / "hub_cache", hub.url):
        yield
    for leftover in ("cache2", "copy"):
        remove(place / leftover)


def list_hub_files(place: Path) -> dict[str, bytes]:
    """Returns the files of a data set of the hub: pairs, and the tables of a benchmark."""
    card = {
        "configs": [
            describe_configuration("en", train="a.parquet", dev="b.parquet"),
            describe_configuration("corpus", corpus="corpus.jsonl"),
            describe_configuration("queries", queries="queries.jsonl"),
            describe_configuration("qrels", test="test.tsv", dev="dev.tsv"),
        ]
    }
    folder = place / "beir_oddities"
    qrels = b"query-id\tcorpus-id\tscore\nq0\tp0\t1\n"
    return {
        "README.md": f"---\n{json.dumps(card)}\n---\n".encode(),
        "a.parquet": (place / "a.parquet").read_bytes(),
        "b.parquet": encode_columns(q=["why"], p=["so"]),
        "corpus.jsonl": (folder / "corpus.jsonl").read_bytes(),
        "queries.jsonl": (folder / "queries.jsonl").read_bytes(),
        "test.tsv": qrels + b"q1\tp1\t1\n",
        "dev.tsv": qrels,
    }


def describe_configuration(name: str, **paths: str) -> dict[str, Any]:
    """Returns what a card says of a configuration with a file for each split."""
    files = [{"split": split, "path": path} for split, path in paths.items()]
    return {"config_name": name, "data_files": files}


def remove(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir():
            path.rmdir()
        else:
            path.unlink()
    if folder.exists():
        folder.rmdir()


def load(owner: str, *choices: str) -> Any:
    """Loads a data set with choices for its keys."""
    group, _, name = owner.partition("/")
    overrides = [f"{group}={name}", "paths.cache_dir=cache", "paths.data_dir=data"]
    for choice in (*BASES[owner], *choices):
        mark = "+" if choice.startswith("+") else ""
        overrides.append(f"{mark}{group}.{choice.removeprefix('+')}")
    return build(compose_config("train", overrides)[group])


def describe(data: Any) -> Any:
    """Returns everything that makes the data."""
    if isinstance(data, ParallelCorpus):
        return list_pairs(data)
    relevant = [rows.tolist() for rows in data.relevant]
    return [list(data.queries), list(data.passages), data.languages, relevant]


@pytest.mark.parametrize("key", ROWS, ids=" ".join)
def test_another_value_of_a_key_loads_other_data_or_is_refused(request, key):
    owner, _ = key
    row = ROWS[key]
    if owner in REAL:
        shared = request.getfixturevalue("shared")
        folder = "xquad-r" if "xquad" in owner else "mlqa-r"
        row = replace(row, base=(f"folder={shared / 'data' / folder}", *row.base))
    if row.message is not None:
        with pytest.raises(Exception) as raised:
            load(owner, *row.base, row.change)
        assert row.message in describe_error(raised.value)
        return
    look = row.look or describe
    try:
        before = look(load(owner, *row.base))
    except Exception as error:  # of many types: Hydra's own, too
        before = describe_error(error)
    after = look(load(owner, *row.base, row.change))
    assert json.dumps(before, default=str) != json.dumps(after, default=str)
