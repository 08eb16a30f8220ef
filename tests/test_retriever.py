"""The LightningModule and DataModule with the real Trainer: resume, early stop, every variant of the loss, bad runs."""

from pathlib import Path

import numpy as np
import pytest
import torch
from lightning import Trainer, seed_everything
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint

from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.data.datamodule import RetrievalData
from hybrid_ir.data.sampling import PairBatchSampler
from hybrid_ir.encoder import BiEncoder
from hybrid_ir.losses import InfoNCE
from hybrid_ir.retriever import Retriever, parameter_groups
from hybrid_ir.schedule import linear
from hybrid_ir.types import Benchmark, Source

SOURCE = Source("made", "texts made for a test", "none", "none")
LANGUAGES, PAIRS = ("de", "en", "zh"), 24
WORDS = {"de": "Zahl", "en": "number", "zh": "数"}


def texts(kind: str) -> dict[str, list[str]]:
    return {language: [f"{kind} {WORDS[language]} {i * i}" for i in range(PAIRS)] for language in LANGUAGES}


@pytest.fixture(scope="module")
def corpus() -> ParallelCorpus:
    negatives = (np.arange(PAIRS)[:, None] + [1, 2]) % PAIRS
    return ParallelCorpus(texts("which"), texts("the"), np.repeat(np.arange(PAIRS)[:, None], 2, axis=1), SOURCE, negatives)


@pytest.fixture(scope="module")
def benchmark() -> Benchmark:
    queries, passages = texts("which"), texts("the")
    return Benchmark(
        LANGUAGES, [text for language in LANGUAGES for text in queries[language]], np.repeat(range(3), PAIRS),
        [str(i) for _ in LANGUAGES for i in range(PAIRS)], [text for language in LANGUAGES for text in passages[language]],
        np.repeat(range(3), PAIRS), [f"{language}{i}" for language in LANGUAGES for i in range(PAIRS)],
        [np.array([i, PAIRS + i, 2 * PAIRS + i]) for _ in LANGUAGES for i in range(PAIRS)], SOURCE)


class Seen(Callback):
    """What the training step met."""

    def __init__(self):
        self.steps, self.losses = [], []

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx) -> None:
        self.steps.append(batch.step)
        self.losses.append(float(outputs["loss"]))


class Run:
    """One training of a small transformer, with all that can vary."""

    def __init__(self, folder: Path, recipe, cache: Path, corpus, benchmark=None, max_steps: int = 8, loss: dict | None = None,
                 data: dict | None = None, encoder: dict | None = None, lr: float = 1e-3, share: float = 0.5, callbacks=(),
                 **trainer):
        seed_everything(0, verbose=False)
        model = BiEncoder(recipe, **{"query_max_length": 32, "passage_max_length": 32, "texts": corpus.texts(), "cache": cache,
                                     **(encoder or {})})
        self.module = Retriever(model, InfoNCE(**(loss or {})), lambda groups: torch.optim.AdamW(groups, lr=lr),
                                lambda optimizer: linear(optimizer, max_steps))
        self.data = RetrievalData(PairBatchSampler(corpus, 8, share, seed=3), model.tokenizers, benchmark, benchmark, cache=cache,
                                  **(data or {}))
        self.seen = Seen()
        self.trainer = Trainer(
            **{"accelerator": "cpu", "max_steps": max_steps, "max_epochs": -1, "check_val_every_n_epoch": None,
               "val_check_interval": 4, "limit_val_batches": 1.0 if benchmark else 0, "num_sanity_val_steps": 0, "logger": False,
               "log_every_n_steps": 1, "gradient_clip_val": 1.0, "use_distributed_sampler": False, "enable_progress_bar": False,
               "enable_model_summary": False, "default_root_dir": folder, "callbacks": [self.seen, *callbacks],
               "enable_checkpointing": any(isinstance(c, ModelCheckpoint) for c in callbacks), **trainer})

    def fit(self, **more) -> "Run":
        self.trainer.fit(self.module, self.data, **more)
        return self

    @property
    def weights(self) -> torch.Tensor:
        return torch.cat([p.detach().flatten() for p in self.module.parameters()])


@pytest.fixture
def started(tmp_path, recipe, cache, corpus):
    def start(*arguments, **choices) -> Run:
        return Run(tmp_path, recipe, cache, corpus, *arguments, **choices)
    return start


