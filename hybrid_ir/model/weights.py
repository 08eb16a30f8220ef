"""Whether the weights of a model that was loaded are all there, fit, and are numbers."""

import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

POOLER_PREFIX = "pooler."  # of the names of a pooler's weights
# One at a time, as the report is taken off a method that all models share.
_RECORDING = threading.RLock()


@dataclass
class LoadReport:
    """What transformers says of the transformers that were loaded.

    Attributes:
        missing: names of weights that no file has, so that they are random.
        mismatched: name, stored shape and needed shape of weights of another shape.
    """

    missing: set[str] = field(default_factory=set)
    mismatched: set[tuple[str, tuple[int, ...], tuple[int, ...]]] = field(default_factory=set)

    def add(self, loading_info: Mapping[str, Iterable]) -> None:
        """Adds what `output_loading_info` gives of a model."""
        self.missing.update(loading_info["missing_keys"])
        for name, stored, needed in loading_info.get("mismatched_keys", ()):
            self.mismatched.add((name, tuple(stored), tuple(needed)))

    def require_complete(self, model: str, is_pooler_used: bool = False) -> None:
        """Raises ValueError for weights that would be random.

        Args:
            model: how the user named it, for the message.
            is_pooler_used: whether a pooler counts, which most encoders do without.
        """
        if self.mismatched:
            name, stored, needed = min(self.mismatched)
            raise ValueError(
                f"{model} has weights of another shape than its config.json says, first {name!r}: "
                f"{stored} in the file, {needed} by the config. Take both files of the same model"
            )
        missing = []
        for name in sorted(self.missing):
            if is_pooler_used or not name.startswith(POOLER_PREFIX):
                missing.append(name)
        if missing:
            raise ValueError(
                f"{model} lacks {len(missing)} weights, first {missing[0]!r}: they would be "
                "random. Use a checkpoint of an encoder."
            )


@contextmanager
def record_loading() -> Iterator[LoadReport]:
    """Yields a report that fills while another library loads transformers.

    Such a library asks transformers for a model alone, without `output_loading_info`.
    """
    report = LoadReport()
    original = PreTrainedModel.__dict__["from_pretrained"]

    def from_pretrained(cls: type, *args, **kwargs) -> Any:
        is_asked = kwargs.pop("output_loading_info", False)
        # The report names such weights better than the error that the library would raise.
        kwargs["ignore_mismatched_sizes"] = True
        load = original.__get__(None, cls)
        model, loading_info = load(*args, output_loading_info=True, **kwargs)
        report.add(loading_info)
        return (model, loading_info) if is_asked else model

    with _RECORDING:
        PreTrainedModel.from_pretrained = classmethod(from_pretrained)
        try:
            yield report
        finally:
            PreTrainedModel.from_pretrained = original


@torch.no_grad()
def require_finite_weights(model: str, module: nn.Module) -> None:
    """Raises ValueError for a weight that is not a number or is infinite, by its name.

    Args:
        model: how the user named it, for the message.
        module: all of its weights.
    """
    for name, weight in module.named_parameters():
        if weight.is_floating_point() and not torch.isfinite(weight).all():
            raise ValueError(
                f"{model}: the weight {name!r} has values that are not finite (NaN or infinite), "
                "so its vectors would mean nothing: take a sound checkpoint"
            )
