"""A model that is loaded says where its prompts come from, and in one line if it misses some."""

import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
import torch
from rich.console import Console
from sentence_transformers import SentenceTransformer
from sentence_transformers.models import Pooling, Transformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from tokenizers import Tokenizer

from hybrid_ir.cli.config import parse_command_line
from hybrid_ir.evaluation.card import build_card_table
from hybrid_ir.evaluation.evaluate import evaluate
from hybrid_ir.model.adapters import BiEncoderAdapter
from hybrid_ir.model.prompts import FAMILIES, Recognition, describe_missing_prompts
from hybrid_ir.runs.encoders import EncoderSettings, load_any_encoder, load_encoder
from tests.conftest import TEXTS

CURE = 'query_prefix="query: " passage_prefix="passage: "'
E5_PROMPTS = {"query_prefix": "query: ", "passage_prefix": "passage: "}


@pytest.fixture(scope="module")
def saved_e5(e5, tmp_path_factory) -> Path:
    """The real e5-small as sentence-transformers saves it: without prompts and without a name."""
    folder = tmp_path_factory.mktemp("saved") / "model"
    SentenceTransformer(str(e5), device="cpu").save(str(folder))
    return folder


def load_and_read_lines(capsys, place: Path | str, **settings) -> tuple:
    capsys.readouterr()
    loaded = load_any_encoder(str(place), EncoderSettings(device="cpu", **settings))
    lines = []
    for line in capsys.readouterr().err.splitlines():
        if line.startswith(("warning:", "note:")):
            lines.append(line)
    return loaded.encoder, lines


@pytest.mark.parametrize("settings", [{}, {"pooling": "mean"}])
def test_a_known_model_without_prompts_is_one_line_with_the_cure(saved_e5, capsys, settings):
    encoder, lines = load_and_read_lines(capsys, saved_e5, **settings)
    assert len(lines) == 1
    assert CURE in lines[0]
    reading = encoder.reading()
    assert reading["prompts"] == "none"
    assert reading["query_prefix"] == reading["passage_prefix"] == ""


@pytest.mark.parametrize(
    "settings",
    [
        E5_PROMPTS,
        {**E5_PROMPTS, "pooling": "mean"},
        {"query_prefix": "", "passage_prefix": ""},
        {"query_prefix": "", "pooling": "mean"},
    ],
)
def test_prompts_that_are_set_are_not_warned_of(saved_e5, capsys, settings):
    encoder, lines = load_and_read_lines(capsys, saved_e5, **settings)
    assert lines == []
    assert "from keys" in encoder.reading()["prompts"]


def test_the_cure_gives_the_vectors_of_the_preset(saved_e5, capsys):
    cured, _ = load_and_read_lines(capsys, saved_e5, **E5_PROMPTS)
    preset, lines = load_and_read_lines(capsys, "e5_small", backbone=str(saved_e5))
    assert lines == []
    assert preset.reading()["prompts"] == "from conf/model/e5_small.yaml"
    plain, _ = load_and_read_lines(capsys, saved_e5)
    expected = preset.encode_queries(TEXTS[:4])
    cosines = torch.cosine_similarity(cured.encode_queries(TEXTS[:4]), expected)
    assert cosines.min() >= 0.999999
    assert torch.cosine_similarity(plain.encode_queries(TEXTS[:4]), expected).max() < 0.999


@pytest.mark.parametrize("prompts", [{}, {"query": "ask: "}])
def test_a_model_of_no_family_is_not_warned_of(recipe, cache, tmp_path, capsys, prompts):
    transformer = Transformer(str(recipe.build(TEXTS, cache)))
    model = SentenceTransformer(
        modules=[transformer, Pooling(recipe.width, "mean")], device="cpu", prompts=prompts
    )
    model.save(str(tmp_path / "bert"))
    _, lines = load_and_read_lines(capsys, tmp_path / "bert")
    assert lines == []


