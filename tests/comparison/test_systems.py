"""Systems: what makes one another, how they are called, and what they are tested against."""

from pathlib import Path

import pytest

from hybrid_ir.comparison.baselines import baselines_of
from hybrid_ir.comparison.curves import alpha_families
from hybrid_ir.comparison.everything import compare
from hybrid_ir.comparison.grid import Resampling
from hybrid_ir.comparison.results import read_results
from hybrid_ir.comparison.section import build_sections
from hybrid_ir.comparison.systems import group
from tests.support.comparison_results import (
    card_of,
    small_benchmark,
    table_named,
    training_of,
    write_result,
)

BENCHMARK = small_benchmark(6)


@pytest.fixture
def one(tmp_path):
    """Write a result: its folder's name, training, and what else is on its card."""

    def write(name, training, benchmark=BENCHMARK, seed=1, **card):
        return write_result(
            tmp_path / name, benchmark, 0.9, 0.3, seed, card_of(benchmark, training) | card
        ).parent

    return write


def settings(share=0.5, **more):
    return {
        "sampler.monolingual_share": share,
        "sampler.batch_size": 64,
        "sampler.seed": 1,
        "loss.mask": "translations",
        "optimizer.weight_decay": 0.01,
        "model.dropout": None,
    } | more


def labels(root) -> dict[str, list]:
    return {system.label: system.seeds for system in group(read_results([root]))[0]}


def test_seeds_of_equal_settings_group_and_any_other_setting_is_another_system(one):
    for seed in (1, 2):
        one(
            f"plain{seed}",
            training_of("hybrid", seed, settings=settings(**{"sampler.seed": seed})),
            seed=seed,
        )
    one("mask", training_of("hybrid", 1, settings=settings(**{"loss.mask": "none"})))
    root = one(
        "decay", training_of("hybrid", 1, settings=settings(**{"optimizer.weight_decay": 0.1}))
    )
    assert labels(root) == {
        "hybrid / e5_small / loss.mask=translations / optimizer.weight_decay=0.01": [1, 2],
        "hybrid / e5_small / loss.mask=none / optimizer.weight_decay=0.01": [1],
        "hybrid / e5_small / loss.mask=translations / optimizer.weight_decay=0.1": [1],
    }


def test_what_a_card_says_twice_is_in_the_label_once_and_unknown_settings_are_not_listed(one):
    one("small", training_of("hybrid", 1, settings=settings()))
    one(
        "large",
        training_of("hybrid", 1, batch_size=128, settings=settings(**{"sampler.batch_size": 128})),
    )
    root = one("old", training_of("hybrid", 1))
    assert set(labels(root)) == {
        "hybrid / e5_small / sampler.batch_size=64",
        "hybrid / e5_small / sampler.batch_size=128",
        "hybrid / e5_small / batch_size=64 / settings unknown",
    }


def test_systems_of_three_shares_and_else_equal_settings_are_a_family(one):
    for name, share in (("x_x_mono", 1.0), ("hybrid", 0.5), ("x_y", 0.0)):
        root = one(name, training_of(name, 1, settings=settings(share)))
    one(
        "tempting",
        training_of(
            "hybrid", 1, monolingual_share=0.3, settings=settings(0.3, **{"loss.mask": "none"})
        ),
    )
    (section,) = build_sections(read_results([root]))
    (members,) = alpha_families(section).values()
    assert [section.systems[i].alpha for i in members] == [0.0, 0.5, 1.0]


def released(path, revision=None, **more):
    return {
        "model": {
            "name": path.rpartition("/")[2],
            "kind": "transformers",
            "path": path,
            "revision": revision,
        },
        **more,
    }


def test_owners_revisions_corrections_and_windows_make_systems(one, tmp_path):
    one("a", None, **released("a/x"))
    root = one("b", None, **released("b/x"))
    assert set(labels(root)) == {"untrained / x / path=a/x", "untrained / x / path=b/x"}
    one("c", None, **released("b/x", "main"))
    assert len(labels(root)) == 3 and "untrained / x / path=b/x / revision=main" in labels(root)
    lir = [{"name": "lir", "estimated_on": "test", "components": k, "source": None} for k in (1, 2)]
    shift = {"name": "shift", "estimated_on": "test", "components": None}
    corrected = tmp_path / "corrected"
    for i, post in enumerate([*lir, shift | {"source": "en"}, shift | {"source": "de"}]):
        one(f"corrected/{i}", None, postprocess=post)
    assert set(labels(corrected)) == {
        "untrained / e5_small / lir / components=1",
        "untrained / e5_small / lir / components=2",
        "untrained / e5_small / shift / source=en",
        "untrained / e5_small / shift / source=de",
    }
    for prefix, pooling in (("", "mean"), ("query: ", "mean"), ("", "cls")):
        one(
            f"read/{prefix}{pooling}",
            None,
            reading={"query_prefix": prefix, "pooling": pooling, "width": 384},
        )
    assert set(labels(tmp_path / "read")) == {
        f"untrained / e5_small / query_prefix={prefix} / pooling={pooling}"
        for prefix, pooling in (("", "mean"), ("query: ", "mean"), ("", "cls"))
    }
    for share in (0.25, 0.5):
        one(
            f"windows/{share}",
            None,
            long_passages={"policy": "max_passage", "window_overlap": share},
        )
    assert set(labels(tmp_path / "windows")) == {
        f"untrained / e5_small / window_overlap={share}" for share in (0.25, 0.5)
    }


