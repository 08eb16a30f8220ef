"""The rows that batches of each kind go through, and the random order of a pass through them."""

# B positions, R runs of consecutive rows (of pairs in the same languages, see Availability),
# L languages

import math

import numpy as np

from hybrid_ir.data.language_choice import LanguageChoice
from hybrid_ir.types import CorpusPart

# Rows up to which an order is drawn uniformly and held in memory. Beyond, each position is computed
# when it is needed.
LARGEST_DRAWN_SIZE = 1 << 20
ROUNDS = 8  # of the cipher
POSITIONS_AT_ONCE = 1 << 13  # positions that are computed together
NO_STREAM = -1  # in place of the number of a stream


class RowRuns:
    """A sorted list of row numbers, held as runs of consecutive ones.

    It behaves like the array of all the rows: `rows[positions]` gives the rows at these positions.

    Args:
        starts_R: first row of each run.
        ends_R: the row after the last one of each run.
    """

    def __init__(self, starts_R: np.ndarray, ends_R: np.ndarray):
        self.starts_R = starts_R
        # The position of the first row of each run, and last the number of all rows (R + 1).
        self.offsets = np.concatenate([[0], np.cumsum(ends_R - starts_R)])

    def __len__(self) -> int:
        return int(self.offsets[-1])

    def __getitem__(self, positions_B: np.ndarray) -> np.ndarray:
        run_B = np.searchsorted(self.offsets, positions_B, side="right") - 1
        return self.starts_R[run_B] + positions_B - self.offsets[run_B]


class Permutation:
    """A random permutation of range(size); `order[start:stop]` is that part of it, int64.

    A short permutation is drawn at once. A long one is a cipher of the position, so that a part of
    it costs neither time nor memory for the rest.

    Args:
        key: integers of at least 0; equal keys give equal permutations.
        size: number of elements.
    """

    def __init__(self, key: list[int], size: int):
        self.size = size
        rng = np.random.default_rng(key)
        self._order: np.ndarray | None = None
        if size <= LARGEST_DRAWN_SIZE:
            self._order = rng.permutation(size)
            return
        # The cipher works on pairs (a, b) with a < left and b < right, and left * right >= size.
        self._left = math.isqrt(size - 1) + 1
        self._right = -(-size // self._left)
        self._keys = rng.integers(0, 1 << 64, ROUNDS, dtype=np.uint64)
        # The part that was computed last, since batches are read one after another.
        self._computed_from = 0
        self._computed = np.empty(0, np.int64)

    def __getitem__(self, part: slice) -> np.ndarray:
        if self._order is not None:
            return self._order[part]
        start, stop, _ = part.indices(self.size)
        first = self._computed_from
        if not first <= start <= stop <= first + len(self._computed):
            first = start
            self._computed_from = start
            end = min(self.size, max(stop, start + POSITIONS_AT_ONCE))
            self._computed = self._compute(start, end)
        return self._computed[start - first : stop - first]

    def _compute(self, start: int, stop: int) -> np.ndarray:
        """Returns the elements at positions from start to stop."""
        elements_B = self._encipher(np.arange(start, stop, dtype=np.uint64))
        # The cipher permutes range(left * right), which is a little larger than range(size).
        # Enciphering again what falls outside leads back into it, and no two elements meet.
        outside_B = elements_B >= self.size
        while outside_B.any():
            elements_B[outside_B] = self._encipher(elements_B[outside_B])
            outside_B = elements_B >= self.size
        return elements_B.astype(np.int64)

    def _encipher(self, numbers_B: np.ndarray) -> np.ndarray:
        """Permutes range(left * right) by a Feistel network.

        Black and Rogaway 2002, Ciphers with Arbitrary Finite Domains.
        """
        left = np.uint64(self._left)
        right = np.uint64(self._right)
        a_B = numbers_B % left
        b_B = numbers_B // left
        for number, key in enumerate(self._keys):
            if number % 2:
                b_B = (b_B + _mix_bits(a_B ^ key)) % right
            else:
                a_B = (a_B + _mix_bits(b_B ^ key)) % left
        return b_B * left + a_B


def _mix_bits(bits_B: np.ndarray) -> np.ndarray:
    """Returns a hash of each 64-bit number: the finaliser of SplitMix64.

    It is halved, so that adding a small number to it does not overflow.
    """
    bits_B = (bits_B ^ (bits_B >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits_B = (bits_B ^ (bits_B >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (bits_B ^ (bits_B >> np.uint64(31))) >> np.uint64(1)


class RowStreams:
    """The sets of rows of one corpus that batches are taken from.

    A batch in one language takes rows that have a query and a passage in this language. A batch
    whose examples choose their languages takes rows that offer every choice. Equal sets are one
    stream, so that on a fully parallel corpus all batches share one pass over the rows.

    Attributes:
        streams: the distinct sets of rows.
        stream_of_language_L: number of the stream for batches in each language, or NO_STREAM.
        example_stream: number of the stream for batches whose examples choose, or NO_STREAM.
        same_RL: whether a run has a query and a passage in each language that may be drawn.
    """

    def __init__(self, corpus: CorpusPart, choice: LanguageChoice):
        self.corpus = corpus
        usable_L = choice.weights_L > 0
        queries_RL = corpus.index.availability.queries_RL & usable_L
        passages_RL = corpus.index.availability.passages_RL & usable_L
        self.same_RL = queries_RL & passages_RL
        self.streams: list[RowRuns] = []
        numbers: dict[bytes, int] = {}  # of the streams, by their runs

        self.stream_of_language_L = np.full(len(usable_L), NO_STREAM)
        if choice.has_monolingual_batches and "monolingual" in corpus.kinds:
            for language, runs_R in enumerate(self.same_RL.T):
                self.stream_of_language_L[language] = self._find_stream(runs_R, numbers)
        self.example_stream = NO_STREAM
        if self._may_serve_examples(choice):
            runs_R = choice.find_rows_for_examples(queries_RL, passages_RL)
            self.example_stream = self._find_stream(runs_R, numbers)

    def _may_serve_examples(self, choice: LanguageChoice) -> bool:
        """Returns whether the corpus may serve every kind of example that such a batch can have."""
        if not choice.has_example_batches:
            return False
        if choice.has_monolingual_examples and "monolingual" not in self.corpus.kinds:
            return False
        return not choice.has_cross_lingual_examples or "cross_lingual" in self.corpus.kinds

    def _find_stream(self, runs_R: np.ndarray, numbers: dict[bytes, int]) -> int:
        """Returns the number of the stream of these runs, which is added if it is new."""
        if not runs_R.any():
            return NO_STREAM
        key = runs_R.tobytes()
        if key not in numbers:
            numbers[key] = len(self.streams)
            self.streams.append(self.corpus.index.availability.select_rows(runs_R))
        return numbers[key]

    @property
    def drawable_L(self) -> np.ndarray:
        """Whether a batch in each language can be taken from this corpus."""
        return self.stream_of_language_L != NO_STREAM

    def serves(self, monolingual: bool) -> bool:
        """Returns whether the corpus has batches of a kind.

        Args:
            monolingual: True for batches in one language, False for batches whose examples choose.
        """
        if monolingual:
            return bool(self.drawable_L.any())
        return self.example_stream != NO_STREAM
