"""How many floating-point operations an encoder needs for texts, by its weights and their lengths.

Shapes: B texts.
"""

from collections import Counter
from dataclasses import dataclass

import torch
from torch import nn

from hybrid_ir.model.encoder import BiEncoder

# Of each weight and token, and of each pair of tokens and unit of the attention's width.
FLOPS_OF_PRODUCT = 2  # a multiplication and an addition
PRODUCTS_OF_ATTENTION = 2  # queries with keys, and weights with values
# Parts of names in a config whose model uses weights not exactly once a token.
REUSING_KEYS = ("num_hidden_groups", "num_experts", "num_local_experts", "moe_every_n_layers")


@dataclass(frozen=True)
class ModelFlops:
    """What decides the floating-point operations of an encoder.

    The forward pass of texts of n_1, n_2, ... tokens costs

        2 N (n_1 + n_2 + ...) + 4 L W (n_1^2 + n_2^2 + ...)

    for N weights outside the embeddings, L layers and attention of width W = heads x width of a
    head; half of the second part where tokens see only those before them, and at most the window
    instead of one of the two n in layers with a sliding window. The head behind the pooling counts
    once a text. The backward pass costs twice as much: once for the gradients of the activations,
    and once for those of the weights, which is left out for weights that are frozen, as with LoRA.
    So training costs three times the forward pass where all weights are trained. The source is
    appendix B of PaLM, arXiv 2204.02311. Norms, softmax, the loss over the batch and what is
    computed a second time (gradient checkpointing, cached gradients) are not counted: these are
    operations of the model, those of the hardware can be more.

    Attributes:
        frozen_weights: of the transformer without its embeddings, those that are not trained.
        trained_weights: of the transformer without its embeddings, those that are trained.
        head_weights: behind the pooling.
        attention_width: heads x width of a head.
        windows: of each layer, how many tokens a token sees; None for all of its text.
        is_causal: tokens see only those before them.
    """

    frozen_weights: int
    trained_weights: int
    head_weights: int
    attention_width: int
    windows: tuple[int | None, ...]
    is_causal: bool

    @classmethod
    def of(cls, encoder: BiEncoder) -> "ModelFlops | None":
        """Reads the numbers of an encoder; None for one whose operations are not known.

        These are models that do not use each weight once a token, as ALBERT, whose layers share
        weights, and mixtures of experts, and models without the usual names in their config.
        """
        backbone = encoder.backbone
        config = backbone.config
        is_unusual = any(getattr(config, key, None) for key in REUSING_KEYS)
        heads = getattr(config, "num_attention_heads", None)
        if is_unusual or heads is None or getattr(config, "num_hidden_layers", None) is None:
            return None
        embeddings = _list_embedding_weights(backbone)
        frozen = 0
        trained = 0
        for weight in backbone.parameters():
            if id(weight) in embeddings:
                continue
            if weight.requires_grad:
                trained += weight.numel()
            else:
                frozen += weight.numel()
        head_weights = 0
        for part in (encoder.head, encoder.projection):
            head_weights += sum(weight.numel() for weight in part.parameters())
        head_width = getattr(config, "head_dim", None) or config.hidden_size // heads
        causal_parts = [getattr(part, "is_causal", False) for part in backbone.modules()]
        return cls(
            frozen_weights=frozen,
            trained_weights=trained,
            head_weights=head_weights,
            attention_width=heads * head_width,
            windows=_list_windows(config),
            is_causal=any(causal_parts),
        )

    def count_forward(self, lengths_B: torch.Tensor) -> float:
        """Counts the operations of encoding texts of these lengths in tokens."""
        weights = self.frozen_weights + self.trained_weights
        tokens = float(lengths_B.sum())
        per_token = FLOPS_OF_PRODUCT * weights * tokens
        per_text = FLOPS_OF_PRODUCT * self.head_weights * len(lengths_B)
        return per_token + per_text + self._count_attention(lengths_B)

    def count_training(self, lengths_B: torch.Tensor) -> float:
        """Counts the operations of a forward and a backward pass over texts of these lengths."""
        weights = 2 * self.frozen_weights + 3 * self.trained_weights
        tokens = float(lengths_B.sum())
        per_token = FLOPS_OF_PRODUCT * weights * tokens
        per_text = 3 * FLOPS_OF_PRODUCT * self.head_weights * len(lengths_B)
        return per_token + per_text + 3 * self._count_attention(lengths_B)

    def _count_attention(self, lengths_B: torch.Tensor) -> float:
        """Counts the operations of the attention of all layers in a forward pass."""
        lengths_B = lengths_B.double()
        pairs = 0.0
        for window, layers in Counter(self.windows).items():
            seen_B = lengths_B if window is None else lengths_B.clamp(max=window)
            pairs += layers * float((lengths_B * seen_B).sum())
        if self.is_causal:
            pairs /= 2
        return PRODUCTS_OF_ATTENTION * FLOPS_OF_PRODUCT * self.attention_width * pairs


def _list_embedding_weights(backbone: nn.Module) -> set[int]:
    """Returns the ids of the weights that are looked up, which no product multiplies."""
    weights = set()
    for part in backbone.modules():
        if isinstance(part, nn.Embedding):
            weights.update(id(weight) for weight in part.parameters())
    return weights


def _list_windows(config: object) -> tuple[int | None, ...]:
    """Returns how many tokens a token sees in each layer of a model, None for all of its text."""
    full_width = getattr(config, "local_attention", None) or getattr(config, "sliding_window", None)
    layer_types = getattr(config, "layer_types", None)
    windows = []
    for layer in range(config.num_hidden_layers):
        is_sliding = layer_types is not None and layer_types[layer] == "sliding_attention"
        windows.append(full_width if is_sliding else None)
    return tuple(windows)
