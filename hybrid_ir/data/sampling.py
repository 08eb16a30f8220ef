"""PairBatchSampler: which pairs and which languages make up global batch k.

A sampler is two numbers. `monolingual_share` is the probability that a draw shows query and passage
in one language; `level` says who draws: the whole `batch`, or every `example` for itself.

    x_x_mono        1.0  batch      one language per batch
    x_y             0.0  batch      every example its own ordered pair of different languages
    hybrid          0.5  batch      one or the other (alpha in arXiv 2408.10536)
    x_x             1.0  example    same language within, many across: LAReQA's negative control
    hybrid_example  0.5  example    the same alpha, drawn per example
"""

# B examples of the global batch, L languages, M parts of a mixture, T streams of rows of all parts,
# S steps of a block

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hybrid_ir.data.language_choice import LanguageChoice, map_to_columns
from hybrid_ir.data.row_streams import NO_STREAM, Permutation, RowStreams
from hybrid_ir.files.languages import respell_languages
from hybrid_ir.types import Corpus, PlannedBatch, RandomStream, parse_languages

# Steps that are drawn together. Batch k has to know how many earlier batches used its rows, and
# whole blocks are counted quickly. Another number would change every plan.
SCHEDULE_BLOCK = 4096


@dataclass(frozen=True)
class Draw:
    """What was drawn for one batch.

    Args:
        part: number of the part of the corpus.
        language: number of the language of the whole batch; None where the examples choose.
        stream: number of the stream of rows, counted over all parts.
        batch: how many earlier batches of the plan took their rows from this stream.
    """

    part: int
    language: int | None
    stream: int
    batch: int


@dataclass(frozen=True)
class DrawBlock:
    """The draws of S consecutive steps, as parallel arrays.

    Args:
        part_S: number of the part of the corpus.
        monolingual_S: whether one language was drawn for the whole batch.
        language_S: this language; without a meaning where the examples choose.
        stream_S: number of the stream of rows.
        batches_before_T: how many batches all earlier blocks took from each stream.
    """

    part_S: np.ndarray
    monolingual_S: np.ndarray
    language_S: np.ndarray
    stream_S: np.ndarray
    batches_before_T: np.ndarray

    def __getitem__(self, offset: int) -> Draw:
        stream = int(self.stream_S[offset])
        batches_within = int((self.stream_S[:offset] == stream).sum())
        return Draw(
            part=int(self.part_S[offset]),
            language=int(self.language_S[offset]) if self.monolingual_S[offset] else None,
            stream=stream,
            batch=int(self.batches_before_T[stream]) + batches_within,
        )

    def count_batches_after(self) -> np.ndarray:
        """Returns how many batches this and all earlier blocks took from each stream (T)."""
        batches_within_T = np.bincount(self.stream_S, minlength=len(self.batches_before_T))
        return self.batches_before_T + batches_within_T


@dataclass(frozen=True)
class PassOrder:
    """The random order in which one pass goes through the rows of a stream."""

    number: int  # of the pass
    positions: Permutation


