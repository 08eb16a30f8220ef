"""Embeddings on disk: one safetensors file per chunk of a pass, to be counted again without the model."""

from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from hybrid_ir.evaluation.encoding import EncodedRows
from hybrid_ir.types import STAGES


class VectorShards:
    """The vectors of one pass over a benchmark; iterating gives them back in the order in which they were written."""

    def __init__(self, folder: Path, device: str = "cpu"):
        self.folder, self.device = folder, device
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("*.safetensors"):  # of an earlier pass: a folder holds one
            old.unlink()
        self.written = dict.fromkeys(STAGES, 0)

    def write(self, part: EncodedRows) -> None:
        path = self.folder / f"{part.stage}-{self.written[part.stage]:05}.safetensors"
        self.written[part.stage] += 1
        beside = path.with_suffix(".writing")
        save_file(
            {"rows": torch.from_numpy(part.rows_N), "vectors": part.vectors_ND.cpu().contiguous()},
            beside,
        )
        beside.rename(path)

    def __iter__(self) -> Iterator[EncodedRows]:
        return read_shards(self.folder, self.device)


def read_shards(folder: Path, device: str = "cpu") -> Iterator[EncodedRows]:
    """The vectors of a pass, in the order in which they were written, on a device."""
    for stage in STAGES:
        for path in sorted(folder.glob(f"{stage}-*.safetensors")):
            part = load_file(path, device=device)
            yield EncodedRows(stage, part["rows"].cpu().numpy(), part["vectors"])
