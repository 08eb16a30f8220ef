"""Lets several benchmarks share what an encoder has read and encoded."""

from collections.abc import Hashable, Sequence
from typing import Any

import torch

from hybrid_ir.types import Role, Text, TextEncoder

REMEMBERED_TEXTS = 1 << 18  # whose tokens are kept: about 100 MB of texts of 100 tokens
REMEMBERED_VECTORS = 1 << 16  # 96 MB of width 384


class RememberingEncoder:
    """An encoder that reads equal texts of several benchmarks once, and keeps every number.

    Texts that were read before in the same role are not tokenised again. The last bits of a vector
    may depend on the texts that stand beside its own, so vectors are used again only where all
    texts that were encoded together are the same, in the same order: the queries of a benchmark
    with another pool, or the texts that estimate a correction for several benchmarks.

    What comes first is kept, up to a limit, so that a corpus of any size can be read.

    Args:
        encoder: reads and encodes what is new. All else is its own.
    """

    def __init__(self, encoder: TextEncoder):
        self.encoder = encoder
        self._items: dict[tuple[Role, Text], Hashable] = {}
        self._vectors: dict[tuple[Role, tuple[Hashable, ...]], torch.Tensor] = {}
        self._vectors_kept = 0

    def __getattr__(self, name: str) -> Any:
        """Returns what this class does not define from the encoder."""
        return getattr(self.encoder, name)

    def read(self, texts: Sequence[Text], role: Role) -> list[Hashable]:
        """Returns what the encoder sees of each text, see `TextEncoder`."""
        new_texts = [text for text in texts if (role, text) not in self._items]
        cut_before = self.encoder.texts_cut[role]
        new_items = self.encoder.read(new_texts, role) if new_texts else []
        self.encoder.texts_read[role] += len(texts) - len(new_texts)
        is_kept = find_texts_not_cut(new_items, self.encoder.texts_cut[role], cut_before)
        items_of_new = iter(new_items)
        items = []
        for text in texts:
            if (role, text) in self._items:
                items.append(self._items[role, text])
            else:
                items.append(next(items_of_new))
        for text, item, keep in zip(new_texts, new_items, is_kept, strict=True):
            if keep and len(self._items) < REMEMBERED_TEXTS:
                self._items[role, text] = item
        return items

    def encode(self, items: Sequence[Hashable], role: Role) -> torch.Tensor:
        """Returns the vectors (B, D) of items, see `TextEncoder`."""
        key = (role, tuple(items))
        if key in self._vectors:
            return self._vectors[key].clone()
        vectors_BD = self.encoder.encode(items, role)
        if self._vectors_kept + len(items) <= REMEMBERED_VECTORS:
            self._vectors[key] = vectors_BD
            self._vectors_kept += len(items)
        return vectors_BD


def find_texts_not_cut(
    items: Sequence[Hashable], cut: int | None, cut_before: int | None
) -> list[bool]:
    """Finds out which texts of a call were read completely, as far as the counts tell.

    Only these may be remembered, since a text that is cut has to be counted each time. Where some
    were cut, they have as many tokens as the longest text of the call.

    Args:
        items: what was read of each text.
        cut: texts that were cut until now; None where nobody counts.
        cut_before: texts that were cut before this call.
    """
    if cut == cut_before:
        return [True] * len(items)
    if not all(isinstance(item, bytes) for item in items):  # of other items nothing is known
        return [False] * len(items)
    longest = max(len(item) for item in items)
    return [len(item) < longest for item in items]
