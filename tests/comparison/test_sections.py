"""Sections: what may stand in one table, how it is called, and whose questions its examples show."""

import json
from dataclasses import replace

import pytest

from hybrid_ir.comparison.results import read_results
from hybrid_ir.comparison.section import build_sections
from hybrid_ir.comparison.splitting import stems
from hybrid_ir.comparison.texts import attach_texts
from tests.support.comparison_results import SMALL, change, small_benchmark, training_of


@pytest.mark.parametrize(("key", "value"), [("sha256", "cd" * 32), ("pool", {"ar": 3})])
def test_other_data_or_pools_are_refused_naming_both(one, key, value):
    root = one("mine", training_of("hybrid", 1)).parent
    other = one("theirs", training_of("x_y", 1))
    if key == "sha256":
        card = json.loads((other / "evaluation_card.json").read_text())
        change(other / "evaluation_card.json", benchmark=card["benchmark"] | {key: value})
    else:
        metrics = json.loads((other / "metrics.json").read_text())
        change(other / "metrics.json", benchmark=metrics["benchmark"] | {key: value})
    with pytest.raises(
        ValueError, match=rf"made_r: {key} is .*(mine|theirs).* but .*(mine|theirs)"
    ):
        build_sections(read_results([root]))


def test_other_benchmarks_become_other_sections(one):
    root = one("a", training_of("hybrid", 1)).parent
    one("b", training_of("hybrid", 1), benchmark=small_benchmark(5, "other_r"))
    assert [section.name for section in build_sections(read_results([root]))] == [
        "made_r",
        "other_r",
    ]


def test_one_benchmark_with_other_choices_is_another_section_named_with_what_differs(one):
    root = one("a", training_of("hybrid", 1)).parent
    one(
        "b",
        training_of("hybrid", 1),
        benchmark=small_benchmark(8, queries="distinct_text", candidates="sentence"),
    )
    one("c", training_of("x_y", 1))
    found = build_sections(read_results([root]))
    assert [section.name for section in found] == [
        "made_r (queries=all, candidates=none)",
        "made_r (queries=distinct_text, candidates=sentence)",
    ]
    assert [section.stem for section in found] == [
        "made_r_queries_all_candidates_none",
        "made_r_queries_distinct_text_candidates_sentence",
    ]
    assert [section.benchmark for section in found] == ["made_r", "made_r"]
    assert [len(section.systems) for section in found] == [2, 1]


def test_stems_are_names_of_files_and_no_two_alike():
    names = ["xquad_r", "XQuAD-R", "a b", "a_b", "a/b", "数据", "资料", "..", "x" * 300]
    found = stems(names)
    assert found[0] == "xquad_r" and all("/" not in stem and len(stem) < 100 for stem in found)
    anchors = [
        "".join(letter for letter in stem.lower() if letter.isascii() and letter.isalnum())
        for stem in found
    ]
    assert len(set(anchors)) == len(names) and all(anchors)


def test_texts_must_be_those_that_were_measured(one, tmp_path):
    measured = build_sections(read_results([one("a", None)]))
    assert (
        attach_texts(measured, {"whatever": SMALL})[0].texts == SMALL.queries
    )  # by its name, not the config's
    with pytest.raises(
        ValueError,
        match=r"benchmark=made: queries is \d+ here but \d+ in .*benchmark.made.max_queries",
    ):
        attach_texts(measured, {"made": small_benchmark(5)})
    other = replace(SMALL, queries=[text.upper() for text in SMALL.queries])
    with pytest.raises(ValueError, match="the sha256 of its content is"):
        attach_texts(measured, {"made": other})
    folder = tmp_path / "a"
    card = json.loads((folder / "evaluation_card.json").read_text())
    change(folder / "evaluation_card.json", benchmark=card["benchmark"] | {"sha256": None})
    assert (
        attach_texts(build_sections(read_results([folder])), {"made": other})[0].texts
        == other.queries
    )  # nobody can tell


def test_texts_go_to_the_form_they_are_of(one):
    forms = {form: small_benchmark(8, queries=form) for form in ("all", "distinct_text")}
    forms["distinct_text"] = replace(
        forms["distinct_text"], queries=[f"{text}!" for text in SMALL.queries]
    )
    for form, benchmark in forms.items():
        root = one(form, None, benchmark=benchmark).parent
    measured = build_sections(read_results([root]))
    found = attach_texts(measured, {"only": forms["distinct_text"]})
    assert [section.texts for section in found] == [None, forms["distinct_text"].queries]
    both = attach_texts(measured, forms)
    assert [section.texts for section in both] == [
        benchmark.queries for benchmark in forms.values()
    ]
