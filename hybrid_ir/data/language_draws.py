"""What one corpus can serve: the rows for each kind of batch, and the languages of examples that choose for themselves."""

# B examples of a batch, L languages, R runs of pairs in the same languages (see Availability)

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from hybrid_ir.data.corpus import KINDS, ParallelCorpus
from hybrid_ir.data.permutation import RowRuns


@dataclass(frozen=True)
class LanguageChoice:
    """How languages are drawn, whatever the corpus."""

    monolingual_share: float
    level: str
    allow_same_language: bool
    weights_L: np.ndarray


class Draws:
    """Draw l < L of a corpus is a batch in language l, draw L one whose examples choose their languages.

    `streams` are the distinct sets of rows that draws go through, `stream_of_draw` (L + 1) says which, -1 for none.
    """

    def __init__(
        self, corpus: ParallelCorpus, choice: LanguageChoice, kinds: Collection[str] = KINDS
    ):
        self.corpus, self.choice = corpus, choice
        self.kinds = [kind for kind in KINDS if kind in kinds]
        usable_L = choice.weights_L > 0
        self.queries_RL = corpus.availability.queries_RL & usable_L
        self.passages_RL = corpus.availability.passages_RL & usable_L
        self.same_RL = self.queries_RL & self.passages_RL
        self.streams: list[RowRuns] = []
        self.stream_of_draw = np.full(len(usable_L) + 1, -1)
        known: dict[bytes, int] = {}
        for draw, runs_R in self._wanted().items():
            stream = known.setdefault(runs_R.tobytes(), len(self.streams))
            if stream == len(self.streams):
                self.streams.append(corpus.availability.rows(runs_R))
            self.stream_of_draw[draw] = stream

    def serves(self, monolingual: bool) -> bool:
        """Whether there are batches in one language, or (False) those whose examples choose theirs."""
        return bool(
            (self.stream_of_draw[:-1] >= 0).any() if monolingual else self.stream_of_draw[-1] >= 0
        )

    def _wanted(self) -> dict[int, np.ndarray]:
        """The runs of each draw that has any."""
        share, level = self.choice.monolingual_share, self.choice.level
        wanted = {}
        if level == "batch" and share > 0 and "monolingual" in self.kinds:
            wanted |= dict(enumerate(self.same_RL.T))
        needed = {
            *(["monolingual"] if level == "example" and share > 0 else []),
            *(["cross_lingual"] if share < 1 else []),
        }
        if (level == "example" or share < 1) and needed <= {*self.kinds}:
            wanted[len(self.choice.weights_L)] = self._runs_for_examples()
        return {draw: runs_R for draw, runs_R in wanted.items() if runs_R.any()}

    def _runs_for_examples(self) -> np.ndarray:
        """Runs of which an example can show every kind it may draw."""
        usable_R = np.ones(len(self.same_RL), dtype=bool)
        if self.choice.level == "example" and self.choice.monolingual_share > 0:
            usable_R &= self.same_RL.any(1)
        if self.choice.monolingual_share < 1:
            ways_R = self.queries_RL.sum(1) * self.passages_RL.sum(1)
            usable_R &= (
                ways_R if self.choice.allow_same_language else ways_R - self.same_RL.sum(1)
            ) > 0
        return usable_R

    def of_examples(
        self, pairs: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Query and passage language of each example."""
        queries_BL, passages_BL = self.corpus.availability.of_pairs(pairs)
        query_languages, passage_languages = self._two(queries_BL, passages_BL, rng)
        if self.choice.level == "example":
            same_B = rng.random(len(pairs)) < self.choice.monolingual_share
            own_B = (
                choose_columns((queries_BL & passages_BL) * self.choice.weights_L, rng)
                if same_B.any()
                else query_languages
            )
            query_languages = np.where(same_B, own_B, query_languages)
            passage_languages = np.where(same_B, own_B, passage_languages)
        return query_languages, passage_languages

    def _two(
        self, queries_BL: np.ndarray, passages_BL: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """For each pair an ordered (query, passage) language pair among those it has, by the product of weights."""
        if self.choice.monolingual_share == 1:  # nobody will look at these
            return np.zeros(len(queries_BL), np.int64), np.zeros(len(queries_BL), np.int64)
        queries_BL, passages_BL = (
            queries_BL * self.choice.weights_L,
            passages_BL * self.choice.weights_L,
        )
        partners_BL = passages_BL.sum(1, keepdims=True) - (
            0 if self.choice.allow_same_language else passages_BL
        )
        query_languages = choose_columns(queries_BL * partners_BL, rng)
        if not self.choice.allow_same_language:
            passages_BL[np.arange(len(passages_BL)), query_languages] = 0
        return query_languages, choose_columns(passages_BL, rng)


def choose_columns(weights_BL: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One column per row, with probability proportional to its weight; every row needs a positive weight."""
    cumulative_BL = np.cumsum(weights_BL, axis=1)
    drawn_B = (1.0 - rng.random(len(weights_BL))) * cumulative_BL[
        :, -1
    ]  # in (0, total]: a weight of 0 is never hit
    return (cumulative_BL < drawn_B[:, None]).sum(1)
