"""Examples: the questions on which two systems differ most."""

import numpy as np
import pytest

from hybrid_ir.comparison.examples import examples
from hybrid_ir.comparison.texts import with_texts
from tests.comparison.made import small_benchmark


def test_examples_are_the_greatest_gains_and_losses_each_question_once(compared):
    (section,) = with_texts([compared.parts[0].section], {"made_r": small_benchmark()})
    found = examples(section, 3, "map", most=500)
    mine, theirs = (np.mean([section.values(result, "map") for result in section.systems[i].results], axis=0) for i in (3, 1))
    change = (mine - theirs)[section.mask("multi")[section.rows.setting_V]]
    gains, losses = ([float(one.mine) - float(one.theirs) for one in found if one.gain is gain] for gain in (True, False))
    assert gains[0] == pytest.approx(change.max(), abs=1e-3) and min(gains) > 0
    assert all(change < 0 for change in losses) and (not losses or losses[0] == pytest.approx(change.min(), abs=1e-3))
    for side in (True, False):
        questions = [one.query.split()[-1] for one in found if one.gain is side]
        assert len(questions) == len(set(questions))
    assert examples(section, 1, "map") == [] and examples(compared.parts[0].section, 3, "map") == []
