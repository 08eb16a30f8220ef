"""Ways to find the best passages for query vectors: exact, with rescoring, or by FAISS.

Shapes: Q queries, B passages of a block, N passages, P pairs of a query and a passage, K results,
D width.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from hybrid_ir.evaluation.exact_scores import compute_paired_dots
from hybrid_ir.index.vectors import VectorSource

FAISS_KINDS = ("none", "flat", "hnsw", "ivf")
HNSW_NEIGHBOURS = 32  # links of a passage in an HNSW graph
HNSW_CONSTRUCTION = 200  # candidates kept while an HNSW graph is built
HNSW_EFFORT = 128  # candidates kept while it is searched
IVF_EFFORT = 16  # lists that are searched
IVF_PASSAGES_PER_LIST = 39  # at least so many, as FAISS wants them for training
IVF_SEED = 1
HALF_UNIT = 2.0**-24  # largest relative error of one rounding in float32
QUERIES_AT_ONCE = 1024

Found = tuple[np.ndarray, np.ndarray]  # scores (Q, K), float64, and rows (Q, K); -inf, -1: none


class SearchMethod(Protocol):
    """A way to find the passages with the largest inner products."""

    def search(
        self, queries_QD: torch.Tensor, k: int, is_allowed_N: np.ndarray | None = None
    ) -> Found:
        """Finds the k best passages of each query, best first.

        Args:
            queries_QD: float32.
            k: results of a query at most.
            is_allowed_N: which passages may be found; None for all.

        Returns:
            Their scores and rows (Q, K). Where there are fewer, -inf and -1 stand at the end.
        """


class ExactSearch:
    """The search by every inner product. Equal scores stand in the order of their rows.

    A matrix product in float32 leaves out what cannot be among the first, with a margin for its
    rounding errors. All others get a score in float64, which is the same to the last bit whatever
    stands beside it, so equal vectors tie.

    Args:
        vectors: of all passages.
    """

    def __init__(self, vectors: VectorSource):
        self.vectors = vectors

    @torch.inference_mode()
    def search(
        self, queries_QD: torch.Tensor, k: int, is_allowed_N: np.ndarray | None = None
    ) -> Found:
        """Finds the k best passages of each query, see `SearchMethod`."""
        parts = []
        for start in range(0, len(queries_QD), QUERIES_AT_ONCE):
            part_QD = queries_QD[start : start + QUERIES_AT_ONCE]
            parts.append(self._search(part_QD, k, is_allowed_N))
        return _join_found(parts, k)

    def _search(self, queries_QD: torch.Tensor, k: int, is_allowed_N: np.ndarray | None) -> Found:
        scores_QK = np.full((len(queries_QD), k), -np.inf)
        rows_QK = np.full((len(queries_QD), k), -1)
        for start, block_BD in self.vectors.iterate_blocks():
            rows_B = np.arange(start, start + len(block_BD))
            if is_allowed_N is not None:
                is_allowed_B = is_allowed_N[rows_B]
                rows_B = rows_B[is_allowed_B]
                block_BD = block_BD[torch.from_numpy(is_allowed_B)]
            if len(rows_B) == 0:
                continue
            query_P, place_P = _find_candidates(queries_QD, block_BD, scores_QK[:, -1], k)
            scores_P = compute_paired_dots(queries_QD, block_BD, query_P, place_P).numpy()
            merge_candidates(scores_QK, rows_QK, query_P.numpy(), rows_B[place_P.numpy()], scores_P)
        return scores_QK, rows_QK


def _find_candidates(
    queries_QD: torch.Tensor, block_BD: torch.Tensor, least_Q: np.ndarray, k: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Finds what may be among the k best: pairs of a query and a place in a block (P each).

    Args:
        queries_QD: the queries.
        block_BD: the passages.
        least_Q: the score that a passage must reach to be among those found in earlier blocks.
        k: results of a query.
    """
    scores_QB = queries_QD @ block_BD.T
    lengths_Q = queries_QD.double().norm(dim=1)
    margin_Q = bound_float32_error(block_BD.shape[1]) * lengths_Q * block_BD.norm(dim=1).max()
    least = torch.from_numpy(least_Q)
    if k <= len(block_BD):
        edge_Q = scores_QB.topk(k, dim=1).values[:, -1].double()
        least = torch.maximum(least, edge_Q - margin_Q)
    # Rounded down, so that the comparison in float32 leaves nothing out.
    limit_Q = (least - margin_Q).float()
    limit_Q = torch.nextafter(limit_Q, torch.full_like(limit_Q, -torch.inf))
    query_P, place_P = (scores_QB >= limit_Q[:, None]).nonzero(as_tuple=True)
    return query_P, place_P


