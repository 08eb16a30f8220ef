"""The rows of language bias: a number without bias beside each number that was measured."""

import math
import re

import pytest

from hybrid_ir.evaluation.bias_rows import describe_language_bias
from hybrid_ir.evaluation.card import describe_measured_model
from hybrid_ir.evaluation.number_format import format_percent


def build_record(**bias) -> dict:
    """Builds what metrics.json holds of language bias."""
    return {
        "benchmark": {"languages": ["de", "en", "th", "zh"], "pool": {"de": 30, "en": 10}},
        "macro_over_settings": {
            "multi": {"rank_distance": 40.5, "rank_distance_excess": 37.5, "lpr@1": 0.5}
        },
        "language_bias": {
            "own_language_first_expected": 0.4,
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
    assert float(rows["own language first (lpr@1)"]) == pytest.approx(0.4)
    assert float(rows["same-language neighbours"]) == pytest.approx(0.75**2 + 0.25**2)
    assert float(rows["alignment, other language"]) == pytest.approx(0.4)


def test_the_last_column_holds_no_words():
    record = build_record(friedman={"kendalls_w": None, "reason": "no question has all languages"})

    for name, _, without in describe_language_bias(record):
        assert not re.search("[a-z]", without), name
    names = [name for name, _, _ in describe_language_bias(record)]
    assert "Kendall's W of passage languages (no question has all languages)" in names


def test_a_record_of_an_older_version_lacks_two_numbers_without_bias():
    record = build_record()
    del record["macro_over_settings"]["multi"]["rank_distance_excess"]
    del record["language_bias"]["own_language_first_expected"]

    rows = {name: without for name, _, without in describe_language_bias(record)}
    assert rows["rank distance"] == "·"
    assert rows["own language first (lpr@1)"] == "·"


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.8, "80.0%"), (0.0949, "9.5%"), (0, "0.0%"), (None, "·"), (math.nan, "·")],
)
def test_a_share_in_percent_has_a_decimal(share, text):
    assert format_percent(share) == text


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
