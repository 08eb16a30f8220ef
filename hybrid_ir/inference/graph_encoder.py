"""An encoder that runs its graph: the same texts and tokens, and no forward pass of torch.

Shapes: B texts of a batch, T tokens of the longest text, D width of the vectors.
"""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from hybrid_ir.inference.graph_cache import find_graph, find_int8_graph
from hybrid_ir.inference.graph_files import (
    EXPORTED_OUTPUT,
    GRAPH_FILE,
    GRAPH_OUTPUT,
    INT8_FILE,
)
from hybrid_ir.inference.sessions import (
    Encode,
    list_names,
    open_with_onnx_runtime,
    open_with_openvino,
    require_openvino,
    require_packages_of_graphs,
)
from hybrid_ir.model.adapters import BiEncoderAdapter
from hybrid_ir.model.encoder import BiEncoder
from hybrid_ir.model.onnx_graph import ONNX_INPUTS
from hybrid_ir.types import Role, Text

TORCH = "torch"
ONNX = "onnx"
ONNX_INT8 = "onnx_int8"
OPENVINO = "openvino"
BACKENDS = (TORCH, ONNX, ONNX_INT8, OPENVINO)
CPU_ONLY = (ONNX_INT8, OPENVINO)
# Batches of other sizes and lengths than those that an exporter or a compiler sees.
PROBES = (
    ["one"],
    ["a somewhat longer query?", "two"],
    ["three of different lengths", "三", "and a third"],
    ["Wo liegt Kabul, und wie viele Menschen leben dort?", "Πού είναι η Αθήνα;", "काबुल कहाँ है?"],
)
# For encoders that know the second text of a pair by its type, which a graph must know as well.
PAIR_PROBE = [("Kabul", "It is the capital of Afghanistan."), ("喀布尔", "阿富汗的首都。")]
LEAST_COSINE = 0.9999  # of the vectors of a graph in float32 with those of torch
LEAST_INT8_COSINE = 0.98  # of the vectors in int8, on average
DIGITS = 6
# Encoded at once on a CPU. Texts of a graph are padded, and less so in small slices.
TOKENS_PER_SLICE = 256


class GraphEncoder(BiEncoderAdapter):
    """A BiEncoder whose vectors come from its graph; see `build_graph_encoder`.

    Args:
        adapter: the encoder by torch.
        encode: padded token ids to vectors.
        backend: one of BACKENDS.
        about: what cards say of the graph.
    """

    def __init__(
        self, adapter: BiEncoderAdapter, encode: Encode, backend: str, about: dict[str, Any]
    ):
        super().__init__(
            replace_encode(adapter, encode),
            adapter.name,
            adapter.precision,
            str(adapter.device),
            adapter.prompt_origins,
        )
        if self.device.type == "cpu" and self.encoder.tokens_per_slice is None:
            self.encoder.tokens_per_slice = TOKENS_PER_SLICE
        self.backend = backend
        self.about = about

    def reading(self) -> dict[str, Any]:
        """Returns everything that decides which vector a text gets, besides the weights."""
        return {**super().reading(), "backend": {"name": self.backend, **self.about}}


def replace_encode(adapter: BiEncoderAdapter, encode: Encode) -> BiEncoder:
    """Copies the BiEncoder with the same weights and another way from padded ids to vectors."""
    changed = copy.copy(adapter.encoder)
    changed.packing = None  # rows of tokens would not go through it
    changed.padding_reason = "a graph takes padded texts"
    changed._encode = encode
    return changed


