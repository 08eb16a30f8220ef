"""What is searched: as many vectors as a pool holds, and whether the memory holds them."""

# M passages that were encoded, N vectors of a pool, D width

import os
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from hybrid_ir.latency.settings import LatencySettings
from hybrid_ir.types import Benchmark, TextEncoder

NOISE = 0.1  # length of what is added to a repeated passage, as a share of its vector's
CHUNK = 100_000  # vectors made at once
ENCODED = 32  # passages encoded at once
LINKS = 64  # of a vector in the lowest level of an HNSW index: 2 x 32


def passage_vectors(
    encoder: TextEncoder, benchmark: Benchmark, most: int, seed: int
) -> torch.Tensor:
    """Vectors (M, D) of at most so many passages, drawn from all languages."""
    size = len(benchmark.passages)
    rows = np.random.default_rng([seed, most]).choice(
        size, min(most, size), replace=False, shuffle=False
    )
    items = encoder.read([benchmark.passages[int(row)] for row in np.sort(rows)], "passage")
    return torch.cat(
        [
            encoder.encode(items[start : start + ENCODED], "passage").cpu()
            for start in range(0, len(items), ENCODED)
        ]
    )


def repeated(
    vectors_MD: torch.Tensor,
    size: int,
    unit: bool,
    dtype: torch.dtype,
    device: torch.device,
    seed: int,
) -> torch.Tensor:
    """A pool (N, D): the vectors, then again and again with noise; of length 1 where `unit`."""
    generator = torch.Generator().manual_seed(seed)
    pool_ND = torch.empty(size, vectors_MD.shape[1], dtype=dtype, device=device)
    for start in range(0, size, CHUNK):
        rows_N = torch.arange(start, min(start + CHUNK, size))
        chunk_ND = vectors_MD[rows_N % len(vectors_MD)].clone()
        noise_ND = torch.randn(chunk_ND.shape, generator=generator) * (
            NOISE / chunk_ND.shape[1] ** 0.5
        )
        again_N1 = (rows_N >= len(vectors_MD))[:, None]
        chunk_ND += again_N1 * noise_ND * chunk_ND.norm(dim=1, keepdim=True)
        pool_ND[start : start + len(rows_N)] = F.normalize(chunk_ND, dim=1) if unit else chunk_ND
    return pool_ND


def random_units(
    size: int, width: int, dtype: torch.dtype, device: torch.device, seed: int
) -> torch.Tensor:
    """A pool (N, D) of directions drawn uniformly."""
    generator = torch.Generator().manual_seed(seed)
    pool_ND = torch.empty(size, width, dtype=dtype, device=device)
    for start in range(0, size, CHUNK):
        chunk_ND = torch.randn(min(CHUNK, size - start), width, generator=generator)
        pool_ND[start : start + len(chunk_ND)] = F.normalize(chunk_ND, dim=1)
    return pool_ND


def bytes_needed(settings: LatencySettings, widths: list[int], dtype: str) -> tuple[int, int]:
    """Bytes of all pools and their scores on the device of the model, and of all HNSW indices in main memory.

    `widths` has one entry per pool: exact search of a smaller pool reads the first rows of the largest.
    """
    largest, itemsize = max(settings.pools), getattr(torch, dtype).itemsize
    scores = max(settings.batch_sizes) * largest * itemsize
    pools = sum(largest * width * itemsize for width in widths) + scores
    per_vector = sum(4 * width + 4 * LINKS for width in widths)
    return pools, sum(settings.pools) * per_vector if "hnsw" in settings.search else 0


def check_memory(settings: LatencySettings, widths: list[int], device: torch.device) -> None:
    """ValueError with the number of bytes where pools and indices do not fit."""
    pools, indices = bytes_needed(settings, widths, settings.pool_dtype)
    on_host = device.type == "cpu"
    wrong = []
    for where, needed in (
        (device, pools + indices if on_host else pools),
        (torch.device("cpu"), 0 if on_host else indices),
    ):
        available = available_bytes(where)
        if available is not None and needed > available:
            wrong.append(f"{needed:,} bytes of {where} memory, {available:,} are free")
    if wrong:
        half = bytes_needed(settings, widths, "float16")[0]
        raise ValueError(
            f"pools={list(settings.pools)}: {len(widths)} pools of {max(settings.pools):,} vectors in {settings.pool_dtype} need "
            f"{' and '.join(wrong)}. Search fewer vectors, say pool_dtype=float16 ({half:,} bytes for exact search), or "
            "pool_vectors=random, one pool for all checkpoints of a width"
        )


def available_bytes(device: torch.device) -> int | None:
    """Memory that can still be had; None where the system does not say."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    found = []
    if (file := Path("/proc/meminfo")).is_file():
        found += [
            int(line.split()[1]) * 1024
            for line in file.read_text().splitlines()
            if line.startswith("MemAvailable:")
        ]
    if (file := Path("/sys/fs/cgroup/memory.max")).is_file() and (
        limit := file.read_text().strip()
    ).isdigit():
        found.append(int(limit))  # of a container
    if not found and "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {}):
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(found, default=None)
