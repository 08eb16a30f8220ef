"""A corpus seen as one of other languages: of fewer than it has, or of all those of a mixture."""

# L languages of the view

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import repeat

import numpy as np

from hybrid_ir.data.corpus import KINDS, ParallelCorpus, Texts
from hybrid_ir.files.languages import match_languages
from hybrid_ir.types import parse_languages


class MissingTexts(Sequence[None]):
    """The texts of a language that a corpus does not have: `size` times None."""

    def __init__(self, size: int):
        self.size = size
        self.fingerprint = f"nothing {size}"

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[None]:
        return repeat(None, self.size)

    def __getitem__(self, key):
        if isinstance(key, slice):
            return [None] * len(range(self.size)[key])
        return None


class LanguageView(ParallelCorpus):
    """A corpus presented with another list of languages; its texts are not copied.

    Args:
        corpus: any corpus that is no mixture.
        languages: codes that the view has. It has no text in those that are not used.
        used: codes of the corpus whose texts the view shows.
        kinds: of batches that may come from the view.
        name: of the view, as in a mixture; None for the name of the corpus.
    """

    def __init__(
        self,
        corpus: ParallelCorpus,
        languages: Sequence[str],
        used: Sequence[str],
        kinds: Sequence[str] = KINDS,
        name: str | None = None,
    ):
        numbers = {}  # of the languages that are used, in the corpus
        for number, language in enumerate(corpus.languages):
            if language in used:
                numbers[language] = number
        columns_L = np.array([numbers.get(language, -1) for language in languages], np.int64)
        super().__init__(
            _select_languages(
                corpus.queries, languages, numbers, size=len(corpus.index.query_languages)
            ),
            _select_languages(
                corpus.passages, languages, numbers, size=len(corpus.index.passage_languages)
            ),
            corpus.pairs,
            replace(corpus.source, name=name or corpus.source.name),
            corpus.negatives,
            index=corpus.index.view(columns_L),
        )
        self.languages = tuple(languages)
        self.kinds = tuple(kinds)


def _select_languages(
    texts: Texts, languages: Sequence[str], used: dict[str, int], size: int
) -> Texts:
    """Returns the texts of the languages that are used, and missing ones (`size`) of the others."""
    selected = {}
    for language in languages:
        selected[language] = texts[language] if language in used else MissingTexts(size)
    return selected


def restrict_languages(
    corpus: ParallelCorpus, languages: str | Sequence[str] | None
) -> ParallelCorpus:
    """Returns the corpus with only the chosen languages, or with all of them for None.

    Raises:
        ValueError: If the corpus does not have one of the languages.
    """
    codes = parse_languages(languages)
    if codes is None:
        return corpus
    chosen, unknown = match_languages(codes, corpus.languages)
    if unknown:
        raise ValueError(
            f"corpus.languages={sorted(unknown)}: corpus '{corpus.source.name}' has "
            f"{list(corpus.languages)}"
        )
    return LanguageView(corpus, sorted(chosen), chosen)
