"""Examples: the questions on which two systems differ most."""

from dataclasses import replace

import numpy as np
import pytest

from hybrid_ir.comparison.build_sections import attach_query_texts, build_sections
from hybrid_ir.comparison.load import load_results
from hybrid_ir.comparison.report import Example, choose_examples
from hybrid_ir.comparison.section import Section
from tests.support.comparison_results import (
    build_benchmark,
    build_card,
    build_training,
    write_pair_of_systems,
    write_result,
)

X_X_MONO = 1  # the places of systems in the sweep
HYBRID = 3


@pytest.fixture(scope="module")
def section(compared) -> Section:
    """The section of the sweep with its questions."""
    (section,) = attach_query_texts([compared.benchmarks[0].section], {"made_r": build_benchmark()})
    return section


def compute_gains(section: Section, metric: str) -> dict[str, np.ndarray]:
    """Returns how much hybrid gains on the queries of each question in the multilingual pool."""
    rows = np.flatnonzero(section.select_settings("multi")[section.rows.setting_V])
    values = section.average_over_seeds(HYBRID, metric)
    gains = values - section.average_over_seeds(X_X_MONO, metric)
    if metric == "rank_distance":
        gains = -gains
    question_ids = np.array(build_benchmark().question_ids)[section.rows.query_V[rows]]
    return {name: gains[rows][question_ids == name] for name in np.unique(question_ids)}


def read_gain(example: Example, metric: str) -> float:
    gain = float(example.value) - float(example.baseline_value)
    return -gain if metric == "rank_distance" else gain


@pytest.mark.parametrize(("metric", "tolerance"), [("map", 2e-3), ("rank_distance", 0.22)])
@pytest.mark.parametrize("most", [1, 3, 500])
@pytest.mark.parametrize("is_gain", [True, False])
def test_examples_are_the_greatest_gains_and_losses(section, metric, tolerance, most, is_gain):
    """Each question comes once, in the language of its greatest change."""
    changes = {}
    for name, gains in compute_gains(section, metric).items():
        change = gains.max() if is_gain else -gains.min()
        if change > 0:  # a question of no change is neither
            changes[name] = change

    examples = []
    for example in choose_examples(section, HYBRID, metric, most):
        if example.is_gain is is_gain:
            examples.append(example)

    shown = [abs(read_gain(example, metric)) for example in examples]
    greatest = sorted(changes.values(), reverse=True)[:most]
    assert shown == pytest.approx(greatest, abs=tolerance)
    questions = []
    for example, change in zip(examples, shown, strict=True):
        _, language, number = example.query.removesuffix("?").split()
        questions.append(f"q{number}")
        assert change == pytest.approx(changes[f"q{number}"], abs=tolerance)
        assert (example.language, example.pool) == (language, "all")
        assert (read_gain(example, metric) > 0) is is_gain
    assert len(questions) == len(set(questions))


def test_there_are_no_examples_without_a_baseline_or_texts(compared, section):
    assert choose_examples(section, X_X_MONO, "map") == []
    assert choose_examples(compared.benchmarks[0].section, HYBRID, "map") == []


@pytest.mark.parametrize(("metric", "is_shown"), [("rank_distance", False), ("map", True)])
def test_a_question_whose_metric_is_undefined_is_no_example(tmp_path, metric, is_shown):
    """Of one relevant passage there is no rank distance."""
    benchmark = build_benchmark(6)
    relevant = list(benchmark.relevant)
    for query, question_id in enumerate(benchmark.question_ids):
        if question_id == "q0":
            relevant[query] = relevant[query][:1]
    benchmark = replace(benchmark, relevant=relevant)
    for sampler, noise in (("x_x_mono", 0.9), ("hybrid", 1.6)):
        card = build_card(benchmark, build_training(sampler))
        write_result(tmp_path / sampler, benchmark, card, noise=noise)
    sections = build_sections(load_results([tmp_path]))
    (section,) = attach_query_texts(sections, {"made_r": benchmark})
    ((system, _),) = section.tested_systems

    examples = choose_examples(section, system, metric, most=6)

    assert examples
    assert any(example.query.endswith(" 0?") for example in examples) is is_shown


def test_what_does_not_change_is_no_example(tmp_path):
    benchmark = build_benchmark(6)
    write_pair_of_systems(tmp_path, benchmark)
    sections = build_sections(load_results([tmp_path]))
    (section,) = attach_query_texts(sections, {"made_r": benchmark})

    assert choose_examples(section, 0, "map") == []
    assert choose_examples(section, 1, "map") == []
