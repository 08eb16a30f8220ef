"""Writes an encoder as a graph of ONNX with one output, its vectors; files of graphs.

Shapes: B texts, T tokens of the longest text, D width of the vectors.
"""

import copy
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hybrid_ir.model.encoder import BiEncoder
from hybrid_ir.model.onnx_graph import write_onnx_graph

# Beside a graph whose weights are too large for one file; the name that clients look for ends so.
WEIGHTS_ENDING = "_data"
LARGEST_FILE = 1_900_000_000  # bytes; a graph in one file may have 2 GB
GRAPH_OUTPUT = "vectors"
# Where an export has its graphs, and the name of the vectors in them.
GRAPH_FILE = Path("onnx") / "model.onnx"
INT8_FILE = Path("onnx") / "model_int8.onnx"
EXPORTED_OUTPUT = "sentence_embedding"


class _PaddedEncoder(nn.Module):
    """The part of a BiEncoder that a graph can hold: padded token ids and mask to vectors."""

    def __init__(self, encoder: BiEncoder):
        super().__init__()
        self.encoder = encoder

    def forward(self, ids_BT: torch.Tensor, mask_BT: torch.Tensor) -> torch.Tensor:
        """Returns the vectors (B, D) of token ids (B, T) of which `mask_BT` says which are real."""
        return self.encoder._encode(ids_BT, mask_BT)


def write_encoder_graph(encoder: BiEncoder, path: Path, device: torch.device) -> None:
    """Writes the graph of an encoder in float32, for any number of texts and tokens.

    Args:
        encoder: on `device`.
        path: of the graph.
        device: on which it is exported.

    Raises:
        ValueError: the model has something that no graph can hold.
    """
    token = encoder.tokenizer.sep_token_id
    if token is None:
        token = encoder.tokenizer.eos_token_id or 0
    module = _PaddedEncoder(copy.copy(encoder)).eval()
    write_onnx_graph(module, token, [GRAPH_OUTPUT], path, device)


def list_graph_files(path: Path) -> list[Path]:
    """Returns the files of a graph: itself, and that of its weights if there is one."""
    files = [path, path.with_name(path.name + WEIGHTS_ENDING), path.with_name(f"{path.name}.data")]
    return [file for file in files if file.is_file()]


def measure_graph(path: Path) -> int:
    """Returns the bytes of all files of a graph."""
    return sum(file.stat().st_size for file in list_graph_files(path))


def save_graph(graph: Any, path: Path, size: int) -> None:
    """Saves a graph in one file, or with its weights beside it if they are too large for one.

    Args:
        graph: an `onnx.ModelProto`.
        path: of the file.
        size: of its weights, in bytes.
    """
    import onnx

    if size < LARGEST_FILE:
        onnx.save_model(graph, path)
        return
    location = path.name + WEIGHTS_ENDING
    onnx.save_model(graph, path, save_as_external_data=True, location=location)
