"""Ragged token batches, and texts tokenised once into memory-mapped files."""

# B texts of a batch, T tokens of all of them together

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from rich.progress import track
from transformers import PreTrainedTokenizerBase

from hybrid_ir.types import Text

CHUNK = 4096  # texts tokenised per call of the tokenizer
LONG = 50_000  # texts from which a progress bar is worth its line


@dataclass  # not frozen: Lightning takes what is in a batch apart for double precision
class Tokens:
    """Token ids of some texts without padding: text i is the next `lengths_B[i]` ids of `ids_T`."""

    ids_T: torch.Tensor
    lengths_B: torch.Tensor  # on the CPU, where batches are cut

    def __len__(self) -> int:
        return len(self.lengths_B)

    def to(self, device, non_blocking: bool = False) -> "Tokens":
        return Tokens(self.ids_T.to(device, non_blocking=non_blocking), self.lengths_B)


def ragged(texts: Sequence[np.ndarray]) -> Tokens:
    ids_T = np.concatenate(texts).astype(np.int64) if texts else np.empty(0, np.int64)
    return Tokens(torch.from_numpy(ids_T), torch.tensor([len(text) for text in texts], dtype=torch.long))


class TokenStore:
    """The tokens of a list of texts, memory-mapped from a folder; `take(rows)` gives a ragged batch."""

    def __init__(self, folder: Path):
        self.card = json.loads((folder / "card.json").read_text())
        self.offsets = np.load(folder / "offsets.npy", mmap_mode="r")
        self.ids = np.memmap(folder / "ids.bin", np.int32, "r") if self.offsets[-1] else np.empty(0, np.int32)
        if len(self.ids) != self.offsets[-1]:
            raise OSError(f"{folder} holds {len(self.ids)} tokens, its index says {self.offsets[-1]}")

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        return np.diff(self.offsets)

    def __getitem__(self, row: int) -> np.ndarray:
        return self.ids[self.offsets[row] : self.offsets[row + 1]]

    def take(self, rows: Iterable[int]) -> Tokens:
        return ragged([self[row] for row in rows])


def replace_unless_whole(written: Path, folder: Path, aside: Path) -> None:
    """Move new tokens to their place; where whole ones stand already, another process was faster with the same."""
    while True:
        try:
            return os.rename(written, folder)
        except OSError:
            try:
                TokenStore(folder)
                return None
            except (OSError, ValueError):  # damaged, or gone in this moment
                with suppress(FileNotFoundError):
                    os.rename(folder, aside)


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
        choices = [type(self.tokenizer).__name__, self.prefix, self.max_length]
        return hashlib.sha256(json.dumps([rules, choices], sort_keys=True).encode()).hexdigest()

    def store(self, texts: Sequence[Text | None], cache: Path) -> TokenStore:
        """Tokens of the texts (none for None), from the cache if the same texts were tokenised alike before."""
        digest = hashlib.sha256(self.fingerprint.encode())
        for text in texts:
            digest.update(json.dumps(text).encode())
        folder = cache / "tokens" / digest.hexdigest()[:32]
        try:
            return TokenStore(folder)
        except (OSError, ValueError):  # not there yet, or damaged: make it anew
            self._write(texts, folder)
        return TokenStore(folder)

    def _write(self, texts: Sequence[Text | None], folder: Path) -> None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".writing-") as name:
            written = Path(name) / "tokens"  # renamed when whole, so that nobody ever reads half a cache
            written.mkdir()
            lengths, truncated = [np.zeros(1, np.int64)], 0
            with open(written / "ids.bin", "wb") as file:
                for ids, cut in self._tokenize(texts):
                    lengths.append(np.array([len(row) for row in ids], np.int64))
                    file.write(np.fromiter((i for row in ids for i in row), np.int32).tobytes())
                    truncated += cut
            np.save(written / "offsets.npy", np.cumsum(np.concatenate(lengths)))
            (written / "card.json").write_text(json.dumps({"texts": len(texts), "truncated": truncated}))
            replace_unless_whole(written, folder, Path(name) / "damaged")

    def _tokenize(self, texts: Sequence[Text | None]) -> Iterator[tuple[list[list[int]], int]]:
        starts = range(0, len(texts), CHUNK)
        for start in track(starts, "tokenise", disable=len(texts) < LONG, transient=True):
            yield self.read(texts[start : start + CHUNK])

    def read(self, texts: Sequence[Text | None]) -> tuple[list[list[int]], int]:
        """Token ids of each text, none for None, and how many texts are longer than `max_length`."""
        ids: list[list[int]] = [[] for _ in texts]
        there = [i for i, text in enumerate(texts) if text is not None]
        if not there:
            return ids, 0
        first, second = self._columns([texts[i] for i in there])
        found = self.tokenizer(first, second, truncation=True, max_length=self.max_length, add_special_tokens=True)
        for i, row in zip(there, found["input_ids"], strict=True):
            ids[i] = row
        return ids, sum(bool(encoding.overflowing) for encoding in found.encodings or [])

    def _columns(self, texts: list[Text]) -> tuple[list[str], list[str] | None]:
        if isinstance(texts[0], tuple):
            return [self.prefix + a for a, _ in texts], [b for _, b in texts]
        return [self.prefix + text for text in texts], None
