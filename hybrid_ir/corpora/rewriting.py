"""A corpus written anew: with fewer pairs, or with other negatives."""

# P pairs, K hard negatives

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np

from hybrid_ir.corpora.writing import CorpusWriter
from hybrid_ir.data.corpus import TEXTS_PER_BLOCK, ParallelCorpus, iterate_blocks


def keep_named_texts(texts: Sequence[str | None], named: np.ndarray) -> list[str | None]:
    return [text if there else None for text, there in zip(texts, named, strict=True)]


def rewrite_corpus(
    corpus: ParallelCorpus,
    writer: CorpusWriter,
    pairs: np.ndarray,
    negatives: np.ndarray,
    about: str,
    report: Mapping[str, Any],
) -> None:
    """The texts of a corpus with other pairs (P, 2) and negatives (P, K) of its ids; `about` says what was done.

    Texts that none of them names are left out, so that nothing that learns from the corpus meets them.
    """
    used = {
        "query": np.unique(pairs[:, 0]),
        "passage": np.unique(np.concatenate([pairs[:, 1], negatives[negatives >= 0]])),
    }
    for role, texts in (("query", corpus.queries), ("passage", corpus.passages)):
        for language in corpus.languages:
            named = np.zeros(len(texts[language]), bool)
            named[used[role]] = True
            writer.write(
                role,
                language,
                (
                    keep_named_texts(part, named[start : start + len(part)])
                    for start, part in zip(
                        count(0, TEXTS_PER_BLOCK), iterate_blocks(texts[language]), strict=False
                    )
                ),
            )
    writer.finish(
        replace(corpus.source, description=f"{corpus.source.description}; {about}"),
        pairs,
        negatives,
        report,
    )
