"""Backends give the same vectors, pools and searches fit their names, and errors are clear."""

import sys
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from hybrid_ir.files.atomic import write_atomically
from hybrid_ir.latency import pools
from hybrid_ir.latency.backends import build_contestant, replace_encode, require_same_vectors
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


@pytest.fixture
def texts(encoder) -> BiEncoderAdapter:
    return BiEncoderAdapter(encoder, "small")


def test_every_backend_gives_the_vectors_of_the_encoder(texts):
    expected_BD = texts.encode(texts.read(QUERIES, "query"), "query")
    installed = all(find_spec(name) for name in ("onnxruntime", "onnx", "onnxscript"))
    for backend, tolerance in (
        ("torch_fp32", 0),
        ("torch_bf16", 0.05),
        *([("onnx", 1e-5)] if installed else []),
    ):
        made = build_contestant("small", texts, backend)
        for batch in (
            QUERIES,
            QUERIES[:1],
            QUERIES * 3,
        ):  # other numbers of texts and tokens than the export saw
            found_BD = made.forward(made.tokenise(batch))
            assert torch.allclose(
                found_BD, expected_BD.repeat(3, 1)[: len(batch)], atol=tolerance + 1e-6
            ), backend
    assert texts.precision == "fp32" and "_encode" not in vars(
        texts.encoder
    )  # the checkpoint itself stays as it was


def test_a_backend_of_other_vectors_is_left_out(texts):
    other = BiEncoderAdapter(
        replace_encode(
            texts, lambda ids_BT, mask_BT: texts.encoder._encode(ids_BT.flip(0), mask_BT)
        ),
        "other",
    )
    with pytest.raises(Unavailable, match="not those of torch_fp32: cosine"):
        require_same_vectors(texts, other)
    require_same_vectors(texts, texts)


def test_what_is_not_installed_is_said_and_the_others_go_on(
    texts, monkeypatch, numbers_benchmark, capsys
):
    for name in ("onnxruntime", "faiss"):
        monkeypatch.setitem(
            sys.modules, name, None
        )  # what an import of a package that is not there meets
    asked = LatencySettings(
        batch_sizes=[1],
        pools=[20],
        backends=["torch_fp32", "onnx"],
        search=["exact", "hnsw"],
        rounds=1,
        warmup=0,
    )
    study, card, left_out = run_latency_session(
        {"small": texts}, numbers_benchmark, asked, Console()
    )
    assert study.contestants == [("small", "torch_fp32")] and [
        search.kind for search in study.searches
    ] == ["exact"]
    assert (
        study.build_table().num_rows == len(numbers_benchmark.queries)
        and "passages of texts made" not in card["vectors"]
    )
    assert left_out == [
        "small: onnx: onnxruntime is not installed: pip install onnxruntime onnxscript",
        "hnsw, 20 vectors: hnsw: faiss is not installed: pip install faiss-cpu",
    ]
    assert all(f"left out: {line}" in capsys.readouterr().out for line in left_out[:1])
    with pytest.raises(ValueError, match="nothing is left to measure: small: onnx"):
        run_latency_session(
            {"small": texts},
            numbers_benchmark,
            LatencySettings(backends=["onnx"], pools=[20]),
            Console(),
        )


def test_tokens_are_those_that_are_read(texts, numbers_benchmark):
    expected = [
        len(ids) for ids in texts.encoder.tokenizers["query"].read(numbers_benchmark.queries)[0]
    ]
    assert (
        count_tokens(
            build_contestant("small", texts, "torch_fp32"), numbers_benchmark.queries
        ).tolist()
        == expected
    )