def test_prompts_that_are_there_and_not_used_are_one_line(recipe, cache, tmp_path, capsys):
    transformer = Transformer(str(recipe.build(TEXTS, cache)))
    prompts = {"search_query": "ask: ", "clustering": "group: ", "sts": "same: "}
    model = SentenceTransformer(
        modules=[transformer, Pooling(recipe.width, "mean")], device="cpu", prompts=prompts
    )
    model.save(str(tmp_path / "bert"))
    encoder, lines = load_and_read_lines(capsys, tmp_path / "bert")
    assert encoder.prompts == {"query": "ask: ", "passage": ""}
    assert len(lines) == 1
    assert "not used: clustering, sts" in lines[0]


def test_the_card_says_where_prompts_come_from(saved_e5, numbers_benchmark, capsys):
    for name, settings in {"none": {}, "from keys": E5_PROMPTS}.items():
        encoder, _ = load_and_read_lines(capsys, saved_e5, **settings)
        card = evaluate(encoder, numbers_benchmark).build_card()
        assert card["reading"]["prompts"] == name
        assert print_card(card)["prompts"] == name


def test_the_card_of_a_run_of_ours_is_as_it_was(encoder, numbers_benchmark):
    card = evaluate(BiEncoderAdapter(encoder, "run"), numbers_benchmark).build_card()
    assert "prompts" not in card["reading"]
    assert "prompts" not in print_card(card)


def print_card(card: dict) -> dict[str, str]:
    """Prints the table of a card, and returns its rows."""
    console = Console(file=StringIO(), width=200)
    console.print(build_card_table(card))
    rows = {}
    for line in console.file.getvalue().splitlines():
        cells = [cell.strip() for cell in line.split("│")]
        if len(cells) == 4:
            rows[cells[1]] = cells[2]
    return rows


def test_every_cure_passes_a_shell_and_the_command_line_as_it_is():
    for family in FAMILIES:
        line = describe_missing_prompts("MODEL", Recognition(family, "its name"))
        if line is None:
            assert family.query == family.passage == ""
            continue
        assert "\n" not in line
        cure = line[line.index("query_prefix=") : line.rindex(" (see ")]
        output = subprocess.run(
            ["bash", "-c", f"printf '%s\\0' {cure}"], capture_output=True, text=True, check=True
        ).stdout
        arguments = output.rstrip("\0").split("\0")
        cfg = parse_command_line("evaluate", ["model=MODEL", *arguments], "benchmark")
        assert cfg.query_prefix == family.query
        assert cfg.passage_prefix == family.passage


def test_usual_models_are_read_without_sentence_transformers(e5, monkeypatch, capsys):
    texts = ["Where is Kabul?", "喀布尔在哪里？", "Kabul liegt am gleichnamigen Fluss. " * 20]
    by_library = load_encoder(e5, **E5_PROMPTS)
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    by_us = load_encoder(e5, **E5_PROMPTS)
    for name in ("encode_queries", "encode_passages"):
        expected_ND = getattr(by_library, name)(texts)
        torch.testing.assert_close(getattr(by_us, name)(texts), expected_ND, atol=1e-5, rtol=0)
    load_encoder(e5)
    assert "was trained with prompts, and is read without any" in capsys.readouterr().err


def test_other_models_name_the_library_that_is_missing(recipe, cache, tmp_path, monkeypatch):
    folder = recipe.build(TEXTS, cache)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    model = SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=8)])
    model.save(str(tmp_path / "table"))
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(ValueError, match="without sentence-transformers .*: pip install"):
        load_encoder(tmp_path / "table")


def test_a_folder_of_models_is_no_model_and_names_them(tmp_path):
    for name in ("two", "one"):
        (tmp_path / "models" / name).mkdir(parents=True)
        (tmp_path / "models" / name / "config.json").write_text("{}")
    for keys in ({}, {"pooling": "mean"}):
        with pytest.raises(ValueError, match="no config.json, but models are in it: one, two"):
            load_encoder(tmp_path / "models", **keys)
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(ValueError, match="is no model, as it has no config.json$"):
            load_encoder(tmp_path / "empty", **keys)
