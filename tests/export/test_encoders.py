"""Exports of all kinds of encoders, loaded by other libraries, and exports that are refused."""

import json
import resource
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnxruntime import InferenceSession
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from torch import nn
from transformers import AutoModel, AutoTokenizer

from hybrid_ir.export.export import export_encoder
from hybrid_ir.export.parity import (
    choose_texts,
    compare_vectors,
    find_vector_problems,
    measure_reference,
)
from hybrid_ir.export.parts import read_with_one_length
from hybrid_ir.export.settings import ExportSettings
from hybrid_ir.model.adapters import BiEncoderAdapter, SentenceTransformerAdapter
from hybrid_ir.model.encoder import BiEncoder
from hybrid_ir.model.sentence_transformers_modules import build_sentence_transformer
from hybrid_ir.model.tokens import CANARY_TEXTS
from hybrid_ir.runs.encoders import load_encoder
from tests.conftest import RECIPE, TEXTS
from tests.support.small_run import build_numbers_benchmark

MODEL_FILES = ["sentence_transformers", "transformers"]
LONG_TEXT = "what money do people pay with in kabul? " * 20


@pytest.fixture(scope="module")
def build_encoder(cache):
    """Returns a function that builds a small encoder, with arguments of BiEncoder."""

    def build(name: str = "small", **choices) -> BiEncoderAdapter:
        arguments = {"texts": TEXTS, "cache": cache, "passage_max_length": 48}
        arguments.update(choices)
        return BiEncoderAdapter(BiEncoder(RECIPE, **arguments), name)

    return build


@pytest.fixture(scope="module")
def benchmark():
    return build_numbers_benchmark()


def set_head(encoder: BiEncoderAdapter, *layers: nn.Module) -> None:
    torch.manual_seed(3)
    for layer in layers:
        for parameter in layer.parameters():
            nn.init.normal_(parameter, std=0.3)
    encoder.encoder.head = nn.Sequential(*layers)


def export(encoder, benchmark, folder: Path, formats: list[str], **choices):
    settings = ExportSettings(formats=formats, **choices)
    return export_encoder(encoder, benchmark, folder, settings, report=lambda line: None)


