"""Result folders: found at any depth, and refused where they are damaged or incomplete."""

import json

import pytest
import yaml

from hybrid_ir.comparison.build_sections import build_sections
from hybrid_ir.comparison.load import list_unfinished_jobs, load_results
from hybrid_ir.comparison.systems import group_into_systems
from tests.support.comparison_results import build_training, overwrite_keys

OLD_CONFIG = {
    "seed": 7,
    "fit": True,
    "ckpt_path": None,
    "center": True,
    "sampler": {"monolingual_share": 0.3, "level": "batch", "batch_size": 64, "languages": None},
    "corpus": {"_target_": "hybrid_ir.corpora.sources.mlqa_r.load"},
    "model": {"backbone": "some/e5-small"},
    "trainer": {"max_steps": 120, "precision": "bf16-mixed"},
}


def test_results_are_found_at_any_depth_and_once(sweep):
    inside = sweep / "hybrid_seed1"
    roundabout = sweep / "../sweep/hybrid_seed1"

    assert len(load_results([sweep])) == 7
    assert len(load_results([sweep.parent, inside, roundabout])) == 7
    assert len(load_results([sweep / "x_y_seed1"])) == 1


@pytest.mark.parametrize(
    ("file", "keys", "message"),
    [
        ("metrics.json", ["benchmark"], r"evaluation writes it \(benchmark is None"),
        ("metrics.json", ["benchmark", "pool"], "benchmark.pool is None"),
        ("metrics.json", ["macro_over_settings", "cross"], "macro_over_settings.cross is None"),
        ("evaluation_card.json", ["model"], "model is None"),
        ("evaluation_card.json", ["training", "monolingual_share"], "monolingual_share is None"),
    ],
)
def test_an_edited_file_is_named_with_the_key(write, file, keys, message):
    path = write("edited", build_training("hybrid")) / file
    content = json.loads(path.read_text())
    parent = content
    for key in keys[:-1]:
        parent = parent[key]
    parent[keys[-1]] = None
    path.write_text(json.dumps(content))

    with pytest.raises(ValueError, match=f"{file} is not .*{message}"):
        load_results([path.parent])


def test_nan_in_metrics_json_is_named(write):
    folder = write("nan", build_training("hybrid"))
    means = json.loads((folder / "metrics.json").read_text())["macro_over_settings"]
    means["mono"]["map"] = float("nan")
    overwrite_keys(folder / "metrics.json", macro_over_settings=means)

    with pytest.raises(ValueError, match=r"nan/metrics.json is not JSON \(NaN is no number\)"):
        load_results([folder])


def test_a_damaged_parquet_file_is_named(write):
    path = write("cut", build_training("hybrid")) / "per_query.parquet"
    path.write_bytes(path.read_bytes()[:1000])

    with pytest.raises(ValueError, match=r"cut/per_query.parquet is cut or damaged"):
        build_sections(load_results([path.parent]))


def test_all_problems_are_reported_at_once(write, tmp_path):
    (write("no_rows", None) / "per_query.parquet").unlink()
    (write("no_json", None) / "metrics.json").write_text("{")
    (write("no_card", None) / "evaluation_card.json").unlink()
    (tmp_path / "empty").mkdir()

    with pytest.raises(ValueError) as error:
        load_results([tmp_path, tmp_path / "empty", tmp_path / "nowhere"])

    for message in (
        "no_rows has metrics.json but no per_query.parquet",
        "no_json/metrics.json is not JSON",
        "no_card has neither evaluation_card.json nor config.yaml",
        "empty holds no metrics.json",
        "nowhere does not exist",
    ):
        assert message in str(error.value)


@pytest.fixture
def old_run(write):
    """A run folder of the time before there were cards."""
    folder = write("old", build_training("hybrid"))
    (folder / "evaluation_card.json").unlink()
    return folder


def write_config(folder, config):
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


def test_an_old_run_folder_is_read_from_its_config(old_run):
    write_config(old_run, OLD_CONFIG)
    (system,), _ = group_into_systems(load_results([old_run]))
    assert system.label == "hybrid alpha=0.3 / e5-small / center"
    assert system.seeds == [7]

    write_config(old_run, {**OLD_CONFIG, "fit": False})
    (system,), _ = group_into_systems(load_results([old_run]))
    assert system.label == "untrained / e5-small / center"


def test_an_old_run_of_another_checkpoint_is_refused(old_run):
    """Otherwise a trained model would be called untrained."""
    write_config(old_run, {**OLD_CONFIG, "fit": False, "ckpt_path": "elsewhere"})

    with pytest.raises(ValueError, match="old measured elsewhere without training"):
        load_results([old_run])


def test_an_old_config_without_a_sampler_is_named(old_run):
    write_config(old_run, {"seed": 1})

    with pytest.raises(ValueError, match=r"config.yaml lacks 'sampler'"):
        load_results([old_run])


def test_an_evaluated_checkpoint_has_the_training_curves_of_its_run(write):
    center = {"name": "center", "estimated_on": None}
    run = write("run", build_training("hybrid"))
    measured = write("measured", build_training("hybrid"))
    centred = write("centred", build_training("hybrid"), postprocess=center)
    for folder in (measured, centred):
        (folder / "metrics.jsonl").unlink()
        model = {"name": "run", "kind": "run", "path": str(run / "checkpoints" / "best.ckpt")}
        overwrite_keys(folder / "evaluation_card.json", model=model)

    results = load_results([measured, centred, run])

    steps = {result.folder.name: result.steps for result in results}
    assert steps["run"]
    assert steps["measured"] == steps["run"]
    assert steps["centred"] == []  # the run was not centred
    (run / "metrics.jsonl").unlink()
    assert load_results([measured])[0].steps == []


def test_a_job_without_results_is_noted(write):
    folder = write("done", build_training("hybrid"))
    failed = folder.parent / "failed"
    failed.mkdir()
    for job in (folder, failed):
        (job / "versions.json").write_text("{}")

    notes = list_unfinished_jobs([folder.parent])

    assert notes == [f"{failed} has no results: it failed, or is not done"]


def test_a_half_written_last_step_is_dropped(write):
    folder = write("done", build_training("hybrid"))
    steps = folder / "metrics.jsonl"
    complete = len(steps.read_text().splitlines())

    steps.write_text(steps.read_text() + '{"step": 1')
    assert len(load_results([folder])[0].steps) == complete

    steps.write_text('{"step\n' + steps.read_text())
    with pytest.raises(ValueError, match=r"metrics.jsonl, line 1, is not JSON"):
        load_results([folder])
