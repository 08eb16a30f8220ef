"""Systems: which results are seeds of one, how they are called, and their baselines."""

import shutil
from pathlib import Path

import pytest

from hybrid_ir.comparison.baselines import choose_baselines
from hybrid_ir.comparison.build_sections import build_sections
from hybrid_ir.comparison.comparison import compare
from hybrid_ir.comparison.figures import find_alpha_families
from hybrid_ir.comparison.load import load_results
from hybrid_ir.comparison.systems import System, group_into_systems
from tests.support.comparison_results import (
    SMALL_BENCHMARK,
    build_benchmark,
    build_card,
    build_training,
    write_result,
)

CENTER = {"name": "center", "estimated_on": None}


def load_systems(*places: Path) -> list[System]:
    return group_into_systems(load_results(places))[0]


def load_labels(place: Path) -> dict[str, list]:
    """Returns the seeds of each system by its label."""
    return {system.label: system.seeds for system in load_systems(place)}


def build_settings(share: float = 0.5, **keys) -> dict:
    settings = {
        "sampler.monolingual_share": share,
        "sampler.batch_size": 64,
        "sampler.seed": 1,
        "loss.mask": "translations",
        "optimizer.weight_decay": 0.01,
        "model.dropout": None,
    }
    return settings | keys


def build_released_model(path: str, revision: str | None = None) -> dict:
    """Builds the record of a model of the hub on a card."""
    name = path.rpartition("/")[2]
    return {"name": name, "kind": "transformers", "path": path, "revision": revision}


def test_seeds_are_grouped_and_all_else_makes_another_system(write, tmp_path):
    for seed in (1, 2):
        write(f"h{seed}", build_training("hybrid", seed), seed=seed)
        write(f"a{seed}", build_training("hybrid", seed, monolingual_share=0.3), seed=seed)
    write("level", build_training("hybrid", level="example"))
    write("long", build_training("hybrid", max_steps=500))
    write("raw", None)
    write("fixed", None, postprocess=CENTER)

    assert load_labels(tmp_path) == {
        "untrained / e5_small": [None],
        "untrained / e5_small / center": [None],
        "hybrid / e5_small / max_steps=120": [1, 2],
        "hybrid / e5_small / max_steps=500": [1],
        "hybrid level=example / e5_small": [1],
        "hybrid alpha=0.3 / e5_small": [1, 2],
    }


def test_the_same_numbers_twice_are_counted_once(write, tmp_path):
    first = write("first", build_training("hybrid"))
    shutil.copytree(first, tmp_path / "again")

    (system,), (note,) = group_into_systems(load_results([tmp_path]))

    assert system.seeds == [1]
    assert "counted once" in note


def test_other_numbers_of_one_system_and_seed_are_refused(write, tmp_path):
    write("first", build_training("hybrid"))
    write("other", build_training("hybrid"), noise=0.4)

    with pytest.raises(
        ValueError,
        match=r"first and .*other are both hybrid / e5_small, seed 1, with different numbers",
    ):
        group_into_systems(load_results([tmp_path]))


def test_any_setting_but_the_seed_makes_another_system(write, tmp_path):
    for seed in (1, 2):
        settings = build_settings(**{"sampler.seed": seed})
        write(f"plain{seed}", build_training("hybrid", seed, settings=settings), seed=seed)
    settings = build_settings(**{"loss.mask": "none"})
    write("mask", build_training("hybrid", settings=settings))
    settings = build_settings(**{"optimizer.weight_decay": 0.1})
    write("decay", build_training("hybrid", settings=settings))

    assert load_labels(tmp_path) == {
        "hybrid / e5_small / mask=translations / weight_decay=0.01": [1, 2],
        "hybrid / e5_small / mask=none / weight_decay=0.01": [1],
        "hybrid / e5_small / mask=translations / weight_decay=0.1": [1],
    }


