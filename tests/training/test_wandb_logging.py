"""What W&B, TensorBoard and a CSV file know of a run, read from the files that they wrote."""

import json
import math
from pathlib import Path

import pytest
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from hybrid_ir.system.interruption import REQUEUE_EXIT_CODE
from hybrid_ir.training.throughput import PREFIX
from hybrid_ir.training.wandb_logging import build_wandb_logger, get_wandb_id
from tests.support.in_process import hybrid_ir_in_process, train_in_process
from tests.support.wandb_files import OFFLINE, OfflineRun, read_offline_run

SMALL = (
    "debug=smoke",
    "corpus.languages=[de,en]",
    "trainer.max_steps=4",
    "trainer.val_check_interval=2",
    "trainer.log_every_n_steps=1",
)
FEW_QUERIES = ("benchmark.languages=[de,en]", "benchmark.max_queries=5")
FEW_VALIDATED = ("validation.languages=[de,en]", "validation.max_queries=5")


@pytest.fixture(scope="module")
def tracked(place, tmp_path_factory) -> Path:
    """The folder of a run with three trackers, which are a group of the user."""
    folder = tmp_path_factory.mktemp("tracked")
    (folder / "conf" / "logger").mkdir(parents=True)
    loggers = {"defaults": ["wandb", "tensorboard", "csv"]}
    (folder / "conf" / "logger" / "three.yaml").write_text(yaml.safe_dump(loggers))
    ended = train_in_process(
        place,
        f"--config-dir={folder / 'conf'}",
        "logger=three",
        *SMALL,
        *FEW_QUERIES,
        *FEW_VALIDATED,
        "sampler.monolingual_share=0.3",
        "logger.wandb.log_model=true",
        f"hydra.run.dir={folder / 'run'}",
        **OFFLINE,
    )
    assert ended.returncode == 0, ended.stderr
    return folder / "run"


@pytest.fixture(scope="module")
def wandb_run(tracked) -> OfflineRun:
    return read_offline_run(tracked)


@pytest.fixture(scope="module")
def evaluated(tracked, place) -> Path:
    """The results of the run's checkpoint, measured again by `hybrid-ir evaluate`."""
    out = tracked.parent / "evaluated"
    ended = hybrid_ir_in_process(
        place,
        "evaluate",
        f"checkpoint={tracked}",
        "benchmark=[cldr_facts_dev]",
        *FEW_QUERIES,
        "logger=wandb",
        f"out={out}",
        **OFFLINE,
    )
    assert ended.returncode == 0, ended.stderr
    return out / "cldr_facts_dev"


def test_wandb_knows_every_key_of_the_config_and_what_the_run_was_made_of(tracked, wandb_run):
    config = yaml.safe_load((tracked / "config.yaml").read_text())
    assert {key: wandb_run.config[key] for key in config} == config
    versions = json.loads((tracked / "versions.json").read_text())
    assert wandb_run.config["versions"] == versions
    assert "git" in versions
    batch_card = json.loads((tracked / "batch_card.json").read_text())
    assert wandb_run.config["batch_card"] == batch_card


def test_a_run_is_named_by_what_was_typed_and_grouped_by_its_corpus(wandb_run):
    assert wandb_run.name.startswith("tiny_hybrid_alpha=0.3_debug=smoke_corpus.languages=[de,en]_")
    assert wandb_run.name.endswith("_seed1")
    assert len(wandb_run.name) <= 128
    assert wandb_run.group == "cldr_facts"


def test_a_training_uploads_its_pictures_tables_and_files(wandb_run):
    for picture in ("curves", "heat_map", "one_target"):
        assert wandb_run.summary[picture]["_type"] == "image-file"
    assert wandb_run.summary["settings"]["_type"] == "table-file"
    assert wandb_run.artifacts["batch_card"] == ["batch_card.json"]
    assert set(wandb_run.artifacts["results"]) == {
        "evaluation_card.json",
        "metrics.json",
        "per_query.parquet",
    }


def test_the_measured_checkpoint_is_an_artifact_when_asked(wandb_run):
    assert wandb_run.artifacts["model"] == ["best.ckpt"]
    assert set(wandb_run.aliases["model"]) == {"latest", "best"}