@contextmanager
def files_of_at_most(size: int):
    """Lets no file of this process grow beyond a size in bytes, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("kind", ["mean", "cls", "labse", "projection", "layers"])
def test_sentence_transformers_gives_the_vectors_of_the_encoder(
    build_encoder, benchmark, tmp_path, kind
):
    pooling = kind if kind in ("mean", "cls") else "mean"
    encoder = build_encoder(pooling="cls" if kind == "labse" else pooling)
    width = encoder.width
    if kind == "labse":
        encoder.encoder.pooling = "labse"
        set_head(encoder, nn.Linear(width, width), nn.Tanh())
    elif kind == "projection":
        encoder = build_encoder(projection=24)
    elif kind == "layers":
        set_head(
            encoder, nn.Linear(width, 40), nn.GELU(), nn.Linear(40, width), nn.LayerNorm(width)
        )
    result = export(encoder, benchmark, tmp_path / "export", MODEL_FILES)
    model = SentenceTransformer(str(tmp_path / "export"), device="cpu")
    texts = [*CANARY_TEXTS, LONG_TEXT]
    expected = read_with_one_length(encoder, 64).encode_passages(texts)
    vectors = model.encode_document(texts, convert_to_tensor=True)
    torch.testing.assert_close(vectors, expected, atol=1e-5, rtol=0)
    assert model.encode_query(TEXTS).shape == (len(TEXTS), encoder.width)
    assert [parity.name for parity in result.formats] == MODEL_FILES
    for parity in result.formats:
        assert parity.cosines.least > 0.99999
        assert max(map(abs, parity.map_difference.values())) < 1e-4


def test_a_graph_holds_pooling_head_projection_and_length(build_encoder, benchmark, tmp_path):
    # To find the last token a pooling asks for the shape, which an exporter may fix.
    encoder = build_encoder(pooling="lasttoken", projection=24)
    set_head(encoder, nn.Linear(32, 32), nn.Tanh())
    # The last token is nearly the same for all texts before a training: ranks are rounding.
    export(encoder, benchmark, tmp_path / "export", ["onnx"], max_map_difference=1)
    files = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.onnx*"))
    assert files == ["export/onnx/model.onnx"]
    session = InferenceSession(tmp_path / "export/onnx/model.onnx")
    assert [value.name for value in session.get_inputs()] == ["input_ids", "attention_mask"]
    names = [value.name for value in session.get_outputs()]
    assert names == ["sentence_embedding", "last_hidden_state"]
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "export")
    for texts in (TEXTS[:1], TEXTS[:3], [LONG_TEXT, "a", "b"]):
        inputs = tokenizer(
            ["Query: " + text for text in texts],
            padding=True,
            truncation=True,
            return_tensors="np",
        )
        arrays = {name: inputs[name].astype(np.int64) for name in ("input_ids", "attention_mask")}
        vectors, tokens = session.run(None, arrays)
        assert tokens.shape == (*arrays["input_ids"].shape, 32)
        expected = encoder.encode_queries(texts).numpy()
        np.testing.assert_allclose(vectors, expected, atol=1e-5)
    graph = onnx.load(tmp_path / "export/onnx/model.onnx")
    onnx.checker.check_model(graph)
    assert "/" not in "".join(str(node.metadata_props) for node in graph.graph.node)


def test_the_files_have_the_form_that_older_versions_and_servers_read(
    build_encoder, benchmark, tmp_path
):
    encoder = build_encoder(projection=24, query_prefix="q: ", passage_prefix="p: ")
    export(encoder, benchmark, tmp_path / "export", MODEL_FILES)

    def read(name: str):
        return json.loads((tmp_path / "export" / name).read_text())

    kinds = [module["type"].rpartition(".")[2] for module in read("modules.json")]
    assert kinds == ["Transformer", "Pooling", "Dense", "Normalize"]
    prefixes = {module["type"].rpartition(".")[0] for module in read("modules.json")}
    assert prefixes == {"sentence_transformers.models"}
    config = read("config_sentence_transformers.json")
    assert config["prompts"] == {"query": "q: ", "document": "p: "}
    assert config["similarity_fn_name"] == "cosine"
    assert read("sentence_bert_config.json")["max_seq_length"] == 64
    assert read("1_Pooling/config.json")["pooling_mode_mean_tokens"] is True
    assert read("tokenizer_config.json")["model_max_length"] == 64
    tokenizer = read("tokenizer.json")
    assert tokenizer["truncation"] is None and tokenizer["padding"] is None
    model, report = AutoModel.from_pretrained(tmp_path / "export", output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    assert not model.pooler.dense.weight.any()
    assert encoder.encoder.backbone.pooler is None


def test_a_sentence_transformers_model_is_exported_with_its_own_modules(
    build_encoder, benchmark, tmp_path
):
    first = build_encoder(query_prefix="q: ", passage_prefix="p: ")
    export(first, benchmark, tmp_path / "first", MODEL_FILES)
    # Without its last module the model compares by cosine still; its export has unit vectors.
    modules = json.loads((tmp_path / "first/modules.json").read_text())
    (tmp_path / "first/modules.json").write_text(json.dumps(modules[:-1]))
    prompts = {"query": None, "passage": None}
    encoder = SentenceTransformerAdapter(str(tmp_path / "first"), prompts)
    export(encoder, benchmark, tmp_path / "second", [*MODEL_FILES, "onnx"])
    again = SentenceTransformer(str(tmp_path / "second"), device="cpu")
    vectors = again.encode_query(TEXTS, convert_to_tensor=True)
    torch.testing.assert_close(vectors, encoder.encode_queries(TEXTS), atol=1e-5, rtol=0)
    torch.testing.assert_close(vectors, first.encode_queries(TEXTS), atol=1e-5, rtol=0)


def test_prompts_that_were_replaced_do_not_come_back(build_encoder, benchmark, tmp_path):
    model = build_sentence_transformer(build_encoder().encoder)
    model.prompts = {"query": "ask: ", "passage": "tell: ", "sts": "sort: "}
    model.default_prompt_name = "sts"
    model.save(str(tmp_path / "model"), create_model_card=False)
    encoder = load_encoder(tmp_path / "model", passage_prefix="")
    export(encoder, benchmark, tmp_path / "new", ["sentence_transformers"])
    again = load_encoder(tmp_path / "new")
    assert again.prompts == {"query": "ask: ", "passage": ""}
    expected = encoder.encode_passages(TEXTS[:3])
    torch.testing.assert_close(again.encode_passages(TEXTS[:3]), expected, rtol=0, atol=2e-6)


def test_a_length_beyond_the_positions_of_a_model_is_refused(build_encoder, tmp_path):
    model = build_sentence_transformer(build_encoder().encoder)
    model.save(str(tmp_path / "model"), create_model_card=False)
    positions = model[0].model.config.max_position_embeddings
    choices = {"query_max_length": positions, "passage_max_length": positions}
    assert load_encoder(tmp_path / "model", **choices).model.max_seq_length == positions
    choices = {"query_max_length": positions + 1, "passage_max_length": positions + 1}
    with pytest.raises(ValueError, match=f"are more than the {positions} positions of model"):
        load_encoder(tmp_path / "model", **choices)


def test_other_weights_do_not_pass_the_gate(build_encoder, benchmark, tmp_path):
    encoder = build_encoder()
    export(encoder, benchmark, tmp_path / "export", ["transformers"])
    file = tmp_path / "export" / "model.safetensors"
    weights = load_file(file)
    weights["embeddings.word_embeddings.weight"][20:200] *= -1
    save_file(weights, file, metadata={"format": "pt"})
    reference = measure_reference(encoder, benchmark)
    model = AutoModel.from_pretrained(tmp_path / "export").eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "export")

    @torch.inference_mode()
    def encode_texts(texts, role, batch_size):
        prefix = encoder.encoder.tokenizers[role].prefix
        texts = [prefix + text for text in texts]
        inputs = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
        mask = inputs["attention_mask"].unsqueeze(-1)
        return (model(**inputs).last_hidden_state * mask).sum(1) / mask.sum(1)

    cosines = compare_vectors(encode_texts, reference)
    problems = find_vector_problems("transformers", cosines, ExportSettings(), "cosine")
    assert any("has the cosine" in problem for problem in problems)
    assert any("the length of a vector differs by" in problem for problem in problems)


def test_a_failed_gate_leaves_nothing_and_gives_the_numbers(build_encoder, benchmark, tmp_path):
    with pytest.raises(ValueError, match="nothing was written: transformers: the vector") as error:
        export(build_encoder(), benchmark, tmp_path / "export", ["transformers"], min_cosine=1.0)
    assert "has the cosine" in str(error.value)
    assert "min_cosine=1.0" in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_nothing(build_encoder, benchmark, tmp_path):
    encoder = build_encoder()
    refused = pytest.raises(OSError, match="could not be written .*Nothing was left behind")
    for formats in (["sentence_transformers"], ["transformers"]):
        with files_of_at_most(100_000), refused:
            export(encoder, benchmark, tmp_path / "export", formats)
        assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_not_touched(build_encoder, benchmark, tmp_path):
    (tmp_path / "export").mkdir()
    with pytest.raises(ValueError, match="exists: nothing is overwritten"):
        export(build_encoder(), benchmark, tmp_path / "export", MODEL_FILES)
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="is a file"):
        export(build_encoder(), benchmark, tmp_path / "file" / "export", MODEL_FILES)


def test_compared_texts_are_spread_over_languages_and_rows(benchmark):
    texts = choose_texts(benchmark, "query", 10)
    others = choose_texts(benchmark, "query", 10, offset=1)
    counts = [sum(word in text for text in texts) for word in ("Zahl", "number", "数")]
    assert counts == [4, 3, 3] and len(set(texts)) == 10
    assert not set(texts) & set(others)
    assert len(choose_texts(benchmark, "passage", 1000)) == len(benchmark.passages)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"formats": []}, r"formats=\[\] must be a list of at least one of"),
        ({"formats": ["tflite", "onnx"]}, "formats: tflite must be one of"),
        ({"min_cosine": 2, "int8_max_map_loss": "a"}, "min_cosine=2 must be.*int8_max_map_loss"),
    ],
)
def test_wrong_settings_are_refused_all_at_once(choices, message):
    with pytest.raises(ValueError, match=message):
        ExportSettings(**choices)
