"""The committed pictures are those that their script draws."""

import importlib.util
import xml.etree.ElementTree as ElementTree

import pytest

from tests.support.command_line import ROOT

SPECIFICATION = importlib.util.spec_from_file_location("draw", ROOT / "docs/pictures/draw.py")
draw = importlib.util.module_from_spec(SPECIFICATION)
SPECIFICATION.loader.exec_module(draw)


@pytest.mark.parametrize("name", draw.PICTURES)
def test_a_picture_is_what_the_script_draws(name):
    text = (ROOT / "docs/pictures" / name).read_text(encoding="utf-8")
    assert text == draw.PICTURES[name]()
    picture = ElementTree.fromstring(text)
    assert picture[0].text  # said to those who do not see it
