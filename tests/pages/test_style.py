"""Contrast: every colour of letters on every surface it may stand on, in light and in dark."""

import re

import pytest

from hybrid_ir.pages import KINDS, choose_look, read_stylesheet
from hybrid_ir.pages.parts import COLOURS

READABLE = 4.5  # the contrast of letters that WCAG 2.2 asks for at level AA
VISIBLE = 3.0  # the contrast of edges and marks
SURFACES = ("paper", "tint", "good-tint", "bad-tint", "warning-tint", "note-tint")
LETTERS = ("ink", "quiet", "link", "good", "bad", "warning")
TOKENS = dict(re.findall(r"--([\w-]+): light-dark\((#\w{6}, #\w{6})\)", read_stylesheet()))
OWN_LETTERS = [name.removesuffix("-text") for name in TOKENS if name.endswith("-text")]


def compute_luminance(colour: str) -> float:
    """The relative luminance of #rrggbb as WCAG defines it."""
    luminance = 0.0
    for place, weight in ((1, 0.2126), (3, 0.7152), (5, 0.0722)):
        value = int(colour[place : place + 2], 16) / 255
        linear = value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        luminance += weight * linear
    return luminance


def compute_contrasts(first: str, second: str) -> list[float]:
    """The contrast of two tokens in light and in dark."""
    contrasts = []
    for theme in (0, 1):
        luminances = []
        for name in (first, second):
            luminances.append(compute_luminance(TOKENS[name].split(", ")[theme]))
        contrasts.append((max(luminances) + 0.05) / (min(luminances) + 0.05))
    return contrasts


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("letters", LETTERS)
def test_letters_can_be_read_on_every_surface(letters, surface):
    assert min(compute_contrasts(letters, surface)) >= READABLE


@pytest.mark.parametrize("name", OWN_LETTERS)
def test_a_colour_with_letters_of_its_own_can_be_read(name):
    assert min(compute_contrasts(f"{name}-text", name)) >= READABLE


@pytest.mark.parametrize("kind", range(1, COLOURS + 1))
def test_a_pattern_takes_nothing_from_the_letters_on_it(kind):
    """A mixture of a colour and the pattern is as readable as the less readable of the two."""
    assert min(compute_contrasts(f"kind-{kind}-text", "pattern")) >= READABLE


@pytest.mark.parametrize(
    "name", ["edge", "link", "accent", "neutral", *(f"kind-{n}" for n in range(1, COLOURS + 1))]
)
def test_marks_and_edges_can_be_seen_on_paper(name):
    assert min(compute_contrasts(name, "paper")) >= VISIBLE


def test_every_colour_is_a_token_that_these_tests_know():
    style = re.sub(r"/\*.*?\*/", "", read_stylesheet(), flags=re.DOTALL)
    uses = set(re.findall(r"var\(--([\w-]+)\)", style)) - {"share", "room", "font", "font-code"}

    assert len(re.findall(r"#[0-9a-f]{3,8}\b", style)) == 2 * len(TOKENS)
    assert uses <= set(TOKENS)
    paired = {*OWN_LETTERS, *(f"{name}-text" for name in OWN_LETTERS)}
    assert set(TOKENS) == {*SURFACES, *LETTERS, *paired, "line", "edge", "pattern"}


def test_every_kind_looks_different_and_has_its_rules():
    looks = [choose_look(kind) for kind in range(1, KINDS + 1)]
    assert len(set(looks)) == KINDS == 21
    assert choose_look(KINDS + 1) == looks[0]
    for look in looks:
        for name in look.split():
            assert f".{name} {{" in read_stylesheet()


def test_every_colour_of_heat_maps_has_its_letters_in_the_style_sheet():
    rules = re.findall(
        r"\.([nzps]\d) \{ background: var\(--(heat-\w+)\); color: var\(--(heat-[\w-]+)\); \}",
        read_stylesheet(),
    )

    assert len(rules) == 9 + 9
    for step, background, letters in rules:
        assert background == f"heat-{step.removeprefix('z')}"
        assert letters == f"{background}-text"
