"""The reasons to reject a translation."""

import json
from pathlib import Path

import pytest

from hybrid_ir.translation.families import Translation
from hybrid_ir.translation.quality import QualityFilters, find_repetition, is_copy

QUESTION = "who won the football world cup of 1998?"
ANSWER = "wer gewann die Fußballweltmeisterschaft 1998?"
LANGUAGES = ("ar", "de", "el", "en", "es", "hi", "ru", "th", "tr", "vi", "zh")


@pytest.fixture(scope="module")
def filters() -> QualityFilters:
    """Filters of a job in three languages; one object, as its identifier takes long to load."""
    return QualityFilters(languages=("en", "de", "es"))


@pytest.fixture(scope="module")
def filters_by_language() -> QualityFilters:
    """Filters of a job in all languages of XQuAD-R that reject no length."""
    return QualityFilters(length_ratio=0, languages=LANGUAGES)


@pytest.mark.parametrize(
    ("source", "text", "is_complete", "reason"),
    [
        (QUESTION, "", True, "empty"),
        (QUESTION, ANSWER, False, "too long"),
        (QUESTION, "wer gewann gewann gewann gewann gewann gewann gewann", True, "repetition"),
        (QUESTION, "Who won the Football World Cup of 1998?", True, "copied source"),
        (QUESTION, "quién ganó la copa mundial de fútbol de 1998?", True, "language"),
        (QUESTION, "wer", True, "length"),
        (QUESTION, ANSWER, True, None),
        ("FIFA 1998", "FIFA 1998", True, None),
    ],
)
def test_a_translation_is_rejected_for_its_reason(filters, source, text, is_complete, reason):
    sources = ["what is the capital of France?"] * 9 + [source]
    usual = Translation("was ist die Hauptstadt von Frankreich?", True)
    translations = [usual] * 9 + [Translation(text, is_complete)]
    assert filters.find_reasons(sources, translations, "de") == [None] * 9 + [reason]


def test_one_translation_of_many_texts_is_rejected():
    filters = QualityFilters(language_letters=0, identical=3)
    sources = [
        "yes",
        "Yes",
        "sure",
        "a question of some length",
        "another question of that length",
        "a third one that is longer",
    ]
    translations = [Translation("ja", True)] * 3 + [Translation("immer das gleiche hier", True)] * 3
    reasons = filters.find_reasons(sources, translations, "de")
    # Two different sources, as upper case makes no difference, have the translation "ja".
    assert reasons == [None] * 3 + ["same as others"] * 3


def test_a_cut_translation_does_not_change_the_typical_length():
    filters = QualityFilters(language_letters=0)
    sources = ["a question of some length", "another question of this length", *["x " * 400] * 6]
    translations = [
        Translation("eine Frage einer Länge", True),
        Translation("noch eine Frage dieser Länge", True),
        *[Translation("", False)] * 6,
    ]
    reasons = filters.find_reasons(sources, translations, "de")
    assert reasons == [None, None, *["too long"] * 6]


def read_questions(shared: Path, language: str) -> list[str]:
    """Returns the first questions of XQuAD-R, which are the same in every language."""
    content = json.loads((shared / "data" / "xquad-r" / f"{language}.json").read_text())
    questions = []
    for article in content["data"]:
        for paragraph in article["paragraphs"]:
            questions += [question["question"] for question in paragraph["qas"]]
    return questions[:150]


@pytest.mark.parametrize("language", LANGUAGES)
def test_real_questions_are_identified_as_of_their_language(shared, filters_by_language, language):
    sources = read_questions(shared, "de" if language == "en" else "en")
    translations = [Translation(text, True) for text in read_questions(shared, language)]
    reasons = filters_by_language.find_reasons(sources, translations, language)
    assert reasons.count(None) >= 146


def test_questions_in_another_language_are_rejected(shared, filters_by_language):
    german = [Translation(text, True) for text in read_questions(shared, "de")]
    english = read_questions(shared, "en")
    reasons = filters_by_language.find_reasons(english, german, "es")
    assert reasons.count("language") >= 140


def test_the_longest_repetition_is_found():
    assert find_repetition("ab" * 12 + "c") == "ab" * 12
    assert find_repetition("nothing of that kind") == ""


def test_a_source_of_a_few_words_has_no_copy():
    source = "when was the city of Kabul founded"
    assert is_copy(source, "When was the city of Kabul founded?", 0.8)
    assert not is_copy("Kabul Airport", "Kabul Airport", 0.8)
