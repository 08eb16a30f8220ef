"""Pooling: from the hidden vectors of a text's tokens to one vector of the text.

Texts are padded at their end. Shapes: B texts, T tokens of the longest text, H width of the
transformer.
"""

from collections.abc import Callable

import torch

Pooling = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def pool_mean(hidden_BTH: torch.Tensor, mask_BT: torch.Tensor) -> torch.Tensor:
    """Returns the mean of the hidden vectors of each text's tokens (B, H)."""
    weights_BT1 = mask_BT.unsqueeze(-1).to(hidden_BTH.dtype)
    return (hidden_BTH * weights_BT1).sum(1) / weights_BT1.sum(1).clamp(min=1)


def pool_mean_by_root_of_length(hidden_BTH: torch.Tensor, mask_BT: torch.Tensor) -> torch.Tensor:
    """Returns the sum of the hidden vectors over the root of the number of tokens (B, H)."""
    weights_BT1 = mask_BT.unsqueeze(-1).to(hidden_BTH.dtype)
    return (hidden_BTH * weights_BT1).sum(1) / weights_BT1.sum(1).clamp(min=1).sqrt()


def pool_weighted_mean(hidden_BTH: torch.Tensor, mask_BT: torch.Tensor) -> torch.Tensor:
    """Returns the mean of the hidden vectors, the i-th token (from 1) with weight i (B, H).

    Later tokens of a decoder have seen more of the text (SGPT, Muennighoff 2022, arXiv 2202.08904).
    """
    positions_T = torch.arange(1, hidden_BTH.shape[1] + 1, device=hidden_BTH.device)
    weights_BT1 = (mask_BT * positions_T).unsqueeze(-1).to(hidden_BTH.dtype)
    return (hidden_BTH * weights_BT1).sum(1) / weights_BT1.sum(1).clamp(min=1)


def pool_max(hidden_BTH: torch.Tensor, mask_BT: torch.Tensor) -> torch.Tensor:
    """Returns the maximum over each text's tokens, of each dimension (B, H)."""
    is_padding_BT1 = mask_BT.unsqueeze(-1) == 0
    return hidden_BTH.masked_fill(is_padding_BT1, float("-inf")).amax(1)


def pool_first_token(hidden_BTH: torch.Tensor, mask_BT: torch.Tensor) -> torch.Tensor:
    """Returns the hidden vector of each text's first token (B, H)."""
    return hidden_BTH[:, 0]


def pool_last_token(hidden_BTH: torch.Tensor, mask_BT: torch.Tensor) -> torch.Tensor:
    """Returns the hidden vector of each text's last token, which alone saw all of it (B, H)."""
    last_B = mask_BT.sum(1).clamp(min=1) - 1
    rows_B = torch.arange(hidden_BTH.shape[0], device=hidden_BTH.device)
    return hidden_BTH[rows_B, last_B]


# The names of sentence-transformers, and `labse`.
POOLINGS: dict[str, Pooling] = {
    "mean": pool_mean,
    "cls": pool_first_token,
    "lasttoken": pool_last_token,
    "max": pool_max,
    "weightedmean": pool_weighted_mean,
    "mean_sqrt_len_tokens": pool_mean_by_root_of_length,
    "labse": pool_first_token,  # then the dense layer and tanh of LaBSE's release
}
