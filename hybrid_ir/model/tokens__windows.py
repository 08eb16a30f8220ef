"""Overlapping windows of a document that is longer than an encoder reads."""

from transformers import PreTrainedTokenizerBase

from hybrid_ir.types import Text


def cut_into_windows(text: Text, tokenizer: PreTrainedTokenizerBase, max_length: int, overlap: float, prefix: str = "") -> list[Text]:
    """Pieces of the text, cut where tokens end, that fit into `max_length` tokens behind the prefix; the text itself if it fits.

    Args:
        overlap: share of a window that the next one repeats, at least 0 and below 1.

    Raises:
        ValueError: a text pair, or no room for text behind the prefix.
    """
    if not isinstance(text, str):
        raise ValueError("max_passage cuts plain passages, not pairs of sentence and context: use another candidates=")
    if not 0 <= overlap < 1:
        raise ValueError(f"window_overlap={overlap} must be 0 or more and below 1")
    return [text[first:last] for first, last in find_window_spans(text, tokenizer, max_length, overlap, prefix)]


def find_window_spans(text: str, tokenizer: PreTrainedTokenizerBase, max_length: int, overlap: float,
                 prefix: str = "") -> list[tuple[int, int]]:
    """First character and end of each window."""
    def tokens(piece: str) -> int:
        return len(tokenizer(prefix + piece, verbose=False)["input_ids"])
    if tokens(text) <= max_length:
        return [(0, len(text))]
    room = max_length - tokens("")
    if room < 1:
        raise ValueError(f"max length {max_length} leaves no room for text behind the prefix {prefix!r}: raise it")
    spans = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)["offset_mapping"]
    found, start, end = [], 0, 0
    while end < len(spans):
        end = min(start + room, len(spans))
        first, last = spans[start][0], spans[end - 1][1]
        # cut out of its text, a piece may split into more tokens at its edges
        while tokens(text[first:last]) > max_length and end > start + 1:
            end -= 1
            last = spans[end - 1][1]
        found.append((first, last))
        start = max(start + 1, end - int(overlap * room))
    return found
