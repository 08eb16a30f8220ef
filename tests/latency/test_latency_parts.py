"""Backends give the same vectors, pools and searches fit their names, and errors are clear."""

# B texts, M passages that were encoded, N vectors of a pool, D width

import sys
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from hybrid_ir.inference.graph_encoder import replace_encode
from hybrid_ir.latency import pools
from hybrid_ir.latency.backends import build_contestant, require_same_vectors
from hybrid_ir.latency.measure import count_tokens
from hybrid_ir.latency.pools import (
    check_memory,
    count_bytes,
    draw_unit_vectors,
    encode_passage_sample,
    repeat_with_noise,
)
from hybrid_ir.latency.search import build_exact_search, build_hnsw_search, compute_overlap
from hybrid_ir.latency.session import run_latency_session
from hybrid_ir.latency.settings import LatencySettings, Unavailable
from hybrid_ir.model.adapters import BiEncoderAdapter

CPU = torch.device("cpu")
QUERIES = ["what money do people pay with in kabul?", "中国", "a", "ποιο νόμισμα έχει η Ελλάδα;"]
ONNX_PACKAGES = ("onnxruntime", "onnx", "onnxscript")
MISSING_FOR_ONNX = [name for name in ONNX_PACKAGES if not find_spec(name)]


@pytest.fixture
def adapter(encoder) -> BiEncoderAdapter:
    return BiEncoderAdapter(encoder, "small")


@pytest.fixture
def without_optional_packages(monkeypatch) -> None:
    """Makes every import of ONNX Runtime and of FAISS fail as if it was not installed."""
    for name in ("onnxruntime", "faiss"):
        monkeypatch.setitem(sys.modules, name, None)


def draw_pool(size: int, width: int, seed: int) -> torch.Tensor:
    return draw_unit_vectors(size, width, torch.float32, CPU, seed)


def repeat(vectors_MD: torch.Tensor, size: int, seed: int) -> torch.Tensor:
    return repeat_with_noise(vectors_MD, size, True, torch.float32, CPU, seed)


@pytest.mark.parametrize(
    ("backend", "tolerance"),
    [
        ("torch_fp32", 1e-6),
        ("torch_bf16", 0.05),
        pytest.param(
            "onnx",
            1e-5,
            marks=pytest.mark.skipif(
                bool(MISSING_FOR_ONNX), reason=f"not installed: {', '.join(MISSING_FOR_ONNX)}"
            ),
        ),
    ],
)
def test_every_backend_gives_the_vectors_of_the_encoder(adapter, backend, tolerance):
    expected_BD = adapter.encode(adapter.read(QUERIES, "query"), "query")
    contestant = build_contestant("small", adapter, backend)
    # Other numbers of texts and tokens than an export or a compilation saw.
    for texts in (QUERIES, QUERIES[:1], QUERIES * 3):
        vectors_BD = contestant.forward(contestant.tokenise(texts))
        repeated_BD = expected_BD.repeat(3, 1)[: len(texts)]
        assert torch.allclose(vectors_BD, repeated_BD, atol=tolerance)


def test_a_backend_leaves_the_checkpoint_itself_as_it_was(adapter):
    build_contestant("small", adapter, "torch_bf16")
    replace_encode(adapter, lambda ids_BT, mask_BT: ids_BT)
    assert adapter.precision == "fp32"
    assert "_encode" not in vars(adapter.encoder)


def test_a_backend_of_other_vectors_is_unavailable(adapter):
    def encode_backwards(ids_BT: torch.Tensor, mask_BT: torch.Tensor) -> torch.Tensor:
        return adapter.encoder._encode(ids_BT.flip(0), mask_BT)

    other = BiEncoderAdapter(replace_encode(adapter, encode_backwards), "other")
    with pytest.raises(Unavailable, match="not those of torch_fp32: cosine"):
        require_same_vectors(adapter, other)
    require_same_vectors(adapter, adapter)


def test_a_session_goes_on_without_packages_that_are_not_installed(
    adapter, without_optional_packages, numbers_benchmark, capsys
):
    choices = LatencySettings(
        batch_sizes=[1],
        pools=[20],
        backends=["torch_fp32", "onnx"],
        search=["exact", "hnsw"],
        rounds=1,
        warmup=0,
    )
    study, card, left_out = run_latency_session(
        {"small": adapter}, numbers_benchmark, choices, Console()
    )
    assert study.contestants == [("small", "torch_fp32")]
    assert [search.kind for search in study.searches] == ["exact"]
    assert study.build_table().num_rows == len(numbers_benchmark.queries)
    assert card["vectors"].startswith("72 passages of made by the model itself")
    assert left_out == [
        "small: onnx: onnxruntime is not installed: pip install onnxruntime onnxscript",
        "hnsw, 20 vectors: hnsw: faiss is not installed: pip install faiss-cpu",
    ]
    printed = capsys.readouterr().out
    for line in left_out:
        assert f"left out: {line}" in printed


def test_a_session_with_nothing_left_to_measure_is_refused(
    adapter, without_optional_packages, numbers_benchmark
):
    choices = LatencySettings(backends=["onnx"], pools=[20])
    with pytest.raises(ValueError, match="nothing is left to measure: small: onnx"):
        run_latency_session({"small": adapter}, numbers_benchmark, choices, Console())


