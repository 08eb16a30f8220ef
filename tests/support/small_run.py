"""A training of a small transformer on a few parallel sentences, with all that can vary."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning import LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import Callback, Checkpoint

from hybrid_ir.data.batching import Batch
from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.data.sampling import PairBatchSampler
from hybrid_ir.model.backbone import FromScratch
from hybrid_ir.model.encoder import BiEncoder
from hybrid_ir.training.datamodule import RetrievalData
from hybrid_ir.training.losses import InfoNCE
from hybrid_ir.training.optimization import build_linear_schedule
from hybrid_ir.training.retriever import Retriever
from hybrid_ir.types import Benchmark
from tests.support.corpora import SOURCE

LANGUAGES = ("de", "en", "zh")
WORDS = {"de": "Zahl", "en": "number", "zh": "数"}
PAIRS = 24
BATCH_SIZE = 8  # pairs


def write_sentences(first_word: str) -> dict[str, list[str]]:
    """Returns the sentences about numbers in each language, parallel row by row."""
    sentences = {}
    for language in LANGUAGES:
        word = WORDS[language]
        sentences[language] = [f"{first_word} {word} {i * i}" for i in range(PAIRS)]
    return sentences


def build_numbers_corpus(several_positives: bool = False) -> ParallelCorpus:
    """Builds a corpus that has every pair in every language, with two hard negatives each.

    Args:
        several_positives: whether the next passage answers a query, too. The first hard negative
            of a pair then is a positive of its query.
    """
    rows = np.arange(PAIRS)
    if several_positives:
        rows = np.repeat(rows, 2)
        passages = (rows + np.tile([0, 1], PAIRS)) % PAIRS
        return ParallelCorpus(
            queries=write_sentences("which"),
            passages=write_sentences("the"),
            pairs=np.stack([rows, passages], axis=1),
            source=SOURCE,
            negatives=(rows[:, None] + [1, 2, 5]) % PAIRS,
        )
    return ParallelCorpus(
        queries=write_sentences("which"),
        passages=write_sentences("the"),
        pairs=np.stack([rows, rows], axis=1),
        source=SOURCE,
        negatives=(rows[:, None] + [1, 2]) % PAIRS,
    )


def build_numbers_benchmark() -> Benchmark:
    """Builds a benchmark of the texts of the corpus; a query is answered in every language."""
    queries = write_sentences("which")
    passages = write_sentences("the")
    texts_of_queries = []
    texts_of_passages = []
    question_ids = []
    passage_ids = []
    relevant = []
    for language in LANGUAGES:
        texts_of_queries += queries[language]
        texts_of_passages += passages[language]
        for i in range(PAIRS):
            question_ids.append(str(i))
            passage_ids.append(f"{language}{i}")
            relevant.append(np.array([i, PAIRS + i, 2 * PAIRS + i]))
    languages_of_rows = np.repeat(range(len(LANGUAGES)), PAIRS)
    return Benchmark(
        languages=LANGUAGES,
        queries=texts_of_queries,
        query_languages=languages_of_rows,
        question_ids=question_ids,
        passages=texts_of_passages,
        passage_languages=languages_of_rows,
        passage_ids=passage_ids,
        relevant=relevant,
        source=SOURCE,
    )


numbers_corpus = pytest.fixture(scope="session", name="numbers_corpus")(build_numbers_corpus)
numbers_benchmark = pytest.fixture(scope="session", name="numbers_benchmark")(
    build_numbers_benchmark
)


class BatchWatcher(Callback):
    """Keeps the number and the loss of every batch that was trained on."""

    def __init__(self):
        self.batches: list[int] = []
        self.losses: list[float] = []

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        self.batches.append(batch.step)
        self.losses.append(float(outputs["loss"]))


def build_trainer(callbacks: list[Callback], **arguments) -> Trainer:
    """Builds a silent trainer on the CPU, with further arguments of Trainer."""
    defaults = {
        "accelerator": "cpu",
        "max_epochs": -1,
        "check_val_every_n_epoch": None,
        "val_check_interval": 4,
        "num_sanity_val_steps": 0,
        "logger": False,
        "log_every_n_steps": 1,
        "gradient_clip_val": 1.0,
        "use_distributed_sampler": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "callbacks": callbacks,
        "enable_checkpointing": any(isinstance(one, Checkpoint) for one in callbacks),
    }
    return Trainer(**{**defaults, **arguments})


class SmallTraining:
    """A training of a small transformer, ready to be started.

    Args:
        folder: the run folder.
        recipe: of the transformer.
        cache: folder of backbones and tokens.
        corpus: to train on.
        benchmark: for validation and test; None for neither.
        max_steps: optimiser steps.
        loss: the loss itself, or arguments of InfoNCE.
        data: arguments of RetrievalData.
        encoder: arguments of BiEncoder.
        learning_rate: of AdamW.
        monolingual_share: of the sampler.
        callbacks: of the trainer.
        sampler: further arguments of PairBatchSampler.
        module: further arguments of Retriever.
        trainer: further arguments of the Trainer.
    """

    def __init__(
        self,
        folder: Path,
        recipe: FromScratch,
        cache: Path,
        corpus: ParallelCorpus,
        benchmark: Benchmark | None = None,
        max_steps: int = 8,
        loss: torch.nn.Module | dict | None = None,
        data: dict | None = None,
        encoder: dict | None = None,
        learning_rate: float = 1e-3,
        monolingual_share: float = 0.5,
        callbacks: list[Callback] | None = None,
        sampler: dict | None = None,
        module: dict | None = None,
        **trainer,
    ):
        seed_everything(0, verbose=False)
        encoder_arguments = {
            "query_max_length": 32,
            "passage_max_length": 32,
            "texts": corpus.texts(),
            "cache": cache,
        }
        encoder_arguments.update(encoder or {})
        model = BiEncoder(recipe, **encoder_arguments)
        if not isinstance(loss, torch.nn.Module):
            loss = InfoNCE(**(loss or {}))
        self.module = Retriever(
            encoder=model,
            loss=loss,
            optimizer=lambda groups: torch.optim.AdamW(groups, lr=learning_rate),
            scheduler=lambda optimizer: build_linear_schedule(optimizer, max_steps),
            **(module or {}),
        )
        self.data = RetrievalData(
            PairBatchSampler(corpus, BATCH_SIZE, monolingual_share, seed=3, **(sampler or {})),
            model.tokenizers,
            validation=benchmark,
            test=benchmark,
            cache=cache,
            **(data or {}),
        )
        self.watcher = BatchWatcher()
        self.trainer = build_trainer(
            [self.watcher, *(callbacks or [])],
            max_steps=max_steps,
            default_root_dir=folder,
            **{"limit_val_batches": 1.0 if benchmark else 0, **trainer},
        )

    def fit(self, **arguments) -> "SmallTraining":
        """Trains, with arguments of Trainer.fit."""
        self.trainer.fit(self.module, self.data, **arguments)
        return self

    def test(self) -> dict[str, float]:
        """Measures the benchmark, and returns its summary."""
        self.trainer.test(self.module, self.data, verbose=False)
        return self.module.results["test"].summary()

    def copy_weights(self) -> torch.Tensor:
        """Returns all present weights as one vector."""
        return torch.cat([p.detach().flatten() for p in self.module.parameters()])


@pytest.fixture
def build_training(tmp_path, recipe, cache, numbers_corpus) -> Callable[..., SmallTraining]:
    """Returns a function that builds a SmallTraining on the corpus of numbers."""

    def build(benchmark: Benchmark | None = None, **choices) -> SmallTraining:
        return SmallTraining(tmp_path, recipe, cache, numbers_corpus, benchmark, **choices)

    return build
