"""Attention inside the texts of a packed row, as transformers calls it.

transformers takes an attention function by name (`AttentionInterface`) and hands it where the texts
of a row start. The functions here compute what the padded pass computes, but only between tokens of
the same text: by kernels for variable lengths on a GPU, and on a CPU by one product for all texts
of the same length. Padded batches are computed as before.

Shapes: B texts; T tokens of all texts; L tokens of a text; H heads; W width of a head.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from itertools import groupby
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface, eager_mask, sdpa_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

# What transformers may pass besides, which changes no score. Anything else is refused, as a cap of
# the scores, a sink or a choice of tokens would be.
HARMLESS = (
    "cu_seq_lens_k",
    "deterministic",
    "max_length_k",
    "output_attentions",
    "output_hidden_states",
    "position_ids",
    "return_dict",
    "use_cache",
)
NO_KERNEL = "No viable backend"  # in the error of torch for nested tensors that no kernel takes
NO_WINDOW = -1  # as kernels for variable lengths call it
LARGEST_FLASH_HEAD = 256  # width of a head that kernels for variable lengths take
PACKED_PREFIX = "packed_"  # of the names of our attention functions


class NotPackable(ValueError):
    """A backbone or an input that the packed pass cannot compute as the padded one does."""


@cache
def register_attention() -> None:
    """Makes transformers know our attention, as `packed_` and a kernel; padded batches have masks.

    The kernel `auto` is the faster one of the two others for what it is given.
    """
    masks = {"auto": sdpa_mask, "sdpa": sdpa_mask, "eager": eager_mask}
    for kernel, mask in masks.items():
        AttentionInterface.register(PACKED_PREFIX + kernel, partial(attend_within_texts, kernel))
        AttentionMaskInterface.register(PACKED_PREFIX + kernel, mask)


def require_known_attention(attention: str | None) -> None:
    """Raises ValueError for a kernel that transformers does not know; `/` names one of the hub."""
    known = ["eager", *ALL_ATTENTION_FUNCTIONS.valid_keys()]
    if attention is not None and attention not in known and "/" not in attention:
        raise ValueError(
            f"model.attention={attention!r} must be sdpa or eager, null for the faster one, or "
            "another kernel of transformers: flash_attention_2, flex_attention"
        )


@dataclass(frozen=True)
class AttentionRule:
    """What attention does besides products: which tokens see each other, and how scores are scaled.

    Attributes:
        is_causal: whether a token sees only itself and what stands before it.
        window: how far a token sees, itself included, to each side; None for any distance.
        scaling: factor of the scores; None for one by the root of the width of a head.
        dropout: rate of the attention weights.
    """

    is_causal: bool
    window: int | None
    scaling: float | None
    dropout: float

    def build_mask(self, length: int, device: torch.device) -> torch.Tensor | None:
        """Returns which tokens of a text see which (L, L), None where `is_causal` says it all."""
        if self.window is None or length <= self.window:
            return None
        place_L = torch.arange(length, device=device)
        distance_LL = place_L[:, None] - place_L[None, :]
        sees_LL = distance_LL.abs() < self.window
        return sees_LL & (distance_LL >= 0) if self.is_causal else sees_LL


def attend_within_texts(
    kernel: str,
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    is_causal: bool | None = None,
    cu_seq_lens_q: torch.Tensor | None = None,
    max_length_q: int | None = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """Computes attention of a packed row, or of a padded batch, for transformers.

    Args:
        kernel: `sdpa`, `eager` or `auto`.
        module: the layer; its `is_causal` counts where the argument is None.
        query: (1, H, T, W) of a packed row, (B, H, L, W) of a padded batch.
        key: the same, with as many heads as the model has keys.
        value: as the key.
        attention_mask: of a padded batch.
        dropout: rate of the attention weights.
        scaling: factor of the scores.
        sliding_window: how far a token sees to each side, itself included, as transformers passes
            it to FlashAttention.
        is_causal: whether a token sees only what stands before it.
        cu_seq_lens_q: where the texts of a packed row start, and its end (B + 1); None for a padded
            batch.
        max_length_q: tokens of the longest text of the row.
        others: what transformers passes as well.

    Returns:
        What the tokens have gathered, (1, T, H, W) or (B, L, H, W), and no weights.

    Raises:
        NotPackable: transformers passes something that changes scores and is not known here.
    """
    for name, given in others.items():
        if given is not None and name not in HARMLESS:
            raise NotPackable(f"its attention has {name}")
    if is_causal is None:
        is_causal = bool(getattr(module, "is_causal", False))
    if kernel == "auto":
        kernel = choose_kernel(query)
    # Heads of queries that share a key get copies of it.
    copies = query.shape[1] // key.shape[1]
    if cu_seq_lens_q is None:
        rule = AttentionRule(is_causal and attention_mask is None, None, scaling, dropout)
        output = _ATTEND[kernel](
            query, _repeat_heads(key, copies), _repeat_heads(value, copies), attention_mask, rule
        )
        return output.transpose(1, 2).contiguous(), None
    rule = AttentionRule(is_causal, sliding_window, scaling, dropout)
    has_fused_kernels = query.is_cuda and kernel == "sdpa"
    if has_fused_kernels and can_use_varlen(query, key, value, rule):
        return _attend_by_varlen(query, key, value, cu_seq_lens_q, max_length_q, rule), None
    key = _repeat_heads(key, copies)
    value = _repeat_heads(value, copies)
    # Nested tensors know no window; one that is wider than every text hides nothing.
    hides_nothing = rule.window is None or max_length_q <= rule.window
    if has_fused_kernels and hides_nothing:
        try:
            return _attend_by_nesting(query, key, value, cu_seq_lens_q, max_length_q, rule), None
        except RuntimeError as error:
            if NO_KERNEL not in str(error):
                raise
    return _attend_by_equal_lengths(kernel, query, key, value, cu_seq_lens_q, rule), None


def choose_kernel(query: torch.Tensor) -> str:
    """Returns the kernel that is faster for such queries.

    On a CPU the fused kernel goes back slowly in bfloat16: two products with a softmax between them
    made the step of a training 1.3 times as fast.
    """
    is_bf16_on_cpu = query.device.type == "cpu" and query.dtype == torch.bfloat16
    return "eager" if is_bf16_on_cpu and query.requires_grad else "sdpa"


@torch.compiler.disable  # a compiler would make another graph for every list of lengths
def _attend_by_equal_lengths(
    kernel: str,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    cumulative_lengths: torch.Tensor,
    rule: AttentionRule,
) -> torch.Tensor:
    """Computes attention of neighbouring texts of the same length at once (1, T, H, W)."""
    groups = []  # the number of texts and their length
    for length, group in groupby(cumulative_lengths.diff().tolist()):
        groups.append((len(list(group)), length))
    # Split, not sliced: going back through a slice fills a gradient of the whole row.
    sizes = [texts * length for texts, length in groups]
    parts = [tensor[0].split(sizes, dim=1) for tensor in (query, key, value)]
    outputs = []
    for (texts, length), *tensors in zip(groups, *parts, strict=True):
        mask_LL = rule.build_mask(length, query.device)
        # from (H, texts * length, W) to (texts, H, length, W)
        grouped = [tensor.unflatten(1, (texts, length)).transpose(0, 1) for tensor in tensors]
        output = _ATTEND[kernel](*grouped, mask_LL, rule)
        outputs.append(output.transpose(1, 2).flatten(0, 1))
    return torch.cat(outputs)[None]


def _attend_by_sdpa(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    rule: AttentionRule,
) -> torch.Tensor:
    """Computes attention by torch's fused kernels (B, H, L, W)."""
    return F.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=mask,
        dropout_p=rule.dropout,
        is_causal=rule.is_causal and mask is None and query.shape[2] > 1,
        scale=rule.scaling,
    )


