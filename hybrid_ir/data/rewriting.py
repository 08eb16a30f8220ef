"""A corpus written anew: with fewer pairs, or with other negatives."""

# P pairs, K hard negatives

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.data.writing import CorpusWriter


def parts(texts: Sequence[str | None], size: int = 1 << 16) -> Iterator[list[str | None]]:
    """Texts some at a time."""
    for start in range(0, len(texts), size):
        yield [texts[row] for row in range(start, min(len(texts), start + size))]


def rewrite(corpus: ParallelCorpus, writer: CorpusWriter, pairs: np.ndarray, negatives: np.ndarray, about: str,
            report: Mapping[str, Any]) -> None:
    """The texts of a corpus with other pairs (P, 2) and negatives (P, K) of its ids; `about` says what was done."""
    for role, texts in (("query", corpus.queries), ("passage", corpus.passages)):
        for language in corpus.languages:
            writer.write(role, language, parts(texts[language]))
    writer.finish(replace(corpus.source, description=f"{corpus.source.description}; {about}"), pairs, negatives, report)
