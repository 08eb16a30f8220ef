"""Language codes: every spelling has one form, and an unknown code gets the one that was meant."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_ir.files.languages import (
    canonicalize_language,
    describe_spellings,
    explain_wrong_code,
    find_canonical_code,
    match_languages,
)


@pytest.mark.parametrize("code", ["en", "zh", "zh-Hant", "zh-Hant-TW", "pt_BR", "sw", "und", "no"])
def test_known_codes_with_script_or_region_are_right(code):
    assert explain_wrong_code(code) is None


@pytest.mark.parametrize(
    ("canonical", "spellings"),
    [
        ("en", ["EN", "en ", " En", "eng", "eng_Latn", "en\t"]),
        ("zh-CN", ["zh_CN", "zh-cn", "ZH_cn"]),
        ("zh-Hans", ["zh-hans", "zho_Hans", "zh_HANS", "cmn_Hans"]),
        ("pt-BR", ["pt_br"]),
        ("he", ["iw"]),
        ("id", ["in"]),
        ("acm-Arab", ["acm_Arab"]),
    ],
)
def test_all_spellings_of_a_language_have_one_form(canonical, spellings):
    for spelling in [canonical, *spellings]:
        assert find_canonical_code(spelling) == canonical


@given(st.sampled_from(["en", "zh-Hant", "pt-BR", "sw", "sr-Latn"]), st.randoms())
@settings(deadline=None)
def test_case_and_separators_do_not_matter(code, random):
    letters = [random.choice([letter.lower(), letter.upper()]) for letter in code]
    spelling = "".join(letters).replace("-", random.choice("-_"))
    assert canonicalize_language(spelling) == code


@pytest.mark.parametrize(
    ("code", "guess"),
    [
        ("jp", "'ja' (Japanese)"),
        ("cn", "'zh' (Chinese)"),
        ("gr", "'el' (Greek)"),
        ("ua", "'uk' (Ukrainian)"),
        ("cz", "'cs' (Czech)"),
        ("dk", "'da' (Danish)"),
        ("German", "'de' (German)"),
        ("english", "'en' (English)"),
        ("en-", "'en' (English)"),
        ("zh-Traditional", "'zh' (Chinese)"),
    ],
)
def test_a_wrong_code_gets_the_right_one_as_a_hint(code, guess):
    problem = f"the language code {code!r} is not known, did you mean {guess}?"
    assert explain_wrong_code(code) == problem
    with pytest.raises(ValueError, match=r"is not known, did you mean"):
        canonicalize_language(code)


@pytest.mark.parametrize("code", ["??", "backup", "", "queries"])
def test_a_code_like_no_other_gets_an_example(code):
    assert explain_wrong_code(code) == (
        f"the language code {code!r} is not known: use one like en, de or zh-Hant"
    )


@pytest.mark.parametrize("name", ["old", "tmp", "raw", "test"])
def test_names_of_folders_are_no_languages(name):
    assert find_canonical_code(name) is None


def test_codes_are_matched_in_the_spelling_of_the_data():
    assert match_languages(["EN", "zho_Hans", "xx"], ["en", "zh-Hans"]) == (
        ["en", "zh-Hans"],
        ["xx"],
    )
    assert match_languages(["en", "swh_Latn"], ["eng_Latn", "swh_Latn"]) == (
        ["eng_Latn", "swh_Latn"],
        [],
    )
    assert match_languages(["en", "EN"], ["en"]) == (["en"], [])


def test_two_codes_of_one_language_are_told():
    [warning] = describe_spellings(["zh", "zh-CN", "zh-Hant", "en"])
    assert warning.startswith("zh, zh-CN are counted as different languages")
    assert describe_spellings(["pt", "de", "sr-Latn", "sr-Cyrl"]) == []
