"""Running means of a training: what a batch says of its queries, by hand, and over steps."""

import json
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning.pytorch.callbacks import ModelCheckpoint

from hybrid_ir.data.labels import MASKS, Labels
from hybrid_ir.training.callbacks import StepProgressBar
from hybrid_ir.training.loggers import JsonlLogger, select_values
from hybrid_ir.training.losses import InfoNCE, take_in_batch_ranking
from hybrid_ir.training.training_metrics import (
    QUERY_MEANS,
    RUNNING_MEANS,
    WINDOW,
    RunningMeans,
    TrainingMetrics,
    sum_by_kind,
)
from tests.training.test_losses import batches, compute_by_hand, is_false_negative

LOSS_CHOICES = st.fixed_dictionaries(
    {
        "temperature": st.floats(0.05, 1),
        "negatives": st.sampled_from(["in_batch", "explicit"]),
        "mask": st.sampled_from(MASKS),
        "symmetric": st.booleans(),
    }
)
TOLERANCE = 1e-5  # sums are kept in float32


def build_loss(choices: dict, labels: Labels) -> InfoNCE:
    """Builds a loss in float64; explicit negatives need hard ones in the batch."""
    if labels.columns == 1:
        choices["negatives"] = "in_batch"
    loss = InfoNCE(**choices).double()
    loss.log_temperature.fill_(math.log(choices["temperature"]))
    return loss


def list_candidates(labels: Labels, query: int, choices: dict) -> list[int]:
    """Returns the columns that a query is compared with, besides its positive."""
    candidates = []
    for column in range(len(labels.content_N)):
        is_positive = column % labels.columns == 0
        if column == query * labels.columns:
            continue
        if choices["negatives"] == "explicit" and is_positive:
            continue
        if not is_false_negative(labels, query, column, choices["mask"]):
            candidates.append(column)
    return candidates


def measure_by_hand(
    similarities: list[list[float]], labels: Labels, choices: dict, monolingual: list[bool]
) -> dict[str, float]:
    """Computes accuracy, MRR and similarities, one query at a time; what is absent is left out."""
    values: dict[str, list[float]] = {name: [] for name in QUERY_MEANS}
    for query, is_monolingual in enumerate(monolingual):
        kind = "monolingual" if is_monolingual else "cross_lingual"
        of_query = similarities[query]
        own = of_query[query * labels.columns]
        values["train/positive_similarity"].append(own)
        candidates = list_candidates(labels, query, choices)
        if not candidates:
            continue
        rank = 1
        for column in candidates:
            if of_query[column] >= own:
                rank += 1
        values[f"train/{kind}/accuracy"].append(float(rank == 1))
        values[f"train/{kind}/mrr"].append(1 / rank)
        hardest = max(of_query[column] for column in candidates)
        values["train/hardest_negative_similarity"].append(hardest)
    return {name: sum(of_name) / len(of_name) for name, of_name in values.items() if of_name}


def read_means(totals_2K: torch.Tensor) -> dict[str, float]:
    """Returns the means that are there, without those that have no query."""
    means = {}
    for name, total, weight in zip(QUERY_MEANS, *totals_2K.tolist(), strict=True):
        if weight:
            means[name] = total / weight
    return means


def draw_kinds(data: st.DataObject, queries: int) -> list[bool]:
    return data.draw(st.lists(st.booleans(), min_size=queries, max_size=queries))


@given(batch=batches(), choices=LOSS_CHOICES, data=st.data())
@settings(max_examples=80, deadline=None)
def test_ranks_and_similarities_are_those_by_hand(batch, choices, data):
    queries, passages, labels = batch
    loss = build_loss(choices, labels)
    monolingual = draw_kinds(data, len(queries))
    loss(queries, passages, labels)
    totals = sum_by_kind(take_in_batch_ranking(loss), torch.tensor(monolingual))
    # Scores are compared after they were divided, which may make two of them equal.
    temperature = choices["temperature"]
    similarities = ((queries @ passages.T) / loss.temperature * temperature).tolist()
    expected = measure_by_hand(similarities, labels, choices, monolingual)
    means = read_means(totals)
    for name in QUERY_MEANS:
        if not name.endswith("/loss"):
            assert means.get(name) == pytest.approx(expected.get(name), abs=TOLERANCE), name


@given(batch=batches(), choices=LOSS_CHOICES, data=st.data())
@settings(max_examples=40, deadline=None)
def test_losses_of_kinds_add_up_to_the_loss_of_the_batch(batch, choices, data):
    queries, passages, labels = batch
    loss = build_loss(choices, labels)
    monolingual = torch.tensor(draw_kinds(data, len(queries)))
    expected = float(loss(queries, passages, labels))
    sums, weights = sum_by_kind(take_in_batch_ranking(loss), monolingual)[:, :2]
    assert weights.tolist() == [int(monolingual.sum()), int((~monolingual).sum())]
    assert float(sums.sum()) / len(queries) == pytest.approx(expected, abs=TOLERANCE)
    by_hand = compute_by_hand(queries, passages, labels, **choices)
    assert float(sums.sum()) / len(queries) == pytest.approx(by_hand, abs=TOLERANCE)


