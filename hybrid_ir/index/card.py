"""The card of an index: what it was made with, and what must be so when it is searched."""

import json
import platform
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from hybrid_ir.files.atomic import write_text_atomically
from hybrid_ir.files.checksums import compute_sha256
from hybrid_ir.inference.graph_cache import hash_module
from hybrid_ir.inference.graph_encoder import ONNX_INT8, TORCH
from hybrid_ir.system.environment import get_installed_version
from hybrid_ir.types import Role, TextEncoder

CARD = "index.json"
VERSION = 1
PACKAGES = (
    "hybrid-ir",
    "torch",
    "transformers",
    "tokenizers",
    "sentence-transformers",
    "safetensors",
    "pyarrow",
    "faiss-cpu",
)
# Their vectors are kept in the card, to recognise the model.
PROBES = ("Where is Kabul?", "北京是中国的首都。", "القاهرة عاصمة مصر")
ROLES: tuple[Role, ...] = ("query", "passage")
LEAST_COSINE = 0.999  # of the vector of a probe with that of the card
LEAST_INT8_COSINE = 0.98  # where queries or passages are encoded in int8
DECIMALS = 7  # of the vectors in the card
# Keys of a reading that say nothing about what is read, or that only one kind of encoder has.
NOT_COMPARED = ("precision", "prompts", "modules", "backend")


def hash_weights(encoder: TextEncoder) -> str:
    """Returns a checksum of all weights of an encoder, in hexadecimal digits."""
    # A BiEncoder, or a model of sentence-transformers.
    module = encoder.encoder if hasattr(encoder, "encoder") else encoder.model
    return hash_module(module)


def encode_probes(encoder: TextEncoder) -> dict[Role, torch.Tensor]:
    """Returns the vectors of the probe texts for each role, on the CPU."""
    vectors = {}
    for role in ROLES:
        vectors[role] = encoder.encode(encoder.read(PROBES, role), role).float().cpu()
    return vectors


def describe_probes(encoder: TextEncoder) -> dict[str, Any]:
    """Returns the probe texts and their vectors, as plain values for the card."""
    rounded = {}
    for role, vectors in encode_probes(encoder).items():
        rounded[role] = vectors.double().round(decimals=DECIMALS).tolist()
    return {"texts": list(PROBES), "vectors": rounded}


def describe_build() -> dict[str, Any]:
    """Returns where, when and by which command and versions an index is made."""
    versions = {}
    for package in PACKAGES:
        installed = get_installed_version(package)
        if installed is not None:
            versions[package] = installed
    return {
        "versions": versions,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
    }


def describe_files(folder: Path) -> dict[str, dict[str, Any]]:
    """Returns the size and checksum of every file of a folder."""
    files = {}
    for path in sorted(folder.iterdir()):
        files[path.name] = {"bytes": path.stat().st_size, "sha256": compute_sha256(path)}
    return files


def write_index_card(folder: Path, card: Mapping[str, Any]) -> None:
    """Writes the card of an index."""
    text = json.dumps(card, indent=1, ensure_ascii=False)
    write_text_atomically(folder / CARD, text, durable=True)


def read_index_card(folder: Path) -> dict[str, Any]:
    """Reads the card of an index.

    Raises:
        ValueError: the folder is no index, one that is not complete, or of another version.
    """
    path = folder / CARD
    if not path.is_file():
        building = folder.with_name(f".{folder.name}.building")
        hint = ""
        if building.is_dir():
            hint = f"; {building} is not complete yet: the same hybrid-ir index command goes on"
        raise ValueError(f"{folder} is no index, it has no {CARD}{hint}")
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        version = card["version"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is damaged ({error}): restore it from a copy, or build the index again"
        ) from error
    if version != VERSION:
        raise ValueError(
            f"{path} is of version {version} of the format, and this hybrid-ir reads version "
            f"{VERSION}: build the index again, or install the version that made it "
            f"(hybrid-ir {card.get('versions', {}).get('hybrid-ir')})"
        )
    return card


def require_undamaged_index(
    folder: Path, card: Mapping[str, Any], check_bytes: bool = True
) -> None:
    """Compares the files of an index with its card.

    Args:
        folder: the index.
        card: its card.
        check_bytes: whether checksums are compared, which reads all files, or sizes alone.

    Raises:
        ValueError: files are missing or damaged; it names all of them.
    """
    problems = []
    for name, state in card["files"].items():
        path = folder / name
        if not path.is_file():
            problems.append(f"{path} is missing")
        elif path.stat().st_size != state["bytes"]:
            problems.append(
                f"{path} has {path.stat().st_size:,} bytes, and had {state['bytes']:,} when the "
                "index was made"
            )
        elif check_bytes and compute_sha256(path) != state["sha256"]:
            problems.append(f"{path} has other bytes than when the index was made")
    if problems:
        command = " ".join(card.get("command", ()))
        raise ValueError(
            f"{'; '.join(problems)}: the index is damaged. Restore it from a copy, or delete "
            f"{folder} and build it again ({command})"
        )


def require_encoder_of_index(encoder: TextEncoder, card: Mapping[str, Any], folder: Path) -> None:
    """Refuses an encoder whose vectors do not fit those of an index.

    Raises:
        ValueError: it reads texts otherwise, or gives the probe texts of the card other vectors.
    """
    reading = encoder.reading()
    differences = []
    for key, value in card["reading"].items():
        is_compared = key not in NOT_COMPARED and key in reading
        if is_compared and reading[key] != value:
            differences.append(f"with {key}={value!r}, not {key}={reading[key]!r}")
    if not differences:
        differences = _compare_probes(encoder, card)
    if differences:
        raise ValueError(
            f"{folder} was made with the model {card['model']['name']}: {'; '.join(differences)}. "
            f"{encoder.name} cannot search it: give the model that made it with model=, or index "
            "again"
        )


def describe_other_backend(encoder: TextEncoder, card: Mapping[str, Any]) -> str | None:
    """Returns a line if queries and passages of an index are encoded by different backends."""
    of_queries = _name_backend(encoder.reading())
    of_passages = _name_backend(card["reading"])
    if of_queries == of_passages:
        return None
    return (
        f"note: the passages of this index were encoded with backend={of_passages}, the queries "
        f"are with backend={of_queries}; their scores differ a little from those of one backend"
    )


def _name_backend(reading: Mapping[str, Any]) -> str:
    backend = reading.get("backend")
    return TORCH if backend is None else backend["name"]


def _compare_probes(encoder: TextEncoder, card: Mapping[str, Any]) -> list[str]:
    """Returns what is wrong with the vectors of the probe texts."""
    probes = card["probes"]
    least = LEAST_COSINE
    if ONNX_INT8 in (_name_backend(encoder.reading()), _name_backend(card["reading"])):
        least = LEAST_INT8_COSINE
    for role in ROLES:
        expected = torch.tensor(probes["vectors"][role])
        vectors = encoder.encode(encoder.read(probes["texts"], role), role).float().cpu()
        cosine = torch.cosine_similarity(vectors, expected).min().item()
        if not cosine >= least:
            return [
                f"with a {role} vector of a probe text that has cosine {cosine:.4f} with that of "
                f"the model here, and must have {least}"
            ]
    return []
