"""Writes a page from a template: one file, in which every text is escaped."""

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup, escape

from hybrid_ir.pages.language_names import get_language_attribute, name_language
from hybrid_ir.system.environment import get_installed_version


def render_page(
    template: str,
    *,
    title: str,
    script: str = "",
    asks_own_server: bool = False,
    theme: Literal["light", "dark"] | None = None,
    **values: Any,
) -> str:
    """Renders a page.

    Args:
        template: The template as ROOM/FILE, such as "bias/bias.html.jinja". It extends
            "pages/page.html.jinja".
        title: The title of the page and its first heading.
        script: JavaScript at the end of the page. The policy of the page allows this script alone,
            by its hash.
        asks_own_server: Whether the script may ask the server that the page comes from.
        theme: The theme where the reader's system shall not choose it.
        values: What the template uses. They are escaped unless they are Markup.

    Raises:
        jinja2.UndefinedError: The template uses a name that is not among the values.
        ValueError: The script would end its own element.
    """
    if "</script" in script.lower() or "<!--" in script:
        raise ValueError("the script of a page must not contain </script or <!--")
    return (
        build_environment()
        .get_template(template)
        .render(
            title=title,
            stylesheet=Markup(read_stylesheet()),
            policy=_write_policy(script, asks_own_server),
            script=Markup(script),
            theme=theme,
            version=get_installed_version("hybrid-ir"),
            **values,
        )
    )


@cache
def read_stylesheet() -> str:
    """Returns the style sheet that all pages share."""
    return files("hybrid_ir.pages").joinpath("style.css").read_text(encoding="utf-8")


@cache
def build_environment() -> Environment:
    """Returns the environment of all templates: texts are escaped, unknown names are errors."""
    environment = Environment(
        loader=FunctionLoader(_read_template),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["language_name"] = name_language
    environment.filters["language_attribute"] = get_language_attribute
    environment.filters["mark_code"] = _mark_code
    return environment


def _mark_code(text: str) -> Markup:
    """Returns a sentence, escaped, in which what stands between backticks is marked as code."""
    parts = text.split("`")
    marked = []
    for number, part in enumerate(parts):
        # A last backtick without a partner is a letter like any other.
        is_code = number % 2 == 1 and number < len(parts) - 1
        marked.append(Markup("<code>{}</code>").format(part) if is_code else escape(part))
        if number % 2 == 1 and not is_code:
            marked[-1] = Markup("`") + marked[-1]
    return Markup("").join(marked)


def _read_template(name: str) -> str:
    """Reads the template of a room."""
    room, _, file = name.partition("/")
    return files(f"hybrid_ir.{room}").joinpath(file).read_text(encoding="utf-8")


def _write_policy(script: str, asks_own_server: bool) -> str:
    """Returns the policy that says what the browser may load."""
    rules = ["default-src 'none'", "style-src 'unsafe-inline'", "img-src data:", "base-uri 'none'"]
    if script:
        digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
        rules.append(f"script-src 'sha256-{digest}'")
    if asks_own_server:
        rules += ["connect-src 'self'", "form-action 'self'"]
    else:
        rules.append("form-action 'none'")
    return "; ".join(rules)
