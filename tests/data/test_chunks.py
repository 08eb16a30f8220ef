"""Chunks of benchmark texts: every row once, equal texts together, stages in order."""

import numpy as np

from hybrid_ir.data.batching import Chunks
from hybrid_ir.types import STAGES, Benchmark
from tests.support.small_corpora import SOURCE


def build_benchmark(queries: list[str], passages: list[str], relevant: list[int]) -> Benchmark:
    """Returns a benchmark in one language in which each query has one relevant passage."""
    return Benchmark(
        languages=("a",),
        queries=queries,
        query_languages=np.zeros(len(queries), int),
        question_ids=[str(i) for i in range(len(queries))],
        passages=passages,
        passage_languages=np.zeros(len(passages), int),
        passage_ids=[str(i) for i in range(len(passages))],
        relevant=[np.array([row]) for row in relevant],
        source=SOURCE,
    )


def list_rows(chunks: Chunks, stage: str) -> list[list[int]]:
    """Returns the rows of each text of a stage."""
    rows = []
    for chunk in map(chunks.__getitem__, range(len(chunks))):
        if chunk.stage == stage:
            rows.extend(rows_of_text.tolist() for rows_of_text in chunk.rows)
    return sorted(rows)


def test_chunks_have_every_row_once_and_equal_texts_together(tokenizers, cache):
    passages = ["one", "two two", "one", "three three three", "four", "two two"]
    benchmark = build_benchmark(["q1", "q2", "q1"], passages, relevant=[0, 3, 1])
    chunks = Chunks(benchmark, tokenizers, cache, texts_per_chunk=2)
    assert list_rows(chunks, "queries") == [[0, 2], [1]]
    assert list_rows(chunks, "relevant") == [[0, 2], [1, 5], [3]]
    assert list_rows(chunks, "others") == [[4]]


def test_chunks_come_in_the_order_of_the_stages(tokenizers, cache):
    benchmark = build_benchmark(["q1", "q2", "q3"], ["one", "two", "three"], relevant=[0, 1, 1])
    chunks = Chunks(benchmark, tokenizers, cache, texts_per_chunk=2)
    stages = [chunks[i].stage for i in range(len(chunks))]
    assert stages == sorted(stages, key=list(STAGES).index)
    for i in range(len(chunks)):
        assert len(chunks[i].tokens) == len(chunks[i].rows)


def test_chunks_go_from_long_to_short_texts(tokenizers, cache):
    passages = ["a", "b " * 30, "c", "d " * 20, "e"]
    chunks = Chunks(build_benchmark(["q"], passages, relevant=[0]), tokenizers, cache, 2)
    lengths = []
    for i in range(len(chunks)):
        if chunks[i].stage == "others":
            lengths.extend(chunks[i].tokens.lengths_B.tolist())
    assert len(lengths) == 4
    assert lengths == sorted(lengths, reverse=True)
