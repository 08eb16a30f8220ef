"""The rows of language bias: a number without bias beside each number that was measured."""

import re

import pytest

from hybrid_ir.evaluation.bias_rows import describe_language_bias
from hybrid_ir.evaluation.card import describe_measured_model


def build_record(**bias) -> dict:
    """Builds what metrics.json holds of language bias."""
    return {
        "benchmark": {"languages": ["de", "en", "th", "zh"], "pool": {"de": 30, "en": 10}},
        "macro_over_settings": {
            "multi": {"rank_distance": 40.5, "rank_distance_excess": 37.5, "lpr@1": 0.5}
        },
        "language_bias": {
            "one_target": {"diagonal_gap": 0.2},
            "friedman": {"kendalls_w": 0.3},
            "peer": {"peer": 0.6},
            "same_language_neighbours": 0.9,
            "alignment": {"same_language": 0.4, "other_language": 0.7},
            "uniformity": -2.0,
        }
        | bias,
    }


def test_a_model_without_bias_has_the_numbers_of_the_last_column():
    rows = {name: without for name, _, without in describe_language_bias(build_record())}

    assert float(rows["rank distance"]) == 3  # four answers, one below the other
    assert float(rows["own language first (lpr@1)"]) == pytest.approx(1 / 4)
    assert float(rows["same-language neighbours"]) == pytest.approx(0.75**2 + 0.25**2)
    assert float(rows["alignment, other language"]) == pytest.approx(0.4)


def test_the_last_column_holds_no_words():
    record = build_record(friedman={"kendalls_w": None, "reason": "no question has all languages"})

    for name, _, without in describe_language_bias(record):
        assert not re.search("[a-z]", without), name
    names = [name for name, _, _ in describe_language_bias(record)]
    assert "Kendall's W of passage languages (no question has all languages)" in names


def test_a_record_of_an_older_version_has_no_least_distance():
    record = build_record()
    del record["macro_over_settings"]["multi"]["rank_distance_excess"]

    rows = {name: without for name, _, without in describe_language_bias(record)}
    assert rows["rank distance"] == "·"


@pytest.mark.parametrize(
    ("card", "words"),
    [
        ({"model": {"name": "e5"}, "training": None}, "e5"),
        ({"model": {"name": "e5"}, "postprocess": {"name": "center"}}, "e5 (center)"),
        (
            {"model": {"name": "run7"}, "training": {"sampler": "hybrid", "model": "tiny"}},
            "run7 (hybrid, tiny)",
        ),
        (
            {"model": {"name": "tiny_x_y_1"}, "training": {"sampler": "x_y", "model": "tiny"}},
            "tiny_x_y_1",
        ),
    ],
)
def test_a_picture_is_named_by_what_was_measured(card, words):
    assert describe_measured_model(card) == words
