"""How long one query takes to become a vector: a short look beside `hybrid-ir latency`."""

import time
from typing import Any

import numpy as np
import torch

from hybrid_ir.evaluation.card import describe_device
from hybrid_ir.system.hardware import name_processor
from hybrid_ir.types import Benchmark, TextEncoder

QUERIES = 30
WARM_UP = 5


def time_queries(encoder: TextEncoder, benchmark: Benchmark) -> dict[str, Any]:
    """Encodes queries one by one, and returns how long that took.

    Args:
        encoder: of `load_encoder`.
        benchmark: whose queries are taken, at equal distances.

    Returns:
        The number of queries, the median and the 95th percentile in milliseconds, the machine, and
        the threads of torch (None on a GPU).
    """
    places = np.linspace(0, len(benchmark.queries) - 1, QUERIES + WARM_UP).astype(int)
    milliseconds = []
    for place in places:
        started = time.perf_counter()
        items = encoder.read([benchmark.queries[int(place)]], "query")
        encoder.encode(items, "query").cpu()  # a GPU may still be at work until then
        milliseconds.append(1000 * (time.perf_counter() - started))
    timed = milliseconds[WARM_UP:]
    device = str(encoder.device)
    return {
        "queries": len(timed),
        "p50_ms": float(np.percentile(timed, 50)),
        "p95_ms": float(np.percentile(timed, 95)),
        "machine": name_processor() if device == "cpu" else describe_device(device),
        "threads": torch.get_num_threads() if device == "cpu" else None,
    }
