"""Faults beside a training do not end it, and faults in it are written down."""

import json
from pathlib import Path

import pytest
import torch

from hybrid_ir.training.loggers import FailSafeLogger, JsonlLogger
from tests.support.faults import BrokenLogger, Fault


def read_bad_steps(folder: Path) -> list[dict]:
    lines = (folder / "nonfinite.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize(
    ("kind", "quantity"), [("diverges", "loss"), ("gradient", "gradient norm")]
)
def test_a_step_that_is_not_finite_can_be_skipped(build_training, tmp_path, kind, quantity):
    fault = Fault(kind, step=3, rank=0)
    training = build_training(max_steps=6, module={"nonfinite": "skip"}, callbacks=[fault])
    with pytest.warns(UserWarning, match=f"the {quantity} is .* at step 4 .*skipped"):
        training.fit()
    assert training.trainer.global_step == 6
    assert torch.isfinite(training.copy_weights()).all()
    bad_steps = read_bad_steps(tmp_path)
    assert len(bad_steps) == 1
    assert bad_steps[0]["step"] == 4
    picks = bad_steps[0]["batches"][0]["picks"]
    assert len(picks) == 8
    assert picks[0]["query"].startswith("which")
    assert picks[0]["passage"].startswith("the")
    assert picks[0]["query_language"] in ("de", "en", "zh")


def test_a_skipped_step_moves_no_weight(build_training):
    fault = Fault("gradient", step=0, rank=0)
    training = build_training(max_steps=3, module={"nonfinite": "skip"}, callbacks=[fault])
    untrained_weights = training.copy_weights()
    training.trainer.fit_loop.epoch_loop.max_steps = 1
    with pytest.warns(UserWarning, match="skipped"):
        training.fit()
    assert torch.equal(training.copy_weights(), untrained_weights)


def test_a_gradient_that_is_not_finite_stops_the_run(build_training, tmp_path):
    training = build_training(max_steps=6, callbacks=[Fault("gradient", step=2, rank=0)])
    message = r"the gradient norm is (inf|nan) at step 3 \(batch 2\).*nonfinite=skip"
    with pytest.raises(ValueError, match=message):
        training.fit()
    assert read_bad_steps(tmp_path)[0]["step"] == 3


def test_a_diverged_loss_stops_the_run_and_names_the_batch(build_training):
    training = build_training(learning_rate=1e30, gradient_clip_val=None)
    message = r"the loss is (nan|inf) at step \d \(batch \d\).*Lower optimizer.lr"
    with pytest.raises(ValueError, match=message):
        training.fit()


def test_all_batches_of_a_step_are_written_down(build_training, tmp_path):
    fault = Fault("gradient", step=1, rank=0)
    training = build_training(max_steps=3, accumulate_grad_batches=2, callbacks=[fault])
    with pytest.raises(ValueError, match="at step 2"):
        training.fit()
    batches = read_bad_steps(tmp_path)[0]["batches"]
    assert [batch["batch"] for batch in batches] == [2, 3]


def test_a_policy_that_does_not_exist_is_refused(build_training):
    with pytest.raises(ValueError, match="nonfinite='ignore' must be 'stop' or 'skip'"):
        build_training(module={"nonfinite": "ignore"})


def test_a_logger_that_fails_is_left_out(build_training, tmp_path):
    loggers = [JsonlLogger(tmp_path), FailSafeLogger(BrokenLogger())]
    training = build_training(max_steps=4, logger=loggers)
    message = "BrokenLogger failed .ConnectionError: the .* service is gone.*metrics.jsonl"
    with pytest.warns(UserWarning, match=message) as caught:
        training.fit()
    assert training.trainer.global_step == 4
    warnings_of_logger = [one for one in caught if "BrokenLogger" in str(one.message)]
    assert len(warnings_of_logger) == 1
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 4


def test_a_fail_safe_logger_passes_all_calls_on():
    calls = []

    class RecordingLogger(BrokenLogger):
        save_dir = "there"
        experiment = "it"

        def log_metrics(self, metrics: dict, step: int | None = None) -> None:
            calls.append((metrics, step))

        def finalize(self, status: str) -> None:
            calls.append(status)

    logger = FailSafeLogger(RecordingLogger())
    logger.log_metrics({"a": 1.0}, 3)
    logger.log_hyperparams({})
    logger.save()
    logger.finalize("success")
    assert calls == [({"a": 1.0}, 3), "success"]
    assert logger.name == "broken"
    assert logger.version == "0"
    assert logger.save_dir == "there"
    assert logger.experiment == "it"
