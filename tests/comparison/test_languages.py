"""Tables by language: means, gains and losses, pairs, seen against unseen."""

import json
from dataclasses import replace

import numpy as np
import pytest

from hybrid_ir.comparison import changes
from hybrid_ir.comparison.base_languages import base_language
from hybrid_ir.comparison.everything import compare, write_tables
from hybrid_ir.comparison.figures import pair_heat_map
from hybrid_ir.comparison.grid import Resampling
from hybrid_ir.comparison.results import read_results
from hybrid_ir.comparison.section import build_sections
from hybrid_ir.comparison.style import save
from hybrid_ir.evaluation.benchmarks import belebele, miracl
from tests.support.comparison_results import (
    card_of,
    rows_of,
    small_benchmark,
    table_named,
    training_of,
    write_result,
)


def test_seen_and_unseen_languages_are_their_settings(compared):
    table = table_named(compared, "made_r_seen")
    assert "seen: ar, de, en" in table.note and "unseen: el" in table.note
    section = compared.parts[0].section
    means = section.measure("map").seeds[3].mean(0)
    cells = dict(
        zip([column.title for column in table.columns], rows_of(table)["hybrid",], strict=True)
    )
    assert cells["M mAP unseen"].value == pytest.approx(means[section.mask("mono", ["el"])].mean())
    assert cells["C mAP seen → unseen"].value == pytest.approx(
        means[section.mask("cross", ["ar", "de", "en"], ["el"])].mean()
    )
    assert cells["Mul mAP unseen"].value == pytest.approx(
        means[section.mask("multi", ["el"])].mean()
    )
    distance = section.measure("rank_distance").seeds[3].mean(0)
    assert cells["Mul rank distance seen"].value == pytest.approx(
        distance[section.mask("multi", ["ar", "de", "en"])].mean()
    )
    assert (
        len(cells) == 2 + 3 + 2 + 2
    )  # languages of one group have no cross-lingual setting among themselves


def setting_means(folder, metric: str) -> dict[tuple[str, str, str], float]:
    """By view, query language and passage language."""
    rows = json.loads((folder / "metrics.json").read_text())["settings"]
    return {
        (row["view"], row["query_language"], row["passage_language"]): row[metric] for row in rows
    }


def test_changes_of_languages_and_pairs_are_differences_of_their_settings(compared, sweep):
    """System 3 is hybrid, its baseline x_x_mono; each with two seeds."""
    mine, theirs = (
        [setting_means(sweep / f"{name}_seed{seed}", "map") for seed in (1, 2)]
        for name in ("hybrid", "x_x_mono")
    )

    def change(chosen) -> float:
        return np.mean(
            [np.mean([means[key] for key in means if chosen(*key)]) for means in mine]
        ) - np.mean([np.mean([means[key] for key in means if chosen(*key)]) for means in theirs])

    languages = table_named(compared, "made_r_languages_3")
    assert (
        languages.heads == ("query language, view",)
        and "query languages" in languages.title
        and len(languages.rows) == 12
    )
    for row in languages.rows:
        (name, view) = row.labels[0].split(", ")
        view = {"M": "mono", "C": "cross", "Mul": "multi"}[view]
        assert row.cells[0].value == pytest.approx(
            change(lambda v, q, _, view=view, name=name: (v, q) == (view, name))
        )
        assert (
            row.cells[0].text[0] in "+−-0"
            and row.cells[1].value <= row.cells[0].value <= row.cells[2].value
        )
    pairs = table_named(compared, "made_r_pairs_3")
    assert pairs.heads == ("pair",) and "pairs of query and passage language" in pairs.title
    for row in pairs.rows:
        pair = tuple(row.labels[0].split(" → "))
        assert row.cells[0].value == pytest.approx(
            change(lambda v, q, p, pair=pair: v != "multi" and (q, p) == pair)
        )


def test_changes_are_sorted_and_hold_every_pair(compared):
    table = table_named(compared, "made_r_pairs_3")
    values = [row.cells[0].value for row in table.rows]
    assert values == sorted(values, reverse=True) and len(values) == 16
    for row in table.rows:
        assert row.cells[1].value <= row.cells[0].value <= row.cells[2].value


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
    assert base_language(code) == base


def test_every_variant_of_belebele_and_every_language_of_miracl_has_a_base():
    assert all(base_language(name) for name in belebele.VARIANTS)
    assert all(base_language(name) == name for name in miracl.MIRACL_SHARDS)


