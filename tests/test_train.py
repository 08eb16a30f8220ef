"""The real command line, in real processes: a run, its files, its checkpoint measured again, a sweep, and what goes wrong."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
import yaml

ROOT = Path(__file__).parents[1]
PNG = b"\x89PNG"


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("runs")


def run(place: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """train.py in a folder of its own, offline; returns when it has ended."""
    return subprocess.run(
        [sys.executable, str(ROOT / "train.py"), *arguments], cwd=place, capture_output=True, text=True, timeout=600,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HYBRID_IR_CACHE": str(place / "cache"), "COLUMNS": "150", "NO_COLOR": "1",
             **environment})


@pytest.fixture(scope="module")
def trained(place) -> Path:
    folder = place / "one"
    done = run(place, "debug=smoke", f"hydra.run.dir={folder}", "logger=wandb", WANDB_SILENT="true", WANDB_API_KEY="")
    assert done.returncode == 0, done.stderr
    assert "batch card" in done.stdout and "mAP by query language" in done.stdout
    return folder


def test_a_run_leaves_everything(trained):
    config = yaml.safe_load((trained / "config.yaml").read_text())
    assert config["sampler"]["monolingual_share"] == 0.5 and config["trainer"]["max_steps"] == 20
    assert json.loads((trained / "versions.json").read_text())["packages"]["torch"]
    card = json.loads((trained / "batch_card.json").read_text())
    assert card["queries_per_step"] == 64 and len(card["languages"]) == 11
    steps = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in steps if "train/loss" in row] == [9, 19]
    assert sum("val/loss" in row for row in steps) == 2
    results = json.loads((trained / "metrics.json").read_text())
    assert set(results["macro_over_settings"]) == {"mono", "cross", "multi"}
    table = pq.read_table(trained / "per_query.parquet").to_pandas()
    for view, means in results["micro_over_questions"].items():
        assert table[table["view"] == view]["map"].mean() == pytest.approx(means["map"], abs=1e-12)
    for picture in ("heat_map.png", "curves.png"):
        assert (trained / picture).read_bytes().startswith(PNG)
    assert list((trained / "wandb").glob("offline-run-*/*.wandb"))


def test_a_checkpoint_loads_with_weights_only_and_gives_the_same_numbers_again(trained, place):
    saved = torch.load(trained / "checkpoints" / "best.ckpt", weights_only=True)
    assert len(saved["tokenizer_canary"]) == 16
    done = run(place, "debug=smoke", "fit=false", f"ckpt_path={trained}", f"hydra.run.dir={place / 'again'}")
    assert done.returncode == 0, done.stderr
    first, again = (json.loads((folder / "metrics.json").read_text()) for folder in (trained, place / "again"))
    assert first == again


def test_a_sweep_ends_with_one_table_and_a_failed_job_stops_nobody(place):
    sweep = place / "sweep"
    done = run(place, "-m", "debug=smoke", "trainer.max_steps=4", "trainer.val_check_interval=4", f"hydra.sweep.dir={sweep}",
               "sampler=x_y", "sampler.batch_size=999999,16,32")
    assert "999999 is larger than the data" in done.stderr and done.returncode == 2
    rows = json.loads((sweep / "comparison.json").read_text())
    assert [len(row) > 1 for row in rows] == [False, True, True] and "3 jobs" in done.stdout


@pytest.mark.parametrize(("arguments", "said"), [
    (["sampler.aplha=1"], "aplha"),
    (["corpus.languages=[en,xx]"], "xx"),
    (["sampler.batch_size=999999"], "batch_size=999999 is larger than the data"),
    (["benchmark=xquad_r", "paths.data_dir=nowhere"], "nowhere"),
    (["model=xlmr"], "model.backbone='FacebookAI/xlm-roberta-base' could not be loaded"),
    (["ckpt_path=nothing.ckpt", "fit=false"], "ckpt_path='nothing.ckpt' is neither a checkpoint nor a run folder"),
    (["trainer.max_steps=0"], "trainer.max_steps=0 must be at least 1"),
    (["trainer.val_check_interval=0", "trainer.gradient_clip_val=-1"],
     "trainer.val_check_interval=0 must be at least 1; trainer.gradient_clip_val=-1 must be at least 0"),
    (["optimizer.lr=-1"], "optimizer: Invalid learning rate: -1"),
    (["optimizer.lr=1e30", "trainer.gradient_clip_val=0"], "training has diverged"),
])
def test_bad_input_is_one_clear_error(place, arguments, said):
    debug = [] if "model=xlmr" in arguments else ["debug=smoke"]  # smoke shrinks the model from scratch
    done = run(place, *debug, f"hydra.run.dir={place / 'bad'}", *arguments)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr and "Traceback" not in done.stderr
    assert not (place / "bad" / "metrics.json").exists()


def test_describe_shows_a_corpus_and_its_plan(place):
    code = ("import sys; from hybrid_ir.commands.main import main; "
            "sys.argv = ['hybrid-ir', 'data', 'describe', 'cldr_facts']; main()")
    done = subprocess.run([sys.executable, "-c", code], cwd=place, capture_output=True, text=True, timeout=300,
                          env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "150"})
    assert done.returncode == 0, done.stderr
    for shown in ("corpus cldr_facts", "benchmark cldr_facts", "Unicode License", "first batches", "sample pairs"):
        assert shown in done.stdout
