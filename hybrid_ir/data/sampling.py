"""PairBatchSampler: which pairs and which languages make up global batch k.

A sampler is two numbers. `monolingual_share` is the probability that a draw shows query and passage in one language,
`level` says who draws: the whole `batch`, or every `example` for itself.

    x_x_mono        1.0  batch      one language per batch
    x_y             0.0  batch      every example its own ordered pair of different languages
    hybrid          0.5  batch      one or the other (alpha in arXiv 2408.10536)
    x_x             1.0  example    same language within, many languages across: LAReQA's negative control
    hybrid_example  0.5  example    the same alpha, drawn per example
"""

# B examples of the global batch, L languages, M parts of a mixture, S steps of a block

from collections.abc import Mapping, Sequence

import numpy as np

from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.data.language_draws import Draws, LanguageChoice
from hybrid_ir.data.permutation import Permutation
from hybrid_ir.types import PlannedBatch, parse_languages

SCHEDULE_BLOCK = (
    4096  # steps whose draws are made together, so that counting a million earlier ones stays cheap
)
SCHEDULE, ROWS, EXAMPLES = 0, 1, 2  # separate random streams of one seed


class PairBatchSampler:
    """Plans global batches; `sampler[k]` is a pure function of (seed, k), so ranks and restarts need no state.

    Each pass over the rows is without replacement; the rest that fills no batch is dropped, another one each pass.
    Draws that the same rows can serve share their pass (on a fully parallel corpus that is one pass for all);
    a language that only some rows have goes through its own rows at its own pace, so languages stay uniformly drawn.

    Args:
        corpus: what to draw from.
        batch_size: examples per global batch, over all processes; negatives come from this batch alone.
        monolingual_share: alpha, 0 to 1.
        level: `batch` or `example`, see above.
        languages: codes to draw from; all of the corpus by default.
        language_weights: code -> weight of being drawn, 1 for those not named; an ordered pair weighs their product.
        allow_same_language: let the two languages of a cross-lingual draw be equal (X-Y of LAReQA).
        seed: of every draw.
    """

    def __init__(
        self,
        corpus: ParallelCorpus,
        batch_size: int,
        monolingual_share: float = 0.5,
        level: str = "batch",
        languages: str | Sequence[str] | None = None,
        language_weights: Mapping[str, float] | None = None,
        allow_same_language: bool = False,
        seed: int = 0,
    ):
        self.corpus, self.batch_size, self.seed, languages = (
            corpus,
            batch_size,
            seed,
            parse_languages(languages),
        )
        self.monolingual_share, self.level, self.allow_same_language = (
            monolingual_share,
            level,
            allow_same_language,
        )
        self._check_choices(languages, language_weights)
        self.languages = tuple(corpus.languages if languages is None else languages)
        self.weights_L = np.array(
            [
                float((language_weights or {}).get(language, 1))
                if language in self.languages
                else 0.0
                for language in corpus.languages
            ]
        )
        choice = LanguageChoice(monolingual_share, level, allow_same_language, self.weights_L)
        self.parts = [Draws(part, choice, part.kinds) for part in corpus.parts]
        self._check_sizes()
        self.first_stream = np.cumsum([0, *(len(part.streams) for part in self.parts)])
        self._schedule: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}
        self._order: dict[int, tuple[int, Permutation]] = {}

    def __getitem__(self, step: int) -> PlannedBatch:
        part, draw, stream, earlier = self._draw_of(step)
        pairs = self._rows(part, stream, earlier)
        if draw < len(self.weights_L):
            languages = np.full(self.batch_size, draw)
            return PlannedBatch(step, True, pairs, languages, languages, part)
        rng = np.random.default_rng([self.seed, EXAMPLES, step])
        return PlannedBatch(step, False, pairs, *self.parts[part].of_examples(pairs, rng), part)

    def _rows(self, part: int, stream: int, batch: int) -> np.ndarray:
        """The rows of one batch of a stream, counted from its first."""
        rows = self.parts[part].streams[stream - self.first_stream[part]]
        number, position = divmod(batch, len(rows) // self.batch_size)
        if self._order.get(stream, (None,))[0] != number:
            self._order[stream] = number, Permutation([self.seed, ROWS, stream, number], len(rows))
        return rows[
            self._order[stream][1][position * self.batch_size : (position + 1) * self.batch_size]
        ]

    # Draws: part, kind and language of each step, and how many earlier steps used the same rows

    def _draw_of(self, step: int) -> tuple[int, int, int, int]:
        block, offset = divmod(step, SCHEDULE_BLOCK)
        draws, streams, counts = self._block(block)
        stream = streams[offset]
        part, draw = divmod(int(draws[offset]), len(self.weights_L) + 1)
        return part, draw, int(stream), int(counts[stream] + (streams[:offset] == stream).sum())

    def _block(self, block: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Draws of the block's steps, their streams, and for each stream the number of batches taken from it before the block."""
        counts = np.zeros(self.first_stream[-1], dtype=np.int64)
        for number in range(block + 1):
            if number not in self._schedule:
                self._schedule[number] = *self._draw_block(number), counts
            _, streams, counts = self._schedule[number]
            if number < block:
                counts = counts + np.bincount(streams, minlength=len(counts))
        return self._schedule[block]

    def _draw_block(self, block: int) -> tuple[np.ndarray, np.ndarray]:
        """Kind first, then the part among those that can serve it, then the language."""
        size = len(self.weights_L)
        rng = np.random.default_rng([self.seed, SCHEDULE, block])
        monolingual_S = rng.random(SCHEDULE_BLOCK) < (
            self.monolingual_share if self.level == "batch" else 0
        )
        language_u, part_u = rng.random(SCHEDULE_BLOCK), rng.random(SCHEDULE_BLOCK)
        part_S = np.where(
            monolingual_S, self._drawn_parts(True, part_u), self._drawn_parts(False, part_u)
        )
        draw_S = np.full(SCHEDULE_BLOCK, size)
        for number, part in enumerate(self.parts):
            mine_S = monolingual_S & (part_S == number)
            if mine_S.any():
                draw_S[mine_S] = draw_columns(
                    self.weights_L * (part.stream_of_draw[:-1] >= 0), language_u[mine_S]
                )
        streams = np.stack(
            [
                part.stream_of_draw + first
                for part, first in zip(self.parts, self.first_stream, strict=False)
            ]
        )
        return part_S * (size + 1) + draw_S, streams[part_S, draw_S]

    def _drawn_parts(self, monolingual: bool, uniform_S: np.ndarray) -> np.ndarray:
        weights_M = self.part_weights(monolingual)
        return (
            draw_columns(weights_M, uniform_S)
            if weights_M.any()
            else np.zeros(len(uniform_S), np.int64)
        )

    @property
    def shares_of_kinds(self) -> tuple[float, float]:
        """Of the batches that are not monolingual, and of those that are, over a long plan."""
        share = self.monolingual_share if self.level == "batch" else 0.0
        return 1 - share, share

    def part_weights(self, monolingual: bool) -> np.ndarray:
        """How often each part is drawn for a kind, before it is divided by the sum: 0 where it cannot serve it."""
        return np.array(
            [
                weight * part.serves(monolingual)
                for part, weight in zip(self.parts, self.corpus.part_weights, strict=True)
            ]
        )

    # What can be wrong

    def _check_choices(
        self, languages: Sequence[str] | None, weights: Mapping[str, float] | None
    ) -> None:
        known = self.corpus.languages
        wrong = [f"seed={self.seed} must be 0 or more"] if self.seed < 0 else []
        if self.batch_size < 1:
            wrong.append(f"batch_size={self.batch_size} must be at least 1")
        if not 0 <= self.monolingual_share <= 1:
            wrong.append(f"monolingual_share={self.monolingual_share} is a probability: use 0 to 1")
        if self.level not in ("batch", "example"):
            wrong.append(f"level={self.level!r} must be 'batch' or 'example'")
        chosen = sorted(set(known if languages is None else languages))
        for key, named in (("languages", chosen), ("language_weights", weights or {})):
            unknown = sorted(set(named) - set(known))
            if unknown:
                wrong.append(
                    f"{key} has {unknown}, corpus '{self.corpus.source.name}' has {list(known)}"
                )
        bad = {
            code: weight
            for code, weight in (weights or {}).items()
            if not (weight == 0 or 1e-6 <= weight <= 1e6)
        }
        if bad:  # two of them are multiplied
            wrong.append(f"language_weights has {bad}: use 0, or weights between 1e-6 and 1e6")
        drawn = [code for code in chosen if (weights or {}).get(code, 1.0) != 0]
        if not drawn:
            wrong.append(
                "languages and language_weights leave no language to draw from: name one with a weight above 0"
            )
        elif len(drawn) < 2 and self.monolingual_share < 1 and not self.allow_same_language:
            wrong.append(
                f"monolingual_share={self.monolingual_share} draws two different languages, "
                f"only {drawn} can be drawn: name more languages or use monolingual_share=1"
            )
        if wrong:
            raise ValueError("sampler: " + "; ".join(wrong))

    def _check_sizes(self) -> None:
        wrong = []
        for part in self.parts:
            small = {
                f"'{self.corpus.languages[draw]}'"
                if draw < len(self.weights_L)
                else "language pairs": len(part.streams[stream])
                for draw, stream in enumerate(part.stream_of_draw)
                if stream >= 0 and len(part.streams[stream]) < self.batch_size
            }
            if small:
                counts = ", ".join(f"{size} for {name}" for name, size in small.items())
                wrong.append(
                    f"batch_size={self.batch_size} is larger than the data: corpus '{part.corpus.source.name}' "
                    f"has {counts}: use batch_size={min(small.values())} or less, or leave those languages out"
                )
        none = np.flatnonzero(
            (self.weights_L > 0) & ~np.any([part.same_RL.any(0) for part in self.parts], axis=0)
        )
        if self.level == "batch" and self.monolingual_share > 0 and none.size:
            wrong.append(
                f"corpus '{self.corpus.source.name}' has no pair for monolingual batches in "
                f"{[self.corpus.languages[language] for language in none]}: leave those languages out"
            )
        for needed, monolingual in (
            (self.level == "batch" and self.monolingual_share > 0, True),
            (self.level == "example" or self.monolingual_share < 1, False),
        ):
            if needed and not self.part_weights(monolingual).any():
                what = (
                    "monolingual"
                    if monolingual
                    else "cross-lingual"
                    if self.level == "batch"
                    else "example-level"
                )
                wrong.append(
                    f"corpus '{self.corpus.source.name}' has no pairs for the {what} batches of "
                    f"monolingual_share={self.monolingual_share}, level={self.level} in {list(self.languages)}"
                )
        if wrong:
            raise ValueError("; ".join(wrong))


def draw_columns(weights_N: np.ndarray, uniform_S: np.ndarray) -> np.ndarray:
    """The number that each draw from [0, 1) falls on, with probability proportional to its weight."""
    cumulative_N = np.cumsum(weights_N / weights_N.sum())
    return np.searchsorted(cumulative_N / cumulative_N[-1], uniform_S, side="right")
