"""Result folders of simulated systems, and their comparison."""

from collections.abc import Callable
from pathlib import Path

import pytest

from hybrid_ir.comparison.comparison import Comparison, compare
from tests.support.comparison_results import (
    SMALL_BENCHMARK,
    build_benchmark,
    build_card,
    write_result,
    write_sweep,
)


@pytest.fixture(scope="session")
def sweep(tmp_path_factory) -> Path:
    """Results of x_x_mono, x_y and hybrid with two seeds each, and of the untrained encoder."""
    return write_sweep(tmp_path_factory.mktemp("results") / "sweep", build_benchmark())


@pytest.fixture(scope="session")
def compared(sweep) -> Comparison:
    """The comparison of the sweep: systems 0 to 3 are untrained, x_x_mono, x_y and hybrid."""
    return compare([sweep], flips=500, resamples=300)


@pytest.fixture
def write(tmp_path) -> Callable[..., Path]:
    """Returns a function that writes a result into a named folder of tmp_path.

    It has the training of the system, the benchmark and the seed and noise of its vectors as
    arguments, and keys that replace those of the card.
    """

    def write_named(name, training, benchmark=SMALL_BENCHMARK, noise=0.9, seed=1, **card_keys):
        card = build_card(benchmark, training, **card_keys)
        return write_result(tmp_path / name, benchmark, card, noise=noise, seed=seed)

    return write_named
