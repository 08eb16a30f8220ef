"""A loss from a module of the user's is trained with, validated and described by a batch card."""

import sys

import pytest
import torch
from hydra.utils import instantiate

from hybrid_ir.training.batch_card import BatchCard
from tests.support.small_run import SmallTraining

MARGIN_LOSS = '''
import torch

from hybrid_ir.distributed import gather


class MarginLoss(torch.nn.Module):
    """A positive shall score higher than every other passage, by a margin."""

    def __init__(self, margin):
        super().__init__()
        self.margin = margin

    def forward(self, queries_BD, passages_MD, labels):
        positives_BD = passages_MD[:: labels.columns]
        positive_scores_B = (queries_BD * positives_BD).sum(dim=1)
        scores_BN = queries_BD @ gather(passages_MD).T
        return (self.margin + scores_BN - positive_scores_B[:, None]).clamp(min=0).mean()
'''


@pytest.fixture
def margin_loss(tmp_path, monkeypatch) -> torch.nn.Module:
    """A loss with no attribute but `forward`, built by its name from a file outside the package."""
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "my_losses.py").write_text(MARGIN_LOSS)
    monkeypatch.syspath_prepend(folder)
    yield instantiate({"_target_": "my_losses.MarginLoss", "margin": 0.2})
    del sys.modules["my_losses"]


@pytest.fixture
def trained(build_training, margin_loss, numbers_benchmark) -> SmallTraining:
    return build_training(
        numbers_benchmark, max_steps=8, loss=margin_loss, learning_rate=5e-3
    ).fit()


def test_a_user_loss_trains_the_encoder(trained):
    assert trained.watcher.losses[-1] < trained.watcher.losses[0]
    metrics = trained.trainer.callback_metrics
    assert metrics["train/temperature"] == 1
    assert metrics["train/masked_share"] == 0


def test_a_user_loss_has_a_validation_loss(trained):
    assert torch.isfinite(trained.trainer.callback_metrics["val/loss"])
    assert trained.test()["loss"] > 0


def test_a_batch_card_describes_a_user_loss(margin_loss, build_training):
    sampler = build_training().data.sampler
    card = BatchCard.of(sampler, steps=4, batches_per_step=1, loss=margin_loss)
    assert card.negatives_per_query == sampler.batch_size - 1
    assert card.masked_share == 0


def test_a_loss_that_is_no_module_is_refused_with_the_cure(build_training):
    training = build_training()
    with pytest.raises(ValueError, match=r"must be a torch.nn.Module, see RetrievalLoss"):
        type(training.module)(training.module.encoder, loss=lambda *_: 0, optimizer=None)
