"""What may go wrong beside the training does not end it, and what goes wrong in it is written down."""

import json

import pytest
import torch

from hybrid_ir.training.loggers import FailSafeLogger, JsonlLogger
from tests.support.faults import BrokenLogger, Fault


def steps(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / "nonfinite.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(("kind", "what"), [("diverges", "loss"), ("gradient", "gradient norm")])
def test_a_step_that_is_not_finite_can_be_skipped(started, tmp_path, kind, what):
    fault = Fault(kind, step=3, rank=0)
    with pytest.warns(UserWarning, match=f"the {what} is .* at step 3 .*skipped"):
        run = started(max_steps=6, module={"nonfinite": "skip"}, callbacks=[fault]).fit()
    assert run.trainer.global_step == 6 and torch.isfinite(run.weights).all()
    told = steps(tmp_path)
    assert len(told) == 1 and told[0]["step"] == 3 and len(told[0]["batches"][0]["picks"]) == 8
    pick = told[0]["batches"][0]["picks"][0]
    assert pick["query"].startswith("which") and pick["passage"].startswith("the")
    assert pick["query_language"] in ("de", "en", "zh")


def test_a_skipped_step_moves_no_weight(started):
    before = started(max_steps=3).fit().weights
    skipped = started(
        max_steps=3,
        module={"nonfinite": "skip"},
        callbacks=[Fault("gradient", step=0, rank=0, times=1)],
    )
    untrained = skipped.weights
    with pytest.warns(UserWarning, match="skipped"):
        skipped.trainer.fit_loop.epoch_loop.max_steps = 1
        skipped.fit()
    assert torch.equal(skipped.weights, untrained) and not torch.equal(before, untrained)


def test_a_gradient_that_is_not_finite_stops_the_run(started, tmp_path):
    with pytest.raises(
        ValueError, match=r"the gradient norm is (inf|nan) at step 2 \(batch 2\).*nonfinite=skip"
    ):
        started(max_steps=6, callbacks=[Fault("gradient", step=2, rank=0)]).fit()
    assert steps(tmp_path)[0]["step"] == 2


def test_all_batches_of_a_step_are_written_down(started, tmp_path):
    with pytest.raises(ValueError, match="at step 1"):
        started(
            max_steps=3, accumulate_grad_batches=2, callbacks=[Fault("gradient", step=1, rank=0)]
        ).fit()
    assert [batch["batch"] for batch in steps(tmp_path)[0]["batches"]] == [2, 3]


def test_a_choice_that_does_not_exist_is_refused(started):
    with pytest.raises(ValueError, match="nonfinite='ignore' must be 'stop' or 'skip'"):
        started(module={"nonfinite": "ignore"})


def test_a_logger_that_fails_is_left_out(started, tmp_path):
    with pytest.warns(
        UserWarning,
        match="BrokenLogger failed .ConnectionError: the .* service is gone.*metrics.jsonl",
    ) as told:
        run = started(
            max_steps=4, logger=[JsonlLogger(tmp_path), FailSafeLogger(BrokenLogger())]
        ).fit()
    assert (
        run.trainer.global_step == 4
        and len([warning for warning in told if "BrokenLogger" in str(warning.message)]) == 1
    )
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 4


def test_a_sturdy_logger_passes_everything_on():
    seen = []

    class Seen(BrokenLogger):
        save_dir = "there"
        experiment = "it"

        def log_metrics(self, metrics, step=None) -> None:
            seen.append((metrics, step))

        def finalize(self, status) -> None:
            seen.append(status)

    logger = FailSafeLogger(Seen())
    logger.log_metrics({"a": 1.0}, 3)
    logger.log_hyperparams({})
    logger.save()
    logger.finalize("success")
    assert seen == [({"a": 1.0}, 3), "success"]
    assert (logger.name, logger.version, logger.save_dir, logger.experiment) == (
        "broken",
        "0",
        "there",
        "it",
    )
