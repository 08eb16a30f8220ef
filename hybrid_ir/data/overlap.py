"""Texts that a benchmark and a training corpus share, exactly or nearly."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hybrid_ir.data.corpus import ParallelCorpus, Texts, iterate_blocks
from hybrid_ir.types import Benchmark, Corpus, Role

SHINGLE_LENGTH = 5  # characters
PERMUTATIONS = 128  # of MinHash
BAND_COUNTS = (1, 2, 4, 8, 16, 32, 64)
# The share of the texts exactly at the threshold that the search must not miss.
REQUIRED_RECALL = 0.95
# Shorter texts are only compared exactly: the similarity of so few shingles says little.
SHORTEST_NEAR_TEXT = 20  # characters


def normalise_texts(texts: pa.Array) -> pa.Array:
    """Returns texts without case, punctuation, repeated blanks and variants of characters."""
    folded = pc.utf8_lower(pc.utf8_normalize(texts, "NFKC"))
    return pc.utf8_trim_whitespace(pc.replace_substring_regex(folded, r"[\s\p{P}]+", " "))


@dataclass(frozen=True)
class BenchmarkTexts:
    """The texts of a benchmark that a training corpus must not have.

    Args:
        name: of the benchmark.
        queries: all its queries, normalised.
        passages: its relevant passages, normalised.
    """

    name: str
    queries: pa.Array
    passages: pa.Array

    @classmethod
    def from_benchmark(cls, benchmark: Benchmark) -> "BenchmarkTexts":
        """Collects the texts of a benchmark; of a passage with a context, only the passage."""
        relevant = [np.asarray(rows, np.int64) for rows in benchmark.relevant]
        passages = []
        for row in np.unique(np.concatenate(relevant)):
            passage = benchmark.passages[int(row)]
            passages.append(passage if isinstance(passage, str) else passage[0])
        return cls(
            benchmark.name,
            normalise_texts(pa.array(list(benchmark.queries), pa.string())),
            normalise_texts(pa.array(passages, pa.string())),
        )

    def compute_shared_fractions(self, corpus: Corpus) -> dict[str, float]:
        """Computes which shares of its queries and passages the corpus has, in any language."""
        return {
            "queries": _compute_shared_fraction(self.queries, corpus, "query"),
            "passages": _compute_shared_fraction(self.passages, corpus, "passage"),
        }


def _compute_shared_fraction(tested: pa.Array, corpus: Corpus, role: Role) -> float:
    """Returns the share of the tested texts that are exactly texts of the corpus."""
    if not len(tested):
        return 0.0
    distinct = tested.unique()
    is_shared = np.zeros(len(distinct), bool)
    for part in corpus.parts:
        side = part.queries if role == "query" else part.passages
        for texts in side.values():
            for block in iterate_blocks(texts):
                known = normalise_texts(pa.array(block, pa.string())).drop_null().unique()
                is_shared |= pc.is_in(distinct, known).to_numpy(zero_copy_only=False)
    number_of_text = pc.index_in(tested, value_set=distinct).to_numpy()
    return float(np.mean(is_shared[number_of_text]))


def choose_band_count(threshold: float) -> int:
    """Returns the fewest bands of locality-sensitive hashing that miss few enough texts.

    Two texts are compared if they agree in all hashes of a band. Two texts with a similarity of
    `threshold` do so with a probability of 1 - (1 - threshold ** rows) ** bands, where rows is the
    number of hashes per band. With more bands more texts are compared for nothing.
    """
    for bands in BAND_COUNTS:
        rows = PERMUTATIONS // bands
        if 1 - (1 - threshold**rows) ** bands >= REQUIRED_RECALL:
            return bands
    return PERMUTATIONS


class NearTextIndex:
    """Finds texts that are nearly equal to one that was added.

    Near means a Jaccard similarity of their sets of 5 characters in a row, estimated by MinHash.

    Args:
        threshold: similarity from which on two texts are near, more than 0 and at most 1.

    Raises:
        ValueError: If the threshold is not valid, or the package `rensa` is not installed.
    """

    def __init__(self, threshold: float):
        try:
            from rensa import RMinHash, RMinHashLSH
        except ImportError as error:
            raise ValueError(
                "near matches need rensa: pip install 'hybrid-ir[overlap]', "
                "or near=0 for exact ones"
            ) from error
        if not 0 < threshold <= 1:
            raise ValueError(
                f"near={threshold} is a similarity: use more than 0 and at most 1, "
                "or 0 for exact matches alone"
            )
        self.threshold = threshold
        self._hash = RMinHash
        self._index = RMinHashLSH(
            threshold=threshold, num_perm=PERMUTATIONS, num_bands=choose_band_count(threshold)
        )
        self._signatures = []  # of the texts that were added

    def add(self, texts: Sequence[str]) -> "NearTextIndex":
        """Adds texts, and returns the index itself."""
        for text, signature in zip(texts, self.compute_signatures(texts), strict=True):
            self.insert(text, signature)
        return self

    def insert(self, text: str, signature: Any) -> None:
        """Adds one text whose signature is known; a text that is too short is passed over."""
        if len(text) >= SHORTEST_NEAR_TEXT:
            self._index.insert(len(self._signatures), signature)
            self._signatures.append(signature)

    def compute_signatures(self, texts: Sequence[str]) -> list[Any]:
        """Returns the MinHash signature of each text."""
        shingles = [_cut_into_shingles(text) for text in texts]
        return self._hash.from_token_sets(shingles, num_perm=PERMUTATIONS, seed=1)

    def has_near_text(self, text: str, signature: Any) -> bool:
        """Returns whether one text, whose signature is known, is near one that was added."""
        if len(text) < SHORTEST_NEAR_TEXT:
            return False
        for number in self._index.query(signature):
            if signature.jaccard(self._signatures[number]) >= self.threshold:
                return True
        return False

    def mark_near_texts(self, texts: Sequence[str]) -> list[bool]:
        """Returns for each text whether it is near one that was added."""
        signatures = self.compute_signatures(texts)
        return [
            self.has_near_text(text, signature)
            for text, signature in zip(texts, signatures, strict=True)
        ]


def _cut_into_shingles(text: str) -> list[str]:
    """Returns all pieces of SHINGLE_LENGTH characters; a shorter text is one piece."""
    count = max(1, len(text) - SHINGLE_LENGTH + 1)
    return [text[start : start + SHINGLE_LENGTH] for start in range(count)]


@dataclass(frozen=True)
class Match:
    """A text of a corpus that a benchmark has, too.

    Args:
        role: "query" or "passage".
        language: of the text, as the corpus says.
        id: of the text in the corpus.
        text: as the corpus has it.
        benchmark: name of the benchmark.
        how: "exact" or "near".
    """

    role: Role
    language: str
    id: int
    text: str
    benchmark: str
    how: str


def find_matches(corpus: ParallelCorpus, tested: BenchmarkTexts, near: float) -> Iterator[Match]:
    """Yields every text of the corpus that the benchmark has.

    Queries are compared with queries, and passages with passages.

    Args:
        corpus: a single corpus, no mixture.
        tested: texts of the benchmark.
        near: similarity from which on texts match, 0 for exact matches only.
    """
    yield from _find_matches_of_role("query", corpus.queries, tested.queries, tested.name, near)
    yield from _find_matches_of_role("passage", corpus.passages, tested.passages, tested.name, near)


def _find_matches_of_role(
    role: Role,
    texts_by_language: Texts,
    tested: pa.Array,
    benchmark: str,
    near: float,
) -> Iterator[Match]:
    """Yields the texts of one role that are among the tested ones."""
    near_index = NearTextIndex(near).add(tested.to_pylist()) if near else None
    for language, texts in texts_by_language.items():
        first_id = 0
        for block in iterate_blocks(texts):
            normalised = normalise_texts(pa.array(block, pa.string()))
            is_exact = pc.is_in(normalised, tested).to_pylist()
            rows = [row for row, text in enumerate(block) if text is not None]
            is_near = [False] * len(rows)
            if near_index is not None:
                is_near = near_index.mark_near_texts([normalised[row].as_py() for row in rows])
            for row, row_is_near in zip(rows, is_near, strict=True):
                if is_exact[row] or row_is_near:
                    how = "exact" if is_exact[row] else "near"
                    yield Match(role, language, first_id + row, block[row], benchmark, how)
            first_id += len(block)


def find_repeated_pairs(corpus: ParallelCorpus, near: float) -> Iterator[int]:
    """Yields the pairs (their rows) that repeat an earlier pair.

    A pair is repeated exactly if both contents are equal, and nearly if the texts of query and
    passage together are near, in the first language that each of them has.

    Args:
        corpus: a single corpus, no mixture.
        near: similarity from which on pairs are repeated, 0 for exact repetitions only.
    """
    seen = set()
    near_index = NearTextIndex(near) if near else None
    query_content = corpus.query_content[corpus.pairs[:, 0]].tolist()
    passage_content = corpus.content[corpus.pairs[:, 1]].tolist()
    for row, content in enumerate(zip(query_content, passage_content, strict=True)):
        if content in seen:
            yield row
            continue
        seen.add(content)
        if near_index is None:
            continue
        text = _join_texts_of_pair(corpus, row)
        if text is None:
            continue
        signature = near_index.compute_signatures([text])[0]
        if near_index.has_near_text(text, signature):
            yield row
        else:
            near_index.insert(text, signature)


def _join_texts_of_pair(corpus: ParallelCorpus, row: int) -> str | None:
    """Returns query and passage of a pair, normalised; None if one is missing in all languages."""
    query_id, passage_id = corpus.pairs[row]
    query = _get_first_text(corpus.queries, corpus.languages, int(query_id))
    passage = _get_first_text(corpus.passages, corpus.languages, int(passage_id))
    if query is None or passage is None:
        return None
    return normalise_texts(pa.array([f"{query} {passage}"]))[0].as_py()


def _get_first_text(texts: Texts, languages: Sequence[str], text_id: int) -> str | None:
    """Returns the text of an id in the first language that has it, None if no language has it."""
    for language in languages:
        text = texts[language][text_id]
        if text is not None:
            return text
    return None
