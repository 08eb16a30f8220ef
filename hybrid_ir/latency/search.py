"""The top k of a pool: by all inner products, or by an HNSW graph."""

# B queries, N vectors of the pool, D width, K found

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from hybrid_ir.latency.pools import LINKS
from hybrid_ir.latency.settings import Unavailable

EF_CONSTRUCTION, EF_SEARCH = 80, 64  # candidates kept while an HNSW graph is built and searched

SearchOf = Callable[[torch.Tensor], Any]


def exact(pool_ND: torch.Tensor, top_k: int) -> SearchOf:
    """Every inner product, in the dtype of the pool; the places (B, K) end in main memory."""

    @torch.inference_mode()
    def search(vectors_BD: torch.Tensor) -> torch.Tensor:
        return (vectors_BD.to(pool_ND.dtype) @ pool_ND.T).topk(top_k).indices.cpu()

    return search


def hnsw(pool_ND: torch.Tensor, top_k: int) -> SearchOf:
    """FAISS IndexHNSWFlat by inner product, on the CPU in float32, with as many threads as torch.

    Raises:
        Unavailable: faiss is not installed.
    """
    try:
        import faiss  # late: it and torch may bring two OpenMP runtimes
    except ImportError as error:
        raise Unavailable("hnsw: faiss is not installed: pip install faiss-cpu") from error
    faiss.omp_set_num_threads(torch.get_num_threads())
    index = faiss.IndexHNSWFlat(pool_ND.shape[1], LINKS // 2, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction, index.hnsw.efSearch = EF_CONSTRUCTION, EF_SEARCH
    for chunk_ND in pool_ND.split(10_000):
        index.add(np.ascontiguousarray(chunk_ND.float().cpu().numpy()))
    return lambda vectors_BD: index.search(
        np.ascontiguousarray(vectors_BD.float().cpu().numpy()), top_k
    )[1]


def overlap(found_BK: Any, expected_BK: Any) -> float:
    """Share of the expected places that were found, mean over queries."""
    pairs = zip(np.asarray(found_BK), np.asarray(expected_BK), strict=True)
    return float(
        np.mean([len(set(found) & set(expected)) / len(expected) for found, expected in pairs])
    )
