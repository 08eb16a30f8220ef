"""train.py as users type it: a run, its files, its checkpoint measured again, and its errors."""

import json
import shutil

import pyarrow.parquet as pq
import pytest
import torch
import yaml

from hybrid_ir.cldr.languages import XQUAD
from tests.support.command_line import train
from tests.support.in_process import hybrid_ir_in_process, train_in_process

PNG = b"\x89PNG"
# Less data than by default: what is refused is refused whatever the languages.
SMALL = ("debug=smoke", "corpus.languages=[de,en]", "validation.max_queries=5")


def test_a_run_leaves_all_its_files(trained):
    config = yaml.safe_load((trained / "config.yaml").read_text())
    assert config["sampler"]["monolingual_share"] == 0.5
    assert config["trainer"]["max_steps"] == 20
    versions = json.loads((trained / "versions.json").read_text())
    assert versions["packages"]["torch"]
    batch_card = json.loads((trained / "batch_card.json").read_text())
    assert batch_card["queries_per_step"] == 64
    assert len(batch_card["languages"]) == 11
    for picture in ("heat_map.png", "one_target.png", "curves.png"):
        assert (trained / picture).read_bytes().startswith(PNG)
    evaluation_card = json.loads((trained / "evaluation_card.json").read_text())
    assert evaluation_card["training"]["sampler"] == "hybrid"
    assert evaluation_card["benchmark"]["sha256"]
    assert evaluation_card["reading"]["pooling"] == "mean"


def test_a_run_logs_its_steps_and_validations(trained):
    rows = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "train/loss" in row] == [10, 20]
    assert len([row for row in rows if "val/loss" in row]) == 2


def test_per_query_values_have_the_means_of_the_results(trained):
    results = json.loads((trained / "metrics.json").read_text())
    assert set(results["macro_over_settings"]) == {"mono", "cross", "multi"}
    table = pq.read_table(trained / "per_query.parquet").to_pandas()
    for view, means in results["micro_over_questions"].items():
        mean = table[table["view"] == view]["map"].mean()
        assert mean == pytest.approx(means["map"], abs=1e-12)


def test_wandb_knows_a_run_by_an_id_that_stays(trained):
    name = (trained / "wandb_id").read_text()
    assert list((trained / "wandb").glob(f"offline-run-*-{name}/run-{name}.wandb"))


def test_a_checkpoint_loads_with_weights_only_and_gives_its_numbers_again(trained, place):
    saved = torch.load(trained / "checkpoints" / "best.ckpt", weights_only=True)
    assert len(saved["tokenizer_canary"]) == 16
    ended = train_in_process(
        place,
        "debug=smoke",
        "fit=false",
        f"ckpt_path={trained}",
        f"hydra.run.dir={place / 'again'}",
    )
    assert ended.returncode == 0, ended.stderr
    results = json.loads((trained / "metrics.json").read_text())
    results_again = json.loads((place / "again" / "metrics.json").read_text())
    assert results == results_again


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sampler.aplha=1"], "aplha"),
        (["corpus.languages=[en,xx]"], "xx"),
        (["sampler.batch_size=999999"], "batch_size=999999 is larger than the data"),
        (["benchmark=xquad_r", "paths.data_dir=nowhere"], "nowhere"),
        (["ckpt_path=nothing.ckpt", "fit=false"], "'nothing.ckpt' is neither a checkpoint nor"),
        (["trainer.max_steps=0"], "trainer.max_steps=0 must be at least 1"),
        (
            ["trainer.val_check_interval=0", "trainer.gradient_clip_val=-1"],
            "trainer.val_check_interval=0 must be at least 1; trainer.gradient_clip_val=-1 must be",
        ),
        (["trainer.precision=bf16-true"], "use trainer.precision=bf16-mixed"),
        (["trainer.gradient_clip_algorithm=sum"], "gradient_clip_algorithm"),
        (["trainer.fast_dev_run=true"], "trainer.fast_dev_run: there is no such key here, debug="),
        (["+trainer.fast_dev_run=true"], "debug=smoke runs every part once"),
        (["+trainer.overfit_batches=2"], "debug=overfit, or data.distinct_batches=N"),
        (["callbacks.early_stopping.monitor=val/nothing"], "callbacks.early_stopping.monitor:"),
        (["fit=flase"], "fit='flase' must be true or false"),
        (["cache_gradients=flase"], "cache_gradients='flase' must be true or false"),
        (["optimizer.lr=-1"], "optimizer: Invalid learning rate: -1"),
        (["optimizer.lr=1e30", "trainer.gradient_clip_val=0"], "training has diverged"),
    ],
)
def test_bad_input_is_one_clear_error(place, tmp_path, arguments, message):
    folder = tmp_path / "bad"
    ended = train_in_process(place, *SMALL, f"hydra.run.dir={folder}", *arguments)
    assert ended.returncode == 2, ended.stderr
    assert message in ended.stderr and "Traceback" not in ended.stderr
    assert not (folder / "metrics.json").exists()


def test_a_model_without_a_backbone_is_one_clear_error(place, tmp_path):
    ended = train_in_process(place, "model=default", f"hydra.run.dir={tmp_path / 'bad'}")
    assert ended.returncode == 2
    assert "error: model.backbone: not given" in ended.stderr


def test_a_killed_process_that_builds_batches_is_one_clear_error(place, tmp_path):
    ended = train(
        place,
        *SMALL,
        "trainer.max_steps=500",
        "data.num_workers=1",
        "+callbacks.fault._target_=tests.support.faults.KilledWorker",
        f"hydra.run.dir={tmp_path / 'killed'}",
    )
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    message = "error: a process that builds batches (data.num_workers, process"
    assert message in ended.stderr
    assert "signal 9" in ended.stderr and "use fewer with data.num_workers=" in ended.stderr


def test_a_model_that_is_not_to_be_had_is_one_clear_error(place, tmp_path):
    arguments = ("model=xlmr", "corpus.languages=[de,en]", f"hydra.run.dir={tmp_path / 'bad'}")
    ended = train_in_process(place, *arguments)
    assert ended.returncode == 2
    assert "model.backbone='FacebookAI/xlm-roberta-base' could not be loaded" in ended.stderr
    assert not (tmp_path / "bad").exists()


def test_a_run_of_another_version_is_refused_before_anything_is_measured(trained, place, tmp_path):
    old = tmp_path / "old"
    shutil.copytree(trained, old)
    config = (old / "config.yaml").read_text()
    assert "hybrid_ir.model.encoder.BiEncoder" in config
    config = config.replace("hybrid_ir.model.encoder.BiEncoder", "hybrid_ir.encoder.BiEncoder")
    (old / "config.yaml").write_text(config)
    arguments = (
        "debug=smoke",
        "fit=false",
        f"ckpt_path={old}",
        f"hydra.run.dir={tmp_path / 'new'}",
    )
    ended = train_in_process(place, *arguments)
    assert ended.returncode == 2
    assert (
        "model._target_=hybrid_ir.encoder.BiEncoder does not exist in this version" in ended.stderr
    )
    assert not (tmp_path / "new").exists()


def test_describe_shows_a_corpus_and_its_plan(place):
    ended = hybrid_ir_in_process(place, "data", "describe", "cldr_facts")
    assert ended.returncode == 0, ended.stderr
    for language in XQUAD:
        assert f"│ {language} " in ended.stdout
    for shown in (
        "corpus cldr_facts",
        "benchmark cldr_facts",
        "Unicode License",
        "first batches",
        "sample pairs",
    ):
        assert shown in ended.stdout
