"""Records what happens in some steps of a training, as a trace that Perfetto shows."""

import gzip
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from rich.table import Table
from torch.profiler import ProfilerActivity, profile, schedule

from hybrid_ir.files.atomic import write_atomically

SHOWN_OPERATIONS = 10  # rows of the table, those that take the most time
TRACE_FILE = "trace.json.gz"  # of the first process; others have their number in the name


class StepTrace(Callback):
    """Writes a trace of some steps with torch's profiler: every operation, when and how long.

    The step before the first one is recorded and thrown away, as the profiler needs it to warm up.
    The file is in the format of Chrome (JSON, gzipped), which https://ui.perfetto.dev opens.

    Args:
        folder: for the files, one of each process.
        first_step: the first optimiser step of this start that is recorded, from 2.
        steps: how many are recorded.
    """

    def __init__(self, folder: str, first_step: int = 20, steps: int = 3):
        if first_step < 2 or steps < 1:
            raise ValueError(
                f"callbacks.trace.first_step={first_step} must be at least 2, as the step before "
                f"it warms the profiler up, and callbacks.trace.steps={steps} at least 1"
            )
        self.folder = Path(folder)
        self.first_step = first_step
        self.steps = steps
        self.path: Path | None = None  # of the file, once it is written
        self.milliseconds: dict[str, float] = {}  # of a step, by operation
        self._profiler: profile | None = None

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Starts to count steps. Raises ValueError for a training that ends before the trace."""
        last_step = self.first_step + self.steps - 1
        steps_to_go = trainer.max_steps - trainer.global_step
        if steps_to_go < last_step:
            raise ValueError(
                f"callbacks.trace records up to step {last_step} of this start, which has "
                f"{steps_to_go} steps: raise trainer.max_steps, or lower "
                "callbacks.trace.first_step or callbacks.trace.steps"
            )
        activities = [ProfilerActivity.CPU]
        if torch.cuda.is_available():
            activities.append(ProfilerActivity.CUDA)
        name = TRACE_FILE
        if trainer.global_rank > 0:
            name = f"rank{trainer.global_rank}_{TRACE_FILE}"
        self.path = None
        self._profiler = profile(
            activities=activities,
            schedule=schedule(wait=self.first_step - 2, warmup=1, active=self.steps, repeat=1),
            on_trace_ready=lambda profiler: self._write(profiler, self.folder / name),
            record_shapes=True,
        )
        self._profiler.start()

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Tells the profiler that an optimiser step has ended."""
        if (batch_idx + 1) % trainer.accumulate_grad_batches == 0 and self._profiler is not None:
            self._profiler.step()

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Stops to count steps."""
        self._stop()

    def on_exception(
        self, trainer: Trainer, module: LightningModule, exception: BaseException
    ) -> None:
        """Stops the profiler; what was not written yet is lost."""
        self._stop()

    def teardown(self, trainer: Trainer, module: LightningModule, stage: str) -> None:
        """Shows which operations took the most time, where the trace is, and what opens it."""
        if stage != "fit" or not trainer.is_global_zero or self.path is None:
            return
        Console().print(_build_table(self.milliseconds))
        print(
            f"trace of steps {self.first_step} to {self.first_step + self.steps - 1}: {self.path}; "
            "open https://ui.perfetto.dev and drop the file there"
        )

    def _stop(self) -> None:
        if self._profiler is not None:
            profiler = self._profiler
            self._profiler = None
            profiler.stop()

    def _write(self, profiler: profile, path: Path) -> None:
        """Writes what was recorded; torch writes plain JSON, which is then packed."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            plain = Path(folder) / "trace.json"
            profiler.export_chrome_trace(str(plain))
            with (
                write_atomically(path) as temporary,
                open(plain, "rb") as source,
                gzip.open(temporary, "wb") as target,
            ):
                shutil.copyfileobj(source, target)
        self.milliseconds = _sum_times(profiler, self.steps)
        self.path = path


def _sum_times(profiler: profile, steps: int) -> dict[str, float]:
    """Returns the milliseconds of a step that each operation takes itself, without those inside it.

    On a GPU these are the milliseconds of its kernels, else those of the processor.
    """
    averages = profiler.key_averages()
    has_kernels = any(average.self_device_time_total > 0 for average in averages)
    milliseconds = {}
    for average in averages:
        if average.key.startswith("ProfilerStep"):
            continue  # the whole step
        if has_kernels:
            microseconds = average.self_device_time_total
        else:
            microseconds = average.self_cpu_time_total
        milliseconds[average.key] = microseconds / 1000 / steps
    return milliseconds


def _build_table(milliseconds: dict[str, float]) -> Table:
    """Builds a table of the operations that take the most time."""
    table = Table(title="where the time of a step goes", title_justify="left")
    table.add_column("operation")
    table.add_column("ms a step", justify="right")
    table.add_column("share", justify="right")
    total = max(sum(milliseconds.values()), 1e-9)
    names = sorted(milliseconds, key=milliseconds.get, reverse=True)
    for name in names[:SHOWN_OPERATIONS]:
        share = milliseconds[name] / total
        table.add_row(name, f"{milliseconds[name]:.2f}", f"{share:.0%}")
    return table
