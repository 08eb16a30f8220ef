"""Turns the texts of a benchmark into vectors: queries, then relevant passages, then the others.

In this order each passage can be counted as soon as it is a vector, and only the queries, the
relevant passages and one chunk need to be held.

A benchmark is cut into chunks, texts of one stage that are encoded together, in one of two ways:

- `TokenChunks` knows all tokens in advance, from the token store of a training run. It encodes
  texts of equal tokens once and sorts the texts by length, so that little is padded. Whole chunks
  are dealt out to the processes of a distributed run. Lightning iterates over it.
- `TextChunks` reads the texts of any encoder lazily and in order, so that a corpus of any size
  can be read from disk. `EncodingPass` iterates over it.

The last bits of a vector can depend on the texts that stand beside its own. So both ways form the
same chunks every time, on any number of processes, and texts that the encoder cannot tell apart
share one vector: exact ties stay exact.

Shapes: B distinct texts of a chunk, N rows of a chunk (repeated for the windows of a passage),
D width of the vectors.
"""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from hybrid_ir.evaluation.encoding_speed import EncodingSpeed
from hybrid_ir.model.token_store import TokenStore
from hybrid_ir.model.tokens import RoleTokenizer
from hybrid_ir.system.progress import show_progress
from hybrid_ir.types import STAGES, Benchmark, Role, Text, TextEncoder

# How far the length of a vector of cosine similarity may be from 1, which covers bf16.
LARGEST_LENGTH_ERROR = 0.02


@dataclass(frozen=True)
class EncodedRows:
    """The vectors of some rows of a benchmark; a row is repeated for each window of a passage."""

    stage: str
    rows_N: np.ndarray
    vectors_ND: torch.Tensor

    @property
    def role(self) -> Role:
        """Whether the rows are queries or passages."""
        return STAGES[self.stage]


@dataclass  # not frozen: Lightning rebuilds the tensors of a batch for double precision
class Chunk:
    """Texts of one stage that are encoded together.

    Attributes:
        stage: a key of STAGES.
        rows_N: rows of the queries or passages of the benchmark.
        place_N: which of the distinct inputs each row has.
        inputs: the B distinct inputs of the encoder, in the form that it takes.
    """

    stage: str
    rows_N: np.ndarray
    place_N: np.ndarray
    inputs: Any

    def to(self, device, non_blocking: bool = False) -> "Chunk":
        """Moves the inputs to a device, as Lightning asks of a batch."""
        return replace(self, inputs=self.inputs.to(device, non_blocking))

    def assign(self, vectors_BD: torch.Tensor) -> EncodedRows:
        """Gives every row the vector of its input."""
        place_N = torch.from_numpy(self.place_N).to(vectors_BD.device)
        return EncodedRows(self.stage, self.rows_N, vectors_BD.detach()[place_N])


def mark_relevant(benchmark: Benchmark) -> np.ndarray:
    """Returns a mask of the passages that are relevant to some query."""
    is_relevant = np.zeros(len(benchmark.passages), bool)
    for rows in benchmark.relevant:
        is_relevant[np.asarray(rows, np.int64)] = True
    return is_relevant


