"""Records what the program computes: plans, trained weights, metrics, a comparison and an import.

    python tests/golden/record.py                         write golden.json beside this file
    python tests/golden/record.py --out FILE              write it elsewhere
    python tests/golden/record.py --exact FILE            write all weights, too, as safetensors
    python tests/golden/record.py --folder FOLDER         keep the files that are made on the way

tests/golden/test_golden.py holds the code to golden.json. Only what is promised to stay is used:
conf/, the command line, the files on disk, and a few public names.
"""

import argparse
import contextlib
import hashlib
import json
import math
import os
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from lightning import Trainer, seed_everything
from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig
from safetensors.torch import save_file

import hybrid_ir
from hybrid_ir import Retriever
from hybrid_ir.runs.conf import prepare_hydra
from tests.golden import made_data

with contextlib.suppress(ImportError):  # A checkout from before resolvers has no such module.
    from hybrid_ir.runs.conf import prepare_hydra

    prepare_hydra()

CHECKOUT = Path(hybrid_ir.__file__).parents[1]
GOLDEN = Path(__file__).with_name("golden.json")
LIBRARIES = ("torch", "lightning", "transformers", "tokenizers", "numpy", "pyarrow", "babel")

SAMPLERS = ("x_x_mono", "x_y", "hybrid", "x_x", "hybrid_example", "en_en")
CORPORA = ("facts", "parallel", "gaps", "mixture")
# The first batches of a plan, and those around step 4,096, from where its draws are made anew.
PLANNED = [*range(200), *range(4086, 4106)]
BATCH_FIELDS = (
    "step",
    "monolingual",
    "pairs",
    "query_languages",
    "passage_languages",
    "part",
)
# Plans beside those of every sampler over every corpus: name -> corpus and overrides.
OTHER_PLANS = {
    "share 0.3": ("gaps", ["sampler=hybrid", "sampler.monolingual_share=0.3"]),
    "another seed": ("gaps", ["sampler=hybrid", "seed=7"]),
    "weighted languages": (
        "gaps",
        ["sampler=hybrid", "+sampler.language_weights={de: 3, zh: 0.5}"],
    ),
    "weighted languages in examples": (
        "gaps",
        ["sampler=hybrid_example", "+sampler.language_weights={de: 3, zh: 0.5}"],
    ),
    "same language allowed": ("gaps", ["sampler=x_y", "sampler.allow_same_language=true"]),
    "two languages": ("parallel", ["sampler=hybrid", "sampler.languages=[de,zh]"]),
    "more than a million rows": ("long", ["sampler=hybrid"]),
}

SMALL_MODEL = [
    "model.backbone.vocab_size=400",
    "model.backbone.width=32",
    "model.backbone.layers=2",
    "model.backbone.heads=2",
    "model.backbone.intermediate=48",
    "model.backbone.max_positions=64",
    "model.query_max_length=32",
    "model.passage_max_length=32",
    "model.tokens_per_slice=96",
    "model.dropout=0.0",
]
SHORT_TRAINING = [
    "benchmark=none",
    "validation=none",
    "sampler.batch_size=8",
    "sampler.seed=3",
    "optimizer.lr=1e-3",
    "trainer.max_steps=20",
    "trainer.precision=64-true",
    "trainer.limit_val_batches=0",
    "+trainer.enable_progress_bar=false",
    "+trainer.enable_checkpointing=false",
    "+trainer.logger=false",
]
# What a training varies: name -> overrides.
TRAININGS = {
    "x_x_mono": ["sampler=x_x_mono"],
    "x_y": ["sampler=x_y"],
    "hybrid": ["sampler=hybrid"],
    "x_x": ["sampler=x_x"],
    "hybrid_example": ["sampler=hybrid_example"],
    "en_en": ["sampler=en_en"],
    "mask exact": ["loss.mask=exact"],
    "mask none": ["loss.mask=none"],
    "hard negatives": ["data.hard_negatives=2"],
    "explicit": ["loss.negatives=explicit", "data.hard_negatives=1"],
    "symmetric": ["loss.symmetric=true", "data.hard_negatives=1"],
    "learnt temperature": ["loss.learn_temperature=true", "loss.symmetric=true"],
    "accumulation": ["trainer.accumulate_grad_batches=2"],
    "gradient caching": ["cache_gradients=true", "data.hard_negatives=1"],
    "frozen embeddings": ["model.train_embeddings=false", "model.projection=8"],
    "code switching": ["data=code_switched", "data.code_switching.sides=[query,passage]"],
    # What is dropped is drawn for each slot, so rows without padding draw otherwise.
    "dropout": ["model.dropout=0.1", "model.packing=off"],
    "constant rate": ["scheduler=none"],
    "one batch": ["data.distinct_batches=1"],
    "float32": ["trainer.precision=32-true"],
}
# With more tokens than the texts have characters: where these do not all fit, the trainer of the
# tokenizer picks among equally frequent ones by chance.
MEASURED_MODEL = [
    "model.backbone.vocab_size=2000",
    "model.backbone.width=48",
    "model.backbone.layers=2",
    "model.backbone.intermediate=96",
    "model.dropout=0.0",
]
MEASURED = [
    "benchmark=cldr_facts",
    "benchmark.max_queries=100",
    "+benchmark.pool=split",
    "sampler.batch_size=32",
    "optimizer.lr=2e-3",
]


