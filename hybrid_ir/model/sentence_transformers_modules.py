"""Builds a sentence-transformers model with the parts of one of our encoders."""

import copy
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from hybrid_ir.files.atomic import SCRATCH_PREFIX
from hybrid_ir.model.backbone import quiet_transformers
from hybrid_ir.model.encoder import BiEncoder
from hybrid_ir.model.head import list_head_layers
from hybrid_ir.model.packed_attention import PACKED_PREFIX

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
    layers = [*list_head_layers(encoder.head), encoder.projection]
    pooling = POOLINGS_OF_THE_LIBRARY.get(encoder.pooling, encoder.pooling)
    modules = [
        _build_transformer(encoder),
        Pooling(encoder.backbone.config.hidden_size, pooling),
        *[module.build() for module in group_layers(layers)],
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
        module.model = _copy_with_padding(encoder.backbone).cpu().eval()
    return module


def _copy_with_padding(backbone: nn.Module) -> nn.Module:
    """Copies a backbone, with the attention that transformers itself knows, in any process."""
    copied = copy.deepcopy(backbone)
    implementation = str(copied.config._attn_implementation)
    if implementation.startswith(PACKED_PREFIX):
        kernel = implementation.removeprefix(PACKED_PREFIX)
        copied.set_attn_implementation("sdpa" if kernel == "auto" else kernel)
    return copied


@dataclass(frozen=True)
class LayerModule:
    """A layer behind the pooling that is one module of sentence-transformers.

    Attributes:
        kind: of the module, `Dense` or `LayerNorm`.
        layer: with the weights.
        activation: behind it, the identity for none.
    """

    kind: str
    layer: nn.Module
    activation: nn.Module

    def build(self) -> nn.Module:
        """Builds the module, with the weights of the layer."""
        from sentence_transformers.sentence_transformer.modules import Dense, LayerNorm

        if self.kind == "LayerNorm":
            module = LayerNorm(self.layer.normalized_shape[0])
            module.norm.load_state_dict(self.layer.state_dict())
            return module
        module = Dense(
            self.layer.in_features,
            self.layer.out_features,
            bias=self.layer.bias is not None,
            activation_function=self.activation,
        )
        module.linear.load_state_dict(self.layer.state_dict())
        return module


def group_layers(layers: Sequence[nn.Module]) -> list[LayerModule]:
    """Returns the modules of sentence-transformers that layers behind a pooling are.

    A linear layer and the activation behind it are one module. Identities and dropout, which do
    nothing to a trained model, are left out.

    Args:
        layers: in the order in which vectors go through them.

    Raises:
        ValueError: a layer that no module of sentence-transformers is.
    """
    left = [layer for layer in layers if not isinstance(layer, nn.Identity | nn.Dropout)]
    modules = []
    while left:
        layer = left.pop(0)
        activation: nn.Module = nn.Identity()
        if isinstance(layer, nn.LayerNorm):
            modules.append(LayerModule("LayerNorm", layer, activation))
            continue
        if not isinstance(layer, nn.Linear):
            raise ValueError(
                f"the head has a {type(layer).__name__} that stands behind no linear layer, which "
                "no module of sentence-transformers is"
            )
        if left and not isinstance(left[0], nn.Linear | nn.LayerNorm):
            activation = left.pop(0)
        modules.append(LayerModule("Dense", layer, activation))
    return modules
