"""Checkpoints of trainings: there however a run ends, exact to go on from, for one encoder."""

import json
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint, Timer

from hybrid_ir.system.interruption import REQUEUE_EXIT_CODE, Interrupted
from hybrid_ir.training.checkpoint_callbacks import BestCheckpoint, LastCheckpoint
from hybrid_ir.training.checkpoints import (
    drop_logged_steps,
    find_newest_checkpoint,
    load_encoder_weights,
)
from hybrid_ir.training.loggers import JsonlLogger
from tests.support.small_run import SmallTraining

INTERRUPTED_STEP = 7


class Interruption(Callback):
    """Ends the process as Ctrl-C does."""

    def on_train_batch_end(self, trainer: Any, *_) -> None:
        if trainer.global_step == INTERRUPTED_STEP:
            raise KeyboardInterrupt


class EarlyEnd(Callback):
    """Ends the training as a callback of a user may do."""

    def on_train_batch_end(self, trainer: Any, *_) -> None:
        if trainer.global_step == INTERRUPTED_STEP:
            trainer.should_stop = True


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
    assert saved["callbacks"]["LastCheckpoint"]["ended"]


def test_a_training_that_a_callback_ends_is_not_complete(build_training, tmp_path):
    last = LastCheckpoint(str(tmp_path / "checkpoints"), every_n_train_steps=100)
    with pytest.raises(Interrupted, match=f"ended the training at step {INTERRUPTED_STEP} of 12"):
        build_training(max_steps=12, callbacks=[last, EarlyEnd()]).fit()
    saved = find_newest_checkpoint(tmp_path, max_steps=12)
    assert saved.step == INTERRUPTED_STEP
    assert not saved.ended


def test_a_training_whose_time_is_over_goes_on_to_the_same_end(
    build_training, tmp_path, numbers_benchmark
):
    def build(folder: Path, *callbacks: Callback) -> SmallTraining:
        last = LastCheckpoint(str(folder), every_n_train_steps=100)
        return build_training(
            numbers_benchmark,
            max_steps=6,
            val_check_interval=2,
            callbacks=[last, EarlyStopping("val/loss"), *callbacks],
            logger=JsonlLogger(folder),
        )

    for name in ("undisturbed", "cut off"):
        (tmp_path / name).mkdir()
    undisturbed = build(tmp_path / "undisturbed").fit()
    folder = tmp_path / "cut off"
    with pytest.raises(Interrupted, match="max_time is over at step 1 of 6") as stop:
        build(folder, Timer(timedelta(microseconds=1))).fit()
    assert stop.value.code == REQUEUE_EXIT_CODE

    # A start has time of its own, whatever earlier ones took.
    hour = Timer(timedelta(hours=1))
    resumed = build(folder, hour).fit(ckpt_path=folder / "last.ckpt", weights_only=True)

    assert torch.equal(resumed.copy_weights(), undisturbed.copy_weights())
    assert read_log(folder) == read_log(tmp_path / "undisturbed")
    assert torch.load(folder / "last.ckpt", weights_only=True)["callbacks"]["LastCheckpoint"][
        "ended"
    ]


def test_the_end_of_a_training_is_validated_on_any_step(
    build_training, tmp_path, numbers_benchmark
):
    logger = JsonlLogger(tmp_path)
    build_training(numbers_benchmark, max_steps=5, val_check_interval=3, logger=logger).fit()
    assert sum("val/loss" in row for row in read_log(tmp_path)) == 2


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("kept", [1, 2, -1])
def test_the_best_checkpoint_is_the_one_of_its_monitor(
    build_training, tmp_path, numbers_benchmark, mode, kept
):
    def build(max_steps: int) -> SmallTraining:
        best = BestCheckpoint(
            str(tmp_path),
            monitor="val/mono/map",
            mode=mode,
            save_top_k=kept,
            filename="best",
            auto_insert_metric_name=False,
            enable_version_counter=False,
        )
        last = LastCheckpoint(str(tmp_path), every_n_train_steps=100)
        return build_training(
            numbers_benchmark,
            max_steps=max_steps,
            val_check_interval=1,
            learning_rate=1e-2,
            callbacks=[best, last],
            logger=JsonlLogger(tmp_path),
        )

    build(4).fit()
    scores = require_best_step(tmp_path, mode)
    files = sorted(path.name for path in tmp_path.glob("*.ckpt"))
    assert len(files) == {1: 2, 2: 4, -1: 6}[kept], files  # last and best, and those that are kept

    build(6).fit(ckpt_path=tmp_path / "last.ckpt", weights_only=True)
    assert len(require_best_step(tmp_path, mode)) == len(scores) + 2


def require_best_step(folder: Path, mode: str) -> list[float]:
    """Checks that best.ckpt has the weights of the first best score, and returns all scores."""
    scores = [row["val/mono/map"] for row in read_log(folder) if "val/mono/map" in row]
    best_score = min(scores) if mode == "min" else max(scores)
    best = torch.load(folder / "best.ckpt", weights_only=True)
    assert best["global_step"] == scores.index(best_score) + 1
    return scores


def test_none_to_keep_is_no_best_checkpoint(tmp_path):
    with pytest.raises(ValueError, match="save_top_k=0 keeps no best checkpoint"):
        BestCheckpoint(str(tmp_path), save_top_k=0)


def test_weights_of_a_run_start_a_new_one_with_its_own_settings(build_training, tmp_path):
    last = LastCheckpoint(str(tmp_path), every_n_train_steps=100)
    first = build_training(max_steps=3, learning_rate=1e-2, callbacks=[last]).fit()
    second = build_training(max_steps=2, loss={"temperature": 0.3}, encoder={"query_prefix": "Q "})
    step, differences = load_encoder_weights(tmp_path / "last.ckpt", second.module.encoder)
    assert step == 3
    assert differences == ["query_prefix 'Query: ', here 'Q '"]
    for trained, started in zip(
        first.module.encoder.parameters(), second.module.encoder.parameters(), strict=True
    ):
        assert torch.equal(trained, started)
    second.fit()
    assert second.watcher.batches == [0, 1]
    assert float(second.module.loss.temperature) == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        ({"projection": 8}, "of another encoder, 1 differences"),
        ({"texts": ["quite other words"] * 9}, "trained with another tokenizer"),
    ],
)
def test_weights_of_another_encoder_are_refused(build_training, tmp_path, encoder, message):
    last = LastCheckpoint(str(tmp_path), every_n_train_steps=100)
    build_training(max_steps=1, callbacks=[last]).fit()
    other = build_training(encoder=encoder).module.encoder
    with pytest.raises(ValueError, match=message):
        load_encoder_weights(tmp_path / "last.ckpt", other)


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
    # The best checkpoint is of one of the two validations before the interruption.
    for name, saved_steps in (("last", {5}), ("best", {3, 6})):
        folder = tmp_path / name
        shutil.copytree(tmp_path / "interrupted", folder)
        checkpoint = folder / f"{name}.ckpt"
        saved_step = torch.load(checkpoint, weights_only=True)["global_step"]
        assert saved_step in saved_steps
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
