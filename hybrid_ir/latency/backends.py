"""The ways to run one checkpoint: torch in float32 or bfloat16, compiled, or its graph."""

# B texts, D width

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hybrid_ir.inference.graph_encoder import (
    LEAST_COSINE,
    PROBES,
    build_graph_encoder,
    replace_encode,
)
from hybrid_ir.latency.measure import Contestant
from hybrid_ir.latency.settings import Unavailable
from hybrid_ir.model.adapters import BiEncoderAdapter, SentenceTransformerAdapter
from hybrid_ir.types import TextEncoder

COMPILATIONS = 128  # of one function


def build_contestant(
    checkpoint: str, encoder: TextEncoder, backend: str, cache: str | Path = ".cache"
) -> Contestant:
    """Builds a checkpoint under a backend; all backends of a checkpoint share its weights.

    Args:
        checkpoint: its label in all tables.
        encoder: the loaded checkpoint, which stays as it is.
        backend: of BACKENDS.
        cache: folder where graphs are kept.

    Raises:
        Unavailable: the backend is not installed, not for this kind of model, or fails here.
    """
    builders = {
        "torch_fp32": lambda: _copy_with_precision(encoder, "fp32"),
        "torch_bf16": lambda: _copy_with_precision(encoder, "bf16"),
        "torch_compile": lambda: _compile(encoder),
    }
    if backend in builders:
        prepared = builders[backend]()
    else:
        prepared = _run_graph(encoder, backend, Path(cache))
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


def _run_graph(encoder: TextEncoder, backend: str, cache: Path) -> TextEncoder:
    """Returns the encoder that runs its graph, from the backbone to the vector."""
    if not isinstance(encoder, BiEncoderAdapter):
        raise Unavailable(
            f"{backend}: not for a model read by sentence-transformers; pooling=mean reads it as a "
            "Hugging Face encoder"
        )
    try:
        return build_graph_encoder(_copy_with_precision(encoder, "fp32"), backend, cache)
    except ValueError as error:
        raise Unavailable(str(error)) from error
