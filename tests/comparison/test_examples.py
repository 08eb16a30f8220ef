"""Examples: the questions on which two systems differ most."""

from dataclasses import replace

import numpy as np
import pytest

from hybrid_ir.comparison.examples import examples
from hybrid_ir.comparison.results import read_results
from hybrid_ir.comparison.section import build_sections
from hybrid_ir.comparison.texts import attach_texts
from tests.support.comparison_results import card_of, small_benchmark, training_of, write_result


def test_examples_are_the_greatest_gains_and_losses_each_question_once(compared):
    (section,) = attach_texts([compared.parts[0].section], {"made_r": small_benchmark()})
    found = examples(section, 3, "map", most=500)
    mine, theirs = (
        np.mean([section.values(result, "map") for result in section.systems[i].results], axis=0)
        for i in (3, 1)
    )
    change = (mine - theirs)[section.mask("multi")[section.rows.setting_V]]
    gains, losses = (
        [float(one.mine) - float(one.theirs) for one in found if one.gain is gain]
        for gain in (True, False)
    )
    assert gains[0] == pytest.approx(change.max(), abs=1e-3) and min(gains) > 0
    assert all(change < 0 for change in losses) and (
        not losses or losses[0] == pytest.approx(change.min(), abs=1e-3)
    )
    for side in (True, False):
        questions = [one.query.split()[-1] for one in found if one.gain is side]
        assert len(questions) == len(set(questions))
    assert examples(section, 1, "map") == [] and examples(compared.parts[0].section, 3, "map") == []


@pytest.mark.parametrize(
    ("metric", "sign", "digits"), [("map", 1, 1e-3), ("rank_distance", -1, 0.11)]
)
@pytest.mark.parametrize("most", [1, 3])
def test_so_many_questions_a_side_each_by_its_greatest_change(compared, metric, sign, digits, most):
    """Where lower is better a fall is the gain; a question of no change is neither."""
    (section,) = attach_texts([compared.parts[0].section], {"made_r": small_benchmark()})
    found = examples(section, 3, metric, most)
    mine, theirs = (
        np.mean([section.values(result, metric) for result in section.systems[i].results], axis=0)
        for i in (3, 1)
    )
    rows = np.flatnonzero(section.mask("multi")[section.rows.setting_V])
    change = sign * (mine - theirs)[rows]
    questions = np.array(small_benchmark().question_ids)[section.rows.query_V[rows]]
    for gain in (True, False):
        better = change if gain else -change
        greatest = {name: better[questions == name].max() for name in np.unique(questions)}
        side = [one for one in found if one.gain is gain]
        values = [
            (1 if gain else -1) * sign * (float(one.mine) - float(one.theirs)) for one in side
        ]
        expected = sorted((value for value in greatest.values() if value > 0), reverse=True)[:most]
        assert values == pytest.approx(expected, abs=2 * digits)
        asked = [one.query.removesuffix("?").split() for one in side]  # which LANGUAGE NUMBER?
        assert values == pytest.approx(
            [greatest[f"q{number}"] for *_, number in asked], abs=2 * digits
        )
        assert [(one.language, one.pool) for one in side] == [
            (language, "all") for _, language, _ in asked
        ]


def test_a_question_whose_measure_is_undefined_is_no_example(tmp_path):
    benchmark = small_benchmark(6)
    single = [
        rows[:1] if name == "q0" else rows
        for name, rows in zip(benchmark.question_ids, benchmark.relevant, strict=True)
    ]
    benchmark = replace(benchmark, relevant=single)  # of one passage there is no rank distance
    for noise, name in ((0.9, "x_x_mono"), (1.6, "hybrid")):
        write_result(
            tmp_path / name, benchmark, noise, 0.3, 1, card_of(benchmark, training_of(name, 1))
        )
    (section,) = attach_texts(build_sections(read_results([tmp_path])), {"made_r": benchmark})
    system = next(i for i, base in enumerate(section.baselines) if base is not None)
    for metric, asked in (("rank_distance", False), ("map", True)):
        found = examples(section, system, metric, most=6)
        assert found and any(one.query.endswith(" 0?") for one in found) is asked


def test_what_does_not_change_is_no_example(tmp_path):
    benchmark = small_benchmark(6)
    for name in ("x_x_mono", "hybrid"):
        write_result(
            tmp_path / name, benchmark, 0.9, 0.3, 1, card_of(benchmark, training_of(name, 1))
        )
    (section,) = attach_texts(build_sections(read_results([tmp_path])), {"made_r": benchmark})
    assert [examples(section, i, "map") for i in range(2)] == [[], []]
