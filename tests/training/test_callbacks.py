"""What a training reports before its first step and after its last one."""

import json
from io import StringIO

from lightning.pytorch.callbacks import EarlyStopping
from rich.console import Console

from hybrid_ir.training.callbacks import BatchCardReport, StepProgressBar, TrainingReport
from hybrid_ir.training.loggers import JsonlLogger


def build_console() -> Console:
    return Console(file=StringIO(), width=150)


def test_the_batch_card_is_printed_and_written_before_the_first_step(build_training, tmp_path):
    console = build_console()
    report = BatchCardReport(tmp_path, console)
    build_training(max_steps=4, accumulate_grad_batches=2, callbacks=[report]).fit()
    card = json.loads((tmp_path / "batch_card.json").read_text())
    assert card["queries_per_step"] == 16
    assert card["steps"] == 4
    assert card["batches_counted"] == 8
    assert card["languages"] == ["de", "en", "zh"]
    printed = console.file.getvalue()
    assert "batch card" in printed
    assert "4 (2.7 passes over the pairs)" in printed


def test_the_end_of_a_training_is_drawn_and_printed(build_training, tmp_path):
    console = build_console()
    report = TrainingReport(tmp_path, console)
    build_training(max_steps=3, callbacks=[report], logger=JsonlLogger(tmp_path)).fit()
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    files = "metrics.jsonl, curves.png, checkpoints"
    assert console.file.getvalue() == f"trained 3 steps, see {tmp_path}: {files}\n"


def test_an_early_stop_is_printed(build_training, tmp_path, numbers_benchmark):
    console = build_console()
    callbacks = [EarlyStopping("val/loss", patience=1), TrainingReport(tmp_path, console)]
    build_training(numbers_benchmark, max_steps=1000, learning_rate=0.0, callbacks=callbacks).fit()
    assert "trained 8 steps of 1,000: stopped early, see" in console.file.getvalue()


def test_an_objective_that_was_never_logged_is_warned_of(
    build_training, tmp_path, numbers_benchmark
):
    for objective, is_known in (("val/mono/map", True), ("val/mono/mapp", False)):
        console = build_console()
        report = TrainingReport(tmp_path, console, objective=objective)
        logger = JsonlLogger(tmp_path)
        build_training(numbers_benchmark, max_steps=2, callbacks=[report], logger=logger).fit()
        warning = f"warning: objective={objective} was not logged"
        assert (warning in console.file.getvalue()) != is_known


def test_a_test_alone_reports_no_training(build_training, tmp_path, numbers_benchmark):
    console = build_console()
    reports = [BatchCardReport(tmp_path, console), TrainingReport(tmp_path, console)]
    build_training(numbers_benchmark, callbacks=reports).test()
    assert console.file.getvalue() == ""
    assert not (tmp_path / "batch_card.json").exists()
    assert not (tmp_path / "curves.png").exists()


def test_the_progress_bar_counts_the_batches_of_the_run(build_training):
    bar = StepProgressBar()
    training = build_training(max_steps=3, callbacks=[bar], enable_progress_bar=True).fit()
    assert bar.total_train_batches == training.trainer.max_steps
