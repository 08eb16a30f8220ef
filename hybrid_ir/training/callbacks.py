"""Callbacks of a training: a progress bar in steps, and what is reported before and after it."""

import json
import math
from pathlib import Path

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, RichProgressBar
from rich import get_console
from rich.console import Console
from rich.progress import TaskID
from rich.text import Text

from hybrid_ir.evaluation.figures import draw_training_curves
from hybrid_ir.files.atomic import write_text_atomically
from hybrid_ir.files.json_lines import read_log_rows
from hybrid_ir.model.encoder import BiEncoder
from hybrid_ir.model.packed_attention import PACKED_PREFIX
from hybrid_ir.system.progress import SECONDS_OF_SPEED, LongWork, begin_work, end_work
from hybrid_ir.training.batch_card import LAST_STEP, BatchCard, print_batch_card
from hybrid_ir.training.throughput import PREFIX, find_meter
from hybrid_ir.training.training_metrics import LOSSES_OF_KINDS

THROUGHPUT_FILE = "throughput.json"  # of a run folder
WIDTH_BEFORE_METRICS = 75  # characters of the bar, the counts, the times and the loss
# What the bar shows of the speed as far as there is room: the logged name, its name and its format.
SPEEDS_OF_BAR = (
    ("tokens_per_second", "tokens/s", "{:,.0f}"),
    ("mfu", "MFU", "{:.0%}"),
    ("data_wait_share", "waits", "{:.0%}"),
    ("pairs_per_second", "pairs/s", "{:,.0f}"),
    ("padding_share", "padding", "{:.0%}"),
    ("peak_memory_gib", "GiB", "{:.1f}"),
)