def test_a_benchmark_without_queries_is_refused(adapter):
    empty = SimpleNamespace(queries=[], name="nothing")
    with pytest.raises(ValueError, match="benchmark=nothing has no queries"):
        run_latency_session({"small": adapter}, empty, LatencySettings(), Console())


def test_the_tokens_of_a_query_are_those_that_the_model_reads(adapter, numbers_benchmark):
    queries = numbers_benchmark.queries
    token_ids, *_ = adapter.encoder.tokenizers["query"].read(queries)
    contestant = build_contestant("small", adapter, "torch_fp32")
    assert count_tokens(contestant, queries).tolist() == [len(ids) for ids in token_ids]


@settings(max_examples=25, deadline=None)
@given(
    rows=st.integers(1, 9),
    size=st.integers(1, 40),
    width=st.integers(2, 20),
    chunk=st.integers(1, 50),
)
def test_a_pool_repeats_its_passages_with_a_little_noise(rows, size, width, chunk):
    vectors_MD = draw_pool(rows, width, seed=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pools, "CHUNK", chunk)  # however many are drawn at once
        pool_ND = repeat(vectors_MD, size, seed=2)
    assert pool_ND.shape == (size, width)
    assert torch.allclose(pool_ND[:rows], vectors_MD[:size], atol=1e-6)
    assert torch.allclose(pool_ND.norm(dim=1), torch.ones(size), atol=1e-5)
    cosine_N = (pool_ND * vectors_MD[torch.arange(size) % rows]).sum(1)
    assert cosine_N.min() > 0.9
    assert len(pool_ND.unique(dim=0)) == size


def test_a_sample_of_all_passages_is_all_passages_encoded(adapter, numbers_benchmark):
    sample_MD = encode_passage_sample(adapter, numbers_benchmark, 1000, 1)
    items = adapter.read(numbers_benchmark.passages, "passage")
    assert torch.allclose(sample_MD, adapter.encode(items, "passage"), atol=1e-6)


def test_a_sample_has_as_many_passages_as_asked_for(adapter, numbers_benchmark):
    assert len(encode_passage_sample(adapter, numbers_benchmark, 10, 1)) == 10


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 99), queries=st.integers(1, 5))
def test_exact_search_finds_the_largest_inner_products(seed, queries):
    pool_ND = draw_pool(60, 8, seed)
    vectors_BD = draw_pool(queries, 8, seed)
    order_BN = np.argsort(-(vectors_BD @ pool_ND.T).numpy(), axis=1)
    places_BK = build_exact_search(pool_ND, 7)(vectors_BD)
    assert places_BK.tolist() == order_BN[:, :7].tolist()


@pytest.mark.skipif(not find_spec("faiss"), reason="not installed: faiss")
def test_hnsw_finds_nearly_what_exact_search_finds():
    pool_ND = repeat(draw_pool(300, 16, seed=1), 2000, seed=1)
    queries_BD = pool_ND[:40]
    places_BK = build_hnsw_search(pool_ND, 10)(queries_BD)
    expected_BK = build_exact_search(pool_ND, 10)(queries_BD)
    assert compute_overlap(places_BK, expected_BK) > 0.9


def test_overlap_is_the_share_of_the_expected_places_in_any_order():
    assert compute_overlap([[1, 2, 3, 4]], [[4, 3, 9, 8]]) == 0.5


def test_a_pool_that_does_not_fit_is_refused_with_its_bytes(monkeypatch):
    choices = LatencySettings(pools=[1_000, 10_000_000], search=["exact", "hnsw"], batch_sizes=[1])
    exact_bytes, index_bytes = count_bytes(choices, [384], "float32")
    assert exact_bytes == 10_000_000 * (384 * 4 + 4)
    assert index_bytes > 10_001_000 * 384 * 4
    needed = exact_bytes + index_bytes
    monkeypatch.setattr(pools, "read_free_memory", lambda device: 10**9)
    message = f"need {needed:,} bytes of cpu memory, 1,000,000,000 are free"
    with pytest.raises(ValueError, match=message):
        check_memory(choices, [384], CPU)
    monkeypatch.setattr(pools, "read_free_memory", lambda device: needed)
    check_memory(choices, [384], CPU)


def test_the_free_memory_is_asked_of_the_system():
    free_bytes = pools.read_free_memory(CPU)
    if free_bytes is None and sys.platform != "linux":
        pytest.skip("only Linux promises to say how much memory is free")
    assert free_bytes is not None
    assert free_bytes > 10**6


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"batch_sizes": [0]}, "batch_sizes=[0] must be whole numbers from 1"),
        ({"batch_sizes": []}, "batch_sizes=[] must be whole numbers from 1"),
        (
            {"pools": [9]},
            "pools=[9] must be whole numbers from 10 (a pool holds at least the top_k=10",
        ),
        ({"margin": 0}, "margin=0 must be above 0 and below 1"),
        ({"margin": float("nan")}, "margin=nan must be above 0"),
        ({"backends": ["tensorrt"]}, "backends=['tensorrt'] must be among torch_fp32"),
        ({"search": ["exact", "exact"]}, "names something twice"),
        (
            {"rounds": 0, "warmup": -1, "pool_dtype": "int8"},
            "rounds=0 must be a whole number from 1; warmup=-1 must be a whole number from 0; "
            "pool_dtype='int8' must be one of float32",
        ),
    ],
)
def test_all_choices_that_are_not_allowed_are_named_at_once(choices, message):
    with pytest.raises(ValueError) as error:
        LatencySettings(**choices)
    assert message in str(error.value)
