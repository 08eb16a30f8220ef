"""The paper's numbers: beside its own benchmarks measured in its own way, and nowhere else."""

import pytest

from hybrid_ir.comparison import paper
from hybrid_ir.comparison.comparison import compare, compare_sections
from hybrid_ir.comparison.statistics import Resampling
from hybrid_ir.evaluation.benchmarks import miracl, xquad_r
from hybrid_ir.files.lareqa import MLQA_R_SOURCE
from tests.support.comparison_results import (
    build_benchmark,
    build_card,
    build_training,
    get_cells_by_labels,
    write_pair_of_systems,
    write_result,
    write_sweep,
)

XQUAD_LANGUAGES = ("ar", "de", "el", "en", "es", "hi", "ru", "th", "tr", "vi", "zh")
MIRACL_LANGUAGES = tuple(sorted(paper.list_paper_languages("miracl")))
LAREQA_CHOICES = {"candidates": "sentence", "max_queries": "all"}
MIRACL_CHOICES = {"pool": "full", "split": "dev", "max_queries": "all"}


@pytest.fixture(scope="module")
def with_paper(tmp_path_factory):
    """Results called XQuAD-R of LaBSE and MIRACL of e5 in four languages, as in the paper."""
    root = tmp_path_factory.mktemp("paper")
    benchmark = build_benchmark(4, "xquad_r", XQUAD_LANGUAGES, **LAREQA_CHOICES)
    write_pair_of_systems(root, benchmark, model="labse")
    four_languages = build_benchmark(6, "miracl", **MIRACL_CHOICES)
    write_sweep(root / "miracl", four_languages, seeds=(1,))
    return compare([root], flips=100, resamples=50)


def test_the_papers_means_stand_below_ours(with_paper):
    table1 = get_cells_by_labels(with_paper.get_table("table1_macro"))
    table2 = get_cells_by_labels(with_paper.get_table("table2_macro"))

    shown = [cell.text for cell in table1["hybrid / LaBSE (paper)", ""][:3]]
    assert shown == ["0.817", "0.767", "0.682"]
    assert table2["x_y / XLM-R (paper)", ""][0].value == 295.4


def test_the_papers_numbers_by_language_stand_beside_ours(with_paper):
    table = with_paper.get_table("xquad_r_languages_map")
    printed = paper.load_paper_numbers()["map"]["labse"]["xquad_r"]

    assert [column.title for column in table.columns[:5]] == [
        "M mAP x_x_mono / labse",
        "M mAP hybrid / labse",
        "M mAP x_x_mono / LaBSE (paper)",
        "M mAP x_y / LaBSE (paper)",
        "M mAP hybrid / LaBSE (paper)",
    ]
    for row in table.rows:
        assert row.cells[4].value == printed[row.labels[0]]["mono"]["hybrid"]


def test_models_of_the_paper_that_were_not_measured_have_tables(with_paper):
    xlmr = with_paper.get_table("xquad_r_languages_map_paper_xlmr")
    labse = with_paper.get_table("miracl_languages_miracl_paper_labse")
    printed = paper.load_paper_numbers()["miracl"]["labse"]["ar"]["ndcg@10"]["x_x_mono"]

    assert xlmr.rows[0].from_paper
    assert get_cells_by_labels(labse)["ar",][0].value == printed
    groups = with_paper.get_table("miracl_languages_miracl").list_groups()
    assert [name for name, _ in groups] == ["nDCG@10", "R@100"]


@pytest.mark.parametrize(
    "file",
    [
        "table1_macro",
        "table2_macro",
        "xquad_r_languages_map",
        "xquad_r_languages_map_paper_xlmr",
    ],
)
def test_a_note_names_how_the_paper_ranked_questions(with_paper, file):
    assert (
        "ranked each distinct question text once, here every question is ranked (queries=all)"
        in with_paper.get_table(file).note
    )


def test_micro_means_have_no_note_on_the_paper(with_paper):
    assert "paper" not in with_paper.get_table("table1_micro").note


def test_the_papers_mean_over_more_languages_is_left_out(with_paper):
    table = with_paper.get_table("miracl_languages_miracl_paper_labse")
    cells = get_cells_by_labels(table)

    assert all(cell.value is None for cell in cells["mean",])
    assert cells["ar",][0].value is not None
    assert (
        "The paper's mean is left out: it is over 15 languages, of which bn, es, fa" in table.note
    )