def bound_float32_error(width: int) -> float:
    """Bounds the error of a float32 dot product as a share of the product of the two lengths.

    See Higham 2002, Accuracy and Stability of Numerical Algorithms, section 3.1. The factor 2
    covers the rounding of the lengths.
    """
    terms = width + 2
    return 2 * terms * HALF_UNIT / (1 - terms * HALF_UNIT)


def merge_candidates(
    scores_QK: np.ndarray,
    rows_QK: np.ndarray,
    query_P: np.ndarray,
    rows_P: np.ndarray,
    scores_P: np.ndarray,
) -> None:
    """Joins candidates to what is found already, in place, by score and then by row.

    Args:
        scores_QK: the scores that are found.
        rows_QK: their rows.
        query_P: the query of each candidate, ascending.
        rows_P: the row of each candidate.
        scores_P: the score of each candidate.
    """
    queries, k = scores_QK.shape
    query_A = np.concatenate([np.repeat(np.arange(queries), k), query_P])
    rows_A = np.concatenate([rows_QK.ravel(), rows_P])
    scores_A = np.concatenate([scores_QK.ravel(), scores_P])
    order_A = np.lexsort((rows_A, -scores_A, query_A))
    count_Q = np.bincount(query_A, minlength=queries)
    first_Q = np.cumsum(count_Q) - count_Q
    kept_QK = order_A[first_Q[:, None] + np.arange(k)]
    scores_QK[:] = scores_A[kept_QK]
    rows_QK[:] = rows_A[kept_QK]


class RescoredSearch:
    """Takes candidates from another search, and ranks them by the float vectors.

    Args:
        method: finds the candidates.
        vectors: the float vectors of all passages.
        multiplier: how many candidates there are for each result.
    """

    def __init__(self, method: SearchMethod, vectors: VectorSource, multiplier: int = 1):
        self.method = method
        self.vectors = vectors
        self.multiplier = multiplier

    @torch.inference_mode()
    def search(
        self, queries_QD: torch.Tensor, k: int, is_allowed_N: np.ndarray | None = None
    ) -> Found:
        """Finds the k best candidates of each query, see `SearchMethod`."""
        _, candidates_QC = self.method.search(queries_QD, k * self.multiplier, is_allowed_N)
        scores_QK = np.full((len(queries_QD), k), -np.inf)
        rows_QK = np.full((len(queries_QD), k), -1)
        query_P, column_P = np.nonzero(candidates_QC >= 0)
        rows_P = candidates_QC[query_P, column_P]
        distinct_rows, place_P = np.unique(rows_P, return_inverse=True)
        scores_P = compute_paired_dots(
            queries_QD,
            self.vectors.take(distinct_rows),
            torch.from_numpy(query_P),
            torch.from_numpy(place_P),
        )
        merge_candidates(scores_QK, rows_QK, query_P, rows_P, scores_P.numpy())
        return scores_QK, rows_QK


