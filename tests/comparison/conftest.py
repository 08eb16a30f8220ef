"""Result folders of made-up systems, and their comparison."""

from pathlib import Path

import pytest

from hybrid_ir.comparison.everything import Comparison, compare
from hybrid_ir.comparison.grid import Resampling
from hybrid_ir.comparison.results import read_results
from hybrid_ir.comparison.section import build_sections
from tests.support.comparison_results import (
    SMALL,
    card_of,
    small_benchmark,
    write_result,
    write_sweep,
)


@pytest.fixture(scope="session")
def sweep(tmp_path_factory) -> Path:
    """x_x_mono, x_y and hybrid with two seeds each, and the untrained encoder."""
    return write_sweep(tmp_path_factory.mktemp("results") / "sweep", small_benchmark())


@pytest.fixture(scope="session")
def compared(sweep) -> Comparison:
    return compare(
        build_sections(read_results([sweep])), chance=Resampling(flips=500, resamples=300)
    )


@pytest.fixture
def one(tmp_path):
    """Write a result: its folder's name, training, and what else differs."""

    def write(name, training, benchmark=SMALL, noise=0.9, seed=1, **card):
        return write_result(
            tmp_path / name, benchmark, noise, 0.3, seed, card_of(benchmark, training, **card)
        )

    return write
