"""Pictures of matplotlib inside a page: they take its colours, and their ids are theirs alone."""

import html
import re

from markupsafe import Markup

# Lines and letters of a picture. The page replaces it by its own colour, so that a dark page has
# light letters.
INK = "#20242a"


def embed_svg(text: str, name: str, description: str) -> Markup:
    """Returns the text of an SVG file as a part of a page.

    Its ids are made unique by its name, its lines and letters have the page's colour, and it has a
    description for readers who do not see it.

    Args:
        text: The content of the file.
        name: What its ids begin with.
        description: The description, as plain text.
    """
    text = text[text.index("<svg") :]
    text = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', text)
    text = re.sub(r'href="#([^"]+)"', rf'href="#{name}-\1"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", text)
    text = text.replace(INK, "currentColor")
    width, height = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', text).groups()
    label = html.escape(description)
    head = (
        f'<svg viewBox="0 0 {width} {height}" width="{width}pt" height="{height}pt" role="img" '
        f'aria-label="{label}" xmlns="http://www.w3.org/2000/svg" '
        f'xmlns:xlink="http://www.w3.org/1999/xlink"><title>{label}</title>'
    )
    # A function, because a text would be read for references such as \1.
    return Markup(re.sub(r"<svg.*?>", lambda _: head, text, count=1, flags=re.DOTALL))
