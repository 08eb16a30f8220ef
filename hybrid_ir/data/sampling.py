"""PairBatchSampler: which pairs and which languages make up global batch k.

A sampler is two numbers. `monolingual_share` is the probability that a draw shows query and passage in one language,
`level` says who draws: the whole `batch`, or every `example` for itself.

    x_x_mono        1.0  batch      one language per batch
    x_y             0.0  batch      every example its own ordered pair of different languages
    hybrid          0.5  batch      one or the other (alpha in arXiv 2408.10536)
    x_x             1.0  example    same language within, many languages across: LAReQA's negative control
    hybrid_example  0.5  example    the same alpha, drawn per example
"""

# B examples of the global batch, P pairs of the corpus, L languages

from collections.abc import Mapping, Sequence

import numpy as np

from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.types import PlannedBatch, codes

SCHEDULE_BLOCK = 4096  # steps whose draws are made together, so that counting a million earlier ones stays cheap
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

    def __init__(self, corpus: ParallelCorpus, batch_size: int, monolingual_share: float = 0.5, level: str = "batch",
                 languages: str | Sequence[str] | None = None,
                 language_weights: Mapping[str, float] | None = None,
                 allow_same_language: bool = False, seed: int = 0):
        self.corpus, self.batch_size, self.seed, languages = corpus, batch_size, seed, codes(languages)
        self.monolingual_share, self.level, self.allow_same_language = monolingual_share, level, allow_same_language
        self._check_choices(languages, language_weights)
        self.languages = tuple(corpus.languages if languages is None else languages)
        self.weights_L = np.array([float((language_weights or {}).get(language, 1)) if language in self.languages else 0.0
                                   for language in corpus.languages])
        self.same_PL = corpus.query_available & corpus.passage_available & (self.weights_L > 0)
        self._find_streams()
        self._schedule: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self._permutation: dict[int, tuple[int, np.ndarray]] = {}

    def __getitem__(self, step: int) -> PlannedBatch:
        draw, earlier = self._draw_of(step)
        pairs = self._rows(self.stream_of_draw[draw], earlier)
        if draw < len(self.corpus.languages):
            languages = np.full(self.batch_size, draw)
            return PlannedBatch(step, True, pairs, languages, languages)
        rng = np.random.default_rng([self.seed, EXAMPLES, step])
        query_languages, passage_languages = self._draw_language_pairs(pairs, rng)
        if self.level == "example":
            same_B = rng.random(self.batch_size) < self.monolingual_share
            own_B = choose(self.same_PL[pairs] * self.weights_L, rng) if same_B.any() else query_languages
            query_languages = np.where(same_B, own_B, query_languages)
            passage_languages = np.where(same_B, own_B, passage_languages)
        return PlannedBatch(step, False, pairs, query_languages, passage_languages)

    # Rows: one stream per set of rows that some draw can use

    def _find_streams(self) -> None:
        """Draw l < L is a batch in language l, draw L is a batch whose examples choose their languages."""
        sets_DP = [*self.same_PL.T, self._rows_for_examples()]
        needed_D = np.append(self.weights_L > 0, True)
        needed_D[:-1] &= self.level == "batch" and self.monolingual_share > 0
        needed_D[-1] = self.level == "example" or self.monolingual_share < 1
        self.streams: list[np.ndarray] = []
        self.stream_of_draw = np.full(len(sets_DP), -1)
        known: dict[bytes, int] = {}
        for draw in np.flatnonzero(needed_D):
            rows = np.flatnonzero(sets_DP[draw])
            stream = known.setdefault(rows.tobytes(), len(self.streams))
            if stream == len(self.streams):
                self.streams.append(rows)
            self.stream_of_draw[draw] = stream
        self._check_sizes()

    def _rows_for_examples(self) -> np.ndarray:
        """Rows of which an example can show every kind it may draw."""
        usable_P = np.ones(len(self.corpus), dtype=bool)
        if self.level == "example" and self.monolingual_share > 0:
            usable_P &= self.same_PL.any(1)
        if self.monolingual_share < 1:
            queries_PL = self.corpus.query_available & (self.weights_L > 0)
            passages_PL = self.corpus.passage_available & (self.weights_L > 0)
            ways_P = queries_PL.sum(1) * passages_PL.sum(1)
            usable_P &= (ways_P if self.allow_same_language else ways_P - (queries_PL & passages_PL).sum(1)) > 0
        return usable_P

    def _rows(self, stream: int, batch: int) -> np.ndarray:
        rows = self.streams[stream]
        batches_per_pass = len(rows) // self.batch_size
        number, position = divmod(batch, batches_per_pass)
        cached = self._permutation.get(stream)
        if cached is None or cached[0] != number:
            cached = number, np.random.default_rng([self.seed, ROWS, stream, number]).permutation(rows)
            self._permutation[stream] = cached
        return cached[1][position * self.batch_size : (position + 1) * self.batch_size]

    # Draws: kind and language of each step, and how many earlier steps used the same rows

    def _draw_of(self, step: int) -> tuple[int, int]:
        block, offset = divmod(step, SCHEDULE_BLOCK)
        draws, counts = self._block(block)
        stream_of_step = self.stream_of_draw[draws[:offset]]
        stream = self.stream_of_draw[draws[offset]]
        return int(draws[offset]), int(counts[stream] + (stream_of_step == stream).sum())

    def _block(self, block: int) -> tuple[np.ndarray, np.ndarray]:
        """Draws of the block's steps, and for each stream the number of batches taken from it before the block."""
        counts = np.zeros(len(self.streams), dtype=np.int64)
        for number in range(block + 1):
            if number not in self._schedule:
                self._schedule[number] = self._draw_block(number), counts
            draws, counts = self._schedule[number]
            if number < block:
                counts = counts + np.bincount(self.stream_of_draw[draws], minlength=len(self.streams))
        return self._schedule[block]

    def _draw_block(self, block: int) -> np.ndarray:
        per_example = len(self.corpus.languages)
        if self.level == "example":
            return np.full(SCHEDULE_BLOCK, per_example)
        rng = np.random.default_rng([self.seed, SCHEDULE, block])
        monolingual = rng.random(SCHEDULE_BLOCK) < self.monolingual_share
        language = rng.choice(per_example, SCHEDULE_BLOCK, p=self.weights_L / self.weights_L.sum())
        return np.where(monolingual, language, per_example)

    def _draw_language_pairs(self, pairs: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """For each pair an ordered (query, passage) language pair among those it has, by the product of weights."""
        queries_BL = self.corpus.query_available[pairs] * self.weights_L
        passages_BL = self.corpus.passage_available[pairs] * self.weights_L
        if self.monolingual_share == 1:  # nobody will look at these
            return np.zeros(len(pairs), np.int64), np.zeros(len(pairs), np.int64)
        partners_BL = passages_BL.sum(1, keepdims=True) - (0 if self.allow_same_language else passages_BL)
        query_languages = choose(queries_BL * partners_BL, rng)
        if not self.allow_same_language:
            passages_BL[np.arange(len(pairs)), query_languages] = 0
        return query_languages, choose(passages_BL, rng)

    # What can be wrong

    def _check_choices(self, languages: Sequence[str] | None, weights: Mapping[str, float] | None) -> None:
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
                wrong.append(f"{key} has {unknown}, corpus '{self.corpus.source.name}' has {list(known)}")
        bad = {code: weight for code, weight in (weights or {}).items() if not (weight >= 0 and np.isfinite(weight))}
        if bad:
            wrong.append(f"language_weights has {bad}: use finite weights of 0 or more")
        drawn = [code for code in chosen if (weights or {}).get(code, 1.0) != 0]
        if not drawn:
            wrong.append("languages and language_weights leave no language to draw from: name one with a weight above 0")
        elif len(drawn) < 2 and self.monolingual_share < 1 and not self.allow_same_language:
            wrong.append(f"monolingual_share={self.monolingual_share} draws two different languages, "
                         f"only {drawn} can be drawn: name more languages or use monolingual_share=1")
        if wrong:
            raise ValueError("sampler: " + "; ".join(wrong))

    def _check_sizes(self) -> None:
        small = {}
        for draw, stream in enumerate(self.stream_of_draw):
            if stream >= 0 and len(self.streams[stream]) < self.batch_size:
                name = f"'{self.corpus.languages[draw]}'" if draw < len(self.corpus.languages) else "language pairs"
                small[name] = len(self.streams[stream])
        if small:
            counts = ", ".join(f"{size} for {name}" for name, size in small.items())
            raise ValueError(f"batch_size={self.batch_size} is larger than the data: corpus '{self.corpus.source.name}' "
                             f"has {counts}: use batch_size={min(small.values())} or less, or leave those languages out")


def choose(weights_BL: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One column per row, with probability proportional to its weight; every row needs a positive weight."""
    cumulative_BL = np.cumsum(weights_BL, axis=1)
    drawn_B = (1.0 - rng.random(len(weights_BL))) * cumulative_BL[:, -1]  # in (0, total]: a weight of 0 is never hit
    return (cumulative_BL < drawn_B[:, None]).sum(1)
