"""Texts of a benchmark that a training corpus has as well: exactly, but for case, punctuation and form, or nearly."""

# P pairs, N ids of queries or passages

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hybrid_ir.corpora.rewriting import iterate_blocks
from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.types import Benchmark

SHINGLE, PERMUTATIONS = 5, 128  # characters; of MinHash
FOUND = 0.95  # share of the texts at exactly the threshold that LSH must find
SHORT = 20  # characters; shorter texts are compared exactly only


def normalise_texts(texts: pa.Array) -> pa.Array:
    """Texts without case, punctuation and differences of form."""
    folded = pc.utf8_lower(pc.utf8_normalize(texts, "NFKC"))
    return pc.utf8_trim_whitespace(pc.replace_substring_regex(folded, r"[\s\p{P}]+", " "))


@dataclass(frozen=True)
class BenchmarkTexts:
    """What of a benchmark a corpus must not have: its questions, and the passages that answer them."""

    name: str
    queries: pa.Array  # plain
    passages: pa.Array

    @classmethod
    def of(cls, benchmark: Benchmark) -> "BenchmarkTexts":
        rows = np.unique(
            np.concatenate([np.asarray(rows, np.int64) for rows in benchmark.relevant])
        )
        told = (benchmark.passages[int(row)] for row in rows)
        passages = [text if isinstance(text, str) else text[0] for text in told]
        return cls(
            benchmark.name,
            normalise_texts(pa.array(list(benchmark.queries), pa.string())),
            normalise_texts(pa.array(passages, pa.string())),
        )

    def shared(self, corpus: ParallelCorpus) -> dict[str, float]:
        """The shares of its questions and of its answers that are texts of the corpus, in whatever language."""
        return {
            role: compute_shared_fraction(texts, corpus, role)
            for role, texts in (("queries", self.queries), ("passages", self.passages))
        }


def compute_shared_fraction(wanted: pa.Array, corpus: ParallelCorpus, role: str) -> float:
    if not len(wanted):
        return 0.0
    known, found = wanted.unique(), set()
    for part in corpus.parts:
        for texts in getattr(part, role).values():
            for batch in iterate_blocks(texts):
                hits = pc.index_in(
                    known,
                    value_set=normalise_texts(pa.array(batch, pa.string())).drop_null().unique(),
                )
                found.update(
                    np.flatnonzero(pc.is_valid(hits).to_numpy(zero_copy_only=False)).tolist()
                )
    return float(np.mean(np.isin(pc.index_in(wanted, value_set=known).to_numpy(), list(found))))


def choose_band_count(threshold: float) -> int:
    """The fewest bands of LSH that find enough at the threshold: the fewer, the fewer others must be looked at."""
    return next(
        (
            bands
            for bands in (1, 2, 4, 8, 16, 32, 64)
            if 1 - (1 - threshold ** (PERMUTATIONS // bands)) ** bands >= FOUND
        ),
        PERMUTATIONS,
    )


class NearTextIndex:
    """Finds texts that nearly are one that was added: by MinHash over character 5-grams (Jaccard similarity)."""

    def __init__(self, threshold: float):
        try:
            from rensa import RMinHash, RMinHashLSH
        except ImportError as error:
            raise ValueError(
                "near matches need rensa: pip install 'hybrid-ir[overlap]', or near=0 for exact ones"
            ) from error
        if not 0 < threshold <= 1:
            raise ValueError(
                f"near={threshold} is a similarity: use more than 0 and at most 1, or 0 for exact matches alone"
            )
        self.threshold, self.hash = threshold, RMinHash
        self.index = RMinHashLSH(
            threshold=threshold, num_perm=PERMUTATIONS, num_bands=choose_band_count(threshold)
        )
        self.known = []

    def add(self, texts: Sequence[str]) -> "NearTextIndex":
        for text, signature in zip(texts, self.signatures(texts), strict=True):
            self.insert(text, signature)
        return self

    def insert(self, text: str, signature) -> None:
        if len(text) >= SHORT:
            self.index.insert(len(self.known), signature)
            self.known.append(signature)

    def signatures(self, texts: Sequence[str]) -> list:
        shingles = [
            [text[i : i + SHINGLE] for i in range(max(1, len(text) - SHINGLE + 1))]
            for text in texts
        ]
        return self.hash.from_token_sets(shingles, num_perm=PERMUTATIONS, seed=1)

    def has(self, text: str, signature) -> bool:
        return len(text) >= SHORT and any(
            signature.jaccard(self.known[number]) >= self.threshold
            for number in self.index.query(signature)
        )

    def have(self, texts: Sequence[str]) -> list[bool]:
        """Whether each text nearly is one that was added."""
        return [
            self.has(text, signature)
            for text, signature in zip(texts, self.signatures(texts), strict=True)
        ]


@dataclass(frozen=True)
class Match:
    """A text of a corpus that a benchmark has."""

    role: str
    language: str
    id: int
    text: str
    benchmark: str
    how: str  # exact or near


def find_matches(corpus: ParallelCorpus, tested: BenchmarkTexts, near: float) -> Iterator[Match]:
    """Every text of the corpus that the benchmark has; `near` is the similarity from which on they count, 0 for exact ones."""
    sides = ("query", corpus.queries, tested.queries), ("passage", corpus.passages, tested.passages)
    for role, texts_by_language, wanted in sides:
        finder = NearTextIndex(near).add(wanted.to_pylist()) if near else None
        for language, texts in texts_by_language.items():
            first = 0
            for batch in iterate_blocks(texts):
                own = normalise_texts(pa.array(batch, pa.string()))
                exact = pc.is_in(own, wanted).to_pylist()
                there = [row for row, text in enumerate(batch) if text is not None]
                similar = (
                    finder.have([own[row].as_py() for row in there])
                    if finder
                    else [False] * len(there)
                )
                for row, found in zip(there, similar, strict=True):
                    if exact[row] or found:
                        yield Match(
                            role,
                            language,
                            first + row,
                            batch[row],
                            tested.name,
                            "exact" if exact[row] else "near",
                        )
                first += len(batch)


def find_repeated_pairs(corpus: ParallelCorpus, near: float) -> Iterator[int]:
    """Rows of pairs that say, in their first language, what an earlier pair says; `near` as in `matches`."""
    seen, finder = set(), NearTextIndex(near) if near else None
    content = zip(
        corpus.query_content[corpus.pairs[:, 0]].tolist(),
        corpus.content[corpus.pairs[:, 1]].tolist(),
        strict=True,
    )
    sides = corpus.availability.of_pairs(np.arange(len(corpus)))
    asked, told = (side.argmax(1).tolist() for side in sides)
    has_both = (sides[0].any(1) & sides[1].any(1)).tolist()
    for row, ids in enumerate(content):
        if ids in seen:
            yield row
            continue
        seen.add(ids)
        if finder and has_both[row]:
            texts = (
                corpus.queries[corpus.languages[asked[row]]][int(corpus.pairs[row, 0])],
                corpus.passages[corpus.languages[told[row]]][int(corpus.pairs[row, 1])],
            )
            text = normalise_texts(pa.array([" ".join(texts)]))[0].as_py()
            signature = finder.signatures([text])[0]
            if finder.has(text, signature):
                yield row
            else:
                finder.insert(text, signature)
