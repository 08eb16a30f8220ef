"""One pass over a benchmark's texts: each once, in chunks, equal texts with equal vectors."""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_ir.evaluation.encoding import (
    Chunk,
    EncodedRows,
    EncodingPass,
    TextChunks,
    TokenChunks,
    require_vectors,
)
from hybrid_ir.evaluation.encoding_speed import EncodingSpeed, describe_encoding
from hybrid_ir.evaluation.vector_shards import VectorShards, read_shards
from hybrid_ir.model.adapters import BiEncoderAdapter
from hybrid_ir.model.encoder import BiEncoder
from hybrid_ir.types import STAGES, Benchmark, Source, TextEncoder
from tests.support.command_line import ROOT


class TextsOnDisk(Sequence[str]):
    """Texts that must be read in slices or one by one, and never all at once."""

    def __init__(self, texts: list[str], most: int):
        self.texts = texts
        self.most = most

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, key):
        if isinstance(key, slice):
            assert len(range(*key.indices(len(self)))) <= self.most
        return self.texts[key]

    def __iter__(self):
        raise AssertionError("the whole corpus was read at once")


@pytest.fixture(scope="module")
def text_encoder(recipe, cache, numbers_corpus) -> BiEncoderAdapter:
    encoder = BiEncoder(
        recipe,
        query_max_length=32,
        passage_max_length=32,
        texts=numbers_corpus.texts(),
        cache=cache,
    )
    return BiEncoderAdapter(encoder, "small")


def small_benchmark(queries: list[str], passages: list[str], relevant: list[int]) -> Benchmark:
    """A benchmark in one language; each query has one relevant passage."""
    return Benchmark(
        languages=("a",),
        queries=queries,
        query_languages=np.zeros(len(queries), int),
        question_ids=[str(row) for row in range(len(queries))],
        passages=passages,
        passage_languages=np.zeros(len(passages), int),
        passage_ids=[f"p{row}" for row in range(len(passages))],
        relevant=[np.array([row]) for row in relevant],
        source=Source("small", "", "", ""),
    )


def list_chunks(chunks: TokenChunks) -> list[Chunk]:
    return [chunks[number] for number in range(len(chunks))]


def encode_passages(benchmark: Benchmark, encoder: TextEncoder, **choices) -> torch.Tensor:
    """The vectors of all passages of a pass, of which each must come once."""
    vectors_ND = torch.full((len(benchmark.passages), 32), torch.nan)
    for encoded in EncodingPass(TextChunks(benchmark, encoder, **choices)):
        if encoded.role == "passage":
            rows = torch.from_numpy(encoded.rows_N)
            assert len(rows.unique()) == len(rows)
            assert vectors_ND[rows].isnan().all()
            vectors_ND[rows] = encoded.vectors_ND
    return vectors_ND


@given(size=st.integers(1, 90))
@settings(max_examples=8, deadline=None)
def test_every_text_is_read_and_encoded_once_in_slices(numbers_benchmark, text_encoder, size):
    texts = TextsOnDisk(numbers_benchmark.passages, size)
    lazy = replace(numbers_benchmark, passages=texts)
    vectors_ND = encode_passages(lazy, text_encoder, texts_per_chunk=size)
    items = text_encoder.read(numbers_benchmark.passages, "passage")
    expected = text_encoder.encode(items, "passage")
    torch.testing.assert_close(vectors_ND, expected, atol=1e-6, rtol=0)


def test_a_pass_has_all_rows_in_the_order_of_stages(numbers_benchmark, text_encoder):
    parts = list(EncodingPass(TextChunks(numbers_benchmark, text_encoder, texts_per_chunk=10)))
    stages = [encoded.stage for encoded in parts]
    assert stages == sorted(stages, key=list(STAGES).index)
    queries = np.concatenate([encoded.rows_N for encoded in parts if encoded.role == "query"])
    assert sorted(queries) == list(range(len(numbers_benchmark.queries)))


def test_a_passage_that_reads_like_a_relevant_one_gets_its_very_vector(text_encoder):
    """Whatever its chunk and its neighbours there: else rounding would decide a tie."""
    passages = ["the number 4", *(f"the number {row}" for row in range(20, 27))]
    passages += ["a long text " * 4, "a long text " * 4, "the number 4"]
    benchmark = small_benchmark(["which number 2"], passages, [0])
    vectors_ND = encode_passages(benchmark, text_encoder, texts_per_chunk=3)
    assert torch.equal(vectors_ND[-1], vectors_ND[0])
    assert torch.equal(vectors_ND[-2], vectors_ND[-3])


