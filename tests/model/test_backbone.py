"""A backbone from scratch depends on its recipe and texts alone, and is complete or absent."""

import json
import multiprocessing
import os
import re
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModel

from hybrid_ir.model import backbone
from hybrid_ir.model.backbone import FromScratch, load_backbone
from hybrid_ir.model.encoder import BiEncoder

TEXTS = ["What money do people pay with in Kabul?", "Αθήνα", "中国的货币是什么？", "a"]


def list_files(folder: Path) -> list[str]:
    """Returns the names of the files of a folder but for locks."""
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def test_the_same_texts_and_recipe_give_the_same_folder(recipe, tmp_path):
    first = recipe.build(TEXTS, tmp_path / "a")
    second = recipe.build(TEXTS, tmp_path / "b")
    assert first.name == second.name
    assert list_files(tmp_path / "a" / "backbones") == [first.name]
    assert list_files(first) == list_files(second)
    for name in list_files(first):
        assert (first / name).read_bytes() == (second / name).read_bytes()
    weights = AutoModel.from_pretrained(first).state_dict()
    weights_again = AutoModel.from_pretrained(second).state_dict()
    assert all(torch.equal(weights[name], weights_again[name]) for name in weights)


def test_other_texts_or_another_recipe_give_another_folder(recipe, tmp_path):
    folders = {
        recipe.build(TEXTS, tmp_path),
        recipe.build(TEXTS[1:], tmp_path),
        replace(recipe, seed=2).build(TEXTS, tmp_path),
    }
    assert len(folders) == 3


def test_no_texts_no_backbone_from_scratch(recipe, tmp_path):
    with pytest.raises(ValueError, match="needs the training texts"):
        recipe.build([], tmp_path)


class KilledRecipe(FromScratch):
    """A recipe whose process is killed when half of the backbone is written."""

    def _build_model(self):
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_build_leaves_nothing_that_stays(recipe, tmp_path):
    killed_recipe = KilledRecipe(**vars(recipe))
    process = multiprocessing.get_context("fork").Process(
        target=killed_recipe.build, args=(TEXTS, tmp_path)
    )
    process.start()
    process.join(600)
    assert process.exitcode == -signal.SIGKILL
    leftover = list_files(tmp_path / "backbones")
    assert len(leftover) == 1
    assert leftover[0].endswith(".writing")
    folder = recipe.build(TEXTS, tmp_path)
    assert list_files(tmp_path / "backbones") == [folder.name]
    AutoModel.from_pretrained(folder)


def test_byte_fallback_knows_every_text(encoder):
    ids = encoder.tokenizer("𓀀 unseen ⟨<0x41>⟩")["input_ids"]
    assert encoder.tokenizer.unk_token_id not in ids
    assert "<0x41>" in encoder.tokenizer.decode(ids)


def test_more_characters_than_the_vocabulary_holds(tmp_path):
    texts = []
    for block in range(12):
        first = 0x4E00 + 50 * block
        texts.append("".join(chr(character) for character in range(first, first + 50)))
    recipe = FromScratch(
        vocab_size=400, width=32, layers=0, heads=2, intermediate=48, max_positions=64
    )
    encoder = BiEncoder(recipe, passage_max_length=64, texts=texts, cache=tmp_path)
    assert len(encoder.tokenizer) <= 400
    tokens = encoder.tokenizers["query"].store(texts, tmp_path).take(range(12))
    assert encoder(tokens).shape == (12, 32)


def write_backbone(recipe: FromScratch, folder: Path, **rates: float) -> Path:
    """Writes a backbone whose config has these dropout rates, as they stand."""
    shutil.copytree(recipe.build(TEXTS, folder / "cache"), folder / "model")
    path = folder / "model" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **rates}))
    return folder / "model"


def test_every_dropout_rate_is_replaced_whatever_number_it_is(recipe, tmp_path):
    folder = write_backbone(recipe, tmp_path, hidden_dropout_prob=0, attention_probs_dropout_prob=1)
    model, _, _ = load_backbone(str(folder), dropout=0.3)
    layers = [layer for layer in model.modules() if isinstance(layer, torch.nn.Dropout)]
    assert {layer.p for layer in layers} == {0.3}
    assert model.config.hidden_dropout_prob == 0.3
    assert model.config.attention_probs_dropout_prob == 0.3


def test_a_backbone_without_dropout_refuses_a_rate(recipe, tmp_path, monkeypatch):
    folder = write_backbone(recipe, tmp_path)
    monkeypatch.setattr(backbone, "DROPOUT_KEY", re.compile("nothing"))
    monkeypatch.setattr(backbone, "_replace_rates_of_layers", lambda *_: False)
    with pytest.raises(ValueError, match="model.dropout=0.3: the backbone .* has no dropout"):
        load_backbone(str(folder), dropout=0.3)


def test_a_folder_has_no_revision(recipe, tmp_path):
    folder = write_backbone(recipe, tmp_path)
    with pytest.raises(ValueError, match="revision='abc' of .*: a folder has no revisions"):
        load_backbone(str(folder), revision="abc")
