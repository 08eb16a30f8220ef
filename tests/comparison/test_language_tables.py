"""Tables by language: means, gains and losses, pairs, seen against unseen."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hybrid_ir.comparison import language_changes
from hybrid_ir.comparison.build_sections import build_sections
from hybrid_ir.comparison.comparison import compare, compare_sections
from hybrid_ir.comparison.language_changes import compare_language_pairs, get_base_language
from hybrid_ir.comparison.load import load_results
from hybrid_ir.comparison.pair_heat_maps import draw_pair_heat_map
from hybrid_ir.comparison.statistics import Resampling
from hybrid_ir.comparison.style import save_report_figure
from hybrid_ir.evaluation.benchmarks import belebele, miracl
from tests.support.comparison_results import (
    build_benchmark,
    get_cells_by_title,
    write_pair_of_systems,
)

HYBRID = 3  # the place of hybrid in the sweep, whose baseline is x_x_mono
SEEN = ["ar", "de", "en"]
VIEWS_BY_TITLE = {"M": "mono", "C": "cross", "Mul": "multi"}


def test_seen_and_unseen_languages_are_their_settings(compared):
    section = compared.benchmarks[0].section
    maps = section.load_metric("map").setting_means[HYBRID].mean(0)
    distances = section.load_metric("rank_distance").setting_means[HYBRID].mean(0)

    table = compared.get_table("made_r_seen")

    assert "seen: ar, de, en" in table.note
    assert "unseen: el" in table.note
    cells = get_cells_by_title(table, "hybrid")
    for title, values, mask in (
        ("M mAP unseen", maps, section.select_settings("mono", ["el"])),
        ("C mAP seen → unseen", maps, section.select_settings("cross", SEEN, ["el"])),
        ("Mul mAP unseen", maps, section.select_settings("multi", ["el"])),
        ("Mul rank distance seen", distances, section.select_settings("multi", SEEN)),
    ):
        assert cells[title].value == pytest.approx(values[mask].mean())
    # A single unseen language has no cross-lingual setting with itself.
    assert len(cells) == 2 + 3 + 2 + 2


def test_training_languages_are_known_in_other_codes(tmp_path):
    languages = ("arb_Arab", "deu_Latn", "ell_Grek", "qqq_Latn")
    write_pair_of_systems(tmp_path, build_benchmark(6, languages=languages))

    comparison = compare([tmp_path], flips=50, resamples=20)

    note = comparison.get_table("made_r_seen").note
    assert "seen: arb_Arab, deu_Latn; unseen: ell_Grek; not known: qqq_Latn." in note


def average_settings(folder: Path, view: str, query_language: str, pool: str | None) -> float:
    """Returns the mean mAP of some settings in metrics.json, of every pool for None."""
    values = []
    for setting in json.loads((folder / "metrics.json").read_text())["settings"]:
        has_pool = pool is None or setting["passage_language"] == pool
        if setting["view"] == view and setting["query_language"] == query_language and has_pool:
            values.append(setting["map"])
    return np.mean(values)


def compute_change(sweep: Path, view: str, query_language: str, pool: str | None = None) -> float:
    """Returns the mean over seeds of hybrid minus that of x_x_mono."""
    means = {}
    for sampler in ("hybrid", "x_x_mono"):
        folders = [sweep / f"{sampler}_seed{seed}" for seed in (1, 2)]
        seeds = [average_settings(folder, view, query_language, pool) for folder in folders]
        means[sampler] = np.mean(seeds)
    return means["hybrid"] - means["x_x_mono"]


def test_changes_of_languages_are_differences_of_their_settings(compared, sweep):
    table = compared.get_table(f"made_r_languages_{HYBRID}")

    assert table.heads == ("query language, view",)
    assert "query languages" in table.title
    assert len(table.rows) == 12
    for row in table.rows:
        language, view_title = row.labels[0].split(", ")
        difference, low, high = row.cells[:3]
        expected = compute_change(sweep, VIEWS_BY_TITLE[view_title], language)
        assert difference.value == pytest.approx(expected)
        assert difference.text[0] in "+−-0"
        assert low.value <= difference.value <= high.value


def test_changes_of_pairs_are_sorted_differences_of_their_settings(compared, sweep):
    table = compared.get_table(f"made_r_pairs_{HYBRID}")

    assert table.heads == ("pair",)
    assert "pairs of query and passage language" in table.title
    differences = [row.cells[0].value for row in table.rows]
    assert differences == sorted(differences, reverse=True)
    assert len(differences) == 16
    for row in table.rows:
        query_language, passage_language = row.labels[0].split(" → ")
        view = "mono" if query_language == passage_language else "cross"
        difference, low, high = row.cells[:3]
        expected = compute_change(sweep, view, query_language, passage_language)
        assert difference.value == pytest.approx(expected)
        assert low.value <= difference.value <= high.value


@pytest.mark.parametrize(
    ("code", "base"),
    [
        ("en", "en"),
        ("eng_Latn", "en"),
        ("swh_Latn", "sw"),
        ("arb_Latn", "ar"),
        ("arz_Arab", "ar"),
        ("zho_Hant", "zh"),
        ("pes_Arab", "fa"),
        ("zh-CN", "zh"),
        ("ceb_Latn", "ceb"),
        ("npi_Latn", "ne"),
        ("und", None),
        ("q7", None),
        ("qqq_Latn", None),
    ],
)
def test_base_languages(code, base):
    assert get_base_language(code) == base


def test_every_language_of_belebele_and_miracl_has_a_base():
    assert all(get_base_language(name) for name in belebele.VARIANTS)
    assert all(get_base_language(name) == name for name in miracl.MIRACL_SHARDS)


def test_with_many_languages_pairs_have_differences_alone(compared, monkeypatch, tmp_path):
    """They are those of tested pairs, and query languages keep their tests."""
    monkeypatch.setattr(language_changes, "PAIRS_TESTED_UP_TO", 3)
    section = compared.benchmarks[0].section
    tested = compared.benchmarks[0].pairs
    resampling = Resampling(flips=50, resamples=20)

    comparison = compare_sections([section], "map", with_paper=True, resampling=resampling)

    comparison.save_tables(tmp_path)  # JSON knows no NaN
    pairs = comparison.benchmarks[0].pairs
    assert pairs.cells == tested.cells
    for name in ("mean", "sd", "difference"):
        assert getattr(pairs, name) == pytest.approx(getattr(tested, name), nan_ok=True)
    for name in ("p", "adjusted_p", "low", "high"):
        assert np.isnan(getattr(pairs, name)).all()
    pairs_table = comparison.get_table(f"made_r_pairs_{HYBRID}")
    assert [column.name for column in pairs_table.columns] == ["difference"]
    assert "too many pairs to test" in pairs_table.note
    assert len(pairs_table.rows) == 16
    languages_table = comparison.get_table(f"made_r_languages_{HYBRID}")
    assert "p Holm" in [column.name for column in languages_table.columns]
    assert draw_pair_heat_map(section, HYBRID, pairs) is not None


def test_31_languages_have_no_tests_of_pairs(tmp_path, monkeypatch):
    """The test, which needs a matrix with a column for every pair, is not called."""
    languages = tuple(f"l{number}" for number in range(31))
    write_pair_of_systems(tmp_path, build_benchmark(2, languages=languages))
    (section,) = build_sections(load_results([tmp_path]))
    monkeypatch.delattr(language_changes, "compare_with_baselines")

    grid = compare_language_pairs(section, "map", Resampling())

    assert len(grid.cells) == 31 * 31


@pytest.mark.parametrize("scale", [1e-3, 1, 1e3])
def test_no_label_of_the_heat_map_is_cut_off(compared, tmp_path, scale):
    """However long its numbers are."""
    benchmark = compared.benchmarks[0]
    pairs = replace(benchmark.pairs, difference=scale * benchmark.pairs.difference)

    figure = draw_pair_heat_map(benchmark.section, HYBRID, pairs)

    save_report_figure(figure, tmp_path, "pairs")
    renderer = figure.canvas.get_renderer()
    for axes in figure.axes:
        for label in (axes.xaxis.label, axes.yaxis.label):
            box = label.get_window_extent(renderer)
            # A pixel is left for the rounding of letters.
            assert box.x0 > -1 and box.y0 > -1, label.get_text()
            assert box.x1 < figure.bbox.x1 + 1 and box.y1 < figure.bbox.y1 + 1, label.get_text()


def test_means_by_language_are_those_of_metrics_json(compared, sweep):
    """Cross-lingual: the mean over the pools of the other languages, by query language."""
    settings = json.loads((sweep / "untrained" / "metrics.json").read_text())["settings"]
    table = compared.get_table("made_r_languages_recall")

    for row in table.rows[:-1]:  # the last one is the mean
        cells = get_cells_by_title(table, *row.labels)
        for view, metric, title in (
            ("mono", "recall@1", "M R@1"),
            ("cross", "recall@1", "C R@1"),
            ("multi", "recall@10", "Mul R@10"),
        ):
            values = []
            for setting in settings:
                if (setting["view"], setting["query_language"]) == (view, row.labels[0]):
                    values.append(setting[metric])
            assert cells[f"{title} untrained"].value == pytest.approx(np.mean(values))