def test_windows_repeat_the_row_of_their_passage(text_encoder):
    passages = ["the number 4", "one two three four five six seven eight nine ten " * 8]
    benchmark = small_benchmark(["which number 2"], passages, [0])
    chunks = TextChunks(benchmark, text_encoder, window_overlap=0.5)
    parts = {encoded.stage: encoded for encoded in EncodingPass(chunks)}
    windows = len(text_encoder.windows(passages[1], 0.5))
    assert windows > 1
    assert parts["relevant"].rows_N.tolist() == [0]
    assert parts["others"].rows_N.tolist() == [1] * windows
    assert chunks.windows == windows - 1


def test_the_share_of_texts_cut_is_that_of_this_pass(text_encoder):
    passages = ["the number 4", "one two three four five six seven eight nine ten " * 8]
    benchmark = small_benchmark(["which number 2"], passages, [0])
    for _ in range(2):  # what an earlier pass read does not count
        chunks = TextChunks(benchmark, text_encoder)
        list(EncodingPass(chunks))
        assert chunks.texts_cut() == {"query": 0.0, "passage": 0.5}


def test_shards_come_back_in_the_order_in_which_they_were_written(tmp_path):
    parts = [
        EncodedRows("queries", np.array([0, 1]), torch.randn(2, 4)),
        EncodedRows("relevant", np.array([7, 3]), torch.randn(2, 4)),
        EncodedRows("others", np.array([5]), torch.randn(1, 4)),
        EncodedRows("others", np.array([2]), torch.randn(1, 4)),
    ]
    VectorShards(tmp_path).write(parts[0])  # of an earlier pass, and deleted by the next
    shards = VectorShards(tmp_path)
    for encoded in parts:
        shards.write(encoded)
    for encoded, original in zip(read_shards(tmp_path), parts, strict=True):
        assert encoded.stage == original.stage
        assert encoded.rows_N.tolist() == original.rows_N.tolist()
        assert torch.equal(encoded.vectors_ND, original.vectors_ND)


def test_token_chunks_hold_every_row_once_each_text_once_and_stages_in_order(tokenizers, cache):
    passages = ["one", "two two", "one", "three three three", "four", "two two"]
    benchmark = small_benchmark(["q1", "q2", "q1"], passages, [0, 3, 1])
    groups: dict[str, list[list[int]]] = {stage: [] for stage in STAGES}
    stages = []
    for chunk in list_chunks(TokenChunks(benchmark, tokenizers, cache, texts_per_chunk=2)):
        stages.append(chunk.stage)
        for place in range(len(chunk.inputs)):
            groups[chunk.stage].append(chunk.rows_N[chunk.place_N == place].tolist())
    assert stages == sorted(stages, key=list(STAGES).index)
    assert sorted(groups["queries"]) == [[0, 2], [1]]
    # a text with one relevant passage is encoded with the relevant ones
    assert sorted(groups["relevant"]) == [[0, 2], [1, 5], [3]]
    assert sorted(groups["others"]) == [[4]]


