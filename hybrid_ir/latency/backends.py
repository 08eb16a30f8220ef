"""The ways to run one checkpoint: torch in float32 or bfloat16, compiled, or by ONNX Runtime."""

# B texts, T tokens of the longest, D width

import copy
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hybrid_ir.latency.measure import Contestant
from hybrid_ir.latency.settings import Unavailable
from hybrid_ir.model.adapters import BiEncoderAdapter, SentenceTransformerAdapter
from hybrid_ir.model.encoder import BiEncoder
from hybrid_ir.model.onnx_graph import ONNX_INPUTS, write_onnx_graph
from hybrid_ir.types import TextEncoder

# batches of other sizes and lengths than those that a compiler or an exporter sees
PROBES = (
    ["one"],
    ["a somewhat longer query?", "two"],
    ["three of different lengths", "三", "and a third"],
)
LEAST_COSINE = 0.9999  # of the vectors of a backend with those of torch in float32
COMPILATIONS = 128  # of one function

Encode = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # ids (B, T), mask -> vectors (B, D)


def build_contestant(checkpoint: str, encoder: TextEncoder, backend: str) -> Contestant:
    """Builds a checkpoint under a backend; all backends of a checkpoint share its weights.

    Args:
        checkpoint: its label in all tables.
        encoder: the loaded checkpoint, which stays as it is.
        backend: of BACKENDS.

    Raises:
        Unavailable: the backend is not installed, not for this kind of model, or fails here.
    """
    builders = {
        "torch_fp32": lambda: _copy_with_precision(encoder, "fp32"),
        "torch_bf16": lambda: _copy_with_precision(encoder, "bf16"),
        "torch_compile": lambda: _compile(encoder),
        "onnx": lambda: _export_to_onnx(encoder),
    }
    prepared = builders[backend]()
    return Contestant(
        checkpoint,
        backend,
        tokenise=_build_tokenise(prepared),
        forward=prepared.forward,
        wait=_build_wait(prepared.device),
    )


def get_module(encoder: TextEncoder) -> nn.Module:
    """Returns the module that holds the weights of a text encoder."""
    if isinstance(encoder, BiEncoderAdapter):
        return encoder.encoder
    return encoder.model


def replace_encode(encoder: BiEncoderAdapter, encode: Encode) -> BiEncoder:
    """Copies the BiEncoder with the same weights and another way from padded ids to vectors."""
    changed = copy.copy(encoder.encoder)
    changed.packing = None  # rows of tokens would not go through it
    changed._encode = encode
    return changed


def require_same_vectors(expected: TextEncoder, changed: TextEncoder) -> None:
    """Raises Unavailable unless both encoders give some texts the same vectors.

    The cosine must be above 0.9999 with the vectors of `expected` in float32.
    """
    reference = _copy_with_precision(expected, "fp32")
    tokenise = _build_tokenise(expected)
    for texts in PROBES:
        inputs = tokenise(list(texts))
        expected_BD = reference.forward(inputs)
        changed_BD = changed.forward(inputs)
        cosine = torch.cosine_similarity(expected_BD, changed_BD).min().item()
        if not cosine > LEAST_COSINE:  # also if it is not a number
            raise Unavailable(
                f"its vectors are not those of torch_fp32: cosine {cosine:.6f}, must be above "
                f"{LEAST_COSINE}"
            )


def _build_tokenise(encoder: TextEncoder) -> Callable[[list[str]], Any]:
    """Returns the function from queries to one input of the model, on its device."""
    if isinstance(encoder, SentenceTransformerAdapter):
        # its `read` would tokenise once more, to count the texts that are cut
        return lambda texts: encoder.tensors(texts, "query")
    return lambda texts: encoder.tensors(encoder.read(texts, "query"), "query")


def _build_wait(device: torch.device) -> Callable[[], None]:
    """Returns the function that waits until the device has finished."""
    if device.type == "cuda":
        return lambda: torch.cuda.synchronize(device)
    return lambda: None


