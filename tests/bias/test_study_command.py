"""`hybrid-ir study`: many encoders, resumed after a kill, those that cannot be had told apart."""

import json
import re
import shutil
import signal
from pathlib import Path

import pytest

from hybrid_ir.cli.study import find_reason, list_encoders
from hybrid_ir.runs.conf import compose_config
from tests.support.command_line import start_hybrid_ir, wait_until
from tests.support.corpora import write_json_lines
from tests.support.in_process import CommandResult, hybrid_ir_in_process
from tests.support.parallel_lines import build_plain_encoder, list_parallel_lines

STUDY = """
encoders:
  - {name: small, model: plain, revision: main, pooling: mean, training: trained on lines}
  - {name: missing, model: owner/missing, revision: main}
  - {name: coded, model: owner/coded, needs: trust_remote_code=true}
  - {name: again, model: plain, pooling: mean}
"""
CHOICES = ("study", "--config-dir", "my_conf", "study=mine", "texts=[texts.jsonl]", "to=out")
ARGUMENTS = (*CHOICES, "only=[small,missing,coded]")


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with an encoder, texts, and a study of three encoders."""
    place = tmp_path_factory.mktemp("study")
    lines = list_parallel_lines(("de", "en"), 12)
    write_json_lines(place / "texts.jsonl", *lines)
    build_plain_encoder(place, "plain", [line["text"] for line in lines])
    (place / "my_conf" / "study").mkdir(parents=True)
    (place / "my_conf" / "study" / "mine.yaml").write_text(STUDY)
    return place


@pytest.fixture(scope="module")
def studied(place) -> CommandResult:
    """The study after it was killed, and while the measurement that it had started goes on."""
    process = start_hybrid_ir(place, *ARGUMENTS)
    started = place / "out" / "small" / "texts.jsonl" / "arguments.json"
    wait_until(lambda: started.exists() or process.poll() is not None)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return hybrid_ir_in_process(place, *ARGUMENTS)


@pytest.mark.parametrize("encoders", ["5", "[5]", "null", "[]"])
def test_encoders_that_are_none_are_refused(place, encoders):
    ended = hybrid_ir_in_process(place, "study", f"study.encoders={encoders}", "to=other")
    assert ended.returncode == 2
    assert "study.encoders" in ended.stderr
    assert not (place / "other").exists()


def test_a_study_without_any_measurement_is_no_success(place):
    ended = hybrid_ir_in_process(place, *CHOICES[:-1], "only=[missing]", "to=nothing")
    assert ended.returncode == 2
    assert "none of the 4 encoders has been measured" in ended.stderr
    table = (place / "nothing" / "leaderboard.md").read_text()
    assert "the hub cannot be reached, and owner/missing is not in its cache" in table


def test_a_study_goes_on_after_a_kill_and_past_what_cannot_be_had(place, studied):
    assert studied.returncode == 0, studied.stderr
    record = json.loads((place / "out/small/texts.jsonl/bias.json").read_text())
    table = (place / "out" / "leaderboard.md").read_text()
    assert f"| {record['measures']['multi.map']:.3f} |" in table
    assert "- coded: it runs code of its own: trust_remote_code=true" in table
    assert "- missing: " in table
    rows = json.loads((place / "out" / "leaderboard.json").read_text())
    assert [row["encoder"] for row in rows] == ["small", "missing", "coded", "again"]
    assert "- again: not measured yet" in table
    assert rows[0]["measures"] == record["measures"]
    (known,) = json.loads((place / "out" / "known_encoders.json").read_text())
    assert known["training"] == rows[0]["training"] == "trained on lines"
    assert known["texts"]["sha256"] == record["texts"]["sha256"]
    assert (place / "out/small/texts.jsonl/evaluation/per_query.parquet").is_file()
    assert 0 < record["latency"]["p50_ms"] <= record["latency"]["p95_ms"]


def test_what_is_finished_is_not_measured_again(place, studied):
    path = place / "out/small/texts.jsonl/bias.json"
    before = path.stat().st_mtime_ns
    again = hybrid_ir_in_process(place, *CHOICES, "only=[small]")
    assert again.returncode == 0, again.stderr
    assert path.stat().st_mtime_ns == before


def test_results_of_other_settings_are_not_taken_for_these(place, studied):
    for other in ("max_queries=4", "languages=[de,en]"):
        ended = hybrid_ir_in_process(place, *ARGUMENTS, other)
        assert ended.returncode == 2
        assert "was measured with other settings, which differ in " in ended.stderr
        assert other in ended.stderr


def test_what_is_finished_stays_in_the_table(place, studied):
    ended = hybrid_ir_in_process(place, *CHOICES, "only=[coded]")
    assert ended.returncode == 0, ended.stderr
    table = (place / "out" / "leaderboard.md").read_text()
    assert "| small |" in table
    assert "- coded: " in table


def test_texts_of_one_name_are_refused(place):
    texts = "texts=[texts.jsonl,my_conf/texts.jsonl]"
    ended = hybrid_ir_in_process(place, *CHOICES[:-2], texts, "to=other")
    assert ended.returncode == 2
    assert "are both called texts.jsonl" in ended.stderr


def test_texts_that_have_changed_are_not_in_one_table(place, studied):
    shutil.copytree(place / "out", place / "changed")
    texts = place / "texts.jsonl"
    before = texts.read_text()
    try:
        texts.write_text(before.replace("of it", "of them"))
        choices = (*CHOICES[:-1], "to=changed")
        ended = hybrid_ir_in_process(place, *choices, "only=[again]")
    finally:
        texts.write_text(before)
    assert ended.returncode == 2
    assert "were measured on different texts" in ended.stderr
    at_once = hybrid_ir_in_process(place, *choices, "only=[coded]")
    assert "were measured on different texts" in at_once.stderr


@pytest.mark.parametrize("name", ["a/b", "..", "../x"])
def test_a_name_that_is_no_folder_is_refused(place, name):
    (place / "my_conf" / "study" / "wrong.yaml").write_text(
        f"encoders:\n  - {{name: {name}, model: plain}}\n"
    )
    choices = ("study", "--config-dir", "my_conf", "study=wrong", "to=other")
    ended = hybrid_ir_in_process(place, *choices)
    assert ended.returncode == 2
    assert "must be that of a folder" in ended.stderr
    assert not (place / "other").exists()


def test_an_unknown_name_is_refused(place):
    ended = hybrid_ir_in_process(place, *CHOICES[:-1], "to=other", "only=[smal]")
    assert ended.returncode == 2
    assert "only: there is no encoder smal, did you mean small?" in ended.stderr


def test_the_shipped_study_has_twenty_encoders_of_different_names():
    encoders = list_encoders(compose_config("study"))
    assert len(encoders) == len({encoder["model"] for encoder in encoders}) == 20
    for encoder in encoders:
        assert re.fullmatch("[0-9a-f]{40}", encoder["revision"]), encoder["model"]


def test_reasons_are_one_line():
    assert find_reason(["warning: x", "error: no such model", "(more)"], 2) == "no such model"
    assert find_reason([], -9) == "it was ended by signal 9"
    assert find_reason([], 1) == "it ended with code 1"
