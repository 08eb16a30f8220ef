"""The wording: placeholders, scripts, lists and names, language by language."""

import re
import unicodedata

import numpy as np
import pytest

from hybrid_ir.cldr.fact_set import build_fact_set
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
SPACELESS = ("th", "zh")
QUESTION_MARKS = {"ar": "؟", "el": ";", "zh": "？", "th": ""}


@pytest.fixture(scope="module")
def facts():
    return build_fact_set("xquad")


def placeholders(text):
    return re.findall(r"\{(.*?)\}", text)


@pytest.mark.parametrize("language", XQUAD)
def test_templates_are_complete(language):
    data = load_templates(language)
    assert sorted(placeholders(data["passage"])) == ["label", "name", "values"]
    assert set(data["quantities"]) == set(QUANTITIES)
    assert set(data["kinds"]) == {fact.kind for fact in collect_facts()}
    for kind, wording in data["kinds"].items():
        assert set(wording) == {"label", "natural", "telegraphic"}, kind
        assert placeholders(wording["label"]) == []
        assert (
            placeholders(wording["natural"]) == placeholders(wording["telegraphic"]) == ["name"]
        ), kind
        assert wording["natural"].rstrip('”»"').endswith(QUESTION_MARKS.get(language, "?")), kind


@pytest.mark.parametrize("language", XQUAD)
def test_kinds_are_told_apart(language):
    kinds = load_templates(language)["kinds"].values()
    for part in ("label", "natural", "telegraphic"):
        assert len({wording[part] for wording in kinds}) == len(kinds)


@pytest.mark.parametrize("language", [language for language in XQUAD if language not in SPACELESS])
def test_questions_avoid_the_words_of_the_label(language):
    """At most one long word of a label in its question, and in few kinds any."""
    shared = []
    for wording in load_templates(language)["kinds"].values():
        label, natural = (
            set(re.findall(r"\w{5,}", wording[part].casefold())) for part in ("label", "natural")
        )
        shared.append(len(label & natural))
    assert max(shared) <= 1 and sum(shared) <= 2


def test_no_placeholder_is_left(facts):
    for language in facts.languages:
        assert not any(
            set("{}") & set(text) for text in facts.questions[language] + facts.passages[language]
        )


@pytest.mark.parametrize("language", SCRIPTS)
def test_scripts(facts, language):
    """Nearly all letters are of the language's own script; a few names are not."""
    text = "".join(facts.questions[language] + facts.passages[language])
    letters = [unicodedata.name(letter, "") for letter in text if letter.isalpha()]
    assert np.mean([SCRIPTS[language] in name for name in letters]) > 0.98


def test_sentences_begin_with_a_capital(facts):
    for language in ("de", "el", "en", "es", "ru", "tr", "vi"):
        for text in facts.passages[language] + facts.questions[language]:
            first = next(letter for letter in text if letter.isalnum())
            assert not first.islower() or first != text[0], text


@pytest.mark.parametrize(
    "language, expected",
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
    "language, entity, expected",
    [
        ("en", Entity("city", "Asia/Kolkata"), "Kolkata"),  # CLDR's key is the older Asia/Calcutta
        ("ru", Entity("city", "America/Argentina/Buenos_Aires"), "Буэнос-Айрес"),
        ("ar", Entity("city", "Asia/Kabul"), "كابول"),
        (
            "vi",
            Entity("city", "Africa/Addis_Ababa"),
            "Addis Ababa",
        ),  # no entry: the zone's name, in Latin letters
        ("he", Entity("language", "tlh-unknown"), None),
        ("ru", Entity("quarter", "1"), "1-й квартал"),
    ],
)
def test_names(language, entity, expected):
    assert Names(language).find(entity) == expected


def test_quarters_after_german():
    """babel resolves aliases in data of all languages: German quarters must not reach Russian."""
    assert Names("de").find(Entity("quarter", "3")) == "3. Quartal"
    assert Names("ru").find(Entity("quarter", "3")) == "3-й квартал"


def test_names_with_an_article(facts):
    assert any("in the United States" in text for text in facts.questions["en"])
    assert any("en los Países Bajos" in text for text in facts.questions["es"])
    assert not any("in United" in text or "the the" in text for text in facts.questions["en"])


def test_thai_prefix_comes_once(facts):
    assert not any(
        "ภาษาภาษา" in text or "อักษรอักษร" in text
        for text in facts.passages["th"] + facts.questions["th"]
    )


def test_known_facts(facts):
    for sentence in (
        "Afghanistan, official language: Persian and Pashto.",
        "Kabul, country: Afghanistan.",
        "June, next month: July.",
        "Kilometers, quantity measured: length.",
        "Germany, former currency: German Mark.",
    ):
        assert sentence in facts.passages["en"]


def test_facts_that_say_nothing_are_left_out(facts):
    assert not {"Greek, script: Greek.", "Luxembourg, time-zone city: Luxembourg."} & set(
        facts.passages["en"]
    )
