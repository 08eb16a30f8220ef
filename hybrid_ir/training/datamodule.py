"""The LightningDataModule: planned batches to train on, benchmark texts to encode."""

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


class StepsToGo:
    """Which planned batches a trainer still needs: from its global step on, so that a restored one goes on where it was.

    As long as the whole run, since Lightning counts the batches before a restart, too.
    """

    def __init__(self, trainer: Trainer, distinct: int | None = None):
        self.trainer, self.distinct = trainer, distinct

    def __iter__(self) -> Iterator[int]:
        for step in range(
            self.trainer.global_step * self.trainer.accumulate_grad_batches, len(self)
        ):
            yield step % self.distinct if self.distinct else step

    def __len__(self) -> int:
        return self.trainer.max_steps * self.trainer.accumulate_grad_batches


def require_trainable(trainer: Trainer, batch_size: int) -> None:
    """ValueError for what this trainer cannot do with a plan of batches."""
    wrong = []
    if batch_size % (world := trainer.world_size):
        fits = [
            str(size)
            for size in (batch_size // world * world, -(-batch_size // world) * world)
            if size
        ]
        wrong.append(
            f"sampler.batch_size={batch_size} must be divisible by the {world} processes of this run, as every one "
            f"takes an equal slice of the global batch: use {' or '.join(fits)}"
        )
    if trainer.max_steps < 1:
        wrong.append(f"trainer.max_steps={trainer.max_steps} must be at least 1")
    elif trainer.global_step >= trainer.max_steps:
        wrong.append(
            f"the checkpoint is at step {trainer.global_step}, so trainer.max_steps={trainer.max_steps} leaves "
            "nothing to train: raise it, or measure the checkpoint with fit=false"
        )
    if trainer.val_check_interval <= 0:
        wrong.append(f"trainer.val_check_interval={trainer.val_check_interval} must be at least 1")
    elif trainer.limit_val_batches and trainer.val_check_interval % trainer.accumulate_grad_batches:
        wrong.append(
            f"trainer.val_check_interval={trainer.val_check_interval} counts batches, and must be a multiple of the "
            f"{trainer.accumulate_grad_batches} of a step (trainer.accumulate_grad_batches)"
        )
    if (trainer.gradient_clip_val or 0) < 0:
        wrong.append(
            f"trainer.gradient_clip_val={trainer.gradient_clip_val} must be at least 0, or null for no clipping"
        )
    if wrong:
        raise ValueError("; ".join(wrong))


class RetrievalData(LightningDataModule):
    """Joins a sampler and two benchmarks with the tokenizers of an encoder.

    Args:
        sampler: plans the training batches; None where nothing is trained.
        tokenizers: `query` and `passage`, of the encoder.
        validation: benchmark watched while training, None for no validation.
        test: benchmark measured at the end.
        hard_negatives: per question, from those that the corpus names.
        distinct_batches: only the first so many batches of the plan, over and over; None for all.
        texts_per_chunk: texts encoded per evaluation step.
        num_workers: processes that build training batches; 0 builds them in the training process.
        cache: folder for tokenised texts.
        code_switching: puts words of other languages into training texts; None leaves them as they are.
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
                f"data.distinct_batches={distinct_batches} must be at least 1, or null for the whole plan"
            )
        if texts_per_chunk < 1 or num_workers < 0:
            raise ValueError(
                f"data.texts_per_chunk={texts_per_chunk} must be at least 1, and data.num_workers={num_workers} at "
                "least 0"
            )
        if sampler is not None:
            require_enough_negatives(sampler.corpus, hard_negatives)
        self.sampler, self.tokenizers, self.num_workers = sampler, tokenizers, num_workers
        self.benchmarks = {"validation": validation, "test": test}
        self.hard_negatives, self.texts_per_chunk, self.cache = (
            hard_negatives,
            texts_per_chunk,
            Path(cache),
        )
        self.distinct_batches, self.code_switching = distinct_batches, code_switching
        self._chunks: dict[str, TokenChunks] = {}

    @property
    def described(self) -> dict[str, Any]:
        """What a batch card says besides the plan."""
        switching = self.code_switching and self.code_switching.prepare(
            self.sampler.corpus.languages
        )
        return {
            "hard_negatives": self.hard_negatives,
            "benchmarks": self.benchmarks,
            "switching": switching,
        }

    def setup(self, stage: str) -> None:
        """Tokenise everything once, before the first step, so that bad data stops the run before it costs anything.

        All ranks share the work, and none waits for another in a collective, which would time out where it takes long.
        """
        if self.sampler is not None and stage == "fit":
            self._batches()
        for benchmark in ("validation", "test"):
            if self.benchmarks[benchmark] is not None:
                self._encoding(benchmark)

    def train_dataloader(self) -> DataLoader:
        trainer = self.trainer
        require_trainable(trainer, self.sampler.batch_size)
        size = self.sampler.batch_size // trainer.world_size
        batches = self._batches(slice(trainer.global_rank * size, (trainer.global_rank + 1) * size))
        return DataLoader(
            batches,
            sampler=StepsToGo(trainer, self.distinct_batches),
            batch_size=None,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            worker_init_fn=ignore_stop_signals,
        )

    def val_dataloader(self) -> DataLoader | list:
        return self._encoding("validation") if self.benchmarks["validation"] is not None else []

    def test_dataloader(self) -> DataLoader:
        return self._encoding("test")

    def texts_cut(self, stage: str) -> dict[str, float]:
        """Share of a benchmark's queries and passages that are longer than the encoder reads."""
        return self._chunks[stage].texts_cut()

    def _batches(self, own: slice = slice(None)) -> PlannedBatches:
        return PlannedBatches(
            self.sampler, self.tokenizers, self.cache, self.hard_negatives, own, self.code_switching
        )

    def _encoding(self, stage: str) -> DataLoader:
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
