"""BiEncoder: one shared transformer turns token ids into unit vectors.

Shapes: B texts, T tokens of the longest text of a slice (or of all texts in `ids_T`), H width of
the transformer, D width of the vectors.
"""

from collections.abc import Callable, Iterable, Iterator
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

SHORTEST_MAX_LENGTH = 4  # tokens: two special ones, and some of the text
# Kinds of models whose position ids start behind the padding id.
MODELS_WITH_SHIFTED_POSITIONS = ("roberta", "xlm-roberta", "camembert")


def pool_mean(hidden_BTH: torch.Tensor, mask_BT: torch.Tensor) -> torch.Tensor:
    """Returns the mean of the hidden vectors of each text's tokens (B, H)."""
    weights_BT1 = mask_BT.unsqueeze(-1).to(hidden_BTH.dtype)
    return (hidden_BTH * weights_BT1).sum(1) / weights_BT1.sum(1).clamp(min=1)


def pool_first_token(hidden_BTH: torch.Tensor, mask_BT: torch.Tensor) -> torch.Tensor:
    """Returns the hidden vector of each text's first token (B, H)."""
    return hidden_BTH[:, 0]


POOLINGS: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "mean": pool_mean,
    "cls": pool_first_token,
    "labse": pool_first_token,  # then the dense layer and tanh of LaBSE's release
}


