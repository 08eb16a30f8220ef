"""One step of a training: which numbers dropout draws, and which steps have their values read."""

from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from hybrid_ir.training.steps import are_values_read, seed_dropout

EVERY_SEVEN = ModelCheckpoint(monitor="train/loss", every_n_train_steps=7)


def draw(seed: int, batch: int, rank: int) -> list[float]:
    torch.manual_seed(0)
    seed_dropout(seed, batch, rank, torch.device("cpu"))
    return torch.rand(3).tolist()


def test_dropout_draws_what_it_drew_when_all_devices_were_seeded():
    torch.manual_seed(1697115770)  # the first word of SeedSequence([1, 4, 2, 0])
    expected = torch.rand(3).tolist()
    assert draw(1, 2, 0) == expected


def test_dropout_depends_on_seed_batch_and_rank():
    draws = [draw(1, 2, 0), draw(2, 2, 0), draw(1, 3, 0), draw(1, 2, 1)]
    assert len({tuple(values) for values in draws}) == 4
    assert draw(1, 2, 0) == draws[0]


def list_read_steps(**changes) -> list[int]:
    trainer = SimpleNamespace(
        log_every_n_steps=10,
        val_check_batch=8,
        max_steps=23,
        accumulate_grad_batches=1,
        should_stop=False,
        checkpoint_callbacks=[ModelCheckpoint()],
    )
    vars(trainer).update(changes)
    read = []
    for step in range(trainer.max_steps):
        trainer.global_step = step
        if are_values_read(trainer):
            read.append(step + 1)
    return read


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, [1, 8, 10, 16, 20, 23]),
        ({"accumulate_grad_batches": 4}, [1, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 23]),
        ({"val_check_batch": None}, [1, 10, 20, 23]),
        ({"val_check_batch": float("inf")}, [1, 10, 20, 23]),
        ({"log_every_n_steps": 1}, list(range(1, 24))),
        ({"checkpoint_callbacks": [EVERY_SEVEN]}, [1, 7, 8, 10, 14, 16, 20, 21, 23]),
        ({"should_stop": True}, list(range(1, 24))),
    ],
)
def test_values_are_read_by_rows_validations_checkpoints_and_the_end(changes, expected):
    assert list_read_steps(**changes) == expected