@given(batch=batches(), choices=LOSS_CHOICES, data=st.data())
@settings(max_examples=40, deadline=None)
def test_accuracy_is_at_most_the_mrr_and_both_are_shares(batch, choices, data):
    queries, passages, labels = batch
    loss = build_loss(choices, labels)
    monolingual = torch.tensor(draw_kinds(data, len(queries)))
    loss(queries, passages, labels)
    means = read_means(sum_by_kind(take_in_batch_ranking(loss), monolingual))
    for kind in ("monolingual", "cross_lingual"):
        accuracy = means.get(f"train/{kind}/accuracy")
        mrr = means.get(f"train/{kind}/mrr")
        assert (accuracy is None) == (mrr is None)
        if accuracy is not None:
            assert 0 <= accuracy <= mrr <= 1
            # A positive that is not the first is second at best.
            assert mrr <= accuracy + (1 - accuracy) / 2 + TOLERANCE


def test_a_tie_is_no_first_rank():
    """An encoder that makes one vector of all texts has learnt nothing."""
    vectors = torch.ones(4, 2) / math.sqrt(2)
    numbers = torch.arange(4)
    loss = InfoNCE()
    loss(vectors, vectors, Labels(numbers, numbers, numbers))
    means = read_means(sum_by_kind(take_in_batch_ranking(loss), torch.ones(4, dtype=torch.bool)))
    assert means["train/monolingual/accuracy"] == 0
    assert means["train/monolingual/mrr"] == pytest.approx(1 / 4)
    assert means["train/positive_similarity"] == pytest.approx(1)


def test_a_ranking_is_taken_once_and_has_no_gradient():
    vectors = torch.eye(3).requires_grad_()
    numbers = torch.arange(3)
    loss = InfoNCE(learn_temperature=True, symmetric=True)
    assert take_in_batch_ranking(loss) is None
    loss(vectors, vectors, Labels(numbers, numbers, numbers)).backward()
    ranking = take_in_batch_ranking(loss)
    assert not any(values.requires_grad for values in vars(ranking).values())
    assert take_in_batch_ranking(loss) is None


@given(
    steps=st.lists(st.tuples(st.floats(-5, 5), st.integers(0, 3)), min_size=1, max_size=12),
    window=st.integers(1, 5),
)
@settings(max_examples=40, deadline=None)
def test_a_running_mean_is_weighted_over_the_last_steps(steps, window):
    metric = RunningMeans(["value"], window)
    for value, weight in steps:
        metric.update(torch.tensor([[value * weight], [weight]]))
    mean = metric.compute()["value"].item()
    weight = sum(weight for _, weight in steps[-window:])
    if weight == 0:
        assert math.isnan(mean)
    else:
        total = sum(value * weight for value, weight in steps[-window:])
        assert mean == pytest.approx(total / weight, abs=1e-4)


def test_a_mean_that_is_absent_is_not_logged_as_a_value():
    name = "train/monolingual/loss"
    values = select_values({name: math.nan, "train/loss": math.nan, "epoch": 0, "val/loss": 2.0})
    assert list(values) == ["train/loss", "val/loss"]
    assert select_values({name: 0.0}) == {name: 0.0}


def test_windows_go_through_a_checkpoint_and_others_are_ignored():
    metrics = TrainingMetrics()
    share = torch.tensor(0.25)
    metrics.add_step(torch.ones(2, len(QUERY_MEANS)), share, torch.tensor(3.0))
    resumed = TrainingMetrics()
    resumed.set_windows(metrics.get_windows())
    totals = 2 * torch.ones(2, len(QUERY_MEANS))
    metrics.add_step(totals, share, None)
    resumed.add_step(totals, share, None)
    expected = metrics.compute_means()
    assert resumed.compute_means() == expected
    assert expected["train/running/gradient_norm"] == 3.0
    fresh = TrainingMetrics()
    fresh.set_windows({"queries": torch.ones(1, 2, 3)})
    assert fresh.get_windows()["queries"].shape == (WINDOW, 2, len(QUERY_MEANS))


# What a training logs


