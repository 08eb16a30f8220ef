"""The names of samplers and their two numbers say the same as conf/sampler."""

import pytest

from hybrid_ir.data.language_choice import SAMPLER_NUMBERS, name_sampler
from hybrid_ir.runs.conf import list_options
from tests.support.command_line import compose_train_config


@pytest.mark.parametrize("name", list_options("sampler"))
def test_every_sampler_in_conf_is_named_as_its_file(name):
    sampler = compose_train_config(f"sampler={name}").sampler
    assert SAMPLER_NUMBERS[name] == (sampler.monolingual_share, sampler.level)
    assert name_sampler(sampler.monolingual_share, sampler.level, sampler.languages) == name


def test_other_shares_have_the_name_of_their_level():
    assert name_sampler(0.3, "batch") == "hybrid"
    assert name_sampler(0.3, "example") == "hybrid_example"
    assert name_sampler(0, "example") == "x_y"
