"""Models as texts in, vectors out: a sentence-transformers model gives its very vectors."""

import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.models import Pooling, Transformer

from hybrid_ir.model.adapters import BiEncoderAdapter, SentenceTransformerAdapter, join_text_pair
from hybrid_ir.model.encoder import BiEncoder

TEXTS = ["What money do people pay with in Kabul?", "Αθήνα", "中国的货币是什么？", "a"]
PROMPTS_OF_THE_MODEL = {"query": None, "passage": None}
NO_PROMPTS = {"query": "", "passage": ""}
MAX_LENGTH = 24
LONG_TEXT = " ".join(f"word{i}" for i in range(40))


@pytest.fixture(scope="module")
def sentence_transformer(recipe, cache) -> SentenceTransformer:
    """A model with mean pooling, without normalisation, and with the prompt names of E5."""
    transformer = Transformer(str(recipe.build(TEXTS, cache)), max_seq_length=MAX_LENGTH)
    return SentenceTransformer(
        modules=[transformer, Pooling(recipe.width, pooling_mode="mean")],
        device="cpu",
        prompts={"query": "ask: ", "passage": "tell: "},
    ).eval()


@pytest.fixture(scope="module")
def folder(sentence_transformer, tmp_path_factory) -> str:
    place = tmp_path_factory.mktemp("peer") / "small"
    sentence_transformer.save(str(place))
    return str(place)


def encode_with_library(
    model: SentenceTransformer, texts: list[str], normalise: bool = True
) -> torch.Tensor:
    vectors = torch.from_numpy(model.encode(texts, prompt="", normalize_embeddings=False))
    return torch.nn.functional.normalize(vectors, dim=1) if normalise else vectors


