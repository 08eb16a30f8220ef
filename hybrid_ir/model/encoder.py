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
from hybrid_ir.model.backbone import FromScratch
from hybrid_ir.model.head import find_head_width
from hybrid_ir.model.lora import Lora, merge_adapters
from hybrid_ir.model.modules import build_saved_modules, load_released_modules
from hybrid_ir.model.packed_attention import NotPackable, require_known_attention
from hybrid_ir.model.packing import PackedTexts, Packing, find_packing
from hybrid_ir.model.pooling import POOLINGS
from hybrid_ir.model.reading import Reading, count_positions
from hybrid_ir.model.saved_encoder import SavedEncoder
from hybrid_ir.model.token_store import RaggedTokens
from hybrid_ir.model.tokens import RoleTokenizer
from hybrid_ir.model.vocabulary import require_usable_length
from hybrid_ir.system.progress import count_texts

LONGEST_MAX_LENGTH = 1 << 16  # tokens, of a model that names no limit
# How much is encoded at once where `tokens_per_slice` is None. On a CPU the hidden vectors of a
# layer should stay in the caches, so this many numbers; a GPU should have enough to do.
NUMBERS_PER_SLICE_ON_CPU = 1 << 19
FEWEST_TOKENS_PER_SLICE_ON_CPU = 512
TOKENS_PER_SLICE_ON_GPU = 16_384
PACKINGS = ("auto", "on", "off")


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
        compile: have torch.compile fuse the operations of the backbone, for any number of tokens;
            the first batches take minutes. Meant for GPUs.
        attention: `sdpa` or `eager`; None takes the faster one for packed rows, and the library's
            choice for padded texts.
        packing: `on` encodes texts of any length as one row of tokens without padding, see
            `hybrid_ir.model.packing`; `off` pads slices of texts of similar length; `auto` packs
            every backbone that gives the same vectors with it.
        tokens_per_slice: texts are sorted by length and encoded in slices of at most so many
            tokens, those of padding included. None takes 16,384 on a GPU, and on a CPU fewer the
            wider the model is: 1,365 for a width of 384.
        revision: of a hub model.
        trust_remote_code: run code that a hub model brings along.
        texts: what a FromScratch recipe trains its tokenizer on.
        cache: folder for such a backbone.

    Attributes:
        tokenizers: a RoleTokenizer for `query` and one for `passage`.
        width: of the vectors.
        slots_computed: places for tokens that all calls so far went through, padding included; what
            is computed a second time for gradients is not counted again.
        packing: how the backbone reads packed rows; None if texts are padded.
        padding_reason: why texts are padded; None if they are packed.

    Raises:
        ValueError: a choice that does not exist, a backbone that cannot be loaded, or `packing=on`
            for one that cannot be packed.
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
        compile: bool = False,
        attention: str | None = None,
        packing: str = "auto",
        tokens_per_slice: int | None = None,
        revision: str | None = None,
        trust_remote_code: bool = False,
        texts: Iterable[str] = (),
        cache: str | Path = ".cache",
    ):
        super().__init__()
        require_known_attention(attention)
        _require_valid_choices(pooling, projection, dropout, compile, tokens_per_slice)
        self.name = str(backbone)
        self.tokens_per_slice = tokens_per_slice
        self.slots_computed = 0
        self.normalize = normalize
        self.lora = lora
        if isinstance(backbone, FromScratch):
            backbone = str(backbone.build(texts, Path(cache)))
        if isinstance(backbone, SavedEncoder):
            parts = build_saved_modules(backbone, attention, dropout)
        else:
            parts = load_released_modules(
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
        self.tokenizers = {
            "query": RoleTokenizer(self.tokenizer, reading.query_prefix, reading.query_max_length),
            "passage": RoleTokenizer(
                self.tokenizer, reading.passage_prefix, reading.passage_max_length
            ),
        }
        for role, tokenizer in self.tokenizers.items():
            require_usable_length(self.name, role, tokenizer, self._count_positions())
        self._choose_packing(_read_packing(packing), attention)
        self.backbone.get_input_embeddings().weight.requires_grad_(train_embeddings)
        if lora is not None:
            lora.add_to(self.backbone)
        _choose_computation(self.backbone, gradient_checkpointing, compile)

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
        order_B = torch.argsort(tokens.lengths_B, descending=True, stable=True)
        # A text without a single token has no place in a row.
        if self.packing is not None and bool((tokens.lengths_B > 0).all()):
            vectors = self._encode_packed(tokens, order_B, cache_gradients)
        else:
            vectors = self._encode_padded(tokens, order_B, cache_gradients)
        device = tokens.ids_T.device
        if not vectors:
            return torch.zeros(0, self.width, device=device)
        original_order_B = torch.argsort(order_B).to(device)
        return torch.cat(vectors)[original_order_B]

    def _encode_packed(
        self, tokens: RaggedTokens, order_B: torch.Tensor, cache_gradients: bool
    ) -> list[torch.Tensor]:
        """Returns the vectors of rows of texts in the order of `order_B`, without any padding."""
        texts = self.packing.pack(tokens.ids_T, tokens.lengths_B, order_B)
        rows = list(texts.cut(self._choose_slice_size(tokens.ids_T.device)))
        embeddings = [None] * len(rows)
        table = self.backbone.get_input_embeddings()
        is_table_trained = torch.is_grad_enabled() and table.weight.requires_grad
        if rows and is_table_trained and not cache_gradients:
            # Looked up for all rows at once: going back through the table makes a gradient as large
            # as the table itself.
            embeddings_TH = table(texts.ids_T)
            embeddings = list(embeddings_TH.split([len(row.ids_T) for row in rows]))
        # Weights that are spread over ranks are fetched by all ranks at once, so a rank with fewer
        # rows than others encodes a padding token instead; padded slices do the same.
        one_token = torch.full((1,), self.pad_id, device=tokens.ids_T.device)
        for _ in range(count_missing_calls(self, len(rows))):
            rows.append(self.packing.pack(one_token, torch.ones(1).long(), torch.zeros(1).long()))
            embeddings.append(None)
        self.slots_computed += sum(len(row.ids_T) for row in rows)
        encode = self._choose_pass(self._encode_row, cache_gradients)
        vectors = []
        for row, embeddings_of_row in zip(rows, embeddings, strict=True):
            vectors.append(encode(row, embeddings_of_row))
            count_texts(len(vectors[-1]))
        return vectors

    def _encode_row(
        self, row: PackedTexts, embeddings_TH: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Returns the vectors (B, D) of a packed row."""
        hidden_TH = self.packing.run(self.backbone, row, embeddings_TH)
        return self._pool(*row.pad(hidden_TH))

    def _encode_padded(
        self, tokens: RaggedTokens, order_B: torch.Tensor, cache_gradients: bool
    ) -> list[torch.Tensor]:
        """Returns the vectors of slices of texts in the order of `order_B`, padded to a length."""
        slices = list(self._cut_slices(tokens, order_B))
        padding_11 = torch.full((1, 1), self.pad_id, device=tokens.ids_T.device)
        for _ in range(count_missing_calls(self, len(slices))):
            slices.append((padding_11, torch.ones_like(padding_11)))
        self.slots_computed += sum(ids_BT.numel() for ids_BT, _ in slices)
        encode = self._choose_pass(self._encode, cache_gradients)
        vectors = []
        for ids_BT, mask_BT in slices:
            vectors.append(encode(ids_BT, mask_BT))
            count_texts(len(ids_BT))
        return vectors

    def _choose_pass(self, encode: Callable, cache_gradients: bool) -> Callable:
        """Returns the function, or one that encodes again instead of keeping activations."""
        if cache_gradients:
            return partial(checkpoint, encode, use_reentrant=False)
        return encode

    def _choose_slice_size(self, device: torch.device) -> int:
        """Returns how many tokens are encoded at once on a device."""
        if self.tokens_per_slice is not None:
            return self.tokens_per_slice
        if device.type != "cpu":
            return TOKENS_PER_SLICE_ON_GPU
        tokens = NUMBERS_PER_SLICE_ON_CPU // self.backbone.config.hidden_size
        return max(tokens, FEWEST_TOKENS_PER_SLICE_ON_CPU)

    def _encode(self, ids_BT: torch.Tensor, mask_BT: torch.Tensor) -> torch.Tensor:
        """Returns the vectors (B, D) of padded token ids."""
        inputs = {"input_ids": ids_BT, "attention_mask": mask_BT}
        if self.pairs_have_types:
            ends_BT = (ids_BT == self.tokenizer.sep_token_id).long()
            inputs["token_type_ids"] = (ends_BT.cumsum(1) - ends_BT).clamp(max=1) * mask_BT
        return self._pool(self.backbone(**inputs).last_hidden_state, mask_BT)

    def _pool(self, hidden_BTH: torch.Tensor, mask_BT: torch.Tensor) -> torch.Tensor:
        """Returns the vectors (B, D) of the hidden vectors of texts' tokens."""
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
            size = max(1, self._choose_slice_size(device) // longest)
            rows = order_B[start : start + size]
            ids_BT = nn.utils.rnn.pad_sequence(
                [texts[row] for row in rows.tolist()], batch_first=True, padding_value=self.pad_id
            )
            mask_BT = torch.arange(ids_BT.shape[1])[None, :] < tokens.lengths_B[rows][:, None]
            yield ids_BT, mask_BT.to(device, torch.long)
            start += len(rows)

    def _choose_packing(self, packing: str, attention: str | None) -> None:
        """Prepares the backbone for packed rows, unless it cannot be packed or should not be."""
        self.packing: Packing | None = None
        self.padding_reason: str | None = None
        if packing == "off":
            self.padding_reason = "packing=off"
            return
        separator_id = self.tokenizer.sep_token_id if self.pairs_have_types else None
        longest = max(tokenizer.max_length for tokenizer in self.tokenizers.values())
        try:
            self.packing = find_packing(
                self.backbone, self.pad_id, separator_id, longest, attention
            )
        except NotPackable as error:
            self.padding_reason = str(error)
            if packing == "on":
                raise ValueError(
                    f"model.packing=on: {self.name} cannot be packed, as {error}: use "
                    "model.packing=auto, which pads its texts"
                ) from error

    def _count_positions(self) -> int:
        """Returns the number of tokens that the backbone and its tokenizer take."""
        positions = count_positions(self.backbone.config, self.pad_id)
        if positions is None:
            return min(self.tokenizer.model_max_length, LONGEST_MAX_LENGTH)
        return positions


def _read_packing(packing: str | bool) -> str:
    """Returns one of PACKINGS; YAML reads a plain on or off as a boolean."""
    if isinstance(packing, bool):
        return "on" if packing else "off"
    if packing not in PACKINGS:
        raise ValueError(f"model.packing={packing!r} must be one of {', '.join(PACKINGS)}")
    return packing


def _require_valid_choices(
    pooling: str | None,
    projection: int | None,
    dropout: float | None,
    compile: bool,
    tokens_per_slice: int | None,
) -> None:
    """Raises ValueError for a choice of a BiEncoder that does not exist."""
    if pooling is not None and pooling not in POOLINGS:
        raise ValueError(
            f"model.pooling={pooling!r} must be one of {', '.join(POOLINGS)}, or null for what the "
            "model's files say"
        )
    if not isinstance(compile, bool):
        raise ValueError(f"model.compile={compile!r} must be true or false")
    for key, number in (("tokens_per_slice", tokens_per_slice), ("projection", projection)):
        if number is not None and number < 1:
            raise ValueError(f"model.{key}={number} must be at least 1, or null")
    if dropout is not None and not 0 <= dropout < 1:
        raise ValueError(
            f"model.dropout={dropout} must be 0 or more and below 1, or null for the checkpoint's "
            "own"
        )


def _choose_computation(backbone: nn.Module, gradient_checkpointing: bool, compile: bool) -> None:
    """Has a backbone recompute its activations in the backward pass, or be compiled."""
    if gradient_checkpointing and hasattr(backbone, "activation_checkpointing_enable"):
        backbone.activation_checkpointing_enable({"use_reentrant": False})
    elif gradient_checkpointing:  # its name before transformers 5
        backbone.gradient_checkpointing_enable({"use_reentrant": False})
    if compile:
        # In place, so that the names of the weights stay. Numbers of tokens and of texts are
        # symbols of the graph, and lists of lengths stay outside of it.
        backbone.compile(dynamic=True)
