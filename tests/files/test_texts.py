"""What is an empty text and which ids are the same, in Python and in Arrow alike."""

import unicodedata

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_ir.files.texts import find_blank_texts, is_blank, normalize_id, normalize_ids

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)


@pytest.mark.parametrize(
    "text", ["", " ", "\t\n", "\u200b", "\ufeff", "\u200e\u00a0", "\u3164", "\u2800", "\u00ad"]
)
def test_what_shows_nothing_is_blank(text):
    assert is_blank(text)


@pytest.mark.parametrize("text", ["a", ".", "\u200ba", "़", "中", "\u0600", "🙂"])
def test_what_shows_something_is_not_blank(text):
    assert not is_blank(text)


@given(TEXTS)
def test_whatever_python_strips_is_blank(text):
    if not text.strip():
        assert is_blank(text)


@given(st.lists(st.none() | TEXTS, max_size=20))
@settings(deadline=None)
def test_arrow_and_python_agree_on_what_is_blank(texts):
    expected = [text is not None and is_blank(text) for text in texts]
    assert find_blank_texts(pa.array(texts, pa.string())).to_pylist() == expected
    assert find_blank_texts(pa.array(texts, pa.large_string())).to_pylist() == expected


@given(TEXTS)
def test_ids_are_compared_in_one_unicode_form(text):
    normalized = normalize_id(text)
    assert normalize_id(normalized) == normalized
    assert normalize_id(unicodedata.normalize("NFD", text)) == normalized
    assert normalize_id(f" {text}\u200b\n") == normalized


def test_missing_ids_stay_missing():
    ids = pa.array(["e\u0301 ", None, "1"])
    assert normalize_ids(ids).to_pylist() == ["é", None, "1"]
