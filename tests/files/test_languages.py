"""Language codes: known ones pass, and the message for an unknown one names what was meant."""

import pytest

from hybrid_ir.files.languages import explain_wrong_code


@pytest.mark.parametrize("code", ["en", "zh", "zh-Hant", "zh-Hant-TW", "pt_BR", "sw", "und"])
def test_known_codes_with_script_or_region_are_right(code):
    assert explain_wrong_code(code) is None


@pytest.mark.parametrize(
    ("code", "guess"),
    [
        ("jp", "'ja' (Japanese)"),
        ("cn", "'zh' (Chinese)"),
        ("gr", "'el' (Greek)"),
        ("ua", "'uk' (Ukrainian)"),
        ("German", "'de' (German)"),
        ("english", "'en' (English)"),
        ("en-", "'en' (English)"),
        ("zh-Traditional", "'zh' (Chinese)"),
    ],
)
def test_a_wrong_code_gets_the_right_one_as_a_hint(code, guess):
    assert explain_wrong_code(code) == (
        f"the language code {code!r} is not known, did you mean {guess}?"
    )


def test_a_code_like_no_other_gets_an_example():
    assert explain_wrong_code("??") == (
        "the language code '??' is not known: use one like en, de or zh-Hant"
    )
