"""Lines of texts of known languages: what counts as an id, and files that cannot be meant."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from hybrid_ir.debias import read_text_lines
from hybrid_ir.evaluation.benchmarks.choices import list_remarks
from tests.support.corpora import write_json_lines

QUERY = {"text": "Wo?", "language": "de", "role": "query"}
PASSAGE = {"text": "Here.", "language": "en", "role": "passage"}


def write_pairs(path: Path, *ids: object) -> Path:
    """Writes a question and a passage for each id."""
    lines = []
    for value in ids:
        lines += [{**QUERY, "id": value}, {**PASSAGE, "id": value}]
    return write_json_lines(path, *lines)


def read_error(path: Path) -> str:
    with pytest.raises(ValueError) as error:
        read_text_lines(path)
    return str(error.value)


@pytest.mark.parametrize("value", [None, "", " ", "\u200b", [1], {}, True, 1.0, float("nan")])
def test_an_id_is_a_text_or_a_whole_number(tmp_path, value):
    path = write_pairs(tmp_path / "texts.jsonl", "1", value)
    message = read_error(path)
    assert f"{path}, line 3: 'id' is " in message
    assert "need a text or a whole number" in message
    assert "line 1:" not in message


def test_a_number_and_its_digits_are_one_id(tmp_path):
    lines = [{**QUERY, "id": 1}, {**PASSAGE, "id": "1"}, {**PASSAGE, "id": "2"}]
    benchmark = read_text_lines(write_json_lines(tmp_path / "texts.jsonl", *lines))
    np.testing.assert_array_equal(benchmark.relevant[0], [0])
    assert list_remarks(benchmark) == []


def test_ids_that_look_the_same_are_one_and_are_told(tmp_path):
    lines = [{**QUERY, "id": "cafe\u0301"}, {**PASSAGE, "id": "caf\u00e9 "}]
    benchmark = read_text_lines(write_json_lines(tmp_path / "texts.jsonl", *lines))
    np.testing.assert_array_equal(benchmark.relevant[0], [0])
    [remark] = list_remarks(benchmark)
    assert remark.startswith("ids: 2 ids are compared in Unicode's form NFC")


def test_one_line_without_an_id_among_others_is_named(tmp_path):
    lines = [{**QUERY, "id": 0}, {**PASSAGE, "id": 0}, PASSAGE]
    message = read_error(write_json_lines(tmp_path / "texts.jsonl", *lines))
    assert "line 3 has no id, and others have one (line 1); 2 have one, 1 none" in message


def test_one_line_with_an_id_among_others_is_named(tmp_path):
    lines = [QUERY, PASSAGE, {**PASSAGE, "id": 0}]
    message = read_error(write_json_lines(tmp_path / "texts.jsonl", *lines))
    assert "line 3 has an id, and others have none (line 1); 1 have one, 2 none" in message


def test_ids_that_join_no_query_and_passage_are_told(tmp_path, caplog):
    lines = [{**QUERY, "id": "q0"}, {**PASSAGE, "id": "p0"}]
    benchmark = read_text_lines(write_json_lines(tmp_path / "texts.jsonl", *lines))
    [remark] = list_remarks(benchmark)
    assert remark.startswith("answers: none is known, as no query has the id of a passage")
    assert "first query has the id 'q0', the first passage 'p0'" in remark
    assert "no query has the id of a passage" in caplog.text


def test_spellings_of_one_language_are_told(tmp_path, caplog):
    lines = []
    for language in ("zh", "zh-Hans", "zh-CN", "en"):
        lines.append({"text": f"in {language}", "language": language, "id": 1})
    benchmark = read_text_lines(write_json_lines(tmp_path / "texts.jsonl", *lines))
    [remark] = list_remarks(benchmark)
    assert remark.startswith("zh, zh-CN, zh-Hans are counted as different languages")
    assert "zh, zh-CN, zh-Hans are counted as different languages" in caplog.text


@pytest.mark.parametrize("content", ["", "\n", " \n\n\t\n"])
def test_a_file_without_lines_says_so(tmp_path, content):
    path = tmp_path / "texts.jsonl"
    path.write_text(content)
    assert f"{path} has no lines" in read_error(path)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("ending", [".jsonl", ".jsonl.gz"])
def test_a_file_in_utf_16_is_one_error_with_the_cure(tmp_path, encoding, ending):
    text = "".join(json.dumps({**PASSAGE, "id": i}) + "\n" for i in range(20))
    path = tmp_path / f"texts{ending}"
    data = text.encode(encoding)
    path.write_bytes(gzip.compress(data) if ending.endswith(".gz") else data)
    message = read_error(path)
    assert message.startswith("1 error in ")
    name = encoding.upper().replace("16-", "16")
    assert f"{path} looks like {name}, need UTF-8: `" in message
    assert f"iconv -f {name} -t UTF-8 " in message


@pytest.mark.parametrize("key", ["text", "id"])
def test_a_nul_character_is_refused(tmp_path, key):
    line = {**PASSAGE, "id": "1", key: "a\0b"}
    path = write_json_lines(tmp_path / "texts.jsonl", {**QUERY, "id": "1"}, line)
    assert f"{path}, line 2: a NUL character in '{key}'" in read_error(path)
