"""What reaches the transformer: slices within their budget, positions, and the types of a pair."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel, BertTokenizerFast

from hybrid_ir.model.encoder import BiEncoder


@pytest.fixture
def bert(tmp_path) -> Path:
    """The folder of a BERT whose two segments differ much."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "passage", ":", "one", "two", "three"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    BertTokenizerFast(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=48,
        initializer_range=0.5,
    )
    BertModel(config).save_pretrained(tmp_path)
    return tmp_path


@torch.no_grad()
def test_single_texts_are_encoded_as_the_model_itself_encodes_them(bert, cache):
    encoder = BiEncoder(str(bert), query_max_length=32, passage_max_length=32).eval()
    tokenizer = AutoTokenizer.from_pretrained(bert)
    model = AutoModel.from_pretrained(bert).eval()
    texts = ["one", "three two one two"]
    vectors = encoder(encoder.tokenizers["passage"].store(texts, cache).take(range(2)))
    for text, vector in zip(texts, vectors, strict=True):
        hidden = model(**tokenizer(f"Passage: {text}", return_tensors="pt")).last_hidden_state
        assert torch.allclose(vector, F.normalize(hidden.mean(1), dim=1)[0], atol=1e-5)


@torch.no_grad()
def test_pairs_are_encoded_as_the_model_itself_encodes_them(bert, cache):
    encoder = BiEncoder(str(bert), query_max_length=32, passage_max_length=32).eval()
    tokenizer = AutoTokenizer.from_pretrained(bert)
    model = AutoModel.from_pretrained(bert).eval()
    pairs = [("one", "two three"), ("three two one two", "one")]
    vectors = encoder(encoder.tokenizers["passage"].store(pairs, cache).take(range(2)))
    for (first, second), vector in zip(pairs, vectors, strict=True):
        inputs = tokenizer(f"Passage: {first}", second, return_tensors="pt")
        hidden = model(**inputs).last_hidden_state
        assert torch.allclose(vector, F.normalize(hidden.mean(1), dim=1)[0], atol=1e-5)


def test_padded_slices_hold_their_budget(encoder, cache, monkeypatch):
    sizes = []
    encoder.packing = None
    encode = encoder._encode

    def record_size(ids_BT: torch.Tensor, mask_BT: torch.Tensor) -> torch.Tensor:
        sizes.append(ids_BT.numel())
        return encode(ids_BT, mask_BT)

    monkeypatch.setattr(encoder, "_encode", record_size)
    encoder.tokens_per_slice = 100
    texts = ["word " * count for count in range(1, 15)]
    encoder(encoder.tokenizers["passage"].store(texts, cache).take(range(14)))
    assert max(sizes) <= 100
    assert len(sizes) > 1


def test_positions_of_xlm_r_start_behind_the_padding_id(encoder):
    encoder.backbone.config.model_type = "xlm-roberta"
    encoder.pad_id = 1
    assert encoder._count_positions() == 62
