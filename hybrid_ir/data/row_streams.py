"""The rows of one corpus that batches of each kind go through."""

# L languages, R runs of pairs in the same languages (see Availability)

import numpy as np

from hybrid_ir.data.language_choice import LanguageChoice
from hybrid_ir.data.permutation import RowRuns
from hybrid_ir.types import CorpusPart

NO_STREAM = -1


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
            self.streams.append(self.corpus.index.availability.rows(runs_R))
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
