"""Checkpoints are written completely or not at all, and read only if they are undamaged."""

import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from torch import nn

from hybrid_ir.distributed import to_full_tensor
from hybrid_ir.files.atomic import (
    flush_folder_to_disk,
    flush_to_disk,
    write_atomically,
    write_text_atomically,
)
from hybrid_ir.files.json_lines import read_log_rows
from hybrid_ir.model.encoder import BiEncoder
from hybrid_ir.model.lora import is_adapter_weight, select_adapter_weights
from hybrid_ir.model.tokens import compute_tokenizer_canary

LAST_FILE = "last.ckpt"
PREVIOUS_FILE = "previous.ckpt"  # the last one before the last, for a disk that loses a file
BEST_FILE = "best.ckpt"
# Under this name a checkpoint says whether the training ended there; see LastCheckpoint.
LAST_STATE = "LastCheckpoint"
LOG_FILES = ("metrics.jsonl", "nonfinite.jsonl")
BYTES_PER_MEBIBYTE = 2**20
BYTES_PER_WEIGHT = 4  # float32
BYTES_PER_WEIGHT_OF_ADAMW = 8  # two moments in float32
CHECKPOINTS_ON_DISK = 4  # last, previous, best, and one that is being written
LISTED_DIFFERENCES = 3  # differences of two encoders that an error names


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints that are complete or absent, and reads only undamaged ones."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Writes a checkpoint beside its place, flushes it to the disk, and moves it there.

        An older last.ckpt stays as previous.ckpt.

        Raises:
            OSError: the checkpoint could not be written; those before it are untouched.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with write_atomically(path) as temporary:
                with open(temporary, "wb") as file:
                    torch.save(checkpoint, file)
                flush_to_disk(temporary)
                if path.name == LAST_FILE and path.exists():
                    os.replace(path, path.with_name(PREVIOUS_FILE))
            flush_folder_to_disk(path.parent)
        except (OSError, RuntimeError) as error:  # torch raises RuntimeError on a full disk
            step = checkpoint.get("global_step")
            reason = str(error).splitlines()[0]
            free = shutil.disk_usage(path.parent).free / BYTES_PER_MEBIBYTE
            raise OSError(
                f"the checkpoint of step {step} could not be written to {path} ({reason}; "
                f"{free:,.0f} MiB are free): the run stops, the checkpoints before it are whole. "
                "Free some space and go on from them with resume=auto"
            ) from error

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = True
    ) -> dict[str, Any]:
        """Reads a checkpoint, see `read_checkpoint`."""
        return read_checkpoint(Path(path))