def _copy_with_precision(encoder: TextEncoder, precision: str) -> TextEncoder:
    changed = copy.copy(encoder)
    changed.precision = precision
    return changed


def _compile(encoder: TextEncoder) -> TextEncoder:
    """Compiles an encoder in float32 for any number of texts and tokens."""
    from torch._dynamo import config as dynamo  # slow to import

    # beyond its limit dynamo silently runs uncompiled code, and checkpoints of one class count
    # together
    dynamo.cache_size_limit = max(dynamo.cache_size_limit, COMPILATIONS)
    changed = _copy_with_precision(encoder, "fp32")
    if isinstance(encoder, BiEncoderAdapter):
        compiled = torch.compile(encoder.encoder._encode, dynamic=True)
        changed.encoder = replace_encode(encoder, compiled)
    else:
        changed.model = torch.compile(encoder.model, dynamic=True)
    try:
        require_same_vectors(encoder, changed)
    except (RuntimeError, OSError) as error:
        # dynamo and inductor raise a RuntimeError; a machine without a compiler an OSError
        lines = str(error).strip().splitlines()
        reason = lines[0] if lines else type(error).__name__
        raise Unavailable(f"torch_compile: {reason}") from error
    return changed


def _export_to_onnx(encoder: TextEncoder) -> TextEncoder:
    """Exports an encoder, from the backbone to the vector, for ONNX Runtime in float32."""
    if not isinstance(encoder, BiEncoderAdapter):
        raise Unavailable(
            "onnx: not for a model read by sentence-transformers; pooling=mean reads it as a "
            "Hugging Face encoder"
        )
    changed = _copy_with_precision(encoder, "fp32")
    changed.encoder = replace_encode(encoder, _start_onnx(encoder.encoder, encoder.device))
    require_same_vectors(encoder, changed)
    return changed


def _start_onnx(encoder: BiEncoder, device: torch.device) -> Encode:
    """Starts an ONNX Runtime session on the same kind of device, with as many threads as torch.

    Raises:
        Unavailable: a package is not installed, or the model cannot be exported.
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  what torch.onnx writes the graph with
    except ImportError as error:
        raise Unavailable(
            f"onnx: {error.name} is not installed: pip install onnxruntime onnxscript"
        ) from error
    provider = "CUDAExecutionProvider" if device.type == "cuda" else "CPUExecutionProvider"
    if provider not in onnxruntime.get_available_providers():
        raise Unavailable(
            f"onnx: this onnxruntime has no {provider}: pip install onnxruntime-gpu, or device=cpu"
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors
    with tempfile.TemporaryDirectory() as folder:
        graph = _write_onnx_graph(encoder, Path(folder), device)
        session = onnxruntime.InferenceSession(graph, options, providers=[provider])

    def encode(ids_BT: torch.Tensor, mask_BT: torch.Tensor) -> torch.Tensor:
        arrays = (ids_BT.cpu().numpy(), mask_BT.cpu().numpy())
        outputs = session.run(None, dict(zip(ONNX_INPUTS, arrays, strict=True)))
        return torch.from_numpy(outputs[0]).to(device)

    return encode


class _PaddedEncoder(nn.Module):
    """The part of a BiEncoder that a graph can hold: padded token ids and mask to vectors."""

    def __init__(self, encoder: BiEncoder):
        super().__init__()
        self.encoder = encoder

    def forward(self, ids_BT: torch.Tensor, mask_BT: torch.Tensor) -> torch.Tensor:
        """Returns the vectors (B, D) of token ids (B, T) of which `mask_BT` says which are real."""
        return self.encoder._encode(ids_BT, mask_BT)


def _write_onnx_graph(encoder: BiEncoder, folder: Path, device: torch.device) -> Path:
    """Writes the graph for any number of texts and tokens; returns its path."""
    path = folder / "encoder.onnx"
    module = _PaddedEncoder(encoder).eval()
    try:
        write_onnx_graph(module, encoder.tokenizer.sep_token_id, ["vectors"], path, device)
    except ValueError as error:
        raise Unavailable(f"onnx: {error}") from error
    return path
