"""The site is built strictly, offline, and asks nobody for anything."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.support.command_line import ROOT

pytest.importorskip("mkdocs")

LOADING_ATTRIBUTES = {
    "script": "src",
    "img": "src",
    "link": "href",
    "iframe": "src",
    "source": "src",
}


class Requests(HTMLParser):
    """Collects what a browser would load for a page."""

    def __init__(self):
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        attributes = dict(attrs)
        address = attributes.get(LOADING_ATTRIBUTES.get(tag, ""))
        if address and attributes.get("rel") != "canonical":
            self.addresses.append(address)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-5000:]
    return folder


def test_no_page_loads_anything_from_elsewhere(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 60
    for page in pages:
        requests = Requests()
        requests.feed(page.read_text(encoding="utf-8"))
        outward = [one for one in requests.addresses if re.match(r"(\w+:)?//", one)]
        assert not outward, f"{page.name}: {outward}"


def test_no_style_loads_anything_from_elsewhere(site):
    for path in site.rglob("*.css"):
        assert not re.search(r"url\(['\"]?(https?:)?//", path.read_text(encoding="utf-8")), path


def test_every_key_of_the_default_run_is_in_the_reference(site):
    text = (site / "reference/groups/sampler.html").read_text(encoding="utf-8")
    for key in ("monolingual_share", "level", "batch_size", "language_weights"):
        assert f"<code>{key}</code>" in text


def test_every_public_name_is_in_the_reference(site):
    from hybrid_ir import _MODULES

    text = (site / "reference/api.html").read_text(encoding="utf-8")
    for name, module in _MODULES.items():
        assert f'id="{module}.{name}"' in text
