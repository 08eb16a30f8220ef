"""Fixtures of all tests."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with the real data sets, beside the repository or where HYBRID_IR_SHARED says."""
    folder = Path(os.environ.get("HYBRID_IR_SHARED", Path(__file__).parents[2] / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"no real data: {folder / 'data'} does not exist, set HYBRID_IR_SHARED")
    return folder
