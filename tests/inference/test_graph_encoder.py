"""Encoders that run a graph give the vectors of torch, from a cache that damage cannot fool."""

# B texts, D width

import sys
from pathlib import Path

import pytest
import torch

from hybrid_ir.evaluation.card import build_card_table
from hybrid_ir.evaluation.evaluate import evaluate
from hybrid_ir.inference.graph_encoder import GraphEncoder, build_graph_encoder
from hybrid_ir.model.adapters import BiEncoderAdapter
from hybrid_ir.runs.encoders import EncoderSettings, load_any_encoder, load_encoder
from tests.conftest import TEXTS

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

QUERIES = [*TEXTS[:5], "中国", "a", "ποιο νόμισμα έχει η Ελλάδα;"]
EXACT = ("onnx", "openvino")
GRAPH_BACKENDS = (*EXACT, "onnx_int8")


@pytest.fixture(scope="session")
def graphs(tmp_path_factory) -> Path:
    """A cache, so that the graph of the small encoder is exported once."""
    return tmp_path_factory.mktemp("graphs")


@pytest.fixture
def adapter(encoder) -> BiEncoderAdapter:
    return BiEncoderAdapter(encoder, "small")


def require_installed(backend: str) -> None:
    if backend == "openvino":
        pytest.importorskip("openvino")


