"""The words of a verdict and the conditions of a command, from numbers."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_ir.bias.conditions import parse_conditions
from hybrid_ir.bias.diagnosis import Diagnosis
from hybrid_ir.bias.measures import MEASURES, SHARES_OF_ANSWERS
from hybrid_ir.bias.report import TONES, build_page, build_record
from hybrid_ir.bias.verdict import FINDS_LITTLE_ACROSS, GRADES, TOO_FEW, decide_verdict


def build_diagnosis(hidden: float = 0.3, not_found: float = 0.1, **measures: Any) -> Diagnosis:
    """A diagnosis of two languages."""
    known: dict[str, Any] = dict.fromkeys(MEASURES, 0.5)
    known |= {"hidden": hidden, "not_found": not_found, "found": 1 - hidden - not_found}
    known |= {"own.hidden": 0.0, "own.found": 1.0, "own.not_found": 0.0, "own.lost": 0.0}
    known |= {"hidden.by_chance": 0.0, "own.hidden.by_chance": 0.0}
    known["lost"] = hidden / (1 - not_found) if not_found < 1 else None
    known |= {"rank_distance.median": 120.0, **measures}
    centred = {**known, "hidden": hidden / 10, "multi.map": 0.9}
    return Diagnosis(
        texts={
            "name": "texts <script>",
            "revision": "1",
            "licence": "CC0",
            "sha256": None,
            "languages": ["en", "zh"],
            "queries": 20,
            "questions": 10,
            "passages": 400,
            "passages_by_language": {"en": 200, "zh": 200},
            "question_groups": 40,
            "question_groups_across": 40,
            "question_groups_own": 40,
            "answers_across_by_language": {"en": 40, "zh": 30},
            "answers_own_by_language": {"en": 40, "zh": 30},
        },
        measures=known,
        intervals={"hidden": [hidden * 0.9, min(1.0, hidden * 1.1)]},
        pairs={name: [[0.0, hidden], [hidden, 0.0]] for name in ("found", "hidden", "not_found")},
        hidden_by={"en": {"en": 0.8, "zh": 0.2}},
        hidden_by_own=0.8,
        language_mix={"en": {"en": 0.8, "zh": 0.2}, "zh": {"en": 0.1, "zh": 0.9}},
        corrections={"center": centred},
    )


@given(hidden=st.floats(0, 0.6), not_found=st.floats(0, 0.4))
def test_the_grade_is_that_of_what_is_lost_of_the_answers_that_can_be_found(hidden, not_found):
    diagnosis = build_diagnosis(hidden, not_found)
    lost = diagnosis.measures["lost"]
    verdict = decide_verdict(diagnosis, "my-model")
    limits = [limit for limit, name in GRADES if name == verdict.grade]
    assert lost <= limits[0]
    assert all(lost > limit for limit, _ in GRADES if limit < limits[0])
    assert verdict.sentences[0].startswith(f"my-model is {verdict.grade}: ")
    number = f"{100 * hidden:.1f}%" if 0 < 100 * hidden < 9.95 else f"{100 * hidden:.0f}%"
    assert number in verdict.sentences[0]


def test_the_verdict_names_languages_and_the_best_correction():
    text = " ".join(decide_verdict(build_diagnosis(), "m").sentences)
    assert "Answers in English are hidden most often (30%)" in text
    assert "80% of the first 10 passages are in the language of the question" in text
    assert "from 0.500 to 0.900 and leave 3.0% hidden" in text


def test_luck_is_told_beside_what_is_hidden():
    diagnosis = build_diagnosis(0.05)
    diagnosis.measures["hidden.by_chance"] = 0.012
    assert "By luck alone" in decide_verdict(diagnosis, "m").sentences[0]
    assert "it would be 1.2%" in decide_verdict(diagnosis, "m").sentences[0]
    diagnosis.measures["hidden.by_chance"] = 0.06
    assert "no more than by luck (6.0%" in decide_verdict(diagnosis, "m").sentences[0]


def test_a_language_with_few_answers_is_not_named():
    diagnosis = build_diagnosis()
    diagnosis.texts["answers_across_by_language"] = {"en": 3, "zh": 30}
    text = " ".join(decide_verdict(diagnosis, "m").sentences)
    assert "Answers in Chinese are hidden most often" in text


@pytest.mark.parametrize("not_found", [0.9, 1.0])
def test_a_model_that_finds_nothing_is_not_called_unbiased(not_found):
    diagnosis = build_diagnosis(0.0, not_found)
    verdict = decide_verdict(diagnosis, "m")
    assert verdict.grade == FINDS_LITTLE_ACROSS
    assert verdict.sentences[0].startswith("m hardly finds answers across languages, which is")
    record = build_record(diagnosis, verdict, {"name": "m"}, {"precision": "fp32"})
    record["known_encoders"] = [{"name": "other", "measures": diagnosis.measures}]
    page = build_page(record)
    assert TONES[verdict.grade] == "bad"
    assert "Hardly finds answers across languages" in page


@pytest.mark.parametrize(
    "texts",
    [
        {"question_groups_across": 19},
        {"passages_by_language": {"en": 1000, "zh": 99}},
        {"passages_by_language": {"en": 60, "zh": 60}},
    ],
)
def test_few_texts_get_no_grade(texts):
    diagnosis = build_diagnosis()
    diagnosis.texts["answers_across_by_language"] = {"en": 20, "zh": 30}
    diagnosis.texts.update(texts)
    verdict = decide_verdict(diagnosis, "m")
    assert verdict.grade == TOO_FEW
    assert verdict.sentences[0].startswith("m cannot be judged by so few texts: ")


def test_without_answers_in_other_languages_the_own_ones_are_judged():
    diagnosis = build_diagnosis()
    diagnosis.measures.update(dict.fromkeys(SHARES_OF_ANSWERS))
    own = {"own.found": 0.5, "own.hidden": 0.4, "own.not_found": 0.1, "own.lost": 0.44}
    diagnosis.measures.update(own)
    verdict = decide_verdict(diagnosis, "m")
    assert verdict.grade == "severely biased"
    text = " ".join(verdict.sentences)
    assert "40% of the answers in the language of the question" in verdict.sentences[0]
    assert "rank distance" not in text


def test_without_answers_nothing_is_claimed():
    diagnosis = build_diagnosis()
    neighbours = {"same_language_neighbours": 0.9, "same_language_neighbours.fair": 0.5}
    texts_alone = Diagnosis(
        texts=diagnosis.texts,
        measures=neighbours,
        corrections={"center": {"same_language_neighbours": 0.6}},
    )
    verdict = decide_verdict(texts_alone, "m")
    assert verdict.grade == "not measurable"
    assert "90% are in its language, which has 50%" in verdict.sentences[0]
    assert "cannot be said" in verdict.sentences[-1]


def build_page_of(diagnosis: Diagnosis, **fields: Any) -> str:
    """The page of a diagnosis; fields replace those of its record."""
    verdict = decide_verdict(diagnosis, "m")
    record = build_record(diagnosis, verdict, {"name": "m"}, {"precision": "fp32"})
    return build_page({**record, **fields})


def test_bars_name_languages_from_one_percent_on_and_join_the_others():
    diagnosis = build_diagnosis()
    mix = {"en": 0.30, "zh": 0.684, "de": 0.012, "fr": 0.004}
    texts = {
        **diagnosis.texts,
        "languages": sorted(mix),
        "passages_by_language": dict.fromkeys(mix, 100),
    }
    mixes = {"hidden_by": {}, "language_mix": {"en": mix}}
    page = build_page_of(diagnosis, texts=texts, pairs={}, **mixes)
    _, _, part = page.partition('id="mix"')
    numbers = re.findall(r"<li><i .*?</i>(.*?)</li>", part)
    assert numbers == ["Chinese 68%", "English 30%", "German 1%", "others below 1%"]
    assert re.findall(r"<b>(.*?)</b></span>", part) == ["en", "zh", "de", "others"]


def test_what_is_not_found_is_neither_good_nor_bad():
    page = build_page_of(build_diagnosis())
    assert page.count('<i class="neutral" aria-hidden="true"></i>not found even alone 10.0%') == 1


def test_this_model_and_encoders_of_another_training_stand_out_in_the_table():
    diagnosis = build_diagnosis()
    weaker = {**diagnosis.measures, "multi.map": 0.2}
    known = [
        {"name": "plain", "measures": weaker, "training": ""},
        {"name": "toy", "measures": {**weaker, "multi.map": 0.9}, "training": "trained on <facts>"},
    ]
    page = build_page_of(diagnosis, known_encoders=known)
    _, _, table = page.partition("Known encoders on the same texts")
    rows = re.findall(r"<tr(.*?)><th scope=\"row\" class=\"label\">(.*?)</th>", table)
    assert rows == [
        ("", "toy <small>trained on &lt;facts&gt;</small>"),
        (' class="this"', "m (this model)"),
        ("", "plain"),
    ]


def test_what_is_not_known_of_the_texts_is_left_out():
    texts = {**build_diagnosis().texts, "name": "mine", "revision": "", "licence": "yours"}
    page = build_page_of(build_diagnosis(), texts=texts)
    assert "<dt>Texts</dt><dd>mine, licence yours</dd>" in page


def test_the_page_escapes_every_text():
    diagnosis = build_diagnosis()
    model = {"name": "<img src=x onerror=alert(1)>"}
    verdict = decide_verdict(diagnosis, model["name"])
    page = build_page(build_record(diagnosis, verdict, model, {"precision": "fp32"}))
    assert "<img" not in page
    assert "texts <script>" not in page
    assert "&lt;img src=x" in page


@pytest.mark.parametrize(
    ("text", "value", "is_met"),
    [
        ("multi.map<0.5", 0.4, True),
        ("multi.map < 0.5", 0.5, False),
        ("multi/map<=0.5", 0.5, True),
        ("hidden > 10e-2", 0.2, True),
        ("hidden>=0.2", 0.19, False),
    ],
)
def test_conditions_are_met_as_they_read(text, value, is_met):
    (condition,) = parse_conditions(text, MEASURES)
    assert condition.is_met({condition.measure: value}) == is_met


def test_several_conditions_are_separated_by_semicolons():
    conditions = parse_conditions("multi.map<0.5; hidden>0.1", MEASURES)
    assert [condition.measure for condition in conditions] == ["multi.map", "hidden"]
    assert parse_conditions(None, MEASURES) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("multi.map=0.5", "'multi.map=0.5' must be a measure, one of"),
        ("multi.map<half", "must be a measure, one of < <= > >=, and a number"),
        ("multi.map<nan", "and a number"),
        ("multi.mrr<0.5", "there is no measure 'multi.mrr', only found, hidden"),
        ("", "has an empty condition, which would check nothing"),
        ("multi.map<0.5;", "has an empty condition"),
    ],
)
def test_a_condition_that_cannot_be_checked_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse_conditions(text, MEASURES)


def test_a_measure_that_the_texts_do_not_tell_is_no_success():
    (condition,) = parse_conditions("cross.map<0.5", MEASURES)
    with pytest.raises(ValueError, match="do not tell cross.map, so nothing was checked"):
        condition.is_met({"cross.map": None})