@dataclass
class FaissSearch:
    """A search by an index of FAISS, in float32 on the CPU.

    An HNSW graph or inverted lists may find fewer passages than there are, above all with few
    allowed languages. Such queries are searched exactly instead.

    Args:
        index: of FAISS.
        vectors: of all passages, for queries of which too little is found.
        effort: candidates that are kept in an HNSW graph, or lists that are searched; None for the
            usual number.
    """

    index: Any
    vectors: VectorSource
    effort: int | None = None

    def search(
        self, queries_QD: torch.Tensor, k: int, is_allowed_N: np.ndarray | None = None
    ) -> Found:
        """Finds about the k best passages of each query, see `SearchMethod`."""
        size = len(self.vectors)
        reachable = size if is_allowed_N is None else int(is_allowed_N.sum())
        scores_QK = np.full((len(queries_QD), k), -np.inf)
        rows_QK = np.full((len(queries_QD), k), -1)
        wanted = min(k, reachable)
        if wanted == 0:
            return scores_QK, rows_QK
        queries = np.ascontiguousarray(queries_QD.numpy(), np.float32)
        parameters = self._choose_parameters(k, is_allowed_N)
        found_scores, found_rows = self.index.search(queries, wanted, params=parameters)
        scores_QK[:, :wanted] = np.where(found_rows >= 0, found_scores, -np.inf)
        rows_QK[:, :wanted] = found_rows
        is_short_Q = (found_rows < 0).any(1)
        if is_short_Q.any():
            exact = ExactSearch(self.vectors).search(
                queries_QD[torch.from_numpy(is_short_Q)], k, is_allowed_N
            )
            scores_QK[is_short_Q], rows_QK[is_short_Q] = exact
        return scores_QK, rows_QK

    def _choose_parameters(self, k: int, is_allowed_N: np.ndarray | None) -> Any:
        faiss = import_faiss()
        options: dict[str, Any] = {}
        if is_allowed_N is not None:
            options["sel"] = faiss.IDSelectorBatch(np.flatnonzero(is_allowed_N))
        if isinstance(self.index, faiss.IndexHNSW):
            options["efSearch"] = max(self.effort or HNSW_EFFORT, 2 * k)
            return faiss.SearchParametersHNSW(**options)
        if isinstance(self.index, faiss.IndexIVF):
            options["nprobe"] = min(self.effort or IVF_EFFORT, self.index.nlist)
            return faiss.SearchParametersIVF(**options)
        return faiss.SearchParameters(**options)


def import_faiss() -> Any:
    """Imports FAISS, late, since it and torch may bring two OpenMP runtimes.

    Raises:
        ValueError: it is not installed.
    """
    try:
        import faiss
    except ImportError as error:
        raise ValueError(
            "faiss is not installed: pip install 'hybrid-ir[faiss]', or say faiss=none, which "
            "searches exactly"
        ) from error
    return faiss


def build_faiss_file(kind: str, vectors: VectorSource, path: Path) -> None:
    """Builds an index of FAISS by inner product from float vectors, and writes it to a file.

    With one thread of torch the file is the same each time.

    Args:
        kind: `flat`, `hnsw` or `ivf`.
        vectors: of all passages.
        path: of the file.
    """
    faiss = import_faiss()
    faiss.omp_set_num_threads(torch.get_num_threads())
    if kind == "flat":
        index = faiss.IndexFlatIP(vectors.width)
    elif kind == "hnsw":
        index = faiss.IndexHNSWFlat(vectors.width, HNSW_NEIGHBOURS, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = HNSW_CONSTRUCTION
    else:
        index = _train_ivf(faiss, vectors)
    for _, block_BD in vectors.iterate_blocks():
        index.add(np.ascontiguousarray(block_BD.numpy()))
    faiss.write_index(index, str(path))


def _train_ivf(faiss: Any, vectors: VectorSource) -> Any:
    """Returns an empty index of inverted lists that knows the centres of its lists."""
    most = max(1, len(vectors) // IVF_PASSAGES_PER_LIST)
    lists = min(most, 4 * math.isqrt(len(vectors)))
    quantiser = faiss.IndexFlatIP(vectors.width)
    index = faiss.IndexIVFFlat(quantiser, vectors.width, lists, faiss.METRIC_INNER_PRODUCT)
    index.cp.seed = IVF_SEED
    wanted = min(len(vectors), lists * index.cp.max_points_per_centroid)
    rows = np.random.default_rng(IVF_SEED).choice(len(vectors), wanted, replace=False)
    index.train(np.ascontiguousarray(vectors.take(np.sort(rows)).numpy()))
    return index


def load_faiss_search(path: Path, vectors: VectorSource, effort: int | None) -> FaissSearch:
    """Loads a search by FAISS from the file of its index, with as many threads as torch."""
    faiss = import_faiss()
    faiss.omp_set_num_threads(torch.get_num_threads())
    return FaissSearch(faiss.read_index(str(path)), vectors, effort)


def _join_found(parts: list[Found], k: int) -> Found:
    """Joins what was found for several blocks of queries."""
    scores = [np.empty((0, k)), *(part[0] for part in parts)]
    rows = [np.empty((0, k), np.int64), *(part[1] for part in parts)]
    return np.concatenate(scores), np.concatenate(rows)
