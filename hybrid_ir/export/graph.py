"""Writes an encoder as a graph of ONNX, from token ids to the vector, and the same in int8.

Shapes: B texts, T tokens of the longest text, H width of the transformer, D width of the vectors.
"""

import copy
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from hybrid_ir.export.parts import EncoderParts
from hybrid_ir.inference.graph_files import EXPORTED_OUTPUT, LARGEST_FILE, measure_graph, save_graph
from hybrid_ir.model.adapters import BiEncoderAdapter
from hybrid_ir.model.onnx_graph import ONNX_INPUTS, write_onnx_graph
from hybrid_ir.types import TextEncoder

# The vector comes first, for clients that take the first output; the tokens are for those that
# pool themselves, such as sentence-transformers with backend="onnx".
GRAPH_OUTPUTS = (EXPORTED_OUTPUT, "last_hidden_state")
BYTES_PER_WEIGHT = 4
ONNX_EXTRA = "pip install 'hybrid-ir[onnx]', or leave this format out"


def require_onnx() -> None:
    """Raises ValueError, which names the extra, where a package for ONNX is not installed."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ValueError(f"formats=[onnx] needs {error.name}: {ONNX_EXTRA}") from error


def write_graph(encoder: TextEncoder, parts: EncoderParts, path: Path) -> None:
    """Writes the graph of an encoder in float32, with two outputs: the vectors, and the tokens.

    Args:
        encoder: the encoder itself; a copy of it on the CPU is exported.
        parts: of the encoder.
        path: of the graph; its folder is made.

    Raises:
        ValueError: the model has something that no graph can hold.
    """
    import onnx

    path.parent.mkdir(exist_ok=True)
    module = _build_module(encoder, parts)
    token = parts.tokenizer.eos_token_id
    if token is None:
        token = parts.tokenizer.sep_token_id or 0
    write_onnx_graph(module, token, GRAPH_OUTPUTS, path, torch.device("cpu"))
    # The exporter notes which line of which file made a node: places on this machine.
    graph = onnx.load(path)
    _require_any_shape(graph)
    for node in graph.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for function in graph.functions:
        for node in function.node:
            del node.metadata_props[:]
    for left in path.parent.iterdir():
        left.unlink()
    weights = sum(parameter.numel() for parameter in module.parameters())
    save_graph(graph, path, weights * BYTES_PER_WEIGHT)


def quantise_graph(
    graph: Path,
    path: Path,
    method: str,
    with_embeddings: bool,
    calibration: Callable[[], Sequence[dict[str, Any]]],
) -> None:
    """Writes a graph with int8 weights, with a scale for each channel.

    Args:
        graph: in float32.
        path: of the new graph.
        method: `dynamic`, where the scale of activations is that of each batch, or `static`, where
            it is calibrated.
        with_embeddings: whether the table of token vectors becomes int8 as well.
        calibration: gives the inputs on which `static` is calibrated.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic, quantize_static
    from onnxruntime.quantization.calibrate import CalibrationMethod

    kinds = ["MatMul", "Gather"] if with_embeddings else ["MatMul"]
    is_large = measure_graph(graph) > LARGEST_FILE
    with _quiet_quantisation():
        if method == "dynamic":
            quantize_dynamic(
                graph,
                path,
                op_types_to_quantize=kinds,
                per_channel=True,
                weight_type=QuantType.QInt8,
                use_external_data_format=is_large,
            )
        else:
            quantize_static(
                str(graph),
                str(path),
                _CalibrationInputs(calibration()),
                op_types_to_quantize=kinds,
                per_channel=True,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.MinMax,
                # As `dynamic` does: products of two activations, in attention, stay float32.
                extra_options={"MatMulConstBOnly": True},
                use_external_data_format=is_large,
            )


@contextmanager
def _quiet_quantisation() -> Iterator[None]:
    """Hides what ONNX Runtime recommends before a quantisation, which matters for images only."""
    logging.getLogger().addFilter(_is_no_recommendation)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.getLogger().removeFilter(_is_no_recommendation)


def _is_no_recommendation(record: logging.LogRecord) -> bool:
    return "pre-processing before quantization" not in record.getMessage()


def _require_any_shape(graph: Any) -> None:
    """Raises ValueError for a graph that the exporter has fixed to the shape of its example."""
    for value in graph.graph.input:
        for dimension in value.type.tensor_type.shape.dim:
            if not dimension.dim_param:
                raise ValueError(
                    f"formats=[onnx]: the exporter of torch fixes the input {value.name} to "
                    f"{dimension.dim_value} rows or tokens, since the model computes with its "
                    "shape: leave this format out"
                )


class _CalibrationInputs:
    """Gives ONNX Runtime one input after the other."""

    def __init__(self, inputs: Sequence[dict[str, Any]]):
        self.inputs = iter(inputs)

    def get_next(self) -> dict[str, Any] | None:
        """Returns the next input, None after the last one."""
        for values in self.inputs:
            return values
        return None


def _build_module(encoder: TextEncoder, parts: EncoderParts) -> nn.Module:
    """Returns a copy of an encoder on the CPU, from padded token ids to vectors and tokens."""
    if isinstance(encoder, BiEncoderAdapter):
        bi_encoder = copy.copy(encoder.encoder)
        if encoder.device.type != "cpu":
            bi_encoder = copy.deepcopy(bi_encoder).cpu()
        return _BiEncoderGraph(bi_encoder).eval()
    model = parts.model
    if model.device.type != "cpu":
        model = copy.deepcopy(model).cpu()
    return _SentenceTransformerGraph(model, parts.normalizes).eval()


class _BiEncoderGraph(nn.Module):
    """Our encoder, with the hidden vectors of the tokens as a second output."""

    def __init__(self, encoder: nn.Module):
        super().__init__()
        self.encoder = encoder

    def forward(
        self, ids_BT: torch.Tensor, mask_BT: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns the vectors (B, D) of padded token ids, and those of the tokens (B, T, H)."""
        outputs = []

        def keep(module: nn.Module, inputs: Any, output: Any) -> None:
            outputs.append(output.last_hidden_state)

        hook = self.encoder.backbone.register_forward_hook(keep)
        try:
            vectors_BD = self.encoder._encode(ids_BT, mask_BT)
        finally:
            hook.remove()
        return vectors_BD, outputs[0]


class _SentenceTransformerGraph(nn.Module):
    """A sentence-transformers model, from token ids on."""

    def __init__(self, model: nn.Module, normalizes: bool):
        super().__init__()
        self.model = model
        self.normalizes = normalizes

    def forward(
        self, ids_BT: torch.Tensor, mask_BT: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns the vectors (B, D) of padded token ids, and those of the tokens (B, T, H)."""
        features = dict(zip(ONNX_INPUTS, (ids_BT, mask_BT), strict=True))
        for module in self.model:
            features = module(features)
        vectors_BD = features["sentence_embedding"]
        if self.normalizes:
            vectors_BD = F.normalize(vectors_BD, dim=-1)
        return vectors_BD, features["token_embeddings"]