class BiEncoder(nn.Module):
    """Encodes queries and passages with the same weights; only their prefixes differ.

    See section 3 of arXiv 2408.10536.

    Args:
        backbone: folder or hub id of a Hugging Face encoder, or a FromScratch recipe.
        pooling: `mean` of the tokens, `cls`, or `labse`: cls, then the checkpoint's dense layer and
            tanh.
        projection: width of a linear layer on top; none by default.
        query_prefix: put before every query; "" for a model that has no prefixes.
        passage_prefix: put before every passage.
        query_max_length: in tokens, special ones included.
        passage_max_length: in tokens, special ones included.
        train_embeddings: False freezes the input embeddings, most of a multilingual model's
            weights.
        dropout: replaces every dropout rate of the backbone; None keeps the checkpoint's.
        gradient_checkpointing: recompute activations in the backward pass: less memory, a third
            more time.
        attention: `sdpa` or `eager`; None takes the library's choice. In bf16 on a CPU eager trains
            1.4 times as fast.
        tokens_per_slice: texts are sorted by length and encoded in slices of at most so many padded
            tokens.
        revision: of a hub model.
        trust_remote_code: run code that a hub model brings along.
        texts: what a FromScratch recipe trains its tokenizer on.
        cache: folder for such a backbone.

    Attributes:
        tokenizers: a RoleTokenizer for `query` and one for `passage`.
        width: of the vectors.

    Raises:
        ValueError: a choice that does not exist, or a backbone that cannot be loaded.
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
        _require_valid_choices(pooling, projection, dropout, tokens_per_slice)
        self.name = str(backbone)
        self.pooling = pooling
        self.tokens_per_slice = tokens_per_slice
        if isinstance(backbone, FromScratch):
            folder = str(backbone.build(texts, Path(cache)))
        else:
            folder = backbone
        self.backbone, self.tokenizer, self.head = load_backbone(
            folder,
            tanh_head=pooling == "labse",
            dropout=dropout,
            attention=attention,
            revision=revision,
            trust_remote_code=trust_remote_code,
        )
        hidden_width = self.backbone.config.hidden_size
        if projection:
            self.projection = nn.Linear(hidden_width, projection, bias=False)
        else:
            self.projection = nn.Identity()
        self.width = projection or hidden_width
        self.pad_id = self.tokenizer.pad_token_id
        # BERT knows the second text of a pair by its type; XLM-R has no types.
        types_of_pair = self.tokenizer("a", "b").get("token_type_ids") or [0]
        self.pairs_have_types = max(types_of_pair) > 0
        self._require_positions(query_max_length, "query")
        self._require_positions(passage_max_length, "passage")
        self.tokenizers = {
            "query": RoleTokenizer(self.tokenizer, query_prefix, query_max_length),
            "passage": RoleTokenizer(self.tokenizer, passage_prefix, passage_max_length),
        }
        self.backbone.get_input_embeddings().weight.requires_grad_(train_embeddings)
        if gradient_checkpointing:
            _enable_gradient_checkpointing(self.backbone)

    def list_layers(self) -> list[nn.Module]:
        """Returns the transformer's layers, the units in which sharded weights are fetched."""
        for part in self.backbone.modules():
            if isinstance(part, nn.ModuleList):
                return list(part)
        return []

    def describe_reading(self) -> dict[str, str]:
        """Returns everything that makes other vectors out of the same weights and tokenizer.

        A checkpoint that was trained with one reading is refused by an encoder with another.
        """
        return {
            "pooling": self.pooling,
            "query_prefix": self.tokenizers["query"].prefix,
            "passage_prefix": self.tokenizers["passage"].prefix,
        }

    def forward(self, tokens: RaggedTokens, cache_gradients: bool = False) -> torch.Tensor:
        """Returns unit vectors (B, D), float32 whatever lower precision the backbone has.

        Args:
            tokens: of B texts.
            cache_gradients: keep only the vectors for the backward pass. When the gradient of the
                loss has reached them, slice after slice is encoded again, with the dropout it had,
                and passes its gradient on (GradCache, Gao et al. 2021, arXiv 2101.06983). Peak
                memory is then that of one slice, whatever the batch.
        """
        device = tokens.ids_T.device
        order_B = torch.argsort(tokens.lengths_B, descending=True, stable=True)
        encode = self._encode
        if cache_gradients:
            encode = partial(checkpoint, self._encode, use_reentrant=False)
        slices = list(self._cut_slices(tokens, order_B))
        # Weights that are spread over ranks are fetched by all ranks at once, so a rank with fewer
        # slices than others encodes a padding token instead.
        padding_11 = torch.full((1, 1), self.pad_id, device=device)
        for _ in range(count_missing_calls(self, len(slices))):
            slices.append((padding_11, torch.ones_like(padding_11)))
        if not slices:
            return torch.zeros(0, self.width, device=device)
        vectors_BD = torch.cat([encode(ids_BT, mask_BT) for ids_BT, mask_BT in slices])
        original_order_B = torch.argsort(order_B).to(device)
        return vectors_BD[original_order_B]

    def _encode(self, ids_BT: torch.Tensor, mask_BT: torch.Tensor) -> torch.Tensor:
        """Returns the unit vectors (B, D) of padded token ids."""
        inputs = {"input_ids": ids_BT, "attention_mask": mask_BT}
        if self.pairs_have_types:
            ends_BT = (ids_BT == self.tokenizer.sep_token_id).long()
            inputs["token_type_ids"] = (ends_BT.cumsum(1) - ends_BT).clamp(max=1) * mask_BT
        hidden_BTH = self.backbone(**inputs).last_hidden_state
        pooled_BH = POOLINGS[self.pooling](hidden_BTH, mask_BT)
        vectors_BD = self.projection(self.head(pooled_BH))
        dtype = torch.promote_types(vectors_BD.dtype, torch.float32)
        return F.normalize(vectors_BD.to(dtype), dim=-1)

    def _cut_slices(
        self, tokens: RaggedTokens, order_B: torch.Tensor
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yields padded ids and their mask, a slice of texts of similar length at a time.

        The longest texts come first: there is little padding, and the peak of memory is at once.
        """
        device = tokens.ids_T.device
        texts = tokens.ids_T.split(tokens.lengths_B.tolist())
        start = 0
        while start < len(order_B):
            longest = max(1, int(tokens.lengths_B[order_B[start]]))
            size = max(1, self.tokens_per_slice // longest)
            rows = order_B[start : start + size]
            ids_BT = nn.utils.rnn.pad_sequence(
                [texts[row] for row in rows.tolist()], batch_first=True, padding_value=self.pad_id
            )
            mask_BT = torch.arange(ids_BT.shape[1])[None, :] < tokens.lengths_B[rows][:, None]
            yield ids_BT, mask_BT.to(device, torch.long)
            start += len(rows)

    def _require_positions(self, max_length: int, role: str) -> None:
        """Raises ValueError if the backbone has no positions for so many tokens."""
        config = self.backbone.config
        positions = getattr(config, "max_position_embeddings", max_length)
        if config.model_type in MODELS_WITH_SHIFTED_POSITIONS:
            positions -= self.pad_id + 1
        if not SHORTEST_MAX_LENGTH <= max_length <= positions:
            raise ValueError(
                f"model.{role}_max_length={max_length} must be {SHORTEST_MAX_LENGTH} to "
                f"{positions}, the positions of {self.name}"
            )


def _require_valid_choices(
    pooling: str, projection: int | None, dropout: float | None, tokens_per_slice: int
) -> None:
    """Raises ValueError for a choice of a BiEncoder that does not exist."""
    if pooling not in POOLINGS:
        raise ValueError(f"model.pooling={pooling!r} must be one of {', '.join(POOLINGS)}")
    if tokens_per_slice < 1 or (projection is not None and projection < 1):
        raise ValueError(
            f"model.tokens_per_slice={tokens_per_slice} and model.projection={projection} must be "
            "at least 1 (projection: or null for none)"
        )
    if dropout is not None and not 0 <= dropout < 1:
        raise ValueError(
            f"model.dropout={dropout} must be 0 or more and below 1, or null for the checkpoint's "
            "own"
        )


def _enable_gradient_checkpointing(backbone: nn.Module) -> None:
    """Has a backbone recompute its activations in the backward pass."""
    if hasattr(backbone, "activation_checkpointing_enable"):  # its name since transformers 5
        backbone.activation_checkpointing_enable({"use_reentrant": False})
    else:
        backbone.gradient_checkpointing_enable({"use_reentrant": False})
