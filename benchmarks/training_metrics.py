"""What the running means of a training cost: steps with and without them, in turn, in one run.

    python benchmarks/training_metrics.py PATH_OF_E5_SMALL

Times are those of the processor, since others may use the machine. Besides the ratio of the two
kinds of steps, the time of what was added is measured by itself: a step varies by more than that.
"""

import argparse
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

import hybrid_ir.training.losses as losses
import hybrid_ir.training.retriever as retriever
from hybrid_ir.corpora.sources.cldr_facts import load
from hybrid_ir.data.batching import Batch
from hybrid_ir.data.sampling import PairBatchSampler
from hybrid_ir.model.encoder import BiEncoder
from hybrid_ir.training.datamodule import RetrievalData
from hybrid_ir.training.loggers import JsonlLogger

WARM_UP = 4  # steps


class AlternatingSteps(Callback):
    """Leaves the running means out of every other step, and times all steps.

    Attributes:
        seconds: of the processor, for the steps without the means (False) and with them (True).
        added_seconds: of what was added, in each step with the means.
    """

    def __init__(self):
        self.seconds: dict[bool, list[float]] = {False: [], True: []}
        self.added_seconds: list[float] = []
        self._rank_positives = losses.rank_positives
        self._log_running_means: Callable | None = None
        self._started = 0.0

    def setup(self, trainer: Trainer, module: LightningModule, stage: str) -> None:
        """Has the parts that were added timed."""
        self._log_running_means = self._time(module._log_running_means)
        retriever.sum_by_kind = self._time(retriever.sum_by_kind)
        module._warned_of_missing_ranking = True

    def _time(self, part: Callable) -> Callable:
        def call(*arguments: Any) -> Any:
            started = time.process_time()
            result = part(*arguments)
            self.added_seconds[-1] += time.process_time() - started
            return result

        return call

    def on_train_batch_start(
        self, trainer: Trainer, module: LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Switches the running means on or off."""
        if batch_idx % 2:
            self.added_seconds.append(0.0)
            losses.rank_positives = self._time(self._rank_positives)
            module._log_running_means = self._log_running_means
        else:
            losses.rank_positives = lambda *arguments: None
            module._log_running_means = lambda norm: None
        self._started = time.process_time()

    def on_train_batch_end(
        self,
        trainer: Trainer,
        module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Keeps the seconds of the step."""
        self.seconds[bool(batch_idx % 2)].append(time.process_time() - self._started)


def measure(encoder: BiEncoder, size: int, steps: int, folder: Path) -> str:
    """Trains some steps and returns a line about their time.

    Args:
        encoder: to train.
        size: pairs in a batch.
        steps: without the means, and as many with them.
        folder: for logs and tokens.
    """
    module = retriever.Retriever(
        encoder=encoder,
        loss=losses.InfoNCE(),
        optimizer=lambda groups: torch.optim.AdamW(groups, lr=1e-6),
    )
    watcher = AlternatingSteps()
    trainer = Trainer(
        accelerator="cpu",
        precision="bf16-mixed",
        max_steps=2 * steps + WARM_UP,
        max_epochs=-1,
        limit_val_batches=0,
        gradient_clip_val=1.0,
        use_distributed_sampler=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        logger=[JsonlLogger(folder)],
        log_every_n_steps=10,
        callbacks=[watcher],
        default_root_dir=folder,
    )
    sampler = PairBatchSampler(load(), size, 0.5)
    trainer.fit(module, RetrievalData(sampler, encoder.tokenizers, cache=folder))
    without = watcher.seconds[False][WARM_UP // 2 :]
    with_means = watcher.seconds[True][WARM_UP // 2 :]
    ratios = [one / other for one, other in zip(with_means, without, strict=True)]
    ratios_in_order = statistics.quantiles(ratios, n=4)
    added = statistics.median(watcher.added_seconds[WARM_UP // 2 :])
    step = statistics.median(without)
    return (
        f"batch {size:>5}: step {1000 * step:8.1f} ms, with the means / without "
        f"{statistics.median(ratios):.3f} (quartiles {ratios_in_order[0]:.3f} to "
        f"{ratios_in_order[2]:.3f}); added operations {1000 * added:.2f} ms = {added / step:.3%}"
    )


def main() -> None:
    """Measures some sizes of batches."""
    parser = argparse.ArgumentParser(description="Time of the running means of a training.")
    parser.add_argument("backbone", help="folder or hub id of e5-small")
    parser.add_argument("--sizes", type=int, nargs="+", default=[16, 64, 256])
    parser.add_argument("--steps", type=int, default=20)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    encoder = BiEncoder(
        options.backbone, query_prefix="query: ", passage_prefix="passage: ", tokens_per_slice=2048
    )
    for size in options.sizes:
        with tempfile.TemporaryDirectory() as folder:
            print(measure(encoder, size, options.steps, Path(folder)), flush=True)


if __name__ == "__main__":
    main()
