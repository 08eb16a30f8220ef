"""What must be equal for a run to go on: its config, and the content of what it reads.

A run goes on with the state of its optimiser, its schedule and its callbacks. Values of a config
that are part of this state would be ignored if they were other ones, and a plan of batches over
another corpus would not go on at all. So a difference is refused, and never passed over.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from torch import nn

from hybrid_ir.data.content_ids import compute_corpus_fingerprint
from hybrid_ir.evaluation.card import hash_benchmark, list_rules
from hybrid_ir.files.atomic import write_text_atomically
from hybrid_ir.files.checksums import hash_values
from hybrid_ir.system.experiment_keys import distinguishes_runs
from hybrid_ir.training.checkpoints import fingerprint_weights
from hybrid_ir.training.datamodule import RetrievalData
from hybrid_ir.types import Benchmark, Corpus, CorpusPart

CONTENT_FILE = "content.json"
# Keys that say where something is. What is there is compared by its content.
PLACE_KEYS = ("dirpath", "folder", "lexicon", "path", "save_dir")
# Keys by which a run may differ from the run that it goes on from: all of them take effect.
CHANGEABLE_KEYS = (
    "benchmark",
    "ckpt_path",
    "fit",
    "nonfinite",
    "objective",
    "resume_from",
    "scheduler.max_steps",
    "test_checkpoint",
    "trainer.max_steps",
    "trainer.val_check_interval",
)
# Callbacks whose state is in a checkpoint; any other callback may come and go.
CALLBACKS_WITH_STATE = ("checkpoint_best", "early_stopping")
# What a run must share with the run that it goes on from.
CONTINUED_CONTENT = ("corpus", "validation", "lexicon")
ROWS_PER_BLOCK = 1 << 20


def require_same_experiment(folder: Path, config: Mapping[str, Any]) -> None:
    """Raises a ValueError if the run of a folder has another config than the one that was typed.

    Args:
        folder: of a run that shall go on; without a config.yaml nothing is compared.
        config: resolved, as plain values.
    """
    path = folder / "config.yaml"
    if not path.is_file():
        return
    differences = _find_differences(_load_config(path), config)
    if differences:
        raise ValueError(
            f"{folder} is of another experiment, and resume=auto goes on with the same one only: "
            f"{_describe(differences)}. Type the values of {path}, or start a new run in another "
            f"folder: ckpt_path={folder} takes the weights, resume_from={folder} everything"
        )


def require_continuable(checkpoint: str, config: Mapping[str, Any]) -> None:
    """Raises a ValueError if a run cannot go on from a checkpoint of another run.

    Args:
        checkpoint: a file in checkpoints/ of a run folder.
        config: of the run that shall go on, resolved, as plain values.
    """
    path = _get_run_folder(checkpoint) / "config.yaml"
    if not path.is_file():
        raise ValueError(
            f"resume_from={checkpoint}: {path} is missing, so nobody knows what the run was. "
            f"ckpt_path={checkpoint} starts a new run from its weights"
        )
    differences = _find_differences(_load_config(path), config)
    for key in list(differences):
        if _is_changeable(key):
            del differences[key]
    if differences:
        raise ValueError(
            f"resume_from={checkpoint} goes on with the batches, the optimiser and the schedule of "
            f"its run, so these cannot change: {_describe(differences)}. Leave them as they were, "
            f"or start a new run from its weights with ckpt_path={checkpoint}"
        )


def _is_changeable(key: str) -> bool:
    """Returns whether a key, or one that it is below, may change in a run that goes on."""
    parents = [key.rsplit(".", count)[0] for count in range(key.count(".") + 1)]
    return any(parent in CHANGEABLE_KEYS for parent in parents)


def _get_run_folder(checkpoint: str) -> Path:
    return Path(checkpoint).absolute().parent.parent


def _load_config(path: Path) -> dict[str, Any]:
    with open(path, encoding="utf-8") as file:
        return yaml.safe_load(file)


def _find_differences(
    old_config: Mapping[str, Any], config: Mapping[str, Any]
) -> dict[str, tuple[Any, Any]]:
    """Returns the old and the new value of every key that makes another run."""
    old_values = _flatten(old_config)
    values = _flatten(config)
    differences = {}
    for key in sorted(old_values.keys() | values.keys()):
        # A key that is missing says the same as null.
        old_value = old_values.get(key)
        value = values.get(key)
        if old_value != value:
            differences[key] = (old_value, value)
    return differences


def _flatten(node: Any, name: str = "") -> dict[str, Any]:
    """Returns all values by dotted key, without those that leave the run the same."""
    if not isinstance(node, Mapping):
        is_place = name == "model.backbone"
        return {name: Path(node).name if is_place else node}
    values = {}
    for key, child in node.items():
        is_watching = name == "callbacks" and key not in CALLBACKS_WITH_STATE
        if is_watching or key in PLACE_KEYS or not distinguishes_runs(key):
            continue
        values.update(_flatten(child, f"{name}.{key}" if name else str(key)))
    return values


def _describe(differences: Mapping[str, tuple[Any, Any]]) -> str:
    return "; ".join(
        f"{key}={old_value} there, {value} here" for key, (old_value, value) in differences.items()
    )


def fingerprint_content(data: RetrievalData, corpus: Corpus, encoder: nn.Module) -> dict[str, str]:
    """Computes a fingerprint of everything that a run reads, by what it is.

    Args:
        data: with the benchmarks and the code switching of the run.
        corpus: that is trained on.
        encoder: with the weights that the training starts from.
    """
    content = {
        "corpus": fingerprint_corpus(corpus),
        "starting weights": fingerprint_weights(encoder.state_dict()),
    }
    for stage, name in (("validation", "validation"), ("test", "benchmark")):
        benchmark = data.benchmarks[stage]
        if benchmark is not None:
            content[name] = fingerprint_benchmark(benchmark)
    if data.code_switching is not None:
        entries = data.code_switching.prepare(corpus.languages).entries
        content["lexicon"] = hash_values(entries)
    return content


def fingerprint_corpus(corpus: Corpus) -> str:
    """Computes a fingerprint of the texts, pairs and hard negatives of all parts of a corpus."""
    digest = hashlib.sha256()
    for part in corpus.parts:
        digest.update(compute_corpus_fingerprint(part).encode())
        for rows in _iterate_numbers(part):
            digest.update(np.ascontiguousarray(rows, np.int64))
    return digest.hexdigest()


def _iterate_numbers(part: CorpusPart):
    """Yields the pairs and the hard negatives of a part in blocks."""
    for numbers in (part.pairs, part.negatives):
        for start in range(0, len(numbers), ROWS_PER_BLOCK):
            yield numbers[start : start + ROWS_PER_BLOCK]


def fingerprint_benchmark(benchmark: Benchmark) -> str:
    """Computes a fingerprint of a benchmark; of a huge one without the texts of its passages."""
    digest = hash_benchmark(benchmark)
    if digest is not None:
        return digest
    judgements = [np.asarray(rows).tolist() for rows in benchmark.relevant]
    values = [list(benchmark.queries), judgements, len(benchmark.passages)]
    return hash_values(values + list_rules(benchmark))


def read_content(folder: Path) -> dict[str, str] | None:
    """Reads the fingerprints of what the run of a folder read, None where it wrote none."""
    path = folder / CONTENT_FILE
    return json.loads(path.read_text()) if path.is_file() else None


def write_content(folder: Path, content: Mapping[str, str]) -> None:
    """Writes the fingerprints of what a run reads into its folder."""
    write_text_atomically(folder / CONTENT_FILE, json.dumps(content, indent=2))


def require_same_content(folder: Path, content: Mapping[str, str]) -> None:
    """Raises a ValueError if a run that goes on reads something else than it did before.

    Args:
        folder: of the run.
        content: the present fingerprints.
    """
    before = read_content(folder) or content
    changed = [name for name in content if before.get(name) != content[name]]
    if changed:
        raise ValueError(
            f"{folder} was started with other content of: {', '.join(changed)} (see "
            f"{CONTENT_FILE} there). Bring the files back that it was started with, or start a "
            "new run with another hydra.run.dir="
        )


def require_continued_content(checkpoint: str, content: Mapping[str, str]) -> None:
    """Raises a ValueError if a run that goes on from another one has other data to train on.

    Args:
        checkpoint: a file in checkpoints/ of the other run.
        content: the present fingerprints.
    """
    before = read_content(_get_run_folder(checkpoint)) or content
    changed = [name for name in CONTINUED_CONTENT if before.get(name) != content.get(name)]
    if changed:
        raise ValueError(
            f"resume_from={checkpoint}: its run read other content of: {', '.join(changed)}. Bring "
            "the files back, or start a new run from its weights with ckpt_path="
        )
