"""A benchmark's texts as vectors, in the order in which they can be counted: queries, relevant passages, the others.

Held are the queries, the relevant passages and one chunk, never the corpus. Texts that the encoder reads alike get one and
the same vector within a chunk, and so does every passage that reads like a relevant one: exact ties stay exact.
Shapes: N rows of a chunk (repeated for the windows of a passage), D width.
"""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from rich.progress import Progress

from hybrid_ir.system.progress import PROGRESS_COLUMNS
from hybrid_ir.types import STAGES, Benchmark, Role, Text, TextEncoder


@dataclass(frozen=True)
class EncodedRows:
    """Some rows of the queries or passages of a benchmark, and their vectors; windows of a passage repeat its row."""

    stage: str
    rows_N: np.ndarray
    vectors_ND: torch.Tensor

    @property
    def role(self) -> Role:
        return STAGES[self.stage]


class EncodingPass:
    """One pass over a benchmark's texts, under a progress bar.

    Args:
        texts_per_chunk: texts read, sorted by length and encoded together.
        window_overlap: encode passages that are too long as overlapping windows, with this share of overlap; None cuts them.
        title: of the bar.
    """

    def __init__(
        self,
        benchmark: Benchmark,
        encoder: TextEncoder,
        texts_per_chunk: int = 4096,
        window_overlap: float | None = None,
        title: str | None = None,
    ):
        self.benchmark, self.encoder, self.title = (
            benchmark,
            encoder,
            title or f"encode {benchmark.name}",
        )
        self.texts_per_chunk, self.window_overlap = texts_per_chunk, window_overlap
        self.relevant = np.zeros(len(benchmark.passages), bool)
        for rows in benchmark.relevant:
            self.relevant[rows] = True
        self.windows = 0  # encoded beyond one a passage
        self.read_before, self.cut_before = dict(encoder.texts_read), dict(encoder.texts_cut)

    def texts_cut(self) -> dict[Role, float | None]:
        """Share of the texts read in this pass that were longer than the encoder reads; None where it does not count."""
        read, cut = self.encoder.texts_read, self.encoder.texts_cut
        return {
            role: None
            if cut[role] is None
            else (cut[role] - self.cut_before[role]) / max(1, read[role] - before)
            for role, before in self.read_before.items()
        }

    def __iter__(self) -> Iterator[EncodedRows]:
        known: dict[Hashable, torch.Tensor] = {}
        with Progress(*PROGRESS_COLUMNS, transient=True) as progress:
            task = progress.add_task(
                self.title, total=len(self.benchmark.queries) + len(self.benchmark.passages)
            )
            for stage, role in STAGES.items():
                for rows, texts in self._chunks(stage):
                    rows_N, pieces = (
                        self._pieces(rows, texts) if role == "passage" else (rows, texts)
                    )
                    items = self.encoder.read(pieces, role)
                    vectors = self._encode(items, role, known if role == "passage" else {})
                    if stage == "relevant":
                        known |= dict(zip(items, vectors, strict=True))
                    yield EncodedRows(stage, rows_N, vectors)
                    progress.advance(task, len(rows))

    def _chunks(self, stage: str) -> Iterator[tuple[np.ndarray, Sequence[Text]]]:
        size = self.texts_per_chunk
        if stage == "queries":
            for start in range(0, len(self.benchmark.queries), size):
                texts = self.benchmark.queries[start : start + size]
                yield np.arange(start, start + len(texts)), texts
        elif stage == "relevant":
            rows = np.flatnonzero(self.relevant)
            for start in range(0, len(rows), size):
                part = rows[start : start + size]
                yield part, [self.benchmark.passages[int(row)] for row in part]
        else:
            for start in range(0, len(self.benchmark.passages), size):
                texts = self.benchmark.passages[start : start + size]
                wanted = np.flatnonzero(~self.relevant[start : start + size])
                if len(wanted):
                    yield start + wanted, [texts[place] for place in wanted]

    def _pieces(self, rows: np.ndarray, texts: Sequence[Text]) -> tuple[np.ndarray, Sequence[Text]]:
        if self.window_overlap is None:
            return rows, texts
        cut = [self.encoder.windows(text, self.window_overlap) for text in texts]
        self.windows += sum(map(len, cut)) - len(cut)
        return np.repeat(rows, [len(windows) for windows in cut]), [
            window for windows in cut for window in windows
        ]

    def _encode(
        self, items: list[Hashable], role: Role, known: dict[Hashable, torch.Tensor]
    ) -> torch.Tensor:
        new = list(dict.fromkeys(item for item in items if item not in known))
        place = {item: i for i, item in enumerate(new)}
        if not new:
            return torch.stack([known[item] for item in items])
        encoded = self.encoder.encode(new, role)
        if encoded.device.type == "mps":  # it has no float64, on which exact counts rest
            encoded = encoded.cpu()
        vectors = encoded[
            torch.tensor([place.get(item, 0) for item in items], device=encoded.device)
        ]
        for i, item in enumerate(items):
            if item in known:
                vectors[i] = known[item]
        return vectors
