"""What a training says of its speed: tokens, padding, waiting, MFU, and no time of anything else.

Time is a clock that these tests move, so that the numbers are exact on any machine.
"""

import json
from io import StringIO

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning.pytorch.callbacks import Callback, Checkpoint
from rich.console import Console

from hybrid_ir.model.encoder import BiEncoder
from hybrid_ir.model.flops import ModelFlops
from hybrid_ir.model.token_store import RaggedTokens
from hybrid_ir.system.device_peaks import PEAKS, find_peak
from hybrid_ir.system.hardware import name_processor
from hybrid_ir.training.callbacks import BatchCardReport, TrainingReport, select_speeds
from hybrid_ir.training.checkpoint_callbacks import LastCheckpoint
from hybrid_ir.training.loggers import JsonlLogger
from hybrid_ir.training.throughput import (
    PREFIX,
    ThroughputMeter,
    Work,
    format_duration,
    join_ranks,
)
from tests.support.speed import COUNTED

TERA = 1e12
SECONDS_OF_BATCH = 3.0
SECONDS_OF_WAITING = 1.0


class Clock:
    """A clock that moves only when a test moves it."""

    def __init__(self):
        self.now = 0.0

    def read(self) -> float:
        return self.now


class TakesTime(Callback):
    """A batch, a validation and the end of a batch take time on a clock."""

    def __init__(self, clock: Clock):
        self.clock = clock

    def on_before_backward(self, *_) -> None:
        self.clock.now += SECONDS_OF_BATCH

    def on_validation_start(self, *_) -> None:
        self.clock.now += 1000

    def on_train_batch_end(self, *_) -> None:
        self.clock.now += 100


class SavesSlowly(Checkpoint):
    """A checkpoint that takes time before each batch."""

    def __init__(self, clock: Clock):
        self.clock = clock

    def on_train_batch_start(self, *_) -> None:
        self.clock.now += 10000


class LengthWatcher(Callback):
    """Keeps the lengths of all texts that were trained on, and the slots of the backbone."""

    def __init__(self):
        self.lengths: list[torch.Tensor] = []
        self.slots = 0

    def on_fit_start(self, trainer, module) -> None:
        module.encoder.backbone.register_forward_pre_hook(self.count, with_kwargs=True)

    def count(self, backbone, arguments, named_arguments) -> None:
        if backbone.training:  # and not validated
            self.slots += named_arguments["input_ids"].numel()

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx) -> None:
        self.lengths += [batch.queries.lengths_B, batch.passages.lengths_B]


@pytest.fixture
def clock(monkeypatch) -> Clock:
    """Replaces the clock by which times are measured."""
    clock = Clock()
    monkeypatch.setattr("time.perf_counter", clock.read)
    return clock


def read_rows(folder) -> list[dict]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [row for row in rows if "train/loss" in row]


def make_batches_slow(training, clock: Clock) -> None:
    """Has every batch take time to come."""
    plan = training.data._plan_batches

    def plan_slowly(examples):
        batches = plan(examples)
        slow_class = type("SlowBatches", (type(batches),), {"__getitem__": get_slowly})
        batches.__class__ = slow_class
        return batches

    def get_slowly(batches, number):
        clock.now += SECONDS_OF_WAITING
        return super(type(batches), batches).__getitem__(number)

    training.data._plan_batches = plan_slowly


def test_only_batches_and_waiting_for_them_are_time_of_training(
    build_training, tmp_path, numbers_benchmark, clock
):
    callbacks = [ThroughputMeter(), TakesTime(clock), SavesSlowly(clock)]
    training = build_training(
        numbers_benchmark,
        max_steps=6,
        accumulate_grad_batches=2,
        log_every_n_steps=2,
        callbacks=callbacks,
        logger=JsonlLogger(tmp_path),
    )
    make_batches_slow(training, clock)
    training.fit()
    rows = read_rows(tmp_path)
    assert [row["step"] for row in rows] == [2, 4, 6]
    seconds = 2 * (SECONDS_OF_BATCH + SECONDS_OF_WAITING)  # of the two batches of a step
    for row in rows:
        assert row[f"{PREFIX}seconds_per_step"] == seconds
        assert row[f"{PREFIX}data_wait_share"] == 0.25
        assert row[f"{PREFIX}pairs_per_second"] == 2
        assert f"{PREFIX}mfu" not in row
        assert row[f"{PREFIX}peak_memory_gib"] > 0
    assert callbacks[0].total.seconds == 12 * SECONDS_OF_BATCH
    assert callbacks[0].total.seconds_waited == 12 * SECONDS_OF_WAITING