class LossOfEveryStep(Callback):
    """Keeps the loss of every batch."""

    def __init__(self):
        self.losses: list[float] = []

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx) -> None:
        self.losses.append(float(outputs["loss"]))


@dataclass
class Training:
    """A training that is done."""

    trainer: Trainer
    module: Retriever
    data: Any
    losses: list[float]


def compose_config(folder: Path, overrides: list[str]) -> DictConfig:
    """Returns the config of a run whose caches are in the folder."""
    own = [f"paths.cache_dir='{folder / 'cache'}'"]
    with initialize_config_dir(prepare_hydra(), version_base="1.3"):
        return compose("train", overrides=overrides + own)


def build_part(config: DictConfig) -> Any:
    """Returns the object that a part of the config describes, None for an empty part."""
    if not config:
        return None
    return instantiate(config, _convert_="all")


@cache
def choose_corpus(folder: Path, name: str) -> list[str]:
    """Returns the overrides that choose a made corpus; the first call writes its files."""
    if name == "facts":
        return ["corpus=cldr_facts", "corpus.languages=[de,en,zh]"]
    if name == "parallel":
        path = made_data.write_parallel_pairs(folder / "parallel.jsonl")
        return ["corpus=jsonl", f"corpus.path='{path}'"]
    if name == "gaps":
        path = made_data.write_pairs_with_gaps(folder / "gaps.jsonl")
        return ["corpus=jsonl", f"corpus.path='{path}'"]
    if name == "long":
        path = made_data.write_long_corpus(folder / "long")
        return ["corpus=folder", f"corpus.path='{path}'"]
    return choose_mixture(folder)


def choose_mixture(folder: Path) -> list[str]:
    """Returns the overrides that choose a mixture of three corpora, of which two serve one kind."""
    parallel_path = choose_corpus(folder, "parallel")[1].partition("=")[2]
    gaps_path = choose_corpus(folder, "gaps")[1].partition("=")[2]
    return [
        "corpus=mixture",
        "+corpus@corpus.parts.facts=cldr_facts",
        "+corpus@corpus.parts.parallel=jsonl",
        "+corpus@corpus.parts.gaps=jsonl",
        "corpus.parts.facts.languages=[de,en,zh]",
        f"corpus.parts.parallel.path={parallel_path}",
        f"corpus.parts.gaps.path={gaps_path}",
        "+corpus.kinds.parallel=[monolingual]",
        "+corpus.kinds.gaps=[cross_lingual]",
        "+corpus.weights.facts=0.1",
        "corpus.tau=0.7",
    ]


@cache
def load_corpus(folder: Path, name: str) -> Any:
    """Returns a made corpus, loaded once."""
    config = compose_config(folder, choose_corpus(folder, name))
    return build_part(config.corpus)


def list_plans() -> dict[str, tuple[str, list[str]]]:
    """Returns the corpus and the overrides of every plan by its name."""
    plans = {}
    for corpus in CORPORA:
        for sampler in SAMPLERS:
            plans[f"{sampler} over {corpus}"] = (corpus, [f"sampler={sampler}"])
    return plans | OTHER_PLANS


def record_plan(folder: Path, name: str) -> str:
    """Returns the hash of some batches of a plan: of all that a batch says."""
    corpus, overrides = list_plans()[name]
    chosen = choose_corpus(folder, corpus)
    config = compose_config(folder, [*chosen, *overrides, "sampler.batch_size=16"])
    sampler = build_part(config.sampler)(corpus=load_corpus(folder, corpus))
    digest = hashlib.sha256()
    for step in PLANNED:
        batch = sampler[step]
        for field in BATCH_FIELDS:
            values = np.asarray(getattr(batch, field))
            digest.update(values.astype("<i8").tobytes())
    return digest.hexdigest()


def train(folder: Path, corpus: str, overrides: list[str]) -> Training:
    """Trains as train.py does, without its callbacks and loggers."""
    chosen = choose_corpus(folder, corpus)
    config = compose_config(folder, [*SHORT_TRAINING, *chosen, *overrides])
    torch.set_num_threads(1)
    seed_everything(config.seed, workers=True, verbose=False)
    corpus_object = load_corpus(folder, corpus)
    sampler = build_part(config.sampler)(corpus=corpus_object)
    encoder = build_part(config.model)(texts=corpus_object.texts())
    data = build_part(config.data)(
        sampler=sampler,
        tokenizers=encoder.tokenizers,
        validation=None,
        test=build_part(config.benchmark),
    )
    module = Retriever(
        encoder=encoder,
        loss=build_part(config.loss),
        optimizer=build_part(config.optimizer),
        scheduler=build_part(config.scheduler),
        cache_gradients=config.cache_gradients,
        nonfinite=config.nonfinite,
        seed=config.seed,
    )
    watcher = LossOfEveryStep()
    trainer = build_part(config.trainer)(callbacks=[watcher], default_root_dir=folder)
    trainer.fit(module, data)
    return Training(trainer, module, data, watcher.losses)