class StepProgressBar(RichProgressBar):
    """A progress bar that counts training steps: batches are planned, there are no epochs."""

    def __init__(self, *arguments, **keywords):
        super().__init__(*arguments, **keywords)
        self.works: dict[
            TaskID, LongWork
        ] = {}  # Of the bars, for lines where there is no terminal.

    def _get_train_description(self, current_epoch: int) -> str:
        return "training"

    def _init_progress(self, trainer: Trainer) -> None:
        super()._init_progress(trainer)
        if self.progress is not None:
            # By default a step that takes half a minute has no speed, and so no end.
            self.progress.speed_estimate_period = SECONDS_OF_SPEED

    def _update(
        self,
        progress_bar_id: TaskID | None,
        current: int,
        visible: bool = True,
        hard: bool = False,
    ) -> None:
        super()._update(progress_bar_id, current, visible, hard)
        if self.progress is not None and progress_bar_id is not None:
            self._note_work(progress_bar_id, current)

    def _note_work(self, bar: TaskID, current: int) -> None:
        if bar not in self.works:
            task = self.progress.tasks[bar]
            total = None if task.total is None else int(task.total)
            title = Text.from_markup(task.description).plain.strip().lower()
            self.works[bar] = LongWork(title, total, current)
        work = self.works[bar]
        begin_work(work)
        work.set_done(current)
        if current == work.total:
            self._forget_work(bar)

    def _forget_work(self, bar: TaskID) -> None:
        end_work(self.works.pop(bar))

    def _stop_progress(self) -> None:
        super()._stop_progress()
        for bar in list(self.works):
            self._forget_work(bar)

    @property
    def total_train_batches(self) -> int | float:
        """The batches of the whole run, which is what its loader holds."""
        return self.trainer.num_training_batches

    def get_metrics(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """Adds the running losses of both kinds of examples and the speed, as far as known."""
        metrics = super().get_metrics(trainer, pl_module)
        losses = []
        for name in LOSSES_OF_KINDS:
            value = float(trainer.callback_metrics.get(name, math.nan))
            losses.append("-" if math.isnan(value) else f"{value:.2f}")
        if set(losses) != {"-"}:
            metrics["loss"] = "/".join(losses)
        metrics.update(select_speeds(trainer, get_console().width - WIDTH_BEFORE_METRICS))
        return metrics


def select_speeds(trainer: Trainer, width: int) -> dict[str, str]:
    """Returns what was last logged of the speed, by the names of the progress bar.

    Args:
        trainer: of the training.
        width: how many characters there is room for; the tokens a second are always there.
    """
    speeds: dict[str, str] = {}
    for name, shown_name, style in SPEEDS_OF_BAR:
        value = trainer.callback_metrics.get(PREFIX + name)
        if value is None:
            continue
        text = style.format(float(value))
        width -= len(f" {shown_name}: {text}")
        if width < 0 and speeds:
            break
        speeds[shown_name] = text
    return speeds


class BatchCardReport(Callback):
    """Prints the batch card before the first step, and writes it as batch_card.json.

    Args:
        folder: the run folder.
        console: where to print; the terminal by default.
    """

    def __init__(self, folder: str | Path, console: Console | None = None):
        self.folder = Path(folder)
        self.console = console or Console()

    def on_fit_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Builds the card of the run from its Retriever and RetrievalData, on rank 0 only."""
        if not trainer.is_global_zero:
            return
        data = trainer.datamodule
        card = BatchCard.of(
            data.sampler,
            steps=trainer.max_steps,
            batches_per_step=trainer.accumulate_grad_batches,
            loss=module.loss,
            hard_negatives=data.hard_negatives,
            benchmarks=data.benchmarks,
            switching=data.prepare_code_switching(),
            chosen_by=describe_choice_of_checkpoint(trainer),
        )
        write_text_atomically(self.folder / "batch_card.json", json.dumps(card.as_dict(), indent=2))
        meter = find_meter(trainer)
        notes = describe_computation(trainer, module.encoder)
        if meter is not None:
            notes["peak of the device"] = meter.describe_peak(trainer)
        print_batch_card(card, self.console, notes)


def describe_computation(trainer: Trainer, encoder: BiEncoder) -> dict[str, str]:
    """Says in which precision, with how many threads and by which attention a run computes."""
    kernel = str(encoder.backbone.config._attn_implementation).removeprefix(PACKED_PREFIX)
    if encoder.padding_reason is None:
        layout = "rows without padding"
    else:
        layout = f"padded slices ({encoder.padding_reason})"
    threads = torch.get_num_threads()
    return {
        "precision": str(trainer.precision),
        "threads of torch": f"{threads} a process",
        "attention": f"{kernel}, {layout}",
    }


def describe_choice_of_checkpoint(trainer: Trainer) -> str:
    """Says by which value on which benchmark a run chooses the checkpoint that it measures."""
    validation = trainer.datamodule.benchmarks["validation"]
    for callback in trainer.checkpoint_callbacks:
        monitor = getattr(callback, "monitor", None)
        if monitor is not None and validation is not None:
            questions = len(set(validation.question_ids))
            return f"{monitor} ({callback.mode}) on {validation.name}, {questions:,} questions"
    return LAST_STEP


class TrainingReport(Callback):
    """Draws what the steps of a training logged as curves.png, and says how far and fast it went.

    Args:
        folder: the run folder, with metrics.jsonl.
        console: where to print; the terminal by default.
        objective: the value that searches and sweeps read; a warning says if it was not logged.
    """

    def __init__(
        self, folder: str | Path, console: Console | None = None, objective: str | None = None
    ):
        self.folder = Path(folder)
        self.console = console or Console()
        self.objective = objective

    def teardown(self, trainer: Trainer, module: LightningModule, stage: str) -> None:
        """Writes the report on rank 0, after the last checkpoint and the end of the progress bar.

        Lightning does not call this if the training failed.
        """
        if stage != "fit" or not trainer.is_global_zero:
            return
        # The usual folder of a run is named by its model, its sampler and its seed.
        run = "/".join(self.folder.parts[-2:])
        draw_training_curves(self.folder / "metrics.jsonl", self.folder / "curves.png", run)
        steps = trainer.global_step
        if steps < trainer.max_steps:
            progress = f"{steps:,} steps of {trainer.max_steps:,}: stopped early"
        else:
            progress = f"{steps:,} steps"
        files = f"see {self.folder}: metrics.jsonl, curves.png, checkpoints"
        meter = find_meter(trainer)
        if meter is None or meter.total is None:
            self._print(f"trained {progress}, {files}")
        else:
            self._print(f"trained {progress} in {meter.describe_total()}")
            self._print(files)
            record = json.dumps(meter.build_record(), indent=2)
            write_text_atomically(self.folder / THROUGHPUT_FILE, record)
        self._warn_of_unknown_objective()

    def _print(self, line: str) -> None:
        self.console.print(line, soft_wrap=True, highlight=False)

    def _warn_of_unknown_objective(self) -> None:
        """Says that searches and sweeps will read no value, if the objective was not logged."""
        logged: set[str] = set()
        for row in read_log_rows(self.folder / "metrics.jsonl"):
            logged.update(row)
        if self.objective and "val/loss" in logged and self.objective not in logged:
            self._print(
                f"warning: objective={self.objective} was not logged, so searches and sweeps have "
                "no value of this run: name a key of metrics.jsonl, such as val/multi/map"
            )
