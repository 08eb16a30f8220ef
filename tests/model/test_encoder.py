"""BiEncoder: the vectors of sentence-transformers whatever the batch, and clear errors."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer
from sentence_transformers.models import Dense, Normalize, Pooling, Transformer
from transformers import AutoModel, AutoTokenizer

from hybrid_ir.model.encoder import BiEncoder
from hybrid_ir.model.pooling import pool_first_token, pool_mean
from hybrid_ir.model.token_store import RaggedTokens

TEXTS = [
    "What money do people pay with in Kabul?",
    "Αθήνα",
    "中国的货币是什么？",
    "",
    "ประเทศไทย " * 40,
    "a",
    "कौन सी मुद्रा?",
    "٣ دينار",
]


def tokenise(encoder: BiEncoder, texts: list[str], cache: Path, role: str) -> RaggedTokens:
    return encoder.tokenizers[role].store(texts, cache).take(range(len(texts)))


@torch.no_grad()
def encode(encoder: BiEncoder, texts: list[str], cache: Path, role: str = "passage") -> np.ndarray:
    return encoder.eval()(tokenise(encoder, texts, cache, role)).numpy()


def find_largest_difference(vectors: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(vectors - expected).max())


def test_e5_equals_sentence_transformers(e5, cache):
    library = SentenceTransformer(str(e5), device="cpu", model_kwargs={"dtype": torch.float32})
    library.max_seq_length = 128
    encoder = BiEncoder(
        str(e5),
        query_prefix="query: ",
        passage_prefix="passage: ",
        query_max_length=128,
        passage_max_length=128,
        tokens_per_slice=256,
    )
    for role in ("query", "passage"):
        prefixed = [f"{role}: {text}" for text in TEXTS]
        expected = library.encode(prefixed, normalize_embeddings=True)
        assert find_largest_difference(encode(encoder, TEXTS, cache, role), expected) < 2e-6


def test_labse_equals_sentence_transformers(recipe, cache, tmp_path):
    """The checkpoint is laid out as LaBSE is: cls pooling, a dense layer with tanh, unit length."""
    width = recipe.width
    library = SentenceTransformer(
        modules=[
            Transformer(str(recipe.build(TEXTS, cache)), max_seq_length=64),
            Pooling(width, pooling_mode="cls"),
            Dense(width, width, activation_function=torch.nn.Tanh()),
            Normalize(),
        ],
        device="cpu",
    )
    library.save(str(tmp_path))
    assert (tmp_path / "2_Dense" / "config.json").is_file()
    encoder = BiEncoder(
        str(tmp_path), pooling="labse", query_prefix="", passage_prefix="", passage_max_length=64
    )
    vectors = encode(encoder, TEXTS, cache)
    assert find_largest_difference(vectors, library.encode(TEXTS)) < 1e-6


def test_labse_takes_the_pooler_where_there_is_no_dense_folder(recipe, cache):
    folder = recipe.build(TEXTS, cache)
    texts = TEXTS[:3]
    encoder = BiEncoder(str(folder), pooling="labse", passage_prefix="", passage_max_length=64)
    model = AutoModel.from_pretrained(folder).eval()
    inputs = AutoTokenizer.from_pretrained(folder)(texts, return_tensors="pt", padding=True)
    with torch.no_grad():
        pooled = model(**inputs).pooler_output
    expected = torch.nn.functional.normalize(pooled, dim=-1).numpy()
    assert find_largest_difference(encode(encoder, texts, cache), expected) < 1e-6


def test_labse_without_a_dense_layer_is_refused(e5):
    with pytest.raises(ValueError, match="pooling=labse needs a dense layer"):
        BiEncoder(str(e5), pooling="labse")


def test_batch_mates_order_and_slices_do_not_matter(recipe, cache):
    encoder = BiEncoder(recipe, passage_max_length=64, texts=TEXTS, cache=cache)
    alone = np.concatenate([encode(encoder, [text], cache) for text in TEXTS])

    @given(order=st.permutations(range(len(TEXTS))), tokens_per_slice=st.integers(1, 400))
    @settings(max_examples=25, deadline=None)
    def check(order: list[int], tokens_per_slice: int) -> None:
        encoder.tokens_per_slice = tokens_per_slice
        vectors = encode(encoder, [TEXTS[row] for row in order], cache)
        assert find_largest_difference(vectors, alone[order]) < 1e-6

    check()


def test_slices_give_the_gradients_of_one_padded_batch(encoder, cache):
    tokens = tokenise(encoder, TEXTS, cache, "passage")
    generator = torch.Generator().manual_seed(0)
    weights_BD = torch.randn(len(TEXTS), encoder.width, generator=generator)
    gradients = []
    for tokens_per_slice in (10**6, 64):
        encoder.tokens_per_slice = tokens_per_slice
        encoder.zero_grad()
        (encoder(tokens) * weights_BD).sum().backward()
        gradients.append([p.grad.clone() for p in encoder.parameters() if p.grad is not None])
    for one_batch, in_slices in zip(*gradients, strict=True):
        assert torch.allclose(one_batch, in_slices, atol=1e-5)


def test_every_trainable_weight_gets_a_gradient(encoder, cache):
    encoder(tokenise(encoder, TEXTS[:3], cache, "query")).sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None or not parameter.requires_grad, name


def test_vectors_are_float32_units_in_any_precision(encoder, cache):
    tokens = tokenise(encoder, TEXTS[:4], cache, "passage")
    with torch.autocast("cpu", torch.bfloat16):
        vectors = encoder(tokens)
    assert vectors.dtype == torch.float32
    assert torch.allclose(vectors.norm(dim=1), torch.ones(4), atol=1e-6)


def test_mean_pooling_leaves_out_padding_and_cls_takes_the_first_token():
    hidden = torch.arange(12.0).reshape(2, 3, 2)
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]])
    assert pool_mean(hidden, mask).tolist() == [[1, 2], [8, 9]]
    assert pool_first_token(hidden, mask).tolist() == [[0, 1], [6, 7]]


def test_options_reach_the_backbone(recipe, cache):
    encoder = BiEncoder(
        recipe,
        projection=8,
        dropout=0.25,
        gradient_checkpointing=True,
        train_embeddings=False,
        passage_max_length=64,
        attention="eager",
        texts=TEXTS,
        cache=cache,
    )
    assert encoder.backbone.training  # from_pretrained leaves it in eval mode, without dropout
    assert encoder.backbone.config.hidden_dropout_prob == 0.25
    assert encoder.backbone.embeddings.dropout.p == 0.25
    assert encoder.backbone.is_gradient_checkpointing
    assert not encoder.backbone.get_input_embeddings().weight.requires_grad
    vectors = encoder(tokenise(encoder, TEXTS[:2], cache, "query"))
    vectors.sum().backward()
    assert vectors.shape == (2, 8)
    assert encoder.projection.weight.grad is not None


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        (
            {"pooling": "sum"},
            "model.pooling='sum' must be one of mean, cls, lasttoken, max, weighted",
        ),
        ({"passage_max_length": 65}, "model.passage_max_length=65 must be 4 to 64"),
        ({"query_max_length": 2}, "model.query_max_length=2 must be 4 to 64"),
        ({"projection": 0}, "model.projection=0 must be at least 1"),
        ({"tokens_per_slice": 0}, "model.tokens_per_slice=0 must be at least 1, or null"),
        ({"attention": "fash"}, "model.attention='fash' must be sdpa or eager"),
        ({"packing": "rows"}, "model.packing='rows' must be one of auto, on, off"),
        ({"compile": "yes"}, "model.compile='yes' must be true or false"),
        ({"dropout": 1.0}, "model.dropout=1.0 must be 0 or more and below 1"),
    ],
)
def test_bad_choices_are_named_with_the_cure(recipe, cache, choices, message):
    with pytest.raises(ValueError, match=message):
        BiEncoder(recipe, **{"passage_max_length": 64, **choices}, texts=TEXTS, cache=cache)


def test_a_half_precision_checkpoint_is_loaded_in_float32(recipe, cache, tmp_path):
    folder = recipe.build(TEXTS, cache)
    AutoModel.from_pretrained(folder).half().save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(folder).save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == "float16"
    encoder = BiEncoder(str(tmp_path), passage_max_length=64)
    assert {parameter.dtype for parameter in encoder.parameters()} == {torch.float32}


def test_a_checkpoint_without_its_weights_is_refused(recipe, cache, tmp_path):
    folder = recipe.build(TEXTS, cache)
    model = AutoModel.from_pretrained(folder)
    weights = {}
    for name, weight in model.state_dict().items():
        if "layer.1" not in name:
            weights[name] = weight
    model.save_pretrained(tmp_path, state_dict=weights)
    AutoTokenizer.from_pretrained(folder).save_pretrained(tmp_path)
    message = r"lacks \d+ weights, first 'encoder.layer.1.*would be random"
    with pytest.raises(ValueError, match=message):
        BiEncoder(str(tmp_path), passage_max_length=64)


def test_a_model_that_is_nowhere_is_one_clear_error(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    message = r"model.backbone='.*nothing' could not be loaded.*Give a local path"
    with pytest.raises(ValueError, match=message):
        BiEncoder(str(tmp_path / "nothing"))
