"""The top k of a pool: by all inner products, or by an HNSW graph."""

# B queries, N vectors of the pool, D width, K places

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from hybrid_ir.latency.pools import HNSW_LINKS
from hybrid_ir.latency.settings import Unavailable

EF_CONSTRUCTION = 80  # candidates kept while an HNSW graph is built
EF_SEARCH = 64  # candidates kept while it is searched
ADDED_AT_ONCE = 10_000  # vectors

SearchFunction = Callable[[torch.Tensor], Any]  # vectors (B, D) -> places (B, K) in main memory


def build_exact_search(pool_ND: torch.Tensor, top_k: int) -> SearchFunction:
    """Returns the search by every inner product, in the dtype of the pool."""

    @torch.inference_mode()
    def search(vectors_BD: torch.Tensor) -> torch.Tensor:
        return (vectors_BD.to(pool_ND.dtype) @ pool_ND.T).topk(top_k).indices.cpu()

    return search


def build_hnsw_search(pool_ND: torch.Tensor, top_k: int) -> SearchFunction:
    """Builds FAISS IndexHNSWFlat by inner product and returns its search.

    It runs on the CPU in float32, with as many threads as torch.

    Raises:
        Unavailable: faiss is not installed.
    """
    try:
        import faiss  # late: it and torch may bring two OpenMP runtimes
    except ImportError as error:
        raise Unavailable("hnsw: faiss is not installed: pip install faiss-cpu") from error
    faiss.omp_set_num_threads(torch.get_num_threads())
    index = faiss.IndexHNSWFlat(pool_ND.shape[1], HNSW_LINKS // 2, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = EF_CONSTRUCTION
    index.hnsw.efSearch = EF_SEARCH
    for chunk_ND in pool_ND.split(ADDED_AT_ONCE):
        index.add(_to_faiss(chunk_ND))

    def search(vectors_BD: torch.Tensor) -> np.ndarray:
        _, places_BK = index.search(_to_faiss(vectors_BD), top_k)
        return places_BK

    return search


def _to_faiss(vectors: torch.Tensor) -> np.ndarray:
    return np.ascontiguousarray(vectors.float().cpu().numpy())


def compute_overlap(places_BK: Any, expected_BK: Any) -> float:
    """Computes the share of the expected places that were found, as the mean over queries."""
    shares = []
    for places_K, expected_K in zip(np.asarray(places_BK), np.asarray(expected_BK), strict=True):
        shares.append(len(set(places_K) & set(expected_K)) / len(expected_K))
    return float(np.mean(shares))
