"""The paper's numbers: beside its own benchmarks in its own form, and nowhere else."""

import pytest

from hybrid_ir.comparison import paper
from hybrid_ir.comparison.everything import compare
from hybrid_ir.comparison.grid import Resampling
from hybrid_ir.comparison.results import read_results
from hybrid_ir.comparison.section import build_sections
from hybrid_ir.evaluation.benchmarks import miracl, xquad_r
from hybrid_ir.files.lareqa import MLQA_R_SOURCE
from tests.support.comparison_results import (
    card_of,
    rows_of,
    small_benchmark,
    table_named,
    training_of,
    write_result,
    write_sweep,
)

XQUAD = ("ar", "de", "el", "en", "es", "hi", "ru", "th", "tr", "vi", "zh")


@pytest.fixture(scope="module")
def with_paper(tmp_path_factory):
    """Results that call themselves XQuAD-R of LaBSE, and MIRACL of e5 in four languages, as the paper measured them."""
    root = tmp_path_factory.mktemp("paper")
    benchmark = small_benchmark(4, "xquad_r", XQUAD, candidates="sentence", max_queries="all")
    for name in ("x_x_mono", "hybrid"):
        write_result(
            root / name,
            benchmark,
            0.9,
            0.3,
            1,
            card_of(benchmark, training_of(name, 1, model="labse")),
        )
    four = small_benchmark(6, "miracl", pool="full", split="dev", max_queries="all")
    write_sweep(root / "miracl", four, seeds=(1,))
    return compare(build_sections(read_results([root])), chance=Resampling(flips=100, resamples=50))


def test_the_papers_numbers_stand_beside_ours_and_say_whose_they_are(with_paper):
    found = rows_of(table_named(with_paper, "table1_macro"))
    assert [cell.text for cell in found["hybrid / LaBSE (paper)", ""][:3]] == [
        "0.817",
        "0.767",
        "0.682",
    ]
    assert (
        rows_of(table_named(with_paper, "table2_macro"))["x_y / XLM-R (paper)", ""][0].value
        == 295.4
    )
    beside = table_named(with_paper, "xquad_r_languages_map")
    titles = [column.title for column in beside.columns]
    assert titles[:5] == [
        "M mAP x_x_mono / labse",
        "M mAP hybrid / labse",
        "M mAP x_x_mono / LaBSE (paper)",
        "M mAP x_y / LaBSE (paper)",
        "M mAP hybrid / LaBSE (paper)",
    ]
    reference = paper.load_paper_numbers()["map"]["labse"]["xquad_r"]
    for row in beside.rows:
        assert row.cells[4].value == reference[row.labels[0]]["mono"]["hybrid"]
    assert table_named(with_paper, "xquad_r_languages_map_paper_xlmr").rows[0].ours is False
    miracl = rows_of(table_named(with_paper, "miracl_languages_miracl_paper_labse"))
    assert (
        miracl["ar",][0].value
        == paper.load_paper_numbers()["miracl"]["labse"]["ar"]["ndcg@10"]["x_x_mono"]
    )
    assert [name for name, _ in table_named(with_paper, "miracl_languages_miracl").groups] == [
        "nDCG@10",
        "R@100",
    ]
    for file in (
        "table1_macro",
        "table2_macro",
        "xquad_r_languages_map",
        "xquad_r_languages_map_paper_xlmr",
    ):
        assert (
            "ranked each distinct question text once, here every question is ranked (queries=all)"
            in (table_named(with_paper, file).note)
        )
    assert "paper" not in table_named(with_paper, "table1_micro").note


def test_the_papers_mean_over_more_languages_is_left_out_and_the_note_says_so(with_paper):
    table = table_named(with_paper, "miracl_languages_miracl_paper_labse")
    assert (
        all(cell.value is None for cell in rows_of(table)["mean",])
        and rows_of(table)["ar",][0].value is not None
    )
    assert (
        "The paper's mean is left out: it is over 15 languages, of which bn, es, fa" in table.note
    )


def measured(name, languages=XQUAD, **choices):
    return {"name": name, "languages": list(languages), "choices": choices}


@pytest.mark.parametrize(
    ("benchmark", "record", "rows", "means", "said"),
    [
        (
            measured("xquad_r", queries="distinct_text", candidates="sentence", max_queries="all"),
            {},
            True,
            True,
            "",
        ),
        (
            measured("xquad_r", queries="all", candidates="paragraph", max_queries="100"),
            {},
            False,
            False,
            "they are for candidates=sentence, not paragraph and max_queries=all, not 100",
        ),
        (
            measured(
                "xquad_r", ("en", "de"), queries="all", candidates="sentence", max_queries="all"
            ),
            {},
            False,
            False,
            "the paper measured all 11 languages, these are 2",
        ),
        (
            measured("xquad_r", split="test", title="True", max_queries="all"),
            {"citation": "yours"},
            False,
            False,
            "other data",
        ),
        (
            measured("xquad_r", split="test", title="True", max_queries="all"),
            {},
            False,
            False,
            "candidates=sentence, not given",
        ),
        (
            measured("xquad_r", queries="all", candidates="sentence", max_queries="all"),
            {"citation": ""},
            False,
            False,
            "other data",
        ),
        (
            measured("mlqa_r", XQUAD, queries="all", candidates="sentence", max_queries="all"),
            {},
            False,
            False,
            "all 7 languages",
        ),
        (
            measured(
                "miracl_hard_negatives",
                ["sw"],
                pool="hard_negatives",
                split="dev",
                max_queries="all",
            ),
            {},
            False,
            False,
            "pool=full, not hard_negatives",
        ),
        (
            measured(
                "miracl",
                {*paper.languages("miracl"), "de", "en", "yo"},
                pool="full",
                split="dev",
                max_queries="all",
            ),
            {},
            True,
            True,
            "mean is over 15 languages, ours over 18",
        ),
        (measured("belebele", max_queries="all"), {}, False, False, ""),
    ],
)
def test_the_papers_numbers_stand_beside_its_own_benchmark_only(
    benchmark, record, rows, means, said
):
    found = paper.beside(benchmark, record)
    assert (
        (found.rows, found.means) == (rows, means)
        and said in found.note
        and bool(said) == bool(found.note)
    )


def test_cards_of_the_real_benchmarks_cite_what_the_paper_measured():
    for source in (xquad_r.SOURCE, MLQA_R_SOURCE, miracl.SOURCE):
        assert paper.BENCHMARKS[source.name][1] in source.citation


def test_a_folder_that_is_called_like_a_benchmark_gets_nothing_of_the_paper(tmp_path):
    benchmark = small_benchmark(6, "xquad_r", split="test", title="True", max_queries="all")
    for name in ("x_x_mono", "hybrid"):
        card = card_of(benchmark, training_of(name, 1, model="labse"))
        card["benchmark"]["citation"] = "yours"
        write_result(tmp_path / name, benchmark, 0.9, 0.3, 1, card)
    made = compare(
        build_sections(read_results([tmp_path])), chance=Resampling(flips=50, resamples=20)
    )
    assert not any(
        "paper" in table.file or not row.ours for table in made.tables for row in table.rows
    )
    for file in ("table1_macro", "table2_macro", "xquad_r_languages_map"):
        table = table_named(made, file)
        assert "other data of the same name" in table.note and not any(
            "(paper)" in column.name for column in table.columns
        )


def test_without_paper_there_is_none(compared, sweep):
    made = compare(
        build_sections(read_results([sweep])),
        paper=False,
        chance=Resampling(flips=50, resamples=20),
    )
    assert not any(
        "paper" in table.file or not row.ours for table in made.tables for row in table.rows
    )
