"""Checkpoints: the last one is there however a run ends, and one of another encoder is refused."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint

from hybrid_ir.training.checkpoints import LastCheckpoint, drop_logged_steps
from hybrid_ir.training.datamodule import RetrievalData, StepsToGo
from hybrid_ir.training.loggers import JsonlLogger
from hybrid_ir.training.losses import InfoNCE
from hybrid_ir.training.retriever import Retriever, build_parameter_groups


def test_the_last_checkpoint_is_there_after_an_early_stop(started, tmp_path, numbers_benchmark):
    callbacks = [
        EarlyStopping("val/loss", patience=1),
        LastCheckpoint(str(tmp_path), every_n_train_steps=100),
    ]
    run = started(numbers_benchmark, max_steps=100, lr=0.0, callbacks=callbacks).fit()
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert saved["global_step"] == run.trainer.global_step < 100


class Killed(Callback):
    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == 7:
            raise KeyboardInterrupt


@pytest.mark.parametrize("batches", [1, 2])
@pytest.mark.parametrize("file", ["last.ckpt", "best.ckpt"])
def test_a_killed_run_leaves_its_checkpoints_and_goes_on_from_any_as_if_nothing_had_been(
    started, tmp_path, numbers_benchmark, batches, file
):
    def run(*more, folder=tmp_path / "other"):
        best = ModelCheckpoint(
            folder, filename="best", monitor="val/loss", enable_version_counter=False
        )
        callbacks = [best, LastCheckpoint(str(folder), 5), EarlyStopping("val/loss"), *more]
        return started(
            numbers_benchmark,
            max_steps=12,
            accumulate_grad_batches=batches,
            val_check_interval=3 * batches,
            lr=1e-2,
            encoder={"dropout": 0.2},
            callbacks=callbacks,
            logger=JsonlLogger(folder),
        )

    with pytest.raises(SystemExit):
        run(Killed(), folder=tmp_path).fit()
    saved = torch.load(tmp_path / file, weights_only=True)["global_step"]
    (tmp_path / "other").mkdir()
    whole = run().fit()
    rows = [
        json.loads(line) for line in (tmp_path / "other" / "metrics.jsonl").read_text().splitlines()
    ]
    drop_logged_steps(tmp_path, saved)
    resumed = run(folder=tmp_path).fit(ckpt_path=tmp_path / file, weights_only=True)
    assert saved in (5, 6) and resumed.seen.steps[0] == saved * batches
    assert torch.equal(resumed.weights, whole.weights)
    assert [
        json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()
    ] == rows


@pytest.mark.parametrize(
    ("encoder", "said"),
    [
        ({"pooling": "cls"}, "pooling 'mean', here 'cls'"),
        ({"query_prefix": ""}, "query_prefix 'Query: ', here ''"),
        ({"projection": 8}, r"encoder.projection.weight missing, here \(8, 32\)"),
    ],
)
def test_another_encoder_is_refused(started, tmp_path, encoder, said):
    started(max_steps=2, callbacks=[LastCheckpoint(str(tmp_path), every_n_train_steps=100)]).fit()
    with pytest.raises(
        ValueError, match=f"of another encoder, 1 differences: {said}. Give the model of its run"
    ):
        started(max_steps=4, encoder=encoder).fit(
            ckpt_path=tmp_path / "last.ckpt", weights_only=True
        )


def test_only_weight_matrices_decay():
    decayed, kept = build_parameter_groups(torch.nn.Linear(3, 2))
    assert "weight_decay" not in decayed and kept["weight_decay"] == 0
    assert [p.ndim for p in decayed["params"] + kept["params"]] == [2, 1]


def test_stages_measure_their_own_benchmark_at_the_temperature_of_the_loss(
    encoder, numbers_benchmark
):
    other = SimpleNamespace(**vars(numbers_benchmark))
    module = Retriever(encoder, InfoNCE(0.07), None)
    module._trainer = SimpleNamespace(
        world_size=1,
        limit_test_batches=1.0,
        limit_val_batches=1.0,
        datamodule=RetrievalData(
            None, encoder.tokenizers, validation=numbers_benchmark, test=other
        ),
    )
    module.on_validation_epoch_start()
    assert module.ranking.benchmark is numbers_benchmark and np.isclose(
        module.ranking.temperature, 0.07
    )
    module.on_test_epoch_start()
    assert module.ranking.benchmark is other


def test_the_logged_temperature_is_the_temperature(started):
    assert started(max_steps=2).fit().trainer.callback_metrics[
        "train/temperature"
    ].item() == pytest.approx(0.05)


def test_batches_to_go_count_accumulated_ones():
    assert list(
        StepsToGo(SimpleNamespace(global_step=3, accumulate_grad_batches=2, max_steps=5))
    ) == [6, 7, 8, 9]


def test_a_part_of_the_pool_is_no_result(started, numbers_benchmark):
    with pytest.raises(ValueError, match="ranks need the whole pool"):
        started(numbers_benchmark, data={"texts_per_chunk": 16}, limit_val_batches=0.5).fit()
