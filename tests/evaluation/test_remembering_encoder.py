"""Several benchmarks share what an encoder has read, and every number stays."""

from collections.abc import Hashable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_ir.evaluation import remembering_encoder
from hybrid_ir.evaluation.evaluate import Evaluation, evaluate
from hybrid_ir.evaluation.remembering_encoder import RememberingEncoder
from hybrid_ir.types import Benchmark, Role, Text
from tests.support.vector_benchmarks import parallel_benchmark

LENGTH = 4  # letters of a text that the encoder reads


class NeighbourEncoder:
    """Reads letters. The vector of a text depends on what is encoded beside it."""

    name = "neighbours"
    device = torch.device("cpu")
    precision = "fp32"
    similarity = "dot"

    def __init__(self, counts_cut: bool = True, gives_bytes: bool = True):
        self.gives_bytes = gives_bytes
        self.texts_read: dict[Role, int] = {"query": 0, "passage": 0}
        self.texts_cut: dict[Role, int | None] = {"query": None, "passage": None}
        if counts_cut:
            self.texts_cut = {"query": 0, "passage": 0}
        self.tokenised: list[tuple[Role, Text]] = []
        self.texts_encoded = 0

    def read(self, texts: Sequence[Text], role: Role) -> list[Hashable]:
        assert texts
        self.tokenised += [(role, text) for text in texts]
        self.texts_read[role] += len(texts)
        if self.texts_cut[role] is not None:
            self.texts_cut[role] += sum(len(text) > LENGTH for text in texts)
        read = [text[:LENGTH] for text in texts]
        return [text.encode() for text in read] if self.gives_bytes else read

    def encode(self, items: Sequence[Hashable], role: Role) -> torch.Tensor:
        self.texts_encoded += len(items)
        vectors = torch.zeros(len(items), 128)
        for row, item in enumerate(items):
            for letter in item if self.gives_bytes else item.encode():
                vectors[row, letter] += 1 + 1e-3 * row
        return vectors

    def windows(self, text: Text, overlap: float) -> list[Text]:
        return [text]

    def reading(self) -> dict:
        return {}


def build_benchmark(seed: int, texts: Sequence[str]) -> Benchmark:
    """A parallel benchmark whose texts are drawn from a few."""
    rng = np.random.default_rng(seed)
    benchmark = parallel_benchmark()
    return replace(
        benchmark,
        queries=rng.choice(texts, len(benchmark.queries)).tolist(),
        passages=rng.choice(texts, len(benchmark.passages)).tolist(),
    )


def require_equal(left: Evaluation, right: Evaluation) -> None:
    for name, values in left.results.values.items():
        np.testing.assert_array_equal(values, right.results.values[name], err_msg=name)
    assert left.texts_cut == right.texts_cut
    for name in ("above", "tied", "scores"):
        np.testing.assert_array_equal(
            getattr(left.results.table, name), getattr(right.results.table, name)
        )


TEXTS = st.lists(st.text("abcdefgh", min_size=1, max_size=7), min_size=1, max_size=20, unique=True)


@settings(max_examples=8, deadline=None)
@given(TEXTS, st.integers(0, 10**6), st.booleans(), st.booleans(), st.sampled_from([3, 4096]))
def test_every_number_is_that_of_an_encoder_without_memory(
    texts, seed, counts_cut, gives_bytes, at_once
):
    remembering = RememberingEncoder(NeighbourEncoder(counts_cut, gives_bytes))
    benchmarks = [build_benchmark(seed + number % 2, texts) for number in range(3)]
    for benchmark in benchmarks:
        alone = NeighbourEncoder(counts_cut, gives_bytes)
        require_equal(
            evaluate(remembering, benchmark, texts_per_chunk=at_once),
            evaluate(alone, benchmark, texts_per_chunk=at_once),
        )


def test_equal_texts_of_several_benchmarks_are_read_once_in_each_role():
    texts = ["a", "bc", "def", "gh"]
    first = build_benchmark(0, texts)
    encoder = NeighbourEncoder()
    remembering = RememberingEncoder(encoder)
    evaluate(remembering, first)
    read_first = len(encoder.tokenised)
    # the same texts, and one more that is read twice, as every text in its first call
    passages = [*first.passages[::-1][:-2], "new", "new"]
    evaluate(remembering, replace(first, queries=first.queries[::-1], passages=passages))
    assert sorted(encoder.tokenised[read_first:]) == [("passage", "new")] * 2


def test_texts_that_were_cut_are_read_again_since_they_are_counted_each_time():
    encoder = NeighbourEncoder()
    remembering = RememberingEncoder(encoder)
    for _ in range(2):
        assert remembering.read(["abcdef", "ab"], "query") == [b"abcd", b"ab"]
    assert encoder.tokenised == [("query", "abcdef"), ("query", "ab"), ("query", "abcdef")]
    assert encoder.texts_cut["query"] == 2
    assert encoder.texts_read["query"] == 4


def test_only_the_very_same_texts_together_share_their_vectors():
    encoder = NeighbourEncoder()
    remembering = RememberingEncoder(encoder)
    first = remembering.encode([b"a", b"b"], "query")
    first_again = remembering.encode([b"a", b"b"], "query")
    assert encoder.texts_encoded == 2
    assert torch.equal(first, first_again)
    assert first_again.data_ptr() != first.data_ptr()
    assert not torch.equal(remembering.encode([b"b", b"a"], "query"), first.flip(0))
    remembering.encode([b"a", b"b"], "passage")
    assert encoder.texts_encoded == 6


@pytest.mark.parametrize("limit", ["REMEMBERED_TEXTS", "REMEMBERED_VECTORS"])
def test_a_full_memory_changes_no_number(limit, monkeypatch):
    monkeypatch.setattr(remembering_encoder, limit, 3)
    benchmark = build_benchmark(1, ["a", "bc", "def", "gh", "aaa"])
    remembering = RememberingEncoder(NeighbourEncoder())
    for _ in range(2):
        require_equal(evaluate(remembering, benchmark), evaluate(NeighbourEncoder(), benchmark))
    assert len(remembering._items) <= 10
    assert remembering._vectors_kept <= 12
