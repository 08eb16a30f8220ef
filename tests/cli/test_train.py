"""The real command line, in real processes: a run, its files, its checkpoint measured again, a sweep, and what goes wrong."""

import json

import pyarrow.parquet as pq
import pytest
import torch
import yaml

from tests.support.command_line import hybrid_ir, train

PNG = b"\x89PNG"


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
    for picture in ("heat_map.png", "one_target.png", "curves.png"):
        assert (trained / picture).read_bytes().startswith(PNG)
    card = json.loads((trained / "evaluation_card.json").read_text())
    assert (
        card["training"]["sampler"] == "hybrid"
        and card["benchmark"]["sha256"]
        and card["reading"]["pooling"] == "mean"
    )
    name = (trained / "wandb_id").read_text()  # under which the run goes on
    assert list((trained / "wandb").glob(f"offline-run-*-{name}/run-{name}.wandb"))


def test_a_checkpoint_loads_with_weights_only_and_gives_the_same_numbers_again(trained, place):
    saved = torch.load(trained / "checkpoints" / "best.ckpt", weights_only=True)
    assert len(saved["tokenizer_canary"]) == 16
    done = train(
        place,
        "debug=smoke",
        "fit=false",
        f"ckpt_path={trained}",
        f"hydra.run.dir={place / 'again'}",
    )
    assert done.returncode == 0, done.stderr
    first, again = (
        json.loads((folder / "metrics.json").read_text()) for folder in (trained, place / "again")
    )
    assert first == again


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["sampler.aplha=1"], "aplha"),
        (["corpus.languages=[en,xx]"], "xx"),
        (["sampler.batch_size=999999"], "batch_size=999999 is larger than the data"),
        (["benchmark=xquad_r", "paths.data_dir=nowhere"], "nowhere"),
        (["model=xlmr"], "model.backbone='FacebookAI/xlm-roberta-base' could not be loaded"),
        (
            ["ckpt_path=nothing.ckpt", "fit=false"],
            "'nothing.ckpt' is neither a checkpoint nor a run folder",
        ),
        (["trainer.max_steps=0"], "trainer.max_steps=0 must be at least 1"),
        (
            ["trainer.val_check_interval=0", "trainer.gradient_clip_val=-1"],
            "trainer.val_check_interval=0 must be at least 1; trainer.gradient_clip_val=-1 must be at least 0",
        ),
        (["optimizer.lr=-1"], "optimizer: Invalid learning rate: -1"),
        (["optimizer.lr=1e30", "trainer.gradient_clip_val=0"], "training has diverged"),
    ],
)
def test_bad_input_is_one_clear_error(place, arguments, said):
    debug = (
        [] if "model=xlmr" in arguments else ["debug=smoke"]
    )  # smoke shrinks the model from scratch
    done = train(place, *debug, f"hydra.run.dir={place / 'bad'}", *arguments)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr and "Traceback" not in done.stderr
    assert not (place / "bad" / "metrics.json").exists()


def test_describe_shows_a_corpus_and_its_plan(place):
    done = hybrid_ir(place, "data", "describe", "cldr_facts")
    assert done.returncode == 0, done.stderr
    for shown in (
        "corpus cldr_facts",
        "benchmark cldr_facts",
        "Unicode License",
        "first batches",
        "sample pairs",
    ):
        assert shown in done.stdout
