"""`hybrid-ir index` goes on after a kill, and `hybrid-ir search` answers as tables and JSON."""

import json
import shutil
import signal
import time
from pathlib import Path
from unittest import mock

import pytest
from filelock import FileLock

from hybrid_ir.cli import search
from hybrid_ir.cli.config import parse_command_line
from hybrid_ir.cli.main import COMMANDS
from tests.index.test_build import read_files
from tests.support.command_line import HANG_SECONDS, start_hybrid_ir
from tests.support.in_process import hybrid_ir_in_process

QUESTION = "en tells 4 of it"
KEYS = ("model=plain", "pooling=mean", "path=passages.jsonl", "texts_per_shard=3")


@pytest.fixture(scope="module")
def place(plain, json_lines, tmp_path_factory) -> Path:
    """A folder with an encoder, passages, and an index of them."""
    place = tmp_path_factory.mktemp("commands")
    shutil.copytree(plain, place / "plain")
    shutil.copy(json_lines, place / "passages.jsonl")
    made = hybrid_ir_in_process(place, "index", *KEYS, "to=index")
    assert made.returncode == 0, made.stderr
    assert "31 passages (de 10, en 21)" in made.stdout
    assert "1 passages have no text and are left out" in made.stdout
    return place


def test_after_kill_9_of_two_processes_the_same_command_goes_on(place):
    # The last shard is locked, so that the processes cannot end before they are killed.
    locks = place / ".killed.locks"
    locks.mkdir()
    building = place / ".killed.building"
    with FileLock(locks / "vectors-00010.lock"):
        running = start_hybrid_ir(place, "index", *KEYS, "to=killed", "processes=2")
        deadline = time.monotonic() + HANG_SECONDS
        while len(list(building.glob("vectors-*"))) < 10:
            assert running.poll() is None, running.output_file.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        running.send_signal(signal.SIGKILL)
        running.wait(HANG_SECONDS)
    assert not (place / "killed").exists()
    done = {path.name: path.stat().st_mtime_ns for path in building.glob("vectors-*")}
    resumed = hybrid_ir_in_process(place, "index", *KEYS, "to=killed")
    assert resumed.returncode == 0, resumed.stderr
    assert (place / "killed" / "vectors-00000.safetensors").stat().st_mtime_ns == done[
        "vectors-00000.safetensors"
    ]
    assert read_files(place / "killed") == read_files(place / "index")
    cards = []
    for name in ("killed", "index"):
        cards.append(json.loads((place / name / "index.json").read_text()))
    assert cards[0]["files"] == cards[1]["files"]


def test_answers_as_lines_of_json(place):
    found = hybrid_ir_in_process(
        place, "search", "index=index", QUESTION, "and is x=3?", "json=true", "k=2"
    )
    assert found.returncode == 0, found.stderr
    lines = [json.loads(line) for line in found.stdout.splitlines()]
    assert [line["query"] for line in lines] == [QUESTION] * 2 + ["and is x=3?"] * 2
    assert [line["rank"] for line in lines] == [1, 2, 1, 2]
    assert set(lines[0]) == {
        "query_id",
        "query",
        "rank",
        "score",
        "language",
        "id",
        "text",
        "row",
    }


def test_answers_as_a_table(place):
    found = hybrid_ir_in_process(place, "search", "index=index", QUESTION, "languages=[de]")
    assert found.returncode == 0, found.stderr
    assert QUESTION in found.stdout
    assert "T de tells" in found.stdout
    assert "T en tells" not in found.stdout


def test_questions_of_a_file_keep_their_ids(tmp_path):
    (tmp_path / "a.txt").write_text("one\n\n two \n", encoding="utf-8")
    assert search.read_questions(tmp_path / "a.txt") == [
        search.AskedQuestion("1", "one"),
        search.AskedQuestion("3", "two"),
    ]
    (tmp_path / "a.jsonl").write_text('{"_id": "x", "text": "سؤال"}\n', encoding="utf-8")
    assert search.read_questions(tmp_path / "a.jsonl") == [search.AskedQuestion("x", "سؤال")]
    (tmp_path / "a.txt").write_text("\n")
    for name, message in (("a.txt", "has no question"), ("none.txt", "is missing")):
        with pytest.raises(ValueError, match=message):
            search.read_questions(tmp_path / name)


def test_questions_are_asked_one_after_another_in_a_terminal(place, capsys, monkeypatch):
    monkeypatch.chdir(place)
    cfg = parse_command_line("search", ["index=index", "k=1"], text_list="questions")
    with (
        mock.patch("sys.stdin.isatty", return_value=True),
        mock.patch("builtins.input", side_effect=[QUESTION, "de tells 3 of it", ""]) as typed,
    ):
        search.run(cfg)
    assert typed.call_count == 3
    assert capsys.readouterr().out.count("rank") == 2


def test_without_a_question_and_a_terminal_the_error_shows_how(place):
    with mock.patch("sys.stdin.isatty", return_value=False):
        found = hybrid_ir_in_process(place, "search", "index=index")
    assert found.returncode == 2
    assert 'hybrid-ir search index=FOLDER "Who won?"' in found.stderr


@pytest.mark.parametrize(
    ("arguments", "texts"),
    [
        (["index=a", "what is x=3?"], ["what is x=3?"]),
        (["index=a", "x", "${oc.env:HOME}"], ["x", "${oc.env:HOME}"]),
        (["index=a", "query=${x}=y"], []),
    ],
)
def test_what_is_no_key_and_value_is_a_question(arguments, texts):
    cfg = parse_command_line("search", arguments, text_list=COMMANDS["search"].text_list)
    assert list(cfg.questions) == texts


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (("model=plain",), "not by none"),
        (("model=plain", "path=a", "benchmark=xquad_r"), "not by benchmark and path"),
        (("path=a",), "say what encodes"),
        (("model=plain", "path=a", "dtype=int4"), "dtype='int4' must be one of"),
        (("model=plain", "path=a", "measure=1"), "measure=1 must be true or false"),
        (("model=plain", "path=nowhere"), "path=nowhere does not exist"),
    ],
)
def test_mistakes_are_one_line(place, keys, message):
    ended = hybrid_ir_in_process(place, "index", *keys, "pooling=mean", "to=refused")
    assert ended.returncode == 2
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not list(place.glob("*refused*"))


def test_a_corpus_is_indexed_in_all_languages(place):
    rows = []
    for number in range(4):
        queries = {"de": f"de asks {number}", "en": f"en asks {number}"}
        passages = {"de": f"de tells {number}", "en": f"en tells {number}"}
        rows.append(json.dumps({"id": str(number), "query": queries, "passage": passages}))
    (place / "pairs.jsonl").write_text("\n".join(rows))
    keys = ("model=plain", "pooling=mean", "corpus=jsonl", "corpus.path=pairs.jsonl")
    ended = hybrid_ir_in_process(place, "index", *keys, "to=corpus", "faiss=flat")
    assert ended.returncode == 0, ended.stderr
    assert "8 passages (de 4, en 4)" in ended.stdout
