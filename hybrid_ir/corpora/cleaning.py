"""Writes a corpus anew: without texts of benchmarks and repeated pairs, or with other negatives."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hybrid_ir.corpora.writing import CorpusWriter
from hybrid_ir.data.corpus import ParallelCorpus, iterate_blocks
from hybrid_ir.data.overlap import BenchmarkTexts, Match, find_matches, find_repeated_pairs


# P pairs, K hard negatives
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


DUPLICATES = ("exact", "near", "keep")
REMOVED = "removed.parquet"  # the list of removed pairs in the folder of a cleaned corpus


@dataclass(frozen=True)
class Contamination:
    """What a cleaned corpus shall not have.

    Args:
        matches: texts of the corpus that a benchmark has, too.
        reasons: why a pair is removed, by its row.
    """

    matches: Sequence[Match]
    reasons: dict[int, str]

    def count_reasons(self) -> Counter[str]:
        """Counts how many pairs are removed for each reason."""
        return Counter(self.reasons.values())


def find_contamination(
    corpus: ParallelCorpus, benchmarks: Sequence[BenchmarkTexts], near: float, duplicates: str
) -> Contamination:
    """Finds the pairs of a corpus that a benchmark has, too, or that repeat an earlier pair.

    Args:
        corpus: the corpus to clean.
        benchmarks: the texts that it shall not have.
        near: the similarity from which on texts are equal, 0 for exact matches alone.
        duplicates: which repeated pairs to remove: `exact`, `near`, or `keep` for none.

    Raises:
        ValueError: if no pair would be left.
    """
    matches: list[Match] = []
    for benchmark in benchmarks:
        matches += find_matches(corpus, benchmark, near)
    reasons = _explain_matches(corpus, matches)
    if duplicates != "keep":
        for row in find_repeated_pairs(corpus, near if duplicates == "near" else 0):
            reasons.setdefault(row, "repeats an earlier pair")
    if len(reasons) == len(corpus):
        raise ValueError(
            "nothing would be left of the corpus: every pair is in a benchmark, or repeats another"
        )
    return Contamination(matches, reasons)


def write_clean_corpus(
    corpus: ParallelCorpus, contamination: Contamination, writer: CorpusWriter, change: str
) -> None:
    """Writes a corpus without its contamination, and a list of the removed pairs.

    Args:
        corpus: the corpus to clean.
        contamination: what to leave out.
        writer: writes the clean corpus.
        change: what was done to the corpus, for its description.
    """
    rows = list(contamination.reasons)
    removed = {
        "pair": rows,
        "query": [int(row) for row in corpus.pairs[rows, 0]],
        "passage": [int(row) for row in corpus.pairs[rows, 1]],
        "reason": list(contamination.reasons.values()),
    }
    pq.write_table(pa.table(removed), writer.build_folder / REMOVED)
    is_kept = np.ones(len(corpus), bool)
    is_kept[rows] = False
    benchmark_ids = [match.id for match in contamination.matches if match.role == "passage"]
    negatives = corpus.negatives[is_kept]
    rewrite_corpus(
        corpus,
        writer,
        np.asarray(corpus.pairs)[is_kept],
        np.where(np.isin(negatives, benchmark_ids), -1, negatives),
        change,
        contamination.count_reasons(),
    )


def _explain_matches(corpus: ParallelCorpus, matches: Sequence[Match]) -> dict[int, str]:
    """Returns why pairs are removed, by row: a benchmark has one of their texts in a language."""
    reasons: dict[int, str] = {}
    for column, role in enumerate(("query", "passage")):
        match_of_id = {match.id: match for match in matches if match.role == role}
        for row in np.flatnonzero(np.isin(corpus.pairs[:, column], list(match_of_id))):
            match = match_of_id[int(corpus.pairs[row, column])]
            reasons.setdefault(int(row), f"{role} of {match.benchmark} ({match.how})")
    return reasons
