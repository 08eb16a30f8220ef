"""How fast a training is: tokens, pairs, padding, MFU, waiting for data, and memory.

Shapes: R processes of the run, K numbers of a Work, B texts of a batch.
"""

import math
import resource
import sys
import time
from dataclasses import asdict, astuple, dataclass, fields, replace
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from hybrid_ir.data.batching import Batch
from hybrid_ir.distributed import gather_uneven
from hybrid_ir.model.flops import ModelFlops
from hybrid_ir.system.device_peaks import find_peak
from hybrid_ir.system.hardware import name_processor

PREFIX = "throughput/"  # of the names that are logged
CHECKPOINT_KEY = "throughput"
GIB = 2**30  # bytes
TERA = 1e12
# Lightning's names of precisions, and what the products of matrices are computed in.
NUMBER_TYPES = {"bf16-mixed": "bf16", "16-mixed": "fp16", "32-true": "fp32"}


@dataclass(frozen=True)
class Work:
    """What was trained on and how long it took: of one process, or of all together.

    Attributes:
        steps: optimiser steps; a batch is a part of one where gradients are accumulated.
        seconds: from the start of each batch to its end.
        seconds_waited: for batches to come.
        tokens: read, special ones included and padding not.
        pairs: of a query and its passage.
        slots: places for tokens that the encoder computed, padding included.
        flops: floating-point operations of the model, see ModelFlops.
        measurable_flops: those of them that were done on devices of a known peak.
        possible_flops: what the devices of a known peak could have done in that time.
        peak_bytes: the most memory of a process so far.
    """

    steps: float = 0.0
    seconds: float = 0.0
    seconds_waited: float = 0.0
    tokens: float = 0.0
    pairs: float = 0.0
    slots: float = 0.0
    flops: float = 0.0
    measurable_flops: float = 0.0
    possible_flops: float = 0.0
    peak_bytes: float = 0.0

    def add(self, other: "Work") -> "Work":
        """Returns this work and another that followed it."""
        sums = [mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)]
        sums[-1] = max(self.peak_bytes, other.peak_bytes)
        return Work(*sums)

    def compute_rates(self) -> dict[str, float]:
        """Returns the numbers that are logged, without their prefix, where they are defined."""
        total_seconds = self.seconds + self.seconds_waited
        if not self.steps or total_seconds <= 0:
            return {}
        rates = {
            "tokens_per_second": self.tokens / total_seconds,
            "pairs_per_second": self.pairs / total_seconds,
            "padding_share": 1 - self.tokens / max(self.slots, self.tokens, 1),
            "data_wait_share": self.seconds_waited / total_seconds,
            "seconds_per_step": total_seconds / self.steps,
            "peak_memory_gib": self.peak_bytes / GIB,
        }
        if self.possible_flops:
            rates["mfu"] = self.measurable_flops / self.possible_flops
        return rates


def join_ranks(works_RK: torch.Tensor) -> Work:
    """Joins what all processes did at the same time: sums, and the longest time of them.

    Args:
        works_RK: the numbers of a Work, a row for each process, over the same steps.
    """
    columns = dict(zip(_list_names(), works_RK.T, strict=True))
    longest = float((columns["seconds"] + columns["seconds_waited"]).max())
    waited = float(columns["seconds_waited"].max())
    return Work(
        steps=float(columns["steps"].max()),
        seconds=longest - waited,
        seconds_waited=waited,
        tokens=float(columns["tokens"].sum()),
        pairs=float(columns["pairs"].sum()),
        slots=float(columns["slots"].sum()),
        flops=float(columns["flops"].sum()),
        measurable_flops=float(columns["measurable_flops"].sum()),
        possible_flops=float(columns["possible_flops"].sum()),
        peak_bytes=float(columns["peak_bytes"].max()),
    )


def _list_names() -> list[str]:
    return [field.name for field in fields(Work)]


