"""A training of a small transformer on a few parallel sentences, with all that can vary."""

from pathlib import Path

import numpy as np
import pytest
import torch
from lightning import Trainer, seed_everything
from lightning.pytorch.callbacks import Callback, Checkpoint

from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.data.sampling import PairBatchSampler
from hybrid_ir.model.encoder import BiEncoder
from hybrid_ir.training.datamodule import RetrievalData
from hybrid_ir.training.losses import InfoNCE
from hybrid_ir.training.retriever import Retriever
from hybrid_ir.training.schedules import build_linear_schedule
from hybrid_ir.types import Benchmark, Source

SOURCE = Source("made", "texts made for a test", "none", "none")
LANGUAGES, PAIRS = ("de", "en", "zh"), 24
WORDS = {"de": "Zahl", "en": "number", "zh": "数"}


def texts(kind: str) -> dict[str, list[str]]:
    return {
        language: [f"{kind} {WORDS[language]} {i * i}" for i in range(PAIRS)]
        for language in LANGUAGES
    }


def made_corpus() -> ParallelCorpus:
    negatives = (np.arange(PAIRS)[:, None] + [1, 2]) % PAIRS
    return ParallelCorpus(
        texts("which"),
        texts("the"),
        np.repeat(np.arange(PAIRS)[:, None], 2, axis=1),
        SOURCE,
        negatives,
    )


def made_benchmark() -> Benchmark:
    queries, passages = texts("which"), texts("the")
    return Benchmark(
        LANGUAGES,
        [text for language in LANGUAGES for text in queries[language]],
        np.repeat(range(3), PAIRS),
        [str(i) for _ in LANGUAGES for i in range(PAIRS)],
        [text for language in LANGUAGES for text in passages[language]],
        np.repeat(range(3), PAIRS),
        [f"{language}{i}" for language in LANGUAGES for i in range(PAIRS)],
        [np.array([i, PAIRS + i, 2 * PAIRS + i]) for _ in LANGUAGES for i in range(PAIRS)],
        SOURCE,
    )


numbers_corpus = pytest.fixture(scope="session", name="numbers_corpus")(made_corpus)
numbers_benchmark = pytest.fixture(scope="session", name="numbers_benchmark")(made_benchmark)


class Seen(Callback):
    """What the training step met."""

    def __init__(self):
        self.steps, self.losses = [], []

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx) -> None:
        self.steps.append(batch.step)
        self.losses.append(float(outputs["loss"]))


class Run:
    """One training of a small transformer, with all that can vary."""

    def __init__(
        self,
        folder: Path,
        recipe,
        cache: Path,
        corpus,
        benchmark=None,
        max_steps: int = 8,
        loss: dict | None = None,
        data: dict | None = None,
        encoder: dict | None = None,
        lr: float = 1e-3,
        share: float = 0.5,
        callbacks=(),
        sampler: dict | None = None,
        module: dict | None = None,
        **trainer,
    ):
        seed_everything(0, verbose=False)
        model = BiEncoder(
            recipe,
            **{
                "query_max_length": 32,
                "passage_max_length": 32,
                "texts": corpus.texts(),
                "cache": cache,
                **(encoder or {}),
            },
        )
        self.module = Retriever(
            model,
            InfoNCE(**(loss or {})),
            lambda groups: torch.optim.AdamW(groups, lr=lr),
            lambda optimizer: build_linear_schedule(optimizer, max_steps),
            **(module or {}),
        )
        plan = PairBatchSampler(corpus, 8, share, seed=3, **(sampler or {}))
        self.data = RetrievalData(
            plan, model.tokenizers, benchmark, benchmark, cache=cache, **(data or {})
        )
        self.seen = Seen()
        self.trainer = Trainer(
            **{
                "accelerator": "cpu",
                "max_steps": max_steps,
                "max_epochs": -1,
                "check_val_every_n_epoch": None,
                "val_check_interval": 4,
                "limit_val_batches": 1.0 if benchmark else 0,
                "num_sanity_val_steps": 0,
                "logger": False,
                "log_every_n_steps": 1,
                "gradient_clip_val": 1.0,
                "use_distributed_sampler": False,
                "enable_progress_bar": False,
                "enable_model_summary": False,
                "default_root_dir": folder,
                "callbacks": [self.seen, *callbacks],
                "enable_checkpointing": any(isinstance(c, Checkpoint) for c in callbacks),
                **trainer,
            }
        )

    def fit(self, **more) -> "Run":
        self.trainer.fit(self.module, self.data, **more)
        return self

    @property
    def weights(self) -> torch.Tensor:
        return torch.cat([p.detach().flatten() for p in self.module.parameters()])


@pytest.fixture
def started(tmp_path, recipe, cache, numbers_corpus):
    def start(*arguments, **choices) -> Run:
        return Run(tmp_path, recipe, cache, numbers_corpus, *arguments, **choices)

    return start
