"""The wording: placeholders, scripts, lists and names, language by language."""

import re
import unicodedata

import numpy as np
import pytest

from hybrid_ir.cldr.fact_set import FactSet, build_fact_set
from hybrid_ir.cldr.facts import QUANTITIES, collect_facts
from hybrid_ir.cldr.languages import XQUAD
from hybrid_ir.cldr.names import Entity, Names
from hybrid_ir.cldr.wording import load_templates

SCRIPTS = {
    "ar": "ARABIC",
    "el": "GREEK",
    "hi": "DEVANAGARI",
    "ru": "CYRILLIC",
    "th": "THAI",
    "zh": "CJK",
}
WITHOUT_SPACES = ("th", "zh")
QUESTION_MARKS = {"ar": "؟", "el": ";", "zh": "？", "th": ""}
PARTS = ("label", "natural", "telegraphic")


@pytest.fixture(scope="module")
def facts() -> FactSet:
    return build_fact_set("xquad")


def list_texts(facts: FactSet, language: str) -> list[str]:
    return facts.questions[language] + facts.passages[language]


def find_placeholders(text: str) -> list[str]:
    return re.findall(r"\{(.*?)\}", text)


def find_long_words(text: str) -> set[str]:
    return set(re.findall(r"\w{5,}", text.casefold()))


@pytest.mark.parametrize("language", XQUAD)
def test_templates_are_complete(language):
    templates = load_templates(language)
    assert sorted(find_placeholders(templates["passage"])) == ["label", "name", "values"]
    assert set(templates["quantities"]) == set(QUANTITIES)
    assert set(templates["kinds"]) == {fact.kind for fact in collect_facts()}
    for kind, wording in templates["kinds"].items():
        assert set(wording) == set(PARTS), kind


@pytest.mark.parametrize("language", XQUAD)
def test_questions_have_the_name_and_a_question_mark(language):
    question_mark = QUESTION_MARKS.get(language, "?")
    for kind, wording in load_templates(language)["kinds"].items():
        assert find_placeholders(wording["label"]) == [], kind
        assert find_placeholders(wording["natural"]) == ["name"], kind
        assert find_placeholders(wording["telegraphic"]) == ["name"], kind
        assert wording["natural"].rstrip('”»"').endswith(question_mark), kind


@pytest.mark.parametrize("language", XQUAD)
def test_every_kind_has_its_wording(language):
    kinds = load_templates(language)["kinds"].values()
    for part in PARTS:
        assert len({wording[part] for wording in kinds}) == len(kinds)


@pytest.mark.parametrize("language", sorted(set(XQUAD) - set(WITHOUT_SPACES)))
def test_questions_avoid_the_words_of_the_label(language):
    """At most one long word of a label is in its question, and in few kinds any."""
    shared = []
    for wording in load_templates(language)["kinds"].values():
        words = find_long_words(wording["label"]) & find_long_words(wording["natural"])
        shared.append(len(words))
    assert max(shared) <= 1
    assert sum(shared) <= 2


def test_no_placeholder_is_left(facts):
    for language in facts.languages:
        for text in list_texts(facts, language):
            assert "{" not in text
            assert "}" not in text


@pytest.mark.parametrize("language", SCRIPTS)
def test_nearly_all_letters_are_of_the_script_of_the_language(facts, language):
    """Names like "Ol Chiki" or "BCEAO" may not be."""
    text = "".join(list_texts(facts, language))
    letters = [unicodedata.name(letter, "") for letter in text if letter.isalpha()]
    assert np.mean([SCRIPTS[language] in name for name in letters]) > 0.98


@pytest.mark.parametrize("language", ["de", "el", "en", "es", "ru", "tr", "vi"])
def test_sentences_begin_with_a_capital(facts, language):
    for text in list_texts(facts, language):
        assert not text[0].islower(), text


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("de", "Persisch und Paschtu"),
        ("es", "persa y pastún"),
        ("ru", "персидский и пушту"),
        ("zh", "波斯语和普什图语"),
        ("tr", "Farsça ve Peştuca"),
        ("en", "Persian and Pashto"),
    ],
)
def test_lists_are_joined_as_the_language_does(language, expected):
    assert Names(language).join([Entity("language", "fa"), Entity("language", "ps")]) == expected


@pytest.mark.parametrize(
    ("language", "entity", "expected"),
    [
        # The key of CLDR is the older Asia/Calcutta.
        ("en", Entity("city", "Asia/Kolkata"), "Kolkata"),
        ("ru", Entity("city", "America/Argentina/Buenos_Aires"), "Буэнос-Айрес"),
        ("ar", Entity("city", "Asia/Kabul"), "كابول"),
        # Without an entry it is the name of the zone, which is in Latin letters.
        ("vi", Entity("city", "Africa/Addis_Ababa"), "Addis Ababa"),
        ("he", Entity("language", "tlh-unknown"), None),
        ("ru", Entity("quarter", "1"), "1-й квартал"),
    ],
)
def test_names(language, entity, expected):
    assert Names(language).find(entity) == expected


def test_german_quarters_do_not_turn_up_in_russian():
    """Babel resolves aliases in data that languages share."""
    assert Names("de").find(Entity("quarter", "3")) == "3. Quartal"
    assert Names("ru").find(Entity("quarter", "3")) == "3-й квартал"


def test_names_get_the_article_that_they_need(facts):
    english = facts.questions["en"]
    assert any("in the United States" in text for text in english)
    assert any("en los Países Bajos" in text for text in facts.questions["es"])
    assert not any("in United" in text for text in english)
    assert not any("the the" in text for text in english)


def test_a_thai_prefix_comes_once(facts):
    for text in list_texts(facts, "th"):
        assert "ภาษาภาษา" not in text
        assert "อักษรอักษร" not in text


@pytest.mark.parametrize(
    "sentence",
    [
        "Afghanistan, official language: Persian and Pashto.",
        "Kabul, country: Afghanistan.",
        "June, next month: July.",
        "Kilometers, quantity measured: length.",
        "Germany, former currency: German Mark.",
    ],
)
def test_known_facts(facts, sentence):
    assert sentence in facts.passages["en"]


@pytest.mark.parametrize(
    "sentence", ["Greek, script: Greek.", "Luxembourg, time-zone city: Luxembourg."]
)
def test_facts_that_say_nothing_are_left_out(facts, sentence):
    assert sentence not in facts.passages["en"]