class TokenChunks(Dataset):
    """Cuts a benchmark whose tokens are known in advance: equal texts once, long texts first.

    Whole chunks are dealt out to processes, so that a text is encoded beside the same others on
    any number of them. All processes have equally many chunks, some of them empty, since they
    have to exchange what they hold at the same time.

    Args:
        benchmark: whose texts are encoded.
        tokenizers: `query` and `passage`, of the encoder.
        cache: folder of the token store.
        texts_per_chunk: distinct texts encoded together.
        rank: of this process.
        world_size: number of processes.
    """

    def __init__(
        self,
        benchmark: Benchmark,
        tokenizers: Mapping[str, RoleTokenizer],
        cache: Path,
        texts_per_chunk: int = 512,
        rank: int = 0,
        world_size: int = 1,
    ):
        self.stores: dict[Role, TokenStore] = {
            "query": tokenizers["query"].store(benchmark.queries, cache),
            "passage": tokenizers["passage"].store(benchmark.passages, cache),
        }
        relevant, others = self._split_passages(mark_relevant(benchmark))
        groups = {
            "queries": group_equal_texts(self.stores["query"]),
            "relevant": relevant,
            "others": others,
        }
        self.chunks: list[tuple[str, list[np.ndarray]]] = []
        texts_per_round = texts_per_chunk * world_size
        for stage, role in STAGES.items():
            sorted_groups = sort_by_length(groups[stage], self.stores[role])
            rounds = -(-max(1, len(sorted_groups)) // texts_per_round)
            for number in range(rounds):
                start = number * texts_per_round + rank * texts_per_chunk
                self.chunks.append((stage, sorted_groups[start : start + texts_per_chunk]))

    def _split_passages(self, is_relevant: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Returns the groups of equal passages with a relevant one among them, and the others."""
        relevant = []
        others = []
        for rows in group_equal_texts(self.stores["passage"]):
            if is_relevant[rows].any():
                relevant.append(rows)
            else:
                others.append(rows)
        return relevant, others

    def __len__(self) -> int:
        return len(self.chunks)

    def __getitem__(self, index: int) -> Chunk:
        stage, groups = self.chunks[index]
        no_rows = np.zeros(0, np.int64)
        return Chunk(
            stage=stage,
            rows_N=np.concatenate([no_rows, *groups]),
            place_N=np.repeat(np.arange(len(groups)), [len(rows) for rows in groups]),
            inputs=self.stores[STAGES[stage]].take(rows[0] for rows in groups),
        )

    def texts_cut(self) -> dict[Role, float]:
        """Returns the share of queries and of passages that are longer than the encoder reads."""
        return {
            role: store.card["truncated"] / max(1, len(store))
            for role, store in self.stores.items()
        }


def group_equal_texts(store: TokenStore) -> list[np.ndarray]:
    """Groups the rows of a token store that hold the same tokens, in order of appearance."""
    rows_by_tokens: dict[bytes, list[int]] = {}
    for row in range(len(store)):
        rows_by_tokens.setdefault(store[row].tobytes(), []).append(row)
    return [np.array(rows) for rows in rows_by_tokens.values()]


def sort_by_length(groups: list[np.ndarray], store: TokenStore) -> list[np.ndarray]:
    """Sorts groups of rows of equal tokens from long to short texts."""
    lengths = store.lengths
    return sorted(groups, key=lambda rows: -lengths[rows[0]])


class TextChunks:
    """Cuts a benchmark whose texts are read lazily, slice after slice, by any encoder.

    The encoder sorts the texts of a chunk by length itself. Iterating yields chunks whose inputs
    are what the encoder read, each distinct item once.

    Args:
        benchmark: whose texts are encoded.
        encoder: reads the texts.
        texts_per_chunk: texts read at once.
        window_overlap: encode passages that are too long as overlapping windows, with this share
            of overlap; None cuts them.
    """

    def __init__(
        self,
        benchmark: Benchmark,
        encoder: TextEncoder,
        texts_per_chunk: int = 4096,
        window_overlap: float | None = None,
    ):
        self.benchmark = benchmark
        self.encoder = encoder
        self.texts_per_chunk = texts_per_chunk
        self.window_overlap = window_overlap
        self.is_relevant = mark_relevant(benchmark)
        self.windows = 0  # read beyond one a passage
        self.speed = EncodingSpeed()
        self._texts_read_before = dict(encoder.texts_read)
        self._texts_cut_before = dict(encoder.texts_cut)

    def __iter__(self) -> Iterator[Chunk]:
        readers = {
            "queries": self._read_queries,
            "relevant": self._read_relevant,
            "others": self._read_others,
        }
        for stage, role in STAGES.items():
            for rows, texts in readers[stage]():
                if role == "passage" and self.window_overlap is not None:
                    rows, texts = self._split_into_windows(rows, texts)
                yield self._make_chunk(stage, rows, texts)

    def texts_cut(self) -> dict[Role, float | None]:
        """Returns the share of the texts read here that were longer than the encoder reads.

        None for a role whose texts the encoder does not count.
        """
        shares: dict[Role, float | None] = {}
        for role, read_before in self._texts_read_before.items():
            cut = self.encoder.texts_cut[role]
            shares[role] = None
            if cut is not None:
                cut_here = cut - self._texts_cut_before[role]
                shares[role] = cut_here / max(1, self.encoder.texts_read[role] - read_before)
        return shares

    def _make_chunk(self, stage: str, rows_N: np.ndarray, texts: Sequence[Text]) -> Chunk:
        items = self.encoder.read(texts, STAGES[stage])
        place_of: dict[Hashable, int] = {}
        for item in items:
            place_of.setdefault(item, len(place_of))
        place_N = np.array([place_of[item] for item in items], np.int64)
        return Chunk(stage, rows_N, place_N, list(place_of))

    def _read_queries(self) -> Iterator[tuple[np.ndarray, Sequence[Text]]]:
        for start in range(0, len(self.benchmark.queries), self.texts_per_chunk):
            texts = self.benchmark.queries[start : start + self.texts_per_chunk]
            yield np.arange(start, start + len(texts)), texts

    def _read_relevant(self) -> Iterator[tuple[np.ndarray, Sequence[Text]]]:
        rows = np.flatnonzero(self.is_relevant)
        for start in range(0, len(rows), self.texts_per_chunk):
            part = rows[start : start + self.texts_per_chunk]
            yield part, [self.benchmark.passages[int(row)] for row in part]

    def _read_others(self) -> Iterator[tuple[np.ndarray, Sequence[Text]]]:
        for start in range(0, len(self.benchmark.passages), self.texts_per_chunk):
            end = start + self.texts_per_chunk
            texts = self.benchmark.passages[start:end]
            places = np.flatnonzero(~self.is_relevant[start:end])
            if len(places):
                yield start + places, [texts[place] for place in places]

    def _split_into_windows(
        self, rows: np.ndarray, texts: Sequence[Text]
    ) -> tuple[np.ndarray, Sequence[Text]]:
        """Returns the windows of passages, each with the row of its passage."""
        windows: list[Text] = []
        windows_per_text: list[int] = []
        for text in texts:
            windows_of_text = self.encoder.windows(text, self.window_overlap)
            windows += windows_of_text
            windows_per_text.append(len(windows_of_text))
        self.windows += len(windows) - len(texts)
        return np.repeat(rows, windows_per_text), windows


def require_vectors(vectors_BD: object, count: int, encoder: TextEncoder) -> None:
    """Raises a ValueError if an encoder's answer is not a vector (real numbers) for each text.

    Vectors that are compared by cosine must have length 1, since scores are inner products.
    """
    name = f"the encoder {encoder.name!r}"
    if not isinstance(vectors_BD, torch.Tensor):
        raise ValueError(f"{name} gave a {type(vectors_BD).__name__}, not a torch tensor")
    if vectors_BD.ndim != 2 or len(vectors_BD) != count or not vectors_BD.is_floating_point():
        raise ValueError(
            f"{name} gave {vectors_BD.dtype} of shape {tuple(vectors_BD.shape)} for {count} texts: "
            "it must be floating-point numbers, a row for each text"
        )
    if encoder.similarity not in ("cosine", "dot"):
        raise ValueError(f"{name}: similarity={encoder.similarity!r} must be cosine or dot")
    if encoder.similarity == "cosine" and count > 0:
        lengths_B = vectors_BD.float().norm(dim=1)
        # What is not finite is refused later, with its text.
        worst = (lengths_B - 1).abs().nan_to_num(0, 0, 0).max().item()
        if worst > LARGEST_LENGTH_ERROR:
            raise ValueError(
                f"{name} gave vectors with a length that differs from 1 by {worst:.3g}, and "
                "similarity='cosine': normalise them, or say similarity='dot'"
            )


class EncodingPass:
    """Encodes the chunks of a benchmark, under a progress bar.

    A passage that reads like a relevant one gets that one's very vector, in whatever chunk it is:
    otherwise rounding would decide a tie.

    Args:
        chunks: the texts.
        title: of the progress bar; by default it names the benchmark.
    """

    def __init__(self, chunks: TextChunks, title: str | None = None):
        self.chunks = chunks
        self.title = title or f"encode {chunks.benchmark.name}"

    def __iter__(self) -> Iterator[EncodedRows]:
        benchmark = self.chunks.benchmark
        total = len(benchmark.queries) + len(benchmark.passages)
        relevant_vectors: dict[Hashable, torch.Tensor] = {}
        with show_progress(self.title, total, texts_per_unit=1) as progress:
            for chunk in self.chunks:
                if STAGES[chunk.stage] == "query":
                    vectors_BD = self._encode(chunk.inputs, "query")
                else:
                    vectors_BD = self._encode_passages(chunk.inputs, relevant_vectors)
                if chunk.stage == "relevant":
                    relevant_vectors.update(zip(chunk.inputs, vectors_BD, strict=True))
                yield chunk.assign(vectors_BD)
                progress.advance(len(np.unique(chunk.rows_N)))

    def _encode(self, items: list[Hashable], role: Role) -> torch.Tensor:
        vectors_BD = self.chunks.speed.encode(self.chunks.encoder, items, role)
        require_vectors(vectors_BD, len(items), self.chunks.encoder)
        if vectors_BD.device.type == "mps":  # it has no float64, on which exact counts rest
            return vectors_BD.cpu()
        return vectors_BD

    def _encode_passages(
        self, items: list[Hashable], relevant_vectors: Mapping[Hashable, torch.Tensor]
    ) -> torch.Tensor:
        new_items = [item for item in items if item not in relevant_vectors]
        if len(new_items) == len(items):
            return self._encode(items, "passage")
        vectors = {item: relevant_vectors[item] for item in items if item in relevant_vectors}
        if new_items:
            vectors.update(zip(new_items, self._encode(new_items, "passage"), strict=True))
        return torch.stack([vectors[item] for item in items])
