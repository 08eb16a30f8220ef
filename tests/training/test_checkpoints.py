"""Checkpoints of trainings: there however a run ends, exact to go on from, for one encoder."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint

from hybrid_ir.training.checkpoint_callbacks import LastCheckpoint
from hybrid_ir.training.checkpoints import drop_logged_steps
from hybrid_ir.training.loggers import JsonlLogger
from tests.support.small_run import SmallTraining

INTERRUPTED_STEP = 7


class Interruption(Callback):
    """Ends the process as Ctrl-C does."""

    def on_train_batch_end(self, trainer: Any, *_) -> None:
        if trainer.global_step == INTERRUPTED_STEP:
            raise KeyboardInterrupt


def read_log(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_the_last_checkpoint_is_there_after_an_early_stop(
    build_training, tmp_path, numbers_benchmark
):
    callbacks = [
        EarlyStopping("val/loss", patience=1),
        LastCheckpoint(str(tmp_path), every_n_train_steps=100),
    ]
    training = build_training(
        numbers_benchmark, max_steps=100, learning_rate=0.0, callbacks=callbacks
    ).fit()
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert saved["global_step"] == training.trainer.global_step < 100


@pytest.mark.parametrize("batches_per_step", [1, 2])
def test_an_interrupted_run_goes_on_from_any_checkpoint_as_if_uninterrupted(
    build_training, tmp_path, numbers_benchmark, batches_per_step
):
    def build(folder: Path, *callbacks: Callback) -> SmallTraining:
        best = ModelCheckpoint(
            folder, filename="best", monitor="val/loss", enable_version_counter=False
        )
        last = LastCheckpoint(str(folder), every_n_train_steps=5)
        return build_training(
            numbers_benchmark,
            max_steps=12,
            accumulate_grad_batches=batches_per_step,
            val_check_interval=3 * batches_per_step,
            learning_rate=1e-2,
            encoder={"dropout": 0.2},
            callbacks=[best, last, EarlyStopping("val/loss"), *callbacks],
            logger=JsonlLogger(folder),
        )

    for name in ("uninterrupted", "interrupted"):
        (tmp_path / name).mkdir()
    uninterrupted = build(tmp_path / "uninterrupted").fit()
    with pytest.raises(SystemExit):
        build(tmp_path / "interrupted", Interruption()).fit()
    for name, saved_step in (("last", 5), ("best", 6)):
        folder = tmp_path / name
        shutil.copytree(tmp_path / "interrupted", folder)
        checkpoint = folder / f"{name}.ckpt"
        assert torch.load(checkpoint, weights_only=True)["global_step"] == saved_step
        drop_logged_steps(folder, saved_step)

        resumed = build(folder).fit(ckpt_path=checkpoint, weights_only=True)

        assert resumed.watcher.batches[0] == saved_step * batches_per_step
        assert torch.equal(resumed.copy_weights(), uninterrupted.copy_weights())
        assert read_log(folder) == read_log(tmp_path / "uninterrupted")


@pytest.mark.parametrize(
    ("encoder", "difference"),
    [
        ({"pooling": "cls"}, "pooling 'mean', here 'cls'"),
        ({"query_prefix": ""}, "query_prefix 'Query: ', here ''"),
        ({"projection": 8}, r"encoder.projection.weight missing, here \(8, 32\)"),
    ],
)
def test_another_encoder_is_refused(build_training, tmp_path, encoder, difference):
    checkpoint = LastCheckpoint(str(tmp_path), every_n_train_steps=100)
    build_training(max_steps=2, callbacks=[checkpoint]).fit()
    training = build_training(max_steps=4, encoder=encoder)
    message = f"of another encoder, 1 differences: {difference}. Give the model of its run"
    with pytest.raises(ValueError, match=message):
        training.fit(ckpt_path=tmp_path / "last.ckpt", weights_only=True)


def test_another_tokenizer_is_refused(build_training, tmp_path):
    checkpoint = LastCheckpoint(str(tmp_path), every_n_train_steps=100)
    build_training(max_steps=2, callbacks=[checkpoint]).fit()
    training = build_training(max_steps=4, encoder={"texts": ["quite other words"] * 9})
    with pytest.raises(ValueError, match="trained with another tokenizer"):
        training.fit(ckpt_path=tmp_path / "last.ckpt", weights_only=True)
