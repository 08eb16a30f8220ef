"""How fast the texts of a benchmark were encoded."""

import time
from collections.abc import Hashable, Sequence
from typing import Any

import torch

from hybrid_ir.types import Role, TextEncoder


class EncodingSpeed:
    """Counts what an encoder encodes, and how long that takes; reading and ranking are not in it.

    Attributes:
        texts: distinct texts that were encoded.
        tokens: of these texts, special ones included and padding not; None for an encoder that
            does not say (it has no method `count_tokens`).
        seconds: of encoding.
    """

    def __init__(self):
        self.texts = 0
        self.tokens: int | None = 0
        self.seconds = 0.0

    def encode(self, encoder: TextEncoder, items: Sequence[Hashable], role: Role) -> torch.Tensor:
        """Returns the vectors of texts that an encoder has read, and counts them."""
        started = time.perf_counter()
        vectors_BD = encoder.encode(items, role)
        if isinstance(vectors_BD, torch.Tensor) and vectors_BD.is_cuda:
            torch.cuda.synchronize(vectors_BD.device)
        self.seconds += time.perf_counter() - started
        self.texts += len(items)
        if self.tokens is not None and hasattr(encoder, "count_tokens"):
            self.tokens += encoder.count_tokens(items)
        else:
            self.tokens = None
        return vectors_BD

    def describe(self) -> dict[str, Any]:
        """Returns the numbers as plain values, for a card."""
        seconds = max(self.seconds, 1e-9)
        return {
            "texts": self.texts,
            "tokens": self.tokens,
            "seconds": self.seconds,
            "texts_per_second": self.texts / seconds,
            "tokens_per_second": None if self.tokens is None else self.tokens / seconds,
        }


def describe_encoding(encoding: dict[str, Any] | None) -> str | None:
    """Says in a line how fast texts were encoded; None where it is unknown.

    Args:
        encoding: as EncodingSpeed describes it.
    """
    if encoding is None:
        return None
    line = f"{encoding['texts']:,} distinct texts in {encoding['seconds']:,.1f} s: "
    line += f"{encoding['texts_per_second']:,.0f} texts/s"
    if encoding["tokens"] is not None:
        line += f", {encoding['tokens_per_second']:,.0f} tokens/s"
    return line
