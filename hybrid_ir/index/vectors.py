"""The vectors of an index: as floats in shards, or as codes of 8 bits or 1 bit a dimension.

Shapes: N passages, B passages of a block, R rows that are asked for, D width, C bytes of a code.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save

from hybrid_ir.files.atomic import write_atomically

QUANTISATIONS = ("none", "int8", "binary")
STEPS = 255  # between the least and the largest value of a dimension in 8 bits
QUANTISER_FILE = "quantiser.safetensors"


class VectorSource(Protocol):
    """Vectors of all passages that are read in blocks, or row by row, as float32."""

    width: int

    def __len__(self) -> int:
        """Returns the number of passages."""

    def iterate_blocks(self) -> Iterator[tuple[int, torch.Tensor]]:
        """Yields the first row and the vectors (B, D) of one block after another."""

    def take(self, rows_R: np.ndarray) -> torch.Tensor:
        """Returns the vectors of some rows (R, D)."""


def name_shard(kind: str, number: int) -> str:
    """Returns the name of the file of a shard of `vectors`, `codes` or `queries`."""
    return f"{kind}-{number:05}.safetensors"


def write_tensors(
    path: Path, tensors: dict[str, torch.Tensor], notes: dict[str, str] | None = None
) -> None:
    """Writes tensors to a file that is there completely, and on the disk, or not at all.

    Args:
        path: of the file.
        tensors: by name.
        notes: that are kept beside them, see `read_notes`.
    """
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    # Not by `save_file`, whose error of a full disk is no OSError.
    content = save(contiguous, notes)
    with write_atomically(path, durable=True) as temporary:
        temporary.write_bytes(content)


def read_notes(path: Path) -> dict[str, str]:
    """Returns the notes that were written beside tensors."""
    with safe_open(path, "pt") as file:
        return file.metadata() or {}


def map_tensor(path: Path, name: str) -> torch.Tensor:
    """Returns a tensor of a safetensors file, memory-mapped."""
    with safe_open(path, "pt") as file:
        return file.get_tensor(name)


class Shards:
    """Rows of a matrix in several files of equally many rows but for the last.

    Args:
        paths: of the files.
        name: of the matrix in each file.
    """

    def __init__(self, paths: Sequence[Path], name: str):
        self.parts = [map_tensor(path, name) for path in paths]
        self.rows_per_part = len(self.parts[0])
        self.rows = sum(len(part) for part in self.parts)

    def __len__(self) -> int:
        return self.rows

    def iterate_blocks(self) -> Iterator[tuple[int, torch.Tensor]]:
        """Yields the first row and the rows of one file after another, as they are stored."""
        for number, part in enumerate(self.parts):
            yield number * self.rows_per_part, part

    def take(self, rows_R: np.ndarray) -> torch.Tensor:
        """Returns some rows as they are stored."""
        part_R = rows_R // self.rows_per_part
        place_R = torch.from_numpy(rows_R % self.rows_per_part)
        taken = self.parts[0].new_empty((len(rows_R), *self.parts[0].shape[1:]))
        for number in np.unique(part_R):
            is_here_R = torch.from_numpy(part_R == number)
            taken[is_here_R] = self.parts[number][place_R[is_here_R]]
        return taken


class FloatVectors:
    """The vectors of an index as the encoder gave them, memory-mapped.

    Args:
        paths: of the shards, in the order of their rows.
    """

    def __init__(self, paths: Sequence[Path]):
        self.shards = Shards(paths, "vectors")
        self.width = self.shards.parts[0].shape[1]

    def __len__(self) -> int:
        return len(self.shards)

    def iterate_blocks(self) -> Iterator[tuple[int, torch.Tensor]]:
        """Yields the first row and the vectors (B, D) of one shard after another."""
        for start, part in self.shards.iterate_blocks():
            yield start, part.float()

    def take(self, rows_R: np.ndarray) -> torch.Tensor:
        """Returns the vectors of some rows (R, D)."""
        return self.shards.take(rows_R).float()


@dataclass(frozen=True)
class Int8Quantiser:
    """Codes of 8 bits: each dimension is cut into 255 equal steps from its least to its largest.

    A decoded value is at most half a step from the encoded one.

    Args:
        low_D: the least value of each dimension in the index.
        step_D: the size of a step of each dimension.
    """

    low_D: torch.Tensor
    step_D: torch.Tensor

    @classmethod
    def fit(cls, vectors: VectorSource) -> "Int8Quantiser":
        """Takes the range of each dimension from all vectors of an index."""
        low_D = torch.full((vectors.width,), torch.inf)
        high_D = torch.full((vectors.width,), -torch.inf)
        for _, block_BD in vectors.iterate_blocks():
            low_D = torch.minimum(low_D, block_BD.amin(0))
            high_D = torch.maximum(high_D, block_BD.amax(0))
        return cls(low_D, (high_D - low_D) / STEPS)

    def encode(self, vectors_BD: torch.Tensor) -> torch.Tensor:
        """Returns the codes of vectors (B, D), uint8."""
        step_D = torch.where(self.step_D > 0, self.step_D, 1.0)
        steps_BD = ((vectors_BD - self.low_D) / step_D).round()
        return steps_BD.clamp(0, STEPS).to(torch.uint8)

    def decode(self, codes_BC: torch.Tensor) -> torch.Tensor:
        """Returns the vectors that codes stand for (B, D), float32."""
        return self.low_D + codes_BC.float() * self.step_D

    def get_tensors(self) -> dict[str, torch.Tensor]:
        """Returns what `load_quantiser` needs."""
        return {"low": self.low_D, "step": self.step_D}


@dataclass(frozen=True)
class BinaryQuantiser:
    """Codes of 1 bit: whether a value is above the mean of its dimension.

    A bit stands for the mean of all values on its side, which is the best that it can stand for.

    Args:
        middle_D: the mean of each dimension in the index.
        low_D: the mean of the values that are not above it.
        high_D: the mean of the values above it.
    """

    middle_D: torch.Tensor
    low_D: torch.Tensor
    high_D: torch.Tensor

    @classmethod
    def fit(cls, vectors: VectorSource) -> "BinaryQuantiser":
        """Takes the means from all vectors of an index."""
        sum_D = torch.zeros(vectors.width, dtype=torch.float64)
        for _, block_BD in vectors.iterate_blocks():
            sum_D += block_BD.double().sum(0)
        middle_D = (sum_D / len(vectors)).float()
        sum_above_D = torch.zeros_like(sum_D)
        count_above_D = torch.zeros_like(sum_D)
        for _, block_BD in vectors.iterate_blocks():
            is_above_BD = block_BD > middle_D
            sum_above_D += block_BD.double().where(is_above_BD, 0.0).sum(0)
            count_above_D += is_above_BD.sum(0)
        count_below_D = len(vectors) - count_above_D
        high_D = sum_above_D / count_above_D.clamp(min=1)
        low_D = (sum_D - sum_above_D) / count_below_D.clamp(min=1)
        return cls(middle_D, low_D.float(), high_D.float())

    def encode(self, vectors_BD: torch.Tensor) -> torch.Tensor:
        """Returns the codes of vectors (B, C), uint8, with 8 dimensions in a byte."""
        bits_BD = (vectors_BD > self.middle_D).numpy()
        return torch.from_numpy(np.packbits(bits_BD, axis=1))

    def decode(self, codes_BC: torch.Tensor) -> torch.Tensor:
        """Returns the vectors that codes stand for (B, D), float32."""
        bits_BD = np.unpackbits(codes_BC.numpy(), axis=1, count=len(self.middle_D))
        return torch.where(torch.from_numpy(bits_BD).bool(), self.high_D, self.low_D)

    def get_tensors(self) -> dict[str, torch.Tensor]:
        """Returns what `load_quantiser` needs."""
        return {"middle": self.middle_D, "low": self.low_D, "high": self.high_D}


Quantiser = Int8Quantiser | BinaryQuantiser


def fit_quantiser(kind: str, vectors: VectorSource) -> Quantiser:
    """Returns the quantiser of a kind, `int8` or `binary`, for the vectors of an index."""
    if kind == "int8":
        return Int8Quantiser.fit(vectors)
    return BinaryQuantiser.fit(vectors)


def load_quantiser(kind: str, path: Path) -> Quantiser:
    """Loads a quantiser from its file."""
    tensors: dict[str, Any] = load_file(path)
    if kind == "int8":
        return Int8Quantiser(tensors["low"], tensors["step"])
    return BinaryQuantiser(tensors["middle"], tensors["low"], tensors["high"])


class QuantisedVectors:
    """The vectors of an index as codes, held in memory, and decoded block by block.

    Args:
        paths: of the shards of codes, in the order of their rows.
        quantiser: that made the codes.
        width: of the vectors.
    """

    def __init__(self, paths: Sequence[Path], quantiser: Quantiser, width: int):
        self.shards = Shards(paths, "codes")
        self.quantiser = quantiser
        self.width = width

    def __len__(self) -> int:
        return len(self.shards)

    def iterate_blocks(self) -> Iterator[tuple[int, torch.Tensor]]:
        """Yields the first row and the decoded vectors (B, D) of one shard after another."""
        for start, part in self.shards.iterate_blocks():
            yield start, self.quantiser.decode(part)

    def take(self, rows_R: np.ndarray) -> torch.Tensor:
        """Returns the decoded vectors of some rows (R, D)."""
        return self.quantiser.decode(self.shards.take(rows_R))