def test_tokens_slots_and_operations_are_those_of_the_batches(
    build_training, tmp_path, numbers_benchmark, clock
):
    watcher = LengthWatcher()
    meter = ThroughputMeter(peak_teraflops=1e-6)
    training = build_training(
        numbers_benchmark,
        max_steps=4,
        log_every_n_steps=4,
        callbacks=[meter, TakesTime(clock), watcher],
        logger=JsonlLogger(tmp_path),
        data={"hard_negatives": 1},
        encoder={"packing": "off"},  # so that the backbone is given token ids
    ).fit()
    [row] = read_rows(tmp_path)
    lengths_B = torch.cat(watcher.lengths)
    tokens = float(lengths_B.sum())
    seconds = 4 * SECONDS_OF_BATCH
    flops = ModelFlops.of(training.module.encoder).count_training(lengths_B)
    assert row[f"{PREFIX}tokens_per_second"] == pytest.approx(tokens / seconds)
    assert row[f"{PREFIX}padding_share"] == pytest.approx(1 - tokens / watcher.slots)
    assert row[f"{PREFIX}mfu"] == pytest.approx(flops / (seconds * 1e-6 * TERA))
    assert meter.build_record()["model_teraflops_per_second"] * TERA == pytest.approx(
        flops / seconds
    )


def test_what_is_encoded_twice_for_cached_gradients_counts_once(build_training):
    totals = []
    for cache_gradients in (False, True):
        meter = ThroughputMeter()
        module = {"cache_gradients": cache_gradients}
        build_training(max_steps=3, callbacks=[meter], module=module).fit()
        totals.append(meter.total)
    for name in COUNTED:
        assert getattr(totals[0], name) == getattr(totals[1], name), name


def test_an_encoder_counts_its_slots_with_the_padding(recipe, cache):
    texts = ["some text to learn tokens from"]
    lengths_B = torch.tensor([3, 5, 4])
    packed = BiEncoder(recipe, passage_max_length=64, texts=texts, cache=cache, packing="on")
    packed(RaggedTokens(torch.ones(12, dtype=torch.long), lengths_B))
    assert packed.slots_computed == 12
    encoder = BiEncoder(recipe, passage_max_length=64, texts=texts, cache=cache, packing="off")
    encoder(RaggedTokens(torch.ones(12, dtype=torch.long), lengths_B))
    assert encoder.slots_computed == 3 * 5
    encoder.tokens_per_slice = 5
    encoder(RaggedTokens(torch.ones(12, dtype=torch.long), lengths_B))
    assert encoder.slots_computed == 3 * 5 + 12


def test_a_resumed_training_has_counted_every_step_once(build_training, tmp_path):
    alone = ThroughputMeter()
    build_training(max_steps=8, callbacks=[alone]).fit()
    first = ThroughputMeter()
    # The last checkpoint is of step 3, and a row was logged at step 2.
    last = LastCheckpoint(str(tmp_path), every_n_train_steps=3)
    training = build_training(max_steps=8, callbacks=[first, last, Stops(5)], log_every_n_steps=2)
    with pytest.raises(SystemExit):
        training.fit()
    second = ThroughputMeter()
    callbacks = [second, LastCheckpoint(str(tmp_path), every_n_train_steps=3)]
    resumed = build_training(max_steps=8, callbacks=callbacks, log_every_n_steps=2)
    resumed.fit(ckpt_path=tmp_path / "last.ckpt", weights_only=True)
    for name in COUNTED:
        assert getattr(second.total, name) == pytest.approx(getattr(alone.total, name)), name
    assert second.total.steps == 8


class Stops(Callback):
    """Ends a process after a step."""

    def __init__(self, step: int):
        self.step = step

    def on_train_batch_end(self, trainer, *_) -> None:
        if trainer.global_step == self.step:
            raise SystemExit


def test_the_end_of_a_training_says_how_fast_it_was(build_training, tmp_path, clock):
    console = Console(file=StringIO(), width=200)
    meter = ThroughputMeter()
    callbacks = [
        meter,
        TakesTime(clock),
        BatchCardReport(tmp_path, console),
        TrainingReport(tmp_path, console),
    ]
    build_training(max_steps=24, callbacks=callbacks, logger=JsonlLogger(tmp_path)).fit()
    printed = console.file.getvalue()
    unknown = f"unknown device ({name_processor()})"
    assert f"{unknown}, so no throughput/mfu: callbacks.throughput.peak_teraflops=N" in printed
    [line] = [line for line in printed.splitlines() if line.startswith("trained")]
    assert line.startswith("trained 24 steps in 1 min 12 s: ")
    assert " tokens/s, 3 pairs/s, " in line
    assert " padding, waited 0% for data, peak memory " in line
    assert line.endswith(f"MFU: {unknown}")
    record = json.loads((tmp_path / "throughput.json").read_text())
    assert record["mfu"] is None
    assert record["device"] == name_processor()
    assert record["pairs_per_second"] == pytest.approx(24 * 8 / 72)
    assert "throughput" not in (tmp_path / "batch_card.json").read_text()


