"""Whether a tokenizer that was loaded knows a language, and fits its model and lengths."""

from tokenizers import Tokenizer
from torch import nn
from transformers import PreTrainedTokenizerBase

from hybrid_ir.model.tokens import CANARY_TEXTS, RoleTokenizer

ReadableTokenizer = PreTrainedTokenizerBase | Tokenizer
SHORTEST_MAX_LENGTH = 4  # tokens: two special ones, and some of the text
FEWEST_LEARNED_TOKENS = 2  # a tokenizer without files has special tokens, and at most a space
TOKENS_AS_PROBES = 4
CANARY_TEXTS_AS_PROBES = 8
MARKS_OF_TOKENS = "▁Ġ#"  # of the beginning, or of the rest, of a word


def require_vocabulary(model: str, tokenizer: ReadableTokenizer, transformer: nn.Module) -> None:
    """Raises ValueError for a tokenizer without a vocabulary, or with more ids than the model.

    Args:
        model: how the user named it, for the message.
        tokenizer: of the model.
        transformer: that looks the token ids up, or the module with such a table.
    """
    vocabulary = tokenizer.get_vocab()
    learned = set(vocabulary) - _list_added_tokens(tokenizer)
    if len(learned) < FEWEST_LEARNED_TOKENS:
        raise ValueError(
            f"{model} has a tokenizer of special tokens alone, so its texts would all look the "
            "same: tokenizer.json, or the file of the vocabulary, is missing. Copy the whole model"
        )
    table = _find_embedding(transformer)
    if table is None:
        return
    rows = table.weight.shape[0]
    optional = _list_special_tokens(tokenizer)
    used_ids = set(_read_ids(tokenizer, "", with_special_tokens=True))
    for token, token_id in sorted(vocabulary.items(), key=lambda item: -item[1]):
        if token_id < rows:
            break
        # Some models have special tokens that no text gets, and no row for them.
        if token not in optional or token_id in used_ids:
            raise ValueError(
                f"{model} has a tokenizer with other ids than its weights: the token {token!r} "
                f"has the id {token_id}, and the embedding has {rows} rows. Take tokenizer and "
                "weights of the same model"
            )


def require_usable_length(model: str, role: str, tokenizer: RoleTokenizer, positions: int) -> None:
    """Raises ValueError for a maximum length of a role that its model cannot read with.

    Args:
        model: its name, for the message.
        role: query or passage.
        tokenizer: with the length and the prefix of the role.
        positions: tokens that the model takes.
    """
    key = f"model.{role}_max_length"
    if not SHORTEST_MAX_LENGTH <= tokenizer.max_length <= positions:
        raise ValueError(
            f"{key}={tokenizer.max_length} must be {SHORTEST_MAX_LENGTH} to {positions}, the "
            f"positions of {model}"
        )
    require_room_for_text(key, tokenizer.max_length, tokenizer.tokenizer, tokenizer.prefix)


def require_room_for_text(
    key: str, max_length: int, tokenizer: ReadableTokenizer, prefix: str
) -> None:
    """Raises ValueError if a maximum length leaves no token of any text.

    Args:
        key: of the length, for the message.
        max_length: in tokens, special ones included.
        tokenizer: that cuts texts at their end, or at their beginning by its `truncation_side`.
        prefix: put before every text.
    """
    special_tokens = len(_read_ids(tokenizer, "", with_special_tokens=True))
    contents = [_read_ids(tokenizer, prefix + text) for text in CANARY_TEXTS]
    shared = 0  # tokens at the beginning of all texts
    if getattr(tokenizer, "truncation_side", "right") == "right":
        for tokens in zip(*contents, strict=False):
            if len(set(tokens)) > 1:
                break
            shared += 1
    shortest = special_tokens + shared + 1
    if max_length < shortest:
        raise ValueError(
            f"{key}={max_length} leaves no token of the text beside {special_tokens} special ones "
            f"and the {shared} of the prompt {prefix!r}, so all texts would look the same: "
            f"give at least {shortest}"
        )


def list_probe_texts(tokenizer: ReadableTokenizer) -> list[str]:
    """Returns a few different texts, some of them tokens that the tokenizer has learned."""
    learned = sorted(set(tokenizer.get_vocab()) - _list_added_tokens(tokenizer))
    texts = list(CANARY_TEXTS[:: len(CANARY_TEXTS) // CANARY_TEXTS_AS_PROBES])
    for token in learned[:: max(1, len(learned) // TOKENS_AS_PROBES)]:
        text = token.strip(MARKS_OF_TOKENS)
        if text and text not in texts:
            texts.append(text)
    return texts


def _find_embedding(transformer: nn.Module) -> nn.Embedding | nn.EmbeddingBag | None:
    """Returns the table of a model's token ids; None if it has none, or does not say which."""
    table = getattr(transformer, "embedding", None)
    if not isinstance(table, nn.EmbeddingBag):
        try:
            table = transformer.get_input_embeddings()
        except (AttributeError, NotImplementedError):
            return None
    return table if isinstance(table, nn.Embedding | nn.EmbeddingBag) else None


def _read_ids(
    tokenizer: ReadableTokenizer, text: str, with_special_tokens: bool = False
) -> list[int]:
    """Returns the token ids of a text, all of them."""
    if isinstance(tokenizer, Tokenizer):
        return tokenizer.encode(text, add_special_tokens=with_special_tokens).ids
    # Not verbose, as that would warn of a text longer than the model takes.
    return tokenizer(text, add_special_tokens=with_special_tokens, verbose=False)["input_ids"]


def _list_added_tokens(tokenizer: ReadableTokenizer) -> set[str]:
    """Returns the tokens that stand beside what a tokenizer has learned, special ones included."""
    if isinstance(tokenizer, Tokenizer):
        return {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    return set(tokenizer.get_added_vocab()) | set(tokenizer.all_special_tokens)


def _list_special_tokens(tokenizer: ReadableTokenizer) -> set[str]:
    if isinstance(tokenizer, Tokenizer):
        added = tokenizer.get_added_tokens_decoder().values()
        return {token.content for token in added if token.special}
    # A reserved token may be special without having a role of its own.
    added = tokenizer.added_tokens_decoder.values()
    return set(tokenizer.all_special_tokens) | {token.content for token in added if token.special}
