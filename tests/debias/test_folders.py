"""Folders of corrected models: loaded by sentence-transformers alone, measured, never half."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from hybrid_ir.debias import (
    debias,
    draw_from_corpus,
    encode_texts,
    read_correction,
    read_text_lines,
    write_corrected_model,
)
from hybrid_ir.debias.folder import describe_unfair_test
from hybrid_ir.debias.modules import list_routes
from hybrid_ir.evaluation.card import hash_benchmark
from hybrid_ir.files.atomic import hold_new_folder
from hybrid_ir.model.adapters import BiEncoderAdapter
from hybrid_ir.model.encoder import BiEncoder
from hybrid_ir.model.sentence_transformers_modules import build_sentence_transformer
from hybrid_ir.runs.encoders import load_encoder
from tests.conftest import RECIPE, TEXTS
from tests.support.benchmarks import write_beir_folder
from tests.support.corpora import write_json_lines
from tests.support.in_process import hybrid_ir_in_process
from tests.support.small_run import build_numbers_corpus

MODEL = {"name": "tiny", "kind": "transformers"}
METHODS = ("subspace", "center", "lir", "shift")
QUERIES = ["which number 4", "which Zahl 9"]


@pytest.fixture(scope="module")
def tiny(cache) -> BiEncoder:
    return BiEncoder(
        RECIPE,
        query_prefix="Q: ",
        passage_prefix="P: ",
        passage_max_length=64,
        texts=TEXTS,
        cache=cache,
    ).eval()


@pytest.fixture(scope="module")
def texts():
    return draw_from_corpus(build_numbers_corpus(), 24)


@pytest.fixture(scope="module")
def folders(tiny, texts, tmp_path_factory) -> dict[str, Path]:
    """A corrected model of each method, and one whose queries are unchanged."""
    root = tmp_path_factory.mktemp("debias")
    choices = {method: {"method": method} for method in METHODS}
    choices["passages"] = {"method": "subspace", "passages_only": True}
    written = {}
    for name, choice in choices.items():
        encoder = BiEncoderAdapter(tiny, "tiny")
        written[name] = root / name
        write_corrected_model(encoder, debias(encoder, texts, **choice), MODEL, written[name])
    return written


@pytest.fixture(scope="module")
def loaded(folders) -> dict[str, SentenceTransformer]:
    return {name: SentenceTransformer(str(path)) for name, path in folders.items()}


@pytest.mark.parametrize("name", [*METHODS, "passages"])
def test_the_library_gives_the_vectors_of_the_fitted_map(tiny, texts, loaded, name):
    encoder = BiEncoderAdapter(tiny, "tiny")
    is_passages = name == "passages"
    method = "subspace" if is_passages else name
    correction = debias(encoder, texts, method, passages_only=is_passages).correction
    for role, encode in (
        ("query", encoder.encode_queries),
        ("passage", encoder.encode_passages),
    ):
        for language in (None, *correction.by_language[role]):
            expected = correction.apply(encode(QUERIES), role, language)
            vectors = encode_texts(loaded[name], QUERIES, role, [language] * 2)
            torch.testing.assert_close(vectors, expected.float(), rtol=0, atol=2e-6)


@pytest.mark.parametrize("name", ["center", "lir", "passages"])
def test_our_own_encoder_takes_the_route_of_each_role(folders, loaded, name):
    encoder = load_encoder(folders[name])
    queries = torch.tensor(loaded[name].encode_query(QUERIES))
    torch.testing.assert_close(encoder.encode_queries(QUERIES), queries, rtol=0, atol=2e-6)
    passages = torch.tensor(loaded[name].encode_document(QUERIES))
    torch.testing.assert_close(encoder.encode_passages(QUERIES), passages, rtol=0, atol=2e-6)


def test_a_model_that_does_not_normalise_is_corrected_at_length_1(tiny, texts, tmp_path):
    model = build_sentence_transformer(tiny)
    SentenceTransformer(modules=list(model)[:-1], prompts=model.prompts, device="cpu").save(
        str(tmp_path / "plain")
    )
    encoder = load_encoder(tmp_path / "plain")
    assert encoder.similarity == "cosine"
    fitted = debias(encoder, texts, method="center")
    uncorrected = encoder.encode_passages(QUERIES)
    write_corrected_model(encoder, fitted, MODEL, tmp_path / "new")
    vectors = load_encoder(tmp_path / "new").encode_passages(QUERIES)
    expected = fitted.correction.apply(uncorrected, "passage", None)
    torch.testing.assert_close(vectors, expected.float(), rtol=0, atol=2e-6)


def test_one_map_for_all_texts_is_a_dense_layer(folders, loaded):
    kinds = [type(module).__name__ for module in loaded["subspace"]]
    assert kinds == ["Transformer", "Pooling", "Dense", "Normalize"]
    assert list_routes(loaded["subspace"]) == []
    again = BiEncoder(str(folders["subspace"]))  # a training can start from it
    vectors = BiEncoderAdapter(again, "again").encode_queries(QUERIES)
    expected = torch.tensor(loaded["subspace"].encode_query(QUERIES))
    torch.testing.assert_close(vectors, expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("name", ["passages", "shift"])
def test_a_passage_only_variant_leaves_queries_equal_to_the_bit(tiny, loaded, name):
    expected = BiEncoderAdapter(tiny, "tiny").encode_queries(QUERIES)
    vectors = torch.tensor(loaded[name].encode_query(QUERIES))
    assert torch.equal(vectors, expected)
    passages = torch.tensor(loaded[name].encode_document(QUERIES))
    unchanged = BiEncoderAdapter(tiny, "tiny").encode_passages(QUERIES)
    assert (passages - unchanged).abs().max() > 1e-3


def test_each_text_gets_the_map_of_its_language(loaded):
    model = loaded["center"]
    languages = ["de", None, "xx", "en"]
    texts = ["the number 4"] * 4
    vectors = encode_texts(model, texts, "passage", languages)
    german = model.encode(texts[:1], prompt_name="document", task="document_de")
    torch.testing.assert_close(vectors[0], torch.tensor(german[0]), rtol=0, atol=1e-6)
    common = torch.tensor(model.encode_document(texts[:1])[0])
    torch.testing.assert_close(vectors[1], common, rtol=0, atol=1e-6)
    torch.testing.assert_close(vectors[2], common, rtol=0, atol=1e-6)
    assert (vectors[3] - vectors[0]).abs().max() > 1e-3
    with pytest.raises(ValueError, match="1 languages for 4 texts"):
        encode_texts(model, texts, "passage", ["de"])


def test_a_folder_holds_no_code_and_its_record_says_what_was_done(folders, texts):
    suffixes = {path.suffix for path in folders["center"].rglob("*") if path.is_file()}
    assert suffixes == {".json", ".safetensors", ".md"}
    record = json.loads((folders["center"] / "correction.json").read_text())
    assert record["fitted_on"]["sha256"] == hash_benchmark(texts)
    assert record["fitted_on"]["vectors"]["query"] == {"de": 18, "en": 18, "zh": 18}
    assert record["least_cosine"] > 0.9999
    assert set(record["held_out"]["before"]["multi"]["map_by_language"]) == {"de", "en", "zh"}
    card = (folders["center"] / "README.md").read_text()
    assert "`center`" in card and "de, en, zh" in card and "| before |" in card


def test_a_test_on_the_fitted_texts_is_called_unfair(folders, texts):
    correction = read_correction(folders["lir"])
    assert correction["method"] == "lir"
    note = describe_unfair_test(correction, texts.name, hash_benchmark(texts))
    assert note.endswith("no fair test")
    assert "other texts of" in describe_unfair_test(correction, texts.name, "0" * 64)
    assert describe_unfair_test(correction, "other", "0" * 64) is None
    assert describe_unfair_test(None, texts.name, None) is None
    assert read_correction(folders["lir"] / "nowhere") is None


def test_nothing_is_overwritten_and_nothing_is_corrected_twice(tiny, texts, folders, tmp_path):
    encoder = BiEncoderAdapter(tiny, "tiny")
    fitted = debias(encoder, texts)
    before = sorted(folders["lir"].rglob("*"))
    with pytest.raises(ValueError, match="exists: nothing is overwritten"):
        write_corrected_model(encoder, fitted, MODEL, folders["lir"])
    assert sorted(folders["lir"].rglob("*")) == before
    corrected = load_encoder(folders["center"])
    with pytest.raises(ValueError, match="has a Router, as a model has that is corrected"):
        write_corrected_model(corrected, fitted, MODEL, tmp_path / "again")
    assert list(tmp_path.iterdir()) == []


def test_a_card_says_that_queries_are_read_as_far_as_passages(cache, texts, tmp_path):
    choices = {"query_max_length": 40, "passage_max_length": 60}
    encoder = BiEncoderAdapter(BiEncoder(RECIPE, texts=TEXTS, cache=cache, **choices), "tiny")
    write_corrected_model(encoder, debias(encoder, texts), MODEL, tmp_path / "new")
    card = (tmp_path / "new" / "README.md").read_text()
    assert "reads 40 tokens of a query and 60 of a passage; this one reads 60 of both" in card


def test_two_processes_do_not_write_one_folder(tiny, texts, tmp_path):
    encoder = BiEncoderAdapter(tiny, "tiny")
    fitted = debias(encoder, texts)
    refused = pytest.raises(ValueError, match="another process is writing there")
    with hold_new_folder(tmp_path / "new"), refused:
        write_corrected_model(encoder, fitted, MODEL, tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_lines_of_texts_are_read_with_their_roles_languages_and_ids(tmp_path):
    lines = [
        {"text": "Wo?", "language": "de", "role": "query", "id": 1},
        {"text": "Hier.", "language": "de", "role": "passage", "id": 1},
        {"text": "Here.", "language": "en", "role": "passage", "id": 1},
    ]
    path = tmp_path / "texts.jsonl"
    write_json_lines(path, *lines)
    benchmark = read_text_lines(path)
    assert benchmark.languages == ("de", "en")
    np.testing.assert_array_equal(benchmark.relevant[0], [0, 1])
    write_json_lines(path, {"text": "Wo?", "language": "de"}, {"text": "So.", "language": "en"})
    benchmark = read_text_lines(path)
    assert list(benchmark.queries) == list(benchmark.passages) == ["Wo?", "So."]
    assert not any(len(rows) for rows in benchmark.relevant)


def test_wrong_lines_of_texts_are_named_all_at_once(tmp_path):
    path = tmp_path / "texts.jsonl"
    lines = [
        {"text": " ", "language": "de"},
        {"text": "a", "language": "qq-qq-qq"},
        {"text": "a", "language": "de", "role": "title"},
    ]
    write_json_lines(path, *lines)
    with pytest.raises(ValueError) as error:
        read_text_lines(path)
    for part in ("line 1: text=' '", "line 2", "line 3: role='title' must be query or passage"):
        assert part in str(error.value)


def write_desk(folder: Path) -> None:
    """Writes a folder in the form of BEIR in two languages, whose questions have one answer."""
    passages = []
    queries = []
    for number in range(24):
        language = ("de", "en")[number % 2]
        passages.append({"_id": f"p{number}", "text": f"answer {number}", "language": language})
        queries.append({"_id": f"q{number}", "text": f"question {number}", "language": language})
    qrels = "".join(f"q{number}\tp{number}\t1\n" for number in range(24))
    write_beir_folder(folder, passages, queries, qrels)


def test_the_command_writes_a_model_that_evaluate_and_compare_know(tiny, tmp_path):
    build_sentence_transformer(tiny).save(str(tmp_path / "plain"), create_model_card=False)
    lines = []
    for number in range(12):
        for language, word in (("de", "Zahl"), ("en", "number")):
            for role in ("query", "passage"):
                text = f"{role} {word} {number}"
                line = {"text": text, "language": language, "role": role, "id": number}
                lines.append(line)
    write_json_lines(tmp_path / "texts.jsonl", *lines)
    ended = hybrid_ir_in_process(tmp_path, "debias", "model=plain", "on=texts.jsonl", "to=new")
    assert ended.returncode == 0, ended.stderr
    assert "rank distance" in ended.stdout and "SentenceTransformer('new')" in ended.stdout
    benchmark = ("benchmark=[cldr_facts_dev]", "benchmark.cldr_facts_dev.max_queries=5")
    for name in ("plain", "new"):
        arguments = (f"model={name}", *benchmark, "corpus.languages=[de,en]", f"out=out-{name}")
        ended = hybrid_ir_in_process(tmp_path, "evaluate", *arguments)
        assert ended.returncode == 0, ended.stderr
    assert "subspace of queries and passages, fitted on texts.jsonl (de, en)" in ended.stdout
    compared = hybrid_ir_in_process(
        tmp_path, "compare", "runs=[out-plain,out-new]", "out=compared", "flips=40", "resamples=40"
    )
    assert compared.returncode == 0, compared.stderr
    assert "new / debias=subspace" in (tmp_path / "compared" / "comparison.json").read_text()
    again = hybrid_ir_in_process(tmp_path, "debias", "model=plain", "on=texts.jsonl", "to=new")
    assert "to=new exists" in again.stderr
    twice = hybrid_ir_in_process(tmp_path, "debias", "model=new", "on=texts.jsonl", "to=other")
    assert "model=new is corrected already, by subspace: give the model" in twice.stderr
    write_desk(tmp_path / "desk")
    folder = hybrid_ir_in_process(tmp_path, "debias", "model=plain", "on=desk", "to=of_folder")
    assert folder.returncode == 0, folder.stderr
    assert "fitted on desk" in folder.stdout
    wrong = hybrid_ir_in_process(tmp_path, "debias", "model=plain", "on=nothing", "to=other")
    assert "on=nothing is no name in conf/benchmark" in wrong.stderr


@pytest.mark.parametrize("command", ["debias", "export"])
def test_a_missing_library_is_named_before_anything_is_loaded(tmp_path, monkeypatch, command):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    ended = hybrid_ir_in_process(tmp_path, command, "model=./nowhere", "to=new")
    assert ended.returncode == 2
    assert "pip install 'hybrid-ir[sentence-transformers]'" in ended.stderr
    assert "nowhere" not in ended.stderr