def test_the_progress_bar_shows_the_speed_as_far_as_there_is_room(build_training):
    training = build_training(max_steps=2, callbacks=[ThroughputMeter(peak_teraflops=1)]).fit()
    narrow = select_speeds(training.trainer, width=0)
    assert list(narrow) == ["tokens/s"]
    wide = select_speeds(training.trainer, width=200)
    assert list(wide) == ["tokens/s", "MFU", "waits", "pairs/s", "padding", "GiB"]
    assert all(isinstance(text, str) for text in wide.values())


works = st.builds(
    Work,
    steps=st.just(4.0),
    seconds=st.floats(0.1, 10),
    seconds_waited=st.floats(0, 10),
    tokens=st.integers(1, 1000).map(float),
    pairs=st.integers(1, 100).map(float),
    slots=st.integers(1000, 2000).map(float),
    flops=st.integers(1, 10**9).map(float),
    peak_bytes=st.integers(1, 10**9).map(float),
)


@given(st.lists(works, min_size=1, max_size=4))
@settings(max_examples=30, deadline=None)
def test_ranks_add_their_tokens_and_share_the_longest_time(ranks):
    rows = [ThroughputMeter._to_row(work) for work in ranks]
    joined = join_ranks(torch.stack(rows))
    longest = max(work.seconds + work.seconds_waited for work in ranks)
    assert joined.steps == 4
    assert joined.tokens == sum(work.tokens for work in ranks)
    assert joined.seconds + joined.seconds_waited == pytest.approx(longest)
    assert joined.peak_bytes == max(work.peak_bytes for work in ranks)
    rates = joined.compute_rates()
    assert rates["pairs_per_second"] == pytest.approx(joined.pairs / longest)
    assert 0 <= rates["data_wait_share"] <= 1
    assert 0 <= rates["padding_share"] < 1
    assert "mfu" not in rates


def test_the_mfu_of_a_run_leaves_out_what_was_done_on_unknown_devices():
    known = Work(steps=1, seconds=2, flops=50, measurable_flops=50, possible_flops=100)
    unknown = Work(steps=1, seconds=2, flops=70)
    assert known.add(unknown).compute_rates()["mfu"] == 0.5


@pytest.mark.parametrize(
    ("device", "number_type", "teraflops"),
    [
        ("NVIDIA A100-SXM4-80GB", "bf16", 312),
        ("NVIDIA A100 80GB PCIe", "tf32", 156),
        ("NVIDIA A100-PCIE-40GB", "fp32", 19.5),
        ("NVIDIA H100 80GB HBM3", "bf16", 989.4),
        ("NVIDIA H100 PCIe", "bf16", 756),
        ("NVIDIA H200", "tf32", 494.7),
        ("NVIDIA L4", "fp16", 121),
        ("NVIDIA L40S", "bf16", 362),
        ("Tesla T4", "fp16", 65),
        ("Tesla V100-SXM2-32GB", "fp16", 125),
        ("NVIDIA GeForce RTX 4090", "bf16", 165.2),
        # No units for it, parts of devices, other devices with longer names, processors.
        ("Tesla T4", "bf16", None),
        ("Tesla V100-SXM2-32GB", "tf32", None),
        ("NVIDIA H200 MIG 1g.18gb", "bf16", None),
        ("NVIDIA A100-SXM4-80GB MIG 1g.10gb", "bf16", None),
        ("NVIDIA GeForce RTX 4090 D", "bf16", None),
        ("NVIDIA GeForce RTX 3090 Ti", "bf16", None),
        ("NVIDIA L40", "bf16", None),
        ("NVIDIA A10G", "bf16", None),
        ("AMD EPYC", "fp32", None),
        ("NVIDIA H200", "fp64", None),
    ],
)
def test_a_peak_is_that_of_the_very_device_or_unknown(device, number_type, teraflops):
    assert find_peak(device, number_type) == teraflops


def test_peaks_are_without_sparsity_and_have_16_bits_at_least_as_fast():
    for peaks in PEAKS:
        assert peaks.bf16 in (None, peaks.fp16)
        assert peaks.fp16 > peaks.fp32
        if peaks.tf32 is not None:
            assert peaks.fp32 <= peaks.tf32
            assert peaks.fp16 / peaks.tf32 == pytest.approx(2, rel=0.03)


def test_a_peak_that_is_no_peak_is_refused():
    with pytest.raises(ValueError, match="peak_teraflops=0 must be a number above 0, or null"):
        ThroughputMeter(peak_teraflops=0)


@pytest.mark.parametrize(
    ("seconds", "text"), [(7.26, "7.3 s"), (72, "1 min 12 s"), (7325, "2 h 2 min")]
)
def test_durations_are_in_words(seconds, text):
    assert format_duration(seconds) == text