def describe_benchmark(name, choices, languages=XQUAD_LANGUAGES):
    """Returns a benchmark as metrics.json describes it."""
    return {"name": name, "languages": list(languages), "choices": choices}


@pytest.mark.parametrize(
    ("measured", "note"),
    [
        (
            describe_benchmark("xquad_r", {"queries": "distinct_text", **LAREQA_CHOICES}),
            "",
        ),
        (
            describe_benchmark("miracl", MIRACL_CHOICES, (*MIRACL_LANGUAGES, "de", "en", "yo")),
            "mean is over 15 languages, ours over 18",
        ),
    ],
)
def test_the_papers_numbers_stand_beside_its_own_benchmarks(measured, note):
    comparability = paper.check_comparability(measured, {})

    assert comparability.languages
    assert comparability.means
    assert note in comparability.note
    assert bool(note) == bool(comparability.note)


# As a folder of somebody's own data is described that is called like a benchmark.
OWN_CHOICES = {"split": "test", "title": "True", "max_queries": "all"}


@pytest.mark.parametrize(
    ("measured", "card", "note"),
    [
        (
            describe_benchmark(
                "xquad_r", {"queries": "all", "candidates": "paragraph", "max_queries": "100"}
            ),
            {},
            "they are for candidates=sentence, not paragraph and max_queries=all, not 100",
        ),
        (
            describe_benchmark("xquad_r", {"queries": "all", **LAREQA_CHOICES}, ("en", "de")),
            {},
            "the paper measured all 11 languages, these are 2",
        ),
        (describe_benchmark("xquad_r", OWN_CHOICES), {"citation": "yours"}, "other data"),
        (describe_benchmark("xquad_r", OWN_CHOICES), {}, "candidates=sentence, not given"),
        (
            describe_benchmark("xquad_r", {"queries": "all", **LAREQA_CHOICES}),
            {"citation": ""},
            "other data",
        ),
        (
            describe_benchmark("mlqa_r", {"queries": "all", **LAREQA_CHOICES}),
            {},
            "all 7 languages",
        ),
        (
            describe_benchmark(
                "miracl_hard_negatives", {**MIRACL_CHOICES, "pool": "hard_negatives"}, ["sw"]
            ),
            {},
            "pool=full, not hard_negatives",
        ),
        (describe_benchmark("belebele", {"max_queries": "all"}), {}, ""),
    ],
)
def test_the_papers_numbers_stand_beside_no_other_benchmark(measured, card, note):
    comparability = paper.check_comparability(measured, card)

    assert not comparability.languages
    assert not comparability.means
    assert note in comparability.note
    assert bool(note) == bool(comparability.note)


def test_cards_of_the_real_benchmarks_cite_what_the_paper_measured():
    for source in (xquad_r.SOURCE, MLQA_R_SOURCE, miracl.SOURCE):
        assert paper.PAPER_BENCHMARKS[source.name].citation in source.citation


def has_paper_rows(comparison) -> bool:
    for table in comparison.tables:
        if "paper" in table.file or any(row.from_paper for row in table.rows):
            return True
    return False


def test_own_data_called_like_a_benchmark_have_no_paper_numbers(tmp_path):
    benchmark = build_benchmark(6, "xquad_r", **OWN_CHOICES)
    for sampler in ("x_x_mono", "hybrid"):
        card = build_card(benchmark, build_training(sampler, model="labse"))
        card["benchmark"]["citation"] = "yours"
        write_result(tmp_path / sampler, benchmark, card)

    comparison = compare([tmp_path], flips=50, resamples=20)

    assert not has_paper_rows(comparison)
    for file in ("table1_macro", "table2_macro", "xquad_r_languages_map"):
        table = comparison.get_table(file)
        assert "other data of the same name" in table.note
        assert not any("(paper)" in column.name for column in table.columns)


def test_without_paper_there_are_no_paper_numbers(with_paper):
    sections = [benchmark.section for benchmark in with_paper.benchmarks]
    resampling = Resampling(flips=50, resamples=20)

    without = compare_sections(sections, "map", with_paper=False, resampling=resampling)

    assert has_paper_rows(with_paper)
    assert not has_paper_rows(without)
