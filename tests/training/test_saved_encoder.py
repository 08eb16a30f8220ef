"""A run folder is all that its checkpoints need: they are read where the backbone is missing."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from sentence_transformers import SentenceTransformer
from transformers import AutoModel

from hybrid_ir.model.adapters import BiEncoderAdapter
from hybrid_ir.model.encoder import BiEncoder
from hybrid_ir.model.saved_encoder import SavedEncoder, save_encoder
from hybrid_ir.runs.encoders import load_encoder
from hybrid_ir.training.losses import InfoNCE
from hybrid_ir.training.retriever import Retriever
from tests.support.in_process import train_in_process

TEXTS = ["Kabul", "Αθήνα", "a longer question about money"]


@pytest.fixture(scope="module")
def backbone(recipe, cache, tmp_path_factory) -> Path:
    """A checkpoint of the hub, as it were: with a pooler, laid out as LaBSE is."""
    folder = tmp_path_factory.mktemp("backbone") / "model"
    shutil.copytree(recipe.build(TEXTS, cache), folder)
    return folder


@pytest.fixture(scope="module")
def run(backbone, tmp_path_factory) -> Path:
    """A run whose backbone is no longer there, in another place than where it was trained."""
    place = tmp_path_factory.mktemp("trained")
    done = train_in_process(
        place,
        "debug=smoke",
        "model=labse",
        f"model.backbone={backbone}",
        "model.passage_max_length=32",
        "model.query_max_length=32",
        "model.projection=16",
        "loss.learn_temperature=true",
        "loss.symmetric=true",
        "corpus.languages=[de,en]",
        "validation.languages=[de,en]",
        "benchmark=none",
        "trainer.max_steps=4",
        "trainer.val_check_interval=2",
        f"hydra.run.dir={place / 'run'}",
    )
    assert done.returncode == 0, done.stderr
    vectors = load_encoder(str(place / "run")).encode_queries(TEXTS)
    torch.save(vectors, place / "run" / "vectors.pt")
    backbone.rename(backbone.with_name("elsewhere"))
    moved = tmp_path_factory.mktemp("another machine") / "run"
    shutil.move(place / "run", moved)
    return moved


@pytest.fixture
def copied_run(run, tmp_path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "run"))


def load_vectors(run: Path) -> torch.Tensor:
    return torch.load(run / "vectors.pt", weights_only=True)


def test_a_run_is_read_from_its_folder_alone(run):
    encoder = load_encoder(str(run))
    assert torch.equal(encoder.encode_queries(TEXTS), load_vectors(run))
    assert encoder.encoder.pooling == "labse" and encoder.width == 16


def test_a_checkpoint_becomes_a_retriever_in_python(run):
    module = Retriever.load_from_checkpoint(run / "checkpoints" / "best.ckpt")
    vectors = BiEncoderAdapter(module.encoder, "any").encode_queries(TEXTS)
    assert torch.equal(vectors, load_vectors(run))
    assert module.loss.symmetric and module.loss.log_temperature.requires_grad
    checkpoint = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    assert torch.equal(
        module.loss.log_temperature, checkpoint["state_dict"]["loss.log_temperature"]
    )
    with pytest.raises(ValueError, match="loaded without an optimizer: give one to train it"):
        module.configure_optimizers()

    other = Retriever.load_from_checkpoint(
        str(run / "checkpoints" / "best.ckpt"), loss=InfoNCE(0.5), optimizer=torch.optim.SGD, seed=7
    )
    assert not other.loss.symmetric and other.seed == 7


def test_loading_draws_no_random_numbers(run):
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    SavedEncoder.read(run / "encoder").build_backbone()
    assert torch.equal(torch.rand(2), expected)


@pytest.mark.parametrize("load", [AutoModel.from_pretrained, SentenceTransformer])
def test_other_libraries_name_the_command_that_exports(run, load):
    with pytest.raises(ValueError, match="run folder of hybrid-ir: `hybrid-ir export checkpoint="):
        load(str(run))


def change_prefix(folder: Path) -> None:
    path = folder / "encoder.json"
    description = json.loads(path.read_text())
    path.write_text(json.dumps({**description, "query_prefix": "ask: "}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "tokenizer.json").unlink(), "tokenizer.json is missing"),
        (
            lambda folder: (folder / "tokenizer.json").write_text("{}"),
            "tokenizer.json differs from what the run wrote",
        ),
        (
            lambda folder: (folder / "encoder.json").write_text("{"),
            "encoder.json is missing or dam",
        ),
        (
            lambda folder: (folder / "encoder.json").write_text('{"layout": 9, "files": {}}'),
            "layout",
        ),
        (change_prefix, "query_prefix 'Query: ', here 'ask: '"),
    ],
)
def test_files_that_changed_are_named(copied_run, change, message):
    change(copied_run / "encoder")
    with pytest.raises(ValueError, match=message):
        load_encoder(str(copied_run))


def test_versions_that_differ_are_named_where_the_encoder_does(copied_run):
    change_prefix(copied_run / "encoder")
    path = copied_run / "versions.json"
    versions = json.loads(path.read_text())
    versions["packages"]["transformers"] = "4.0.0"
    path.write_text(json.dumps(versions))
    with pytest.raises(ValueError, match=r"other versions: transformers 4.0.0, here \d"):
        load_encoder(str(copied_run))


def test_a_run_of_an_older_version_is_built_from_its_backbone(copied_run, backbone):
    shutil.rmtree(copied_run / "encoder")
    with pytest.raises(ValueError, match="could not be loaded"):
        load_encoder(str(copied_run))
    encoder = load_encoder(str(copied_run), backbone=str(backbone.with_name("elsewhere")))
    assert torch.equal(encoder.encode_queries(TEXTS), load_vectors(copied_run))
    with pytest.raises(ValueError, match="has no encoder/encoder.json"):
        Retriever.load_from_checkpoint(copied_run / "checkpoints" / "best.ckpt")


def test_every_kind_of_head_comes_back(recipe, cache, tmp_path):
    encoder = BiEncoder(recipe, texts=TEXTS, cache=cache, normalize=False)
    layers = [
        torch.nn.Linear(32, 24),
        torch.nn.GELU(),
        torch.nn.LayerNorm(24),
        torch.nn.Dropout(0.1),
    ]
    encoder.head = torch.nn.Sequential(*layers)
    encoder.width = 24
    save_encoder(encoder, tmp_path / "encoder")
    saved = SavedEncoder.read(tmp_path / "encoder")
    again = BiEncoder(saved, **saved.get_arguments())
    again.load_state_dict(encoder.state_dict())
    vectors = BiEncoderAdapter(again, "any").encode_passages(TEXTS)
    assert torch.equal(vectors, BiEncoderAdapter(encoder, "any").encode_passages(TEXTS))
    assert again.width == 24 and not again.normalize
