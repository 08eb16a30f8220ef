"""ParallelCorpus: texts by (language, content id) and the pairs to train on."""

from collections.abc import Mapping, Sequence

import numpy as np

from hybrid_ir.types import Source

Texts = Mapping[str, Sequence[str | None]]  # language -> text by id; None where this language lacks it


class ParallelCorpus:
    """Question-passage pairs whose ids do not know the language: a translation has the id of its original.

    `queries[language][query_id]` and `passages[language][passage_id]` are the texts, `pairs` (P, 2) the ids that
    belong together, `negatives` (P, K) ids of passages known not to answer the query (-1 fills short rows).
    `content[passage_id]` is equal for passages that share a text in some language, so that neither a twin nor a
    repeated passage is ever taken for a negative. Everything wrong is reported at once, as one ValueError.
    """

    def __init__(self, queries: Texts, passages: Texts, pairs: np.ndarray, source: Source,
                 negatives: np.ndarray | None = None):
        self.languages = tuple(sorted(queries))
        self.queries, self.passages, self.source = queries, passages, source
        self.pairs = np.asarray(pairs, dtype=np.int64).reshape(-1, 2)
        self.negatives = np.empty((len(self.pairs), 0), np.int64) if negatives is None else np.asarray(negatives)
        self._check()
        self.query_available = self._available(queries)[self.pairs[:, 0]]  # P, languages
        self.passage_available_by_id = self._available(passages)  # passage ids, languages
        self.passage_available = self.passage_available_by_id[self.pairs[:, 1]]  # P, languages
        self.content = shared_content(passages)  # by passage id
        self.query_content = shared_content(queries)  # by query id: a question asked twice has two positives

    def __len__(self) -> int:
        return len(self.pairs)

    def texts(self) -> list[str]:
        """All texts of queries and passages, for a tokenizer to train on."""
        return [text for texts in (self.queries, self.passages) for language in self.languages
                for text in texts[language] if text is not None]

    def _available(self, texts: Texts) -> np.ndarray:
        return np.array([[text is not None for text in texts[language]] for language in self.languages]).T

    def _check(self) -> None:
        wrong = []
        if set(self.queries) != set(self.passages):
            wrong.append(f"queries are in {sorted(self.queries)}, passages in {sorted(self.passages)}: name both alike")
        if not len(self.pairs):
            wrong.append("there is no pair to train on")
        for kind, texts, ids in (("query", self.queries, self.pairs[:, 0]), ("passage", self.passages, self.pairs[:, 1])):
            sizes = {language: len(rows) for language, rows in texts.items()}
            if len(set(sizes.values())) > 1:
                wrong.append(f"every language needs one entry per {kind} id (None where missing), got {sizes}")
            elif len(ids) and not 0 <= ids.min() <= ids.max() < min(sizes.values(), default=0):
                wrong.append(f"{kind} ids of pairs reach from {ids.min()} to {ids.max()}, texts have {sizes}")
            for language, rows in texts.items():
                empty = [i for i, text in enumerate(rows) if text is not None and not text.strip()]
                if empty:
                    wrong.append(f"{len(empty)} empty {kind} texts in '{language}', first at id {empty[0]}: use None or a text")
        if self.negatives.shape[:1] != self.pairs.shape[:1] or self.negatives.ndim != 2:
            wrong.append(f"negatives have shape {self.negatives.shape}, need ({len(self.pairs)}, K)")
        size = min(map(len, self.passages.values()), default=0)
        if self.negatives.size and not -1 <= self.negatives.min() <= self.negatives.max() < size:
            wrong.append(f"passage ids of negatives reach from {self.negatives.min()} to {self.negatives.max()}, there are "
                         f"{size} passages and -1 for none")
        if wrong:
            raise ValueError(f"corpus '{self.source.name}': " + "; ".join(wrong))


def shared_content(passages: Texts) -> np.ndarray:
    """For each passage id the smallest id that shares a text with it, in any language and through any chain."""
    size = len(next(iter(passages.values())))
    parent = np.arange(size)

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = i = parent[parent[i]]
        return i

    for rows in passages.values():
        first: dict[str, int] = {}
        for i, text in enumerate(rows):
            if text is not None:
                a, b = root(first.setdefault(text, i)), root(i)
                parent[max(a, b)] = min(a, b)
    return np.array([root(i) for i in range(size)])
