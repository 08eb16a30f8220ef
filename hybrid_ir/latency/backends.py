"""The ways to run one checkpoint: torch in float32 or bfloat16, compiled, or by ONNX Runtime."""

# B texts, T tokens of the longest, D width

import copy
from collections.abc import Callable
from typing import Any

import torch

from hybrid_ir.latency.measure import Contestant
from hybrid_ir.latency.settings import Unavailable
from hybrid_ir.model.adapters import BiEncoderAdapter, SentenceTransformerAdapter
from hybrid_ir.types import TextEncoder

PROBES = (
    ["one"],
    ["a somewhat longer query?", "two"],
    ["three of different lengths", "三", "and a third"],
)
COMPILATIONS = 128  # of one function


def contestant(checkpoint: str, encoder: TextEncoder, backend: str) -> Contestant:
    """A checkpoint under a backend of BACKENDS; all backends of a checkpoint share its weights.

    Raises:
        Unavailable: not installed, not for this kind of model, or it fails on this machine.
    """
    encoder = {
        "torch_fp32": torch_fp32,
        "torch_bf16": torch_bf16,
        "torch_compile": torch_compile,
        "onnx": onnx,
    }[backend](encoder)
    return Contestant(
        checkpoint, backend, inputs_of(encoder), encoder.forward, waiting(encoder.device)
    )


def inputs_of(encoder: TextEncoder) -> Callable[[list[str]], Any]:
    """Texts to one input of the model."""
    if isinstance(
        encoder, SentenceTransformerAdapter
    ):  # its read counts what is cut by tokenising once more
        return lambda texts: encoder.tensors(texts, "query")
    return lambda texts: encoder.tensors(encoder.read(texts, "query"), "query")


def waiting(device: torch.device) -> Callable[[], None]:
    return (lambda: torch.cuda.synchronize(device)) if device.type == "cuda" else lambda: None


def torch_fp32(encoder: TextEncoder) -> TextEncoder:
    return in_precision(encoder, "fp32")


def torch_bf16(encoder: TextEncoder) -> TextEncoder:
    return in_precision(encoder, "bf16")


def in_precision(encoder: TextEncoder, precision: str) -> TextEncoder:
    changed = copy.copy(encoder)
    changed.precision = precision
    return changed


def torch_compile(encoder: TextEncoder) -> TextEncoder:
    """Compiled in float32 for any number of texts and tokens."""
    from torch._dynamo import config as dynamo  # slow to import

    # beyond its limit dynamo silently runs uncompiled code, and checkpoints of one class count together
    dynamo.cache_size_limit = max(dynamo.cache_size_limit, COMPILATIONS)
    changed = in_precision(encoder, "fp32")
    if isinstance(encoder, BiEncoderAdapter):
        changed.encoder = with_encode(encoder, torch.compile(encoder.encoder._encode, dynamic=True))
    else:
        changed.model = torch.compile(encoder.model, dynamic=True)
    try:
        agrees(encoder, changed)
    except (
        RuntimeError,
        OSError,
    ) as error:  # what dynamo and inductor raise; no compiler on the machine
        raise Unavailable(
            f"torch_compile: {(str(error).strip().splitlines() or [type(error).__name__])[0]}"
        ) from error
    return changed


def onnx(encoder: TextEncoder) -> TextEncoder:
    """By ONNX Runtime, exported from the backbone to the vector."""
    if not isinstance(encoder, BiEncoderAdapter):
        raise Unavailable(
            "onnx: not for a model read by sentence-transformers; pooling=mean reads it as a Hugging Face encoder"
        )
    from hybrid_ir.latency.exported import session_of

    changed = in_precision(encoder, "fp32")
    changed.encoder = with_encode(encoder, session_of(encoder.encoder, encoder.device))
    agrees(encoder, changed)
    return changed


def with_encode(
    encoder: BiEncoderAdapter, encode: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
) -> Any:
    """The BiEncoder with the same weights and another way from padded ids and mask to vectors."""
    changed = copy.copy(encoder.encoder)
    changed._encode = encode
    return changed


def agrees(expected: TextEncoder, found: TextEncoder) -> None:
    """Unavailable unless both give the same vectors: cosine above 0.9999 for some texts of different lengths."""
    for texts in PROBES:
        inputs = inputs_of(expected)(list(texts))
        cosine = (
            torch.cosine_similarity(
                in_precision(expected, "fp32").forward(inputs), found.forward(inputs)
            )
            .min()
            .item()
        )
        if not cosine > 0.9999:
            raise Unavailable(
                f"its vectors are not those of torch_fp32: cosine {cosine:.6f}, must be above 0.9999"
            )


def with_weights(encoder: TextEncoder) -> torch.nn.Module:
    """The module that holds a text encoder's weights."""
    return encoder.encoder if isinstance(encoder, BiEncoderAdapter) else encoder.model
