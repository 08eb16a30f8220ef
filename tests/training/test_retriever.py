"""The LightningModule and DataModule with the real Trainer: resume, early stop, every variant of the loss, bad runs."""

import pytest
import torch
from lightning import Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from hybrid_ir.training.retriever import build_parameter_groups
from hybrid_ir.training.schedules import build_linear_schedule


@pytest.mark.parametrize("at", [3, 8])
def test_going_on_from_a_checkpoint_ends_where_the_whole_run_ends(
    started, tmp_path, at, numbers_benchmark
):
    every = ModelCheckpoint(
        tmp_path,
        filename="{step}",
        every_n_train_steps=at,
        save_top_k=-1,
        auto_insert_metric_name=False,
    )
    whole = started(numbers_benchmark, max_steps=12, callbacks=[every]).fit()
    resumed = started(numbers_benchmark, max_steps=12).fit(
        ckpt_path=tmp_path / f"{at}.ckpt", weights_only=True
    )
    assert resumed.trainer.global_step == 12 and torch.equal(resumed.weights, whole.weights)


def test_a_finished_run_may_be_made_longer(started, tmp_path):
    started(
        max_steps=4, callbacks=[ModelCheckpoint(tmp_path, filename="end", every_n_train_steps=4)]
    ).fit()
    longer = started(max_steps=7).fit(ckpt_path=tmp_path / "end.ckpt", weights_only=True)
    assert longer.seen.steps == [4, 5, 6] and longer.trainer.global_step == 7


def test_a_checkpoint_at_the_last_step_leaves_nothing_to_train(started, tmp_path):
    started(
        max_steps=4, callbacks=[ModelCheckpoint(tmp_path, filename="end", every_n_train_steps=4)]
    ).fit()
    with pytest.raises(
        ValueError, match="checkpoint is at step 4, so trainer.max_steps=4 leaves nothing to train"
    ):
        started(max_steps=4).fit(ckpt_path=tmp_path / "end.ckpt", weights_only=True)


def test_workers_and_accumulation_see_the_planned_batches(started):
    assert started(max_steps=5).fit().seen.steps == list(range(5))
    assert started(max_steps=5, data={"num_workers": 2}).fit().seen.steps == list(range(5))
    assert started(max_steps=5, accumulate_grad_batches=2).fit().seen.steps == list(range(10))
    assert started(max_steps=5, data={"distinct_batches": 2}).fit().seen.steps == [0, 1, 0, 1, 0]


@pytest.mark.parametrize(
    "loss",
    [{}, {"symmetric": True}, {"negatives": "explicit"}, {"mask": "exact"}, {"mask": "none"}],
)
def test_one_batch_can_be_learnt_by_heart_with_every_loss(started, loss):
    hard = {"hard_negatives": 2} if "negatives" in loss else {}
    seen = (
        started(max_steps=60, loss=loss, data={"distinct_batches": 1, **hard}, lr=5e-3, share=0.0)
        .fit()
        .seen
    )
    assert seen.losses[-1] < 0.1 < 0.5 < seen.losses[0]


def test_the_temperature_moves_only_if_it_may(started):
    def temperature(**loss) -> float:
        return (
            started(max_steps=20, loss=loss, lr=1e-2).fit().module.loss.log_temperature.exp().item()
        )

    assert temperature() == pytest.approx(0.05) and temperature(
        learn_temperature=True
    ) != pytest.approx(0.05, rel=1e-3)


def test_gradient_checkpointing_changes_no_weight(started):
    plain = started(max_steps=4).fit()
    saving = started(max_steps=4, encoder={"gradient_checkpointing": True}).fit()
    assert saving.module.encoder.backbone.is_gradient_checkpointing
    assert torch.allclose(plain.weights, saving.weights, atol=1e-6)


def test_frozen_embeddings_stay(started):
    run = started(max_steps=4, encoder={"train_embeddings": False})
    table = run.module.encoder.backbone.get_input_embeddings().weight
    before, all_before = table.clone(), run.weights
    run.fit()
    assert torch.equal(table, before) and not torch.equal(run.weights, all_before)


def test_training_stops_when_validation_gets_no_better(started, numbers_benchmark):
    stop = EarlyStopping("val/loss", patience=2, mode="min")
    run = started(
        numbers_benchmark, max_steps=100, lr=0.0, callbacks=[stop]
    ).fit()  # nothing moves, so nothing gets better
    assert run.trainer.global_step == 12  # the first of 3 validations sets the mark


def test_a_test_after_training_equals_the_last_validation(started, numbers_benchmark):
    run = started(numbers_benchmark).fit()
    run.trainer.test(run.module, run.data, verbose=False)
    assert run.module.results["test"].summary() == run.module.results["validation"].summary()
    centred = started(numbers_benchmark)
    centred.module.center = True
    centred.trainer.test(centred.module, centred.data, verbose=False)
    assert centred.module.results["test"].summary() != run.module.results["test"].summary()


def test_gradients_are_clipped_under_bf16_with_a_fused_optimiser(started):
    run = started(max_steps=2, precision="bf16-mixed", gradient_clip_val=1e-3)
    run.module.make_optimizer = lambda groups: torch.optim.SGD(groups, lr=1.0)
    run.module.make_scheduler = None
    before = run.weights
    run.fit()
    assert 0 < (run.weights - before).norm() <= 2.01e-3  # two steps of at most the clipped norm


def test_a_diverged_loss_stops_the_run_and_names_the_batch(started):
    run = started(lr=1e30, gradient_clip_val=None)
    with pytest.raises(
        ValueError, match=r"the loss is (nan|inf) at step \d \(batch \d\).*Lower optimizer.lr"
    ):
        run.fit()


@pytest.mark.parametrize(("ranks", "said"), [(3, "use 6 or 9"), (16, "use 16")])
def test_an_uneven_slice_is_refused_with_the_cure(started, monkeypatch, ranks, said):
    run = started()
    run.data.trainer = run.trainer
    monkeypatch.setattr(Trainer, "world_size", ranks)
    with pytest.raises(
        ValueError,
        match=f"batch_size=8 must be divisible by the {ranks} processes of this run.*{said}",
    ):
        run.data.train_dataloader()


def test_another_tokenizer_is_refused(started, tmp_path, numbers_corpus):
    started(
        max_steps=2, callbacks=[ModelCheckpoint(tmp_path, filename="end", every_n_train_steps=2)]
    ).fit()
    other = started(max_steps=4, encoder={"texts": ["quite other words"] * 9})
    with pytest.raises(ValueError, match="trained with another tokenizer"):
        other.fit(ckpt_path=tmp_path / "end.ckpt", weights_only=True)


def test_biases_and_norms_do_not_decay(started):
    module = started().module
    decayed, kept = (group["params"] for group in build_parameter_groups(module))
    assert {p.ndim for p in decayed} == {2} and {p.ndim for p in kept} == {1}
    assert len(decayed) + len(kept) == sum(p.requires_grad for p in module.parameters())


@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_the_warm_up_is_a_share(share):
    with pytest.raises(ValueError, match="scheduler.warmup_share"):
        build_linear_schedule(
            torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0), 10, share
        )
