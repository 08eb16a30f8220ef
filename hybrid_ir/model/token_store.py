"""Ragged token batches, and texts tokenised once into memory-mapped files.

Shapes: B texts of a batch, T tokens of all of them together.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock, Timeout

from hybrid_ir.files.atomic import write_folder_atomically
from hybrid_ir.system.progress import track_progress
from hybrid_ir.types import Text

LAYOUT = 2  # version of the files
# Texts of a shard. A complete shard stays when a process is stopped, and processes share shards.
TEXTS_PER_SHARD = 1 << 20
TEXTS_PER_CALL = 4096  # texts tokenised in one call of the tokenizer
TEXTS_WITH_PROGRESS_BAR = 50_000  # texts from which a progress bar is worth its line
WAIT_FOREVER = -1  # seconds, as FileLock has them
# Tokenises texts: returns the token ids of each, and how many texts were too long.
Tokenise = Callable[[Sequence[Text | None]], tuple[list[list[int]], int]]


@dataclass  # not frozen: Lightning rewrites the fields of a batch for double precision
class RaggedTokens:
    """Token ids of several texts without padding.

    Attributes:
        ids_T: ids of all texts, one text behind the other.
        lengths_B: tokens of each text; it stays on the CPU, where batches are cut.
    """

    ids_T: torch.Tensor
    lengths_B: torch.Tensor

    def __len__(self) -> int:
        return len(self.lengths_B)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "RaggedTokens":
        """Returns the same tokens with their ids on a device."""
        if torch.device(device).type == "cuda" and self.ids_T.device.type == "cpu":
            # From pinned memory the copy runs beside what the GPU computes.
            pinned_T = self.ids_T.pin_memory()
            return RaggedTokens(pinned_T.to(device, non_blocking=True), self.lengths_B)
        return RaggedTokens(self.ids_T.to(device, non_blocking=non_blocking), self.lengths_B)

    def join(self, others: "RaggedTokens") -> "RaggedTokens":
        """Returns these texts and others behind them as one batch."""
        return RaggedTokens(
            torch.cat([self.ids_T, others.ids_T]), torch.cat([self.lengths_B, others.lengths_B])
        )


def concatenate_tokens(texts: Sequence[np.ndarray]) -> RaggedTokens:
    """Returns the token ids of each text as one ragged batch."""
    ids_T = np.concatenate(texts).astype(np.int64) if texts else np.empty(0, np.int64)
    lengths_B = torch.tensor([len(text) for text in texts], dtype=torch.long)
    return RaggedTokens(torch.from_numpy(ids_T), lengths_B)


class TokenShard:
    """The tokens of consecutive texts, memory-mapped from a folder.

    Args:
        folder: of the shard.

    Raises:
        OSError: a file is missing or cut.
        ValueError: a file is damaged.
    """

    def __init__(self, folder: Path):
        self.card = json.loads((folder / "card.json").read_text())
        # Plain arrays, as slices of them cost a tenth of those of np.memmap.
        self.offsets = np.asarray(np.load(folder / "offsets.npy", mmap_mode="r"))
        if self.offsets[-1]:
            self.ids = np.asarray(np.memmap(folder / "ids.bin", np.int32, "r"))
        else:
            self.ids = np.empty(0, np.int32)
        if len(self.ids) != self.offsets[-1]:
            raise OSError(
                f"{folder} holds {len(self.ids)} tokens, its index says {self.offsets[-1]}"
            )


class TokenStore:
    """The tokens of a list of texts, in shards.

    Attributes:
        card: how many `texts` there are, and how many of them were `truncated`.
    """

    def __init__(self, shards: Sequence[TokenShard]):
        self.shards = shards
        self.size = sum(len(shard.offsets) - 1 for shard in shards)
        self.card = {
            "texts": sum(shard.card["texts"] for shard in shards),
            "truncated": sum(shard.card["truncated"] for shard in shards),
        }

    def __len__(self) -> int:
        return self.size

    @property
    def lengths(self) -> np.ndarray:
        """The number of tokens of each text."""
        return np.concatenate([np.diff(shard.offsets) for shard in self.shards])

    def __getitem__(self, row: int) -> np.ndarray:
        """Returns the token ids of a text."""
        shard = self.shards[row // TEXTS_PER_SHARD]
        row_in_shard = row % TEXTS_PER_SHARD
        return shard.ids[shard.offsets[row_in_shard] : shard.offsets[row_in_shard + 1]]

    def take(self, rows: Iterable[int]) -> RaggedTokens:
        """Returns the tokens of several texts as a ragged batch."""
        return concatenate_tokens([self[row] for row in rows])


def load_or_tokenise(texts: Sequence[Text | None], tokenise: Tokenise, folder: Path) -> TokenStore:
    """Loads the tokens of texts from a folder, after tokenising those that are missing there.

    Processes that want the same texts share the shards that are to be written.

    Args:
        texts: None has no tokens.
        tokenise: called with some of the texts at a time.
        folder: of these texts under this tokenizer.
    """
    shards = max(1, -(-len(texts) // TEXTS_PER_SHARD))
    places = [folder / f"{number:05d}" for number in range(shards)]
    missing = [number for number, place in enumerate(places) if _load_shard(place) is None]
    if missing:
        folder.mkdir(parents=True, exist_ok=True)
        left = []
        for number in track_progress(missing, "tokenise", is_small=len(missing) < 2):
            if not _write_missing_shard(texts, tokenise, places[number], number, timeout=0):
                left.append(number)
        # Other processes are writing these, or were when they were stopped.
        for number in left:
            _write_missing_shard(texts, tokenise, places[number], number, timeout=WAIT_FOREVER)
    return TokenStore([TokenShard(place) for place in places])


def _load_shard(place: Path) -> TokenShard | None:
    """Returns a shard, None if it is not there yet or damaged."""
    try:
        return TokenShard(place)
    except (OSError, ValueError):
        return None


def _write_missing_shard(
    texts: Sequence[Text | None], tokenise: Tokenise, place: Path, number: int, timeout: float
) -> bool:
    """Writes a shard unless it is complete; returns False if another process is writing it."""
    try:
        with FileLock(f"{place}.lock", timeout=timeout):
            if _load_shard(place) is None:
                first = number * TEXTS_PER_SHARD
                rows = range(first, min(first + TEXTS_PER_SHARD, len(texts)))
                write_shard(texts, rows, tokenise, place)
    except Timeout:
        return False
    return True


def write_shard(texts: Sequence[Text | None], rows: range, tokenise: Tokenise, place: Path) -> None:
    """Tokenises some of the texts and writes them as a shard; the caller holds its lock."""
    lengths = [np.zeros(1, np.int64)]
    truncated = 0
    with write_folder_atomically(place) as folder:
        with open(folder / "ids.bin", "wb") as file:
            for start in track_progress(
                range(rows.start, rows.stop, TEXTS_PER_CALL),
                "tokenise",
                is_small=len(rows) < TEXTS_WITH_PROGRESS_BAR,
            ):
                ids, too_long = tokenise(texts[start : min(start + TEXTS_PER_CALL, rows.stop)])
                lengths.append(np.array([len(row) for row in ids], np.int64))
                tokens = int(lengths[-1].sum())
                file.write(np.fromiter(chain.from_iterable(ids), np.int32, tokens).tobytes())
                truncated += too_long
        np.save(folder / "offsets.npy", np.cumsum(np.concatenate(lengths)))
        card = {"texts": len(rows), "truncated": truncated}
        (folder / "card.json").write_text(json.dumps(card))