def record_training(folder: Path, name: str) -> dict:
    """Returns the losses of a training, and what tells of its weights."""
    training = train_case(folder, name)
    weights = {}
    for key, tensor in training.module.state_dict().items():
        weights[key] = describe_tensor(tensor)
    return {"losses": training.losses, "weights": weights}


def train_case(folder: Path, name: str) -> Training:
    """Trains the small model as one of the cases says."""
    return train(folder, "parallel", [*SMALL_MODEL, *TRAININGS[name]])


def describe_tensor(tensor: torch.Tensor) -> dict:
    """Returns the shape, sum, norm and first values of a tensor."""
    values = tensor.detach().double().flatten().tolist()
    squares = [value * value for value in values]
    return {
        "shape": list(tensor.shape),
        "sum": math.fsum(values),
        "norm": math.sqrt(math.fsum(squares)),
        "first": values[:3],
    }


def record_metrics(folder: Path) -> dict:
    """Returns all that is measured of a model that was trained for a few steps."""
    training = train(folder, "facts", [*MEASURED_MODEL, *MEASURED])
    training.trainer.test(training.module, training.data, verbose=False)
    return training.module.results["test"].summary()


def record_comparison(folder: Path) -> dict:
    """Returns what `hybrid-ir compare` writes of made results: comparison.json and tables.md."""
    made_data.write_results(folder / "results")
    run_command(folder, "compare", "runs=[results]", "flips=500", "resamples=500", "out=compared")
    compared = (folder / "compared" / "comparison.json").read_text(encoding="utf-8")
    tables = (folder / "compared" / "tables.md").read_text(encoding="utf-8")
    return {"comparison.json": json.loads(compared), "tables.md": tables.splitlines()}


def record_import(folder: Path) -> dict:
    """Returns the hashes of the files of an imported corpus; its card without the build's key."""
    made_data.write_pairs_to_import(folder / "pairs.jsonl")
    run_command(folder, "data", "import", "jsonl", "path=pairs.jsonl", "to=imported", "errors=skip")
    found = {}
    for path in sorted((folder / "imported").iterdir()):
        if path.name == "corpus.json":
            card = json.loads(path.read_text(encoding="utf-8"))
            del card["key"]
            card.pop("choices", None)  # where the files are, and when they changed
            found[path.name] = card
        else:
            found[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def run_command(place: Path, *arguments: str) -> None:
    """Runs `hybrid-ir` of the checkout in a process of its own, in the folder `place`."""
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))
    script = EntryPoint("hybrid-ir", project["project"]["scripts"]["hybrid-ir"], "console_scripts")
    code = f"from {script.module} import {script.attr} as start; start()"
    environment = os.environ | {
        "HF_HUB_OFFLINE": "1",
        "HYBRID_IR_CACHE": str(place / "cache"),
        "PYTHONPATH": str(CHECKOUT),
    }
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"hybrid-ir {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")


def record_everything(folder: Path) -> dict:
    """Returns all that golden.json holds."""
    plans = {}
    for name in list_plans():
        plans[name] = record_plan(folder, name)
    trainings = {}
    for name in TRAININGS:
        trainings[name] = record_training(folder, name)
    return {
        "recorded with": {library: version(library) for library in LIBRARIES},
        "plans": plans,
        "trainings": trainings,
        "metrics": record_metrics(folder),
        "comparison": record_comparison(folder),
        "import": record_import(folder),
    }


def write_weights(folder: Path, path: Path) -> None:
    """Trains every case again and writes its whole weights and its losses."""
    tensors = {}
    for name in TRAININGS:
        training = train_case(folder, name)
        for key, tensor in training.module.state_dict().items():
            tensors[f"{name}/{key}"] = tensor.detach().clone().contiguous()
        tensors[f"{name}/losses"] = torch.tensor(training.losses, dtype=torch.float64)
    save_file(tensors, path)


def read_arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=GOLDEN, help="file to write")
    parser.add_argument("--exact", type=Path, help="safetensors file of all weights")
    parser.add_argument("--folder", type=Path, help="new folder for the files made on the way")
    return parser.parse_args()


def main() -> None:
    """Records everything as the command line says."""
    arguments = read_arguments()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (arguments.folder or Path(temporary)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        golden = record_everything(folder)
        text = json.dumps(golden, indent=1, ensure_ascii=False, allow_nan=False)
        arguments.out.write_text(text + "\n", encoding="utf-8")
        if arguments.exact:
            write_weights(folder, arguments.exact)


if __name__ == "__main__":
    main()