def test_where_a_copy_of_a_model_lies_makes_no_other_system(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for place in (
        "here/x",
        "there/x",
        str(tmp_path / "here" / "x"),
    ):  # two of them look like ids of the hub
        Path(place).mkdir(parents=True, exist_ok=True)
        write_result(
            tmp_path / "results" / place.replace("/", "_"),
            BENCHMARK,
            0.9,
            0.3,
            1,
            card_of(BENCHMARK, None) | released(place),
        )
    systems, notes = group(read_results([tmp_path / "results"]))
    assert len(systems) == 1 and "counted once" in notes[0]


def test_the_baseline_is_a_label_or_the_sampler_of_the_same_model(sweep, one):
    systems, _ = group(read_results([sweep]))
    assert [s.label for s in systems] == [
        f"{name} / e5_small" for name in ("untrained", "x_x_mono", "x_y", "hybrid")
    ]
    assert baselines_of(systems, None) == baselines_of(systems, "x_x_mono") == ([1, None, 1, 1], [])
    assert baselines_of(systems, "hybrid / e5_small") == ([3, 3, 3, None], [])
    with pytest.raises(ValueError, match="baseline='labse' is no system of these runs"):
        baselines_of(systems, "labse")
    other = one("labse", training_of("x_y", 1, model="labse"), small_benchmark())
    assert baselines_of(group(read_results([sweep, other]))[0], None)[0] == [1, None, 1, 1, None]


def test_labels_leave_out_the_model_that_all_systems_have(sweep, one):
    """And then a table says it; a baseline is known with the model and without."""
    (alone,) = build_sections(read_results([sweep]))
    assert [s.label for s in alone.systems] == ["untrained", "x_x_mono", "x_y", "hybrid"]
    for name in ("hybrid", "hybrid / e5_small"):
        assert build_sections(read_results([sweep]), name)[0].baselines == (3, 3, 3, None)
    other = one("labse", training_of("x_y", 1, model="labse"), small_benchmark())
    (both,) = build_sections(read_results([sweep, other]))
    assert [s.label for s in both.systems][-2:] == ["hybrid / e5_small", "x_y / labse"]
    for section, said in ((alone, True), (both, False)):
        made = compare([section], chance=Resampling(flips=20, resamples=20))
        assert ("Model: e5_small." in table_named(made, "table1_macro").note) is said


def test_a_baseline_that_nobody_named_is_the_most_alike_and_is_noted(one):
    for precision in ("fp32", "bf16"):
        for name in ("x_x_mono", "hybrid"):
            for steps in (100, 500):
                root = one(
                    f"{name}{precision}{steps}",
                    training_of(name, 1, max_steps=steps),
                    precision=precision,
                )
    one("fp16", training_of("hybrid", 1, max_steps=500), precision="fp16")
    systems, _ = group(read_results([root]))
    chosen, notes = baselines_of(systems, None)
    candidates = [i for i, system in enumerate(systems) if system.sampler == "x_x_mono"]
    for system, base in zip(systems, chosen, strict=True):
        if system.sampler == "hybrid" and system.identity["precision"] != "fp16":
            mine, theirs = system.identity, systems[base].identity
            assert theirs["training/sampler"] == "x_x_mono"
            assert all(mine[key] == theirs[key] for key in ("precision", "training/max_steps"))
        elif system.sampler == "hybrid":
            assert base == candidates[0]
    assert [chosen[i] for i in candidates] == [None, *[candidates[0]] * 3]  # they too are compared
    (note,) = notes
    assert note.count("is tested against") == 8 and "baseline=LABEL" in note
    with pytest.raises(ValueError, match="baseline='x_x_mono' could be any of"):
        baselines_of(systems, "x_x_mono")


def test_two_owners_of_one_name_are_compared_though_neither_was_named(one):
    one("a", None, **released("a/x"))
    root = one("b", None, **released("b/x"))
    assert baselines_of(group(read_results([root]))[0], None)[0] == [None, 0]


def test_a_correction_is_tested_against_the_model_without_it(one):
    one("raw", None)
    root = one("fixed", None, postprocess={"name": "center", "estimated_on": "test"})
    assert baselines_of(group(read_results([root]))[0], None) == ([None, 0], [])


def test_a_baseline_of_one_benchmark_is_used_there_and_noted_elsewhere(one):
    one("here1", training_of("hybrid", 1))
    one("here2", training_of("x_x_mono", 1))
    one("there1", training_of("x_y", 1), small_benchmark(5, "other_r"))
    root = one("there2", training_of("x_x_mono", 1), small_benchmark(5, "other_r"))
    here, there = build_sections(read_results([root]), "hybrid / e5_small")
    assert here.baselines == (1, None) and here.notes == ()
    assert there.baselines == (None, 0)
    (note,) = there.notes
    assert note.startswith("other_r: baseline=hybrid / e5_small is no system here, so")
    with pytest.raises(
        ValueError, match="baseline='bm25' is no system of these runs.*choose a label .*hybrid; x_y"
    ):
        build_sections(read_results([root]), "bm25")