def build_graph_encoder(
    adapter: BiEncoderAdapter, backend: str, cache: Path, exported: Path | None = None
) -> GraphEncoder:
    """Builds the encoder that runs the graph of another one, which is written if it is not cached.

    Args:
        adapter: the encoder by torch, in float32; it stays as it is.
        backend: `onnx`, `onnx_int8` or `openvino`.
        cache: folder of caches.
        exported: folder of an export of this very encoder; its graph is taken if it has one.

    Raises:
        ValueError: a package is missing, the model has something that no graph can hold, or the
            vectors of the graph are not those of torch.
    """
    _require_possible(adapter, backend)
    try:
        about: dict[str, Any] = {}
        output = GRAPH_OUTPUT
        graph = _find_exported_graph(exported, backend)
        if graph is not None:
            about = {"graph": str(graph)}
            output = EXPORTED_OUTPUT
        elif backend == ONNX_INT8:
            graph, about = find_int8_graph(adapter.encoder, cache)
        else:
            graph = find_graph(adapter.encoder, cache)
        if backend == OPENVINO:
            encode = open_with_openvino(graph, output)
        else:
            encode = open_with_onnx_runtime(graph, adapter.device, output)
    except ValueError as error:
        raise ValueError(f"{backend}: {error}") from error
    least, mean = measure_cosines(adapter, GraphEncoder(adapter, encode, backend, about))
    problem = None
    if backend == ONNX_INT8 and not mean >= LEAST_INT8_COSINE:
        problem = f"mean cosine {mean:.4f}, must be {LEAST_INT8_COSINE}"
    if backend != ONNX_INT8 and not least > LEAST_COSINE:
        problem = f"cosine {least:.6f}, must be above {LEAST_COSINE}"
    if problem is not None:
        raise ValueError(
            f"{backend}: its vectors are not those of torch in float32: {problem}. Use "
            "backend=torch for this model on this machine"
        )
    about = about | {"mean_cosine_with_torch": round(mean, DIGITS)}
    return GraphEncoder(adapter, encode, backend, about)


def _find_exported_graph(folder: Path | None, backend: str) -> Path | None:
    """Returns the graph of an export for a backend; None if there is none of the known form."""
    if folder is None:
        return None
    graph = folder / (INT8_FILE if backend == ONNX_INT8 else GRAPH_FILE)
    if not graph.is_file():
        return None
    inputs, outputs = list_names(graph)
    # Graphs that others have written may have any names.
    is_known = set(inputs) == set(ONNX_INPUTS) and EXPORTED_OUTPUT in outputs
    return graph if is_known else None


def measure_cosines(expected: BiEncoderAdapter, other: BiEncoderAdapter) -> tuple[float, float]:
    """Returns the smallest and the mean cosine of the vectors of both encoders for some texts.

    A vector of another length counts as one of another direction: the cosine is multiplied by the
    shorter length over the longer one. The texts are counted as read by `other`.
    """
    cosines = []
    roles: tuple[Role, ...] = ("query", "passage")
    probes: list[Sequence[Text]] = list(PROBES)
    if expected.encoder.pairs_have_types:
        probes.append(PAIR_PROBE)
    for role in roles:
        for texts in probes:
            items = other.read(texts, role)
            expected_BD = expected.forward(expected.tensors(items, role))
            other_BD = other.forward(other.tensors(items, role))
            lengths_2B = torch.stack([expected_BD.norm(dim=1), other_BD.norm(dim=1)])
            share_B = lengths_2B.amin(0) / lengths_2B.amax(0)
            cosines.append(torch.cosine_similarity(expected_BD, other_BD) * share_B)
    # What is no number is as far away as can be.
    cosines_B = torch.cat(cosines).nan_to_num(-1.0)
    return cosines_B.min().item(), cosines_B.mean().item()


def _require_possible(adapter: BiEncoderAdapter, backend: str) -> None:
    """Raises ValueError for a backend that is not installed, or not for such an encoder."""
    if adapter.precision != "fp32":
        raise ValueError(
            f"{backend}: precision={adapter.precision} is for backend=torch; a graph computes in "
            "float32, or in int8 with backend=onnx_int8"
        )
    if backend in CPU_ONLY and adapter.device.type != "cpu":
        raise ValueError(f"{backend}: runs on the CPU alone, and not on {adapter.device}")
    try:
        require_packages_of_graphs()
        if backend == OPENVINO:
            require_openvino()
    except ValueError as error:
        raise ValueError(f"{backend}: {error}") from error
