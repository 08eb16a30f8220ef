"""The vectors of a pass on disk, so that they are counted again with another correction."""

from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from hybrid_ir.evaluation.encoding import EncodedRows
from hybrid_ir.files.atomic import write_atomically
from hybrid_ir.types import STAGES


class VectorShards:
    """The vectors of one pass on disk, one safetensors file per chunk, to count them again.

    Iterating reads them in the order in which they were written. A folder holds one pass: what an
    earlier one left there is deleted.

    Args:
        folder: where the files are.
        device: on which the vectors are wanted back.
    """

    def __init__(self, folder: Path, device: str = "cpu"):
        self.folder = folder
        self.device = device
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.glob("*.safetensors"):
            path.unlink()
        self._shards_written = dict.fromkeys(STAGES, 0)

    def write(self, encoded: EncodedRows) -> None:
        """Writes the vectors of a chunk as the next file of its stage.

        Raises:
            OSError: the file cannot be written.
        """
        number = self._shards_written[encoded.stage]
        self._shards_written[encoded.stage] += 1
        tensors = {
            "rows": torch.from_numpy(encoded.rows_N),
            "vectors": encoded.vectors_ND.cpu().contiguous(),
        }
        with write_atomically(self.folder / f"{encoded.stage}-{number:05}.safetensors") as path:
            try:
                save_file(tensors, path)
            except SafetensorError as error:  # what the library makes of a full disk
                raise OSError(
                    f"{path} could not be written, is the disk full? ({error})"
                ) from error

    def __iter__(self) -> Iterator[EncodedRows]:
        return read_shards(self.folder, self.device)


def read_shards(folder: Path, device: str = "cpu") -> Iterator[EncodedRows]:
    """Reads the vectors of a pass in the order in which they were written.

    Args:
        folder: that VectorShards wrote.
        device: where the vectors go; the rows stay on the CPU.
    """
    for stage in STAGES:
        for path in sorted(folder.glob(f"{stage}-*.safetensors")):
            tensors = load_file(path, device=device)
            yield EncodedRows(stage, tensors["rows"].cpu().numpy(), tensors["vectors"])