class PairBatchSampler:
    """Plans global batches; `sampler[k]` is a pure function of (seed, k).

    So ranks and restarts need no state. Each pass over the rows is without replacement; the rows
    at its end that fill no batch are dropped, other ones in each pass. Draws that the same rows can
    serve share their pass: on a fully parallel corpus there is one pass for all of them. A language
    that only some rows have goes through these at its own pace, so languages stay uniformly drawn.

    Args:
        corpus: what to draw from.
        batch_size: examples per global batch, over all processes. The in-batch negatives of a query
            come from this batch only.
        monolingual_share: alpha, 0 to 1.
        level: `batch` or `example`, see the top of this file.
        languages: codes to draw from; all of the corpus by default.
        language_weights: code -> weight of being drawn, 1 for a language that is not named. An
            ordered pair of languages has the product of their weights.
        allow_same_language: let the two languages of a cross-lingual example be equal (X-Y of
            LAReQA).
        seed: of every draw.

    Raises:
        ValueError: If a choice is not valid, or the corpus is too small for it. All problems are
            named at once.
    """

    def __init__(
        self,
        corpus: Corpus,
        batch_size: int,
        monolingual_share: float = 0.5,
        level: str = "batch",
        languages: str | Sequence[str] | None = None,
        language_weights: Mapping[str, float] | None = None,
        allow_same_language: bool = False,
        seed: int = 0,
    ):
        self.corpus = corpus
        self.batch_size = batch_size
        self.monolingual_share = monolingual_share
        self.level = level
        self.allow_same_language = allow_same_language
        self.seed = seed
        codes = respell_languages(parse_languages(languages), corpus.languages)
        weights = {}
        for code, weight in (language_weights or {}).items():
            [language] = respell_languages([code], corpus.languages)
            if language in weights:
                raise ValueError(f"sampler.language_weights names the language {language} twice")
            weights[language] = weight
        self._require_valid_choices(codes, weights)

        self.languages = tuple(corpus.languages if codes is None else codes)
        self.weights_L = np.zeros(len(corpus.languages))
        for number, language in enumerate(corpus.languages):
            if language in self.languages:
                self.weights_L[number] = float(weights.get(language, 1))
        self._choice = LanguageChoice(
            monolingual_share, level, allow_same_language, weights_L=self.weights_L
        )

        # Streams are numbered over all parts: those of the first part come first.
        self.parts = [RowStreams(part, self._choice) for part in corpus.parts]
        self._streams = []
        self._first_stream_of_part = []
        for part in self.parts:
            self._first_stream_of_part.append(len(self._streams))
            self._streams.extend(part.streams)
        self._require_enough_rows()

        self._blocks: list[DrawBlock] = []
        self._order_of_stream: dict[int, PassOrder] = {}

    def __getitem__(self, step: int) -> PlannedBatch:
        draw = self._draw(step)
        pairs = self._take_rows(draw)
        if draw.language is None:
            query_languages, passage_languages = self._choose_languages(step, draw.part, pairs)
        else:
            query_languages = np.full(self.batch_size, draw.language)
            passage_languages = query_languages
        return PlannedBatch(
            step=step,
            monolingual=draw.language is not None,
            pairs=pairs,
            query_languages=query_languages,
            passage_languages=passage_languages,
            part=draw.part,
        )

    def _take_rows(self, draw: Draw) -> np.ndarray:
        """Returns the rows of a batch: the next ones of the pass that its stream is in."""
        rows = self._streams[draw.stream]
        batches_per_pass = len(rows) // self.batch_size
        pass_number, batch_in_pass = divmod(draw.batch, batches_per_pass)
        order = self._order_pass(draw.stream, pass_number)
        first = batch_in_pass * self.batch_size
        return rows[order[first : first + self.batch_size]]

    def _order_pass(self, stream: int, pass_number: int) -> Permutation:
        """Returns the random order of one pass; the last one of each stream is remembered."""
        order = self._order_of_stream.get(stream)
        if order is None or order.number != pass_number:
            key = [self.seed, RandomStream.ROWS, stream, pass_number]
            order = PassOrder(pass_number, Permutation(key, len(self._streams[stream])))
            self._order_of_stream[stream] = order
        return order.positions

    def _choose_languages(
        self, step: int, part: int, pairs: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draws the query and passage languages (B) of a batch whose examples choose."""
        rng = np.random.default_rng([self.seed, RandomStream.EXAMPLES, step])
        availability = self.corpus.parts[part].index.availability
        queries_BL, passages_BL = availability.get_languages_of_pairs(pairs)
        return self._choice.choose_for_examples(queries_BL, passages_BL, rng)

    # The schedule: what is drawn for each step.

    def _draw(self, step: int) -> Draw:
        """Returns the draw of one step.

        All blocks before the step are drawn, too, since they say how far each stream has come.
        """
        block, offset = divmod(step, SCHEDULE_BLOCK)
        while len(self._blocks) <= block:
            self._blocks.append(self._draw_next_block())
        return self._blocks[block][offset]

    def _draw_next_block(self) -> DrawBlock:
        """Draws the kind of each step first, then a part that can serve it, then the language."""
        if self._blocks:
            batches_before_T = self._blocks[-1].count_batches_after()
        else:
            batches_before_T = np.zeros(len(self._streams), np.int64)
        rng = np.random.default_rng([self.seed, RandomStream.SCHEDULE, len(self._blocks)])
        kind_S = rng.random(SCHEDULE_BLOCK)
        language_draw_S = rng.random(SCHEDULE_BLOCK)
        part_draw_S = rng.random(SCHEDULE_BLOCK)

        _, monolingual_share = self.shares_of_kinds
        monolingual_S = kind_S < monolingual_share
        part_S = np.where(
            monolingual_S,
            self._draw_parts(part_draw_S, monolingual=True),
            self._draw_parts(part_draw_S, monolingual=False),
        )
        language_S = np.zeros(SCHEDULE_BLOCK, np.int64)
        stream_S = np.full(SCHEDULE_BLOCK, NO_STREAM)
        for number, part in enumerate(self.parts):
            first_stream = self._first_stream_of_part[number]
            by_examples_S = ~monolingual_S & (part_S == number)
            stream_S[by_examples_S] = first_stream + part.example_stream
            in_one_language_S = monolingual_S & (part_S == number)
            if in_one_language_S.any():
                drawn = map_to_columns(
                    language_draw_S[in_one_language_S], self.weights_L * part.drawable_L
                )
                language_S[in_one_language_S] = drawn
                stream_S[in_one_language_S] = first_stream + part.stream_of_language_L[drawn]
        return DrawBlock(part_S, monolingual_S, language_S, stream_S, batches_before_T)

    def _draw_parts(self, uniform_S: np.ndarray, monolingual: bool) -> np.ndarray:
        """Returns the part (S) that each number of [0, 1) falls on, for batches of a kind."""
        weights_M = self.compute_part_weights(monolingual)
        if not weights_M.any():  # no batch of this kind is ever drawn
            return np.zeros(len(uniform_S), np.int64)
        return map_to_columns(uniform_S, weights_M)

    @property
    def shares_of_kinds(self) -> tuple[float, float]:
        """The shares of batches whose examples choose, and of monolingual ones, in a long plan."""
        share = self.monolingual_share if self.level == "batch" else 0.0
        return 1 - share, share

    def compute_part_weights(self, monolingual: bool) -> np.ndarray:
        """Returns how often each part (M) is drawn for batches of a kind, relative to the others.

        Args:
            monolingual: True for batches in one language, False for batches whose examples choose.
        """
        weights = []
        for part, weight in zip(self.parts, self.corpus.part_weights, strict=True):
            weights.append(weight if part.serves(monolingual) else 0.0)
        return np.array(weights)

    # Checks. Each method returns what is wrong, so that all of it is reported at once.

    def _require_valid_choices(
        self, codes: Sequence[str] | None, weights: Mapping[str, float]
    ) -> None:
        """Raises a ValueError that names everything that is wrong with the arguments."""
        problems = self._find_number_problems()
        problems += self._find_language_problems(codes, weights)
        if problems:
            raise ValueError("sampler: " + "; ".join(problems))

    def _find_number_problems(self) -> list[str]:
        """Returns what is wrong with the arguments that do not depend on the corpus."""
        problems = []
        if self.seed < 0:
            problems.append(f"seed={self.seed} must be 0 or more")
        if self.batch_size < 1:
            problems.append(f"batch_size={self.batch_size} must be at least 1")
        if not 0 <= self.monolingual_share <= 1:
            problems.append(
                f"monolingual_share={self.monolingual_share} is a probability: use 0 to 1"
            )
        if self.level not in ("batch", "example"):
            problems.append(f"level={self.level!r} must be 'batch' or 'example'")
        return problems

    def _find_language_problems(
        self, codes: Sequence[str] | None, weights: Mapping[str, float]
    ) -> list[str]:
        """Returns what is wrong with the languages to draw from and their weights."""
        problems = []
        available = list(self.corpus.languages)
        chosen = sorted(set(available if codes is None else codes))
        for key, named in (("languages", chosen), ("language_weights", weights)):
            unknown = sorted(set(named) - set(available))
            if unknown:
                name = self.corpus.source.name
                problems.append(f"{key} has {unknown}, corpus '{name}' has {available}")
        invalid = {}
        for code, weight in weights.items():
            # The weights of two languages are multiplied, so they must not be too far apart.
            if weight != 0 and not 1e-6 <= weight <= 1e6:
                invalid[code] = weight
        if invalid:
            problems.append(
                f"language_weights has {invalid}: use 0, or weights between 1e-6 and 1e6"
            )
        drawn = [code for code in chosen if weights.get(code, 1.0) != 0]
        if not drawn:
            problems.append(
                "languages and language_weights leave no language to draw from: "
                "name one with a weight above 0"
            )
        elif len(drawn) < 2 and self.monolingual_share < 1 and not self.allow_same_language:
            problems.append(
                f"monolingual_share={self.monolingual_share} draws two different languages, "
                f"only {drawn} can be drawn: name more languages or use monolingual_share=1"
            )
        return problems

    def _require_enough_rows(self) -> None:
        """Raises a ValueError that names everything for which the corpus has too few rows."""
        problems = []
        for part in self.parts:
            problems += self._find_small_streams(part)
        if self._choice.has_monolingual_batches:
            problems += self._find_languages_without_pairs()
            if not self.compute_part_weights(monolingual=True).any():
                problems.append(self._explain_missing_batches("monolingual"))
        if (
            self._choice.has_example_batches
            and not self.compute_part_weights(monolingual=False).any()
        ):
            kind = "cross-lingual" if self.level == "batch" else "example-level"
            problems.append(self._explain_missing_batches(kind))
        if problems:
            raise ValueError("; ".join(problems))

    def _find_small_streams(self, part: RowStreams) -> list[str]:
        """Returns which batches of one part are larger than their stream of rows."""
        streams = {}  # what a batch shows -> number of its stream
        for language, stream in zip(
            self.corpus.languages, part.stream_of_language_L.tolist(), strict=True
        ):
            streams[f"'{language}'"] = stream
        streams["language pairs"] = part.example_stream
        sizes = {}
        for shown, stream in streams.items():
            if stream != NO_STREAM and len(part.streams[stream]) < self.batch_size:
                sizes[shown] = len(part.streams[stream])
        if not sizes:
            return []
        counts = ", ".join(f"{size} for {shown}" for shown, size in sizes.items())
        return [
            f"batch_size={self.batch_size} is larger than the data: "
            f"corpus '{part.corpus.source.name}' has {counts}: "
            f"use batch_size={min(sizes.values())} or less, or leave those languages out"
        ]

    def _find_languages_without_pairs(self) -> list[str]:
        """Returns which languages have no pair for a monolingual batch in any part."""
        has_pair_L = np.zeros(len(self.weights_L), bool)
        for part in self.parts:
            has_pair_L |= part.same_RL.any(0)
        missing = np.flatnonzero((self.weights_L > 0) & ~has_pair_L)
        if not missing.size:
            return []
        codes = [self.corpus.languages[language] for language in missing]
        return [
            f"corpus '{self.corpus.source.name}' has no pair for monolingual batches in "
            f"{codes}: leave those languages out"
        ]

    def _explain_missing_batches(self, kind: str) -> str:
        """Returns the message for a corpus that has no rows for a kind of batch."""
        return (
            f"corpus '{self.corpus.source.name}' has no pairs for the {kind} batches of "
            f"monolingual_share={self.monolingual_share}, level={self.level} in "
            f"{list(self.languages)}"
        )
