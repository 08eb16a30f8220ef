"""Mines hard negatives: passages that an encoder finds for a query, but that do not answer it."""

# P pairs (of a block), Q queries of a block, N passage ids of a corpus, D candidates of a query,
# K hard negatives of a pair, L languages

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from hybrid_ir.data.corpus import ParallelCorpus
from hybrid_ir.evaluation.top_k import TopK
from hybrid_ir.system.progress import show_progress
from hybrid_ir.types import Role, TextEncoder

# Which languages are searched, from the language of the query.
SEARCH_CHOICES = ("same", "other", "any")
QUERY_BLOCK = 1024  # queries of a matrix product
PASSAGE_BLOCK = 1 << 16  # passages of a matrix product
PAIR_BLOCK = 8192  # pairs whose candidates are chosen from together


class LanguageVectors:
    """Unit vectors of the queries and passages of a corpus in one language, on disk.

    Args:
        corpus: the corpus.
        language: one of its languages.
        encoder: makes the vectors.
        scratch: a folder for the vectors.
        texts_per_chunk: how many texts the encoder gets at once.

    Attributes:
        query_ids: the queries that the language has.
        passage_ids: the passages that the language has.
        queries: a vector for each of `query_ids`.
        passages: a vector for each of `passage_ids`.
        passage_rows_N: the row in `passages` of each passage id, -1 if the language lacks it.
    """

    def __init__(
        self,
        corpus: ParallelCorpus,
        language: str,
        encoder: TextEncoder,
        scratch: Path,
        texts_per_chunk: int,
    ):
        number = corpus.languages.index(language)
        query_languages = corpus.index.query_languages
        passage_languages = corpus.index.passage_languages
        has_query_N = query_languages.has(np.arange(len(query_languages)), number)
        has_passage_N = passage_languages.has(np.arange(len(passage_languages)), number)
        self.device = encoder.device
        self.query_ids = np.flatnonzero(has_query_N)
        self.passage_ids = np.flatnonzero(has_passage_N)
        self.queries = _encode_texts(
            encoder,
            corpus.queries[language],
            self.query_ids,
            "query",
            scratch / f"query-{language}.bin",
            texts_per_chunk,
        )
        self.passages = _encode_texts(
            encoder,
            corpus.passages[language],
            self.passage_ids,
            "passage",
            scratch / f"passage-{language}.bin",
            texts_per_chunk,
        )
        self.passage_rows_N = np.full(len(passage_languages), -1)
        self.passage_rows_N[self.passage_ids] = np.arange(len(self.passage_ids))

    def search(self, queries: np.ndarray, depth: int) -> tuple[np.ndarray, np.ndarray]:
        """Finds the best passages of the language for query vectors.

        Returns:
            Passage ids (Q, D), -1 for none, and their scores (Q, D), best first.
        """
        top = TopK(len(queries), min(depth, len(self.passage_ids)))
        query_vectors = torch.from_numpy(np.ascontiguousarray(queries)).to(self.device)
        for start in range(0, len(self.passage_ids), PASSAGE_BLOCK):
            block = np.ascontiguousarray(self.passages[start : start + PASSAGE_BLOCK])
            passage_vectors = torch.from_numpy(block).to(self.device)
            scores = (query_vectors @ passage_vectors.T).double()
            rows = torch.arange(start, start + len(block), device=self.device)
            top.take(0, scores, rows, 0)
        rows_QD = top.rows_QK.numpy()
        ids_QD = np.where(rows_QD >= 0, self.passage_ids[rows_QD], -1)
        return ids_QD, top.scores_QK.numpy()


