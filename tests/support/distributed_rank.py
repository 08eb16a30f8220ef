"""One rank of a training or evaluation, started by tests/training/test_distributed.py.

    python -m tests.support.distributed_rank FOLDER CACHE RANKS

It runs all cases, one after the other, and writes what it found into the folder.
"""

import json
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch.nn.modules.dropout import Dropout

from hybrid_ir.distributed import FullySharded, to_full_tensor
from hybrid_ir.model.lora import Lora
from hybrid_ir.training.throughput import ThroughputMeter
from hybrid_ir.training.training_metrics import RUNNING_MEANS
from hybrid_ir.types import Benchmark
from tests.conftest import RECIPE
from tests.support.small_run import (
    BATCH_SIZE,
    SmallTraining,
    build_numbers_benchmark,
    build_numbers_corpus,
)

STEPS = 10
DROPOUT_RATE = 0.3
DOUBLE = {"precision": "64-true"}
SINGLE = {"precision": "32-true"}
# Trainings whose weights may not depend on the number of ranks, in float64. Cases that share no
# code are joined, so that few trainings show all.
DOUBLE_CASES = {
    "x_x_mono": {"monolingual_share": 1.0},
    "x_y, none masked": {"monolingual_share": 0.0, "loss": {"mask": "none"}},
    "hybrid, exact mask": {"loss": {"mask": "exact"}},
    "hybrid_example, loader workers": {
        "sampler": {"level": "example"},
        "data": {"num_workers": 1},
    },
    "explicit": {"data": {"hard_negatives": 1}, "loss": {"negatives": "explicit"}},
    "symmetric, learnt temperature, hard negatives": {
        "loss": {"symmetric": True, "learn_temperature": True},
        "data": {"hard_negatives": 2},
    },
    "several positives": {
        "several_positives": True,
        "loss": {"symmetric": True},
        "data": {"hard_negatives": 1, "num_workers": 1},
    },
    "accumulated": {"accumulate_grad_batches": 2, "max_steps": STEPS // 2},
    "cached gradients": {"module": {"cache_gradients": True}, "data": {"hard_negatives": 1}},
    "clipped values": {"gradient_clip_val": 1e-3, "gradient_clip_algorithm": "value"},
    "LoRA, cached gradients": {
        "encoder": {"lora": Lora(rank=2), "projection": 8},
        "module": {"cache_gradients": True},
    },
    "frozen embeddings": {"encoder": {"train_embeddings": False, "projection": 8}},
}
SINGLE_CASES = {
    "float32": SINGLE,
    "sharded": {**SINGLE, "strategy": "sharded"},
    "sharded, LoRA": {**SINGLE, "strategy": "sharded", "encoder": {"lora": Lora(rank=2)}},
    "sharded, clipped values": {
        **SINGLE,
        "strategy": "sharded",
        "gradient_clip_val": 1e-3,
        "gradient_clip_algorithm": "value",
    },
}
# Trainings with dropout: each is run with plain and with cached gradients.
DROPOUT_CASES = {
    "float64": DOUBLE,
    "float32": {**SINGLE, "data": {"hard_negatives": 2}, "loss": {"symmetric": True}},
    "bf16": {"precision": "bf16-mixed"},
}


class DistributedCases:
    """Runs the cases on this rank.

    Args:
        folder: where to write what was found.
        cache: folder of backbones and tokens.
        ranks: processes of the run.
    """

    def __init__(self, folder: Path, cache: Path, ranks: int):
        self.folder = folder
        self.cache = cache
        self.ranks = ranks
        self.rank = 0  # of this process, known after the first case

    def build_training(self, benchmark: Benchmark | None = None, **choices) -> SmallTraining:
        """Builds a training that is spread over all ranks."""
        strategy = choices.pop("strategy", "ddp")
        if self.ranks > 1:
            choices["strategy"] = FullySharded() if strategy == "sharded" else strategy
        corpus = build_numbers_corpus(choices.pop("several_positives", False))
        choices = {"max_steps": STEPS, "devices": self.ranks, **choices}
        return SmallTraining(self.folder, RECIPE, self.cache, corpus, benchmark, **choices)

    def train(self, name: str, dropout: float = 0.0, **choices) -> dict[str, torch.Tensor]:
        """Trains a case, and returns its weights, losses, running means and counted work."""
        meter = ThroughputMeter()
        training = self.build_training(callbacks=[meter], **choices)
        for module in training.module.modules():
            if isinstance(module, Dropout):
                module.p = dropout
        gradient_counts = count_gradients(training)
        training.fit()
        self.rank = training.trainer.global_rank
        if choices.get("strategy") != "sharded":
            # A gradient is complete, and is sent to the other ranks, once for each batch.
            assert set(gradient_counts.values()) == {len(training.watcher.batches)}, name
        weights = {
            "losses": torch.tensor(training.watcher.losses),
            "means": read_means(training),
            "work": read_work(meter),
        }
        for key, value in training.module.state_dict().items():
            weights[key] = to_full_tensor(value).clone()
        return weights

    def train_all(self) -> dict[str, dict[str, torch.Tensor]]:
        """Trains the cases that are compared between numbers of ranks."""
        weights = {}
        for name, choices in DOUBLE_CASES.items():
            weights[name] = self.train(name, **DOUBLE, **choices)
        for name, choices in SINGLE_CASES.items():
            weights[name] = self.train(name, **choices)
        return weights

    def train_all_with_dropout(self) -> dict[str, dict[str, torch.Tensor]]:
        """Trains the cases that are compared between plain and cached gradients."""
        weights = {}
        for name, choices in DROPOUT_CASES.items():
            for kind in ("plain", "cached"):
                case = f"{name}, {kind}"
                weights[case] = self.train(
                    case,
                    dropout=DROPOUT_RATE,
                    module={"cache_gradients": kind == "cached"},
                    encoder={"tokens_per_slice": 40},
                    **choices,
                )
        return weights

    def measure_all(self) -> dict[str, dict]:
        """Measures benchmarks with as many chunks as there are ranks, and with fewer than ranks."""
        benchmark = build_numbers_benchmark()
        few_queries = select_few_queries(benchmark)
        cases = {
            "many chunks": (benchmark, 5),
            "one chunk": (benchmark, 500),
            "few queries": (few_queries, 2),
            "others of few queries": (few_queries, 7),
            "one chunk of others": (few_queries, 500),
        }
        measured = {}
        for name, (case_benchmark, texts_per_chunk) in cases.items():
            training = self.build_training(
                case_benchmark, data={"texts_per_chunk": texts_per_chunk}
            )
            summary = training.test()
            self.rank = training.trainer.global_rank
            results = training.module.results["test"]
            measured[name] = {
                "summary": summary,
                "observed": results.geometry,
                "above": results.table.above.tolist(),
                "tied": results.table.tied.tolist(),
            }
        return measured


def read_means(training: SmallTraining) -> torch.Tensor:
    """Returns the running means at the end of a training, in alphabetical order."""
    logged = training.trainer.callback_metrics
    return torch.stack([logged[name].double().cpu() for name in sorted(RUNNING_MEANS)])


def read_work(meter: ThroughputMeter) -> torch.Tensor:
    """Returns the steps, tokens, pairs and operations that a meter has counted in a training."""
    total = meter.total
    counts = [total.steps, total.tokens, total.pairs, total.flops]
    return torch.tensor(counts, dtype=torch.float64)


def count_gradients(training: SmallTraining) -> dict[str, int]:
    """Returns counters that grow whenever the gradient of a weight is complete."""
    counts = {}
    for name, weight in training.module.named_parameters():
        if not weight.requires_grad:
            continue
        counts[name] = 0

        def count(_, name: str = name) -> None:
            counts[name] += 1

        weight.register_post_accumulate_grad_hook(count)
    return counts


def select_few_queries(benchmark: Benchmark) -> Benchmark:
    """Returns a benchmark with three queries of a language and one relevant passage each."""
    rows = np.flatnonzero(benchmark.query_languages == 1)[:3]
    return replace(
        benchmark,
        queries=[benchmark.queries[row] for row in rows],
        query_languages=benchmark.query_languages[rows],
        question_ids=[benchmark.question_ids[row] for row in rows],
        relevant=[benchmark.relevant[row][:1] for row in rows],
    )


def main() -> None:
    """Runs all cases of this rank, and writes measured-RANK.json and weights-RANK.pt."""
    torch.set_num_threads(1)
    # Every metric that is logged warns once, and an error among these warnings would be missed.
    warnings.filterwarnings("ignore", message="It is recommended to use")
    folder, cache, ranks = sys.argv[1:]
    cases = DistributedCases(Path(folder), Path(cache), int(ranks))
    measured = cases.measure_all()
    (cases.folder / f"measured-{cases.rank}.json").write_text(json.dumps(measured))
    if BATCH_SIZE % cases.ranks:
        return  # Only measuring can be spread over so many ranks.
    weights = cases.train_all()
    if cases.ranks <= 2:
        weights.update(cases.train_all_with_dropout())
    torch.save(weights, cases.folder / f"weights-{cases.rank}.pt")


if __name__ == "__main__":
    main()
