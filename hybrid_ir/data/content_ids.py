"""Content ids, which are equal for texts that say the same in any language, and hashes of texts."""

# N ids of queries or passages

import hashlib
from collections.abc import Iterable, Iterator

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from hybrid_ir.types import CorpusPart

MISSING_HASH = 0  # stands for the hash of a text that is missing


def hash_text(text: str) -> int:
    """Returns 64 bits of a text as a signed number, the same in every process."""
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def hash_texts(texts: Iterable[str | None]) -> np.ndarray:
    """Returns the hash of each text (N), MISSING_HASH for None."""
    hashes = (MISSING_HASH if text is None else hash_text(text) for text in texts)
    return np.fromiter(hashes, np.int64)


def assign_content_ids(hashes_by_language: Iterable[np.ndarray]) -> np.ndarray:
    """Groups ids that share a text, so that a repeated passage is recognised in every language.

    Two ids share their content if they have the same text in some language, or if a chain of such
    ids connects them.

    Args:
        hashes_by_language: for each language the hashes (N) of the texts of all ids.

    Returns:
        For each id (N) the smallest id of its group.
    """
    size = 0
    links = [np.empty((2, 0), np.int64)]
    for hashes_N in hashes_by_language:
        size = len(hashes_N)
        links.append(_link_equal_hashes(hashes_N))
    ids, ends = np.unique(np.concatenate(links, axis=1), return_inverse=True)
    ends = ends.reshape(2, -1)
    graph = coo_array((np.ones(ends.shape[1], bool), ends), shape=(len(ids), len(ids)))
    _, group = connected_components(graph, directed=False)
    # The ids are sorted, so the first id of a group is its smallest.
    _, first = np.unique(group, return_index=True)
    content_N = np.arange(size)
    content_N[ids] = ids[first[group]]
    return content_N


def _link_equal_hashes(hashes_N: np.ndarray) -> np.ndarray:
    """Returns pairs of ids (2, links) that connect all ids of equal texts of one language."""
    order_N = np.argsort(hashes_N, kind="stable")
    sorted_N = hashes_N[order_N]
    equal = (sorted_N[1:] == sorted_N[:-1]) & (sorted_N[1:] != MISSING_HASH)
    return np.stack([order_N[:-1][equal], order_N[1:][equal]])


def compute_corpus_fingerprint(corpus: CorpusPart) -> str:
    """Returns 32 hex digits that change whenever a text of the corpus changes."""
    digest = hashlib.sha256()
    for side in (corpus.queries, corpus.passages):
        for language in corpus.languages:
            for text in _iterate_for_fingerprint(side[language]):
                digest.update(f"{language} {text!r}".encode())
    return digest.hexdigest()[:32]


def _iterate_for_fingerprint(texts: Iterable[str | None]) -> Iterator[str | None]:
    """Returns the texts, or only their fingerprint where they already have one."""
    fingerprint = getattr(texts, "fingerprint", None)
    return iter(texts) if fingerprint is None else iter([fingerprint])
