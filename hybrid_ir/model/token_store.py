"""Ragged token batches, and texts tokenised once into memory-mapped files."""

# B texts of a batch, T tokens of all of them together

import json
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock, Timeout
from rich.progress import track

from hybrid_ir.types import Text

LAYOUT = 2  # of the files
TEXTS_PER_SHARD = (
    1 << 20
)  # texts of one; what is whole when a process is stopped stays, and processes share the others
TEXTS_PER_CALL = 4096  # texts tokenised per call of the tokenizer
TEXTS_WITH_PROGRESS_BAR = 50_000  # texts from which a progress bar is worth its line
ReadTexts = Callable[
    [Sequence[Text | None]], tuple[list[list[int]], int]
]  # tokens of texts, and how many texts were cut


@dataclass  # not frozen: Lightning takes what is in a batch apart for double precision
class RaggedTokens:
    """Token ids of some texts without padding: text i is the next `lengths_B[i]` ids of `ids_T`."""

    ids_T: torch.Tensor
    lengths_B: torch.Tensor  # on the CPU, where batches are cut

    def __len__(self) -> int:
        return len(self.lengths_B)

    def to(self, device, non_blocking: bool = False) -> "RaggedTokens":
        return RaggedTokens(self.ids_T.to(device, non_blocking=non_blocking), self.lengths_B)


def concatenate_tokens(texts: Sequence[np.ndarray]) -> RaggedTokens:
    ids_T = np.concatenate(texts).astype(np.int64) if texts else np.empty(0, np.int64)
    return RaggedTokens(
        torch.from_numpy(ids_T), torch.tensor([len(text) for text in texts], dtype=torch.long)
    )


class TokenShard:
    """The tokens of consecutive texts, memory-mapped from a folder; OSError or ValueError where it is not whole."""

    def __init__(self, folder: Path):
        self.card = json.loads((folder / "card.json").read_text())
        self.offsets = np.asarray(np.load(folder / "offsets.npy", mmap_mode="r"))
        # plain arrays: slices of them cost a tenth of those of np.memmap
        self.ids = (
            np.asarray(np.memmap(folder / "ids.bin", np.int32, "r"))
            if self.offsets[-1]
            else np.empty(0, np.int32)
        )
        if len(self.ids) != self.offsets[-1]:
            raise OSError(
                f"{folder} holds {len(self.ids)} tokens, its index says {self.offsets[-1]}"
            )


class TokenStore:
    """The tokens of a list of texts; `take(rows)` gives a ragged batch."""

    def __init__(self, shards: Sequence[TokenShard]):
        self.shards, self.size = shards, sum(len(shard.offsets) - 1 for shard in shards)
        self.card = {
            key: sum(shard.card[key] for shard in shards) for key in ("texts", "truncated")
        }

    def __len__(self) -> int:
        return self.size

    @property
    def lengths(self) -> np.ndarray:
        return np.concatenate([np.diff(shard.offsets) for shard in self.shards])

    def __getitem__(self, row: int) -> np.ndarray:
        shard, row = self.shards[row // TEXTS_PER_SHARD], row % TEXTS_PER_SHARD
        return shard.ids[shard.offsets[row] : shard.offsets[row + 1]]

    def take(self, rows: Iterable[int]) -> RaggedTokens:
        return concatenate_tokens([self[row] for row in rows])


def load_or_tokenise(texts: Sequence[Text | None], read: ReadTexts, folder: Path) -> TokenStore:
    """The tokens of texts from a folder, or made there; processes that want the same share the shards that are to be made."""
    places = [
        folder / f"{number:05d}" for number in range(max(1, -(-len(texts) // TEXTS_PER_SHARD)))
    ]
    missing = [number for number, place in enumerate(places) if load_shard(place) is None]
    if missing:
        folder.mkdir(parents=True, exist_ok=True)
        left = []
        for number in track(missing, "tokenise", disable=len(missing) < 2, transient=True):
            if not tokenise_shard(texts, read, places[number], number, wait=False):
                left.append(number)
        for number in left:  # others have them in work, or had when they were stopped
            tokenise_shard(texts, read, places[number], number, wait=True)
    return TokenStore([TokenShard(place) for place in places])


def load_shard(place: Path) -> TokenShard | None:
    try:
        return TokenShard(place)
    except (OSError, ValueError):  # not there yet, or damaged
        return None


def tokenise_shard(
    texts: Sequence[Text | None], read: ReadTexts, place: Path, number: int, wait: bool
) -> bool:
    """One shard, unless it is whole; False where another process is at it and shall not be waited for."""
    try:
        with FileLock(f"{place}.lock", timeout=-1 if wait else 0):
            if load_shard(place) is None:
                write_shard(
                    texts,
                    range(
                        number * TEXTS_PER_SHARD, min((number + 1) * TEXTS_PER_SHARD, len(texts))
                    ),
                    read,
                    place,
                )
    except Timeout:
        return False
    return True


def write_shard(texts: Sequence[Text | None], rows: range, read: ReadTexts, place: Path) -> None:
    written = place.with_name(
        f".{place.name}.writing"
    )  # renamed when whole, so that nobody ever reads half a shard
    shutil.rmtree(written, ignore_errors=True)  # of a process that was killed: the shard is locked
    written.mkdir()
    try:
        lengths, truncated = [np.zeros(1, np.int64)], 0
        with open(written / "ids.bin", "wb") as file:
            for start in track(
                range(rows.start, rows.stop, TEXTS_PER_CALL),
                "tokenise",
                disable=len(rows) < TEXTS_WITH_PROGRESS_BAR,
                transient=True,
            ):
                ids, cut = read(texts[start : min(start + TEXTS_PER_CALL, rows.stop)])
                lengths.append(np.array([len(row) for row in ids], np.int64))
                file.write(
                    np.fromiter(
                        chain.from_iterable(ids), np.int32, int(lengths[-1].sum())
                    ).tobytes()
                )
                truncated += cut
        np.save(written / "offsets.npy", np.cumsum(np.concatenate(lengths)))
        (written / "card.json").write_text(json.dumps({"texts": len(rows), "truncated": truncated}))
        shutil.rmtree(place, ignore_errors=True)
        os.rename(written, place)
    finally:
        shutil.rmtree(written, ignore_errors=True)
