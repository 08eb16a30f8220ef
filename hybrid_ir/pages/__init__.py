"""The look that all HTML pages of the project share, and the functions that write one.

A page is one file that asks for nothing from anywhere: its style is inside, it needs no script, and
its policy forbids the browser to load anything. To write one from a room of your own, put a
template beside your code, `hybrid_ir/ROOM/mine.html.jinja`:

    {% extends "pages/page.html.jinja" %}
    {% import "pages/parts.html.jinja" as parts %}
    {% block lead %}<p class="lead">Model {{ model }}.</p>{% endblock %}
    {% block main %}
    {{ parts.verdict(sentences, tone="warning") }}
    {{ parts.key_figures(figures) }}
    <section class="chapter"><h2 id="pairs">Pairs of languages</h2>
    {{ parts.heat_maps(maps) }}
    {{ parts.plain_table("By language", ["language", "mAP"], rows, note="Means.") }}
    </section>
    {% endblock %}

and write it:

    from hybrid_ir.pages import KeyFigure, build_heat_maps, render_page

    page = render_page(
        "ROOM/mine.html.jinja",
        title="Is it biased?",
        model="multilingual-e5-small",
        sentences=["Half of the answers in other languages are lost."],
        figures=[KeyFigure("mAP", ".299", "multilingual")],
        maps=build_heat_maps({"e5": values}, rows=languages, columns=languages, ...),
        rows=[["ar", ".31"], ["de", ".44"]],
    )

All values are escaped unless they are `markupsafe.Markup`, and a name that the template uses and
nobody gave is an error. `render_page` says what else it takes: a script, a forced theme.

The parts (`parts.html.jinja`): `verdict`, `key_figures`, `plain_table`, `table_box` (around a table
of your own, with {% call %}), `heat_maps`, `bars`, `mix` (one bar of several shares, with their
numbers), `picture`, `more` (folded, open in print), `language_tag` (code and English name),
`language_code` (code alone) and `language_text` (a text with its `lang` and `dir=auto`).

A picture of matplotlib is drawn with letters in `INK` and put into the page by `embed_svg`.

Colours are tokens in `style.css`, for light and dark: use `var(--ink)`, `--quiet`, `--link`,
`--good`, `--bad`, `--warning` for letters on `--paper`, `--tint` or `--good-tint` to `--note-tint`,
`--line` and `--edge` for lines, `--accent` with `--accent-text`, `--kind-1` to `--kind-7` with
`--kind-1-text` for kinds, and `--neutral` with `--neutral-text` for what is of no kind. After seven
kinds the colours come again with stripes, then with dots: `choose_look` names the classes. A test
computes the contrast of each of these pairs. Printed, `.screen-only` is left out, and everything
folded is open.
"""

from hybrid_ir.pages.heat_maps import HeatMaps, build_heat_maps
from hybrid_ir.pages.language_names import get_language_attribute, name_language
from hybrid_ir.pages.parts import KINDS, Bar, KeyFigure, Picture, choose_look
from hybrid_ir.pages.rendering import read_stylesheet, render_page
from hybrid_ir.pages.svg import INK, embed_svg

__all__ = [
    "INK",
    "KINDS",
    "Bar",
    "HeatMaps",
    "KeyFigure",
    "Picture",
    "build_heat_maps",
    "choose_look",
    "embed_svg",
    "get_language_attribute",
    "name_language",
    "read_stylesheet",
    "render_page",
]
