"""`hybrid-ir data identify`: from texts without languages to a verdict, by the real commands."""

import json
import sys
from pathlib import Path

import pytest

from hybrid_ir.files import language_identification
from tests.support.benchmarks import write_beir_folder
from tests.support.command_line import hybrid_ir
from tests.support.corpora import write_json_lines
from tests.support.in_process import hybrid_ir_in_process
from tests.support.parallel_lines import build_plain_encoder

CAPITALS = {"Greece": "Athens", "Italy": "Rome", "Spain": "Madrid", "Poland": "Warsaw"}


@pytest.fixture
def folder(tmp_path) -> Path:
    """A benchmark in English and German whose lines name no language."""
    passages = []
    queries = []
    qrels = ["query-id\tcorpus-id\tscore"]
    for country, city in CAPITALS.items():
        english = f"{city} is the capital and the largest city of {country}."
        german = f"{city} ist die Hauptstadt und die größte Stadt des Landes {country}."
        passages.append({"_id": f"{country}-en", "text": english})
        passages.append({"_id": f"{country}-de", "text": german})
        queries.append({"_id": f"{country}-en", "text": f"What is the capital of {country}?"})
        queries.append({"_id": f"{country}-de", "text": f"Was ist die Hauptstadt von {country}?"})
        for query_language in ("en", "de"):
            for language in ("en", "de"):
                qrels.append(f"{country}-{query_language}\t{country}-{language}\t1")
    write_beir_folder(tmp_path / "plain", passages, queries, "\n".join(qrels) + "\n")
    return tmp_path / "plain"


def test_texts_without_languages_get_a_verdict(tmp_path, folder):
    build_plain_encoder(tmp_path, "encoder", [*CAPITALS, *CAPITALS.values()])
    bias = ("bias", "model=encoder", "pooling=mean", "max_queries=3")
    refused = hybrid_ir_in_process(tmp_path, *bias, "corpus=plain", "out=refused")
    assert refused.returncode == 2
    assert "`hybrid-ir data identify path=FOLDER to=NEW languages=[A,B]`" in refused.stderr
    identified = hybrid_ir(
        tmp_path, "data", "identify", "path=plain", "to=named", "languages=[en,de]"
    )
    assert identified.returncode == 0, identified.stderr
    printed = " ".join(identified.stdout.split())
    assert "named: 16 of 16 lines named no language and have one" in printed
    for language in ("de", "en"):
        assert f"│ {language} │ 4 │ 4 │ 0 │" in printed
    assert "hybrid-ir bias model=MODEL corpus=named" in printed
    judged = hybrid_ir_in_process(tmp_path, *bias, "corpus=named", "out=judged")
    assert judged.returncode == 0, judged.stderr
    assert json.loads((tmp_path / "judged" / "bias.json").read_text())["texts"]["languages"]


def test_uncertain_lines_are_shown_with_file_line_and_text(tmp_path):
    texts = ["What is the capital of Greece?", "1984", "Was ist die Hauptstadt?", "2001"]
    write_json_lines(tmp_path / "plain.jsonl", *[{"text": text} for text in texts])
    ended = hybrid_ir_in_process(tmp_path, "data", "identify", "path=plain.jsonl", "to=new.jsonl")
    assert ended.returncode == 0, ended.stderr
    assert "uncertain lines, with a confidence below 0.5 or without letters: 2." in ended.stdout
    for number, text in ((2, "1984"), (4, "2001")):
        [line] = [line for line in ended.stdout.splitlines() if f"line {number}:" in line]
        assert line.startswith(f"  new.jsonl, line {number}: ")
        assert line.endswith(text)
    assert "languages=[en,de,...]" in ended.stdout


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["to=new"], "path: not given; hybrid-ir data identify --help lists the keys"),
        (["path=plain"], "to: not given"),
        (["path=plain", "to=plain/new"], "to=plain/new is inside of path=plain"),
        (["path=plain", "to=plain"], "to=plain is inside of path=plain"),
        (["path=plain", "to=new", "languages=[en]"], "fewer than two candidates"),
        (["path=plain", "to=new", "languages=[en,jp]"], "did you mean 'ja' (Japanese)?"),
        (["path=plain", "to=new", "least_confidence=high"], "must be a number from 0 to 1"),
        (["path=plain", "to=new", "langages=[en,de]"], "the config has no such key"),
    ],
)
def test_wrong_arguments_are_refused(tmp_path, folder, arguments, problem):
    ended = hybrid_ir_in_process(tmp_path, "data", "identify", *arguments)
    assert ended.returncode == 2
    assert problem in ended.stderr
    assert not (tmp_path / "new").exists()


def test_without_py3langid_the_message_says_what_to_install(tmp_path, folder, monkeypatch):
    language_identification._load_model.cache_clear()
    monkeypatch.setitem(sys.modules, "py3langid.langid", None)
    ended = hybrid_ir_in_process(tmp_path, "data", "identify", "path=plain", "to=new")
    assert ended.returncode == 2
    assert "needs py3langid: pip install 'hybrid-ir[translation]'" in ended.stderr
