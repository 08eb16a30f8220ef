"""Writes a corpus anew: with fewer pairs, or with other hard negatives."""

# P pairs, K hard negatives

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from hybrid_ir.corpora.writing import CorpusWriter
from hybrid_ir.data.corpus import ParallelCorpus, iterate_blocks


def rewrite_corpus(
    corpus: ParallelCorpus,
    writer: CorpusWriter,
    pairs: np.ndarray,
    negatives: np.ndarray,
    change: str,
    report: Mapping[str, Any],
) -> None:
    """Writes the texts of a corpus with other pairs and hard negatives.

    Texts that no pair names are left out, so that nothing that learns from the corpus sees them.

    Args:
        corpus: the corpus to start from.
        writer: writes the new corpus.
        pairs: ids of query and passage of each new pair (P, 2).
        negatives: passage ids of its hard negatives (P, K), -1 for none.
        change: what was done to the corpus, for its description.
        report: counts of what was done, for its card.
    """
    passage_ids = np.concatenate([pairs[:, 1], negatives[negatives >= 0]])
    for language in corpus.languages:
        queries = _keep_texts(corpus.queries[language], pairs[:, 0])
        writer.write_column("query", language, queries)
    for language in corpus.languages:
        passages = _keep_texts(corpus.passages[language], passage_ids)
        writer.write_column("passage", language, passages)
    description = f"{corpus.source.description}; {change}"
    writer.finish(replace(corpus.source, description=description), pairs, negatives, report)


def _keep_texts(texts: Sequence[str | None], ids: np.ndarray) -> Iterator[list[str | None]]:
    """Yields texts in blocks, with None in place of those whose id is not among `ids`."""
    is_kept = np.zeros(len(texts), bool)
    is_kept[ids] = True
    start = 0
    for block in iterate_blocks(texts):
        kept = is_kept[start : start + len(block)]
        yield [text if keep else None for text, keep in zip(block, kept, strict=True)]
        start += len(block)
