"""The LightningModule and DataModule with the real Trainer: resuming, early stops, bad choices."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas
import pytest
import torch
from lightning import Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from hybrid_ir.data.mixture import Mixture
from hybrid_ir.training.datamodule import RetrievalData, StepsToGo
from hybrid_ir.training.loggers import JsonlLogger
from hybrid_ir.training.losses import InfoNCE
from hybrid_ir.training.optimization import build_linear_schedule, build_parameter_groups
from hybrid_ir.training.retriever import Retriever
from tests.support.corpora import draw_corpus
from tests.support.small_run import SmallTraining


def test_a_resumed_run_ends_where_the_uninterrupted_one_ends(
    build_training, tmp_path, numbers_benchmark
):
    checkpoints = ModelCheckpoint(
        tmp_path,
        filename="{step}",
        every_n_train_steps=1,
        save_top_k=-1,
        auto_insert_metric_name=False,
    )
    uninterrupted = build_training(numbers_benchmark, max_steps=12, callbacks=[checkpoints]).fit()
    for step in (3, 8):
        resumed = build_training(numbers_benchmark, max_steps=12)
        resumed.fit(ckpt_path=tmp_path / f"{step}.ckpt", weights_only=True)
        assert resumed.trainer.global_step == 12
        assert torch.equal(resumed.copy_weights(), uninterrupted.copy_weights())


def test_a_finished_run_may_be_made_longer_but_not_repeated(build_training, tmp_path):
    checkpoint = ModelCheckpoint(tmp_path, filename="end", every_n_train_steps=4)
    build_training(max_steps=4, callbacks=[checkpoint]).fit()
    end = {"ckpt_path": tmp_path / "end.ckpt", "weights_only": True}
    longer = build_training(max_steps=7).fit(**end)
    assert longer.watcher.batches == [4, 5, 6]
    assert longer.trainer.global_step == 7
    message = "checkpoint is at step 4, so trainer.max_steps=4 leaves nothing to train"
    with pytest.raises(ValueError, match=message):
        build_training(max_steps=4).fit(**end)


def test_workers_and_accumulation_see_the_planned_batches(build_training):
    with_workers = build_training(max_steps=5, data={"num_workers": 2}).fit()
    assert with_workers.watcher.batches == list(range(5))
    accumulated = build_training(max_steps=5, accumulate_grad_batches=2).fit()
    assert accumulated.watcher.batches == list(range(10))
    repeated = build_training(max_steps=5, data={"distinct_batches": 2}).fit()
    assert repeated.watcher.batches == [0, 1, 0, 1, 0]


@pytest.mark.parametrize("loss", [{}, {"symmetric": True}, {"mask": "exact"}])
def test_a_mixture_is_trained_on_batch_by_planned_batch(
    tmp_path, recipe, cache, numbers_corpus, loss
):
    other = draw_corpus(40, languages=["en", "zh", "fr"])
    mixture = Mixture({"numbers": numbers_corpus, "other": other})
    training = SmallTraining(
        tmp_path, recipe, cache, mixture, max_steps=12, loss=loss, data={"hard_negatives": 2}
    )
    untrained_weights = training.copy_weights()
    training.fit()
    sampler = training.data.sampler
    assert {sampler[step].part for step in range(12)} == {0, 1}
    assert training.watcher.batches == list(range(12))
    assert np.isfinite(training.watcher.losses).all()
    assert min(training.watcher.losses) > 0
    assert not torch.equal(training.copy_weights(), untrained_weights)


def test_batches_to_go_count_accumulated_ones():
    trainer = SimpleNamespace(global_step=3, accumulate_grad_batches=2, max_steps=5)
    assert list(StepsToGo(trainer)) == [6, 7, 8, 9]


@pytest.mark.parametrize(
    "loss",
    [{}, {"symmetric": True}, {"negatives": "explicit"}, {"mask": "exact"}, {"mask": "none"}],
)
def test_one_batch_can_be_learnt_by_heart_with_every_loss(build_training, loss):
    training = build_training(
        max_steps=40,
        loss=loss,
        data={"distinct_batches": 1, "hard_negatives": 2 if "negatives" in loss else 0},
        learning_rate=8e-3,
        monolingual_share=0.0,
    )
    losses = training.fit().watcher.losses
    assert losses[0] > 0.5
    assert losses[-1] < 0.1


def test_a_fixed_temperature_stays_and_a_learnt_one_moves(build_training):
    fixed = build_training(max_steps=10, learning_rate=1e-2).fit()
    assert float(fixed.module.loss.temperature) == pytest.approx(0.05)
    learnt = build_training(max_steps=10, learning_rate=1e-2, loss={"learn_temperature": True})
    learnt.fit()
    assert float(learnt.module.loss.temperature) != pytest.approx(0.05, rel=1e-3)


def test_the_logged_temperature_is_the_temperature(build_training):
    metrics = build_training(max_steps=2).fit().trainer.callback_metrics
    assert metrics["train/temperature"].item() == pytest.approx(0.05)


def test_gradient_checkpointing_changes_no_weight(build_training):
    plain = build_training(max_steps=4).fit()
    saving = build_training(max_steps=4, encoder={"gradient_checkpointing": True}).fit()
    assert saving.module.encoder.backbone.is_gradient_checkpointing
    assert torch.allclose(plain.copy_weights(), saving.copy_weights(), atol=1e-6)


def test_frozen_embeddings_stay(build_training):
    training = build_training(max_steps=4, encoder={"train_embeddings": False})
    embeddings = training.module.encoder.backbone.get_input_embeddings().weight
    embeddings_before = embeddings.clone()
    weights_before = training.copy_weights()
    training.fit()
    assert torch.equal(embeddings, embeddings_before)
    assert not torch.equal(training.copy_weights(), weights_before)


def test_training_stops_when_validation_gets_no_better(build_training, numbers_benchmark):
    stop = EarlyStopping("val/loss", patience=2, mode="min")
    training = build_training(
        numbers_benchmark, max_steps=100, learning_rate=0.0, callbacks=[stop]
    ).fit()
    assert training.trainer.global_step == 12  # the first of 3 validations sets the mark


def test_a_test_after_training_equals_the_last_validation(build_training, numbers_benchmark):
    training = build_training(numbers_benchmark).fit()
    summary = training.test()
    assert summary == training.module.results["validation"].summary()
    untrained = build_training(numbers_benchmark)
    assert untrained.test() != summary


def test_stages_measure_their_benchmark_at_the_temperature_of_the_loss(encoder, numbers_benchmark):
    test_benchmark = SimpleNamespace(**vars(numbers_benchmark))
    module = Retriever(encoder, InfoNCE(0.07), None)
    data = RetrievalData(
        None, encoder.tokenizers, validation=numbers_benchmark, test=test_benchmark
    )
    module._trainer = SimpleNamespace(
        world_size=1, limit_test_batches=1.0, limit_val_batches=1.0, datamodule=data
    )
    module.on_validation_epoch_start()
    assert module.ranking.benchmark is numbers_benchmark
    assert module.ranking.temperature == pytest.approx(0.07)
    module.on_test_epoch_start()
    assert module.ranking.benchmark is test_benchmark


def test_a_part_of_the_pool_is_no_result(build_training, numbers_benchmark):
    training = build_training(
        numbers_benchmark, data={"texts_per_chunk": 16}, limit_val_batches=0.5
    )
    with pytest.raises(ValueError, match="ranks need the whole pool"):
        training.fit()


def test_gradients_are_clipped_under_bf16_with_a_fused_optimiser(build_training):
    training = build_training(max_steps=2, precision="bf16-mixed", gradient_clip_val=1e-3)
    training.module.build_optimizer = lambda groups: torch.optim.SGD(groups, lr=1.0)
    training.module.build_scheduler = None
    before = training.copy_weights()
    training.fit()
    distance = (training.copy_weights() - before).norm()
    assert 0 < distance <= 2.01e-3  # two steps of at most the clipped norm


@pytest.mark.parametrize(("ranks", "cure"), [(3, "use 6 or 9"), (16, "use 16")])
def test_an_uneven_slice_is_refused_with_the_cure(build_training, monkeypatch, ranks, cure):
    training = build_training()
    training.data.trainer = training.trainer
    monkeypatch.setattr(Trainer, "world_size", ranks)
    message = f"batch_size=8 must be divisible by the {ranks} processes of this run.*{cure}"
    with pytest.raises(ValueError, match=message):
        training.data.train_dataloader()


def test_only_weight_matrices_decay(build_training):
    module = build_training().module
    with_decay, without_decay = build_parameter_groups(module)
    assert "weight_decay" not in with_decay
    assert without_decay["weight_decay"] == 0
    assert {parameter.ndim for parameter in with_decay["params"]} == {2}
    assert {parameter.ndim for parameter in without_decay["params"]} == {1}
    trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
    assert len(with_decay["params"]) + len(without_decay["params"]) == len(trainable)


@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_the_warm_up_is_a_share(share):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    with pytest.raises(ValueError, match="scheduler.warmup_share"):
        build_linear_schedule(optimizer, 10, share)


def test_the_warm_up_begins_above_0_and_the_last_step_trains():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = build_linear_schedule(optimizer, 10, 0.4)
    rates = []
    for _ in range(10):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    expected = [0.25, 0.5, 0.75, 1.0, 1.0, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]
    assert rates == pytest.approx(expected)
    assert optimizer.param_groups[0]["lr"] == 0


@pytest.mark.parametrize(("share", "first", "last"), [(0.0, 1.0, 0.25), (1.0, 0.25, 1.0)])
def test_a_schedule_may_have_no_warm_up_or_nothing_else(share, first, last):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = build_linear_schedule(optimizer, 4, share)
    assert optimizer.param_groups[0]["lr"] == first
    for _ in range(3):
        optimizer.step()
        schedule.step()
    assert optimizer.param_groups[0]["lr"] == last


def test_every_value_of_the_gradient_is_clipped(build_training):
    training = build_training(
        max_steps=1, gradient_clip_val=1e-3, gradient_clip_algorithm="value", precision="64-true"
    )
    training.module.build_optimizer = lambda groups: torch.optim.SGD(groups, lr=1.0)
    training.module.build_scheduler = None
    before = training.copy_weights()
    training.fit()
    moved = (training.copy_weights() - before).abs()
    assert moved.max() == pytest.approx(1e-3, rel=1e-6)
    assert (moved > 0.999e-3).sum() > 10
    clipped_norm = moved.norm()
    assert training.trainer.callback_metrics["train/gradient_norm"] > 2 * clipped_norm


def read_log(folder: Path) -> list[dict]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_logged_values_are_means_over_the_batches_of_a_step(build_training, tmp_path):
    training = build_training(
        max_steps=3, accumulate_grad_batches=4, logger=[JsonlLogger(tmp_path)], precision="64-true"
    ).fit()
    rows = read_log(tmp_path)
    losses = np.reshape(training.watcher.losses, (3, 4)) * 4  # Lightning divides them
    assert [row["step"] for row in rows] == [1, 2, 3]
    means = [row["train/loss"] for row in rows]
    assert means == pytest.approx(losses.mean(axis=1), rel=1e-6)
    assert means != pytest.approx(losses[:, -1], rel=1e-3)


def test_the_step_counts_what_was_done_in_every_logger(build_training, numbers_benchmark, tmp_path):
    loggers = [
        JsonlLogger(tmp_path),
        CSVLogger(tmp_path, name="csv", version=""),
        TensorBoardLogger(tmp_path, name="tensorboard", version=""),
    ]
    training = build_training(
        numbers_benchmark, max_steps=4, val_check_interval=2, logger=loggers
    ).fit()
    training.module.loaded_step = 4
    training.test()
    rows = read_log(tmp_path)
    steps = {}
    for name in ("train/loss", "val/loss", "test/loss"):
        steps[name] = [row["step"] for row in rows if name in row]
    assert steps == {"train/loss": [1, 2, 3, 4], "val/loss": [2, 4], "test/loss": [4]}
    csv_rows = pandas.read_csv(tmp_path / "csv" / "metrics.csv")
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    for name, expected in steps.items():
        assert csv_rows[csv_rows[name].notna()]["step"].tolist() == expected
        assert [event.step for event in events.Scalars(name)] == expected


def test_a_batch_of_one_pair_is_refused(build_training):
    training = build_training()
    training.data.sampler.batch_size = 1
    with pytest.raises(ValueError, match="sampler.batch_size=1 leaves a query no negative"):
        training.fit()


@pytest.mark.parametrize(
    ("choices", "problem"),
    [
        ({"precision": "bf16-true"}, "trainer.precision=bf16-true .*trainer.precision=bf16-mixed"),
        ({"fast_dev_run": True}, "trainer.fast_dev_run would .* debug=smoke runs every part once"),
        ({"overfit_batches": 2}, "trainer.overfit_batches=2 .*data.distinct_batches=N"),
        ({"limit_train_batches": 3}, "trainer.limit_train_batches=3 .*trainer.max_steps"),
        ({"max_epochs": 2}, "trainer.max_epochs=2: .*there are no epochs; set trainer.max_steps"),
    ],
)
def test_settings_that_do_not_go_with_planned_batches_are_refused(build_training, choices, problem):
    with pytest.raises(ValueError, match=problem):
        build_training(**choices).fit()


def test_rounded_weights_are_refused_where_nothing_is_trained_too(
    build_training, numbers_benchmark
):
    training = build_training(numbers_benchmark, precision="bf16-true")
    with pytest.raises(ValueError, match="trainer.precision=bf16-true keeps the weights"):
        training.test()