def test_the_summary_holds_the_best_validation_the_last_and_the_speed(tracked, wandb_run):
    rows = [json.loads(line) for line in (tracked / "metrics.jsonl").read_text().splitlines()]
    best_of = {"val/loss": min, "val/multi/map": max, "val/multi/rank_distance": min}
    speed = f"{PREFIX}tokens_per_second"
    [*_, logged] = [row[speed] for row in rows if speed in row]
    assert wandb_run.summary[speed] == pytest.approx(logged, rel=1e-6)
    for key, choose in best_of.items():
        values = [row[key] for row in rows if key in row]
        assert len(values) == 2
        summary = wandb_run.summary[key]
        assert summary[choose.__name__] == pytest.approx(choose(values), rel=1e-6)
        assert summary["last"] == pytest.approx(values[-1], rel=1e-6)
    assert wandb_run.best["val/mono/map"] == ["max", "last"]
    assert isinstance(wandb_run.summary["objective"], float)


def test_no_tracker_has_an_epoch(tracked, wandb_run):
    assert "epoch" not in wandb_run.list_keys()
    assert '"epoch"' not in (tracked / "metrics.jsonl").read_text()
    header = (tracked / "csv" / "metrics.csv").read_text().splitlines()[0]
    assert "epoch" not in header.split(",")
    assert "train/loss" in header.split(",")


def test_evaluate_and_train_use_the_same_keys(wandb_run, evaluated):
    """`test/loss` needs the temperature of a training."""
    keys = {key for key in wandb_run.list_keys() if key.startswith("test/")}
    evaluated_run = read_offline_run(evaluated)
    evaluated_keys = {key for key in evaluated_run.list_keys() if key.startswith("test/")}
    assert "test/mono/map" in keys
    assert keys - {"test/loss"} <= evaluated_keys
    assert evaluated_run.summary["test/mono/map"] == pytest.approx(
        wandb_run.summary["test/mono/map"], abs=1e-6
    )
    assert set(evaluated_run.artifacts["results"]) == set(wandb_run.artifacts["results"])
    assert evaluated_run.config["evaluation_card"]["training"]["sampler"] == "hybrid"
    for picture in ("heat_map", "one_target"):
        assert evaluated_run.summary[picture]["_type"] == "image-file"


@pytest.mark.parametrize("name", ["tensorboard", "csv"])
def test_hparams_yaml_holds_the_config_and_versions(tracked, name):
    hyperparameters = yaml.safe_load((tracked / name / "hparams.yaml").read_text())
    config = yaml.safe_load((tracked / "config.yaml").read_text())
    for key, value in config.items():
        assert hyperparameters[key] == value
    assert hyperparameters["versions"]["packages"]["torch"]


def test_tensorboard_lists_the_run_by_its_hyperparameters(tracked):
    events = EventAccumulator(str(tracked / "tensorboard"))
    events.Reload()
    content = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    start = HParamsPluginData.FromString(content).session_start_info
    assert start.hparams["sampler/monolingual_share"].number_value == 0.3
    assert start.hparams["loss/mask"].string_value == "translations"
    tags = events.Tags()["scalars"]
    assert "test/mono/map" in tags
    assert not {"epoch", "hp_metric"} & set(tags)
    *_, objective = events.Scalars("objective")
    assert math.isfinite(objective.value)


def test_a_run_that_goes_on_keeps_its_id_and_an_agent_gives_its_own(tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_SWEEP_ID", raising=False)
    first = get_wandb_id(tmp_path)
    assert len(first) == 8
    assert get_wandb_id(tmp_path) == first
    monkeypatch.setenv("WANDB_SWEEP_ID", "sweep")
    monkeypatch.setenv("WANDB_RUN_ID", "agents")
    assert get_wandb_id(tmp_path) == "agents"
    assert (tmp_path / "wandb_id").read_text() == "agents"


@pytest.mark.parametrize(("exit_code", "preempted"), [(REQUEUE_EXIT_CODE, True), (1, False)])
def test_a_run_that_was_asked_to_stop_is_marked_as_preempted(
    tmp_path, monkeypatch, exit_code, preempted
):
    for name, value in OFFLINE.items():
        monkeypatch.setenv(name, value)
    logger = build_wandb_logger(str(tmp_path), offline=True, project="hybrid-ir")
    logger.log_hyperparams({"seed": 1})

    logger.finish(exit_code)

    assert read_offline_run(tmp_path).preempted == preempted


def test_no_checkpoint_is_kept_unless_asked(tmp_path):
    logger = build_wandb_logger(str(tmp_path), offline=True, project="hybrid-ir")
    logger.log_checkpoint(tmp_path / "missing.ckpt", "best")
    assert not (tmp_path / "wandb").exists()