def test_all_rows_of_a_text_get_its_vector():
    chunk = Chunk("others", np.array([4, 9, 6]), np.array([0, 0, 1]), None)
    encoded = chunk.assign(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    assert encoded.rows_N.tolist() == [4, 9, 6]
    assert encoded.vectors_ND.tolist() == [[1, 2], [1, 2], [3, 4]]


def test_token_chunks_go_from_long_to_short_texts(tokenizers, cache):
    benchmark = small_benchmark(["q"], ["a", "b " * 30, "c", "d " * 20, "e"], [0])
    lengths = []
    for chunk in list_chunks(TokenChunks(benchmark, tokenizers, cache, texts_per_chunk=2)):
        if chunk.stage == "others":
            lengths += chunk.inputs.lengths_B.tolist()
    assert len(lengths) == 4
    assert lengths == sorted(lengths, reverse=True)


@pytest.mark.parametrize("world_size", [2, 3])
def test_processes_share_whole_chunks_and_have_equally_many(tokenizers, cache, world_size):
    passages = [f"passage {row}" for row in range(17)]
    benchmark = small_benchmark(["q"], passages, [0])
    alone = list_chunks(TokenChunks(benchmark, tokenizers, cache, texts_per_chunk=3))
    expected = sorted(tuple(chunk.rows_N) for chunk in alone if chunk.stage == "others")
    dealt_out = []
    numbers_of_chunks = set()
    for rank in range(world_size):
        chunks = list_chunks(TokenChunks(benchmark, tokenizers, cache, 3, rank, world_size))
        numbers_of_chunks.add(len(chunks))
        for chunk in chunks:
            if chunk.stage == "others" and len(chunk.rows_N):
                dealt_out.append(tuple(chunk.rows_N))
    assert sorted(dealt_out) == expected
    assert len(numbers_of_chunks) == 1


class FixedEncoder:
    """Only what is read of an encoder when its vectors are checked."""

    name = "fixed"

    def __init__(self, similarity: str = "cosine"):
        self.similarity = similarity


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (np.eye(3), "gave a ndarray, not a torch tensor"),
        (torch.eye(4, 3), r"of shape \(4, 3\) for 3 texts"),
        (torch.ones(3), r"of shape \(3,\) for 3 texts"),
        (torch.eye(3).to(torch.complex64), "torch.complex64"),
        (torch.eye(3, dtype=torch.long), "torch.int64"),
        (2 * torch.eye(3), "a length that differs from 1 by 1, and similarity='cosine'"),
    ],
)
def test_vectors_that_are_none_are_refused_with_the_encoders_name(vectors, message):
    with pytest.raises(ValueError, match=f"the encoder 'fixed'.*{message}"):
        require_vectors(vectors, 3, FixedEncoder())


def test_vectors_of_any_length_may_be_compared_by_inner_products():
    require_vectors(2 * torch.eye(3), 3, FixedEncoder("dot"))
    require_vectors(torch.eye(3).bfloat16(), 3, FixedEncoder())
    with pytest.raises(ValueError, match="similarity='euclid' must be cosine or dot"):
        require_vectors(torch.eye(3), 3, FixedEncoder("euclid"))


def test_a_pass_counts_what_it_encodes_and_how_long_it_takes(
    numbers_benchmark, text_encoder, monkeypatch
):
    ticks = iter(range(100))
    monkeypatch.setattr("time.perf_counter", lambda: float(next(ticks)))
    chunks = TextChunks(numbers_benchmark, text_encoder, texts_per_chunk=50)
    items = set()
    for chunk in chunks:
        items.update(chunk.inputs)
    calls = len(list(EncodingPass(chunks)))
    speed = chunks.speed.describe()
    assert speed["texts"] == len(items)
    assert speed["tokens"] == text_encoder.count_tokens(list(items))
    assert speed["seconds"] == calls  # a tick of the clock for each
    assert speed["texts_per_second"] == speed["texts"] / calls
    line = describe_encoding(speed)
    assert line.startswith(f"{len(items)} distinct texts in {calls}.0 s: ")
    assert line.endswith(" tokens/s")


def test_an_encoder_that_counts_no_tokens_has_its_texts_alone():
    speed = EncodingSpeed()
    encoder = SimpleNamespace(encode=lambda items, role: torch.ones(len(items), 2))
    speed.encode(encoder, ["one", "two"], "query")
    encoding = speed.describe()
    assert encoding["texts"] == 2
    assert encoding["tokens"] is None
    assert "tokens" not in describe_encoding(encoding)
    assert describe_encoding(None) is None


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
import numpy as np
import torch
from hybrid_ir.evaluation.encoding import EncodedRows
from hybrid_ir.evaluation.vector_shards import VectorShards

shards = VectorShards(Path(sys.argv[1]), "cpu")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # the error is that of a write, as on a full disk
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    shards.write(EncodedRows("queries", np.arange(100), torch.zeros(100, 64)))
except OSError as error:
    print(error)
"""


def test_vectors_that_cannot_be_written_are_one_clear_error(tmp_path):
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path / "vectors")]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert "could not be written, is the disk full?" in ended.stdout
    assert list((tmp_path / "vectors").glob("*.safetensors")) == []
