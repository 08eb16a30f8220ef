"""Builds a sentence-transformers model with the parts of one of our encoders."""

import tempfile
from typing import TYPE_CHECKING

from torch import nn

from hybrid_ir.files.atomic import SCRATCH_PREFIX
from hybrid_ir.model.backbone import quiet_transformers
from hybrid_ir.model.encoder import BiEncoder
from hybrid_ir.model.head import list_head_layers

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

# The dense layer and tanh of LaBSE stand behind the first token.
POOLINGS_OF_THE_LIBRARY = {"labse": "cls"}


def build_sentence_transformer(encoder: BiEncoder) -> "SentenceTransformer":
    """Builds a sentence-transformers model of a BiEncoder, on the CPU, with equal vectors.

    The maximum length is the longer one of both roles, since such a model has one length.

    Args:
        encoder: whose adapters of LoRA, if it has any, are merged (`merge_lora`).

    Raises:
        ValueError: sentence-transformers is not installed, or has no module for a layer.
    """
    try:
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.sentence_transformer.modules import Normalize, Pooling
    except ImportError as error:
        raise ValueError(
            "sentence-transformers is not installed: pip install 'hybrid-ir[sentence-transformers]'"
        ) from error
    pooling = POOLINGS_OF_THE_LIBRARY.get(encoder.pooling, encoder.pooling)
    modules = [
        _build_transformer(encoder),
        Pooling(encoder.backbone.config.hidden_size, pooling),
        *_build_dense_modules([*list_head_layers(encoder.head), encoder.projection]),
    ]
    if encoder.normalize:
        modules.append(Normalize())
    passage_prompt = encoder.tokenizers["passage"].prefix
    prompts = {
        "query": encoder.tokenizers["query"].prefix,
        "document": passage_prompt,
        "passage": passage_prompt,
    }
    return SentenceTransformer(
        modules=modules,
        prompts=prompts,
        similarity_fn_name="cosine" if encoder.normalize else "dot",
        device="cpu",
    )


def _build_transformer(encoder: BiEncoder) -> nn.Module:
    """Returns the module of the backbone, which the library reads from files only."""
    from sentence_transformers.base.modules import Transformer

    lengths = [tokenizer.max_length for tokenizer in encoder.tokenizers.values()]
    with tempfile.TemporaryDirectory(prefix=SCRATCH_PREFIX) as folder, quiet_transformers():
        encoder.backbone.save_pretrained(folder)
        encoder.tokenizer.save_pretrained(folder)
        module = Transformer(folder, max_seq_length=max(lengths))
        # The library must not hold on to files that are about to be deleted.
        module.model = encoder.backbone.cpu().eval()
    return module


def _build_dense_modules(layers: list[nn.Module]) -> list[nn.Module]:
    """Returns the modules of the layers behind the pooling; identities are left out."""
    from sentence_transformers.sentence_transformer.modules import Dense, LayerNorm

    layers = [layer for layer in layers if not isinstance(layer, nn.Identity | nn.Dropout)]
    modules = []
    while layers:
        layer = layers.pop(0)
        if isinstance(layer, nn.LayerNorm):
            norm = LayerNorm(layer.normalized_shape[0])
            norm.norm.load_state_dict(layer.state_dict())
            modules.append(norm)
            continue
        if not isinstance(layer, nn.Linear):
            raise ValueError(
                f"{type(layer).__name__} stands behind no linear layer: no module of "
                "sentence-transformers is that"
            )
        activation: nn.Module = nn.Identity()
        if layers and not isinstance(layers[0], nn.Linear | nn.LayerNorm):
            activation = layers.pop(0)
        dense = Dense(
            layer.in_features,
            layer.out_features,
            bias=layer.bias is not None,
            activation_function=activation,
        )
        dense.linear.load_state_dict(layer.state_dict())
        modules.append(dense)
    return modules
