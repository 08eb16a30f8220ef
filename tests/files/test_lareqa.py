"""The LAReQA reader: answer sentences by offset, and every error named at its place."""

import json
from pathlib import Path

import pytest

from hybrid_ir.files.lareqa import read_lareqa_folder

ORIGIN = "the place of the data"


def build_paragraph(*questions: tuple[str, int]) -> dict:
    """Three sentences of four characters with a gap before the last.

    Args:
        questions: id and answer_start of each question.
    """
    rows = []
    for question_id, start in questions:
        answers = [{"answer_start": start, "text": "?"}]
        rows.append({"id": question_id, "question": f"What is {question_id}?", "answers": answers})
    return {
        "context": "One.Two. 3rd.",
        "sentences": ["One.", "Two.", "3rd."],
        "sentence_breaks": [[0, 4], [4, 8], [9, 13]],
        "qas": rows,
    }


def write_language(folder: Path, *paragraphs: dict, language: str = "en") -> None:
    articles = [{"title": "Numbers", "paragraphs": [paragraph]} for paragraph in paragraphs]
    content = json.dumps({"version": "1", "data": articles})
    (folder / f"{language}.json").write_text(content, encoding="utf-8")


def read_answer_sentence(folder: Path) -> int:
    """The sentence of the first question of the first paragraph in English."""
    paragraphs = read_lareqa_folder(folder, ["en"], ORIGIN)["en"]
    return paragraphs[0].questions[0].answer_sentence


def read_error(folder: Path, *languages: str) -> str:
    with pytest.raises(ValueError) as raised:
        read_lareqa_folder(folder, languages or ["en"], ORIGIN)
    return str(raised.value)


@pytest.mark.parametrize(("start", "sentence"), [(0, 0), (3, 0), (4, 1), (12, 2)])
def test_a_sentence_holds_its_start_and_not_its_end(tmp_path, start, sentence):
    write_language(tmp_path, build_paragraph(("a", start)))
    assert read_answer_sentence(tmp_path) == sentence


def test_paragraphs_have_article_sentences_and_questions(tmp_path):
    write_language(tmp_path, build_paragraph(("a", 0), ("b", 4)), build_paragraph())
    first, second = read_lareqa_folder(tmp_path, ["en"], ORIGIN)["en"]
    assert first.article == "Numbers"
    assert first.sentences == ("One.", "Two.", "3rd.")
    assert [question.id for question in first.questions] == ["a", "b"]
    assert second.questions == ()


def test_of_overlapping_sentences_the_first_counts(tmp_path):
    paragraph = build_paragraph(("a", 3))
    paragraph["sentence_breaks"][1] = [2, 8]
    write_language(tmp_path, paragraph)
    assert read_answer_sentence(tmp_path) == 0


def test_of_several_answers_the_first_counts(tmp_path):
    paragraph = build_paragraph(("a", 5))
    paragraph["qas"][0]["answers"].append({"answer_start": 0, "text": "?"})
    write_language(tmp_path, paragraph)
    assert read_answer_sentence(tmp_path) == 1


@pytest.mark.parametrize("start", [8, 13, -1])
def test_an_answer_outside_every_sentence_is_an_error(tmp_path, start):
    write_language(tmp_path, build_paragraph(), build_paragraph(("a", start)))
    message = read_error(tmp_path)
    assert (
        f"en.json, paragraph 1, question 'a': answer_start={start} is in none of the 3 sentences"
        in message
    )
    assert "download" in message


def test_the_error_for_missing_files_says_where_to_get_them(tmp_path):
    write_language(tmp_path, build_paragraph())
    message = read_error(tmp_path, "en", "de", "zh")
    for part in ("2 errors", "de.json is missing", "zh.json is missing", ORIGIN):
        assert part in message


def test_the_error_for_a_missing_folder_says_where_to_get_it(tmp_path):
    message = read_error(tmp_path / "nowhere")
    assert f"there is no folder {tmp_path / 'nowhere'}: get the data from {ORIGIN}" in message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"data":\n [}', "en.json, line 2, column 3: not JSON"),
        (b"[]", "en.json: no key 'data'"),
        (b'{"data": 3}', "en.json: 'data' is 3, need a list"),
        (b'{"data": "\xff"}', "en.json: not UTF-8"),
    ],
)
def test_broken_files_are_named_with_the_place(tmp_path, content, message):
    (tmp_path / "en.json").write_bytes(content)
    assert message in read_error(tmp_path)


@pytest.mark.parametrize("key", ["context", "sentences", "sentence_breaks", "qas"])
def test_missing_keys_are_named(tmp_path, key):
    paragraph = build_paragraph(("a", 0))
    del paragraph[key]
    write_language(tmp_path, paragraph)
    assert f"en.json, paragraph 0: no key '{key}'" in read_error(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": ""}, "paragraph 0: 'id' is '', need a text"),
        ({"question": "  "}, "question 'a': 'question' is '  ', need a text"),
        ({"answers": []}, "question 'a': no answer"),
        ({"answers": [{"text": "?"}]}, "question 'a': no key 'answer_start'"),
        ({"answers": [{"answer_start": "0"}]}, "question 'a': 'answer_start' is '0', need a int"),
    ],
)
def test_wrong_questions_are_named(tmp_path, change, message):
    paragraph = build_paragraph(("a", 0))
    paragraph["qas"][0].update(change)
    write_language(tmp_path, paragraph)
    assert message in read_error(tmp_path)


def test_empty_sentences_and_unequal_lists_are_named(tmp_path):
    blank_sentence = build_paragraph()
    blank_sentence["sentences"][1] = " "
    one_sentence_more = build_paragraph()
    one_sentence_more["sentences"].append("More.")
    break_without_end = build_paragraph()
    break_without_end["sentence_breaks"][2] = [9]
    write_language(tmp_path, blank_sentence, one_sentence_more, break_without_end)
    message = read_error(tmp_path)
    assert "paragraph 0, sentence 1: ' ' is not a text" in message
    assert "paragraph 1: 4 sentences but 3 sentence_breaks" in message
    assert (
        "paragraph 2: sentence_breaks must be pairs [start, end], got [[0, 4], [4, 8], [9]]"
        in message
    )


def test_an_id_occurs_once_in_a_language(tmp_path):
    write_language(tmp_path, build_paragraph(("a", 0)), build_paragraph(("a", 4)))
    write_language(tmp_path, build_paragraph(("a", 0)), language="de")
    message = read_error(tmp_path, "de", "en")
    assert message.startswith("1 error in")
    assert "en.json, paragraph 1, question 'a': the id is also in" in message


def test_all_errors_come_together_and_ten_are_listed(tmp_path):
    questions = [(f"q{number}", 99) for number in range(14)]
    write_language(tmp_path, build_paragraph(*questions))
    message = read_error(tmp_path, "en", "de")
    assert message.startswith("15 errors")
    assert "... and 5 more" in message
    assert len(message.splitlines()) == 12
