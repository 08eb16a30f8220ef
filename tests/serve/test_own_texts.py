"""`serve corpus=`: texts of one's own, as `hybrid-ir bias` reads them."""

import json
import shutil

import pytest

from tests.serve.conftest import start_server, stop_server
from tests.serve.test_server import get_error
from tests.support.command_line import read_output
from tests.support.corpora import write_json_lines
from tests.support.in_process import hybrid_ir_in_process

MODELS = ("model=[first,second]", "pooling=mean", "port=0")


@pytest.fixture(scope="module")
def texts(served_place) -> None:
    """Files beside the benchmark: lines without answers, and a copy that names no language."""
    lines = []
    for number in range(6):
        language = ("de", "zh")[number % 2]
        lines.append({"text": f"Land {number}", "language": language, "role": "passage"})
    write_json_lines(served_place / "alone.jsonl", *lines)
    repeated = []
    for number, text in enumerate(("Welches Land?", "welches  land?", "Und dieses?")):
        for role in ("query", "passage"):
            id = f"one-{number}"
            repeated.append({"text": text, "language": "de", "role": role, "id": id})
    repeated.append({"text": "Which?", "language": "en", "role": "passage", "id": "one-0"})
    write_json_lines(served_place / "repeated.jsonl", *repeated)
    unnamed = served_place / "unnamed"
    shutil.copytree(served_place / "benchmark", unnamed, dirs_exist_ok=True)
    for name in ("corpus.jsonl", "queries.jsonl"):
        rows = []
        for line in (unnamed / name).read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            del row["language"]
            rows.append(row)
        write_json_lines(unnamed / name, *rows)


def test_a_folder_of_beir_has_its_questions_and_answers(served_place, server):
    own = start_server(served_place, *MODELS, "corpus=benchmark")
    own.wait_until_ready()
    by_benchmark = server.ask("about").json()
    about = own.ask("about").json()
    for key in ("models", "questions", "languages", "source"):
        assert about[key] == by_benchmark[key]
    question = own.ask("questions").json()[0]["text"]
    found = own.ask("search", {"question": question}).json()
    assert found["is_of_benchmark"]
    assert len(found["answers"]) == 4
    assert stop_server(own) == 0


def test_passages_alone_are_searched_without_known_answers(served_place, texts):
    own = start_server(served_place, *MODELS, "corpus=alone.jsonl", "languages=[zh]")
    own.wait_until_ready()
    about = own.ask("about").json()
    assert about["benchmark"] is None
    assert about["languages"] == {"zh": 3}
    found = own.ask("search", {"question": "Land 1"}).json()
    assert not found["is_of_benchmark"]
    assert stop_server(own) == 0


def test_questions_of_the_same_text_are_counted_apart(served_place, texts):
    own = start_server(served_place, *MODELS, "corpus=repeated.jsonl")
    own.wait_until_ready()
    about = own.ask("about").json()
    assert (about["questions"], about["repeated_questions"]) == (2, 1)
    assert (about["source"], about["benchmark"]) == ("repeated.jsonl", "repeated.jsonl")
    assert stop_server(own) == 0


@pytest.mark.parametrize("key", ["benchmark", "corpus"])
def test_a_benchmark_has_the_name_that_was_chosen(served_place, key):
    """The name of the data is cldr_facts, of which this is a part."""
    keys = ("benchmark.languages=[de,en]", "benchmark.max_queries=2")
    if key == "corpus":
        keys = ("languages=[de,en]", "max_queries=2")
    own = start_server(served_place, *MODELS, f"{key}=cldr_facts_dev", *keys)
    own.wait_until_ready()
    about = own.ask("about").json()
    assert (about["source"], about["benchmark"]) == ("cldr_facts_dev", "cldr_facts_dev")
    assert stop_server(own) == 0
    printed = read_output(own.process)
    kind = "the benchmark " if key == "benchmark" else ""
    assert f"reading {kind}cldr_facts_dev" in printed
    for number, name in enumerate(("first", "second"), 1):
        assert f"model {number} of 2: loading {name}" in printed
        assert f"model {number} of 2: encoding " in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("corpus=unnamed",), "hybrid-ir data identify"),
        (("benchmark=beir_folder", "benchmark.folder=unnamed"), "hybrid-ir data identify"),
        (("corpus=benchmark", "benchmark=xquad_r"), "not by corpus and benchmark"),
        (("benchmark=benchmark",), "bias and serve take corpus=benchmark"),
        (("corpus=nowhere",), "no folder in the form of BEIR"),
        (("benchmark=cldr_facts_dev", "languages=[de]"), "languages=['de'] is for corpus= alone"),
        (("corpus=benchmark", "languages=de,en"), "several are languages=[de,en]"),
        (("corpus=benchmark", "model=second"), "model is given twice"),
        (("corpus=benchmark", "first"), "as in model=first"),
        (("index=first", "index=second"), "index is given twice"),
        (("corpus=benchmark", "--model", "first"), "write model=first; --help"),
    ],
)
def test_what_cannot_be_served_is_refused_before_anything_is_encoded(
    served_place, texts, arguments, message
):
    ended = hybrid_ir_in_process(served_place, "serve", *MODELS, *arguments)
    assert message in get_error(ended)
    assert "encoding" not in ended.stderr


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("./nowhere", "'./nowhere' does not exist"),
        ("benchmark/nowhere", "no folder in"),
        ("benchmark", "model='benchmark' is no model, as it has no config.json"),
        ("first.ckpt", "'first.ckpt' is neither a checkpoint nor a run folder"),
        ("~/nowhere", "/nowhere' does not exist"),
    ],
)
def test_a_second_model_that_is_not_there_is_missed_before_the_first_is_loaded(
    served_place, place, message
):
    keys = (f"model=[first,{place}]", "pooling=mean", "port=0", "corpus=benchmark")
    ended = hybrid_ir_in_process(served_place, "serve", *keys)
    assert message in get_error(ended)
    assert "loading first" not in ended.stderr
    assert "reading benchmark" not in ended.stderr


def test_the_folder_of_the_user_is_found_in_a_list(served_place):
    keys = ("model=[~/first,~/second]", "pooling=mean", "port=0", "corpus=benchmark")
    own = start_server(served_place, *keys, HOME=str(served_place))
    own.wait_until_ready()
    assert [model["label"] for model in own.ask("about").json()["models"]] == ["first", "second"]
    assert stop_server(own) == 0