class HardNegativeMiner:
    """Mines hard negatives for every pair of a corpus.

    A candidate is a hard negative of a pair if it does not answer the query of the pair, and
    scores at least `margin` below the passage of the pair. The passage is scored in the language
    of the candidates, or else in that of the query; where it is in neither, any candidate will do.
    Of several languages in which a query is asked, the best candidates over all count.

    Args:
        corpus: the corpus.
        vectors: vectors of the texts of each language.
        count: hard negatives of a pair, at most.
        depth: candidates of a query in each searched language.
        languages: which passages are searched: those in the `same` language as the query, in every
            `other`, or in `any`.
        margin: how far below the passage of the pair a candidate must score.
    """

    def __init__(
        self,
        corpus: ParallelCorpus,
        vectors: Mapping[str, LanguageVectors],
        count: int,
        depth: int,
        languages: str,
        margin: float,
    ):
        self.corpus = corpus
        self.vectors = vectors
        self.count = count
        self.depth = depth
        self.languages = languages
        self.margin = margin
        self.pairs = np.asarray(corpus.pairs, np.int64)
        self._pairs_by_query = np.argsort(self.pairs[:, 0], kind="stable")
        self._ordered_query_ids = self.pairs[self._pairs_by_query, 0]
        self._best_ids_PK = np.full((len(self.pairs), count), -1)
        self._best_scores_PK = np.full((len(self.pairs), count), -np.inf)
        self._count_by_language: Counter[str] = Counter()

    def mine(self) -> tuple[np.ndarray, Counter[str]]:
        """Mines the hard negatives.

        Returns:
            Passage ids of the hard negatives of each pair (P, K), -1 for none, and how many were
            found in each language before the best were chosen.
        """
        queries = [len(self.vectors[language].query_ids) for language in self.corpus.languages]
        is_small = len(self.pairs) < QUERY_BLOCK
        with show_progress("search for queries", sum(queries), is_small=is_small) as work:
            for number, count in enumerate(queries):
                for start in range(0, count, QUERY_BLOCK):
                    block = slice(start, min(start + QUERY_BLOCK, count))
                    self._mine_block(number, block)
                    work.advance(block.stop - block.start)
        return self._best_ids_PK, self._count_by_language

    def _mine_block(self, language: int, block: slice) -> None:
        """Mines for the pairs of some queries in one language, in all languages to be searched."""
        query_vectors = self.vectors[self.corpus.languages[language]]
        pair_rows = self._find_pairs(query_vectors.query_ids[block])
        if not len(pair_rows):
            return
        language_count = len(self.corpus.languages)
        for number in list_searched_languages(language, language_count, self.languages):
            searched_language = self.corpus.languages[number]
            passage_vectors = self.vectors[searched_language]
            if not len(passage_vectors.passage_ids):
                continue
            ids_QD, scores_QD = passage_vectors.search(query_vectors.queries[block], self.depth)
            parts = math.ceil(len(pair_rows) / PAIR_BLOCK)
            for rows in np.array_split(pair_rows, parts):
                # The place in the block of the query of each pair.
                places = np.searchsorted(query_vectors.query_ids[block], self.pairs[rows, 0])
                queries = query_vectors.queries[block][places]
                limits = self._compute_score_limits(rows, queries, query_vectors, passage_vectors)
                ids_PK, scores_PK = self._choose(rows, ids_QD[places], scores_QD[places], limits)
                self._count_by_language[searched_language] += int((ids_PK >= 0).sum())
                self._keep_best(rows, ids_PK, scores_PK)

    def _find_pairs(self, query_ids: np.ndarray) -> np.ndarray:
        """Returns the rows of the pairs of some queries, whose ids ascend."""
        bounds = (query_ids[0], query_ids[-1] + 1)
        first, last = np.searchsorted(self._ordered_query_ids, bounds)
        rows = self._pairs_by_query[first:last]
        return rows[np.isin(self.pairs[rows, 0], query_ids)]

    def _compute_score_limits(
        self,
        rows: np.ndarray,
        queries: np.ndarray,
        query_vectors: LanguageVectors,
        passage_vectors: LanguageVectors,
    ) -> np.ndarray:
        """Returns the highest score that a hard negative of each pair may have (P)."""
        passage_ids = self.pairs[rows, 1]
        scores_P = np.full(len(rows), np.inf)
        # The second language wins where both have the passage.
        for vectors in (query_vectors, passage_vectors):
            if len(vectors.passage_ids):
                vector_rows = vectors.passage_rows_N[passage_ids]
                products = (queries * vectors.passages[vector_rows]).sum(1)
                scores_P = np.where(vector_rows >= 0, products, scores_P)
        return scores_P - self.margin

    def _choose(
        self, rows: np.ndarray, ids_PD: np.ndarray, scores_PD: np.ndarray, limits_P: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Chooses hard negatives of some pairs from candidates; returns ids and scores (P, K)."""
        is_positive_PD = self.corpus.index.positives.mark_positives(self.pairs[rows], ids_PD)
        is_allowed_PD = ~is_positive_PD & (scores_PD <= limits_P[:, None])
        return select_hard_negatives(
            ids_PD, scores_PD, is_allowed_PD, self.corpus.content, self.count
        )

    def _keep_best(self, rows: np.ndarray, ids_PK: np.ndarray, scores_PK: np.ndarray) -> None:
        """Keeps the best of the new hard negatives of some pairs and those that they have."""
        ids = np.concatenate([self._best_ids_PK[rows], ids_PK], axis=1)
        scores = np.concatenate([self._best_scores_PK[rows], scores_PK], axis=1)
        order = np.argsort(-scores, axis=1, kind="stable")
        ids = np.take_along_axis(ids, order, 1)
        scores = np.take_along_axis(scores, order, 1)
        self._best_ids_PK[rows], self._best_scores_PK[rows] = select_hard_negatives(
            ids, scores, ids >= 0, self.corpus.content, self.count
        )


def list_searched_languages(language: int, language_count: int, choice: str) -> list[int]:
    """Lists the languages whose passages are searched for queries in a language, as numbers.

    Args:
        language: the language of the queries.
        language_count: how many languages there are.
        choice: `same`, `other` or `any`.
    """
    if choice == "same":
        return [language]
    if choice == "other":
        return [other for other in range(language_count) if other != language]
    if choice == "any":
        return list(range(language_count))
    raise ValueError(f"languages={choice!r} must be one of {', '.join(SEARCH_CHOICES)}")


def select_hard_negatives(
    ids_QD: np.ndarray,
    scores_QD: np.ndarray,
    is_allowed_QD: np.ndarray,
    content_N: np.ndarray,
    count: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Selects the best allowed candidates of each query, each content once.

    Args:
        ids_QD: passage ids of the candidates, best first, -1 for none.
        scores_QD: their scores.
        is_allowed_QD: whether a candidate may be selected.
        content_N: the content id of each passage.
        count: how many to select (K).

    Returns:
        The ids (Q, K) and scores (Q, K) of the selected, -1 and -inf where there are fewer.
    """
    is_allowed_QD = is_allowed_QD & (ids_QD >= 0)
    content_QD = np.where(is_allowed_QD, content_N[ids_QD], -1)
    by_content = np.argsort(content_QD, axis=1, kind="stable")
    ordered_content = np.take_along_axis(content_QD, by_content, 1)
    is_first = np.ones_like(is_allowed_QD)
    is_first[:, 1:] = ordered_content[:, 1:] != ordered_content[:, :-1]
    is_selectable = np.take_along_axis(is_allowed_QD, by_content, 1) & is_first
    np.put_along_axis(is_allowed_QD, by_content, is_selectable, 1)
    places_QK = np.argsort(~is_allowed_QD, axis=1, kind="stable")[:, :count]
    is_there_QK = np.take_along_axis(is_allowed_QD, places_QK, 1)
    ids_QK = np.where(is_there_QK, np.take_along_axis(ids_QD, places_QK, 1), -1)
    scores_QK = np.where(is_there_QK, np.take_along_axis(scores_QD, places_QK, 1), -np.inf)
    return ids_QK, scores_QK


def find_usable_negatives(corpus: ParallelCorpus, negatives_PK: np.ndarray) -> np.ndarray:
    """Returns whether each negative is there in a language of the passage of its pair (P, K).

    Training looks for negatives in these languages alone.
    """
    _, passage_languages_PL = corpus.availability.get_languages_of_pairs(
        np.arange(len(negatives_PK))
    )
    is_usable_PK = np.zeros(negatives_PK.shape, bool)
    for language in range(len(corpus.languages)):
        has_language_PK = corpus.index.passage_languages.has(negatives_PK, language)
        is_usable_PK |= has_language_PK & passage_languages_PL[:, language, None]
    return is_usable_PK


def _encode_texts(
    encoder: TextEncoder,
    texts: Sequence[str],
    ids: np.ndarray,
    role: Role,
    path: Path,
    texts_per_chunk: int,
) -> np.ndarray:
    """Encodes texts to unit vectors in a file, and returns them memory-mapped."""
    starts = range(0, len(ids), texts_per_chunk)
    is_small = len(ids) < 10 * texts_per_chunk
    width = 0
    with (
        open(path, "wb") as file,
        show_progress(f"encode {path.stem}", len(ids), 0, 1, is_small) as work,
    ):
        for start in starts:
            chunk = [texts[int(row)] for row in ids[start : start + texts_per_chunk]]
            vectors = encoder.encode(encoder.read(chunk, role), role).float()
            unit_vectors = torch.nn.functional.normalize(vectors).cpu().numpy()
            width = unit_vectors.shape[1]
            file.write(unit_vectors.tobytes())
            work.advance(len(chunk))
    if not len(ids):
        return np.empty((0, 0), np.float32)
    return np.memmap(path, np.float32, "c", shape=(len(ids), width))
