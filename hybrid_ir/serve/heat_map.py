"""The heat map of a model: how well each language of questions finds each language of passages.

Shapes: Q queries, N passages, L languages, D width.
"""

import json
import math
from collections.abc import Callable
from pathlib import Path

import torch

from hybrid_ir.evaluation.language_bias import compute_one_target
from hybrid_ir.evaluation.rank_counter import rank_benchmark
from hybrid_ir.files.atomic import write_text_atomically
from hybrid_ir.files.checksums import hash_values
from hybrid_ir.index.opened import PassageIndex
from hybrid_ir.model.adapters import join_text_pair
from hybrid_ir.serve.question_encoder import TEXTS_AT_ONCE, QuestionEncoder
from hybrid_ir.types import Benchmark

Cells = list[list[float | None]]


def load_or_compute_cells(
    index: PassageIndex,
    encoder: QuestionEncoder,
    benchmark: Benchmark,
    count: Callable[[int, int], None],
) -> Cells:
    """Computes the cells of the heat map, or loads them from beside the index.

    A cell is the mean of 1 / rank of the relevant passage of one language, alone among all passages
    that are not relevant; see `compute_one_target`.

    Args:
        index: of the passages of the benchmark, in its order.
        encoder: of the questions.
        benchmark: says what is relevant.
        count: is told how many of how many questions are encoded.

    Returns:
        The cells (L, L) by query and passage language; None where there is nothing to measure.
    """
    texts = [join_text_pair(text) for text in benchmark.queries]
    relevant = [rows.tolist() for rows in benchmark.relevant]
    key = hash_values([texts, relevant])[:16]
    path = index.folder.with_name(f"{index.folder.name}-cells-{key}.json")
    cells = _read_cells(path, len(benchmark.languages))
    if cells is not None:
        return cells
    parts = []
    for start in range(0, len(texts), TEXTS_AT_ONCE):
        count(start, len(texts))
        parts.append(encoder.encode_all(texts[start : start + TEXTS_AT_ONCE]))
    count(len(texts), len(texts))
    passages_ND = torch.cat([block_BD for _, block_BD in index.vectors.iterate_blocks()])
    table = rank_benchmark(torch.cat(parts), passages_ND, benchmark)
    cells = []
    for row in compute_one_target(table).tolist():
        cells.append([None if math.isnan(value) else value for value in row])
    write_text_atomically(path, json.dumps(cells))
    return cells


def _read_cells(path: Path, languages: int) -> Cells | None:
    """Returns the cells that were kept; None where there are none, or not of these languages."""
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return cells if len(cells) == languages else None
