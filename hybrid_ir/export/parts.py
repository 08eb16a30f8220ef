"""The parts of an encoder that an export writes, whichever library the encoder comes from."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from hybrid_ir.model.adapters import BiEncoderAdapter, SentenceTransformerAdapter
from hybrid_ir.types import Role, TextEncoder

# Modules of sentence-transformers whose computation other libraries can follow.
PLAIN_MODULES = ("Transformer", "Pooling", "Dense", "LayerNorm", "Dropout", "Normalize")
# The dense layer of LaBSE stands behind the first token.
POOLINGS_OF_SENTENCE_TRANSFORMERS = {"labse": "cls"}


@dataclass(frozen=True)
class EncoderParts:
    """What turns a text into a vector, step by step.

    Attributes:
        transformer: the Hugging Face model.
        tokenizer: of the transformer.
        pooling: as sentence-transformers names it.
        layers: between the pooling and the length of the vectors: linear layers, activations and
            layer norms, in order.
        normalizes: whether vectors get length 1.
        prompts: put before the texts of each role.
        max_length: in tokens, special ones included, of both roles after the export.
        role_lengths: the maximum length of each role before the export.
        width: of the vectors.
        similarity: `cosine` or `dot`.
        model: the sentence-transformers model, if the encoder is one.
        problem: why only sentence-transformers can run the encoder; None if others can.
    """

    transformer: nn.Module
    tokenizer: Any
    pooling: str
    layers: tuple[nn.Module, ...]
    normalizes: bool
    prompts: dict[Role, str]
    max_length: int
    role_lengths: dict[Role, int]
    width: int
    similarity: str
    model: Any = None
    problem: str | None = None


def take_apart(encoder: TextEncoder) -> EncoderParts:
    """Returns the parts of an encoder.

    Raises:
        ValueError: the encoder is none that `load_encoder` gives, or has no maximum length.
    """
    if isinstance(encoder, BiEncoderAdapter):
        return _take_bi_encoder_apart(encoder)
    if isinstance(encoder, SentenceTransformerAdapter):
        return _take_sentence_transformer_apart(encoder)
    raise ValueError(
        f"a {type(encoder).__name__} cannot be exported: load the encoder with load_encoder"
    )


def read_with_one_length(encoder: TextEncoder, max_length: int) -> TextEncoder:
    """Returns the encoder with one maximum length for both roles, as other libraries read texts.

    Args:
        encoder: stays as it is; the weights are shared.
        max_length: in tokens, special ones included.
    """
    if not isinstance(encoder, BiEncoderAdapter):
        return encoder
    bi_encoder = copy.copy(encoder.encoder)
    bi_encoder.tokenizers = {}
    for role, tokenizer in encoder.encoder.tokenizers.items():
        bi_encoder.tokenizers[role] = replace(tokenizer, max_length=max_length)
    return BiEncoderAdapter(
        bi_encoder, encoder.name, encoder.precision, str(encoder.device), encoder.prompt_origins
    )


def _take_bi_encoder_apart(encoder: BiEncoderAdapter) -> EncoderParts:
    bi_encoder = encoder.encoder
    lengths: dict[Role, int] = {}
    prompts: dict[Role, str] = {}
    for role, tokenizer in bi_encoder.tokenizers.items():
        lengths[role] = tokenizer.max_length
        prompts[role] = tokenizer.prefix
    normalizes = getattr(bi_encoder, "normalize", True)
    return EncoderParts(
        transformer=bi_encoder.backbone,
        tokenizer=bi_encoder.tokenizer,
        pooling=POOLINGS_OF_SENTENCE_TRANSFORMERS.get(bi_encoder.pooling, bi_encoder.pooling),
        layers=_list_plain_layers([bi_encoder.head, bi_encoder.projection]),
        normalizes=normalizes,
        prompts=prompts,
        max_length=max(lengths.values()),
        role_lengths=lengths,
        width=encoder.width,
        similarity=encoder.similarity,
    )


def _take_sentence_transformer_apart(encoder: SentenceTransformerAdapter) -> EncoderParts:
    model = encoder.model
    kinds = [type(module).__name__ for module in model]
    max_length = model.max_seq_length
    if not max_length:
        raise ValueError(
            f"{encoder.name} has no maximum length, so nothing says where a text is cut: give "
            "passage_max_length"
        )
    problem = _find_module_problem(model, kinds)
    layers: list[nn.Module] = []
    pooling = "mean"
    if problem is None:
        pooling = model[1].pooling_mode
        for module, kind in zip(model, kinds, strict=True):
            if kind == "Dense":
                layers += [module.linear, module.activation_function]
            elif kind == "LayerNorm":
                layers.append(module.norm)
    return EncoderParts(
        transformer=getattr(model[0], "model", model[0]),
        tokenizer=model.tokenizer,
        pooling=pooling,
        layers=_list_plain_layers(layers),
        # Vectors that are compared by cosine are exported with length 1.
        normalizes="Normalize" in kinds or encoder.similarity == "cosine",
        prompts=dict(encoder.prompts),
        max_length=max_length,
        role_lengths={"query": max_length, "passage": max_length},
        width=encoder.width,
        similarity=encoder.similarity,
        model=model,
        problem=problem,
    )


def _find_module_problem(model: Any, kinds: Sequence[str]) -> str | None:
    """Returns why only sentence-transformers can run a model, None if others can."""
    unknown = [kind for kind in kinds if kind not in PLAIN_MODULES]
    if unknown or list(kinds[:2]) != ["Transformer", "Pooling"]:
        return f"its modules are {', '.join(kinds)}"
    pooling = model[1]
    if not isinstance(pooling.pooling_mode, str):
        return f"it pools in several ways ({', '.join(pooling.pooling_mode)})"
    if not pooling.include_prompt:
        return "it pools without the tokens of the prompt"
    for module, kind in zip(model, kinds, strict=True):
        if kind == "Dense" and (
            getattr(module, "use_residual", False)
            or module.module_input_name != "sentence_embedding"
            or module.module_output_name != "sentence_embedding"
        ):
            return "a dense layer has a residual or works on tokens"
    if "Normalize" in kinds[:-1]:
        return "a layer stands behind the normalisation"
    return None


def _list_plain_layers(modules: Sequence[nn.Module]) -> tuple[nn.Module, ...]:
    """Returns the layers inside some modules in order, without those that change no vector."""
    layers: list[nn.Module] = []
    for module in modules:
        if isinstance(module, nn.Sequential):
            layers += _list_plain_layers(list(module))
        elif not isinstance(module, nn.Identity | nn.Dropout):
            layers.append(module)
    return tuple(layers)
