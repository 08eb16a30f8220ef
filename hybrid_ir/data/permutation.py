"""In which order a pass goes through rows: a random one, of which any part is known without the rest."""

# B positions or rows, R runs of consecutive rows

import math

import numpy as np

EXACT = (
    1 << 20
)  # rows whose order is drawn uniformly and held in memory; beyond, it is computed where it is looked at
ROUNDS = 8
AHEAD = 1 << 13  # positions that are computed together


class RowRuns:
    """Sorted rows of a table as runs of consecutive ones: `rows[positions]` gives those at positions of the list."""

    def __init__(self, starts_R: np.ndarray, ends_R: np.ndarray):
        self.starts_R, self.offsets = starts_R, np.concatenate([[0], np.cumsum(ends_R - starts_R)])

    def __len__(self) -> int:
        return int(self.offsets[-1])

    def __getitem__(self, positions_B: np.ndarray) -> np.ndarray:
        run_B = np.searchsorted(self.offsets, positions_B, side="right") - 1
        return self.starts_R[run_B] + positions_B - self.offsets[run_B]


class Permutation:
    """A permutation of range(size) for a key (any integers >= 0); `order[start:stop]` is that part of it, int64."""

    def __init__(self, key: list[int], size: int):
        self.size, rng = size, np.random.default_rng(key)
        self.drawn = rng.permutation(size) if size <= EXACT else None
        if self.drawn is None:
            self.left = math.isqrt(size - 1) + 1
            self.right = -(-size // self.left)
            self.keys = rng.integers(0, 1 << 64, ROUNDS, dtype=np.uint64)
            self.ahead = (0, np.empty(0, np.int64))

    def __getitem__(self, part: slice) -> np.ndarray:
        if self.drawn is not None:
            return self.drawn[part]
        start, stop, _ = part.indices(self.size)
        first, known = self.ahead
        if not first <= start <= stop <= first + len(known):
            first, known = self.ahead = (
                start,
                self._compute(start, min(self.size, max(stop, start + AHEAD))),
            )
        return known[start - first : stop - first]

    def _compute(self, start: int, stop: int) -> np.ndarray:
        found_B = self._encipher(np.arange(start, stop, dtype=np.uint64))
        while (
            outside_B := found_B >= self.size
        ).any():  # cycle walking: the domain is a little larger than size
            found_B[outside_B] = self._encipher(found_B[outside_B])
        return found_B.astype(np.int64)

    def _encipher(self, numbers_B: np.ndarray) -> np.ndarray:
        """A Feistel network over range(left * right) (Black and Rogaway 2002, Ciphers with Arbitrary Finite Domains)."""
        left, right = np.uint64(self.left), np.uint64(self.right)
        a_B, b_B = numbers_B % left, numbers_B // left
        for number, key in enumerate(self.keys):
            if number % 2:
                b_B = (b_B + mix_bits(a_B ^ key)) % right
            else:
                a_B = (a_B + mix_bits(b_B ^ key)) % left
        return b_B * left + a_B


def mix_bits(bits_B: np.ndarray) -> np.ndarray:
    """A hash of each 64-bit number (the finaliser of SplitMix64), halved so that a small number can be added to it."""
    bits_B = (bits_B ^ (bits_B >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits_B = (bits_B ^ (bits_B >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (bits_B ^ (bits_B >> np.uint64(31))) >> np.uint64(1)
