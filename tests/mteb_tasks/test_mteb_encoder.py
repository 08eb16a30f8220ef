"""MtebEncoder follows mteb's protocol, and names a model by what it is."""

import mteb
import pytest
import torch
from mteb.models import EncoderProtocol, SearchProtocol
from mteb.types import PromptType

from hybrid_ir import MtebEncoder
from hybrid_ir.model.adapters import BiEncoderAdapter
from hybrid_ir.mteb_tasks.encoder import find_hub_commit, list_language_scripts

TEXTS = ["what money do people pay with in kabul?", "中国的货币是什么？", "kabul"]


@pytest.fixture
def adapter(encoder) -> BiEncoderAdapter:
    return BiEncoderAdapter(encoder, "run 7")


def test_the_protocol_of_mteb_is_followed(adapter):
    model = MtebEncoder(adapter)
    assert isinstance(model, EncoderProtocol) and not isinstance(model, SearchProtocol)


@pytest.mark.parametrize(
    ("prompt_type", "role"),
    [(PromptType.query, "query"), (PromptType.document, "passage"), (None, "query")],
)
def test_vectors_are_those_of_the_role_in_any_batches(adapter, prompt_type, role):
    encode = {"query": adapter.encode_queries, "passage": adapter.encode_passages}[role]
    batches = [{"text": TEXTS[:1]}, {"text": TEXTS[1:]}]
    vectors = MtebEncoder(adapter).encode(batches, prompt_type=prompt_type, batch_size=2)
    torch.testing.assert_close(vectors, encode(TEXTS), atol=1e-6, rtol=0)
    assert MtebEncoder(adapter).encode([], prompt_type=prompt_type).shape[0] == 0


def test_what_it_cannot_do_is_refused(adapter):
    model = MtebEncoder(adapter)
    with pytest.raises(ValueError, match="has no text"):
        model.encode([{"image": []}])
    with pytest.raises(ValueError, match="precision='int8'"):
        model.encode([{"text": TEXTS}], precision="int8")
    with pytest.raises(ValueError, match="model_name='run'"):
        MtebEncoder(adapter, name="run")


def test_similarities_are_inner_products(adapter):
    model = MtebEncoder(adapter)
    queries = model.encode([{"text": TEXTS}])
    assert torch.equal(model.similarity(queries, queries.numpy()), queries @ queries.T)
    torch.testing.assert_close(model.similarity_pairwise(queries, queries), torch.ones(3))
    assert model.similarity(queries[0], queries).shape == (1, 3)


def test_the_description_of_the_model_is_what_is_known(adapter, encoder):
    model = MtebEncoder(adapter, languages=["en", "zh-Hant", "tlh", "und"], adapted_from="a/b")
    meta = model.mteb_model_meta
    assert meta.name == "hybrid-ir/run_7" and meta.revision == "no_revision_available"
    assert meta.n_parameters == sum(p.numel() for p in encoder.parameters())
    assert (meta.embed_dim, meta.max_tokens) == (encoder.width, 64)
    assert list_language_scripts(["und"]) == []
    assert {"eng-Latn", "zho-Hant"} <= set(meta.languages)
    assert meta.use_instructions and meta.adapted_from == "a/b"
    assert mteb.get_model_meta is not None and meta.license is None


def test_a_commit_is_one_of_the_named_hub_model_alone(adapter, encoder):
    encoder.backbone.config._name_or_path = "owner/model"
    encoder.backbone.config._commit_hash = "c" * 40
    assert find_hub_commit(adapter, "owner/model") == "c" * 40
    assert MtebEncoder(adapter, name="owner/model").revision == "c" * 40
    # A run that was trained from it is another model.
    assert MtebEncoder(adapter, name="me/run").revision == "no_revision_available"
    assert MtebEncoder(adapter).name == "hybrid-ir/run_7"
    adapter.name = "model"
    assert MtebEncoder(adapter).name == "owner/model"