def read_checkpoint(file: Path) -> dict[str, Any]:
    """Reads a checkpoint as plain values, after a look at its checksums.

    Torch itself takes flipped bytes for weights and looks at no checksum.

    Raises:
        ValueError: the file is no checkpoint, or damaged.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            damaged = archive.testzip()
        if damaged:
            raise ValueError(f"the checksum of {damaged} is wrong")
        checkpoint = torch.load(file, map_location="cpu", weights_only=True)
        if not isinstance(checkpoint, dict) or not {"state_dict", "global_step"} <= set(checkpoint):
            raise ValueError("it is no checkpoint of ours")
    except Exception as error:  # of many types: the file may hold anything
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ValueError(
            f"{file} cannot be read ({reason}): it was cut or damaged; copy it again from where it "
            "was trained, or take another checkpoint of the run (test_checkpoint=last or best)"
        ) from error
    return checkpoint


def load_encoder_weights(file: Path, encoder: BiEncoder) -> tuple[int, list[str]]:
    """Gives an encoder the weights of a checkpoint, and takes nothing else from it.

    The temperature, the optimiser and its schedule are those of the config. How texts are read
    (prefixes, lengths) may differ from the run that the weights are of.

    Args:
        file: the checkpoint.
        encoder: gets the weights.

    Returns:
        The step of the checkpoint, and how its run read texts otherwise than the encoder does.

    Raises:
        ValueError: the file is damaged, or of another encoder.
    """
    checkpoint = read_checkpoint(file)
    prefix = "encoder."
    weights = {}
    for name, tensor in checkpoint["state_dict"].items():
        if name.startswith(prefix):
            weights[name.removeprefix(prefix)] = tensor
    expected = encoder.state_dict()
    if encoder.lora is not None:
        expected = select_adapter_weights(expected)
    require_same_encoder(
        {"tokenizer_canary": checkpoint.get("tokenizer_canary"), "state_dict": weights},
        tokenizer_canary=compute_tokenizer_canary(encoder.tokenizer),
        reading={},
        weights=expected,
    )
    encoder.load_state_dict({**encoder.state_dict(), **weights})
    differences = _compare_reading(checkpoint, encoder.describe_reading())
    return checkpoint["global_step"], differences


def fingerprint_weights(weights: Mapping[str, torch.Tensor]) -> str:
    """Computes a fingerprint of weights by their names."""
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in weights.items():
        digest.update(name.encode())
        tensor = to_full_tensor(tensor.detach()).cpu().contiguous()
        digest.update(tensor.view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def fingerprint_frozen_weights(backbone: nn.Module) -> str:
    """Computes a fingerprint of the weights of a backbone beside which LoRA trains others."""
    frozen = {}
    for name, tensor in backbone.state_dict().items():
        if not is_adapter_weight(name):
            frozen[name] = tensor
    return fingerprint_weights(frozen)


def require_disk_space(folder: Path, module: nn.Module) -> None:
    """Raises ValueError if the disk of a folder is too small for the checkpoints of a module."""
    folder.mkdir(parents=True, exist_ok=True)
    size = 0
    for parameter in module.parameters():
        size += BYTES_PER_WEIGHT * parameter.numel()
        if parameter.requires_grad:
            size += BYTES_PER_WEIGHT_OF_ADAMW * parameter.numel()
    present = sum(file.stat().st_size for file in folder.glob("*.ckpt"))
    needed = CHECKPOINTS_ON_DISK * size - present
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ValueError(
            f"the disk of {folder} has {free / BYTES_PER_MEBIBYTE:,.0f} MiB free, and the "
            f"checkpoints of this run need {needed / BYTES_PER_MEBIBYTE:,.0f} MiB: free some, or "
            "write to another disk with paths.output_dir="
        )


@dataclass(frozen=True, order=True)
class SavedCheckpoint:
    """A checkpoint of a run folder; the later of two is the one of the higher step."""

    step: int
    ended: bool  # training ended there
    path: Path

    def __str__(self) -> str:
        start = "training ended at step" if self.ended else "from step"
        return f"{start} {self.step} ({self.path.name})"


def find_newest_checkpoint(folder: Path, max_steps: int) -> SavedCheckpoint | None:
    """Finds the newest undamaged checkpoint of a run folder that leaves something to do.

    Args:
        folder: the run folder.
        max_steps: length of the run. A best checkpoint of the last step is passed over: it was
            written just before training ended, and nothing would be left to train.

    Returns:
        None if there is no such checkpoint.

    Raises:
        OSError: the disk does not answer. Only what is damaged is passed over.
    """
    candidates = []
    for name in (LAST_FILE, PREVIOUS_FILE, BEST_FILE):
        path = folder / "checkpoints" / name
        saved = _peek_into_checkpoint(path) if path.exists() else None
        if saved is not None and (saved.ended or saved.step < max_steps):
            candidates.append(saved)
    for saved in sorted(candidates, reverse=True):
        with suppress(ValueError):
            read_checkpoint(saved.path)  # all of it is undamaged, by its checksums
            return saved
    return None


def _peek_into_checkpoint(path: Path) -> SavedCheckpoint | None:
    """Returns the step of a checkpoint without reading its weights, None if it is damaged."""
    with open(path, "rb") as file:
        file.read(1)  # raises OSError where the disk does not answer
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        state = checkpoint["callbacks"].get(LAST_STATE, {})
        step = int(checkpoint["global_step"])
        return SavedCheckpoint(step, state.get("ended", False), path)
    except Exception:  # of many types: a damaged file may hold anything
        return None


def drop_logged_steps(folder: Path, step: int) -> None:
    """Deletes what was logged after a step from the logs of a run, before it goes on there.

    The step of a row counts the optimiser steps that were done when it was measured, so the rows of
    the step itself stay: they belong to what the checkpoint of that step holds.
    """
    for name in LOG_FILES:
        path = folder / name
        if not path.exists():
            continue
        kept = []
        for row in read_log_rows(path):
            is_test = any(key.startswith("test/") for key in row)
            if row["step"] <= step and not is_test:
                kept.append(json.dumps(row) + "\n")
        write_text_atomically(path, "".join(kept))


def require_same_encoder(
    checkpoint: dict[str, Any],
    tokenizer_canary: str,
    reading: Mapping[str, str | bool],
    weights: Mapping[str, torch.Tensor],
    frozen_weights: str | None = None,
) -> None:
    """Raises ValueError if a checkpoint was trained with another encoder.

    Args:
        checkpoint: as Lightning has read it. It may lack its weights, which a strategy that spreads
            them over ranks has already taken out and loaded.
        tokenizer_canary: of the present encoder, see `compute_tokenizer_canary`.
        reading: of the present encoder, see `BiEncoder.describe_reading`.
        weights: names and tensors of the present module, as far as a checkpoint holds them.
        frozen_weights: fingerprint of those that a checkpoint lacks, since LoRA has frozen them.
    """
    saved_canary = checkpoint.get("tokenizer_canary")
    if saved_canary and saved_canary != tokenizer_canary:
        raise ValueError(
            f"the checkpoint was trained with another tokenizer (canary {saved_canary}, here "
            f"{tokenizer_canary}): use the model, corpus and library versions of its run, see its "
            "config.yaml and versions.json"
        )
    saved_frozen_weights = checkpoint.get("frozen_weights")
    if saved_frozen_weights and frozen_weights and saved_frozen_weights != frozen_weights:
        raise ValueError(
            "the checkpoint has LoRA adapters of a backbone with other weights than this one: give "
            "the very backbone of its run (backbone=), see its config.yaml"
        )
    differences = _compare_reading(checkpoint, reading)
    saved_weights = checkpoint.get("state_dict", weights)
    for name in sorted(saved_weights.keys() | weights.keys()):
        saved_shape = _describe_shape(saved_weights, name)
        shape = _describe_shape(weights, name)
        if saved_shape != shape:
            differences.append(f"{name} {saved_shape}, here {shape}")
    if differences:
        raise ValueError(
            f"the checkpoint is of another encoder, {len(differences)} differences: "
            f"{'; '.join(differences[:LISTED_DIFFERENCES])}. Give the model of its run, see its "
            "config.yaml"
        )


def _compare_reading(checkpoint: dict[str, Any], reading: Mapping[str, str | bool]) -> list[str]:
    """Returns what differs in how the run of a checkpoint read texts, from a present encoder."""
    differences = []
    for key, value in checkpoint.get("reading", reading).items():
        if reading.get(key) != value:
            differences.append(f"{key} {value!r}, here {reading.get(key)!r}")
    return differences


def _describe_shape(weights: dict[str, torch.Tensor], name: str) -> str:
    return str(tuple(weights[name].shape)) if name in weights else "missing"
