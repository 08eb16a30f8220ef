"""Which languages the texts of a corpus are in, without a table as long as the corpus."""

# B pairs or ids, P pairs, N ids, L languages, C bytes of a set of languages (one bit each), R runs of pairs with equal sets

from collections.abc import Mapping, Sequence

import numpy as np

from hybrid_ir.data.permutation import RowRuns


class LanguageSets:
    """The languages of each id of queries or passages, as bits; `columns_L` are the bits of the languages, -1 for none."""

    def __init__(self, bits_NC: np.ndarray, columns_L: np.ndarray):
        self.bits_NC, self.columns_L = bits_NC, columns_L

    @classmethod
    def of(
        cls, texts: Mapping[str, Sequence[str | None]], languages: Sequence[str]
    ) -> "LanguageSets":
        there_NL = np.array(
            [[text is not None for text in texts[language]] for language in languages]
        ).T
        return cls(np.packbits(there_NL, axis=1), np.arange(len(languages)))

    def __len__(self) -> int:
        return len(self.bits_NC)

    def has(self, ids: np.ndarray, languages: np.ndarray) -> np.ndarray:
        """Whether each id is there in its language; an id of -1 gives an answer without a meaning."""
        columns = self.columns_L[languages]
        return ((self.bits_NC[ids, columns >> 3] >> (7 - (columns & 7))) & 1 == 1) & (columns >= 0)

    def view(self, columns_L: np.ndarray) -> "LanguageSets":
        """The same for other languages, each a number of these or -1."""
        return LanguageSets(self.bits_NC, np.where(columns_L < 0, -1, self.columns_L[columns_L]))


def unpack_language_bits(bits_BC: np.ndarray, languages: int) -> np.ndarray:
    """Sets of languages as booleans (B, L)."""
    return np.unpackbits(bits_BC, axis=1, count=languages).astype(bool)


class Availability:
    """The languages of the query and the passage of each pair, kept once for every run of pairs that have the same.

    A builder that sorts pairs by their languages (`by_languages`) makes that a few runs, whatever the number of pairs.
    """

    def __init__(
        self, starts_R: np.ndarray, queries_RL: np.ndarray, passages_RL: np.ndarray, pairs: int
    ):
        self.starts_R, self.queries_RL, self.passages_RL = starts_R, queries_RL, passages_RL
        self.ends_R = np.append(starts_R[1:], pairs)

    @classmethod
    def of(cls, queries_PC: np.ndarray, passages_PC: np.ndarray, languages: int) -> "Availability":
        """Of the sets of languages of each pair, as bits."""
        both_P = np.concatenate([queries_PC, passages_PC], axis=1)
        starts_R = np.flatnonzero(np.append(True, (both_P[1:] != both_P[:-1]).any(1)))
        return cls(
            starts_R,
            unpack_language_bits(queries_PC[starts_R], languages),
            unpack_language_bits(passages_PC[starts_R], languages),
            len(both_P),
        )

    def of_pairs(self, pairs_B: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Languages of the queries and of the passages of pairs (B, L)."""
        run_B = np.searchsorted(self.starts_R, pairs_B, side="right") - 1
        return self.queries_RL[run_B], self.passages_RL[run_B]

    def view(self, columns_L: np.ndarray) -> "Availability":
        """The same for other languages, each a number of these or -1."""
        sides = (
            np.where(columns_L < 0, False, side[:, columns_L])
            for side in (self.queries_RL, self.passages_RL)
        )
        return Availability(self.starts_R, *sides, self.ends_R[-1])

    def rows(self, chosen_R: np.ndarray) -> RowRuns:
        """The pairs of the chosen runs."""
        return RowRuns(self.starts_R[chosen_R], self.ends_R[chosen_R])

    def counts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Pairs with a query, with a passage, and with both in each language (L)."""
        size_R = self.ends_R - self.starts_R
        sides = self.queries_RL, self.passages_RL, self.queries_RL & self.passages_RL
        return tuple(size_R @ side.astype(np.int64) for side in sides)


def order_by_languages(queries_PC: np.ndarray, passages_PC: np.ndarray) -> np.ndarray:
    """The order of pairs (P) that puts those with the same languages together, and keeps the order among them."""
    width = queries_PC.shape[1] + passages_PC.shape[1]
    both_PC = np.zeros(
        (len(queries_PC), -(-width // 8) * 8), np.uint8
    )  # whole words of eight bytes
    both_PC[:, :width] = np.concatenate([queries_PC, passages_PC], axis=1)
    return np.lexsort(both_PC.view(np.uint64).T)
