"""Prompts of a model's files are found by any usual name, and a known model without any is told."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer

from hybrid_ir.model.adapters import SentenceTransformerAdapter
from hybrid_ir.model.prompts import (
    FAMILIES,
    FROM_KEYS,
    NO_PROMPT,
    PROMPT_NAMES,
    choose_prompts,
    describe_missing_prompts,
    describe_unused_prompts,
    match_family,
    recognise_family,
)

TEXTS = ["Where is Kabul?", "Αθήνα", "中国的货币是什么？"]
NOT_SET = {"query": None, "passage": None}
CLOSEST_COSINE = 0.999999
# Names of the prompts of queries and of passages, as models have them.
SCHEMES = [
    ("query", "document"),
    ("query", "passage"),
    ("search_query", "search_document"),
    ("retrieval.query", "retrieval.passage"),
    ("s2p_query", "corpus"),
    ("Retrieval-query", "Retrieval-document"),
]


def write_folder(e5: Path, folder: Path, config: dict | None) -> Path:
    """Writes the real e5-small as a sentence-transformers folder with some config of prompts."""
    folder.mkdir(parents=True)
    for path in e5.rglob("*"):
        copy = folder / path.relative_to(e5)
        if path.is_dir():
            copy.mkdir()
        elif path.suffix == ".safetensors":
            copy.symlink_to(path)
        else:
            shutil.copy(path, copy)
    if config is not None:
        text = json.dumps({"similarity_fn_name": "cosine", **config})
        (folder / "config_sentence_transformers.json").write_text(text)
    return folder


def assert_same_directions(vectors: torch.Tensor, expected: torch.Tensor) -> None:
    cosines = torch.cosine_similarity(vectors.double(), expected.double().cpu(), dim=1)
    assert cosines.min() >= CLOSEST_COSINE


def encode_with_library(
    folder: Path, query_name: str | None, passage_name: str | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Encodes the texts with sentence-transformers itself, by the names of prompts."""
    model = SentenceTransformer(str(folder), device="cpu", model_kwargs={"dtype": torch.float32})
    queries = model.encode_query(TEXTS, prompt_name=query_name, convert_to_tensor=True)
    passages = model.encode_document(TEXTS, prompt_name=passage_name, convert_to_tensor=True)
    return queries, passages


# Prompts in the files of a model


@pytest.mark.parametrize(("query_name", "passage_name"), SCHEMES)
def test_vectors_are_those_of_the_library_under_any_usual_names(
    e5, tmp_path, query_name, passage_name
):
    prompts = {"clustering": "cluster: ", query_name: "query: ", passage_name: "passage: "}
    folder = write_folder(e5, tmp_path / "model", {"prompts": prompts})
    adapter = SentenceTransformerAdapter(str(folder), NOT_SET)
    assert adapter.prompts == {"query": "query: ", "passage": "passage: "}
    queries, passages = encode_with_library(folder, query_name, passage_name)
    assert_same_directions(adapter.encode_queries(TEXTS), queries)
    assert_same_directions(adapter.encode_passages(TEXTS), passages)
    origin = adapter.reading()["prompts"]
    assert origin == (
        f"query: from the folder ({query_name}); passage: from the folder ({passage_name})"
    )
    unused = describe_unused_prompts("model", adapter.chosen_prompts)
    assert unused.count("\n") == 0
    assert "not used: clustering" in unused


def test_a_used_prompt_under_a_second_name_is_not_called_unused():
    prompts = {"query": "ask: ", "document": "tell: ", "passage": "tell: "}
    chosen = choose_prompts(NOT_SET, prompts)
    assert describe_unused_prompts("model", chosen) is None


def test_names_that_the_library_knows_need_not_be_named_to_it(e5, tmp_path):
    prompts = {"query": "query: ", "document": "passage: "}
    folder = write_folder(e5, tmp_path / "model", {"prompts": prompts})
    adapter = SentenceTransformerAdapter(str(folder), NOT_SET)
    queries, passages = encode_with_library(folder, None, None)
    assert_same_directions(adapter.encode_queries(TEXTS), queries)
    assert_same_directions(adapter.encode_passages(TEXTS), passages)