def test_a_label_names_a_repeated_value_once_and_unknown_settings(write, tmp_path):
    large_settings = build_settings(**{"sampler.batch_size": 128})
    write("small", build_training("hybrid", settings=build_settings()))
    write("large", build_training("hybrid", batch_size=128, settings=large_settings))
    write("old", build_training("hybrid"))

    assert set(load_labels(tmp_path)) == {
        "hybrid / e5_small / batch_size=64",
        "hybrid / e5_small / batch_size=128",
        "hybrid / e5_small / batch_size=64 / settings unknown",
    }


def test_three_shares_with_equal_settings_are_a_family(write, tmp_path):
    for sampler, share in (("x_x_mono", 1.0), ("hybrid", 0.5), ("x_y", 0.0)):
        write(sampler, build_training(sampler, settings=build_settings(share)))
    other_settings = build_settings(0.3, **{"loss.mask": "none"})
    write("other", build_training("hybrid", monolingual_share=0.3, settings=other_settings))
    (section,) = build_sections(load_results([tmp_path]))

    (members,) = find_alpha_families(section).values()

    assert [section.systems[place].alpha for place in members] == [0.0, 0.5, 1.0]


def test_owners_and_revisions_make_systems(write, tmp_path):
    write("a", None, model=build_released_model("a/x"))
    write("b", None, model=build_released_model("b/x"))
    assert set(load_labels(tmp_path)) == {"x / path=a/x", "x / path=b/x"}

    write("c", None, model=build_released_model("b/x", "main"))
    labels = load_labels(tmp_path)
    assert len(labels) == 3
    assert "x / path=b/x / revision=main" in labels


def test_corrections_make_systems(write, tmp_path):
    for components in (1, 2):
        lir = {"name": "lir", "estimated_on": "test", "components": components, "source": None}
        write(f"lir{components}", None, postprocess=lir)
    for source in ("en", "de"):
        shift = {"name": "shift", "estimated_on": "test", "components": None, "source": source}
        write(f"shift{source}", None, postprocess=shift)

    assert set(load_labels(tmp_path)) == {
        "untrained / e5_small / lir / components=1",
        "untrained / e5_small / lir / components=2",
        "untrained / e5_small / shift / source=en",
        "untrained / e5_small / shift / source=de",
    }


def test_ways_of_reading_make_systems(write, tmp_path):
    labels = set()
    for prefix, pooling in (("", "mean"), ("query: ", "mean"), ("", "cls")):
        reading = {"query_prefix": prefix, "pooling": pooling, "width": 384}
        write(f"{prefix}{pooling}", None, reading=reading)
        # In quotes, since blanks matter.
        labels.add(f"untrained / e5_small / query_prefix='{prefix}' / pooling={pooling}")

    assert set(load_labels(tmp_path)) == labels


def test_overlaps_of_windows_make_systems(write, tmp_path):
    for share in (0.25, 0.5):
        long_passages = {"policy": "max_passage", "window_overlap": share}
        write(f"{share}", None, long_passages=long_passages)

    assert set(load_labels(tmp_path)) == {
        "untrained / e5_small / window_overlap=0.25",
        "untrained / e5_small / window_overlap=0.5",
    }


def test_a_released_model_is_called_by_its_name(write, tmp_path):
    """Also where a run has measured it that trained nothing."""
    write("released", None, model=build_released_model("intfloat/multilingual-e5-small"))
    pretrained = {"name": "abc", "kind": "run", "path": "abc", "backbone": "labse"}
    write("run", None, model=pretrained)
    random_weights = {"name": "def", "kind": "run", "path": "def", "backbone": "tiny"}
    write("random", None, model=random_weights)
    write("trained", build_training("hybrid"))

    assert set(load_labels(tmp_path)) == {
        "multilingual-e5-small",
        "labse",
        "untrained / tiny",
        "hybrid / e5_small",
    }


