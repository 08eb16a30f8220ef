"""Models as texts in, vectors out: a sentence-transformers model gives its own vectors, and says what it read and cut."""

import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.models import Pooling, Transformer

from hybrid_ir.model.adapters import BiEncoderAdapter, SentenceTransformerAdapter, join_text_pair
from hybrid_ir.model.encoder import BiEncoder

TEXTS = ["What money do people pay with in Kabul?", "Αθήνα", "中国的货币是什么？", "a"]
OWN = {"query": None, "passage": None}
LENGTH = 24


@pytest.fixture(scope="module")
def peer(recipe, cache) -> SentenceTransformer:
    """Mean pooling without normalisation; what it asks for as prompts are the names that E5 has."""
    word = Transformer(str(recipe.build(TEXTS, cache)), max_seq_length=LENGTH)
    return SentenceTransformer(
        modules=[word, Pooling(recipe.width, pooling_mode="mean")],
        device="cpu",
        prompts={"query": "ask: ", "passage": "tell: "},
    ).eval()


@pytest.fixture(scope="module")
def folder(peer, tmp_path_factory) -> str:
    place = tmp_path_factory.mktemp("peer") / "small"
    peer.save(str(place))
    return str(place)


def theirs(peer, texts: list[str], normalise: bool = True) -> torch.Tensor:
    vectors = torch.from_numpy(peer.encode(texts, prompt="", normalize_embeddings=False))
    return torch.nn.functional.normalize(vectors, dim=1) if normalise else vectors


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (OWN, {"query": "ask: ", "passage": "tell: "}),
        ({"query": "", "passage": "other: "}, {"query": "", "passage": "other: "}),
    ],
)
def test_vectors_are_the_models_own_behind_its_prompts_or_those_given(
    peer, folder, given, expected
):
    found = SentenceTransformerAdapter(folder, given)
    assert found.name == "small" and found.similarity == "cosine" and found.prompts == expected
    for role, prompt in expected.items():
        reference = theirs(peer, [prompt + text for text in TEXTS])
        items = found.read(TEXTS, role)
        torch.testing.assert_close(found.encode(items, role), reference, atol=1e-6, rtol=0)
        torch.testing.assert_close(
            found.forward(found.tensors(items, role)), reference, atol=1e-6, rtol=0
        )
        assert found.reading()[f"{role}_prefix"] == prompt


def test_dot_products_keep_lengths_and_what_is_no_inner_product_is_refused(peer, folder, tmp_path):
    dot = SentenceTransformerAdapter(folder, {"query": "", "passage": ""}, similarity="dot")
    torch.testing.assert_close(
        dot.encode(TEXTS, "query"), theirs(peer, TEXTS, normalise=False), atol=1e-5, rtol=1e-5
    )
    with pytest.raises(ValueError, match="compares by euclidean, which is no inner product"):
        SentenceTransformerAdapter(folder, OWN, similarity="euclidean")
    model = SentenceTransformer(folder, device="cpu", similarity_fn_name="dot")
    model.save(str(tmp_path / "dot"))
    assert SentenceTransformerAdapter(str(tmp_path / "dot"), OWN).similarity == "dot"
    assert (
        SentenceTransformerAdapter(str(tmp_path / "dot"), OWN, similarity="cosine").similarity
        == "cosine"
    )


def test_what_is_read_and_cut_is_counted_with_the_prompt(folder):
    """Texts of which one fits to the token, and one is a token too long."""
    found = SentenceTransformerAdapter(folder, {"query": "", "passage": "tell: "}, max_length=12)

    def length(text: str) -> int:
        return len(found.model.tokenizer(text)["input_ids"])

    fits = next("a" + " a" * n for n in range(30) if length("a" + " a" * n) == 12)
    for role, cut in (("query", 1), ("passage", 2)):
        found.read([fits, fits + " a", "a"], role)
        found.read(["a"], role)
        assert found.texts_read[role] == 4 and found.texts_cut[role] == cut
    assert found.reading()["query_max_length"] == found.reading()["passage_max_length"] == 12
    assert torch.equal(
        found.encode([fits + " a b c"], "query"), found.encode([fits + " a d e"], "query")
    )  # behind the end


def test_windows_leave_room_for_the_prompt_of_passages(folder):
    found = SentenceTransformerAdapter(folder, {"query": "", "passage": "a long prompt: "})
    pieces = found.windows(" ".join(f"word{i}" for i in range(40)), overlap=0.0)
    lengths = [
        len(found.model.tokenizer("a long prompt: " + piece)["input_ids"]) for piece in pieces
    ]
    assert len(pieces) > 2 and max(lengths) <= LENGTH and min(lengths[:-1]) > LENGTH - 6
    assert join_text_pair(("one", "two")) == "one two" and join_text_pair("one") == "one"
    pair, joined = (
        found.encode(found.read([text], "passage"), "passage")
        for text in (("one", "two"), "one two")
    )
    assert torch.equal(pair, joined)


def test_bf16_is_another_number_in_float32(folder, encoder):
    for make in (
        lambda precision: SentenceTransformerAdapter(folder, OWN, precision=precision),
        lambda precision: BiEncoderAdapter(encoder, "small", precision),
    ):
        full, half = (
            one.encode(one.read(TEXTS, "query"), "query") for one in map(make, ("fp32", "bf16"))
        )
        assert full.dtype == half.dtype == torch.float32
        assert 1e-5 < (full - half).abs().max() < 0.05


def test_our_own_encoder_counts_what_it_cuts_and_windows_fit_behind_its_prefix(recipe, cache):
    model = BiEncoder(
        recipe, query_max_length=12, passage_max_length=LENGTH, texts=TEXTS, cache=cache
    )
    found = BiEncoderAdapter(model, "small")
    found.read(["a", "a " * 30], "query")
    found.read(["a " * 30], "passage")
    assert found.texts_read == {"query": 2, "passage": 1} and found.texts_cut == {
        "query": 1,
        "passage": 1,
    }
    pieces = found.windows(" ".join(f"word{i}" for i in range(40)), overlap=0.0)
    found.read(pieces, "passage")
    assert len(pieces) > 2 and found.texts_cut["passage"] == 1  # no window is cut
