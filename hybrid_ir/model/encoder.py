"""BiEncoder: one shared transformer turns ragged tokens into unit vectors."""

# B texts, T tokens of a text (longest of its slice), H hidden width, D width of the vectors

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from hybrid_ir.distributed import count_missing_calls
from hybrid_ir.model.backbone import FromScratch, load_backbone
from hybrid_ir.model.token_store import RaggedTokens
from hybrid_ir.model.tokens import RoleTokenizer


def pool_mean(hidden_BTH: torch.Tensor, mask_BT: torch.Tensor) -> torch.Tensor:
    weights_BT1 = mask_BT.unsqueeze(-1).to(hidden_BTH.dtype)
    return (hidden_BTH * weights_BT1).sum(1) / weights_BT1.sum(1).clamp(min=1)


def pool_first_token(hidden_BTH: torch.Tensor, mask_BT: torch.Tensor) -> torch.Tensor:
    return hidden_BTH[:, 0]


POOLINGS = {
    "mean": pool_mean,
    "cls": pool_first_token,
    "labse": pool_first_token,
}  # labse adds its released dense layer and tanh


class BiEncoder(nn.Module):
    """Queries and passages through the same weights, told apart by their prefix only (arXiv 2408.10536, section 3).

    Args:
        backbone: folder or hub id of a Hugging Face encoder, or a FromScratch recipe.
        pooling: `mean` of the tokens, `cls`, or `labse`: cls, then the checkpoint's dense layer and tanh.
        projection: width of a linear layer on top; none by default.
        query_prefix, passage_prefix: put before every text; models with none of their own take "".
        query_max_length, passage_max_length: tokens, special ones included.
        train_embeddings: False freezes the input embeddings, most of a multilingual model's weights.
        dropout: replaces every dropout rate of the backbone; None keeps the checkpoint's.
        gradient_checkpointing: recompute activations in the backward pass: less memory, a third more time.
        attention: `sdpa` or `eager`; None takes the library's choice. In bf16 on a CPU eager trains 1.4 times as fast.
        tokens_per_slice: texts are sorted by length and encoded in slices of at most so many padded tokens.
        revision: of a hub model.
        trust_remote_code: run code that a hub model brings along.
        texts: what a FromScratch recipe trains its tokenizer on.
        cache: folder for such a backbone.
    """

    def __init__(
        self,
        backbone: str | FromScratch,
        pooling: str = "mean",
        projection: int | None = None,
        query_prefix: str = "Query: ",
        passage_prefix: str = "Passage: ",
        query_max_length: int = 64,
        passage_max_length: int = 256,
        train_embeddings: bool = True,
        dropout: float | None = None,
        gradient_checkpointing: bool = False,
        attention: str | None = None,
        tokens_per_slice: int = 4096,
        revision: str | None = None,
        trust_remote_code: bool = False,
        texts: Iterable[str] = (),
        cache: str | Path = ".cache",
    ):
        super().__init__()
        if pooling not in POOLINGS:
            raise ValueError(f"model.pooling={pooling!r} must be one of {', '.join(POOLINGS)}")
        if tokens_per_slice < 1 or (projection is not None and projection < 1):
            raise ValueError(
                f"model.tokens_per_slice={tokens_per_slice} and model.projection={projection} must be at least 1 "
                "(projection: or null for none)"
            )
        if dropout is not None and not 0 <= dropout < 1:
            raise ValueError(
                f"model.dropout={dropout} must be 0 or more and below 1, or null for the checkpoint's own"
            )
        self.name = str(backbone)
        folder = (
            backbone.build(texts, Path(cache)) if isinstance(backbone, FromScratch) else backbone
        )
        self.backbone, tokenizer, self.head = load_backbone(
            str(folder),
            tanh_head=pooling == "labse",
            dropout=dropout,
            attention=attention,
            revision=revision,
            trust_remote_code=trust_remote_code,
        )
        self.pool, self.pooling = POOLINGS[pooling], pooling
        width = self.backbone.config.hidden_size
        self.projection = nn.Linear(width, projection, bias=False) if projection else nn.Identity()
        self.width = projection or width
        self.tokenizer, self.tokens_per_slice = tokenizer, tokens_per_slice
        self.pad_id = tokenizer.pad_token_id
        # BERT tells the second text of a pair by its type; XLM-R does not
        self.pairs_have_types = max(tokenizer("a", "b").get("token_type_ids") or [0]) > 0
        self.tokenizers = {
            "query": RoleTokenizer(
                tokenizer, query_prefix, self._allowed(query_max_length, "query")
            ),
            "passage": RoleTokenizer(
                tokenizer, passage_prefix, self._allowed(passage_max_length, "passage")
            ),
        }
        self.backbone.get_input_embeddings().weight.requires_grad_(train_embeddings)
        if gradient_checkpointing:
            enable = getattr(
                self.backbone, "activation_checkpointing_enable", None
            )  # its name since transformers 5
            (enable or self.backbone.gradient_checkpointing_enable)({"use_reentrant": False})

    def layers(self) -> list[nn.Module]:
        """The transformer's layers, the unit in which sharded weights come and go."""
        return next(
            (list(part) for part in self.backbone.modules() if isinstance(part, nn.ModuleList)), []
        )

    def reading(self) -> dict[str, str]:
        """What turns the same weights into other vectors; a checkpoint of one reading measures nothing under another."""
        return {
            "pooling": self.pooling,
            **{f"{role}_prefix": reader.prefix for role, reader in self.tokenizers.items()},
        }

    def forward(self, tokens: RaggedTokens, cache_gradients: bool = False) -> torch.Tensor:
        """Unit vectors (B, D), float32 whatever lower precision the backbone has.

        With `cache_gradients` only these vectors are kept for the backward pass: when the gradient of the loss has reached
        them, slice after slice is encoded again, with the dropout it had, and passes its gradient on (GradCache, Gao et al.
        2021, arXiv 2101.06983). Peak memory is then that of one slice, whatever the batch.
        """
        order_B = torch.argsort(tokens.lengths_B, descending=True, stable=True)
        encode = (
            partial(checkpoint, self._encode, use_reentrant=False)
            if cache_gradients
            else self._encode
        )
        slices, nothing_11 = (
            list(self._slices(tokens, order_B)),
            torch.full((1, 1), self.pad_id, device=tokens.ids_T.device),
        )
        # weights that are spread over ranks come and go on all ranks at once
        idle = [(nothing_11, torch.ones_like(nothing_11))] * count_missing_calls(self, len(slices))
        vectors = [encode(ids_BT, mask_BT) for ids_BT, mask_BT in (*slices, *idle)]
        back_B = torch.argsort(order_B).to(tokens.ids_T.device)
        return (
            torch.cat(vectors)[back_B]
            if vectors
            else torch.zeros(0, self.width, device=tokens.ids_T.device)
        )

    def _encode(self, ids_BT: torch.Tensor, mask_BT: torch.Tensor) -> torch.Tensor:
        inputs = {"input_ids": ids_BT, "attention_mask": mask_BT}
        if self.pairs_have_types:
            ends_BT = (ids_BT == self.tokenizer.sep_token_id).long()
            inputs["token_type_ids"] = (ends_BT.cumsum(1) - ends_BT).clamp(max=1) * mask_BT
        hidden_BTH = self.backbone(**inputs).last_hidden_state
        pooled_BD = self.projection(self.head(self.pool(hidden_BTH, mask_BT)))
        return F.normalize(
            pooled_BD.to(torch.promote_types(pooled_BD.dtype, torch.float32)), dim=-1
        )

    def _slices(
        self, tokens: RaggedTokens, order_B: torch.Tensor
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Padded ids and mask of neighbours in length, longest first: little padding, and the peak comes first."""
        texts, device = tokens.ids_T.split(tokens.lengths_B.tolist()), tokens.ids_T.device
        start = 0
        while start < len(order_B):
            longest = max(1, int(tokens.lengths_B[order_B[start]]))
            rows = order_B[start : start + max(1, self.tokens_per_slice // longest)]
            ids_BT = nn.utils.rnn.pad_sequence(
                [texts[row] for row in rows.tolist()], True, self.pad_id
            )
            mask_BT = torch.arange(ids_BT.shape[1])[None, :] < tokens.lengths_B[rows][:, None]
            yield ids_BT, mask_BT.to(device, torch.long)
            start += len(rows)

    def _allowed(self, max_length: int, role: str) -> int:
        positions = getattr(self.backbone.config, "max_position_embeddings", max_length)
        if self.backbone.config.model_type in ("roberta", "xlm-roberta", "camembert"):
            positions -= self.pad_id + 1  # their position ids start behind the padding id
        if not 4 <= max_length <= positions:
            raise ValueError(
                f"model.{role}_max_length={max_length} must be 4 to {positions}, the positions of {self.name}"
            )
        return max_length