def test_seen_languages_are_known_in_other_codes_and_what_nobody_knows_is_said(tmp_path):
    benchmark = small_benchmark(6, languages=("arb_Arab", "deu_Latn", "ell_Grek", "qqq_Latn"))
    for name in ("x_x_mono", "hybrid"):
        write_result(
            tmp_path / name, benchmark, 0.9, 0.3, 1, card_of(benchmark, training_of(name, 1))
        )
    (part,) = compare(
        build_sections(read_results([tmp_path])), chance=Resampling(flips=50, resamples=20)
    ).parts
    (table,) = part.tables["seen"]
    assert "seen: arb_Arab, deu_Latn; unseen: ell_Grek; not known: qqq_Latn." in table.note


def test_with_many_languages_pairs_have_differences_alone(compared, monkeypatch, tmp_path):
    """The same numbers as where pairs are tested, without p and intervals; query languages keep their tests."""
    monkeypatch.setattr(changes, "PAIRS_TESTED_UP_TO", 3)
    section, tested = compared.parts[0].section, compared.parts[0].pairs
    made = compare([section], chance=Resampling(flips=50, resamples=20))
    write_tables(made, tmp_path)  # JSON knows no NaN
    (part,) = made.parts
    assert part.pairs.cells == tested.cells
    for name in ("mean", "sd", "difference"):
        assert getattr(part.pairs, name) == pytest.approx(getattr(tested, name), nan_ok=True)
    assert all(
        np.isnan(getattr(part.pairs, name)).all() for name in ("p", "adjusted", "low", "high")
    )
    languages, pairs = part.tables["changes"][:2]
    assert [column.name for column in pairs.columns] == [
        "difference"
    ] and "too many pairs to test" in pairs.note
    assert "p Holm" in [column.name for column in languages.columns] and len(pairs.rows) == 16
    assert pair_heat_map(section, 3, part.pairs) is not None


@pytest.mark.parametrize("scale", [1e-3, 1, 1e3])
def test_no_label_of_the_heat_map_is_cut_off_however_long_its_numbers(compared, tmp_path, scale):
    part = compared.parts[0]
    figure = pair_heat_map(
        part.section, 3, replace(part.pairs, difference=scale * part.pairs.difference)
    )
    save(figure, tmp_path, "pairs")
    renderer = figure.canvas.get_renderer()
    for axes in figure.axes:
        for label in (axes.xaxis.label, axes.yaxis.label):
            box = label.get_window_extent(renderer)
            assert box.x0 > -1 and box.y0 > -1, (
                label.get_text()
            )  # a pixel for the rounding of letters
            assert box.x1 < figure.bbox.x1 + 1 and box.y1 < figure.bbox.y1 + 1, label.get_text()


def test_31_languages_take_no_tests_pair_by_pair(tmp_path, monkeypatch):
    """What tests, and needs a matrix with a column for every pair, is not called."""
    languages = tuple(f"l{i}" for i in range(31))
    benchmark = small_benchmark(2, languages=languages)
    for name in ("x_x_mono", "hybrid"):
        write_result(
            tmp_path / name, benchmark, 0.9, 0.3, 1, card_of(benchmark, training_of(name, 1))
        )
    (section,) = build_sections(read_results([tmp_path]))
    monkeypatch.delattr(changes, "measure")
    assert len(changes.pair_grid(section, "map", Resampling()).cells) == 31 * 31


def test_means_by_language_are_those_of_metrics_json(compared, sweep):
    """Cross-lingual: the mean over the pools of the other languages, by the language of the query."""
    rows = json.loads((sweep / "untrained" / "metrics.json").read_text())["settings"]
    table = table_named(compared, "made_r_languages_recall")
    titles = {
        "mono": ("recall@1", "M R@1"),
        "cross": ("recall@1", "C R@1"),
        "multi": ("recall@10", "Mul R@10"),
    }
    for row in table.rows[:-1]:
        for view, (metric, title) in titles.items():
            cell = row.cells[[column.title for column in table.columns].index(f"{title} untrained")]
            mine = [
                setting[metric]
                for setting in rows
                if (setting["view"], setting["query_language"]) == (view, row.labels[0])
            ]
            assert cell.value == pytest.approx(np.mean(mine))
