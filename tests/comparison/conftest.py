"""Result folders of made-up systems, and their comparison."""

from pathlib import Path

import pytest

from hybrid_ir.comparison.everything import Comparison, compare
from hybrid_ir.comparison.grid import Chance
from hybrid_ir.comparison.results import read_results
from hybrid_ir.comparison.section import sections
from tests.comparison.made import small_benchmark, write_sweep


@pytest.fixture(scope="session")
def sweep(tmp_path_factory) -> Path:
    """x_x_mono, x_y and hybrid with two seeds each, and the untrained encoder."""
    return write_sweep(tmp_path_factory.mktemp("results") / "sweep", small_benchmark())


@pytest.fixture(scope="session")
def compared(sweep) -> Comparison:
    return compare(sections(read_results([sweep])), chance=Chance(flips=500, resamples=300))