def test_an_empty_document_prompt_does_not_hide_the_one_of_passages(e5, tmp_path):
    """Left to itself, the library finds the empty prompt that it has added to the model."""
    prompts = {"query": "query: ", "passage": "passage: "}
    folder = write_folder(e5, tmp_path / "model", {"prompts": prompts})
    adapter = SentenceTransformerAdapter(str(folder), NOT_SET)
    _, unprompted = encode_with_library(folder, None, None)
    without = SentenceTransformerAdapter(str(folder), {"query": "", "passage": ""})
    assert_same_directions(without.encode_passages(TEXTS), unprompted)
    assert torch.cosine_similarity(adapter.encode_passages(TEXTS), unprompted).max() < 0.9999


def test_the_default_prompt_is_put_before_all_texts_as_encode_does(e5, tmp_path):
    config = {"prompts": {"retrieval": "query: "}, "default_prompt_name": "retrieval"}
    folder = write_folder(e5, tmp_path / "model", config)
    adapter = SentenceTransformerAdapter(str(folder), NOT_SET)
    assert adapter.reading()["prompts"] == "from the folder (retrieval)"
    model = SentenceTransformer(str(folder), device="cpu", model_kwargs={"dtype": torch.float32})
    expected = model.encode(TEXTS, convert_to_tensor=True)
    assert_same_directions(adapter.encode_queries(TEXTS), expected)
    assert_same_directions(adapter.encode_passages(TEXTS), expected)


def test_a_folder_that_was_saved_without_prompts_has_none(e5, tmp_path):
    SentenceTransformer(str(e5), device="cpu").save(str(tmp_path / "saved"))
    adapter = SentenceTransformerAdapter(str(tmp_path / "saved"), NOT_SET)
    assert adapter.prompts == {"query": "", "passage": ""}
    assert adapter.reading()["prompts"] == NO_PROMPT
    queries, passages = encode_with_library(tmp_path / "saved", None, None)
    assert_same_directions(adapter.encode_queries(TEXTS), queries)
    assert_same_directions(adapter.encode_passages(TEXTS), passages)


PROMPTS = st.dictionaries(
    st.sampled_from(["query", "search_query", "passage", "document", "corpus", "sts", "Query"]),
    st.sampled_from(["", "a: ", "b: ", "c: "]),
)


@given(prompts=PROMPTS, default=st.sampled_from([None, "query", "sts", "passage"]))
@settings(max_examples=100, deadline=None)
def test_every_prompt_is_used_or_named_and_roles_do_not_mix(prompts, default):
    chosen = choose_prompts(NOT_SET, prompts, default)
    used_texts = {"", *chosen.texts.values()}
    for role, other in (("query", "passage"), ("passage", "query")):
        text = chosen.texts[role]
        name = chosen.origins[role].removeprefix("from the folder (").removesuffix(")")
        assert (text == "") == (name == NO_PROMPT)
        if text:
            assert prompts[name] == text
            assert name.lower() not in PROMPT_NAMES[other]
            assert name not in chosen.unused
    assert set(chosen.unused) == {name for name, text in prompts.items() if text not in used_texts}


@given(prompts=PROMPTS, query=st.sampled_from([None, "", "mine: "]))
@settings(max_examples=40, deadline=None)
def test_keys_win_and_leave_the_other_role_to_the_model(prompts, query):
    chosen = choose_prompts({"query": query, "passage": None}, prompts)
    of_model = choose_prompts(NOT_SET, prompts)
    assert chosen.texts["passage"] == of_model.texts["passage"]
    if query is None:
        assert chosen == of_model
    else:
        assert chosen.texts["query"] == query
        assert chosen.origins["query"] == FROM_KEYS
        assert chosen.unused == ()


