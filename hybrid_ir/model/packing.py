"""The packed pass: texts of any length as one row of tokens, without a token of padding.

A transformer treats each token by itself, except in two places: attention, which must stay inside
a text, and positions, which must start anew with each text. So texts can stand one behind the other
in a single row if these two know where a text ends:

- `Packing.pack` lays out the row: ids, positions, and the types of pairs.
- `hybrid_ir.model.packed_attention` is attention that looks at one text at a time.
- `find_packing` tries both passes on a few tokens and compares them, so that a backbone that does
  not fit this scheme (positions relative to the row, attention of its own) is never packed.

Shapes: B texts, the longest first; T tokens of all texts; L tokens of the longest text; D width of
the transformer.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from hybrid_ir.model.packed_attention import PACKED_PREFIX, NotPackable, register_attention

# Implementations of attention that have a packed form.
KERNELS = ("sdpa", "eager")
# Texts that both passes are tried on, in tokens; one more is as long as the widest window asks.
PROBE_LENGTHS = (11, 3, 3, 1)
# Rotary positions whose frequencies depend on the longest text of a batch: in a row, short texts
# stand beside long ones.
LENGTH_DEPENDENT_ROPES = ("dynamic", "longrope")
# How many slots the hidden vectors of a row take, as a multiple of its tokens, when they are padded
# for the pooling.
MOST_SLOTS_PER_TOKEN = 4
LARGEST_PROBE_ERROR = 1e-4  # of a token's hidden vector, relative to its length; float32


@dataclass(frozen=True)
class PackedTexts:
    """Texts as one row of tokens, and where each of them starts.

    Attributes:
        ids_T: token ids of all texts, one text behind the other.
        positions_T: of each token, as the backbone counts them.
        types_T: 0 for tokens of the first text of a pair and 1 for the second; None for a backbone
            without types.
        lengths_B: tokens of each text, on the CPU.
    """

    ids_T: torch.Tensor
    positions_T: torch.Tensor
    types_T: torch.Tensor | None
    lengths_B: torch.Tensor

    def cut(self, tokens: int) -> Iterator["PackedTexts"]:
        """Yields rows of whole texts with at most so many tokens, or one longer text.

        The longest text comes first. A row ends earlier where much shorter ones follow, so that
        `pad` stays small.
        """
        start = 0
        first_token = 0
        lengths = self.lengths_B.tolist()
        while start < len(lengths):
            end = start
            size = 0
            while end < len(lengths):
                slots = (end + 1 - start) * lengths[start]
                is_full = size + lengths[end] > tokens or slots > MOST_SLOTS_PER_TOKEN * tokens
                if is_full and end > start:
                    break
                size += lengths[end]
                end += 1
            place = slice(first_token, first_token + size)
            types_T = None if self.types_T is None else self.types_T[place]
            yield PackedTexts(
                self.ids_T[place], self.positions_T[place], types_T, self.lengths_B[start:end]
            )
            start = end
            first_token += size

    def pad(self, hidden_TD: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns hidden vectors of the row as a padded batch (B, L, D), and its mask (B, L)."""
        longest = int(self.lengths_B.max())
        text_T, place_T = _locate_tokens(self.lengths_B)
        index_T = (text_T * longest + place_T).to(hidden_TD.device, non_blocking=True)
        slots = len(self.lengths_B) * longest
        hidden_SD = hidden_TD.new_zeros(slots, hidden_TD.shape[1])
        hidden_BLD = hidden_SD.index_copy(0, index_T, hidden_TD).unflatten(0, (-1, longest))
        mask_BL = torch.arange(longest)[None, :] < self.lengths_B[:, None]
        return hidden_BLD, mask_BL.to(hidden_TD.device, torch.long, non_blocking=True)


