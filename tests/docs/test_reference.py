"""The generated reference says of each key what conf/ says."""

import importlib.util

import pytest
import yaml

from hybrid_ir.runs.shipped_files import find_shipped_file
from tests.support.command_line import ROOT

SPECIFICATION = importlib.util.spec_from_file_location(
    "generate_reference", ROOT / "docs/generate_reference.py"
)
generate_reference = importlib.util.module_from_spec(SPECIFICATION)
SPECIFICATION.loader.exec_module(generate_reference)
COMMANDS = sorted(find_shipped_file("conf").glob("*.yaml"))
TEXT = """# What this is for.
defaults:
  - paths: default
  - _self_
a: 1          # the first
# Said above.
"on": null
outer:
  _target_: some.Class
  inner: ${paths.x}/y  # deep
numbers: [1, 2]
plugins:
  - _target_: some.Plugin
last: ???   # must be there
"""


def test_keys_are_read_with_their_values_and_comments():
    keys = generate_reference.read_keys(TEXT)
    assert [(key.name, key.value, key.comment) for key in keys] == [
        ("a", "1", "the first"),
        ("on", "null", "Said above."),
        ("outer.inner", "${paths.x}/y", "deep"),
        ("numbers", "[1, 2]", ""),
        ("last", "???", "must be there"),
    ]
    assert generate_reference.read_introduction(TEXT) == "What this is for."
    assert list(generate_reference.read_defaults(TEXT)) == [("paths", "default")]


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("true", "true or false"),
        ("3", "whole number"),
        ("0.5", "number"),
        ("[a, b]", "list"),
        ("{}", "mapping"),
        ("linear", "text"),
        ("auto", "text or auto"),
        ("${by_backbone:0.1,0.05}", "number"),
    ],
)
def test_types_are_named_by_the_default(value, name):
    key = generate_reference.Key("something", value, "")
    assert generate_reference.name_type(key, {}) == name


def test_types_without_a_default_come_from_the_signature():
    annotations = generate_reference.read_annotations("hybrid_ir.model.encoder.BiEncoder")
    key = generate_reference.Key("projection", "null", "")
    assert generate_reference.name_type(key, annotations) == "whole number"


@pytest.mark.parametrize("path", COMMANDS, ids=lambda path: path.stem)
def test_every_key_of_a_command_has_a_row_a_type_and_a_comment(path):
    keys = generate_reference.read_keys(path.read_text(encoding="utf-8"))
    wanted = set(yaml.safe_load(path.read_text(encoding="utf-8"))) - {"defaults", "corpus"}
    assert wanted <= {key.name.split(".")[0] for key in keys}
    for key in keys:
        assert key.comment, key.name
        if key.value in ("null", "???"):
            assert key.name in generate_reference.TYPES_WITHOUT_VALUE, key.name


def test_no_page_is_empty_or_left_out_of_the_navigation():
    pages = generate_reference.generate_pages()
    listed = {*generate_reference.list_commands().values()}
    listed |= {*generate_reference.list_groups().values(), "reference/api.md"}
    assert set(pages) == listed
    assert all(len(text) > 60 for text in pages.values())
