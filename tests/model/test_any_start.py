"""A training starts from any model: its vectors are those of sentence-transformers at first."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.models import Dense, LayerNorm, Normalize, Pooling, Transformer
from tokenizers.processors import TemplateProcessing
from transformers import (
    AutoTokenizer,
    ModernBertConfig,
    ModernBertModel,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3Model,
    XLMRobertaConfig,
    XLMRobertaModel,
)

from hybrid_ir.model.adapters import BiEncoderAdapter
from hybrid_ir.model.encoder import BiEncoder
from hybrid_ir.model.pooling import POOLINGS
from hybrid_ir.model.tokens import CANARY_TEXTS
from hybrid_ir.runs.encoders import load_encoder

WIDTH = 32
MAX_LENGTH = 48  # of all models here, in tokens
TEXTS = [*CANARY_TEXTS, "", "a long text " * 40]
INSTRUCTION = "Instruct: find the passage\nQuery: "


@pytest.fixture(scope="module")
def tokenizer(recipe, cache) -> PreTrainedTokenizerFast:
    return AutoTokenizer.from_pretrained(recipe.build(CANARY_TEXTS, cache))


def read_with_library(library: SentenceTransformer, role: str) -> np.ndarray:
    encode = library.encode_query if role == "query" else library.encode_document
    return encode(TEXTS, normalize_embeddings=True, convert_to_numpy=True)


def read_with_ours(encoder: BiEncoder, role: str) -> np.ndarray:
    adapter = BiEncoderAdapter(encoder, "ours")
    encode = adapter.encode_queries if role == "query" else adapter.encode_passages
    return encode(TEXTS).numpy()


def assert_same_vectors(library: SentenceTransformer, encoder: BiEncoder) -> None:
    for role in ("query", "passage"):
        expected = read_with_library(library, role)
        assert np.abs(read_with_ours(encoder, role) - expected).max() < 2e-6, role


def save_model(model: torch.nn.Module, tokenizer: PreTrainedTokenizerFast, folder: Path) -> Path:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def save_library(folder: Path, transformer: Path, *modules: torch.nn.Module, **options) -> Path:
    """Writes a model by sentence-transformers itself."""
    first = Transformer(str(transformer), max_seq_length=MAX_LENGTH)
    SentenceTransformer(modules=[first, *modules], device="cpu", **options).save(str(folder))
    return folder


@pytest.fixture(scope="module")
def bert(recipe, cache) -> Path:
    return recipe.build(CANARY_TEXTS, cache)


@pytest.mark.parametrize("pooling", [name for name in POOLINGS if name != "labse"])
def test_every_pooling_is_that_of_sentence_transformers(pooling, bert, tmp_path):
    folder = save_library(tmp_path, bert, Pooling(WIDTH, pooling_mode=pooling), Normalize())
    encoder = BiEncoder(str(folder), tokens_per_slice=200)
    assert encoder.pooling == pooling
    assert_same_vectors(SentenceTransformer(str(folder), device="cpu"), encoder)


def test_layers_behind_the_pooling_are_taken_over(bert, tmp_path):
    modules = [
        Pooling(WIDTH, pooling_mode="cls"),
        Dense(WIDTH, 24, activation_function=torch.nn.GELU()),
        LayerNorm(24),
        Dense(24, 16, bias=False, activation_function=torch.nn.Identity()),
    ]
    torch.nn.init.normal_(modules[2].norm.weight)
    folder = save_library(tmp_path, bert, *modules)
    encoder = BiEncoder(str(folder))
    assert encoder.width == 16
    assert_same_vectors(SentenceTransformer(str(folder), device="cpu"), encoder)


def test_prompts_and_lengths_are_taken_over_unless_they_are_given(bert, tmp_path, capsys):
    prompts = {"search_query": "ask: ", "search_document": "tell: ", "classification": "sort: "}
    pooling = Pooling(WIDTH, pooling_mode="mean")
    folder = save_library(tmp_path, bert, pooling, Normalize(), prompts=prompts)
    encoder = BiEncoder(str(folder))
    assert encoder.tokenizers["query"].prefix == "ask: "
    assert encoder.tokenizers["passage"].prefix == "tell: "
    assert encoder.tokenizers["query"].max_length == MAX_LENGTH
    assert encoder.tokenizers["passage"].max_length == MAX_LENGTH
    assert "not used: classification" in capsys.readouterr().err

    changed = BiEncoder(str(folder), query_prefix="", passage_max_length=20)
    assert changed.tokenizers["query"].prefix == ""
    assert changed.tokenizers["passage"].prefix == "tell: "
    assert changed.tokenizers["passage"].max_length == 20


def test_a_plain_model_is_read_as_in_the_paper(bert):
    encoder = BiEncoder(str(bert))
    assert encoder.describe_reading() == {
        "pooling": "mean",
        "normalize": True,
        "query_prefix": "Query: ",
        "passage_prefix": "Passage: ",
    }
    assert encoder.tokenizers["query"].max_length == 64
    assert encoder.tokenizers["passage"].max_length == 64  # 256, but the model has 64 positions


@pytest.fixture(scope="module")
def decoder(tokenizer, tmp_path_factory) -> Path:
    """A tiny Qwen3 whose tokenizer ends texts by a token of their end and pads at the left."""
    tokenizer = AutoTokenizer.from_pretrained(tokenizer.name_or_path, padding_side="left")
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="$A [SEP]", special_tokens=[("[SEP]", tokenizer.sep_token_id)]
    )
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=128,
        pad_token_id=tokenizer.pad_token_id,
    )
    return save_model(Qwen3Model(config), tokenizer, tmp_path_factory.mktemp("qwen3"))


def test_a_decoder_is_pooled_at_its_last_token(decoder, tmp_path):
    folder = save_library(
        tmp_path,
        decoder,
        Pooling(WIDTH, pooling_mode="lasttoken"),
        Normalize(),
        prompts={"query": INSTRUCTION},
    )
    encoder = BiEncoder(str(folder), tokens_per_slice=200)
    assert encoder.pooling == "lasttoken"
    assert encoder.tokenizers["query"].prefix == INSTRUCTION
    library = SentenceTransformer(str(folder), device="cpu")
    assert library.tokenizer.padding_side == "left"
    assert_same_vectors(library, encoder)


def test_a_modernbert_is_read_as_by_sentence_transformers(tokenizer, tmp_path):
    torch.manual_seed(0)
    config = ModernBertConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=64,
        num_hidden_layers=4,
        num_attention_heads=4,
        max_position_embeddings=128,
        local_attention=8,
        pad_token_id=tokenizer.pad_token_id,
    )
    plain = save_model(ModernBertModel(config), tokenizer, tmp_path / "plain")
    folder = save_library(tmp_path / "st", plain, Pooling(WIDTH, pooling_mode="mean"), Normalize())
    encoder = BiEncoder(str(folder), tokens_per_slice=200)
    assert_same_vectors(SentenceTransformer(str(folder), device="cpu"), encoder)
    encoder.train()
    for attention in ("sdpa", "eager"):
        other = BiEncoder(str(folder), attention=attention)
        assert (
            np.abs(read_with_ours(other, "query") - read_with_ours(encoder, "query")).max() < 1e-5
        )


def test_a_roberta_is_read_as_by_sentence_transformers(tokenizer, tmp_path):
    torch.manual_seed(0)
    config = XLMRobertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=66,
        pad_token_id=tokenizer.pad_token_id,
    )
    plain = save_model(XLMRobertaModel(config), tokenizer, tmp_path / "plain")
    folder = save_library(tmp_path / "st", plain, Pooling(WIDTH, pooling_mode="cls"), Normalize())
    assert_same_vectors(SentenceTransformer(str(folder), device="cpu"), BiEncoder(str(folder)))


def change_modules(folder: Path, kinds: list[str]) -> None:
    modules = []
    for number, kind in enumerate(kinds):
        path = "" if number == 0 else f"{number}_{kind}"
        module = {"idx": number, "name": str(number), "path": path}
        modules.append({**module, "type": f"sentence_transformers.models.{kind}"})
    (folder / "modules.json").write_text(json.dumps(modules))


def damage(folder: Path, fault: str) -> None:
    if fault == "no pooling":
        (folder / "1_Pooling" / "config.json").unlink()
    elif fault == "transformer alone":
        change_modules(folder, ["Transformer"])
    elif fault == "no modules":
        (folder / "modules.json").write_text("[]")
    elif fault == "no list":
        (folder / "modules.json").write_text('{"a": 1}')
    elif fault == "no JSON":
        (folder / "1_Pooling" / "config.json").write_text("{")


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("no pooling", "1_Pooling/config.json is missing, though modules.json names it"),
        ("transformer alone", "modules.json names Transformer, and no Pooling behind"),
        ("no modules", "modules.json names no modules"),
        ("no list", "modules.json is no list of modules"),
        ("no JSON", "1_Pooling/config.json is no JSON"),
    ],
)
def test_files_that_do_not_say_how_vectors_are_pooled(fault, message, bert, tmp_path):
    folder = save_library(tmp_path, bert, Pooling(WIDTH, pooling_mode="cls"), Normalize())
    damage(folder, fault)
    for load in (BiEncoder, load_encoder):
        with pytest.raises(ValueError, match=message) as error:
            load(str(folder))
        assert "pooling=mean" in str(error.value)
    plain = load_encoder(str(folder), pooling="mean")
    assert plain.encode_queries(["a question"]).shape == (1, WIDTH)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pooling_mode": ["mean", "cls"]}, r"pools by \['mean', 'cls'\]"),
        ({"pooling_mode": "attention"}, "pools by 'attention'"),
        ({"pooling_mode": "mean", "include_prompt": False}, "without the tokens of the prompt"),
    ],
)
def test_a_pooling_that_only_sentence_transformers_knows(change, message, bert, tmp_path):
    folder = save_library(tmp_path, bert, Pooling(WIDTH, pooling_mode="cls"), Normalize())
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(change))
    with pytest.raises(ValueError, match=message):
        BiEncoder(str(folder))


def test_unknown_modules_are_named(bert, tmp_path):
    folder = save_library(tmp_path, bert, Pooling(WIDTH, pooling_mode="cls"), Normalize())
    change_modules(folder, ["Transformer", "Pooling", "Normalize", "Dense"])
    with pytest.raises(ValueError, match="Normalize as number 2 is run by sentence-transformers"):
        BiEncoder(str(folder))
    change_modules(folder, ["StaticEmbedding"])
    with pytest.raises(ValueError, match="modules StaticEmbedding are run by sentence-transf"):
        BiEncoder(str(folder))


def test_an_activation_that_is_no_module_of_torch_is_refused(bert, tmp_path):
    dense = Dense(WIDTH, WIDTH, activation_function=torch.nn.Tanh())
    folder = save_library(tmp_path, bert, Pooling(WIDTH, pooling_mode="cls"), dense)
    path = folder / "2_Dense" / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "activation_function": "os.system"}))
    with pytest.raises(ValueError, match=r"2_Dense/config.json has the activation 'os.system'"):
        BiEncoder(str(folder))


def test_vectors_keep_their_length_where_it_counts(bert, tmp_path, capsys):
    pooling = Pooling(WIDTH, pooling_mode="mean")
    folder = save_library(tmp_path, bert, pooling, similarity_fn_name="dot")
    unit = BiEncoder(str(folder))
    assert "compares by dot, and is read with vectors of length 1" in capsys.readouterr().err
    assert np.abs(np.linalg.norm(read_with_ours(unit, "query"), axis=1) - 1).max() < 1e-5
    free = BiEncoder(str(folder), normalize=False)
    library = SentenceTransformer(str(folder), device="cpu")
    expected = library.encode_query(TEXTS, convert_to_numpy=True)
    assert np.abs(read_with_ours(free, "query") - expected).max() < 1e-5
    assert BiEncoderAdapter(free, "ours").similarity == "dot"


def test_code_of_a_model_runs_only_where_it_is_allowed(bert, tmp_path):
    folder = save_library(tmp_path, bert, Pooling(WIDTH, pooling_mode="cls"), Normalize())
    config = json.loads((folder / "config.json").read_text())
    classes = {"AutoConfig": "code.OwnConfig", "AutoModel": "code.OwnModel"}
    (folder / "config.json").write_text(
        json.dumps({**config, "model_type": "own", "auto_map": classes})
    )
    (folder / "code.py").write_text("raise SystemExit('code of the model was run')")
    for load in (BiEncoder, load_encoder):
        with pytest.raises(ValueError, match="brings code of its own, which is not run unless"):
            load(str(folder))


def test_cut_weights_are_one_clear_error(bert, tmp_path):
    folder = save_library(tmp_path, bert, Pooling(WIDTH, pooling_mode="cls"), Normalize())
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    for load in (BiEncoder, load_encoder):
        message = "could not be loaded: .*model.safetensors is damaged or cut off"
        with pytest.raises(ValueError, match=message):
            load(str(folder))
