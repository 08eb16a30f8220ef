"""One process of a distributed metric, started by tests/evaluation/test_retrieval_metric.py.

    python -m tests.support.metric_rank FOLDER RANKS

It runs all cases, one after the other, and writes measured-RANK.json into the folder.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed
from lightning import LightningModule, Trainer
from torch.utils.data import DataLoader

from hybrid_ir import MultilingualRetrieval
from hybrid_ir.evaluation.encoding import EncodedRows, mark_relevant
from hybrid_ir.evaluation.results import Results
from hybrid_ir.evaluation.streaming import StreamedRanking
from hybrid_ir.types import Benchmark
from tests.support.vector_benchmarks import random_problem

TEMPERATURE = 0.1
QUERIES = 13  # odd, so that the sampler of two processes repeats one
PASSAGES = 41
EPOCHS = 2


def build_problem(seed: int) -> tuple[Benchmark, torch.Tensor, torch.Tensor]:
    """A benchmark with ties, missing passages, and passages that are the query itself."""
    benchmark, queries_QD, passages_ND = random_problem(seed, QUERIES, PASSAGES)
    rng = np.random.default_rng(seed)
    own_passages = []
    for rows in benchmark.relevant:
        own_passages.append(rng.choice(np.setdiff1d(np.arange(PASSAGES), rows)))
    benchmark = replace(
        benchmark,
        own_passages=np.array(own_passages),
        missing_grades=[np.ones(number % 2) for number in range(QUERIES)],
    )
    return benchmark, queries_QD, passages_ND


def describe_results(results: Results) -> dict[str, Any]:
    """All that may not depend on the number of processes, as plain values."""
    return {
        "summary": results.summary(),
        "above": results.table.above.tolist(),
        "tied": results.table.tied.tolist(),
        "pool": results.pool_sizes,
        "geometry": json.dumps(results.geometry),
    }


class MetricCases:
    """Runs the cases in this process.

    Args:
        rank: of this process.
        ranks: number of processes.
    """

    def __init__(self, rank: int, ranks: int):
        self.rank = rank
        self.ranks = ranks

    def deal_out(self, rows: np.ndarray, seed: int, repeated: int = 0) -> list[np.ndarray]:
        """Chunks of this process of shuffled rows, some of which come in several processes."""
        rng = np.random.default_rng(seed)
        rows = rng.permutation(rows)
        rows = np.concatenate([rows, rows[:repeated]])
        rows = rows[self.rank :: self.ranks]
        return np.array_split(rows, 1 + (seed + self.rank) % 4)

    def measure_in_free_order(self, seed: int) -> Results:
        """Passages before queries, with texts that several processes encode."""
        benchmark, queries_QD, passages_ND = build_problem(seed)
        metric = MultilingualRetrieval(benchmark, TEMPERATURE)
        for rows in self.deal_out(np.arange(PASSAGES), seed, repeated=7):
            metric.update(passages_ND[torch.from_numpy(rows)], rows)
        for rows in self.deal_out(np.arange(QUERIES), seed + 1, repeated=2):
            metric.update(queries_QD[torch.from_numpy(rows)], rows, "query")
        return metric.compute()

    def measure_streamed(self, seed: int, is_other_repeated: bool = False) -> Results:
        """The other passages are counted and forgotten as they come."""
        benchmark, queries_QD, passages_ND = build_problem(seed)
        is_relevant_N = mark_relevant(benchmark)
        metric = MultilingualRetrieval(benchmark, TEMPERATURE)
        for rows in self.deal_out(np.arange(QUERIES), seed, repeated=1):
            metric.update(queries_QD[torch.from_numpy(rows)], rows, "query")
        for rows in self.deal_out(np.flatnonzero(is_relevant_N), seed + 1, repeated=3):
            metric.update(passages_ND[torch.from_numpy(rows)], rows)
        metric.share()
        assert not metric.waiting_rows
        other_rows = np.flatnonzero(~is_relevant_N)
        if is_other_repeated:
            metric.update(passages_ND[other_rows[:1]], other_rows[:1])
        for rows in self.deal_out(other_rows, seed + 2):
            metric.update(passages_ND[torch.from_numpy(rows)], rows)
            assert not metric.waiting_rows
        first = metric.compute()
        assert metric.compute() is first
        return first

    def measure_ranking(self, seed: int) -> Results:
        """The ranking of training and evaluation, with the top of the rankings and geometry."""
        benchmark, queries_QD, passages_ND = build_problem(seed)
        is_relevant_N = mark_relevant(benchmark)
        rows_of_stage = {
            "queries": np.arange(QUERIES),
            "relevant": np.flatnonzero(is_relevant_N),
            "others": np.flatnonzero(~is_relevant_N),
        }
        ranking = StreamedRanking(benchmark, TEMPERATURE, with_geometry=True)
        for stage, rows in rows_of_stage.items():
            vectors = queries_QD if stage == "queries" else passages_ND
            chunk_rows = np.sort(rows)[self.rank :: self.ranks]
            ranking.add(EncodedRows(stage, chunk_rows, vectors[torch.from_numpy(chunk_rows)]))
        return ranking.results()

    def refuse_incomplete_pool(self, seed: int) -> tuple[str, Results]:
        """The error for texts that are missing, and the results once they have come."""
        benchmark, queries_QD, passages_ND = build_problem(seed)
        metric = MultilingualRetrieval(benchmark, TEMPERATURE)
        metric.update(queries_QD[:-1], range(QUERIES - 1), role="query")
        *first, last = np.array_split(np.arange(PASSAGES), 4)
        is_relevant_N = mark_relevant(benchmark)
        first = np.union1d(np.concatenate(first), np.flatnonzero(is_relevant_N))
        metric.update(passages_ND[torch.from_numpy(first)], first)
        message = ""
        for _ in range(2):
            try:
                metric.compute()
            except ValueError as error:
                message += str(error)
            metric.update(queries_QD, role="query")
        last = np.setdiff1d(last, first)[self.rank :: self.ranks]
        metric.update(passages_ND[torch.from_numpy(last)], last)
        return message, metric.compute()

    def refuse_repeated_passage(self, seed: int) -> str:
        """The error for a passage that two processes encode after the exchange."""
        try:
            self.measure_streamed(seed, is_other_repeated=True)
        except ValueError as error:
            return str(error)
        return ""

    def measure_with_trainer(self) -> list[dict[str, float]]:
        """What a plain LightningModule logs of each epoch under a plain Trainer."""
        module = OtherModule()
        trainer = Trainer(
            accelerator="cpu",
            devices=self.ranks,
            strategy="ddp" if self.ranks > 1 else "auto",
            max_epochs=EPOCHS,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        train_rows = DataLoader(torch.arange(8), batch_size=2)
        benchmark_rows = [
            DataLoader(torch.arange(QUERIES), batch_size=4),
            DataLoader(torch.arange(PASSAGES), batch_size=5),
        ]
        trainer.fit(module, train_rows, benchmark_rows)
        last = module.measured[-1]
        assert trainer.callback_metrics["val/map"].item() == np.float32(last["multi/map"])
        return module.measured

    def run_all(self) -> dict[str, Any]:
        """Runs every case."""
        measured: dict[str, Any] = {"trainer": self.measure_with_trainer()}
        for seed in range(4):
            for measure in (
                self.measure_in_free_order,
                self.measure_streamed,
                self.measure_ranking,
            ):
                measured[f"{measure.__name__} {seed}"] = describe_results(measure(seed))
        message, results = self.refuse_incomplete_pool(2)
        measured["incomplete"] = message
        measured["completed"] = describe_results(results)
        if self.ranks > 1:
            measured["repeated"] = self.refuse_repeated_passage(1)
        return measured


class OtherModule(LightningModule):
    """A module of anyone, whose vectors of an epoch are fixed."""

    def __init__(self):
        super().__init__()
        self.weights = torch.nn.Linear(2, 1)
        benchmark, *_ = build_problem(0)
        self.metric = MultilingualRetrieval(benchmark, TEMPERATURE)
        self.measured: list[dict[str, float]] = []

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Returns any optimiser."""
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def training_step(self, rows: torch.Tensor, _: int) -> torch.Tensor:
        """Trains something."""
        return self.weights(torch.ones(len(rows), 2)).square().mean()

    def validation_step(self, rows: torch.Tensor, _: int, dataloader_idx: int) -> None:
        """Gives the metric the vectors of some queries or passages."""
        _, queries_QD, passages_ND = build_problem(self.current_epoch)
        if dataloader_idx == 0:
            self.metric.update(queries_QD[rows], rows, role="query")
        else:
            self.metric.update(passages_ND[rows], rows, role="passage")

    def on_validation_epoch_end(self) -> None:
        """Logs a mean, and begins again."""
        if not self.trainer.sanity_checking:
            summary = self.metric.compute().summary()
            self.log("val/map", summary["multi/map"])
            self.measured.append(summary)
        self.metric.reset()


def main() -> None:
    """Runs all cases of this process, and writes measured-RANK.json."""
    torch.set_num_threads(1)
    folder, ranks_text = sys.argv[1:]
    ranks = int(ranks_text)
    rank = 0
    if ranks > 1:
        torch.distributed.init_process_group("gloo")
        rank = torch.distributed.get_rank()
    measured = MetricCases(rank, ranks).run_all()
    (Path(folder) / f"measured-{rank}.json").write_text(json.dumps(measured))


if __name__ == "__main__":
    main()