def test_evaluations_of_one_encoder_have_short_labels_and_a_legend(write, tmp_path):
    reading = {"query_prefix": "query: ", "passage_prefix": "passage: ", "query_max_length": 64}
    bare = {"query_prefix": "", "passage_prefix": "", "query_max_length": 512}
    model = build_released_model("intfloat/multilingual-e5-small")
    write("prefixes", None, model=model, reading=reading)
    write("bare", None, model=model, reading=bare)

    systems, notes = group_into_systems(load_results([tmp_path]))

    labels = [system.label for system in systems]
    assert labels == [
        "multilingual-e5-small / query_prefix=''",
        "multilingual-e5-small / query_prefix='query: '",
    ]
    assert notes == [
        "multilingual-e5-small / query_prefix='' is multilingual-e5-small: "
        'query_prefix="", passage_prefix="", query_max_length=512',
        "multilingual-e5-small / query_prefix='query: ' is multilingual-e5-small: "
        'query_prefix="query: ", passage_prefix="passage: ", '
        "query_max_length=64",
    ]
    assert systems[0].differences == {f"reading/{key}": value for key, value in bare.items()}


def test_a_long_value_is_cut_on_a_label_and_whole_in_the_legend(write, tmp_path):
    for end in ("x", "y"):
        reading = {"query_prefix": f"Instruct: find the passage that answers {end}"}
        write(end, None, reading=reading)

    systems, notes = group_into_systems(load_results([tmp_path]))

    assert [system.label for system in systems] == [
        "untrained / e5_small / query_prefix=Instruct: find the pass…",
        "untrained / e5_small / query_prefix=Instruct: find the pass… #2",
    ]
    assert len(notes) == 2
    assert notes[1].endswith('query_prefix="Instruct: find the passage that answers y"')


def test_a_name_is_the_label_and_holds_several_seeds(write, tmp_path):
    base = write("released", None, model=build_released_model("intfloat/e5"))
    tuned = [write(f"h{seed}", build_training("hybrid", seed), seed=seed) for seed in (1, 2)]

    (section,) = build_sections(load_results({"tuned": tuned, "base": base}))

    assert [system.label for system in section.systems] == ["tuned", "base"]
    assert section.systems[0].seeds == [1, 2]
    assert section.baselines == (None, 0)
    assert section.notes[:2] == ("tuned is hybrid / e5_small", "base is e5")
    (section,) = build_sections(load_results({"tuned": tuned, "base": base}), "base")
    assert section.baselines == (1, None)


def test_names_tell_equal_systems_from_each_other(write, tmp_path):
    first = write("first", build_training("hybrid"))
    second = write("second", build_training("hybrid"), noise=0.4)

    systems, _ = group_into_systems(load_results({"old": first, "new": [second]}))

    assert [system.label for system in systems] == ["old", "new"]


def test_a_name_of_a_sweep_stands_before_the_labels_of_its_systems(sweep):
    systems, _ = group_into_systems(load_results({"ours": sweep}), with_model=False)

    labels = [system.label for system in systems]
    assert labels == ["ours / untrained", "ours / x_x_mono", "ours / x_y", "ours / hybrid"]


def test_a_folder_has_one_name(sweep):
    with pytest.raises(ValueError, match="untrained is in a and in b: give it one"):
        load_results({"a": sweep / "untrained", "b": [sweep / "untrained"]})


def test_where_a_copy_of_a_model_lies_makes_no_other_system(tmp_path, monkeypatch):
    """Two of the paths look like ids of the hub."""
    monkeypatch.chdir(tmp_path)
    for place in ("here/x", "there/x", str(tmp_path / "here" / "x")):
        Path(place).mkdir(parents=True, exist_ok=True)
        card = build_card(SMALL_BENCHMARK, None, model=build_released_model(place))
        write_result(tmp_path / "results" / place.replace("/", "_"), SMALL_BENCHMARK, card)

    systems, notes = group_into_systems(load_results([tmp_path / "results"]))

    assert len(systems) == 1
    assert "counted once" in notes[0]


def test_the_baseline_is_a_label_or_the_sampler_of_the_same_model(sweep, write):
    systems = load_systems(sweep)
    labels = [system.label for system in systems]
    expected = [f"{name} / e5_small" for name in ("untrained", "x_x_mono", "x_y", "hybrid")]
    assert labels == expected

    assert choose_baselines(systems, None) == ([1, None, 1, 1], [])
    assert choose_baselines(systems, "x_x_mono") == ([1, None, 1, 1], [])
    assert choose_baselines(systems, "hybrid / e5_small") == ([3, 3, 3, None], [])
    with pytest.raises(ValueError, match="baseline='labse' is no system of these runs"):
        choose_baselines(systems, "labse")

    other = write("labse", build_training("x_y", model="labse"), build_benchmark())
    baselines, _ = choose_baselines(load_systems(sweep, other), None)
    assert baselines == [1, None, 1, 1, None]


