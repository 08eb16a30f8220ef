"""Whether an encoder tells texts apart at all: broken models give all of them one vector."""

import torch

from hybrid_ir.model.adapters import BiEncoderAdapter, SentenceTransformerAdapter
from hybrid_ir.model.vocabulary import ReadableTokenizer, list_probe_texts
from hybrid_ir.types import Role

LARGEST_DIFFERENCE_OF_EQUALS = 1e-6  # relative to the largest value


def find_indistinct_vectors(encoder: BiEncoderAdapter | SentenceTransformerAdapter) -> str | None:
    """Returns what is wrong with the vectors of a few different texts; None if nothing is.

    The encoder counts these texts neither as read nor as cut.
    """
    model = encoder.model if isinstance(encoder, SentenceTransformerAdapter) else encoder.encoder
    if not isinstance(model.tokenizer, ReadableTokenizer):
        return None
    texts = list_probe_texts(model.tokenizer)
    roles: tuple[Role, ...] = ("query", "passage")
    for role in roles:
        vectors_ND = _encode_uncounted(encoder, texts, role)
        if not torch.isfinite(vectors_ND).all():
            return f"the vectors of {len(texts)} texts read as {role} are not finite"
        difference = (vectors_ND - vectors_ND[0]).abs().max()
        if difference <= LARGEST_DIFFERENCE_OF_EQUALS * vectors_ND.abs().max():
            return f"{len(texts)} different texts read as {role} get one and the same vector"
    return None


def _encode_uncounted(
    encoder: BiEncoderAdapter | SentenceTransformerAdapter, texts: list[str], role: Role
) -> torch.Tensor:
    """Returns the vectors of texts (N, D); the counts of the encoder stay."""
    texts_read = dict(encoder.texts_read)
    texts_cut = dict(encoder.texts_cut)
    slots_computed = 0
    if isinstance(encoder, BiEncoderAdapter):
        slots_computed = encoder.encoder.slots_computed
    vectors_ND = encoder.encode(encoder.read(texts, role), role)
    encoder.texts_read = texts_read
    encoder.texts_cut = texts_cut
    if isinstance(encoder, BiEncoderAdapter):
        encoder.encoder.slots_computed = slots_computed
    return vectors_ND