def list_states(folder: Path) -> dict[str, int]:
    """Returns when the files of the cache were written."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"]
    return {str(path): path.stat().st_mtime_ns for path in paths}


@pytest.mark.parametrize("backend", GRAPH_BACKENDS)
def test_a_graph_gives_the_vectors_of_torch(adapter, graphs, backend):
    require_installed(backend)
    graph_encoder = build_graph_encoder(adapter, backend, graphs)
    expected_BD = adapter.encode_queries(QUERIES)
    for size in (1, 3, len(QUERIES)):
        vectors_BD = graph_encoder.encode_queries(QUERIES, batch_size=size)
        cosines_B = torch.cosine_similarity(vectors_BD, expected_BD)
        assert cosines_B.min() > (0.999999 if backend in EXACT else 0.995)
    about = graph_encoder.reading()["backend"]
    assert about["name"] == backend
    assert about["mean_cosine_with_torch"] > 0.99
    assert graph_encoder.texts_read == {"query": 3 * len(QUERIES), "passage": 0}
    assert adapter.texts_read == {"query": len(QUERIES), "passage": 0}
    assert "backend" not in adapter.reading()


def test_int8_gives_a_text_one_vector_whatever_is_beside_it(adapter, graphs):
    graph_encoder = build_graph_encoder(adapter, "onnx_int8", graphs)
    together_BD = graph_encoder.encode_queries(QUERIES)
    alone_BD = graph_encoder.encode_queries(QUERIES, batch_size=1)
    assert torch.allclose(together_BD, alone_BD, atol=1e-5)


def test_a_graph_is_written_once_and_again_when_it_is_damaged(adapter, graphs):
    build_graph_encoder(adapter, "onnx_int8", graphs)
    before = list_states(graphs)
    expected_BD = build_graph_encoder(adapter, "onnx_int8", graphs).encode_queries(QUERIES)
    assert list_states(graphs) == before
    damaged = [path for path in before if path.endswith(".onnx")]
    for path in damaged:
        content = bytearray(Path(path).read_bytes())
        content[len(content) // 2] ^= 255
        Path(path).write_bytes(content)
    vectors_BD = build_graph_encoder(adapter, "onnx_int8", graphs).encode_queries(QUERIES)
    assert torch.equal(vectors_BD, expected_BD)
    assert set(list_states(graphs)) == set(before)


def test_other_weights_have_a_graph_of_their_own(adapter, graphs):
    build_graph_encoder(adapter, "onnx", graphs)
    with torch.no_grad():
        for parameter in adapter.encoder.parameters():
            parameter += 0.02 * torch.randn_like(parameter)
    changed = build_graph_encoder(adapter, "onnx", graphs)
    expected_BD = adapter.encode_passages(QUERIES)
    assert torch.allclose(changed.encode_passages(QUERIES), expected_BD, atol=1e-5)


def test_a_graph_of_an_export_is_taken_if_it_is_that_of_the_encoder(adapter, graphs, tmp_path):
    from hybrid_ir.export.graph import write_graph
    from hybrid_ir.export.parts import take_apart
    from hybrid_ir.inference.graph_files import GRAPH_FILE

    write_graph(adapter, take_apart(adapter), tmp_path / GRAPH_FILE)
    exported = build_graph_encoder(adapter, "onnx", graphs / "unused", tmp_path)
    assert not (graphs / "unused").exists()
    expected_BD = adapter.encode_queries(QUERIES)
    assert torch.allclose(exported.encode_queries(QUERIES), expected_BD, atol=1e-5)
    assert exported.reading()["backend"]["graph"] == str(tmp_path / GRAPH_FILE)

    adapter.encoder.normalize = False
    with pytest.raises(ValueError, match="onnx: its vectors are not those of torch"):
        build_graph_encoder(adapter, "onnx", graphs, tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"backend": "tensorrt"}, "backend='tensorrt' must be one of torch, onnx, onnx_int8"),
        ({"backend": "onnx", "precision": "bf16"}, "precision=bf16 is for backend=torch"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        EncoderSettings(**settings)


@pytest.mark.parametrize(
    ("package", "backend", "cure"),
    [
        ("onnxruntime", "onnx_int8", "onnxruntime is not installed: pip install onnxruntime"),
        ("openvino", "openvino", r"openvino is not installed: pip install 'hybrid-ir\[openvino\]'"),
    ],
)
def test_a_missing_package_is_named_with_its_cure(
    adapter, tmp_path, monkeypatch, package, backend, cure
):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ValueError, match=f"{backend}: {cure}"):
        build_graph_encoder(adapter, backend, tmp_path)


def test_a_sentence_transformers_folder_is_evaluated_with_its_card(
    recipe, cache, graphs, numbers_benchmark, tmp_path
):
    library = pytest.importorskip("sentence_transformers")
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    transformer = Transformer(str(recipe.build(TEXTS, cache)), max_seq_length=32)
    model = library.SentenceTransformer(
        modules=[transformer, Pooling(recipe.width, "mean")],
        device="cpu",
        prompts={"query": "ask: ", "document": "tell: "},
    )
    place = str(tmp_path / "model")
    model.save(place)
    loaded = load_any_encoder(place, EncoderSettings(backend="onnx", cache_dir=graphs))
    assert isinstance(loaded.encoder, GraphEncoder)
    assert loaded.model["kind"] == "sentence_transformers"
    expected = evaluate(load_encoder(place), numbers_benchmark)
    evaluation = evaluate(loaded.encoder, numbers_benchmark)
    expected_map = expected.results.macro("multi")["map"]
    assert evaluation.results.macro("multi")["map"] == pytest.approx(expected_map, abs=1e-6)
    card = {**evaluation.build_card(), **loaded.describe()}
    assert card["reading"]["backend"]["name"] == "onnx"
    assert "backend" in list(build_card_table(card).columns[0].cells)


def test_a_module_of_the_library_alone_is_one_error(recipe, cache, tmp_path):
    library = pytest.importorskip("sentence_transformers")
    from sentence_transformers.sentence_transformer.modules import (
        Pooling,
        Transformer,
        WeightedLayerPooling,
    )

    transformer = Transformer(str(recipe.build(TEXTS, cache)))
    layers = WeightedLayerPooling(recipe.width, num_hidden_layers=1)
    modules = [transformer, layers, Pooling(recipe.width, "mean")]
    library.SentenceTransformer(modules=modules, device="cpu").save(str(tmp_path / "model"))
    with pytest.raises(ValueError, match="backend=onnx: .* cannot be read without.*backend=torch"):
        load_encoder(tmp_path / "model", backend="onnx")
