"""How the languages of examples are drawn: one for a whole batch, or two for every example."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


# B examples of a batch, L languages, R rows or runs of rows
@dataclass(frozen=True)
class LanguageChoice:
    """How languages are drawn, whatever the corpus; the choices are those of PairBatchSampler.

    Args:
        monolingual_share: alpha, the probability that query and passage share one language.
        level: `batch` or `example`, who draws with this probability.
        allow_same_language: whether the languages of a cross-lingual example may be equal.
        weights_L: of each language of being drawn, 0 for one that is not used.
    """

    monolingual_share: float
    level: str
    allow_same_language: bool
    weights_L: np.ndarray

    @property
    def draws_batches(self) -> bool:
        """Whether a draw with `monolingual_share` decides for a whole batch."""
        return self.level == "batch"

    @property
    def has_monolingual_batches(self) -> bool:
        """Whether there are batches for which one language is drawn."""
        return self.draws_batches and self.monolingual_share > 0

    @property
    def has_example_batches(self) -> bool:
        """Whether there are batches whose examples choose their languages."""
        return not self.draws_batches or self.monolingual_share < 1

    @property
    def has_monolingual_examples(self) -> bool:
        """Whether an example that chooses its languages may choose the same one for both sides."""
        return not self.draws_batches and self.monolingual_share > 0

    @property
    def has_cross_lingual_examples(self) -> bool:
        """Whether an example that chooses its languages may choose two different ones."""
        return self.monolingual_share < 1

    def find_rows_for_examples(self, queries_RL: np.ndarray, passages_RL: np.ndarray) -> np.ndarray:
        """Returns which rows (R) have the texts for every kind of example that may be drawn.

        Args:
            queries_RL: whether the query of a row is in each of the usable languages.
            passages_RL: likewise, of the passage.
        """
        same_RL = queries_RL & passages_RL
        usable_R = np.ones(len(same_RL), dtype=bool)
        if self.has_monolingual_examples:
            usable_R &= same_RL.any(1)
        if self.has_cross_lingual_examples:
            language_pairs_R = queries_RL.sum(1) * passages_RL.sum(1)
            if not self.allow_same_language:
                language_pairs_R = language_pairs_R - same_RL.sum(1)
            usable_R &= language_pairs_R > 0
        return usable_R

    def choose_for_examples(
        self, queries_BL: np.ndarray, passages_BL: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draws the languages of each example of a batch.

        Args:
            queries_BL: whether the query of an example is in each language.
            passages_BL: likewise, of the passage.
            rng: generator of the batch.

        Returns:
            The language of each query (B) and of each passage (B).
        """
        query_languages, passage_languages = self._choose_two(queries_BL, passages_BL, rng)
        if self.draws_batches:  # so this is a cross-lingual batch
            return query_languages, passage_languages
        same_B = rng.random(len(queries_BL)) < self.monolingual_share
        if same_B.any():
            weights_BL = (queries_BL & passages_BL) * self.weights_L
            shared_languages = choose_columns(weights_BL, rng)
            query_languages = np.where(same_B, shared_languages, query_languages)
            passage_languages = np.where(same_B, shared_languages, passage_languages)
        return query_languages, passage_languages

    def _choose_two(
        self, queries_BL: np.ndarray, passages_BL: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draws an ordered pair of languages for each example, by the product of their weights.

        The query language is drawn first, by its weight times those of all its partners, then the
        passage language among the partners.
        """
        if not self.has_cross_lingual_examples:  # every example will be monolingual
            return np.zeros(len(queries_BL), np.int64), np.zeros(len(queries_BL), np.int64)
        query_weights_BL = queries_BL * self.weights_L
        passage_weights_BL = passages_BL * self.weights_L
        partner_weights_BL = passage_weights_BL.sum(1, keepdims=True)
        if not self.allow_same_language:
            partner_weights_BL = partner_weights_BL - passage_weights_BL
        query_languages = choose_columns(query_weights_BL * partner_weights_BL, rng)
        if not self.allow_same_language:
            passage_weights_BL[np.arange(len(passage_weights_BL)), query_languages] = 0
        return query_languages, choose_columns(passage_weights_BL, rng)


def choose_columns(weights_BL: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draws one column per row (B), with probability proportional to its weight.

    Every row needs a positive weight.
    """
    cumulative_BL = np.cumsum(weights_BL, axis=1)
    # In (0, total] instead of [0, total), so that a weight of 0 is never hit.
    drawn_B = (1.0 - rng.random(len(weights_BL))) * cumulative_BL[:, -1]
    return (cumulative_BL < drawn_B[:, None]).sum(1)


def map_to_columns(uniform_S: np.ndarray, weights_N: np.ndarray) -> np.ndarray:
    """Maps numbers of [0, 1) to columns (S), each in proportion to its weight.

    Equal numbers fall on equal columns, so the draws do not depend on how many there are.
    """
    cumulative_N = np.cumsum(weights_N / weights_N.sum())
    return np.searchsorted(cumulative_N / cumulative_N[-1], uniform_S, side="right")


# The monolingual share and the level of every sampler in conf/sampler.
SAMPLER_NUMBERS = {
    "x_x_mono": (1.0, "batch"),
    "x_y": (0.0, "batch"),
    "hybrid": (0.5, "batch"),
    "x_x": (1.0, "example"),
    "hybrid_example": (0.5, "example"),
    "en_en": (1.0, "batch"),
}


def name_sampler(
    monolingual_share: float, level: str, languages: Sequence[str] | None = None
) -> str:
    """Names a sampler as conf/sampler does.

    Args:
        monolingual_share: the share of monolingual batches or examples, 0 to 1.
        level: whether the kind is drawn once a `batch` or once an `example`.
        languages: the languages that are drawn from; None stands for all of the corpus.

    Returns:
        `en_en` for English alone, and `hybrid` or `hybrid_example` for every share between 0
        and 1.
    """
    if languages is not None and list(languages) == ["en"]:
        return "en_en"
    if monolingual_share == 0:
        return "x_y"  # No example is monolingual, whatever the level.
    for name, numbers in SAMPLER_NUMBERS.items():
        if numbers == (monolingual_share, level):
            return name
    return "hybrid" if level == "batch" else "hybrid_example"
