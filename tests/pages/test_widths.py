"""Bars and tables in a real browser: names that fit, and tables that say that they go on."""

from collections.abc import Iterator

import pytest
from jinja2 import ChoiceLoader, DictLoader

from hybrid_ir.pages import Bar, build_heat_maps, name_language, render_page
from hybrid_ir.pages.rendering import build_environment
from tests.support.browser import CHROMIUM, HEIGHT, needs_chromium

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = needs_chromium

WIDTHS = (390, 1280)  # pixels: a phone and a desk
LANGUAGES = ("ar", "de", "el", "en", "es", "hi", "ru", "th", "tr", "vi", "zh")
SHARES = (0.45, 0.3, 0.12, 0.06, 0.02, 0.01, 0.01, 0.01, 0.01, 0.01)
TEMPLATE = """{% extends "pages/page.html.jinja" %}
{% import "pages/parts.html.jinja" as parts %}
{% block main %}
{{ parts.mix("Languages", bars, by_size=true) }}
{{ parts.heat_maps(maps) }}
{{ parts.plain_table("Few columns", ["language", "found"], [["ar", "3.0%"]]) }}
{{ parts.plain_table("Many columns", ["language"] * 12, [["ar"] * 12]) }}
{% endblock %}"""
# Of each part of a bar: whether its name is seen, whether all of it is, and how it is coloured.
LIST_PARTS = """() => [...document.querySelectorAll(".mix > span")].map(part => {
  const box = part.getBoundingClientRect();
  const name = part.querySelector("b").getBoundingClientRect();
  const style = getComputedStyle(part);
  return {
    isSeen: name.top < box.bottom,
    isWhole: name.left >= box.left - .5 && name.right <= box.right + .5,
    look: style.backgroundColor + style.backgroundImage,
  };
})"""


@pytest.fixture(scope="module")
def browser() -> Iterator:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()


@pytest.fixture(params=WIDTHS)
def page(browser, request) -> Iterator:
    """A page with bars, heat maps and tables, in a window of some width."""
    environment = build_environment()
    loader = environment.loader
    environment.loader = ChoiceLoader([DictLoader({"room/parts.html.jinja": TEMPLATE}), loader])
    bars = []
    for kind, (code, share) in enumerate(zip(LANGUAGES, SHARES, strict=False), 1):
        bars.append(Bar(name_language(code), share, f"{share:.0%}", code, kind))
    bars.insert(1, Bar("others", 0.01, "1%", is_neutral=True))
    values = [[0.5] * len(LANGUAGES)] * len(LANGUAGES)
    maps = build_heat_maps(
        {"map": values},
        rows=LANGUAGES,
        columns=LANGUAGES,
        row_head="questions in",
        column_head="answers in",
        unit="%",
        format_number=lambda _: "100",
    )
    text = render_page("room/parts.html.jinja", title="t", bars=bars, maps=maps)
    environment.loader = loader
    page = browser.new_page(viewport={"width": request.param, "height": HEIGHT})
    page.set_content(text)
    yield page
    page.close()


def test_a_name_that_does_not_fit_into_its_part_of_a_bar_is_left_out(page):
    parts = page.evaluate(LIST_PARTS)

    assert all(part["isWhole"] for part in parts if part["isSeen"])
    assert parts[0]["isSeen"]
    assert not parts[-1]["isSeen"]
    assert len({part["look"] for part in parts}) == len(parts) == len(SHARES) + 1


def test_every_part_of_a_bar_has_its_number_below_it_by_size(page):
    numbers = page.locator(".mix-numbers li").all_inner_texts()

    assert numbers[:2] == ["Arabic 45%", "German 30%"]
    assert numbers[-1] == "others 1%"
    assert len(numbers) == len(SHARES) + 1
    looks = page.evaluate(
        """() => [...document.querySelectorAll(".mix-numbers i")].map(mark => mark.className)"""
    )
    assert len(set(looks)) == len(looks)


def test_a_table_says_that_it_goes_on_where_it_does(page):
    hints = page.locator(".hint")

    is_shown = [hints.nth(number).is_visible() for number in range(hints.count())]
    is_wide = page.evaluate(
        "[...document.querySelectorAll('.scroll')].map(box => box.scrollWidth > box.clientWidth)"
    )
    assert is_shown == is_wide
    # Eleven languages fit on a phone, with letters that can be read.
    assert is_wide == [False, False, page.viewport_size["width"] == 390]
    sizes = page.evaluate(
        "[...document.querySelectorAll('.heat td')].map(cell => getComputedStyle(cell).fontSize)"
    )
    assert min(float(size.removesuffix("px")) for size in sizes) >= 11
