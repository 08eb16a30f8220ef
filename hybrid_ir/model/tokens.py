"""How texts become tokens."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from hybrid_ir.model.token_store import LAYOUT, TokenStore, load_or_tokenise
from hybrid_ir.types import Text


@dataclass(frozen=True)
class RoleTokenizer:
    """How texts of one role, query or passage, become tokens."""

    tokenizer: PreTrainedTokenizerBase
    prefix: str
    max_length: int  # tokens, special ones included

    @cached_property
    def fingerprint(self) -> str:
        """Changes whenever any text could be tokenised differently."""
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        rules = json.loads(backend.to_str()) if backend else self.tokenizer.get_vocab()
        # left behind by whatever was tokenised last, and set anew by every call
        rules |= {"truncation": None, "padding": None} if backend else {}
        choices = [type(self.tokenizer).__name__, self.prefix, self.max_length, self.tokenizer.truncation_side]
        return hashlib.sha256(json.dumps([rules, choices], sort_keys=True).encode()).hexdigest()

    def store(self, texts: Sequence[Text | None], cache: Path) -> TokenStore:
        """Tokens of the texts (none for None), from the cache if the same texts were tokenised alike before.

        Texts that know a fingerprint of themselves are not read for that.
        """
        digest = hashlib.sha256(f"{LAYOUT} {self.fingerprint}".encode())
        known = getattr(texts, "fingerprint", None)
        for text in texts if known is None else [known]:
            digest.update(json.dumps(text).encode())
        return load_or_tokenise(texts, self.read, Path(cache) / "tokens" / digest.hexdigest()[:32])

    def read(self, texts: Sequence[Text | None]) -> tuple[list[list[int]], int]:
        """Token ids of each text, none for None, and how many texts are longer than `max_length`."""
        ids: list[list[int]] = [[] for _ in texts]
        there = [i for i, text in enumerate(texts) if text is not None]
        if not there:
            return ids, 0
        given = [(self.prefix + text[0], text[1]) if isinstance(text, tuple) else self.prefix + text
                 for text in (texts[i] for i in there)]
        found, cut = self._encoded(given)
        for i, row in zip(there, found, strict=True):
            ids[i] = row
        return ids, cut

    def _encoded(self, texts: list[Text]) -> tuple[list[list[int]], int]:
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        if backend is None:
            columns = [list(column) for column in zip(*texts, strict=True)] if isinstance(texts[0], tuple) else [texts]
            return self.tokenizer(*columns, truncation=True, max_length=self.max_length)["input_ids"], 0
        backend.no_padding()  # straight to it: half of the time of the tokenizer's own call goes into what nobody reads
        backend.enable_truncation(self.max_length, strategy="longest_first", direction=self.tokenizer.truncation_side)
        found = backend.encode_batch_fast(texts)
        return [encoding.ids for encoding in found], sum(bool(encoding.overflowing) for encoding in found)
