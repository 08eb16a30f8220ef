"""A model is loaded complete or refused in a line that names the file, the weight and the cure."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import LoraConfig
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.models import Dense, Normalize, Pooling, Transformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from tokenizers import Tokenizer

from hybrid_ir.model.distinct_vectors import find_indistinct_vectors
from hybrid_ir.model.encoder import BiEncoder
from hybrid_ir.model.module_files import IncompleteModelError, read_module_files
from hybrid_ir.model.tokens import CANARY_TEXTS
from hybrid_ir.model.weights import record_loading
from hybrid_ir.runs.encoders import load_encoder

WIDTH = 32
WAYS = [{}, {"pooling": "mean"}]  # by sentence-transformers, and as a plain encoder
QUERY = "encoder.layer.1.attention.self.query.weight"
PROMPTS = {"query_prefix": "query: ", "passage_prefix": "passage: "}


@pytest.fixture(scope="module")
def backbone(recipe, cache) -> Path:
    return recipe.build(CANARY_TEXTS, cache)


@pytest.fixture
def folder(backbone, tmp_path) -> Path:
    """A sentence-transformers model with a dense layer."""
    modules = [Transformer(str(backbone)), Pooling(WIDTH, "mean"), Dense(WIDTH, 16), Normalize()]
    SentenceTransformer(modules=modules, device="cpu").save(str(tmp_path / "model"))
    return tmp_path / "model"


def change_weights(file: Path, change: Callable[[dict], dict]) -> None:
    weights = load_file(file)
    changed = {name: weight.clone() for name, weight in change(weights).items()}
    file.unlink()
    save_file(changed, file, metadata={"format": "pt"})


def drop_layer(weights: dict) -> dict:
    return {name: weight for name, weight in weights.items() if "layer.1." not in name}


def rename_all(weights: dict) -> dict:
    return {f"other.{name}": weight for name, weight in weights.items()}


def drop_pooler(weights: dict) -> dict:
    return {name: weight for name, weight in weights.items() if "pooler" not in name}


def break_number(weights: dict) -> dict:
    weights[QUERY][0, 0] = float("nan")
    return weights


def cut_shape(weights: dict) -> dict:
    return {**weights, QUERY: weights[QUERY][:10]}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop_layer, r"lacks 16 weights, first 'encoder.layer.1.*would be random"),
        (rename_all, r"lacks \d+ weights, first 'embeddings.LayerNorm.bias'"),
        (break_number, f"the weight '.*{QUERY}' has values that are not finite"),
        (cut_shape, rf"another shape .* first '{QUERY}': \(10, 32\) in the file, \(32, 32\)"),
    ],
)
def test_missing_or_broken_weights_are_refused_by_name(folder, way, change, message):
    change_weights(folder / "model.safetensors", change)
    with pytest.raises(ValueError, match=message) as raised:
        load_encoder(str(folder), **way)
    assert "ignore_mismatched_sizes" not in str(raised.value)


@pytest.mark.parametrize("way", WAYS)
def test_a_pooler_that_nothing_uses_may_be_missing(folder, way):
    expected = load_encoder(str(folder), **way).encode_queries(["a text"])
    change_weights(folder / "model.safetensors", drop_pooler)
    assert torch.equal(load_encoder(str(folder), **way).encode_queries(["a text"]), expected)


def test_recording_leaves_the_library_as_it_was():
    from transformers import PreTrainedModel

    before = PreTrainedModel.__dict__["from_pretrained"]
    with pytest.raises(KeyError), record_loading():
        raise KeyError
    assert PreTrainedModel.__dict__["from_pretrained"] is before


@pytest.mark.parametrize("load", [load_encoder, BiEncoder])
def test_the_weights_of_a_dense_layer_are_checked_too(folder, load):
    file = folder / "2_Dense" / "model.safetensors"
    weights = load_file(file)
    load(str(folder))
    broken = {**weights, "linear.bias": weights["linear.bias"] / 0}
    shorter = {**weights, "linear.weight": weights["linear.weight"][:3].clone()}
    for changed in ({"linear.weight": weights["linear.weight"]}, broken, shorter):
        save_file(changed, file)
        with pytest.raises(ValueError, match="bias|size mismatch"):
            load(str(folder))


def test_an_adapter_is_loaded_with_a_complete_base_only(backbone, folder, tmp_path):
    base = tmp_path / "base"
    shutil.copytree(backbone, base)
    transformer = Transformer(str(base))
    transformer.model.add_adapter(LoraConfig(r=2, target_modules=["query"]))
    modules = [transformer, Pooling(WIDTH, "mean")]
    SentenceTransformer(modules=modules, device="cpu").save(str(tmp_path / "adapted"))
    load_encoder(str(tmp_path / "adapted"))
    change_weights(base / "model.safetensors", drop_layer)
    with pytest.raises(ValueError, match=r"an adapter of .*base', which lacks 16 weights"):
        load_encoder(str(tmp_path / "adapted"))


@pytest.mark.parametrize("way", WAYS)
def test_an_adapter_alone_says_what_it_is_and_the_cure(tmp_path, way):
    text = json.dumps({"peft_type": "LORA", "base_model_name_or_path": "owner/base"})
    (tmp_path / "adapter_config.json").write_text(text)
    with pytest.raises(ValueError, match="is an adapter of owner/base .*merge_and_unload"):
        load_encoder(str(tmp_path), **way)


@pytest.mark.parametrize("way", WAYS)
def test_a_missing_tokenizer_is_refused(folder, way):
    for file in folder.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(ValueError, match="tokenizer of special tokens alone.*tokenizer.json"):
        load_encoder(str(folder), **way)


@pytest.mark.parametrize("way", WAYS)
def test_a_tokenizer_with_more_ids_than_the_embedding_is_refused(folder, way):
    name = "embeddings.word_embeddings.weight"
    change_weights(folder / "model.safetensors", lambda all: {**all, name: all[name][:300]})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "vocab_size": 300}))
    with pytest.raises(ValueError, match=r"has the id \d+, and the embedding has 300 rows"):
        load_encoder(str(folder), **way)


def test_a_table_of_word_vectors_is_loaded_and_checked(backbone, tmp_path):
    tokenizer = Tokenizer.from_file(str(backbone / "tokenizer.json"))
    table = StaticEmbedding(tokenizer, embedding_dim=16)
    SentenceTransformer(modules=[table], device="cpu").save(str(tmp_path))
    load_encoder(str(tmp_path), **PROMPTS)
    with pytest.raises(ValueError, match="reads texts of any length completely"):
        load_encoder(str(tmp_path), query_max_length=8)
    change_weights(tmp_path / "model.safetensors", lambda all: {n: w[:50] for n, w in all.items()})
    with pytest.raises(ValueError, match="the embedding has 50 rows"):
        load_encoder(str(tmp_path))


@pytest.mark.parametrize("way", WAYS)
def test_texts_that_all_get_one_vector_are_refused(folder, way):
    def erase(weights: dict) -> dict:
        return {name: weight * 0 for name, weight in weights.items()}

    change_weights(folder / "model.safetensors", erase)
    with pytest.raises(ValueError, match="different texts read as query get one and the same"):
        load_encoder(str(folder), **way)


def test_probing_counts_no_texts(encoder, folder):
    loaded = load_encoder(str(folder))
    assert find_indistinct_vectors(loaded) is None
    assert loaded.texts_read == {"query": 0, "passage": 0}
    assert loaded.texts_cut == {"query": 0, "passage": 0}


@pytest.mark.parametrize("length", [0, 1, 2, 3])
def test_a_length_without_room_for_text_is_refused(folder, length):
    message = rf"query_max_length={length} leaves no token of the text .* give at least \d"
    with pytest.raises(ValueError, match=message) as raised:
        load_encoder(str(folder), query_max_length=length, **PROMPTS)
    shortest = int(str(raised.value).rpartition(" ")[2])
    with pytest.raises(ValueError, match="leaves no token"):
        load_encoder(str(folder), passage_max_length=shortest - 1, **PROMPTS)
    longest_prompt = {"query_prefix": "query: ", "passage_prefix": "query: "}
    load_encoder(str(folder), query_max_length=shortest, **longest_prompt)
    with pytest.raises(ValueError, match="leaves no token"):
        load_encoder(str(folder), pooling="mean", query_max_length=shortest - 1, **longest_prompt)


@pytest.mark.parametrize("way", WAYS)
def test_a_folder_has_no_revision(folder, way):
    with pytest.raises(ValueError, match="revision='abc' of .*: a folder has no revisions"):
        load_encoder(str(folder), revision="abc", **way)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("model.safetensors", b"", "is empty: copy"),
        ("model.safetensors", b"\n<!DOCTYPE html><html>", "is a web page"),
        ("model.safetensors", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ("model.safetensors", b"\x40" * 1000, "is damaged or cut off"),
        ("tokenizer.json", b"{damaged", "is no JSON"),
        ("tokenizer.json", b'{"a": 1}', "is no tokenizer"),
        ("tokenizer_config.json", b"{damaged", "is no JSON"),
        ("config.json", b"{damaged", "is no JSON"),
    ],
)
def test_a_damaged_file_is_named_with_its_damage(folder, way, file, content, message):
    (folder / file).write_bytes(content)
    with pytest.raises(ValueError, match=f"{folder / file} {message}|{file} is .*{message}") as r:
        load_encoder(str(folder), **way)
    assert "network" not in str(r.value)


class Command:
    """A pickle of it runs a command when it is read."""

    def __init__(self, line: str):
        self.line = line

    def __reduce__(self):
        return os.system, (self.line,)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("subfolder", ["", "2_Dense"])
def test_a_pickle_with_code_is_not_run_and_not_recommended(folder, tmp_path, way, subfolder):
    if way and subfolder:
        pytest.skip("a pooling leaves the dense layer out")
    (folder / subfolder / "model.safetensors").unlink()
    file = folder / subfolder / "pytorch_model.bin"
    torch.save({"weight": Command(f"touch {tmp_path / 'was_run'}")}, file)
    message = f"{file} holds more than weights.*Nothing of it was run"
    with pytest.raises(ValueError, match=message) as raised:
        load_encoder(str(folder), **way)
    assert "weights_only" not in str(raised.value)
    assert not (tmp_path / "was_run").exists()


def test_a_file_in_place_of_its_folder_and_null_are_said(folder):
    with pytest.raises(ValueError, match="is a file: give the folder that it lies in"):
        load_encoder(str(folder / "model.safetensors"))
    with pytest.raises(ValueError, match="model=null names no model"):
        load_encoder(None)


@pytest.mark.parametrize("way", WAYS)
def test_a_reserved_token_may_have_no_row(folder, way):
    """Some released models have special tokens behind the embedding, which no text gets."""
    rows = load_file(folder / "model.safetensors")["embeddings.word_embeddings.weight"].shape[0]
    file = folder / "tokenizer.json"
    tokenizer = json.loads(file.read_text())
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    reserved = {"id": rows, "content": "<|reserved|>", "special": True, **flags}
    tokenizer["added_tokens"].append(reserved)
    file.write_text(json.dumps(tokenizer))
    assert load_encoder(str(folder), **way).encode_queries(["a text"]).isfinite().all()


def test_a_module_of_the_models_own_code_is_left_to_the_library(folder):
    modules = [{"idx": 0, "name": "0", "path": "", "type": "custom_st.Transformer"}]
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(ValueError, match="the modules custom_st.Transformer are run by") as raised:
        read_module_files(str(folder))
    assert not isinstance(raised.value, IncompleteModelError)
