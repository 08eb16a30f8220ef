"""A corpus seen as one of other languages: fewer of its own, or those of a mixture."""

# L languages of the view

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import repeat

import numpy as np

from hybrid_ir.data.corpus import KINDS, CorpusIndex, ParallelCorpus
from hybrid_ir.types import parse_languages


class MissingTexts(Sequence[None]):
    """The texts of a language that a corpus has not."""

    def __init__(self, size: int):
        self.size, self.fingerprint = size, f"nothing {size}"

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[None]:
        return repeat(None, self.size)

    def __getitem__(self, key):
        return [None] * len(range(self.size)[key]) if isinstance(key, slice) else None


class LanguageView(ParallelCorpus):
    """A corpus as one of some languages, of which it gives those that are used, for the kinds of batches that it may serve.

    A mixture gives it a name.
    """

    def __init__(
        self,
        corpus: ParallelCorpus,
        languages: Sequence[str],
        used: Sequence[str],
        kinds: Sequence[str] = KINDS,
        name: str | None = None,
    ):
        own = {
            language: number for number, language in enumerate(corpus.languages) if language in used
        }
        columns_L = np.array([own.get(language, -1) for language in languages])
        derived = corpus.index
        sizes = len(derived.query_languages), len(derived.passage_languages)
        queries, passages = (
            {
                language: texts[language] if language in own else MissingTexts(size)
                for language in languages
            }
            for texts, size in zip((corpus.queries, corpus.passages), sizes, strict=True)
        )
        super().__init__(
            queries,
            passages,
            corpus.pairs,
            replace(corpus.source, name=name or corpus.source.name),
            corpus.negatives,
            CorpusIndex(
                derived.query_languages.view(columns_L),
                derived.passage_languages.view(columns_L),
                derived.availability.view(columns_L),
                derived.query_content_N,
                derived.content_N,
            ),
        )
        self.languages, self.kinds = tuple(languages), tuple(kinds)


def restrict_languages(
    corpus: ParallelCorpus, languages: str | Sequence[str] | None
) -> ParallelCorpus:
    """The corpus in some of its languages alone, or in all; ValueError for one that it has not."""
    chosen = parse_languages(languages)
    if chosen is None:
        return corpus
    if unknown := sorted(set(chosen) - set(corpus.languages)):
        raise ValueError(
            f"corpus.languages={unknown}: corpus '{corpus.source.name}' has {list(corpus.languages)}"
        )
    return LanguageView(corpus, sorted(chosen), chosen)
