"""Result folders: found at any depth, grouped by what they are, and refused where they cannot stand in one table."""

import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from hybrid_ir.comparison.grid import Resampling, measure
from hybrid_ir.comparison.results import list_unfinished_jobs, read_results
from hybrid_ir.comparison.section import VIEWS, build_sections
from hybrid_ir.comparison.systems import group
from tests.support.comparison_results import change, training_of

FEW = Resampling(flips=50, resamples=50)


def test_results_are_found_at_any_depth_and_once(sweep):
    assert len(read_results([sweep])) == 7
    assert (
        len(read_results([sweep.parent, sweep / "hybrid_seed1", sweep / "../sweep/hybrid_seed1"]))
        == 7
    )
    assert len(read_results([sweep / "x_y_seed1"])) == 1


def test_seeds_of_one_system_are_grouped_and_everything_else_is_told_apart(one):
    for seed in (1, 2):
        one(f"h{seed}", training_of("hybrid", seed), seed=seed)
        one(f"a{seed}", training_of("hybrid", seed, monolingual_share=0.3), seed=seed)
    one("level", training_of("hybrid", 1, level="example"))
    one("long", training_of("hybrid", 1, max_steps=500))
    one("raw", None)
    root = one("fixed", None, postprocess="center").parent
    systems, _ = group(read_results([root]))
    assert {s.label: s.seeds for s in systems} == {
        "untrained / e5_small": [None],
        "untrained / e5_small / center": [None],
        "hybrid / e5_small / max_steps=120": [1, 2],
        "hybrid / e5_small / max_steps=500": [1],
        "hybrid level=example / e5_small": [1],
        "hybrid alpha=0.3 / e5_small": [1, 2],
    }


def test_means_are_those_of_metrics_json_and_the_spread_is_over_seeds(sweep):
    (section,) = build_sections(read_results([sweep]))
    for metric in ("map", "recall@10", "rank_distance"):
        for micro, key in ((False, "macro_over_settings"), (True, "micro_over_questions")):
            grid = measure(
                section, metric, {view: section.mask(view) for view in VIEWS}, FEW, micro
            )
            for i, system in enumerate(section.systems):
                said = np.array(
                    [
                        [result.metrics[key][view][metric] or np.nan for view in VIEWS]
                        for result in system.results
                    ]
                )
                assert grid.mean[i] == pytest.approx(said.mean(0), nan_ok=True, abs=1e-12)
                if len(said) > 1:
                    assert grid.sd[i] == pytest.approx(said.std(0, ddof=1), nan_ok=True, abs=1e-12)
                base = section.baselines[i]
                if base is not None:
                    assert grid.difference[i] == pytest.approx(
                        grid.mean[i] - grid.mean[base], nan_ok=True, abs=1e-12
                    )


def test_order_of_rows_and_names_of_questions_change_nothing(sweep, tmp_path):
    shutil.copytree(sweep, tmp_path / "copy")
    rng = np.random.default_rng(0)
    for path in (tmp_path / "copy").rglob("per_query.parquet"):
        table = pq.read_table(path)
        table = table.take(rng.permutation(len(table)))
        names = [f"renamed {name[::-1]}" for name in table["question_id"].to_pylist()]
        pq.write_table(
            table.set_column(table.column_names.index("question_id"), "question_id", [names]), path
        )
    before, after = (
        build_sections(read_results([place]))[0] for place in (sweep, tmp_path / "copy")
    )
    pair = [
        measure(s, "map", {"all": s.mask("cross")}, Resampling(flips=4000)) for s in (before, after)
    ]
    assert pair[0].mean == pytest.approx(pair[1].mean, abs=1e-12)
    assert pair[0].standardised == pytest.approx(pair[1].standardised, nan_ok=True)
    assert pair[0].p == pytest.approx(
        pair[1].p, nan_ok=True, abs=0.05
    )  # other questions get the first coin


def test_the_same_numbers_twice_are_counted_once_and_other_numbers_are_refused(one):
    root = one("first", training_of("hybrid", 1)).parent
    shutil.copytree(root / "first", root / "again")
    systems, notes = group(read_results([root]))
    assert len(systems) == 1 and systems[0].seeds == [1] and "counted once" in notes[0]
    one("other", training_of("hybrid", 1), noise=0.4)
    with pytest.raises(
        ValueError,
        match=r"again and .*other are both hybrid / e5_small, seed 1, with different numbers",
    ):
        group(read_results([root]))


def test_numbers_that_are_not_those_of_their_rows_are_refused(one):
    folder = one("mixed", training_of("hybrid", 1))
    means = json.loads((folder / "metrics.json").read_text())["macro_over_settings"]
    means["cross"]["map"] += 0.01
    change(folder / "metrics.json", macro_over_settings=means)
    with pytest.raises(
        ValueError, match=r"mixed: cross map is .* in metrics.json but .* over the rows"
    ):
        build_sections(read_results([folder]))


def test_every_measure_that_is_asked_for_is_held_against_metrics_json(one):
    folder = one("mixed", training_of("hybrid", 1))
    path = folder / "per_query.parquet"
    table = pq.read_table(path)
    place = table.column_names.index("ndcg@10")
    pq.write_table(table.set_column(place, "ndcg@10", [table["ndcg@10"].to_numpy() / 2]), path)
    (made,) = build_sections(read_results([folder]))
    with pytest.raises(
        ValueError, match=r"mixed: mono ndcg@10 is .* in metrics.json but .* over the rows"
    ):
        made.measure("ndcg@10")


