"""One rank of a training or evaluation, started by tests/test_distributed.py: the cases it is told, one after the other."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch.nn.modules.dropout import Dropout

from hybrid_ir.distributed import FullySharded, to_full_tensor
from tests.conftest import RECIPE
from tests.support.small_run import Run, made_benchmark, made_corpus

CASES = {
    "x_x_mono": {"share": 1.0},
    "x_y": {"share": 0.0},
    "hybrid": {},
    "x_x": {"share": 1.0, "sampler": {"level": "example"}},
    "hybrid_example": {"sampler": {"level": "example"}},
    "en_en": {"share": 1.0, "sampler": {"languages": ["en"]}},
    "exact": {"loss": {"mask": "exact"}},
    "none": {"loss": {"mask": "none"}},
    "hard negatives": {"data": {"hard_negatives": 2}},
    "explicit": {"data": {"hard_negatives": 1}, "loss": {"negatives": "explicit"}},
    "symmetric": {"loss": {"symmetric": True}, "data": {"hard_negatives": 1}},
    "temperature": {"loss": {"learn_temperature": True, "symmetric": True}},
    "accumulated": {"accumulate_grad_batches": 2},
    "workers": {"data": {"num_workers": 1}},
    "cached": {"module": {"cache_gradients": True}, "data": {"hard_negatives": 1}},
    "frozen": {"encoder": {"train_embeddings": False, "projection": 8}},
}
DOUBLE = {"precision": "64-true"}
EVERY = {name: case | DOUBLE for name, case in CASES.items()} | {
    "float32": {"precision": "32-true"},
    "sharded": {"precision": "32-true", "sharded": True},
    "bf16": {"precision": "bf16-mixed", "max_steps": 3},
}
DROPOUT = {
    f"{name}, {kind}": case
    | {"module": {"cache_gradients": kind == "cached"}, "encoder": {"tokens_per_slice": 40}}
    for kind in ("plain", "cached")
    for name, case in {
        "float64": DOUBLE,
        "float32": {"precision": "32-true"},
        "bf16": {"precision": "bf16-mixed"},
        "hard": {
            "data": {"hard_negatives": 2},
            "loss": {"symmetric": True},
            "precision": "32-true",
        },
    }.items()
}


def start(folder: Path, cache: Path, ranks: int, case: dict, benchmark=None) -> Run:
    sharded, case = (
        case.get("sharded"),
        {key: value for key, value in case.items() if key != "sharded"},
    )
    more = (
        {"strategy": FullySharded() if sharded else "ddp", "devices": ranks}
        if ranks > 1
        else {"devices": 1}
    )
    return Run(folder, RECIPE, cache, made_corpus(), benchmark, **{"max_steps": 20, **case, **more})


def train(folder: Path, cache: Path, ranks: int, cases: dict, dropout: float = 0.0) -> None:
    weights = {}
    for name, case in cases.items():
        run = start(folder, cache, ranks, case)
        for module in run.module.modules():
            if isinstance(module, Dropout):
                module.p = dropout
        trained = [weight for weight in run.module.parameters() if weight.requires_grad]
        arrived = [[] for _ in trained]
        for weight, seen in zip(trained, arrived, strict=True):
            weight.register_post_accumulate_grad_hook(lambda _, seen=seen: seen.append(1))
        run.fit()
        if not case.get(
            "sharded"
        ):  # a gradient is complete, and sent to the other ranks, once a batch
            assert {len(seen) for seen in arrived} == {len(run.seen.steps)}, name
        weights[name] = {
            key: to_full_tensor(value).clone() for key, value in run.module.state_dict().items()
        }
        weights[name] |= {"losses": torch.tensor(run.seen.losses)}
    torch.save(weights, folder / f"weights-{run.trainer.global_rank}.pt")


def measure(folder: Path, cache: Path, ranks: int) -> None:
    """Benchmarks with as many chunks as there are ranks, and fewer in some stage than ranks."""
    whole, found = made_benchmark(), {}
    some = np.flatnonzero(whole.query_languages == 1)[:3]
    few = replace(
        whole,
        queries=[whole.queries[i] for i in some],
        query_languages=whole.query_languages[some],
        question_ids=[whole.question_ids[i] for i in some],
        relevant=[whole.relevant[i][:1] for i in some],
    )
    for name, benchmark, chunk in (
        ("many chunks", whole, 5),
        ("one chunk", whole, 500),
        ("few", few, 2),
        ("others", few, 7),
        ("one chunk of others", few, 500),
    ):
        run = start(folder, cache, ranks, {"data": {"texts_per_chunk": chunk}}, benchmark)
        run.trainer.test(run.module, run.data, verbose=False)
        results = run.module.results["test"]
        found[name] = {
            "summary": results.summary(),
            "observed": results.geometry,
            "above": results.table.above.tolist(),
            "tied": results.table.tied.tolist(),
        }
    (folder / f"measured-{run.trainer.global_rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    torch.set_num_threads(1)
    what, folder, cache, ranks = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
    if what == "measure":
        measure(folder, cache, ranks)
    elif what == "dropout":
        train(folder, cache, ranks, DROPOUT, dropout=0.3)
    else:
        train(folder, cache, ranks, EVERY)
