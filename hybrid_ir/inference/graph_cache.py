"""Keeps the graphs of encoders, so that the next process that needs one starts quickly.

A graph lies in a folder named by a hash of everything that it depends on: the weights, how texts
become vectors, the versions of what writes it. The folder gets its name when it is complete, and
its card holds the checksums of its files.
"""

import copy
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from torch import nn

from hybrid_ir.files.atomic import write_folder_atomically
from hybrid_ir.files.checksums import compute_sha256, hash_values
from hybrid_ir.inference.graph_files import write_encoder_graph
from hybrid_ir.inference.int8 import (
    EXPONENTS,
    RECIPE,
    TOLERABLE_ERROR,
    write_int8_graph,
)
from hybrid_ir.inference.int8_products import BLOCK
from hybrid_ir.model.encoder import BiEncoder
from hybrid_ir.model.onnx_graph import ONNX_INPUTS
from hybrid_ir.model.tokens import CANARY_TEXTS, compute_tokenizer_canary
from hybrid_ir.system.environment import get_installed_version

GRAPH = "encoder.onnx"
CARD = "graph.json"
HEX_DIGITS = 32  # of the name of a folder
WRITERS = ("torch", "transformers", "onnxscript", "onnx", "onnxruntime")
MOST_CALIBRATION_TOKENS = 128  # of one text


def hash_module(module: nn.Module) -> str:
    """Returns a checksum of all weights of a module, in hexadecimal digits."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        raw = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
        digest.update(raw.numpy().tobytes())
    return digest.hexdigest()


def find_graph(encoder: BiEncoder, cache: Path) -> Path:
    """Returns the graph of an encoder in float32, which is written if it is not in the cache."""
    key = _describe(encoder)

    def write(folder: Path) -> dict[str, Any]:
        on_cpu = copy.copy(encoder)
        if next(encoder.parameters()).device.type != "cpu":
            on_cpu = copy.deepcopy(encoder).cpu()
        write_encoder_graph(on_cpu, folder / GRAPH, torch.device("cpu"))
        return {}

    folder, _ = _find_folder(cache, key, write)
    return folder / GRAPH


def find_int8_graph(encoder: BiEncoder, cache: Path) -> tuple[Path, dict[str, Any]]:
    """Returns the graph of an encoder in int8, and how its products are computed.

    It is made of the graph in float32, with the activations of the texts that know a tokenizer.
    """
    prefixes = {role: encoder.tokenizers[role].prefix for role in encoder.tokenizers}
    key = _describe(encoder) | {
        "int8": [RECIPE, TOLERABLE_ERROR, BLOCK, EXPONENTS, MOST_CALIBRATION_TOKENS],
        "prefixes": prefixes,
        "tokenizer": compute_tokenizer_canary(encoder.tokenizer),
    }

    def write(folder: Path) -> dict[str, Any]:
        graph = find_graph(encoder, cache)
        ways = write_int8_graph(graph, folder / GRAPH, build_calibration_inputs(encoder))
        return {"products": ways.to_dict()}

    folder, card = _find_folder(cache, key, write)
    return folder / GRAPH, card["about"]


def build_calibration_inputs(encoder: BiEncoder) -> list[dict[str, np.ndarray]]:
    """Returns inputs of a graph in many scripts, one text each, as queries and as passages."""
    inputs = []
    texts = [*CANARY_TEXTS, " ".join(CANARY_TEXTS)]
    for role in encoder.tokenizers:
        rows, _ = encoder.tokenizers[role].read(texts)
        for row in rows:
            ids_1T = np.asarray([row[:MOST_CALIBRATION_TOKENS]], np.int64)
            arrays = (ids_1T, np.ones_like(ids_1T))
            inputs.append(dict(zip(ONNX_INPUTS, arrays, strict=True)))
    return inputs


def _describe(encoder: BiEncoder) -> dict[str, Any]:
    """Returns what a graph in float32 depends on, as plain values."""
    return {
        "weights": hash_module(encoder),
        "config": encoder.backbone.config.to_dict(),
        "head": repr(encoder.head),
        "projection": repr(encoder.projection),
        "pooling": encoder.pooling,
        "normalize": encoder.normalize,
        "pairs_have_types": encoder.pairs_have_types,
        "separator": encoder.tokenizer.sep_token_id,
        "writers": {name: get_installed_version(name) for name in WRITERS},
    }


def _find_folder(
    cache: Path, key: dict[str, Any], write: Callable[[Path], dict[str, Any]]
) -> tuple[Path, dict[str, Any]]:
    """Returns a complete folder of the cache and its card; it is written if it is not there.

    Args:
        cache: of everything.
        key: what the files of the folder depend on.
        write: fills a new folder, and returns what the card says of it.
    """
    folder = cache.expanduser() / "graphs" / hash_values(key)[:HEX_DIGITS]
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):  # other processes wait, and find it complete
        card = _read_card(folder)
        if card is None:
            shutil.rmtree(folder, ignore_errors=True)
            with write_folder_atomically(folder) as temporary:
                about = write(temporary)
                files = {path.name: compute_sha256(path) for path in temporary.iterdir()}
                card = {"about": about, "files": files}
                (temporary / CARD).write_text(json.dumps(card, indent=1), encoding="utf-8")
    return folder, card


def _read_card(folder: Path) -> dict[str, Any] | None:
    """Returns the card of a folder; None if a file is missing or has other bytes."""
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
        for name, checksum in card["files"].items():
            if compute_sha256(folder / name) != checksum:
                return None
    except (OSError, ValueError, KeyError):
        return None
    return card