@pytest.mark.parametrize(
    ("file", "keys", "said"),
    [
        (
            "metrics.json",
            ["benchmark"],
            r"metrics.json is not as an evaluation writes it \(benchmark is None",
        ),
        ("metrics.json", ["benchmark", "pool"], r"metrics.json is not .*benchmark.pool is None"),
        (
            "metrics.json",
            ["macro_over_settings", "cross"],
            r"metrics.json is not .*macro_over_settings.cross is None",
        ),
        ("evaluation_card.json", ["model"], r"evaluation_card.json is not .*model is None"),
        (
            "evaluation_card.json",
            ["training", "monolingual_share"],
            r"evaluation_card.json is not .*monolingual_share is None",
        ),
    ],
)
def test_an_edited_file_is_named_with_the_key(one, file, keys, said):
    path = one("edited", training_of("hybrid", 1)) / file
    found = json.loads(path.read_text())
    inside = found
    for key in keys[:-1]:
        inside = inside[key]
    inside[keys[-1]] = None
    path.write_text(json.dumps(found))
    with pytest.raises(ValueError, match=said):
        build_sections(read_results([path.parent]))


def test_nan_in_metrics_json_and_a_damaged_parquet_are_named(one):
    folder = one("nan", training_of("hybrid", 1))
    means = json.loads((folder / "metrics.json").read_text())["macro_over_settings"]
    means["mono"]["map"] = float("nan")
    change(folder / "metrics.json", macro_over_settings=means)
    with pytest.raises(ValueError, match=r"nan/metrics.json is not JSON \(NaN is no number\)"):
        read_results([folder])
    cut = one("cut", training_of("hybrid", 1)) / "per_query.parquet"
    cut.write_bytes(cut.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"cut/per_query.parquet is cut or damaged"):
        build_sections(read_results([cut.parent]))


def test_everything_wrong_is_said_at_once(one, tmp_path):
    (one("no_rows", None) / "per_query.parquet").unlink()
    (one("no_json", None) / "metrics.json").write_text("{")
    (one("no_card", None) / "evaluation_card.json").unlink()
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError) as error:
        read_results([tmp_path, tmp_path / "empty", tmp_path / "nowhere"])
    for said in (
        "no_rows has metrics.json but no per_query.parquet",
        "no_json/metrics.json is not JSON",
        "no_card has neither evaluation_card.json nor config.yaml",
        "empty holds no metrics.json",
        "nowhere does not exist",
    ):
        assert said in str(error.value)


def test_an_old_run_folder_is_read_from_its_config(one):
    folder = one("old", training_of("hybrid", 1))
    (folder / "evaluation_card.json").unlink()
    config = {
        "seed": 7,
        "fit": True,
        "ckpt_path": None,
        "center": True,
        "sampler": {
            "monolingual_share": 0.3,
            "level": "batch",
            "batch_size": 64,
            "languages": None,
        },
        "corpus": {"_target_": "hybrid_ir.corpora.sources.mlqa_r.load"},
        "model": {"backbone": "some/e5-small"},
        "trainer": {"max_steps": 120, "precision": "bf16-mixed"},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (system,), _ = group(read_results([folder]))
    assert system.label == "hybrid alpha=0.3 / e5-small / center" and system.seeds == [7]
    (folder / "config.yaml").write_text(yaml.safe_dump({**config, "fit": False}))
    assert group(read_results([folder]))[0][0].label == "untrained / e5-small / center"
    (folder / "config.yaml").write_text(
        yaml.safe_dump({**config, "fit": False, "ckpt_path": "elsewhere"})
    )
    with pytest.raises(
        ValueError, match="old measured elsewhere without training"
    ):  # else a trained model would be "untrained"
        read_results([folder])
    (folder / "config.yaml").write_text("seed: 1")
    with pytest.raises(ValueError, match=r"config.yaml lacks 'sampler'"):
        read_results([folder])


def test_an_evaluated_checkpoint_has_the_training_curves_of_its_run(one):
    run, measured, centred = (
        one(name, training_of("hybrid", 1), postprocess=fix)
        for name, fix in (("run", "none"), ("measured", "none"), ("centred", "center"))
    )
    for folder in (measured, centred):
        (folder / "metrics.jsonl").unlink()
        model = {"name": "run", "kind": "run", "path": str(run / "checkpoints" / "best.ckpt")}
        change(folder / "evaluation_card.json", model=model)
    found = {result.folder.name: result.steps for result in read_results([measured, centred, run])}
    assert (
        found["run"] and found["measured"] == found["run"] and found["centred"] == []
    )  # the run was not centred
    (run / "metrics.jsonl").unlink()
    assert read_results([measured])[0].steps == []


def test_a_job_without_results_is_told_and_a_half_written_step_is_dropped(one):
    folder = one("done", training_of("hybrid", 1))
    (folder / "versions.json").write_text("{}")
    (folder.parent / "failed").mkdir()
    (folder.parent / "failed" / "versions.json").write_text("{}")
    assert list_unfinished_jobs([folder.parent]) == [
        f"{folder.parent / 'failed'} has no results: it failed, or is not done"
    ]
    steps = folder / "metrics.jsonl"
    whole = len(steps.read_text().splitlines())
    steps.write_text(steps.read_text() + '{"step": 1')
    assert len(read_results([folder])[0].steps) == whole
    steps.write_text('{"step\n' + steps.read_text())
    with pytest.raises(ValueError, match=r"metrics.jsonl, line 1, is not JSON"):
        read_results([folder])
