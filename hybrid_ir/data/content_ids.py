"""Content ids: which texts say the same, whatever their language."""

# N ids

import hashlib
from collections.abc import Iterable

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

MISSING_HASH = 0  # hash of no text


def hash_text(text: str) -> int:
    """64 bits of a text, as a signed number."""
    return int.from_bytes(
        hashlib.blake2b(text.encode(), digest_size=8).digest(), "big", signed=True
    )


def hash_texts(texts: Iterable[str | None]) -> np.ndarray:
    """The hash of each text (N), MISSING for None."""
    return np.fromiter(
        (MISSING_HASH if text is None else hash_text(text) for text in texts), np.int64
    )


def assign_content_ids(hashes_by_language: Iterable[np.ndarray]) -> np.ndarray:
    """For each id (N) the smallest id that shares a text with it, in any language and through any chain."""
    links, size = [np.empty((2, 0), np.int64)], 0
    for hashes_N in hashes_by_language:
        size = len(hashes_N)
        order_N = np.argsort(hashes_N, kind="stable")
        sorted_N = hashes_N[order_N]
        equal = (sorted_N[1:] == sorted_N[:-1]) & (sorted_N[1:] != MISSING_HASH)
        links.append(np.stack([order_N[:-1][equal], order_N[1:][equal]]))
    ids, ends = np.unique(np.concatenate(links, axis=1), return_inverse=True)
    ends = ends.reshape(2, -1)
    _, group = connected_components(
        coo_array((np.ones(ends.shape[1], bool), ends), shape=(len(ids), len(ids))), directed=False
    )
    _, first = np.unique(
        group, return_index=True
    )  # ids ascend, so the first of a group is its smallest
    content_N = np.arange(size)
    content_N[ids] = ids[first[group]]
    return content_N


def compute_corpus_fingerprint(corpus) -> str:
    """One of all texts of a corpus."""
    digest = hashlib.sha256()
    for texts in (corpus.queries, corpus.passages):
        for language in corpus.languages:
            known = getattr(texts[language], "fingerprint", None)
            for text in texts[language] if known is None else [known]:
                digest.update(f"{language} {text!r}".encode())
    return digest.hexdigest()[:32]
