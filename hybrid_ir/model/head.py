"""The head of an encoder: what stands between its pooling and the length of its vectors.

Most encoders have none. LaBSE has a dense layer and tanh, others have what the modules of their
sentence-transformers folder say.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn


def find_activation(name: str) -> type[nn.Module] | None:
    """Returns the class of an activation function of torch, by its name with or without modules.

    Nothing but a module of `torch.nn` is taken, whatever a file names.
    """
    path, _, last = name.rpartition(".")
    if path and not path.startswith("torch.nn"):
        return None
    activation = getattr(nn, last, None)
    is_module = isinstance(activation, type) and issubclass(activation, nn.Module)
    return activation if is_module else None


def build_head(layers: Sequence[nn.Module]) -> nn.Module:
    """Returns layers that follow each other as one module, the identity for none of them."""
    layers = [layer for layer in layers if not isinstance(layer, nn.Identity)]
    return nn.Sequential(*layers) if layers else nn.Identity()


def list_head_layers(head: nn.Module) -> list[nn.Module]:
    """Returns the layers of a head in their order, none for the identity."""
    return list(head) if isinstance(head, nn.Sequential) else []


def describe_head(head: nn.Module) -> list[dict[str, Any]]:
    """Returns the layers of a head as plain values, from which `build_described_head` builds it."""
    description = []
    for layer in list_head_layers(head):
        values: dict[str, Any] = {"kind": type(layer).__name__}
        if isinstance(layer, nn.Linear):
            values["in"] = layer.in_features
            values["out"] = layer.out_features
            values["bias"] = layer.bias is not None
        elif isinstance(layer, nn.LayerNorm):
            values["width"] = layer.normalized_shape[0]
        elif isinstance(layer, nn.Dropout):
            values["rate"] = layer.p
        description.append(values)
    return description


def build_described_head(description: Sequence[dict[str, Any]]) -> nn.Module:
    """Builds a head without its weights. Raises ValueError for a layer that nobody knows."""
    layers: list[nn.Module] = []
    for values in description:
        kind = values["kind"]
        if kind == "Linear":
            layers.append(nn.Linear(values["in"], values["out"], bias=values["bias"]))
        elif kind == "LayerNorm":
            layers.append(nn.LayerNorm(values["width"]))
        elif kind == "Dropout":
            layers.append(nn.Dropout(values["rate"]))
        else:
            activation = find_activation(kind)
            if activation is None:
                raise ValueError(f"the head has a layer {kind!r}, which this version cannot build")
            layers.append(activation())
    return build_head(layers)


def find_head_width(head: nn.Module, width: int) -> int:
    """Returns the width of the vectors behind a head.

    Args:
        head: takes vectors of the backbone.
        width: of these vectors.
    """
    for layer in list_head_layers(head):
        if isinstance(layer, nn.Linear):
            width = layer.out_features
    return width


def load_linear(weights: dict[str, torch.Tensor], prefix: str = "linear.") -> nn.Linear:
    """Returns a linear layer with weights of a file, in float32.

    Args:
        weights: of the file, by name.
        prefix: of the names.
    """
    tensors = {key.removeprefix(prefix): value.float() for key, value in weights.items()}
    width_out, width_in = tensors["weight"].shape
    layer = nn.Linear(width_in, width_out, bias="bias" in tensors)
    layer.load_state_dict(tensors)
    return layer
