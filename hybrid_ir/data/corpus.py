"""ParallelCorpus: texts by (language, content id) and the pairs to train on."""

# P pairs, N ids of queries or passages, K hard negatives

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from hybrid_ir.data.availability import Availability, LanguageSets
from hybrid_ir.data.content_ids import assign_content_ids, hash_texts
from hybrid_ir.data.hard_negatives import HardNegatives
from hybrid_ir.types import Source

Texts = Mapping[
    str, Sequence[str | None]
]  # language -> text by id; None where this language lacks it
KINDS = ("monolingual", "cross_lingual")  # of batches


@dataclass(frozen=True)
class CorpusIndex:
    """What follows from the texts of a corpus; a corpus on disk has it in its files."""

    query_languages: LanguageSets
    passage_languages: LanguageSets
    availability: Availability
    query_content_N: np.ndarray
    content_N: np.ndarray

    @classmethod
    def of(
        cls, queries: Texts, passages: Texts, pairs: np.ndarray, languages: Sequence[str]
    ) -> "CorpusIndex":
        sets = [LanguageSets.of(texts, languages) for texts in (queries, passages)]
        contents = [
            assign_content_ids(map(hash_texts, texts.values())) for texts in (queries, passages)
        ]
        of_pairs = [side.bits_NC[ids] for side, ids in zip(sets, pairs.T, strict=True)]
        return cls(*sets, Availability.of(*of_pairs, len(languages)), *contents)


class ParallelCorpus:
    """Question-passage pairs whose ids do not know the language: a translation has the id of its original.

    `queries[language][query_id]` and `passages[language][passage_id]` are the texts, `pairs` (P, 2) the ids that
    belong together, `negatives` (P, K) ids of passages known not to answer the query (-1 fills short rows).
    `content[passage_id]` is equal for passages that share a text in some language, so that neither a twin nor a
    repeated passage is ever taken for a negative. Everything wrong is reported at once, as one ValueError.

    A corpus that was checked when it was written gives what is `derived` from its texts, and is taken as it is.
    """

    def __init__(
        self,
        queries: Texts,
        passages: Texts,
        pairs: np.ndarray,
        source: Source,
        negatives: np.ndarray | HardNegatives | None = None,
        derived: CorpusIndex | None = None,
    ):
        self.languages = tuple(sorted(queries))
        self.queries, self.passages, self.source = queries, passages, source
        self.pairs = np.asarray(pairs).reshape(-1, 2)
        self.negatives = (
            np.empty((len(self.pairs), 0), np.int64) if negatives is None else negatives
        )
        if derived is None:
            self._check()
            derived = CorpusIndex.of(queries, passages, self.pairs, self.languages)
        self.index, self.availability = derived, derived.availability
        self.content = derived.content_N
        self.query_content = derived.query_content_N  # a question asked twice has two positives

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def usable(self) -> int:
        """Pairs that have a query and a passage in its languages."""
        runs = self.availability
        return len(runs.rows(runs.queries_RL.any(1) & runs.passages_RL.any(1)))

    kinds = KINDS  # of batches, that it may serve
    part_weights = (1.0,)  # of being drawn for a batch
    left_out: Mapping[str, str] = MappingProxyType(
        {}
    )  # what a mixture should have and has not, and why

    @property
    def parts(self) -> tuple["ParallelCorpus", ...]:
        """Of a mixture, its corpora; every batch is of one of them."""
        return (self,)

    def texts(self) -> "AllTexts":
        """All texts of queries and passages, for a tokenizer to train on."""
        return AllTexts(self.parts)

    def _check(self) -> None:
        wrong = []
        if set(self.queries) != set(self.passages):
            wrong.append(
                f"queries are in {sorted(self.queries)}, passages in {sorted(self.passages)}: name both alike"
            )
        if not len(self.pairs):
            wrong.append("there is no pair to train on")
        for kind, texts, ids in (
            ("query", self.queries, self.pairs[:, 0]),
            ("passage", self.passages, self.pairs[:, 1]),
        ):
            sizes = {language: len(rows) for language, rows in texts.items()}
            if len(set(sizes.values())) > 1:
                wrong.append(
                    f"every language needs one entry per {kind} id (None where missing), got {sizes}"
                )
            elif len(ids) and not 0 <= ids.min() <= ids.max() < min(sizes.values(), default=0):
                wrong.append(
                    f"{kind} ids of pairs reach from {ids.min()} to {ids.max()}, texts have {sizes}"
                )
            for language, rows in texts.items():
                empty = [i for i, text in enumerate(rows) if text is not None and not text.strip()]
                if empty:
                    wrong.append(
                        f"{len(empty)} empty {kind} texts in '{language}', first at id {empty[0]}: use None or a text"
                    )
        known = np.asarray(self.negatives)
        if known.shape[:1] != self.pairs.shape[:1] or known.ndim != 2:
            wrong.append(f"negatives have shape {known.shape}, need ({len(self.pairs)}, K)")
        size = min(map(len, self.passages.values()), default=0)
        if known.size and not -1 <= known.min() <= known.max() < size:
            wrong.append(
                f"passage ids of negatives reach from {known.min()} to {known.max()}, there are "
                f"{size} passages and -1 for none"
            )
        if wrong:
            raise ValueError(f"corpus '{self.source.name}': " + "; ".join(wrong))


class AllTexts:
    """The texts of corpora one after another, read anew each time."""

    def __init__(self, corpora: Sequence[ParallelCorpus]):
        self.corpora = corpora

    def __iter__(self) -> Iterator[str]:
        for corpus in self.corpora:
            for texts in (corpus.queries, corpus.passages):
                for language in corpus.languages:
                    yield from (text for text in texts[language] if text is not None)
