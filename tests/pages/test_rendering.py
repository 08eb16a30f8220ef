"""Pages: texts stay texts, nothing is asked for from outside, and both widths fit."""

import base64
import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import ChoiceLoader, DictLoader, UndefinedError
from markupsafe import Markup

from hybrid_ir.pages import (
    Bar,
    KeyFigure,
    Picture,
    build_heat_maps,
    get_language_attribute,
    name_language,
    render_page,
)
from hybrid_ir.pages.rendering import build_environment
from tests.support.browser import (
    PageMeasures,
    measure_page,
    needs_chromium,
    write_measuring_page,
)
from tests.support.comparison_results import PageContent

MARKUP = "<script>document.title='taken'</script><b>\"'&"
WIDTHS = (390, 1280)  # pixels: a phone and a desk
LANGUAGES = ("ar", "de", "el", "en", "es", "hi", "ru", "th", "tr", "vi", "zh")
TEXTS = {
    "ar": "ما هي عاصمة اليونان؟",
    "zh": "希腊的首都是哪里?",
    "hi": "ग्रीस की राजधानी क्या है?",
    "th": "เมืองหลวงของกรีซคืออะไร",
}
# Every part once.
TEMPLATE = """{% extends "pages/page.html.jinja" %}
{% import "pages/parts.html.jinja" as parts %}
{% block main %}
{{ parts.verdict(sentences, "The answer", "warning") }}
{{ parts.key_figures(figures) }}
<section class="chapter"><h2>Maps</h2>
{{ parts.heat_maps(maps, "Cells are mAP.") }}
</section>
{{ parts.bars("Lost", bars, note="The share.") }}
{{ parts.mix("Languages of the ranking", bars) }}
{{ parts.plain_table("Wide", heads, rows, words=["question"]) }}
{% call parts.more("More") %}<pre>{{ sentences[0] }}</pre>{% endcall %}
{{ parts.picture(picture) }}
{% for code, text in texts.items() %}
<p>{{ parts.language_tag(code) }} {{ parts.language_code(code) }}
{{ parts.language_text(text, code) }}</p>
{% endfor %}
{% endblock %}"""
BODY = """{% extends "pages/page.html.jinja" %}
{% block main %}{{ body }}{% endblock %}"""


@pytest.fixture(scope="module", autouse=True)
def template_of_all_parts():
    """The template above, as if it stood in a room."""
    environment = build_environment()
    loader = environment.loader
    templates = {"room/all.html.jinja": TEMPLATE, "room/body.html.jinja": BODY}
    environment.loader = ChoiceLoader([DictLoader(templates), loader])
    yield
    environment.loader = loader


def render_all_parts(text: str, theme: str | None = None) -> str:
    """A page that has every part, with a text in each place where there may be one."""
    values = [[0.5] * len(LANGUAGES)] * len(LANGUAGES)
    maps = build_heat_maps(
        {text: values, "second map": values},
        rows=LANGUAGES,
        columns=LANGUAGES,
        row_head=text,
        column_head=text,
        unit=text,
        format_number="{:.3f}".format,
    )
    return render_page(
        "room/all.html.jinja",
        title=text,
        theme=theme,
        sentences=[text],
        figures=[KeyFigure(text, text, text), *[KeyFigure("mAP", ".299", "multilingual")] * 4],
        maps=maps,
        bars=[Bar(text, 0.4, text, "ar"), Bar(text, 0.6, text)],
        heads=["system", "question", *["column"] * 14],
        rows=[[text, "a question " * 20, *["12.345 ± 0.678"] * 14]],
        picture=Picture(text, Markup('<svg width="900" height="20"></svg>'), ("a.pdf", "a.svg")),
        texts={**TEXTS, "no such code": text},
    )


@settings(max_examples=30, deadline=None)
@given(st.text(alphabet=st.sampled_from("<>&\"'ab/={}%# "), min_size=1, max_size=30))
def test_every_text_is_a_text(text):
    plain_tags = [tag for tag, _ in PageContent(render_all_parts("plain")).tags]

    page = PageContent(render_all_parts(text))

    assert [tag for tag, _ in page.tags] == plain_tags
    assert page.text.count(text) >= 10


def test_a_page_asks_for_nothing_from_outside():
    text = render_all_parts(MARKUP)
    page = PageContent(text)

    assert not {"script", "link", "iframe", "object", "img"} & {tag for tag, _ in page.tags}
    for _, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes)
        assert "//" not in (attributes.get("href") or "")
    assert "url(" not in text
    assert "@import" not in text
    policies = [one["content"] for _, one in page.tags if one.get("http-equiv")]
    assert policies[0].startswith("default-src 'none'")


def test_a_script_is_allowed_by_its_hash_alone():
    script = "document.title = 'scripted'"

    page = render_page(
        "room/body.html.jinja", title="t", script=script, asks_own_server=True, body="b"
    )

    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    tags = PageContent(page).tags
    policy = next(one["content"] for _, one in tags if one.get("http-equiv"))
    assert f"script-src 'sha256-{digest}'" in policy
    assert "connect-src 'self'" in policy
    assert "unsafe-inline" not in policy.split("script-src")[1]
    with pytest.raises(ValueError, match="must not contain"):
        render_page("room/body.html.jinja", title="t", script="'</script>'", body="b")


def test_a_name_that_nobody_gave_is_an_error():
    with pytest.raises(UndefinedError, match="body"):
        render_page("room/body.html.jinja", title="t")


def test_languages_have_names_codes_and_directions():
    assert name_language("ar") == "Arabic"
    assert name_language("zh-Hant") == "Chinese (Traditional)"
    assert name_language("eng_Latn") == "English"
    assert name_language("no such code") == "no such code"
    assert get_language_attribute("zho_Hans") == "zh-Hans"
    assert get_language_attribute("all") == ""
    texts = []
    for tag, attributes in PageContent(render_all_parts("a")).tags:
        if tag == "span" and attributes.get("dir") == "auto":
            texts.append(attributes["lang"])
    assert texts == [*TEXTS, ""]


def test_a_bar_longer_than_its_place_is_an_error():
    with pytest.raises(ValueError, match="from 0 to 1"):
        Bar("too long", 1.2, "1.2")


@needs_chromium
def test_a_phone_and_a_desk_show_all_parts_whole(tmp_path):
    page = render_all_parts(f"Long text, {'a' * 60} {MARKUP}")
    path = write_measuring_page(page, WIDTHS, tmp_path)

    measures = measure_page(path, tmp_path)

    for width in WIDTHS:
        assert measures[width] == PageMeasures(
            scroll_width=width,
            too_wide=0,
            clipped_tables=0,
            tables=4,
            scripts=0,
            is_title_changed=False,
        )
