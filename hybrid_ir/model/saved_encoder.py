"""The encoder of a run without its weights: all that a checkpoint needs to become an encoder again.

It lies in the folder of the run, so that a run can be read on another machine, where its backbone
may be missing or another one. The weights are in the checkpoints.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, AutoTokenizer, PreTrainedTokenizerFast

from hybrid_ir.files.atomic import write_folder_atomically
from hybrid_ir.files.checksums import compute_sha256
from hybrid_ir.model.backbone import quiet_transformers, replace_dropout
from hybrid_ir.model.head import build_described_head, describe_head

if TYPE_CHECKING:
    from hybrid_ir.model.encoder import BiEncoder

DESCRIPTION_FILE = "encoder.json"
LAYOUT = 1  # version of the files
# Modules of code that a model of the hub brought along.
REMOTE_CODE_PREFIX = "transformers_modules"


def can_save_encoder(encoder: "BiEncoder") -> bool:
    """Returns whether an encoder can be built from its files alone.

    Not with code of a hub model, which is run only where the user allows it, and not with LoRA,
    whose checkpoints lack the weights of the backbone.
    """
    has_remote_code = type(encoder.backbone).__module__.startswith(REMOTE_CODE_PREFIX)
    return encoder.lora is None and not has_remote_code


def save_encoder(encoder: "BiEncoder", folder: Path) -> None:
    """Writes an encoder without its weights into a new folder, completely or not at all.

    Args:
        encoder: of a run.
        folder: gets the config of the backbone, the tokenizer, and a description of the rest.
    """
    projection = encoder.width if isinstance(encoder.projection, nn.Linear) else None
    description = {
        "layout": LAYOUT,
        "name": encoder.name,
        "pooling": encoder.pooling,
        "projection": projection,
        "normalize": encoder.normalize,
        "head": describe_head(encoder.head),
    }
    for role, tokenizer in encoder.tokenizers.items():
        description[f"{role}_prefix"] = tokenizer.prefix
        description[f"{role}_max_length"] = tokenizer.max_length
    with write_folder_atomically(folder) as temporary:
        encoder.backbone.config.save_pretrained(temporary)
        encoder.tokenizer.save_pretrained(temporary)
        checksums = {}
        for path in sorted(temporary.rglob("*")):
            if path.is_file():
                checksums[path.relative_to(temporary).as_posix()] = compute_sha256(path)
        description["files"] = checksums
        text = json.dumps(description, indent=2, ensure_ascii=False)
        (temporary / DESCRIPTION_FILE).write_text(text, encoding="utf-8")


@dataclass(frozen=True)
class SavedEncoder:
    """The files of an encoder without weights, checked and ready to be built from.

    Attributes:
        folder: where they are.
        description: the content of encoder.json.
    """

    folder: Path
    description: Mapping[str, Any]

    def __str__(self) -> str:
        return self.description["name"]

    @classmethod
    def read(cls, folder: Path) -> "SavedEncoder":
        """Reads the description of an encoder and compares its files with their checksums.

        Raises:
            ValueError: a file is missing, damaged or another one, or the layout is of a later
                version. It names the file.
        """
        path = folder / DESCRIPTION_FILE
        try:
            description = json.loads(path.read_text(encoding="utf-8"))
            layout = description["layout"]
            checksums = description["files"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path} is missing or damaged ({error}): copy the whole run folder again"
            ) from error
        if layout != LAYOUT:
            raise ValueError(
                f"{path} has the layout {layout}, and this version of hybrid-ir knows {LAYOUT}: "
                "use the version that wrote it, see versions.json of the run"
            )
        for name, checksum in checksums.items():
            file = folder / name
            if not file.is_file() or compute_sha256(file) != checksum:
                state = "differs from what the run wrote" if file.is_file() else "is missing"
                raise ValueError(f"{file} {state}: copy the whole run folder again")
        return cls(folder, description)

    def get_arguments(self) -> dict[str, Any]:
        """Returns the arguments of a BiEncoder that decide how it makes vectors."""
        names = ("pooling", "projection", "normalize")
        arguments = {name: self.description[name] for name in names}
        for role in ("query", "passage"):
            arguments[f"{role}_prefix"] = self.description[f"{role}_prefix"]
            arguments[f"{role}_max_length"] = self.description[f"{role}_max_length"]
        return arguments

    def build_backbone(
        self, attention: str | None = None, dropout: float | None = None
    ) -> tuple[nn.Module, PreTrainedTokenizerFast]:
        """Builds the transformer with weights that mean nothing yet, and loads its tokenizer.

        Args:
            attention: `sdpa` or `eager`; None takes the library's choice.
            dropout: replaces every dropout rate; None keeps those of the run.

        Raises:
            ValueError: the installed transformers cannot build it.
        """
        try:
            with quiet_transformers(), torch.random.fork_rng(devices=[]):
                config = AutoConfig.from_pretrained(self.folder)
                options = {} if attention is None else {"attn_implementation": attention}
                model = AutoModel.from_config(config, dtype=torch.float32, **options)
                tokenizer = AutoTokenizer.from_pretrained(self.folder)
        except (OSError, ValueError, KeyError) as error:
            reason = str(error).splitlines()[0]
            raise ValueError(
                f"{self.folder}: the installed transformers cannot build this encoder ({reason}): "
                "install the version that its run used, see versions.json there"
            ) from error
        if dropout is not None:
            replace_dropout(model, self.description["name"], dropout)
        model.pooler = None
        model.config.use_cache = False
        return model.train(), tokenizer

    def build_head(self) -> nn.Module:
        """Builds the layers behind the pooling, with weights that mean nothing yet."""
        with torch.random.fork_rng(devices=[]):
            return build_described_head(self.description["head"])
