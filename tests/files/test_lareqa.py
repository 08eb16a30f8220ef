"""The LAReQA reader: answer sentences by offset, and every error named at its place."""

import json

import pytest

from hybrid_ir.files.lareqa import read_lareqa_folder

ORIGIN = "the place of the data"


def paragraph(*questions: tuple[str, int]) -> dict:
    """Three sentences of four characters with a gap before the last; questions are (id, answer_start)."""
    return {
        "context": "One.Two. 3rd.",
        "sentences": ["One.", "Two.", "3rd."],
        "sentence_breaks": [[0, 4], [4, 8], [9, 13]],
        "qas": [
            {
                "id": name,
                "question": f"What is {name}?",
                "answers": [{"answer_start": start, "text": "?"}],
            }
            for name, start in questions
        ],
    }


def write(folder, *paragraphs: dict, language: str = "en") -> None:
    data = {
        "version": "1",
        "data": [{"title": "Numbers", "paragraphs": [one]} for one in paragraphs],
    }
    (folder / f"{language}.json").write_text(json.dumps(data), encoding="utf-8")


def errors(folder, *languages: str) -> str:
    with pytest.raises(ValueError) as raised:
        read_lareqa_folder(folder, languages or ["en"], ORIGIN)
    return str(raised.value)


def test_the_answer_sentence_holds_the_start_and_not_the_end(tmp_path):
    write(tmp_path, paragraph(("a", 0), ("b", 3), ("c", 4), ("d", 12)), paragraph())
    first, second = read_lareqa_folder(tmp_path, ["en"], ORIGIN)["en"]
    assert [(q.id, q.answer_sentence) for q in first.questions] == [
        ("a", 0),
        ("b", 0),
        ("c", 1),
        ("d", 2),
    ]
    assert (
        first.article == "Numbers"
        and first.sentences == ("One.", "Two.", "3rd.")
        and second.questions == ()
    )


def test_overlapping_sentences_give_the_first(tmp_path):
    one = paragraph(("a", 3))
    one["sentence_breaks"][1] = [2, 8]
    write(tmp_path, one)
    assert read_lareqa_folder(tmp_path, ["en"], ORIGIN)["en"][0].questions[0].answer_sentence == 0


def test_of_several_answers_the_first_counts(tmp_path):
    one = paragraph(("a", 5))
    one["qas"][0]["answers"].append({"answer_start": 0, "text": "?"})
    write(tmp_path, one)
    assert read_lareqa_folder(tmp_path, ["en"], ORIGIN)["en"][0].questions[0].answer_sentence == 1


@pytest.mark.parametrize("start", [8, 13, -1])
def test_an_answer_outside_any_sentence(tmp_path, start):
    write(tmp_path, paragraph(), paragraph(("a", start)))
    message = errors(tmp_path)
    assert (
        f"en.json, paragraph 1, question 'a': answer_start={start} is in none of the 3 sentences"
        in message
    )
    assert "download" in message


def test_missing_files_say_where_to_get_them(tmp_path):
    write(tmp_path, paragraph())
    message = errors(tmp_path, "en", "de", "zh")
    for part in ("2 errors", "de.json is missing", "zh.json is missing", ORIGIN):
        assert part in message
    assert f"there is no folder {tmp_path / 'nowhere'}: get the data from {ORIGIN}" in errors(
        tmp_path / "nowhere"
    )


def test_broken_json_is_located(tmp_path):
    (tmp_path / "en.json").write_text('{"data":\n [}', encoding="utf-8")
    assert "en.json, line 2, column 3: not JSON" in errors(tmp_path)
    (tmp_path / "en.json").write_text("[]", encoding="utf-8")
    assert "en.json: no key 'data'" in errors(tmp_path)
    (tmp_path / "en.json").write_text('{"data": 3}', encoding="utf-8")
    assert "en.json: 'data' is 3, need a list" in errors(tmp_path)
    (tmp_path / "en.json").write_bytes(b'{"data": "\xff"}')
    assert "en.json: not UTF-8" in errors(tmp_path)


@pytest.mark.parametrize("key", ["context", "sentences", "sentence_breaks", "qas"])
def test_missing_keys_are_named(tmp_path, key):
    one = paragraph(("a", 0))
    del one[key]
    write(tmp_path, one)
    assert f"en.json, paragraph 0: no key '{key}'" in errors(tmp_path)


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
    one = paragraph(("a", 0))
    one["qas"][0] |= change
    write(tmp_path, one)
    assert message in errors(tmp_path)


def test_empty_sentences_and_unequal_lists_are_named(tmp_path):
    one, two, three = paragraph(), paragraph(), paragraph()
    three["sentence_breaks"][2] = [9]
    one["sentences"][1] = " "
    two["sentences"].append("More.")
    write(tmp_path, one, two, three)
    message = errors(tmp_path)
    assert (
        "paragraph 2: sentence_breaks must be pairs [start, end], got [[0, 4], [4, 8], [9]]"
        in message
    )
    assert "paragraph 0, sentence 1: ' ' is not a text" in message
    assert "paragraph 1: 4 sentences but 3 sentence_breaks" in message


def test_an_id_occurs_once_in_a_language(tmp_path):
    write(tmp_path, paragraph(("a", 0)), paragraph(("a", 4)))
    write(tmp_path, paragraph(("a", 0)), language="de")
    message = errors(tmp_path, "de", "en")
    assert "1 error in" in message and "paragraph 1, question 'a': the id is also in" in message


def test_all_errors_come_together_and_no_more_than_ten_are_listed(tmp_path):
    write(tmp_path, paragraph(*((f"q{i}", 99) for i in range(14))))
    message = errors(tmp_path, "en", "de")
    assert (
        message.startswith("15 errors")
        and "... and 5 more" in message
        and len(message.splitlines()) == 12
    )
