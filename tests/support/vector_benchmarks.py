"""Benchmarks whose texts mean nothing, with vectors for them, and their ranks by brute force."""

import numpy as np
import torch
import torch.nn.functional as F

from hybrid_ir.evaluation.rank_counter import RankCounter
from hybrid_ir.evaluation.rank_table import (
    ALL_LANGUAGES,
    OWN_LANGUAGE,
    list_relevant_rows,
    pad_rows,
)
from hybrid_ir.types import Benchmark, Source

LANGUAGES = ("de", "en", "zh")
QUESTIONS = 6  # of a parallel benchmark
PASSAGES = 40  # of a random benchmark, unless another number is asked for


def random_benchmark(rng, queries: int, passages: int, relevant: list[np.ndarray]) -> Benchmark:
    """Queries and passages in random languages; two neighbouring queries are one question."""
    return Benchmark(
        languages=LANGUAGES,
        queries=[f"q{row}" for row in range(queries)],
        query_languages=rng.integers(0, 3, queries),
        question_ids=[str(row // 2) for row in range(queries)],
        passages=[f"p{row}" for row in range(passages)],
        passage_languages=rng.integers(0, 3, passages),
        passage_ids=[f"p{row}" for row in range(passages)],
        relevant=relevant,
        source=Source("random", "", "", ""),
    )


def random_relevant(rng, queries: int, passages: int, most: int) -> list[np.ndarray]:
    """For each query up to `most` relevant passages, perhaps none."""
    relevant = []
    for _ in range(queries):
        relevant.append(np.sort(rng.choice(passages, rng.integers(0, most + 1), replace=False)))
    return relevant


def random_problem(
    seed: int,
    queries: int = 7,
    passages: int = PASSAGES,
    width: int = 5,
    with_ties: bool = True,
) -> tuple[Benchmark, torch.Tensor, torch.Tensor]:
    """A benchmark with vectors for its queries and passages.

    With ties, vectors repeat, and some are one unit in the last place apart.
    """
    rng = np.random.default_rng(seed)
    queries_QD = torch.from_numpy(rng.normal(size=(queries, width)).astype(np.float32))
    passages_ND = torch.from_numpy(rng.normal(size=(passages, width)).astype(np.float32))
    if with_ties:
        repeated_passages = rng.integers(0, max(1, passages // 2), passages)
        passages_ND = passages_ND[torch.from_numpy(repeated_passages)]
        repeated_queries = rng.integers(0, queries, queries)
        queries_QD = queries_QD[torch.from_numpy(repeated_queries)]
    queries_QD = F.normalize(queries_QD, dim=1)
    passages_ND = F.normalize(passages_ND, dim=1)
    if with_ties:
        is_moved = torch.from_numpy(rng.random(passages) < 0.3)
        moved = torch.nextafter(passages_ND[is_moved, 0], torch.tensor(2.0))
        passages_ND[is_moved, 0] = moved
    relevant = random_relevant(rng, queries, passages, most=5)
    return random_benchmark(rng, queries, passages, relevant), queries_QD, passages_ND


def parallel_benchmark(per_language: int = 1, others: int = 4) -> Benchmark:
    """Questions in three languages that have the same relevant passages, some in each language.

    There are other passages that nobody wants.
    """
    size = QUESTIONS * per_language + others
    queries = []
    question_ids = []
    passages = []
    relevant = []
    for language in LANGUAGES:
        passages += [f"{language}{number}" for number in range(size)]
        for question in range(QUESTIONS):
            queries.append(f"{language}{question}")
            question_ids.append(str(question))
            first = question * per_language
            answers = np.arange(first, first + per_language)
            relevant.append(np.concatenate([answers, size + answers, 2 * size + answers]))
    return Benchmark(
        languages=LANGUAGES,
        queries=queries,
        query_languages=np.repeat(range(3), QUESTIONS),
        question_ids=question_ids,
        passages=passages,
        passage_languages=np.repeat(range(3), size),
        passage_ids=passages,
        relevant=relevant,
        source=Source("parallel", "", "", ""),
    )


def random_vectors(
    benchmark: Benchmark, seed: int, with_ties: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Unit vectors for the queries and passages of a benchmark."""
    rng = np.random.default_rng(seed)
    queries = rng.normal(size=(len(benchmark.queries), 6)).astype(np.float32)
    passages = rng.normal(size=(len(benchmark.passages), 6)).astype(np.float32)
    if with_ties:
        passages = passages[rng.integers(0, 8, len(passages))]
    return (
        F.normalize(torch.from_numpy(queries), dim=1),
        F.normalize(torch.from_numpy(passages), dim=1),
    )


def create_counter(
    benchmark: Benchmark, queries_QD: torch.Tensor, passages_ND: torch.Tensor, **choices
) -> RankCounter:
    """A counter that knows the relevant passages and has counted nothing yet."""
    relevant_QR = pad_rows(benchmark.relevant)
    rows_U = list_relevant_rows(relevant_QR)
    return RankCounter(
        queries_QD,
        benchmark.query_languages,
        relevant_QR,
        passages_ND[torch.from_numpy(rows_U)],
        benchmark.passage_languages[rows_U],
        benchmark.languages,
        **choices,
    )


def add_in_halves(products: np.ndarray) -> np.ndarray:
    """Sums along the last axis in the order that the package promises, written again."""
    width = 1 << (products.shape[-1] - 1).bit_length()
    padding = [(0, 0)] * (products.ndim - 1) + [(0, width - products.shape[-1])]
    products = np.pad(products, padding)
    while products.shape[-1] > 1:
        half = products.shape[-1] // 2
        products = products[..., :half] + products[..., half:]
    return products[..., 0]


def compute_all_scores(queries_QD: torch.Tensor, passages_ND: torch.Tensor) -> np.ndarray:
    """Every score (Q, N), by the sum that the package promises."""
    queries = queries_QD.double().numpy()
    passages = passages_ND.double().numpy()
    return add_in_halves(queries[:, None] * passages[None])


def count_by_brute_force(
    benchmark: Benchmark, scores_QN: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Passages above each relevant passage, and those that tie with it, in both pools (Q, R, 2)."""
    shape = (*pad_rows(benchmark.relevant).shape, 2)
    above = np.zeros(shape, int)
    tied = np.zeros(shape, int)
    for query, rows in enumerate(benchmark.relevant):
        for place, row in enumerate(rows):
            is_own = benchmark.passage_languages == benchmark.passage_languages[row]
            pools = {OWN_LANGUAGE: is_own, ALL_LANGUAGES: np.ones_like(is_own)}
            for pool, is_in_pool in pools.items():
                scores = scores_QN[query, is_in_pool]
                above[query, place, pool] = (scores > scores_QN[query, row]).sum()
                tied[query, place, pool] = (scores == scores_QN[query, row]).sum() - 1
    return above, tied