# Models that are known to need prompts


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("intfloat/multilingual-e5-small", "E5"),
        ("intfloat/multilingual-e5-base", "E5"),
        ("intfloat/multilingual-e5-large", "E5"),
        ("intfloat/e5-large-v2", "E5"),
        ("my_e5", "E5"),
        ("intfloat/multilingual-e5-large-instruct", "E5 instruct"),
        ("intfloat/e5-mistral-7b-instruct", "E5 instruct"),
        ("BAAI/bge-m3", "BGE-M3"),
        ("BAAI/bge-base-en-v1.5", "BGE (English)"),
        ("BAAI/bge-small-zh-v1.5", "BGE (Chinese)"),
        ("Alibaba-NLP/gte-multilingual-base", "GTE"),
        ("Alibaba-NLP/gte-Qwen2-1.5B-instruct", "GTE Qwen"),
        ("nomic-ai/nomic-embed-text-v1.5", "nomic embed"),
        ("nomic-ai/nomic-embed-text-v2-moe", "nomic embed"),
        ("Snowflake/snowflake-arctic-embed-m-v1.5", "Arctic embed"),
        ("Snowflake/snowflake-arctic-embed-l-v2.0", "Arctic embed 2.0"),
        ("jinaai/jina-embeddings-v3", "Jina embeddings v3"),
        ("Qwen/Qwen3-Embedding-0.6B", "Qwen3 Embedding"),
        ("mixedbread-ai/mxbai-embed-large-v1", "mxbai"),
        ("google/embeddinggemma-300m", "EmbeddingGemma"),
    ],
)
def test_models_are_known_by_their_names(name, family):
    assert match_family(name).name == family


@pytest.mark.parametrize(
    "name",
    ["google-bert/bert-base-multilingual-cased", "sentence-transformers/LaBSE", "FacebookAI/xlm-r",
     "me5enger", "e50", "intfloat/simlm-base", "run-7c3e5f"],
)  # fmt: skip
def test_other_models_belong_to_no_family(name):
    assert match_family(name) is None
    assert describe_missing_prompts(name, recognise_family(name)) is None


def test_every_family_is_found_by_the_model_that_it_is_taken_from():
    for family in FAMILIES:
        assert match_family(family.source) is family


def test_families_without_prompts_miss_none():
    for name in ("BAAI/bge-m3", "Alibaba-NLP/gte-multilingual-base"):
        assert describe_missing_prompts(name, recognise_family(name)) is None


def test_the_real_folder_is_known_by_its_architecture(e5, tmp_path):
    SentenceTransformer(str(e5), device="cpu").save(str(tmp_path / "saved"))
    for folder in (write_folder(e5, tmp_path / "copy", None), tmp_path / "saved"):
        recognition = recognise_family(str(folder))
        assert recognition.family.name == "E5"
        assert "architecture" in recognition.evidence
        line = describe_missing_prompts(str(folder), recognition)
        assert 'query_prefix="query: " passage_prefix="passage: "' in line
        assert "\n" not in line


@pytest.mark.parametrize(
    ("file", "content", "evidence"),
    [
        ("config.json", '{"_name_or_path": "intfloat/multilingual-e5-base"}', "_name_or_path"),
        ("README.md", "---\nbase_model: intfloat/multilingual-e5-base\n---\n# x", "README"),
        ("README.md", "---\nbase_model:\n- x/y\n- intfloat/e5-base\n---\n", "README"),
        ("README.md", "This is a model finetuned from [intfloat/e5-base](https://x).", "README"),
    ],
)
def test_a_folder_is_known_by_what_its_files_name(tmp_path, file, content, evidence):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / file).write_text(content)
    recognition = recognise_family(str(folder))
    assert recognition.family.name == "E5"
    assert evidence in recognition.evidence


@pytest.mark.parametrize("content", ["---\n[[[\n---\n", "---\n- a\n---\n", "", "\x00"])
def test_a_strange_readme_names_nothing(tmp_path, content):
    (tmp_path / "README.md").write_text(content)
    (tmp_path / "config.json").write_text("no JSON")
    assert recognise_family(str(tmp_path)) is None


def test_a_bert_of_no_known_family_is_not_warned_of(recipe, cache):
    folder = recipe.build(TEXTS, cache)
    assert recognise_family(str(folder)) is None
