"""Which languages the texts of a corpus are in, without a table as long as the corpus."""

# B pairs or ids, P pairs, N ids, L languages, C bytes of a set of languages (one bit each),
# R runs of consecutive pairs that have the same languages

from collections.abc import Mapping, Sequence

import numpy as np

from hybrid_ir.data.row_streams import RowRuns


class LanguageSets:
    """The set of languages of each id of queries or passages, as bits.

    Args:
        bits_NC: the bits of each id; the first bit of a byte is its highest, as np.packbits has it.
        columns_L: the bit that belongs to each language, -1 for a language that no id has.
        left_out: ids that count as having no language at all; None for none.
    """

    def __init__(
        self, bits_NC: np.ndarray, columns_L: np.ndarray, left_out: np.ndarray | None = None
    ):
        self.bits_NC = bits_NC
        self.columns_L = columns_L
        self.left_out = left_out

    @classmethod
    def from_texts(
        cls, texts: Mapping[str, Sequence[str | None]], languages: Sequence[str]
    ) -> "LanguageSets":
        """Returns the sets of all ids: the languages in which an id has a text."""
        available_LN = []
        for language in languages:
            available_LN.append([text is not None for text in texts[language]])
        bits_NC = np.packbits(np.array(available_LN).T, axis=1)
        return cls(bits_NC, np.arange(len(languages)))

    def __len__(self) -> int:
        return len(self.bits_NC)

    def has(self, ids: np.ndarray, languages: np.ndarray) -> np.ndarray:
        """Returns whether each id has its language.

        Args:
            ids: of any shape; the answer for an id of -1 has no meaning.
            languages: number of the language of each id, of a shape that broadcasts with `ids`.
        """
        columns = self.columns_L[languages]
        bytes_of_ids = self.bits_NC[ids, columns >> 3]
        bits = (bytes_of_ids >> (7 - (columns & 7))) & 1
        has_language = (bits == 1) & (columns >= 0)
        if self.left_out is not None:
            has_language &= ~np.isin(ids, self.left_out)
        return has_language

    def without_ids(self, ids: np.ndarray) -> "LanguageSets":
        """Returns the same sets with some ids in no language."""
        return LanguageSets(self.bits_NC, self.columns_L, ids)

    def view(self, columns_L: np.ndarray) -> "LanguageSets":
        """Returns the same sets for another list of languages.

        Args:
            columns_L: the number that each new language has here, -1 for one that is not here.
        """
        columns = np.where(columns_L < 0, -1, self.columns_L[columns_L])
        return LanguageSets(self.bits_NC, columns, self.left_out)


def unpack_language_bits(bits_BC: np.ndarray, languages: int) -> np.ndarray:
    """Returns sets of languages as booleans (B, L)."""
    return np.unpackbits(bits_BC, axis=1, count=languages).astype(bool)


class Availability:
    """The languages of the query and of the passage of each pair.

    They are kept once for each run of consecutive pairs that have the same. Where pairs are sorted
    by their languages (`order_by_languages`), these are a few runs for any number of pairs.

    Args:
        starts_R: the first pair of each run.
        queries_RL: whether the queries of a run are in each language.
        passages_RL: whether the passages of a run are in each language.
        pairs: number of all pairs.
        ends_R: the pair after the last one of each run; by default the first one of the next run.
    """

    def __init__(
        self,
        starts_R: np.ndarray,
        queries_RL: np.ndarray,
        passages_RL: np.ndarray,
        pairs: int,
        ends_R: np.ndarray | None = None,
    ):
        self.pairs = pairs
        self.starts_R = starts_R
        self.ends_R = np.append(starts_R[1:], pairs) if ends_R is None else ends_R
        self.queries_RL = queries_RL
        self.passages_RL = passages_RL

    @classmethod
    def from_bits(
        cls, queries_PC: np.ndarray, passages_PC: np.ndarray, languages: int
    ) -> "Availability":
        """Finds the runs in the language sets of all pairs, given as bits."""
        both_P = np.concatenate([queries_PC, passages_PC], axis=1)
        differs_from_previous = (both_P[1:] != both_P[:-1]).any(1)
        starts_R = np.flatnonzero(np.append(True, differs_from_previous))
        return cls(
            starts_R,
            unpack_language_bits(queries_PC[starts_R], languages),
            unpack_language_bits(passages_PC[starts_R], languages),
            len(both_P),
        )

    def get_languages_of_pairs(self, pairs_B: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the languages of the queries (B, L) and of the passages (B, L) of pairs."""
        run_B = np.searchsorted(self.starts_R, pairs_B, side="right") - 1
        return self.queries_RL[run_B], self.passages_RL[run_B]

    def view(self, columns_L: np.ndarray) -> "Availability":
        """Returns the same for another list of languages.

        Args:
            columns_L: the number that each new language has here, -1 for one that is not here.
        """
        missing_L = columns_L < 0
        return Availability(
            self.starts_R,
            np.where(missing_L, False, self.queries_RL[:, columns_L]),
            np.where(missing_L, False, self.passages_RL[:, columns_L]),
            self.pairs,
            self.ends_R,
        )

    def without_rows(self, rows: np.ndarray) -> "Availability":
        """Returns the same without some pairs: their runs are cut there.

        Args:
            rows: of the pairs, sorted, each once.
        """
        if not len(self.starts_R):
            return self
        run_of_row = np.searchsorted(self.starts_R, rows, side="right") - 1
        rows = rows[rows < self.ends_R[run_of_row]]  # The others are left out already.
        # A run ends at each row, and another one starts behind it; some of them are empty.
        starts = np.sort(np.concatenate([self.starts_R, rows + 1]))
        ends = np.sort(np.concatenate([self.ends_R, rows]))
        is_filled = starts < ends
        starts_R = starts[is_filled]
        old_run_R = np.searchsorted(self.starts_R, starts_R, side="right") - 1
        return Availability(
            starts_R,
            self.queries_RL[old_run_R],
            self.passages_RL[old_run_R],
            self.pairs,
            ends[is_filled],
        )

    def select_rows(self, chosen_R: np.ndarray) -> RowRuns:
        """Returns the pairs of the chosen runs; `chosen_R` are booleans."""
        return RowRuns(self.starts_R[chosen_R], self.ends_R[chosen_R])

    def count_pairs(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns how many pairs have a query, a passage, and both in each language (L each)."""
        sizes_R = self.ends_R - self.starts_R
        both_RL = self.queries_RL & self.passages_RL
        return (
            sizes_R @ self.queries_RL.astype(np.int64),
            sizes_R @ self.passages_RL.astype(np.int64),
            sizes_R @ both_RL.astype(np.int64),
        )


def order_by_languages(queries_PC: np.ndarray, passages_PC: np.ndarray) -> np.ndarray:
    """Returns an order of pairs (P) in which those with the same languages are neighbours.

    Pairs with the same languages keep their order. The languages are given as bits.
    """
    width = queries_PC.shape[1] + passages_PC.shape[1]
    # Padded to words of eight bytes, which sort faster than bytes.
    padded_width = -(-width // 8) * 8
    both_PC = np.zeros((len(queries_PC), padded_width), np.uint8)
    both_PC[:, :width] = np.concatenate([queries_PC, passages_PC], axis=1)
    return np.lexsort(both_PC.view(np.uint64).T)
