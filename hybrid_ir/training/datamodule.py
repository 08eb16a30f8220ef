"""The LightningDataModule: planned batches to train on, benchmark texts to encode."""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lightning import LightningDataModule, Trainer
from torch.utils.data import DataLoader

from hybrid_ir.data.batching import PlannedBatches, require_enough_negatives
from hybrid_ir.data.code_switching import CodeSwitching
from hybrid_ir.data.sampling import PairBatchSampler
from hybrid_ir.evaluation.encoding import TokenChunks
from hybrid_ir.model.tokens import RoleTokenizer
from hybrid_ir.system.interruption import ignore_stop_signals
from hybrid_ir.types import Benchmark

# Lightning's precisions whose weights have 16 bits. A bf16 number has 8 significant bits: adding
# less than a 512th of it leaves it as it is.
ROUNDED_PRECISIONS = ("bf16-true", "16-true")


class StepsToGo:
    """The numbers of the planned batches that a trainer still needs.

    They begin at its global step, so that a restored trainer goes on where it was.

    Args:
        trainer: knows the step, the length of the run and the batches per step.
        distinct: only the first so many batches of the plan, over and over; None for all.
    """

    def __init__(self, trainer: Trainer, distinct: int | None = None):
        self.trainer = trainer
        self.distinct = distinct

    def __iter__(self) -> Iterator[int]:
        first = self.trainer.global_step * self.trainer.accumulate_grad_batches
        for number in range(first, len(self)):
            yield number % self.distinct if self.distinct else number

    def __len__(self) -> int:
        """Returns the batches of the whole run, as Lightning counts those before a restart, too."""
        return self.trainer.max_steps * self.trainer.accumulate_grad_batches


class TimedLoader(DataLoader):
    """A DataLoader that knows how long its batches were waited for.

    Attributes:
        seconds_waited: for all batches so far.
    """

    seconds_waited = 0.0

    def __iter__(self) -> Iterator[Any]:
        return self._time_batches(super().__iter__())

    def _time_batches(self, batches: Iterator[Any]) -> Iterator[Any]:
        """Yields the batches and adds up the time that each takes to come."""
        while True:
            started = time.perf_counter()
            try:
                batch = next(batches)
            except StopIteration:
                return
            self.seconds_waited += time.perf_counter() - started
            yield batch


def require_trainable(trainer: Trainer, batch_size: int) -> None:
    """Raises ValueError with everything that a trainer cannot do with a plan of batches.

    Args:
        trainer: about to train.
        batch_size: examples of a global batch.
    """
    problems = []
    if batch_size % trainer.world_size:
        problems.append(_describe_uneven_slices(batch_size, trainer.world_size))
    if trainer.max_steps < 1:
        problems.append(f"trainer.max_steps={trainer.max_steps} must be at least 1")
    elif trainer.global_step >= trainer.max_steps:
        problems.append(
            f"the checkpoint is at step {trainer.global_step}, so trainer.max_steps="
            f"{trainer.max_steps} leaves nothing to train: raise it, or measure the checkpoint "
            "with fit=false"
        )
    interval = trainer.val_check_interval
    if interval <= 0:
        problems.append(f"trainer.val_check_interval={interval} must be at least 1")
    elif trainer.limit_val_batches and interval % trainer.accumulate_grad_batches:
        problems.append(
            f"trainer.val_check_interval={interval} counts batches, and must be a multiple of the "
            f"{trainer.accumulate_grad_batches} of a step (trainer.accumulate_grad_batches)"
        )
    if (trainer.gradient_clip_val or 0) < 0:
        problems.append(
            f"trainer.gradient_clip_val={trainer.gradient_clip_val} must be at least 0, or null "
            "for no clipping"
        )
    if problems:
        raise ValueError("; ".join(problems))


def require_supported_trainer(trainer: Trainer) -> None:
    """Raises ValueError with every setting of a trainer that would train or measure other things.

    Args:
        trainer: about to train or to measure.
    """
    if trainer.fast_dev_run:
        # It changes the other settings, which would then be complained of.
        raise ValueError(
            "trainer.fast_dev_run would measure a part of a benchmark, which is no result: "
            "debug=smoke runs every part once, in seconds"
        )
    if trainer.overfit_batches:
        raise ValueError(
            f"trainer.overfit_batches={trainer.overfit_batches} would train on another plan than "
            "the sampler's: debug=overfit, or data.distinct_batches=N, trains on the first N "
            "batches of the plan, over and over"
        )
    problems = []
    if trainer.limit_train_batches != 1.0:
        problems.append(
            f"trainer.limit_train_batches={trainer.limit_train_batches} would train on the same "
            "batches again and again: set trainer.max_steps, or data.distinct_batches"
        )
    if trainer.max_epochs not in (None, -1):
        problems.append(
            f"trainer.max_epochs={trainer.max_epochs}: the batches of all steps are planned, there "
            "are no epochs; set trainer.max_steps, and leave trainer.max_epochs at -1"
        )
    if trainer.precision in ROUNDED_PRECISIONS:
        problems.append(
            f"trainer.precision={trainer.precision} keeps the weights themselves in 16 bits, which "
            "cannot take steps as small as a learning rate of 3e-5, and rounds the temperature: "
            "use trainer.precision=bf16-mixed, which computes in 16 bits and keeps weights in 32"
        )
    if problems:
        raise ValueError("; ".join(problems))


