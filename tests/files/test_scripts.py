"""The script of texts tells a country's code from a language's."""

import pytest

from hybrid_ir.files.scripts import explain_wrong_script, find_main_script


@pytest.mark.parametrize(
    ("code", "text", "meant"),
    [
        ("kr", "서울은 한국의 수도이다", "ko"),
        ("sa", "الرياض عاصمة", "ar"),
        ("tw", "台北是首都", "zh"),
        ("in", "दिल्ली राजधानी है", "hi"),
        ("am", "Երևանը մայրաքաղաքն է", "hy"),
        ("la", "ວຽງຈັນ", "lo"),
    ],
)
def test_a_country_in_the_place_of_its_language_is_noticed(code, text, meant):
    problem = explain_wrong_script(code, [text])
    assert problem.endswith(f"did you mean {meant!r}?")


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("ko", "서울은 한국의 수도이다"),
        ("ja", "東京は首都です"),
        ("zh", "北京是首都"),
        ("kr", "Maiduguri"),
        ("sr", "Beograd je glavni grad"),  # Serbian is written in two scripts
        ("en", "Привет"),  # no country has this code
        ("my", "နေပြည်တော်"),
        ("my", "Kuala Lumpur ialah ibu negara"),  # or a transliteration
        ("ar", "a placeholder"),
        ("br", "Roazhon eo ar gêr-benn"),
        ("und", "서울"),
        ("tw", "123 ..."),
        ("kr", ""),
    ],
)
def test_nothing_is_said_where_nothing_speaks_against_the_code(code, text):
    assert explain_wrong_script(code, [text]) is None


def test_the_main_script_is_that_of_most_letters():
    assert find_main_script(["Greek αβγδεζη"]) == "Grek"
    assert find_main_script(["東京は首都です"]) == "Jpan"
    assert find_main_script(["12 .", ""]) is None