class ThroughputMeter(Callback):
    """Logs how fast the training is, with every row of the training that is logged.

    The numbers are over the steps since the row before. Time is counted from the start of the work
    on a batch to its end, and while a batch is waited for: neither validation nor the writing of
    checkpoints is training. It stands first among the callbacks, so that the time of the others is
    none of it. A CUDA device is waited for only where a row is logged, and at a checkpoint.

    Args:
        peak_teraflops: of one device in the precision of the run, for the MFU; None takes it from
            the table in hybrid_ir/system/device_peaks.py, which has no processors.

    Attributes:
        total: the work of the whole run up to the last step, also before it was resumed; None
            before its end.
    """

    def __init__(self, peak_teraflops: float | None = None):
        is_number = isinstance(peak_teraflops, int | float) and not isinstance(peak_teraflops, bool)
        if peak_teraflops is not None and not (is_number and 0 < peak_teraflops < math.inf):
            raise ValueError(
                f"callbacks.throughput.peak_teraflops={peak_teraflops!r} must be a number above 0, "
                "or null for what the table of devices says"
            )
        self.given_peak = peak_teraflops
        self.total: Work | None = None
        self._earlier = Work()  # of the run before it was resumed
        self._mine = Work()  # of this process since the start
        self._logged_RK = self._to_row(Work())[None]  # of every process up to the last row
        self._slots_before = 0
        self._waited_before = 0.0

    def setup(self, trainer: Trainer, module: LightningModule, stage: str) -> None:
        """Forgets what was measured before; a checkpoint that is resumed is read after this."""
        if stage == "fit":
            self.total = None
            self._earlier = Work()

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Starts to count, and reads the size of the model and the name of the device."""
        self._mine = Work()
        self._logged_RK = self._to_row(Work())[None]
        self._waited_before = self._read_seconds_waited(trainer)
        self.flops = ModelFlops.of(module.encoder)
        self.device = name_device(trainer.strategy.root_device)
        self.peak = self._find_device_peak(trainer)
        self.unknown_peak = describe_unknown_peak(trainer)

    def on_train_batch_start(
        self, trainer: Trainer, module: LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Notes where the count of the encoder stands: a validation was none of this batch."""
        self._slots_before = module.encoder.slots_computed

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Adds a batch, and logs the numbers where Lightning logs a row."""
        batches_of_step = trainer.accumulate_grad_batches
        ends_step = (batch_idx + 1) % batches_of_step == 0
        rows = trainer.log_every_n_steps
        is_logged = ends_step and rows > 0 and trainer.global_step % rows == 0
        if is_logged:
            self._wait_for_device(trainer)
        seconds = time.perf_counter() - module.batch_started
        self._mine = self._mine.add(self._measure_batch(trainer, module, batch, seconds))
        if is_logged:
            self._log_row(trainer, module)

    def on_save_checkpoint(
        self, trainer: Trainer, module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Adds the work so far to a checkpoint; every process gets here, as Lightning has it."""
        works_RK = self._gather(trainer)
        checkpoint[CHECKPOINT_KEY] = asdict(self._earlier.add(join_ranks(works_RK)))

    def on_load_checkpoint(
        self, trainer: Trainer, module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Goes on with the work of a checkpoint, if the training goes on from it."""
        known = set(_list_names())
        earlier = checkpoint.get(CHECKPOINT_KEY, {})
        if trainer.state.fn == "fit":
            self._earlier = Work(**{name: earlier[name] for name in known & set(earlier)})

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Adds up the work of all processes over the whole run."""
        self.total = self._earlier.add(join_ranks(self._gather(trainer)))

    def describe_peak(self, trainer: Trainer) -> str:
        """Says what the MFU is measured by, or that it is unknown, in a line of the batch card."""
        peak = self._find_device_peak(trainer)
        if peak is not None:
            return f"{peak:,.1f} teraflops of {name_device(trainer.strategy.root_device)}"
        return (
            f"{describe_unknown_peak(trainer)}, so no {PREFIX}mfu: "
            "callbacks.throughput.peak_teraflops=N says its peak"
        )

    def describe_total(self) -> str:
        """Says in a line how fast the training was that has ended."""
        rates = self.total.compute_rates()
        if not rates:
            return "no step was measured"
        if "mfu" in rates:
            mfu = f"MFU {rates['mfu']:.1%}"
        elif self.flops is None:
            mfu = "MFU: unknown kind of model"
        else:
            mfu = f"MFU: {self.unknown_peak}"
        parts = [
            f"{rates['tokens_per_second']:,.0f} tokens/s",
            f"{rates['pairs_per_second']:,.0f} pairs/s",
            f"{rates['padding_share']:.0%} padding",
            f"waited {rates['data_wait_share']:.0%} for data",
            f"peak memory {rates['peak_memory_gib']:.1f} GiB",
            mfu,
        ]
        duration = format_duration(self.total.seconds + self.total.seconds_waited)
        return f"{duration}: {', '.join(parts)}"

    def build_record(self) -> dict[str, Any]:
        """Returns the numbers of the whole training as plain values, for throughput.json."""
        rates = self.total.compute_rates()
        total_seconds = self.total.seconds + self.total.seconds_waited
        record = {"device": self.device, "peak_teraflops": self.peak, "mfu": None}
        record.update(rates)
        record["model_teraflops_per_second"] = self.total.flops / max(total_seconds, 1e-9) / TERA
        record.update(asdict(self.total))
        return record

    def _find_device_peak(self, trainer: Trainer) -> float | None:
        """Finds the peak of a device of the run in teraflops, None if it is unknown."""
        if self.given_peak is not None:
            return self.given_peak
        device = trainer.strategy.root_device
        number_type = NUMBER_TYPES.get(str(trainer.precision))
        if device.type != "cuda" or number_type is None:
            return None
        if number_type == "fp32" and torch.get_float32_matmul_precision() != "highest":
            number_type = "tf32"
        return find_peak(name_device(device), number_type)

    def _measure_batch(
        self, trainer: Trainer, module: LightningModule, batch: Batch, seconds: float
    ) -> Work:
        """Returns the work of a batch of this process."""
        lengths_B = torch.cat([batch.queries.lengths_B, batch.passages.lengths_B])
        waited_before = self._waited_before
        self._waited_before = self._read_seconds_waited(trainer)
        waited = self._waited_before - waited_before
        flops = 0.0 if self.flops is None else self.flops.count_training(lengths_B)
        is_measurable = self.peak is not None and self.flops is not None
        possible = self.peak * TERA * (seconds + waited) if is_measurable else 0.0
        return Work(
            steps=1 / trainer.accumulate_grad_batches,
            seconds=seconds,
            seconds_waited=waited,
            tokens=float(lengths_B.sum()),
            pairs=float(len(batch.queries)),
            slots=float(module.encoder.slots_computed - self._slots_before),
            flops=flops,
            measurable_flops=flops if is_measurable else 0.0,
            possible_flops=possible,
        )

    def _log_row(self, trainer: Trainer, module: LightningModule) -> None:
        """Logs the numbers of the steps since the last row, over all processes."""
        works_RK = self._gather(trainer)
        since_RK = works_RK - self._logged_RK
        since_RK[:, -1] = works_RK[:, -1]  # the peak of memory is no sum
        self._logged_RK = works_RK
        rates = join_ranks(since_RK).compute_rates()
        module.log_dict({f"{PREFIX}{name}": rate for name, rate in rates.items()})

    def _gather(self, trainer: Trainer) -> torch.Tensor:
        """Returns the work of every process since the start (R, K)."""
        peak_bytes = float(read_peak_memory(trainer.strategy.root_device))
        return gather_uneven(self._to_row(replace(self._mine, peak_bytes=peak_bytes))[None])

    @staticmethod
    def _to_row(work: Work) -> torch.Tensor:
        return torch.tensor(astuple(work), dtype=torch.float64)

    @staticmethod
    def _read_seconds_waited(trainer: Trainer) -> float:
        """Returns how long batches were waited for so far, 0 for a loader that does not say."""
        return getattr(trainer.train_dataloader, "seconds_waited", 0.0)

    @staticmethod
    def _wait_for_device(trainer: Trainer) -> None:
        device = trainer.strategy.root_device
        if device.type == "cuda":
            torch.cuda.synchronize(device)


def find_meter(trainer: Trainer) -> ThroughputMeter | None:
    """Returns the meter among the callbacks of a trainer, None if there is none."""
    for callback in trainer.callbacks:
        if isinstance(callback, ThroughputMeter):
            return callback
    return None


def describe_unknown_peak(trainer: Trainer) -> str:
    """Says of which device in which precision there is no peak."""
    device = trainer.strategy.root_device
    if device.type == "cuda":
        return f"unknown device ({name_device(device)} in {trainer.precision})"
    return f"unknown device ({name_device(device)})"


def name_device(device: torch.device) -> str:
    """Returns the name of a GPU, or of the processor of this machine."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return name_processor()


def read_peak_memory(device: torch.device) -> int:
    """Returns the most bytes so far: of tensors on a CUDA device, else of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts in KiB


def format_duration(seconds: float) -> str:
    """Returns a duration in words, such as 1 min 12 s."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    hours = whole // 3600
    minutes = whole % 3600 // 60
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {whole % 60} s"