def _describe_uneven_slices(batch_size: int, world_size: int) -> str:
    """Says that a global batch has no equal slices for so many processes, and which ones have."""
    smaller = batch_size // world_size * world_size
    larger = smaller + world_size
    cures = f"{smaller} or {larger}" if smaller else f"{larger}"
    return (
        f"sampler.batch_size={batch_size} must be divisible by the {world_size} processes of this "
        f"run, as every one takes an equal slice of the global batch: use {cures}"
    )


class RetrievalData(LightningDataModule):
    """Joins a sampler and two benchmarks with the tokenizers of an encoder.

    Args:
        sampler: plans the training batches; None where nothing is trained.
        tokenizers: `query` and `passage`, of the encoder.
        validation: benchmark watched while training, None for no validation.
        test: benchmark measured at the end.
        hard_negatives: for each query, from those that the corpus names.
        distinct_batches: only the first so many batches of the plan, over and over; None for all.
        texts_per_chunk: texts encoded in one evaluation step.
        num_workers: processes that build training batches; 0 builds them in the training process.
        cache: folder for tokenised texts.
        code_switching: puts words of other languages into training texts; None leaves them as they
            are.

    Raises:
        ValueError: a number out of its range, or more hard negatives than the corpus has.
    """

    def __init__(
        self,
        sampler: PairBatchSampler | None,
        tokenizers: Mapping[str, RoleTokenizer],
        validation: Benchmark | None = None,
        test: Benchmark | None = None,
        hard_negatives: int = 0,
        distinct_batches: int | None = None,
        texts_per_chunk: int = 512,
        num_workers: int = 0,
        cache: str | Path = ".cache",
        code_switching: CodeSwitching | None = None,
    ):
        super().__init__()
        if distinct_batches is not None and distinct_batches < 1:
            raise ValueError(
                f"data.distinct_batches={distinct_batches} must be at least 1, or null for the "
                "whole plan"
            )
        if texts_per_chunk < 1 or num_workers < 0:
            raise ValueError(
                f"data.texts_per_chunk={texts_per_chunk} must be at least 1, and "
                f"data.num_workers={num_workers} at least 0"
            )
        for stage, benchmark in (("validation", validation), ("test", test)):
            if benchmark is not None and not hasattr(benchmark, "relevant"):
                raise ValueError(
                    f"{stage}={benchmark!r} is no Benchmark (by_corpus is for benchmark@validation "
                    "alone)"
                )
        if sampler is not None:
            require_enough_negatives(sampler.corpus, hard_negatives)
        self.sampler = sampler
        self.tokenizers = tokenizers
        self.benchmarks = {"validation": validation, "test": test}
        self.hard_negatives = hard_negatives
        self.distinct_batches = distinct_batches
        self.texts_per_chunk = texts_per_chunk
        self.num_workers = num_workers
        self.cache = Path(cache)
        self.code_switching = code_switching
        self._chunks: dict[str, TokenChunks] = {}  # by stage

    def prepare_code_switching(self) -> CodeSwitching | None:
        """Returns the code switching for the languages of the corpus, None where there is none."""
        if self.code_switching is None:
            return None
        return self.code_switching.prepare(self.sampler.corpus.languages)

    def setup(self, stage: str) -> None:
        """Tokenises all texts before the first step, so that bad data stops the run at its start.

        All ranks share the work. None waits for another in a collective, which would time out
        where it takes long.

        Raises:
            ValueError: the trainer has settings that do not go with planned batches, see
                `require_supported_trainer`.
        """
        require_supported_trainer(self.trainer)
        if self.sampler is not None and stage == "fit":
            self._plan_batches(slice(None))
        for name, benchmark in self.benchmarks.items():
            if benchmark is not None:
                self._build_chunk_loader(name)

    def train_dataloader(self) -> DataLoader:
        """Returns the rank's slices of the planned batches that are left to train on.

        Raises:
            ValueError: the trainer cannot train on these batches, see `require_trainable`.
        """
        trainer = self.trainer
        require_trainable(trainer, self.sampler.batch_size)
        size = self.sampler.batch_size // trainer.world_size
        first = trainer.global_rank * size
        return TimedLoader(
            self._plan_batches(slice(first, first + size)),
            sampler=StepsToGo(trainer, self.distinct_batches),
            batch_size=None,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            worker_init_fn=ignore_stop_signals,
        )

    def val_dataloader(self) -> DataLoader | list:
        """Returns the texts of the validation benchmark, nothing where there is none."""
        if self.benchmarks["validation"] is None:
            return []
        return self._build_chunk_loader("validation")

    def test_dataloader(self) -> DataLoader:
        """Returns the texts of the test benchmark."""
        return self._build_chunk_loader("test")

    def texts_cut(self, stage: str) -> dict[str, float]:
        """Returns the shares of queries and of passages that are longer than the encoder reads."""
        return self._chunks[stage].texts_cut()

    def _plan_batches(self, examples: slice) -> PlannedBatches:
        """Returns the planned batches, of which this rank takes a slice of the examples."""
        return PlannedBatches(
            self.sampler,
            self.tokenizers,
            self.cache,
            self.hard_negatives,
            examples,
            self.code_switching,
        )

    def _build_chunk_loader(self, stage: str) -> DataLoader:
        """Returns the texts of a stage in chunks; they are tokenised when first asked for."""
        if stage not in self._chunks:
            self._chunks[stage] = TokenChunks(
                self.benchmarks[stage],
                self.tokenizers,
                self.cache,
                self.texts_per_chunk,
                self.trainer.global_rank,
                self.trainer.world_size,
            )
        return DataLoader(self._chunks[stage], batch_size=None)
