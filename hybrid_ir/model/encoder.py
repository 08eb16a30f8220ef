"""BiEncoder: one shared transformer turns token ids into unit vectors.

Shapes: B texts, T tokens of the longest text of a slice (or of all texts in `ids_T`), H width of
the transformer, D width of the vectors.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedTokenizerFast

from hybrid_ir.distributed import count_missing_calls
from hybrid_ir.model.backbone import FromScratch, load_backbone, load_tanh_head
from hybrid_ir.model.head import find_head_width
from hybrid_ir.model.lora import Lora, merge_adapters
from hybrid_ir.model.module_files import ModuleFiles, read_module_files
from hybrid_ir.model.pooling import POOLINGS
from hybrid_ir.model.reading import Reading, report_other_similarity, report_unknown_files
from hybrid_ir.model.saved_encoder import SavedEncoder
from hybrid_ir.model.token_store import RaggedTokens
from hybrid_ir.model.tokens import RoleTokenizer

SHORTEST_MAX_LENGTH = 4  # tokens: two special ones, and some of the text
LONGEST_MAX_LENGTH = 1 << 16  # tokens, of a model that names no limit
# Kinds of models whose position ids start behind the padding id.
MODELS_WITH_SHIFTED_POSITIONS = ("roberta", "xlm-roberta", "camembert")


class BiEncoder(nn.Module):
    """Encodes queries and passages with the same weights; only their prefixes differ.

    See section 3 of arXiv 2408.10536.

    A choice that is None is taken from the files of a sentence-transformers model: its pooling with
    the layers behind it, its prompts, its maximum length. For any other backbone it is the paper's:
    mean pooling, the prefixes "Query: " and "Passage: ", 64 and 256 tokens.

    Args:
        backbone: folder or hub id of a Hugging Face or sentence-transformers model, a FromScratch
            recipe, or the SavedEncoder of a run.
        pooling: `mean` of the tokens, `cls`, `lasttoken`, `max`, `weightedmean`,
            `mean_sqrt_len_tokens`, or `labse`: cls, then the checkpoint's dense layer and tanh.
            If it is given, the layers behind the pooling of a sentence-transformers model are left
            out.
        projection: width of a linear layer on top; none by default.
        normalize: whether vectors get length 1, so that they are compared by their cosine.
        query_prefix: put before every query; "" for a model that has no prefixes.
        passage_prefix: put before every passage.
        query_max_length: in tokens, special ones included.
        passage_max_length: in tokens, special ones included.
        train_embeddings: False freezes the input embeddings, most of a multilingual model's
            weights.
        lora: trains small matrices beside the frozen weights of the backbone; None trains the
            weights themselves.
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
        backbone: str | FromScratch | SavedEncoder,
        pooling: str | None = None,
        projection: int | None = None,
        normalize: bool = True,
        query_prefix: str | None = None,
        passage_prefix: str | None = None,
        query_max_length: int | None = None,
        passage_max_length: int | None = None,
        train_embeddings: bool = True,
        lora: Lora | None = None,
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
        self.tokens_per_slice = tokens_per_slice
        self.normalize = normalize
        self.lora = lora
        if isinstance(backbone, FromScratch):
            backbone = str(backbone.build(texts, Path(cache)))
        if isinstance(backbone, SavedEncoder):
            parts = _build_saved_parts(backbone, attention, dropout)
        else:
            parts = _load_released_parts(
                backbone, pooling, normalize, attention, dropout, revision, trust_remote_code
            )
        self.backbone = parts.backbone
        self.tokenizer = parts.tokenizer
        self.head = parts.head
        hidden_width = find_head_width(self.head, self.backbone.config.hidden_size)
        if projection:
            self.projection = nn.Linear(hidden_width, projection, bias=False)
        else:
            self.projection = nn.Identity()
        self.width = projection or hidden_width
        self.pad_id = self.tokenizer.pad_token_id
        # BERT knows the second text of a pair by its type; XLM-R has no types.
        types_of_pair = self.tokenizer("a", "b").get("token_type_ids") or [0]
        self.pairs_have_types = max(types_of_pair) > 0
        reading = Reading(
            pooling, query_prefix, passage_prefix, query_max_length, passage_max_length
        ).complete(self.name, parts.files, self.tokenizer.model_max_length, self._count_positions())
        self.pooling = reading.pooling
        self._require_positions(reading.query_max_length, "query")
        self._require_positions(reading.passage_max_length, "passage")
        self.tokenizers = {
            "query": RoleTokenizer(self.tokenizer, reading.query_prefix, reading.query_max_length),
            "passage": RoleTokenizer(
                self.tokenizer, reading.passage_prefix, reading.passage_max_length
            ),
        }
        self.backbone.get_input_embeddings().weight.requires_grad_(train_embeddings)
        if lora is not None:
            lora.add_to(self.backbone)
        if gradient_checkpointing:
            _enable_gradient_checkpointing(self.backbone)

    def merge_lora(self) -> None:
        """Adds the adapters of LoRA to the weights beside them; the vectors stay the same."""
        if self.lora is not None:
            merge_adapters(self.backbone)
            self.lora = None

    def list_layers(self) -> list[nn.Module]:
        """Returns the transformer's layers, the units in which sharded weights are fetched."""
        for part in self.backbone.modules():
            if isinstance(part, nn.ModuleList):
                return list(part)
        return []

    def describe_reading(self) -> dict[str, str | bool]:
        """Returns everything that makes other vectors out of the same weights and tokenizer.

        A checkpoint that was trained with one reading is refused by an encoder with another.
        """
        return {
            "pooling": self.pooling,
            "normalize": self.normalize,
            "query_prefix": self.tokenizers["query"].prefix,
            "passage_prefix": self.tokenizers["passage"].prefix,
        }

    def forward(self, tokens: RaggedTokens, cache_gradients: bool = False) -> torch.Tensor:
        """Returns vectors (B, D), float32 whatever lower precision the backbone has.

        They have length 1 unless `normalize` is False.

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
        """Returns the vectors (B, D) of padded token ids."""
        inputs = {"input_ids": ids_BT, "attention_mask": mask_BT}
        if self.pairs_have_types:
            ends_BT = (ids_BT == self.tokenizer.sep_token_id).long()
            inputs["token_type_ids"] = (ends_BT.cumsum(1) - ends_BT).clamp(max=1) * mask_BT
        hidden_BTH = self.backbone(**inputs).last_hidden_state
        pooled_BH = POOLINGS[self.pooling](hidden_BTH, mask_BT)
        vectors_BD = self.projection(self.head(pooled_BH))
        vectors_BD = vectors_BD.to(torch.promote_types(vectors_BD.dtype, torch.float32))
        return F.normalize(vectors_BD, dim=-1) if self.normalize else vectors_BD

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

    def _count_positions(self) -> int:
        """Returns the number of tokens that the backbone and its tokenizer take."""
        positions = count_positions(self.backbone.config, self.pad_id)
        if positions is None:
            return min(self.tokenizer.model_max_length, LONGEST_MAX_LENGTH)
        return positions

    def _require_positions(self, max_length: int, role: str) -> None:
        """Raises ValueError if the backbone has no positions for so many tokens."""
        positions = self._count_positions()
        if not SHORTEST_MAX_LENGTH <= max_length <= positions:
            raise ValueError(
                f"model.{role}_max_length={max_length} must be {SHORTEST_MAX_LENGTH} to "
                f"{positions}, the positions of {self.name}"
            )


def count_positions(config: Any, pad_id: int) -> int | None:
    """Returns the number of tokens that a backbone takes; None if its config does not say.

    Args:
        config: of the backbone.
        pad_id: of its tokenizer.
    """
    positions = getattr(config, "max_position_embeddings", None)
    is_shifted = getattr(config, "model_type", None) in MODELS_WITH_SHIFTED_POSITIONS
    if positions is not None and is_shifted:
        positions -= pad_id + 1
    return positions


@dataclass(frozen=True)
class _Parts:
    """What an encoder is built of, and the files that say how it is read, if there are any."""

    backbone: nn.Module
    tokenizer: PreTrainedTokenizerFast
    head: nn.Module
    files: ModuleFiles | None


def _build_saved_parts(saved: SavedEncoder, attention: str | None, dropout: float | None) -> _Parts:
    """Returns the parts of the encoder of a run, without their weights."""
    backbone, tokenizer = saved.build_backbone(attention, dropout)
    return _Parts(backbone, tokenizer, saved.build_head(), files=None)


def _load_released_parts(
    place: str,
    pooling: str | None,
    normalize: bool,
    attention: str | None,
    dropout: float | None,
    revision: str | None,
    trust_remote_code: bool,
) -> _Parts:
    """Loads the parts of a released model; the arguments are those of BiEncoder."""
    files = read_module_files(place, revision, pooling)
    backbone, tokenizer, pooler = load_backbone(
        place,
        dropout=dropout,
        attention=attention,
        revision=revision,
        trust_remote_code=trust_remote_code,
        subfolder=files.transformer_folder if files else "",
    )
    if files is None:
        report_unknown_files(place, revision)
    else:
        report_other_similarity(files, normalize)
    if pooling == "labse":
        head = load_tanh_head(place, backbone, pooler, revision)
    elif files is not None:
        head = files.load_head()
    else:
        head = nn.Identity()
    return _Parts(backbone, tokenizer, head, files)


def _require_valid_choices(
    pooling: str | None, projection: int | None, dropout: float | None, tokens_per_slice: int
) -> None:
    """Raises ValueError for a choice of a BiEncoder that does not exist."""
    if pooling is not None and pooling not in POOLINGS:
        raise ValueError(
            f"model.pooling={pooling!r} must be one of {', '.join(POOLINGS)}, or null for what the "
            "model's files say"
        )
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
