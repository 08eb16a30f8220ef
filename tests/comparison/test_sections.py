"""Sections: what may stand in one table, how it is called, and whose queries it shows."""

import json
from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from hybrid_ir.comparison.build_sections import (
    attach_query_texts,
    build_file_stems,
    build_sections,
)
from hybrid_ir.comparison.load import load_results
from tests.support.comparison_results import (
    SMALL_BENCHMARK,
    build_benchmark,
    build_training,
    overwrite_keys,
)


@pytest.mark.parametrize(
    ("file", "key", "value"),
    [("evaluation_card.json", "sha256", "cd" * 32), ("metrics.json", "pool", {"ar": 3})],
)
def test_other_data_or_pools_are_refused_naming_both(write, tmp_path, file, key, value):
    write("mine", build_training("hybrid"))
    path = write("theirs", build_training("x_y")) / file
    benchmark = json.loads(path.read_text())["benchmark"]
    overwrite_keys(path, benchmark=benchmark | {key: value})

    with pytest.raises(
        ValueError, match=rf"made_r: {key} is .*(mine|theirs).* but .*(mine|theirs)"
    ):
        build_sections(load_results([tmp_path]))


def test_means_that_are_not_those_of_the_rows_are_refused(write):
    folder = write("mixed", build_training("hybrid"))
    means = json.loads((folder / "metrics.json").read_text())["macro_over_settings"]
    means["cross"]["map"] += 0.01
    overwrite_keys(folder / "metrics.json", macro_over_settings=means)

    with pytest.raises(
        ValueError, match=r"mixed: cross map is .* in metrics.json but .* over the rows"
    ):
        build_sections(load_results([folder]))


def test_every_metric_that_is_loaded_is_checked_against_metrics_json(write):
    folder = write("mixed", build_training("hybrid"))
    path = folder / "per_query.parquet"
    table = pq.read_table(path)
    place = table.column_names.index("ndcg@10")
    halved = table["ndcg@10"].to_numpy() / 2
    pq.write_table(table.set_column(place, "ndcg@10", [halved]), path)
    (section,) = build_sections(load_results([folder]))

    with pytest.raises(
        ValueError, match=r"mixed: mono ndcg@10 is .* in metrics.json but .* over the rows"
    ):
        section.load_metric("ndcg@10")


def test_other_benchmarks_become_other_sections(write, tmp_path):
    write("a", build_training("hybrid"))
    write("b", build_training("hybrid"), benchmark=build_benchmark(5, "other_r"))

    sections = build_sections(load_results([tmp_path]))

    assert [section.name for section in sections] == ["made_r", "other_r"]


def test_other_choices_make_another_section_named_with_what_differs(write, tmp_path):
    other = build_benchmark(8, queries="distinct_text", candidates="sentence")
    write("a", build_training("hybrid"))
    write("b", build_training("hybrid"), benchmark=other)
    write("c", build_training("x_y"))

    sections = build_sections(load_results([tmp_path]))

    assert [section.name for section in sections] == [
        "made_r (queries=all, candidates=none)",
        "made_r (queries=distinct_text, candidates=sentence)",
    ]
    assert [section.stem for section in sections] == [
        "made_r_queries_all_candidates_none",
        "made_r_queries_distinct_text_candidates_sentence",
    ]
    assert [section.benchmark for section in sections] == ["made_r", "made_r"]
    assert [len(section.systems) for section in sections] == [2, 1]


def test_file_stems_are_safe_and_differ_in_letters_and_digits():
    names = ["xquad_r", "XQuAD-R", "a b", "a_b", "a/b", "数据", "资料", "..", "x" * 300]

    stems = build_file_stems(names)

    assert stems[0] == "xquad_r"
    anchors = set()
    for stem in stems:
        assert "/" not in stem
        assert len(stem) < 100
        anchors.add("".join(letter for letter in stem.lower() if letter.encode().isalnum()))
    assert len(anchors) == len(names)
    assert all(anchors)


def test_query_texts_must_be_those_that_were_measured(write):
    sections = build_sections(load_results([write("a", None)]))
    shorter = build_benchmark(5)
    other = replace(SMALL_BENCHMARK, queries=[text.upper() for text in SMALL_BENCHMARK.queries])

    # A benchmark is recognised by its own name, not by that of its config.
    (section,) = attach_query_texts(sections, {"whatever": SMALL_BENCHMARK})
    assert section.query_texts == SMALL_BENCHMARK.queries
    with pytest.raises(
        ValueError,
        match=r"benchmark=made: queries is \d+ here but \d+ in .*benchmark.made.max_queries",
    ):
        attach_query_texts(sections, {"made": shorter})
    with pytest.raises(ValueError, match="the sha256 of its content is"):
        attach_query_texts(sections, {"made": other})


def test_query_texts_are_attached_where_no_hash_was_recorded(write):
    folder = write("a", None)
    card = json.loads((folder / "evaluation_card.json").read_text())
    without_hash = card["benchmark"] | {"sha256": None}
    overwrite_keys(folder / "evaluation_card.json", benchmark=without_hash)
    other = replace(SMALL_BENCHMARK, queries=[text.upper() for text in SMALL_BENCHMARK.queries])

    (section,) = attach_query_texts(build_sections(load_results([folder])), {"made": other})

    assert section.query_texts == other.queries


def test_query_texts_go_to_the_section_with_their_choices(write, tmp_path):
    every = build_benchmark(8, queries="all")
    distinct = build_benchmark(8, queries="distinct_text")
    distinct = replace(distinct, queries=[f"{text}!" for text in distinct.queries])
    write("all", None, benchmark=every)
    write("distinct", None, benchmark=distinct)
    sections = build_sections(load_results([tmp_path]))

    one = attach_query_texts(sections, {"only": distinct})
    both = attach_query_texts(sections, {"all": every, "distinct": distinct})

    assert [section.query_texts for section in one] == [None, distinct.queries]
    assert [section.query_texts for section in both] == [every.queries, distinct.queries]
