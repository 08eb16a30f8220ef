"""The names of samplers and their two numbers say the same as conf/sampler."""

import pytest

from hybrid_ir.runs.identity import SAMPLER_NUMBERS, name_sampler
from tests.cli.test_conf import OPTIONS, composed


@pytest.mark.parametrize("name", [name for group, name in OPTIONS if group == "sampler"])
def test_every_sampler_of_conf_has_its_name_back(name):
    sampler = composed(f"sampler={name}").sampler
    assert SAMPLER_NUMBERS[name] == (sampler.monolingual_share, sampler.level)
    assert name_sampler(sampler.monolingual_share, sampler.level, sampler.languages) == name


def test_shares_between_keep_the_name_of_their_level():
    assert (
        name_sampler(0.3, "batch") == "hybrid" and name_sampler(0.3, "example") == "hybrid_example"
    )
    assert name_sampler(0, "example") == "x_y"