def _attend_by_products(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    rule: AttentionRule,
) -> torch.Tensor:
    """Computes attention by two matrix products with a softmax between them (B, H, L, W)."""
    scaling = query.shape[-1] ** -0.5 if rule.scaling is None else rule.scaling
    scores = query @ key.transpose(2, 3) * scaling
    if mask is None and rule.is_causal:
        mask = scores.new_ones(scores.shape[2:], dtype=torch.bool).tril()
    if mask is not None and mask.dtype == torch.bool:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    elif mask is not None:
        scores = scores + mask
    precise = torch.promote_types(scores.dtype, torch.float32)
    weights = F.softmax(scores, dim=-1, dtype=precise)
    if rule.dropout > 0:
        weights = F.dropout(weights, rule.dropout)
    return weights.to(value.dtype) @ value


@cache
def find_varlen() -> Any | None:
    """Returns torch's kernel for texts of different lengths, None if this torch has none."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    parameters = inspect.signature(varlen_attn).parameters
    if "window_size" not in parameters or "enable_gqa" not in parameters:
        return None
    return varlen_attn


def can_use_varlen(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, rule: AttentionRule
) -> bool:
    """Returns whether torch's kernel for different lengths takes this: half precision, no dropout.

    Args:
        query: on a GPU.
        key: beside it.
        value: beside it.
        rule: of the attention.
    """
    width = query.shape[-1]
    has_units = torch.cuda.get_device_capability(query.device) >= (8, 0)
    takes_head = width % 8 == 0 and width <= LARGEST_FLASH_HEAD
    is_half = query.dtype in (torch.float16, torch.bfloat16)
    for tensor in (key, value):
        if tensor.dtype != query.dtype or tensor.shape[-1] != width:
            return False
    return rule.dropout == 0 and is_half and takes_head and has_units and find_varlen() is not None


def _attend_by_varlen(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    cumulative_lengths: torch.Tensor,
    longest: int,
    rule: AttentionRule,
) -> torch.Tensor:
    """Computes attention by torch's FlashAttention for variable lengths (1, T, H, W)."""
    reach = NO_WINDOW if rule.window is None else rule.window - 1
    output_THW = find_varlen()(
        *[tensor[0].transpose(0, 1) for tensor in (query, key, value)],
        cumulative_lengths,
        cumulative_lengths,
        longest,
        longest,
        scale=rule.scaling,
        window_size=(reach, 0 if rule.is_causal else reach),
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return output_THW[None]


def _attend_by_nesting(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    cumulative_lengths: torch.Tensor,
    longest: int,
    rule: AttentionRule,
) -> torch.Tensor:
    """Computes attention of jagged nested tensors, in any precision and with dropout (1, T, H, W).

    torch has fused kernels for them on a GPU.
    """
    nested = []
    for tensor in (query, key, value):
        # from (1, H, T, W) to (B, H, tokens of each text, W)
        jagged = torch.nested.nested_tensor_from_jagged(
            tensor[0].transpose(0, 1).contiguous(),
            cumulative_lengths,
            max_seqlen=longest,
            min_seqlen=1,
        )
        nested.append(jagged.transpose(1, 2))
    output = F.scaled_dot_product_attention(
        *nested, dropout_p=rule.dropout, is_causal=rule.is_causal, scale=rule.scaling
    )
    return output.transpose(1, 2).values()[None]


def _repeat_heads(tensor: torch.Tensor, copies: int) -> torch.Tensor:
    """Returns keys or values with so many copies of each head, one behind the other."""
    return tensor if copies == 1 else tensor.repeat_interleave(copies, dim=1)


_ATTEND: dict[str, Callable] = {"sdpa": _attend_by_sdpa, "eager": _attend_by_products}
