"""The shards of an index: which texts are in each, and their vectors.

Shapes: S texts of a shard, B distinct texts of a shard, D width.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from hybrid_ir.evaluation.encoding import require_vectors
from hybrid_ir.evaluation.exact_scores import require_finite
from hybrid_ir.types import Role, Text, TextEncoder


@dataclass(frozen=True)
class ShardUnit:
    """A unit of work: the texts of one shard.

    Args:
        role: `query` or `passage`.
        start: the first row.
        stop: the row after the last.
        path: the file of the vectors.
    """

    role: Role
    start: int
    stop: int
    path: Path


def encode_distinct_texts(
    encoder: TextEncoder, texts: Sequence[Text], role: Role, first_row: int
) -> torch.Tensor:
    """Encodes texts; those that the encoder cannot tell apart share one vector.

    Args:
        encoder: makes the vectors.
        texts: S texts.
        role: `query` or `passage`.
        first_row: the row of the first text, for the error.

    Returns:
        Their vectors (S, D), float32, on the CPU.

    Raises:
        ValueError: the encoder gave something else than a finite vector for each text.
    """
    items = encoder.read(texts, role)
    place_of: dict[Hashable, int] = {}
    for item in items:
        place_of.setdefault(item, len(place_of))
    vectors_BD = encoder.encode(list(place_of), role)
    require_vectors(vectors_BD, len(place_of), encoder)
    places_S = torch.tensor([place_of[item] for item in items], dtype=torch.int64)
    vectors_SD = vectors_BD.float().cpu()[places_S]
    rows_S = torch.arange(first_row, first_row + len(texts))
    require_finite(vectors_SD, role, rows_S)
    return vectors_SD