@pytest.mark.parametrize("at", [3, 8])
def test_going_on_from_a_checkpoint_ends_where_the_whole_run_ends(started, tmp_path, at, benchmark):
    every = ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=at, save_top_k=-1, auto_insert_metric_name=False)
    whole = started(benchmark, max_steps=12, callbacks=[every]).fit()
    resumed = started(benchmark, max_steps=12).fit(ckpt_path=tmp_path / f"{at}.ckpt", weights_only=True)
    assert resumed.trainer.global_step == 12 and torch.equal(resumed.weights, whole.weights)


def test_a_finished_run_may_be_made_longer(started, tmp_path):
    started(max_steps=4, callbacks=[ModelCheckpoint(tmp_path, filename="end", every_n_train_steps=4)]).fit()
    longer = started(max_steps=7).fit(ckpt_path=tmp_path / "end.ckpt", weights_only=True)
    assert longer.seen.steps == [4, 5, 6] and longer.trainer.global_step == 7


def test_a_checkpoint_at_the_last_step_leaves_nothing_to_train(started, tmp_path):
    started(max_steps=4, callbacks=[ModelCheckpoint(tmp_path, filename="end", every_n_train_steps=4)]).fit()
    with pytest.raises(ValueError, match="checkpoint is at step 4, so trainer.max_steps=4 leaves nothing to train"):
        started(max_steps=4).fit(ckpt_path=tmp_path / "end.ckpt", weights_only=True)


def test_workers_and_accumulation_see_the_planned_batches(started):
    assert started(max_steps=5).fit().seen.steps == list(range(5))
    assert started(max_steps=5, data={"num_workers": 2}).fit().seen.steps == list(range(5))
    assert started(max_steps=5, accumulate_grad_batches=2).fit().seen.steps == list(range(10))
    assert started(max_steps=5, data={"distinct_batches": 2}).fit().seen.steps == [0, 1, 0, 1, 0]


@pytest.mark.parametrize("loss", [{}, {"symmetric": True}, {"negatives": "explicit"}, {"mask": "exact"}, {"mask": "none"}])
def test_one_batch_can_be_learnt_by_heart_with_every_loss(started, loss):
    hard = {"hard_negatives": 2} if "negatives" in loss else {}
    seen = started(max_steps=60, loss=loss, data={"distinct_batches": 1, **hard}, lr=5e-3, share=0.0).fit().seen
    assert seen.losses[-1] < 0.1 < 0.5 < seen.losses[0]


def test_the_temperature_moves_only_if_it_may(started):
    def temperature(**loss) -> float:
        return started(max_steps=20, loss=loss, lr=1e-2).fit().module.loss.log_temperature.exp().item()
    assert temperature() == pytest.approx(0.05) and temperature(learn_temperature=True) != pytest.approx(0.05, rel=1e-3)


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


def test_training_stops_when_validation_gets_no_better(started, benchmark):
    stop = EarlyStopping("val/loss", patience=2, mode="min")
    run = started(benchmark, max_steps=100, lr=0.0, callbacks=[stop]).fit()  # nothing moves, so nothing gets better
    assert run.trainer.global_step == 12  # the first of 3 validations sets the mark


def test_a_test_after_training_equals_the_last_validation(started, benchmark):
    run = started(benchmark).fit()
    run.trainer.test(run.module, run.data, verbose=False)
    assert run.module.results["test"].summary() == run.module.results["validation"].summary()
    centred = started(benchmark)
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
    with pytest.raises(ValueError, match=r"the loss is (nan|inf) at step \d \(batch \d\).*Lower optimizer.lr"):
        run.fit()


def test_several_processes_are_refused_until_negatives_are_gathered(started, monkeypatch):
    run = started()
    run.data.trainer = run.trainer
    monkeypatch.setattr(Trainer, "world_size", 2)
    with pytest.raises(ValueError, match=r"2 processes, and negatives are not gathered.*trainer.devices=1"):
        run.data.train_dataloader()


def test_another_tokenizer_is_refused(started, tmp_path, corpus):
    started(max_steps=2, callbacks=[ModelCheckpoint(tmp_path, filename="end", every_n_train_steps=2)]).fit()
    other = started(max_steps=4, encoder={"texts": ["quite other words"] * 9})
    with pytest.raises(ValueError, match="trained with another tokenizer"):
        other.fit(ckpt_path=tmp_path / "end.ckpt", weights_only=True)


def test_biases_and_norms_do_not_decay(started):
    module = started().module
    decayed, kept = (group["params"] for group in parameter_groups(module))
    assert {p.ndim for p in decayed} == {2} and {p.ndim for p in kept} == {1}
    assert len(decayed) + len(kept) == sum(p.requires_grad for p in module.parameters())


@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_the_warm_up_is_a_share(share):
    with pytest.raises(ValueError, match="scheduler.warmup_share"):
        linear(torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0), 10, share)