@dataclass(frozen=True)
class Packing:
    """How a backbone reads packed rows.

    Attributes:
        pad_id: of its tokenizer.
        separator_id: which ends a text of a pair, for a backbone with types; None for others.
        shifts_positions: whether positions start behind the padding id and leave out padding
            tokens inside a text, as those of RoBERTa do.
    """

    pad_id: int
    separator_id: int | None
    shifts_positions: bool

    def pack(
        self, ids_T: torch.Tensor, lengths_B: torch.Tensor, order_B: torch.Tensor
    ) -> PackedTexts:
        """Lays texts out as one row, in a given order.

        Args:
            ids_T: token ids of texts, one behind the other.
            lengths_B: their tokens, on the CPU.
            order_B: which text stands where in the row, on the CPU.
        """
        first_token_B = lengths_B.cumsum(0) - lengths_B
        sorted_lengths_B = lengths_B[order_B]
        text_T, place_T = _locate_tokens(sorted_lengths_B)
        source_T = first_token_B[order_B][text_T] + place_T
        device = ids_T.device
        ids_T = ids_T[source_T.to(device, non_blocking=True)]
        positions_T = place_T.to(device, non_blocking=True)
        row_starts_B = sorted_lengths_B.cumsum(0) - sorted_lengths_B
        starts_T = row_starts_B[text_T].to(device, non_blocking=True)
        if self.shifts_positions:
            is_token_T = (ids_T != self.pad_id).long()
            positions_T = _count_within_texts(is_token_T, starts_T) * is_token_T + self.pad_id
        types_T = None
        if self.separator_id is not None:
            ends_T = (ids_T == self.separator_id).long()
            types_T = (_count_within_texts(ends_T, starts_T) - ends_T).clamp(max=1)
        return PackedTexts(ids_T, positions_T, types_T, sorted_lengths_B)

    def run(
        self, backbone: nn.Module, row: PackedTexts, embeddings_TD: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Returns the last hidden vectors of the tokens of a row (T, D).

        Args:
            backbone: that `find_packing` has prepared.
            row: of texts.
            embeddings_TD: of the row's tokens by the backbone's table, where they are known.
        """
        implementation = str(backbone.config._attn_implementation)
        if not implementation.startswith(PACKED_PREFIX):
            raise RuntimeError(
                f"the attention of the backbone was changed to {implementation}, by which the "
                "texts of a packed row would see each other: build the encoder with packing=off, "
                "or with this attention"
            )
        device = row.ids_T.device
        cumulative_lengths = F.pad(row.lengths_B.cumsum(0), (1, 0)).to(torch.int32)
        inputs: dict[str, Any] = {
            "position_ids": row.positions_T[None],
            # A mask of four dimensions is handed on as it is, so none is built for the row.
            "attention_mask": torch.zeros(1, 1, 1, 1, device=device),
            "cu_seq_lens_q": cumulative_lengths.to(device, non_blocking=True),
            "max_length_q": int(row.lengths_B.max()),
        }
        if embeddings_TD is None:
            inputs["input_ids"] = row.ids_T[None]
        else:
            inputs["inputs_embeds"] = embeddings_TD[None]
        if row.types_T is not None:
            inputs["token_type_ids"] = row.types_T[None]
        return backbone(**inputs).last_hidden_state[0]


register_attention()  # at the import, so that an encoder in another process finds it


def find_packing(
    backbone: nn.Module,
    pad_id: int,
    separator_id: int | None,
    longest: int,
    kernel: str | None = None,
) -> Packing:
    """Prepares a backbone for packed rows, if it computes the same with them as without.

    A few texts go through the padded and the packed pass, one of them longer than the windows of
    the attention. So what is not packed correctly is found here and not in somebody's numbers.

    Args:
        backbone: of Hugging Face, on the CPU. Its attention is changed in place, to one that also
            computes padded batches as before.
        pad_id: of its tokenizer.
        separator_id: which ends a text of a pair, for a backbone that knows their types; else None.
        longest: tokens of the longest text that will be encoded.
        kernel: of attention, `sdpa` or `eager`; None takes whichever is faster for a row.

    Raises:
        NotPackable: the backbone cannot be packed; it is as it was.
    """
    implementation = getattr(backbone.config, "_attn_implementation", None)
    if implementation not in KERNELS:
        raise NotPackable(f"its attention is {implementation!r}, not {' or '.join(KERNELS)}")
    if not getattr(backbone, "_supports_attention_backend", False):
        raise NotPackable("its attention does not go through transformers' AttentionInterface")
    dependent = sorted(_find_rope_types(backbone).intersection(LENGTH_DEPENDENT_ROPES))
    if dependent:
        raise NotPackable(f"its {dependent[0]} positions depend on the longest text beside a text")
    was_training = backbone.training
    backbone.eval()
    try:
        probe = _Probe(backbone, Packing(pad_id, separator_id, False), longest)
        expected_TD = probe.run_padded()
        backbone.set_attn_implementation(PACKED_PREFIX + (kernel or "auto"))
        padded_error = _measure_error(probe.run_padded(), expected_TD)
        if padded_error > LARGEST_PROBE_ERROR:
            raise NotPackable(f"its padded vectors would differ by {padded_error:.1g}")
        for shifts_positions in (False, True):
            packing = Packing(pad_id, separator_id, shifts_positions)
            error = _measure_error(probe.run_packed(packing), expected_TD)
            embedded_error = _measure_error(probe.run_packed(packing, by_table=True), expected_TD)
            if max(error, embedded_error) <= LARGEST_PROBE_ERROR:
                return packing
        raise NotPackable(f"its vectors would differ by {error:.1g}, relative to their length")
    except Exception as error:
        # Anything may happen in a model that was written for padded batches alone.
        backbone.set_attn_implementation(implementation)
        if isinstance(error, NotPackable):
            raise
        reason = str(error).strip().partition("\n")[0]
        raise NotPackable(f"{type(error).__name__}: {reason}") from error
    finally:
        backbone.train(was_training)


class _Probe:
    """A few texts of random tokens, for both passes of a backbone.

    Args:
        backbone: in evaluation mode.
        packing: lays the texts out.
        longest: tokens of the longest text that will be encoded.
    """

    def __init__(self, backbone: nn.Module, packing: Packing, longest: int):
        self.backbone = backbone
        widest_window = 0
        for module in backbone.modules():
            window = getattr(module, "sliding_window", None) or 0
            # One that is wider than every text hides nothing.
            if window < longest:
                widest_window = max(window, widest_window)
        # So long that tokens at both ends of a text lose sight of each other.
        lengths = [min(longest, 2 * widest_window + 2), *PROBE_LENGTHS]
        lengths_B = torch.tensor([max(1, min(length, longest)) for length in lengths])
        self.lengths_B = lengths_B.sort(descending=True).values
        vocabulary = backbone.get_input_embeddings().weight.shape[0]
        random = torch.Generator().manual_seed(0)
        self.ids_T = torch.randint(vocabulary, (int(lengths_B.sum()),), generator=random)
        self.ids_T[self.ids_T == packing.pad_id] = (packing.pad_id + 1) % vocabulary
        self.pad_id = packing.pad_id
        self.row = self._pack(packing)

    def _pack(self, packing: Packing) -> PackedTexts:
        return packing.pack(self.ids_T, self.lengths_B, torch.arange(len(self.lengths_B)))

    @torch.no_grad()
    def run_packed(self, packing: Packing, by_table: bool = False) -> torch.Tensor:
        """Returns the hidden vectors of all tokens by the packed pass (T, D).

        Args:
            packing: lays the texts out.
            by_table: look the tokens up in the table of the backbone before, as a training does.
        """
        row = self._pack(packing)
        embeddings_TD = self.backbone.get_input_embeddings()(row.ids_T) if by_table else None
        return packing.run(self.backbone, row, embeddings_TD)

    @torch.no_grad()
    def run_padded(self) -> torch.Tensor:
        """Returns the same by the padded pass (T, D)."""
        _, mask_BL = self.row.pad(torch.zeros(len(self.ids_T), 1))
        is_token_BL = mask_BL == 1
        inputs = {"input_ids": torch.zeros_like(mask_BL), "attention_mask": mask_BL}
        inputs["input_ids"][~is_token_BL] = self.pad_id
        inputs["input_ids"][is_token_BL] = self.ids_T
        if self.row.types_T is not None:
            inputs["token_type_ids"] = torch.zeros_like(mask_BL)
            inputs["token_type_ids"][is_token_BL] = self.row.types_T
        return self.backbone(**inputs).last_hidden_state[is_token_BL]


def _measure_error(hidden_TD: torch.Tensor, expected_TD: torch.Tensor) -> float:
    """Returns the largest difference of a token's hidden vectors, relative to their length."""
    difference_T = (hidden_TD - expected_TD).norm(dim=1)
    error = (difference_T / expected_TD.norm(dim=1).clamp(min=1e-12)).max()
    return float(error.nan_to_num(torch.inf))


def _find_rope_types(backbone: nn.Module) -> set[str]:
    """Returns the kinds of rotary positions of a backbone's layers."""
    kinds: set[str] = set()
    for module in backbone.modules():
        kind = getattr(module, "rope_type", None)
        if isinstance(kind, dict):
            kinds.update(map(str, kind.values()))
        elif kind is not None:
            kinds.add(str(kind))
    return kinds


def _locate_tokens(lengths_B: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the text of each token of a row (T,), and its place inside the text (T,)."""
    text_T = torch.repeat_interleave(torch.arange(len(lengths_B)), lengths_B)
    starts_B = lengths_B.cumsum(0) - lengths_B
    return text_T, torch.arange(len(text_T)) - starts_B[text_T]


def _count_within_texts(flags_T: torch.Tensor, starts_T: torch.Tensor) -> torch.Tensor:
    """Returns how many flags are set from the start of a token's text up to the token (T,).

    Args:
        flags_T: 0 or 1 for each token.
        starts_T: place of the first token of each token's text.
    """
    counts_T = flags_T.cumsum(0)
    return counts_T - (counts_T - flags_T)[starts_T]
