"""BiEncoder: the same vectors as sentence-transformers, whatever the batch, and loud about what it cannot load."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer
from sentence_transformers.models import Dense, Normalize, Pooling, Transformer
from transformers import AutoModel, AutoTokenizer

from hybrid_ir.model.backbone import FromScratch
from hybrid_ir.model.encoder import BiEncoder, pool_first_token, pool_mean
from hybrid_ir.model.token_store import concatenate_tokens

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


def encode(encoder: BiEncoder, texts: list[str], cache, role: str = "passage") -> np.ndarray:
    with torch.no_grad():
        return encoder.eval()(
            encoder.tokenizers[role].store(texts, cache).take(range(len(texts)))
        ).numpy()


def test_e5_equals_sentence_transformers(e5, cache):
    peer = SentenceTransformer(str(e5), device="cpu", model_kwargs={"dtype": torch.float32})
    peer.max_seq_length = 128
    ours = BiEncoder(
        str(e5),
        query_prefix="query: ",
        passage_prefix="passage: ",
        query_max_length=128,
        passage_max_length=128,
        tokens_per_slice=256,
    )
    for role in ("query", "passage"):
        theirs = peer.encode([f"{role}: {text}" for text in TEXTS], normalize_embeddings=True)
        assert np.abs(encode(ours, TEXTS, cache, role) - theirs).max() < 2e-6


@pytest.fixture(scope="module")
def labse_shaped(recipe, cache, tmp_path_factory):
    """A checkpoint laid out as LaBSE is released: BERT, cls pooling, a dense layer with tanh, normalisation."""
    source, folder = recipe.build(TEXTS, cache), tmp_path_factory.mktemp("labse")
    word = Transformer(str(source), max_seq_length=64)
    width = recipe.width
    peer = SentenceTransformer(
        modules=[
            word,
            Pooling(width, pooling_mode="cls"),
            Dense(width, width, activation_function=torch.nn.Tanh()),
            Normalize(),
        ],
        device="cpu",
    )
    peer.save(str(folder))
    return peer, folder


def test_labse_equals_sentence_transformers(labse_shaped, cache):
    peer, folder = labse_shaped
    dense = next(path.parent.name for path in folder.glob("*_Dense/config.json"))
    assert dense == "2_Dense"
    ours = BiEncoder(
        str(folder), pooling="labse", query_prefix="", passage_prefix="", passage_max_length=64
    )
    assert np.abs(encode(ours, TEXTS, cache) - peer.encode(TEXTS)).max() < 1e-6


def test_labse_takes_the_pooler_where_there_is_no_dense_folder(recipe, cache):
    folder = recipe.build(TEXTS, cache)
    ours = BiEncoder(str(folder), pooling="labse", passage_prefix="", passage_max_length=64)
    model = AutoModel.from_pretrained(folder).eval()
    found = AutoTokenizer.from_pretrained(folder)(TEXTS[:3], return_tensors="pt", padding=True)
    with torch.no_grad():
        expected = torch.nn.functional.normalize(model(**found).pooler_output, dim=-1).numpy()
    assert np.abs(encode(ours, TEXTS[:3], cache) - expected).max() < 1e-6


def test_labse_without_a_dense_layer_is_refused(e5):
    with pytest.raises(ValueError, match="pooling=labse needs a dense layer"):
        BiEncoder(str(e5), pooling="labse")


@given(order=st.permutations(range(len(TEXTS))), size=st.integers(1, 400))
@settings(max_examples=25, deadline=None)
def test_batch_mates_order_and_slices_do_not_matter(recipe, cache, order, size):
    encoder = BiEncoder(recipe, passage_max_length=64, texts=TEXTS, cache=cache)
    alone = np.concatenate([encode(encoder, [text], cache) for text in TEXTS])
    encoder.tokens_per_slice = size
    assert (
        np.abs(encode(encoder, [TEXTS[i] for i in order], cache) - alone[list(order)]).max() < 1e-6
    )


def test_slices_give_the_gradients_of_one_padded_batch(encoder, cache):
    tokens = encoder.tokenizers["passage"].store(TEXTS, cache).take(range(len(TEXTS)))
    target = torch.randn(len(TEXTS), encoder.width, generator=torch.Generator().manual_seed(0))
    gradients = []
    for size in (10**6, 64):
        encoder.tokens_per_slice = size
        encoder.zero_grad()
        (encoder(tokens) * target).sum().backward()
        gradients.append([p.grad.clone() for p in encoder.parameters() if p.grad is not None])
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(*gradients, strict=True))


def test_every_trainable_weight_gets_a_gradient(encoder, cache):
    encoder(encoder.tokenizers["query"].store(TEXTS, cache).take(range(3))).sum().backward()
    assert [
        name for name, p in encoder.named_parameters() if p.requires_grad and p.grad is None
    ] == []


def test_vectors_are_float32_units_in_any_precision(encoder, cache):
    tokens = encoder.tokenizers["passage"].store(TEXTS, cache).take(range(4))
    with torch.autocast("cpu", torch.bfloat16):
        vectors = encoder(tokens)
    assert vectors.dtype == torch.float32 and torch.allclose(
        vectors.norm(dim=1), torch.ones(4), atol=1e-6
    )


def test_poolings():
    hidden, mask = torch.arange(12.0).reshape(2, 3, 2), torch.tensor([[1, 1, 0], [1, 1, 1]])
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
    assert encoder.backbone.training  # from_pretrained leaves it in eval mode, where dropout sleeps
    assert encoder.backbone.config.hidden_dropout_prob == 0.25
    assert encoder.backbone.embeddings.dropout.p == 0.25
    assert encoder.backbone.is_gradient_checkpointing
    assert not encoder.backbone.get_input_embeddings().weight.requires_grad
    vectors = encoder(encoder.tokenizers["query"].store(TEXTS, cache).take(range(2)))
    vectors.sum().backward()
    assert vectors.shape == (2, 8) and encoder.projection.weight.grad is not None


def test_a_half_precision_checkpoint_is_loaded_in_float32(recipe, cache, tmp_path):
    folder = recipe.build(TEXTS, cache)
    AutoModel.from_pretrained(folder).half().save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(folder).save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == "float16"
    assert {p.dtype for p in BiEncoder(str(tmp_path), passage_max_length=64).parameters()} == {
        torch.float32
    }


def test_a_checkpoint_without_its_weights_is_refused(recipe, cache, tmp_path):
    folder = recipe.build(TEXTS, cache)
    model = AutoModel.from_pretrained(folder)
    state = {k: v for k, v in model.state_dict().items() if "layer.1" not in k}
    model.save_pretrained(tmp_path, state_dict=state)
    AutoTokenizer.from_pretrained(folder).save_pretrained(tmp_path)
    with pytest.raises(
        ValueError, match=r"lacks \d+ weights, first 'encoder.layer.1.*would be random"
    ):
        BiEncoder(str(tmp_path), passage_max_length=64)


@pytest.mark.parametrize(
    ("choices", "said"),
    [
        ({"pooling": "max"}, "model.pooling='max' must be one of mean, cls, labse"),
        ({"passage_max_length": 65}, "model.passage_max_length=65 must be 4 to 64"),
        ({"query_max_length": 2}, "model.query_max_length=2 must be 4 to 64"),
    ],
)
def test_bad_choices_are_named_with_the_cure(recipe, cache, choices, said):
    with pytest.raises(ValueError, match=said):
        BiEncoder(recipe, **{"passage_max_length": 64, **choices}, texts=TEXTS, cache=cache)


def test_a_model_that_is_nowhere_is_one_clear_error(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(
        ValueError, match=r"model.backbone='.*nothing' could not be loaded.*Give a local path"
    ):
        BiEncoder(str(tmp_path / "nothing"))


def test_a_backbone_from_scratch_is_the_same_folder_for_the_same_texts_and_recipe(recipe, tmp_path):
    first = recipe.build(TEXTS, tmp_path / "a")
    second = recipe.build(TEXTS, tmp_path / "b")
    assert first.name == second.name
    assert first.name != recipe.build(TEXTS[1:], tmp_path / "a").name
    assert (
        first.name != FromScratch(400, 32, 2, 2, 48, 64, seed=2).build(TEXTS, tmp_path / "a").name
    )
    one, other = (AutoModel.from_pretrained(folder).state_dict() for folder in (first, second))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not list((tmp_path / "a" / "backbones").glob(".writing*"))


def test_no_texts_no_backbone_from_scratch(recipe, tmp_path):
    with pytest.raises(ValueError, match="needs the training texts"):
        recipe.build([], tmp_path)


def test_byte_fallback_knows_every_text(encoder):
    ids = encoder.tokenizer("𓀀 unseen ⟨<0x41>⟩")["input_ids"]
    assert encoder.tokenizer.unk_token_id not in ids
    assert "<0x41>" in encoder.tokenizer.decode(ids)


def test_ragged_tokens_of_nothing_are_nothing():
    assert len(concatenate_tokens([])) == 0


def test_more_characters_than_the_vocabulary_holds(tmp_path):
    texts = ["".join(map(chr, range(0x4E00 + 50 * i, 0x4E00 + 50 * (i + 1)))) for i in range(12)]
    encoder = BiEncoder(
        FromScratch(400, 32, 0, 2, 48, 64), passage_max_length=64, texts=texts, cache=tmp_path
    )
    assert len(encoder.tokenizer) <= 400
    assert encoder(encoder.tokenizers["query"].store(texts, tmp_path).take(range(12))).shape == (
        12,
        32,
    )
