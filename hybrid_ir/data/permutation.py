"""The random order in which a pass goes through rows; any part of it is known without the rest."""

# B positions, R runs of consecutive rows

import math

import numpy as np

# Up to so many rows the order is drawn uniformly and held in memory. Beyond, each position is
# computed when it is needed.
EXACT = 1 << 20
ROUNDS = 8  # of the cipher
AHEAD = 1 << 13  # positions that are computed in one go


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
        if size <= EXACT:
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
            self._computed = self._compute(start, min(self.size, max(stop, start + AHEAD)))
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
