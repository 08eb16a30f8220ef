"""Fixtures of all tests."""

import os
import tarfile
from pathlib import Path

# Read when Hugging Face's libraries are imported: no test asks the hub.
os.environ["HF_HUB_OFFLINE"] = "1"
# Tests run beside each other, one a core, and so do the processes that they start.
os.environ["OMP_NUM_THREADS"] = "1"

import pytest
import torch

from hybrid_ir.model.backbone import FromScratch
from hybrid_ir.model.encoder import BiEncoder
from tests.support.command_line import place, trained
from tests.support.small_run import build_training, numbers_benchmark, numbers_corpus

# Where HYBRID_IR_SHARED says, or beside the repository: real data and a real pretrained encoder,
# which no user has.
SHARED = Path(os.environ.get("HYBRID_IR_SHARED", Path(__file__).parents[2] / "shared"))
TEXTS = [
    "what money do people pay with in kabul?",
    "kabul, currency: afghani",
    "ποιο νόμισμα έχει η Ελλάδα;",
    "中国的货币是什么？",
] * 5

RECIPE = FromScratch(
    vocab_size=400, width=32, layers=2, heads=2, intermediate=48, max_positions=64, seed=1
)

# Files whose tests start many processes. They come first: one of them at the end, while all else is
# done, would keep a single core busy for minutes.
LONG_FILES = (
    "runs/test_interruptions.py",
    "runs/test_sweeps.py",
    "cli/test_doctor.py",
    "training/test_distributed.py",
    "runs/test_hub_models.py",
    "release/test_distributions.py",
    "cli/test_evaluate.py",
    "runs/test_tracking.py",
    "translation/test_translate.py",
)

torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the tests of long files first; all others keep their order."""
    items.sort(key=_find_place_of_file)


def _find_place_of_file(item: pytest.Item) -> int:
    """Returns where the file of a test stands among LONG_FILES, behind all of them by default."""
    name = "/".join(item.path.parts[-2:])
    return LONG_FILES.index(name) if name in LONG_FILES else len(LONG_FILES)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with the real data sets."""
    if not (SHARED / "data").is_dir():
        pytest.skip(f"no real data: {SHARED / 'data'} does not exist, set HYBRID_IR_SHARED")
    return SHARED


@pytest.fixture(scope="session")
def e5(shared, tmp_path_factory) -> Path:
    """The real pretrained e5-small, unpacked."""
    path = shared / "models" / "e5-small-pruned.tar.xz"
    if not path.is_file():
        pytest.skip(f"no real model: {path} does not exist")
    folder = tmp_path_factory.mktemp("e5")
    with tarfile.open(path) as archive:
        archive.extractall(folder, filter="data")
    return folder / "pruned-fp16"


@pytest.fixture(scope="session")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def recipe() -> FromScratch:
    return RECIPE


@pytest.fixture
def encoder(recipe, cache) -> BiEncoder:
    """A real transformer, small and untrained."""
    return BiEncoder(recipe, passage_max_length=64, texts=TEXTS, cache=cache)


@pytest.fixture(scope="session")
def tokenizers(recipe, cache) -> dict:
    return BiEncoder(recipe, passage_max_length=64, texts=TEXTS, cache=cache).tokenizers