@settings(max_examples=25, deadline=None)
@given(
    rows=st.integers(1, 9),
    size=st.integers(1, 40),
    width=st.integers(2, 20),
    chunk=st.integers(1, 50),
)
def test_a_pool_repeats_its_passages_with_a_little_noise(rows, size, width, chunk):
    vectors_MD = draw_unit_vectors(rows, width, torch.float32, CPU, 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pools, "CHUNK", chunk)  # however many are made at once
        pool_ND = repeat_with_noise(vectors_MD, size, True, torch.float32, CPU, 2)
    assert pool_ND.shape == (size, width)
    assert torch.allclose(pool_ND[:rows], vectors_MD[:size], atol=1e-6)
    assert torch.allclose(pool_ND.norm(dim=1), torch.ones(size), atol=1e-5)
    cosine_N = (pool_ND * vectors_MD[torch.arange(size) % rows]).sum(1)
    assert cosine_N.min() > 0.9
    assert len(pool_ND.unique(dim=0)) == size


def test_passages_are_drawn_from_all_and_encoded(texts, numbers_benchmark):
    every = encode_passage_sample(texts, numbers_benchmark, 1000, 1)
    items = texts.read(numbers_benchmark.passages, "passage")
    assert torch.allclose(every, texts.encode(items, "passage"), atol=1e-6)
    assert len(encode_passage_sample(texts, numbers_benchmark, 10, 1)) == 10


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 99), queries=st.integers(1, 5))
def test_exact_search_is_the_sorted_products(seed, queries):
    pool_ND, vectors_BD = (
        draw_unit_vectors(rows, 8, torch.float32, CPU, seed) for rows in (60, queries)
    )
    order_BN = np.argsort(-(vectors_BD @ pool_ND.T).numpy(), axis=1)
    assert (build_exact_search(pool_ND, 7)(vectors_BD).numpy() == order_BN[:, :7]).all()


def test_hnsw_finds_nearly_what_exact_search_finds():
    pool_ND, vectors_BD = (
        repeat_with_noise(
            draw_unit_vectors(300, 16, torch.float32, CPU, 1), 2000, True, torch.float32, CPU, 1
        ),
        None,
    )
    vectors_BD = pool_ND[:40]
    if find_spec("faiss"):
        assert (
            compute_overlap(
                build_hnsw_search(pool_ND, 10)(vectors_BD),
                build_exact_search(pool_ND, 10)(vectors_BD),
            )
            > 0.9
        )
    assert compute_overlap([[1, 2, 3, 4]], [[4, 3, 9, 8]]) == 0.5


def test_a_pool_that_does_not_fit_is_refused_with_its_bytes(monkeypatch):
    asked = LatencySettings(pools=[1_000, 10_000_000], search=["exact", "hnsw"], batch_sizes=[1])
    exact_bytes, index_bytes = count_bytes(asked, [384], "float32")
    assert exact_bytes == 10_000_000 * (384 * 4 + 4) and index_bytes > 10_001_000 * 384 * 4
    monkeypatch.setattr(pools, "read_free_memory", lambda device: 10**9)
    with pytest.raises(
        ValueError,
        match=f"need {exact_bytes + index_bytes:,} bytes of cpu memory, 1,000,000,000 are free",
    ):
        check_memory(asked, [384], CPU)
    monkeypatch.setattr(pools, "read_free_memory", lambda device: exact_bytes + index_bytes)
    check_memory(asked, [384], CPU)


def test_memory_is_asked_of_the_system():
    assert pools.read_free_memory(CPU) is None or pools.read_free_memory(CPU) > 10**6


@pytest.mark.parametrize(
    ("choices", "said"),
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
def test_wrong_choices_are_named_all_at_once(choices, said):
    with pytest.raises(ValueError) as error:
        LatencySettings(**choices)
    assert said in str(error.value)


def test_a_benchmark_without_queries_is_refused(texts):
    empty = SimpleNamespace(queries=[], name="nothing")
    with pytest.raises(ValueError, match="benchmark=nothing has no queries"):
        run_latency_session({"small": texts}, empty, LatencySettings(), Console())


def test_a_file_is_whole_or_not_there(tmp_path):
    path = tmp_path / "latency.parquet"
    with pytest.raises(OSError, match="disk full"), write_atomically(path) as file:
        file.write_bytes(b"half")
        raise OSError("disk full")
    assert list(tmp_path.iterdir()) == []
    with write_atomically(path) as file:
        file.write_bytes(b"whole")
    assert [p.name for p in tmp_path.iterdir()] == ["latency.parquet"]
