"""The vectors that are searched, and whether the memory holds them."""

# M passages that were encoded, N vectors of a pool, D width

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from hybrid_ir.latency.settings import LatencySettings
from hybrid_ir.types import Benchmark, TextEncoder

NOISE = 0.1  # length of what is added to a repeated passage, as a share of its vector's
CHUNK = 100_000  # vectors drawn at once
ENCODED_AT_ONCE = 32  # passages
HNSW_LINKS = 64  # of a vector in the lowest level of an HNSW index: 2 x 32


def encode_passage_sample(
    encoder: TextEncoder, benchmark: Benchmark, most: int, seed: int
) -> torch.Tensor:
    """Returns the vectors (M, D) of at most `most` passages, drawn from all languages."""
    size = len(benchmark.passages)
    rng = np.random.default_rng([seed, most])
    rows = np.sort(rng.choice(size, min(most, size), replace=False, shuffle=False))
    items = encoder.read([benchmark.passages[int(row)] for row in rows], "passage")
    parts = []
    for start in range(0, len(items), ENCODED_AT_ONCE):
        vectors = encoder.encode(items[start : start + ENCODED_AT_ONCE], "passage")
        parts.append(vectors.cpu())
    return torch.cat(parts)


def repeat_with_noise(
    vectors_MD: torch.Tensor,
    size: int,
    normalise: bool,
    dtype: torch.dtype,
    device: torch.device,
    seed: int,
) -> torch.Tensor:
    """Builds a pool (N, D) of the vectors, then the same again with noise until it is full.

    Args:
        vectors_MD: the vectors to repeat.
        size: N.
        normalise: whether vectors of the pool have length 1.
        dtype: of the pool.
        device: of the pool.
        seed: of the noise.
    """
    generator = torch.Generator().manual_seed(seed)
    width = vectors_MD.shape[1]
    pool_ND = torch.empty(size, width, dtype=dtype, device=device)
    for start, end in _iterate_chunks(size):
        rows_N = torch.arange(start, end)
        chunk_ND = vectors_MD[rows_N % len(vectors_MD)].clone()
        noise_ND = torch.randn(chunk_ND.shape, generator=generator) * (NOISE / width**0.5)
        noise_ND *= chunk_ND.norm(dim=1, keepdim=True)
        noise_ND[rows_N < len(vectors_MD)] = 0  # the first copy stays as it is
        chunk_ND += noise_ND
        pool_ND[start:end] = F.normalize(chunk_ND, dim=1) if normalise else chunk_ND
    return pool_ND


def draw_unit_vectors(
    size: int, width: int, dtype: torch.dtype, device: torch.device, seed: int
) -> torch.Tensor:
    """Draws a pool (N, D) of directions uniformly."""
    generator = torch.Generator().manual_seed(seed)
    pool_ND = torch.empty(size, width, dtype=dtype, device=device)
    for start, end in _iterate_chunks(size):
        chunk_ND = torch.randn(end - start, width, generator=generator)
        pool_ND[start:end] = F.normalize(chunk_ND, dim=1)
    return pool_ND


def _iterate_chunks(size: int) -> Iterator[tuple[int, int]]:
    """Yields the first row of every chunk and the row after its last."""
    for start in range(0, size, CHUNK):
        yield start, min(start + CHUNK, size)


def count_bytes(settings: LatencySettings, widths: list[int], dtype: str) -> tuple[int, int]:
    """Counts the bytes that all pools need.

    Exact search of a smaller pool reads the first rows of the largest.

    Args:
        settings: sizes of pools and batches, and which indices are built.
        widths: D of each pool.
        dtype: of the pools.

    Returns:
        The bytes of the pools and of their scores on the device of the model, and those of all
        HNSW indices in main memory.
    """
    largest = max(settings.pools)
    itemsize = getattr(torch, dtype).itemsize
    pool_bytes = max(settings.batch_sizes) * largest * itemsize  # the scores
    bytes_per_row = 0  # of all HNSW indices
    for width in widths:
        pool_bytes += largest * width * itemsize
        bytes_per_row += 4 * width + 4 * HNSW_LINKS
    if "hnsw" not in settings.search:
        return pool_bytes, 0
    return pool_bytes, sum(settings.pools) * bytes_per_row


def check_memory(settings: LatencySettings, widths: list[int], device: torch.device) -> None:
    """Checks that pools and indices fit into the memory.

    Raises:
        ValueError: they do not fit; the message has the bytes that are needed and free.
    """
    pool_bytes, index_bytes = count_bytes(settings, widths, settings.pool_dtype)
    main_memory = torch.device("cpu")
    if device.type == "cpu":
        needed = {main_memory: pool_bytes + index_bytes}
    else:
        needed = {device: pool_bytes, main_memory: index_bytes}
    shortages = []
    for place, bytes_needed in needed.items():
        bytes_free = read_free_memory(place)
        if bytes_free is not None and bytes_needed > bytes_free:
            shortages.append(f"{bytes_needed:,} bytes of {place} memory, {bytes_free:,} are free")
    if shortages:
        half_bytes, _ = count_bytes(settings, widths, "float16")
        raise ValueError(
            f"pools={list(settings.pools)}: {len(widths)} pools of {max(settings.pools):,} vectors "
            f"in {settings.pool_dtype} need {' and '.join(shortages)}. Search fewer vectors, say "
            f"pool_dtype=float16 ({half_bytes:,} bytes for exact search), or pool_vectors=random, "
            "one pool for all checkpoints of a width"
        )


def read_free_memory(device: torch.device) -> int | None:
    """Reads how many bytes can still be allocated; None where the system does not say."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    limits = _read_available_memory() + _read_container_limit()
    if not limits and "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {}):
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(limits, default=None)


def _read_available_memory() -> list[int]:
    """Reads what Linux calls available, in bytes; empty on other systems."""
    file = Path("/proc/meminfo")
    if not file.is_file():
        return []
    kilobytes = []
    for line in file.read_text().splitlines():
        if line.startswith("MemAvailable:"):
            kilobytes.append(int(line.split()[1]))
    return [1024 * number for number in kilobytes]


def _read_container_limit() -> list[int]:
    """Reads the limit of a container, in bytes; empty where there is none."""
    file = Path("/sys/fs/cgroup/memory.max")
    if not file.is_file():
        return []
    limit = file.read_text().strip()
    return [int(limit)] if limit.isdigit() else []
