"""What reaches the transformer: slices within their budget, positions, and the types of a pair."""

import pytest
import torch
import torch.nn.functional as F
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel, BertTokenizerFast

from hybrid_ir.model.encoder import BiEncoder


@pytest.fixture
def bert(tmp_path):
    """A BERT whose two segments differ much."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "passage", ":", "one", "two", "three"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    BertTokenizerFast(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path)
    torch.manual_seed(0)
    BertModel(
        BertConfig(
            vocab_size=10,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=48,
            initializer_range=0.5,
        )
    ).save_pretrained(tmp_path)
    return tmp_path


def test_pairs_and_single_texts_are_encoded_as_the_model_itself_encodes_them(bert, cache):
    encoder = BiEncoder(str(bert), query_max_length=32, passage_max_length=32).eval()
    tokenizer, model = AutoTokenizer.from_pretrained(bert), AutoModel.from_pretrained(bert).eval()
    texts = [("one", "two three"), ("three two one two", "one")]
    for given, inputs in (
        (texts, [tokenizer(f"Passage: {a}", b, return_tensors="pt") for a, b in texts]),
        (
            [a for a, _ in texts],
            [tokenizer(f"Passage: {a}", return_tensors="pt") for a, _ in texts],
        ),
    ):
        with torch.no_grad():
            ours = encoder(encoder.tokenizers["passage"].store(given, cache).take(range(2)))
            theirs = [
                F.normalize(model(**each).last_hidden_state.mean(1), dim=1) for each in inputs
            ]
        assert torch.allclose(ours, torch.cat(theirs), atol=1e-5)


def test_slices_hold_their_budget(encoder, cache, monkeypatch):
    sizes, encode = [], encoder._encode
    monkeypatch.setattr(
        encoder, "_encode", lambda ids, mask: sizes.append(ids.numel()) or encode(ids, mask)
    )
    encoder.tokens_per_slice = 100
    encoder(
        encoder.tokenizers["passage"]
        .store(["word " * count for count in range(1, 15)], cache)
        .take(range(14))
    )
    assert max(sizes) <= 100 and len(sizes) > 1


def test_positions_of_xlm_r_start_behind_the_padding_id(encoder):
    encoder.backbone.config.model_type, encoder.pad_id = "xlm-roberta", 1
    assert encoder._allowed(62, "query") == 62
    with pytest.raises(ValueError, match="4 to 62"):
        encoder._allowed(63, "query")