def read_rows(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_training_logs_the_means_over_its_steps(build_training, tmp_path):
    training = build_training(
        max_steps=6,
        logger=[JsonlLogger(tmp_path)],
        precision="64-true",
        sampler={"level": "example"},
    ).fit()
    rows = read_rows(tmp_path)
    assert set(rows[-1]) > RUNNING_MEANS
    plans = [training.data.sampler[step] for step in range(6)]
    monolingual = sum((plan.query_languages == plan.passage_languages).sum() for plan in plans)
    share = monolingual / (6 * training.data.sampler.batch_size)
    assert 0 < share < 1
    of_kinds = [rows[-1][name] for name in QUERY_MEANS[:2]]
    mean = share * of_kinds[0] + (1 - share) * of_kinds[1]
    assert mean == pytest.approx(sum(row["train/loss"] for row in rows) / 6, rel=1e-5)
    for name in ("masked_share", "gradient_norm"):
        values = [row[f"train/{name}"] for row in rows]
        assert rows[-1][f"train/running/{name}"] == pytest.approx(sum(values) / 6, rel=1e-5)


@pytest.mark.parametrize(
    ("monolingual_share", "present", "absent"),
    [(1.0, "monolingual", "cross_lingual"), (0.0, "cross_lingual", "monolingual")],
)
def test_a_kind_that_does_not_come_is_not_logged(
    build_training, tmp_path, monolingual_share, present, absent
):
    logger = JsonlLogger(tmp_path)
    build_training(max_steps=2, monolingual_share=monolingual_share, logger=[logger]).fit()
    for row in read_rows(tmp_path):
        assert row[f"train/{present}/loss"] > 0
        assert not [name for name in row if absent in name]


def test_a_kind_that_has_left_the_window_is_no_longer_logged(build_training, tmp_path, monkeypatch):
    monkeypatch.setattr(RunningMeans.__init__, "__defaults__", (1,))
    logger = JsonlLogger(tmp_path)
    training = build_training(max_steps=8, logger=[logger]).fit()
    for row in read_rows(tmp_path):
        plan = training.data.sampler[row["step"] - 1]
        assert ("train/monolingual/loss" in row) == plan.monolingual
        assert ("train/cross_lingual/loss" in row) != plan.monolingual


def test_accumulated_batches_count_as_one_step_of_all_their_queries(build_training, tmp_path):
    training = build_training(
        max_steps=2, accumulate_grad_batches=3, logger=[JsonlLogger(tmp_path)], precision="64-true"
    ).fit()
    rows = read_rows(tmp_path)
    losses = {True: [], False: []}
    for batch, loss in zip(training.watcher.batches, training.watcher.losses, strict=True):
        losses[training.data.sampler[batch].monolingual].append(3 * loss)  # Lightning divides them
    for name, of_kind in zip(QUERY_MEANS[:2], (losses[True], losses[False]), strict=True):
        assert rows[-1][name] == pytest.approx(sum(of_kind) / len(of_kind), rel=1e-5)


def test_means_do_not_depend_on_how_gradients_are_computed(build_training):
    names = sorted(RUNNING_MEANS)
    logged = []
    for cached in (False, True):
        training = build_training(
            max_steps=4,
            precision="64-true",
            loss={"learn_temperature": True},
            data={"hard_negatives": 1},
            module={"cache_gradients": cached},
        ).fit()
        logged.append([float(training.trainer.callback_metrics[name]) for name in names])
    assert logged[0] == pytest.approx(logged[1], rel=1e-5)


def test_a_resumed_run_logs_the_means_of_the_uninterrupted_one(build_training, tmp_path):
    checkpoints = ModelCheckpoint(tmp_path, filename="three", every_n_train_steps=3, save_top_k=1)
    logger = JsonlLogger(tmp_path)
    build_training(max_steps=5, callbacks=[checkpoints], logger=[logger]).fit()
    rows = read_rows(tmp_path)
    logger.path.unlink()
    resumed = build_training(max_steps=5, logger=[logger])
    resumed.fit(ckpt_path=tmp_path / "three.ckpt", weights_only=True)
    assert read_rows(tmp_path) == rows[3:]


def test_a_skipped_step_leaves_the_means_as_they_are(build_training):
    training = build_training(max_steps=3, module={"nonfinite": "skip"})
    forward = training.module.loss.forward
    calls = []

    def fail_once(*arguments):
        calls.append(0)
        factor = math.nan if len(calls) == 2 else 1
        return factor * forward(*arguments)

    training.module.loss.forward = fail_once
    training.fit()
    weights_W = training.module.training_metrics["queries"].totals_W2K[:, 1, :2].sum(dim=1)
    assert weights_W[-3:].tolist() == [0, 8, 8]
    assert math.isfinite(training.trainer.callback_metrics["train/positive_similarity"])


def test_the_progress_bar_shows_the_losses_of_both_kinds(build_training):
    bar = StepProgressBar()
    training = build_training(max_steps=3, callbacks=[bar], enable_progress_bar=True).fit()
    shown = bar.get_metrics(training.trainer, training.module)["loss"]
    metrics = training.trainer.callback_metrics
    for text, name in zip(shown.split("/"), QUERY_MEANS[:2], strict=True):
        value = float(metrics[name])
        assert text == ("-" if math.isnan(value) else f"{value:.2f}")


def test_state_dict_has_no_metrics(build_training):
    names = build_training().module.state_dict()
    assert not [name for name in names if "metrics" in name]
