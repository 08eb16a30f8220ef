"""A small encoder, passages, and an index of them."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from hybrid_ir.index.build import IndexJob, build_index
from hybrid_ir.index.layout import IndexSettings
from hybrid_ir.index.passages import read_passage_files
from hybrid_ir.model.backbone import FromScratch
from hybrid_ir.runs.encoders import EncoderSettings, load_any_encoder
from hybrid_ir.runs.indexes import describe_index_model
from tests.support.corpora import write_json_lines

READING = {"pooling": "mean", "passage_prefix": "P ", "device": "cpu"}
PASSAGES = 30


@pytest.fixture(scope="session")
def plain(tmp_path_factory) -> Path:
    """A plain Hugging Face encoder, small and untrained."""
    place = tmp_path_factory.mktemp("models")
    texts = [f"{language} tells {number} of it" for language in ("de", "en") for number in range(9)]
    recipe = FromScratch(
        vocab_size=300, width=16, layers=1, heads=2, intermediate=16, max_positions=256
    )
    shutil.copytree(recipe.build(texts, place / "cache"), place / "plain")
    return place / "plain"


@pytest.fixture(scope="session")
def other(plain) -> Path:
    """The same tokenizer with other weights."""
    recipe = FromScratch(
        vocab_size=300, width=16, layers=1, heads=2, intermediate=16, max_positions=256, seed=2
    )
    texts = [f"{language} tells {number} of it" for language in ("de", "en") for number in range(9)]
    shutil.copytree(recipe.build(texts, plain.parent / "cache"), plain.parent / "other")
    return plain.parent / "other"


@pytest.fixture(scope="session")
def json_lines(tmp_path_factory) -> Path:
    """Passages in two languages, of which the last one has the text of the first."""
    path = tmp_path_factory.mktemp("passages") / "passages.jsonl"
    rows = []
    for number in range(PASSAGES):
        language = ("de", "en", "en")[number % 3]
        text = f"{language} tells {number} of it"
        rows.append({"id": f"p{number}", "text": text, "language": language, "title": "T"})
    rows.append({"id": "empty", "text": " ", "language": "de", "title": ""})
    rows.append({"id": "again", "text": rows[0]["text"], "language": "en", "title": "T"})
    write_json_lines(path, *rows)
    return path


@pytest.fixture
def make_job(plain, json_lines, tmp_path) -> Callable[..., IndexJob]:
    """Returns what makes a job, of the plain encoder unless another one is named."""

    def make(to: Path, model: Path = plain, path: Path = json_lines, **settings) -> IndexJob:
        settings = {"texts_per_shard": 7, **settings}
        reading = {**READING, **settings.pop("reading", {})}
        loaded = load_any_encoder(str(model), EncoderSettings(**reading))
        passages = read_passage_files(path, tmp_path / "cache")
        return IndexJob(passages, loaded.encoder, IndexSettings(**settings), to)

    return make


@pytest.fixture
def make_index(plain, make_job) -> Callable[..., Path]:
    """Returns what builds an index and returns its folder."""

    def make(to: Path, **settings) -> Path:
        encoder_settings = EncoderSettings(**READING)
        loaded = load_any_encoder(str(plain), encoder_settings)
        describe = describe_index_model(loaded, str(plain), encoder_settings)
        build_index(make_job(to, **settings), describe)
        return to

    return make
