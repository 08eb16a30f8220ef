"""LoRA: small matrices beside frozen weights are trained instead of the weights (by peft).

LoRA is low-rank adaptation, Hu et al. 2021, arXiv 2106.09685.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

ADAPTER_NAME = "default"
# peft has this in the names of all weights of adapters.
ADAPTER_MARK = "lora_"
ALL_LINEAR = "all-linear"


@dataclass(frozen=True)
class Lora:
    """Recipe of the adapters of a backbone.

    The weights of the backbone are frozen. A weight matrix W acts as W + (alpha / rank) B A, where
    A and B are trained. A head and a projection behind the backbone are trained as ever.

    Args:
        rank: of the product of both matrices.
        alpha: the product counts alpha / rank times.
        dropout: of what enters the adapters, from 0 to below 1.
        targets: names or ends of names of the layers that get adapters, or `all-linear`.

    Raises:
        ValueError: a number is out of its range.
    """

    rank: int = 16
    alpha: float = 32.0
    dropout: float = 0.0
    targets: str | Sequence[str] = ALL_LINEAR

    def __post_init__(self):
        if self.rank < 1 or self.alpha <= 0 or not 0 <= self.dropout < 1:
            raise ValueError(
                f"model.lora.rank={self.rank} must be at least 1, model.lora.alpha={self.alpha} "
                f"above 0, model.lora.dropout={self.dropout} 0 or more and below 1"
            )

    def add_to(self, backbone: nn.Module) -> None:
        """Freezes a backbone and gives its target layers adapters, in place.

        At first an adapter changes nothing, since its matrix B is 0.

        Raises:
            ValueError: peft is not installed, or no layer has the name of a target.
        """
        peft = _import_peft()
        targets = self.targets if isinstance(self.targets, str) else list(self.targets)
        config = peft.LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,
            lora_dropout=self.dropout,
            target_modules=targets,
            bias="none",
        )
        try:
            peft.inject_adapter_in_model(config, backbone, adapter_name=ADAPTER_NAME)
        except ValueError as error:
            names = ", ".join(sorted(list_linear_names(backbone))) or "none, it has no linear layer"
            raise ValueError(
                f"model.lora.targets={targets!r}: no layer of the backbone has such a name. Give "
                f"{ALL_LINEAR}, or names of its layers: {names}"
            ) from error

    def describe(self) -> dict[str, Any]:
        """Returns the recipe as plain values."""
        targets = self.targets if isinstance(self.targets, str) else list(self.targets)
        return {
            "rank": self.rank,
            "alpha": float(self.alpha),
            "dropout": float(self.dropout),
            "targets": targets,
        }


def _import_peft() -> Any:
    try:
        import peft
    except ImportError as error:
        raise ValueError(
            "model.lora needs the package peft: pip install 'hybrid-ir[lora]', or train all "
            "weights with model/lora=none"
        ) from error
    return peft


def list_linear_names(backbone: nn.Module) -> set[str]:
    """Returns the last parts of the names of a backbone's linear layers."""
    names = set()
    for name, module in backbone.named_modules():
        if isinstance(module, nn.Linear):
            names.add(name.rpartition(".")[2])
    return names


def is_adapter_weight(name: str) -> bool:
    """Returns whether a name of a state dict is of an adapter."""
    return any(part.startswith(ADAPTER_MARK) for part in name.split("."))


def merge_adapters(backbone: nn.Module) -> None:
    """Adds the adapters to the weights that they stand beside, and removes them, in place."""
    from peft.tuners.lora import LoraLayer

    adapted = []
    for name, module in backbone.named_modules():
        if isinstance(module, LoraLayer):
            adapted.append((name, module))
    for name, module in adapted:
        module.merge(safe_merge=True)  # refuses weights that are not finite
        parent_name, _, last = name.rpartition(".")
        setattr(backbone.get_submodule(parent_name), last, module.get_base_layer())


def select_adapter_weights(
    weights: Mapping[str, torch.Tensor], backbone_name: str = "backbone"
) -> dict[str, torch.Tensor]:
    """Returns the weights of a module with LoRA without the frozen ones.

    Args:
        weights: the state dict of an encoder, or of a module that has one.
        backbone_name: a part of the names of the weights of the backbone, and of no others.
    """
    selected = {}
    for name, tensor in weights.items():
        is_of_backbone = backbone_name in name.split(".")
        if is_adapter_weight(name) or not is_of_backbone:
            selected[name] = tensor
    return selected