def assert_same_vectors(vectors: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(vectors, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("prompts", "expected"),
    [
        (PROMPTS_OF_THE_MODEL, {"query": "ask: ", "passage": "tell: "}),
        ({"query": "", "passage": "other: "}, {"query": "", "passage": "other: "}),
    ],
)
def test_vectors_are_the_models_behind_its_prompts_or_the_chosen_ones(
    sentence_transformer, folder, prompts, expected
):
    adapter = SentenceTransformerAdapter(folder, prompts)
    assert adapter.name == "small"
    assert adapter.similarity == "cosine"
    assert adapter.prompts == expected
    for role, prompt in expected.items():
        prompted = [prompt + text for text in TEXTS]
        vectors = encode_with_library(sentence_transformer, prompted)
        items = adapter.read(TEXTS, role)
        assert_same_vectors(adapter.encode(items, role), vectors)
        assert_same_vectors(adapter.forward(adapter.tensors(items, role)), vectors)
        assert adapter.reading()[f"{role}_prefix"] == prompt


def test_encode_queries_and_passages_put_their_prompts_before_texts(sentence_transformer, folder):
    adapter = SentenceTransformerAdapter(folder, PROMPTS_OF_THE_MODEL)
    queries = encode_with_library(sentence_transformer, ["ask: " + text for text in TEXTS])
    passages = encode_with_library(sentence_transformer, ["tell: " + text for text in TEXTS])
    assert_same_vectors(adapter.encode_queries(TEXTS), queries)
    assert_same_vectors(adapter.encode_passages(TEXTS, batch_size=3), passages)


def test_both_adapters_encode_one_model_to_the_same_vectors(folder):
    library = SentenceTransformerAdapter(folder, PROMPTS_OF_THE_MODEL)
    encoder = BiEncoder(
        folder,
        query_prefix="ask: ",
        passage_prefix="tell: ",
        query_max_length=MAX_LENGTH,
        passage_max_length=MAX_LENGTH,
    )
    ours = BiEncoderAdapter(encoder, "small")
    texts = [*TEXTS, LONG_TEXT]
    assert_same_vectors(ours.encode_queries(texts), library.encode_queries(texts))
    assert_same_vectors(ours.encode_passages(texts), library.encode_passages(texts))


@pytest.mark.parametrize("batch_size", [1, 2, 100])
def test_any_batch_size_keeps_the_order_of_texts(encoder, batch_size):
    adapter = BiEncoderAdapter(encoder, "small")
    with torch.no_grad():
        tokens = adapter.tensors(adapter.read(TEXTS, "passage"), "passage")
        expected = encoder(tokens)
    vectors = adapter.encode_passages(TEXTS, batch_size=batch_size)
    assert_same_vectors(vectors, expected)
    assert vectors.dtype == torch.float32
    assert vectors.device.type == "cpu"


def test_no_texts_are_no_vectors(folder, encoder):
    library = SentenceTransformerAdapter(folder, PROMPTS_OF_THE_MODEL)
    for adapter in (library, BiEncoderAdapter(encoder, "small")):
        assert adapter.encode_queries([]).shape == (0, 32)
        with pytest.raises(ValueError, match="batch_size=0 must be at least 1"):
            adapter.encode_queries(TEXTS, batch_size=0)


def test_dot_products_keep_the_lengths_of_vectors(sentence_transformer, folder, tmp_path):
    adapter = SentenceTransformerAdapter(folder, NO_PROMPTS, similarity="dot")
    expected = encode_with_library(sentence_transformer, TEXTS, normalise=False)
    torch.testing.assert_close(adapter.encode(TEXTS, "query"), expected, atol=1e-5, rtol=1e-5)
    dot_folder = str(tmp_path / "dot")
    SentenceTransformer(folder, device="cpu", similarity_fn_name="dot").save(dot_folder)
    of_the_model = SentenceTransformerAdapter(dot_folder, PROMPTS_OF_THE_MODEL)
    assert of_the_model.similarity == "dot"
    chosen = SentenceTransformerAdapter(dot_folder, PROMPTS_OF_THE_MODEL, similarity="cosine")
    assert chosen.similarity == "cosine"


def test_a_similarity_that_is_no_inner_product_is_refused(folder):
    with pytest.raises(ValueError, match="compares by euclidean, which is no inner product"):
        SentenceTransformerAdapter(folder, PROMPTS_OF_THE_MODEL, similarity="euclidean")


def test_texts_that_are_read_and_cut_are_counted_with_the_prompt(folder):
    prompts = {"query": "", "passage": "tell: "}
    adapter = SentenceTransformerAdapter(folder, prompts, max_length=12)
    fitting = write_text_of_length(adapter.model, tokens=12)
    # Behind the prompt of passages the fitting text is too long, too.
    for role, cut in (("query", 1), ("passage", 2)):
        adapter.read([fitting, fitting + " a", "a"], role)
        adapter.read(["a"], role)
        assert adapter.texts_read[role] == 4
        assert adapter.texts_cut[role] == cut
    assert adapter.reading()["query_max_length"] == 12
    assert adapter.reading()["passage_max_length"] == 12
    # Texts that differ behind the last token that is read have the same vector.
    first = adapter.encode([fitting + " a b c"], "query")
    assert torch.equal(first, adapter.encode([fitting + " a d e"], "query"))


def write_text_of_length(model: SentenceTransformer, tokens: int) -> str:
    text = "a"
    while len(model.tokenizer(text)["input_ids"]) < tokens:
        text += " a"
    assert len(model.tokenizer(text)["input_ids"]) == tokens
    return text


def test_windows_leave_room_for_the_prompt_of_passages(folder):
    prompt = "a long prompt: "
    adapter = SentenceTransformerAdapter(folder, {"query": "", "passage": prompt})
    windows = adapter.windows(LONG_TEXT, overlap=0.0)
    lengths = [len(adapter.model.tokenizer(prompt + window)["input_ids"]) for window in windows]
    assert len(windows) > 2
    assert max(lengths) <= MAX_LENGTH
    assert min(lengths[:-1]) > MAX_LENGTH - 6


def test_a_pair_is_read_as_its_texts_one_behind_the_other(folder):
    assert join_text_pair(("one", "two")) == "one two"
    assert join_text_pair("one") == "one"
    adapter = SentenceTransformerAdapter(folder, PROMPTS_OF_THE_MODEL)
    pair = adapter.encode_passages([("one", "two")])
    assert torch.equal(pair, adapter.encode_passages(["one two"]))


def test_bf16_gives_other_numbers_in_float32(folder, encoder):
    adapters = {}
    for precision in ("fp32", "bf16"):
        adapters["library", precision] = SentenceTransformerAdapter(
            folder, PROMPTS_OF_THE_MODEL, precision=precision
        )
        adapters["ours", precision] = BiEncoderAdapter(encoder, "small", precision)
    for kind in ("library", "ours"):
        full = adapters[kind, "fp32"].encode_queries(TEXTS)
        half = adapters[kind, "bf16"].encode_queries(TEXTS)
        assert full.dtype == half.dtype == torch.float32
        assert 1e-5 < (full - half).abs().max() < 0.05


def test_our_encoder_counts_cut_texts_and_windows_fit_behind_its_prefix(recipe, cache):
    encoder = BiEncoder(
        recipe, query_max_length=12, passage_max_length=MAX_LENGTH, texts=TEXTS, cache=cache
    )
    adapter = BiEncoderAdapter(encoder, "small")
    adapter.read(["a", "a " * 30], "query")
    adapter.read(["a " * 30], "passage")
    assert adapter.texts_read == {"query": 2, "passage": 1}
    assert adapter.texts_cut == {"query": 1, "passage": 1}
    windows = adapter.windows(LONG_TEXT, overlap=0.0)
    adapter.read(windows, "passage")
    assert len(windows) > 2
    assert adapter.texts_cut["passage"] == 1  # no window is cut