def test_labels_leave_out_the_model_that_all_systems_have(sweep, write):
    """Then a table names it, and a baseline is known with the model and without."""
    (section,) = build_sections(load_results([sweep]))
    assert [system.label for system in section.systems] == [
        "untrained",
        "x_x_mono",
        "x_y",
        "hybrid",
    ]
    for name in ("hybrid", "hybrid / e5_small"):
        (section,) = build_sections(load_results([sweep]), name)
        assert section.baselines == (3, 3, 3, None)


def test_a_table_names_the_model_only_where_labels_do_not(compared, sweep, write):
    other = write("labse", build_training("x_y", model="labse"), build_benchmark())

    both = compare([sweep, other], flips=20, resamples=20)

    labels = [system.label for system in both.benchmarks[0].section.systems]
    assert labels[-2:] == ["hybrid / e5_small", "x_y / labse"]
    assert "Model: e5_small." in compared.get_table("table1_macro").note
    assert "Model: e5_small." not in both.get_table("table1_macro").note


def test_a_baseline_that_nobody_named_is_the_most_similar_one(write, tmp_path):
    for precision in ("fp32", "bf16"):
        for sampler in ("x_x_mono", "hybrid"):
            for steps in (100, 500):
                training = build_training(sampler, max_steps=steps)
                write(f"{sampler}{precision}{steps}", training, precision=precision)
    write("fp16", build_training("hybrid", max_steps=500), precision="fp16")
    systems = load_systems(tmp_path)

    baselines, (note,) = choose_baselines(systems, None)

    candidates = []
    for place, system in enumerate(systems):
        if system.sampler == "x_x_mono":
            candidates.append(place)
            continue
        baseline = systems[baselines[place]]
        assert baseline.sampler == "x_x_mono"
        if system.identity["precision"] == "fp16":
            assert baseline is systems[candidates[0]]  # none is read in the same way
        else:
            for key in ("precision", "training/max_steps"):
                assert system.identity[key] == baseline.identity[key]
    # The candidates are compared, too.
    assert [baselines[place] for place in candidates] == [None, *[candidates[0]] * 3]
    assert note.count("is tested against") == 8
    assert "baseline=LABEL" in note
    with pytest.raises(ValueError, match="baseline='x_x_mono' could be any of"):
        choose_baselines(systems, "x_x_mono")


def test_two_owners_of_one_name_are_compared_without_a_named_baseline(write, tmp_path):
    write("a", None, model=build_released_model("a/x"))
    write("b", None, model=build_released_model("b/x"))

    baselines, _ = choose_baselines(load_systems(tmp_path), None)

    assert baselines == [None, 0]


def test_a_correction_is_tested_against_the_model_without_it(write, tmp_path):
    write("raw", None)
    write("fixed", None, postprocess={"name": "center", "estimated_on": "test"})

    assert choose_baselines(load_systems(tmp_path), None) == ([None, 0], [])


def test_a_baseline_of_one_benchmark_is_noted_where_it_is_missing(write, tmp_path):
    other = build_benchmark(5, "other_r")
    write("here1", build_training("hybrid"))
    write("here2", build_training("x_x_mono"))
    write("there1", build_training("x_y"), other)
    write("there2", build_training("x_x_mono"), other)
    results = load_results([tmp_path])

    here, there = build_sections(results, "hybrid / e5_small")

    assert here.baselines == (1, None)
    assert here.notes == ()
    assert there.baselines == (None, 0)
    (note,) = there.notes
    assert note.startswith("other_r: baseline=hybrid / e5_small is no system here, so")
    with pytest.raises(
        ValueError, match="baseline='bm25' is no system of these runs.*choose a label .*hybrid; x_y"
    ):
        build_sections(results, "bm25")
