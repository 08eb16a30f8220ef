"""How a model shall read texts, in every command that takes one."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from omegaconf import DictConfig

from hybrid_ir.inference.graph_encoder import BACKENDS, TORCH
from hybrid_ir.model.adapters import PRECISIONS
from hybrid_ir.system.hardware import AUTO, choose_precision, describe_slow_precision
from hybrid_ir.types import Role

PREFIXES = ("query_prefix", "passage_prefix")
LENGTHS = ("query_max_length", "passage_max_length")
# Settings that decide how a BiEncoder reads texts.
READING = ("pooling", "query_prefix", "passage_prefix", *LENGTHS)
# Settings that a run has fixed in its training.
FIXED_BY_TRAINING = (
    "pooling",
    "query_prefix",
    "passage_prefix",
    "similarity",
    "revision",
    "trust_remote_code",
)


@dataclass(frozen=True)
class EncoderSettings:
    """How a model shall read texts; the keys of conf/encoder. None leaves a choice to the model.

    Args:
        backbone: another folder or hub id for a model by its name in conf/model.
        pooling: one of `hybrid_ir.model.pooling.POOLINGS`; a plain Hugging Face encoder does not
            say.
        query_prefix: text that is put before every query.
        passage_prefix: text that is put before every passage.
        query_max_length: tokens of a query, special ones included.
        passage_max_length: tokens of a passage, special ones included.
        similarity: `cosine` or `dot`, for a sentence-transformers model.
        revision: of a hub model.
        trust_remote_code: whether code that a hub model brings along may run.
        test_checkpoint: `best` or `last`, of a run folder.
        precision: `fp32`, `bf16`, or `auto`: bf16 where the device has units for it.
        config_folders: folders of the user that hold a folder `model` with YAML files.
        device: `cpu`, `cuda`, `cuda:1`, `mps`; None takes a GPU if there is one.
        backend: `torch`, `onnx`, `onnx_int8` or `openvino`, see
            `hybrid_ir.inference.graph_encoder`.
        cache_dir: folder where graphs of encoders are kept; None for that of the environment
            variable HYBRID_IR_CACHE, else .cache.

    Raises:
        ValueError: precision, similarity or backend is none of these, or they do not fit.
    """

    backbone: str | None = None
    pooling: str | None = None
    query_prefix: str | None = None
    passage_prefix: str | None = None
    query_max_length: int | None = None
    passage_max_length: int | None = None
    similarity: Literal["cosine", "dot"] | None = None
    revision: str | None = None
    trust_remote_code: bool = False
    test_checkpoint: str = "best"
    config_folders: Sequence[str | Path] = ()
    precision: str = "fp32"
    device: str | None = None
    backend: str = TORCH
    cache_dir: str | Path | None = None

    def __post_init__(self):
        problems = []
        if self.precision not in (*PRECISIONS, AUTO):
            known = ", ".join((*PRECISIONS, AUTO))
            problems.append(f"precision={self.precision!r} must be one of {known}")
        if self.similarity not in (None, "cosine", "dot"):
            problems.append(
                f"similarity={self.similarity!r} must be cosine or dot, or null for the model's own"
            )
        if self.backend not in BACKENDS:
            problems.append(f"backend={self.backend!r} must be one of {', '.join(BACKENDS)}")
        elif self.backend != TORCH and self.precision == "bf16":
            problems.append(
                f"precision=bf16 is for backend={TORCH}, and backend={self.backend} computes in "
                "a precision of its own: leave one of them out"
            )
        if problems:
            raise ValueError("; ".join(problems))

    @classmethod
    def from_config(cls, cfg: DictConfig) -> "EncoderSettings":
        """Takes the keys of conf/encoder out of the config of a command."""
        values = {}
        for field in fields(cls):
            if field.name != "cache_dir":
                values[field.name] = cfg[field.name]
        return cls(**values, cache_dir=cfg.paths.cache_dir)

    def require_unset(self, kind: str, *keys: str) -> None:
        """Raises a ValueError for settings that were given and would change nothing.

        Args:
            kind: what is being loaded, for the message.
            keys: names of settings that have no meaning for it.
        """
        useless = []
        for key in keys:
            value = getattr(self, key)
            is_default = value in (None, False) or (key == "similarity" and value == "cosine")
            if not is_default:
                useless.append(f"{key}={value!r}")
        if useless:
            raise ValueError(
                f"{', '.join(useless)}: not for {kind}, which cannot be read so; leave them out"
            )

    def choose_precision(self, device: str) -> str:
        """Returns `fp32` or `bf16` for a device, and warns where it is slow in what was asked."""
        if self.backend != TORCH:
            return "fp32"
        precision = choose_precision(self.precision, device, bf16="bf16", fp32="fp32")
        warning = describe_slow_precision("precision", precision, device)
        if warning is not None:
            print(f"warning: {warning}")
        return precision

    def choose_cache(self) -> Path:
        """Returns the folder where graphs of encoders are kept."""
        return Path(self.cache_dir or os.environ.get("HYBRID_IR_CACHE", ".cache"))

    @property
    def prompts(self) -> dict[Role, str | None]:
        """The prefixes by role, None for those that are left to the model."""
        return {"query": self.query_prefix, "passage": self.passage_prefix}

    def select(self, keys: tuple[str, ...]) -> dict[str, Any]:
        """Returns the settings of these keys, without those that are None."""
        chosen = {}
        for key in keys:
            if getattr(self, key) is not None:
                chosen[key] = getattr(self, key)
        return chosen
