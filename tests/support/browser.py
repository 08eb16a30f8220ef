"""Chromium without a window: what it measures of a page, and how it draws it."""

import html
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

HEIGHT = 900  # pixels
PRINTED_WIDTH = 687  # pixels: A4 without its margins, 182 mm
HANG = 600  # seconds, against a browser that never ends
CHROMIUM_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--hide-scrollbars",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
# Shows a page in a frame of each width, and writes down what it measures there.
_MEASURING_PAGE = """<!doctype html><body style="margin:0">
FRAMES
<script>onload = () => {
  for (const frame of document.querySelectorAll("iframe")) {
    const inside = frame.contentDocument;
    const width = Number(frame.width);
    inside.querySelectorAll("details").forEach(one => one.open = true);
    const parts = [...inside.querySelectorAll(
      "svg, h1, h2, h3, p, nav, dl, figure, figcaption, details, .scroll, .heat-legend, .verdict")]
      .filter(one => !one.parentElement.closest(".scroll"));
    const wide = parts.filter(one => one.getBoundingClientRect().right > width + 1);
    const clipped = [...inside.querySelectorAll("table")].filter(one => {
      const box = one.closest(".scroll");
      return !box || box.tabIndex !== 0 || box.scrollWidth + 1 < one.offsetWidth;
    });
    document.getElementById("measured" + width).textContent = [
      inside.documentElement.scrollWidth, wide.length, clipped.length,
      inside.querySelectorAll("table").length, inside.querySelectorAll("script").length,
      inside.title === "taken"].join(" ");
  }
}</script>"""


def find_chromium() -> str | None:
    """Returns the path of Chromium, or None where there is none."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if shutil.which(name):
            return shutil.which(name)
    return None


CHROMIUM = find_chromium()
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH")

needs_pdftotext = pytest.mark.skipif(shutil.which("pdftotext") is None, reason="no pdftotext")


def run_chromium(*arguments: str, folder: Path) -> str:
    """Returns what the browser prints."""
    completed = subprocess.run(
        [CHROMIUM, *CHROMIUM_FLAGS, f"--user-data-dir={folder / 'user'}", *arguments],
        capture_output=True,
        text=True,
        timeout=HANG,
        check=True,
    )
    return completed.stdout


def print_page(page: Path, folder: Path) -> Path:
    """Returns the file that a page becomes when it is printed."""
    path = folder / "printed.pdf"
    run_chromium(
        f"--print-to-pdf={path}",
        "--no-pdf-header-footer",
        "--virtual-time-budget=4000",
        page.as_uri(),
        folder=folder,
    )
    return path


def read_printed_pages(path: Path) -> list[list[str]]:
    """Returns the lines of text on each page of a PDF."""
    completed = subprocess.run(
        ["pdftotext", "-layout", path, "-"], capture_output=True, text=True, check=True
    )
    pages = completed.stdout.removesuffix("\f").split("\f")
    return [[line.strip() for line in page.splitlines() if line.strip()] for page in pages]


def style_as_printed(page: str) -> str:
    """Returns a page that looks on a screen as it does on paper, but for the ends of sheets."""
    return page.replace("@media print", "@media all")


@dataclass(frozen=True)
class PageMeasures:
    """What a browser measures of a page in a frame of some width.

    Attributes:
        scroll_width: The width of the whole page in pixels: that of the frame where nothing is
            wider.
        too_wide: How many parts of it end beyond the frame.
        clipped_tables: How many tables are in no box of their own that scrolls and has focus.
        tables: How many tables there are.
        scripts: How many scripts there are.
        is_title_changed: Whether a script of a text has run.
    """

    scroll_width: int
    too_wide: int
    clipped_tables: int
    tables: int
    scripts: int
    is_title_changed: bool


def write_measuring_page(page: str, widths: Sequence[int], folder: Path) -> Path:
    """Writes a page that shows another one in frames of some widths, one below the other."""
    source = html.escape(page)
    frames = ""
    for width in widths:
        frames += f"""<iframe style="border:0; display:block" width="{width}" height="{HEIGHT}"
          srcdoc="{source}"></iframe>"""
    for width in widths:
        frames += f'<p id="measured{width}"></p>'
    path = folder / "measure.html"
    path.write_text(_MEASURING_PAGE.replace("FRAMES", frames))
    return path


def measure_page(measuring_page: Path, folder: Path) -> dict[int, PageMeasures]:
    """Returns what the browser measures at each width of a measuring page."""
    dom = run_chromium(
        "--dump-dom", "--virtual-time-budget=4000", measuring_page.as_uri(), folder=folder
    )
    measures = {}
    for width, text in re.findall(r'<p id="measured(\d+)">([^<]*)</p>', dom):
        *numbers, is_title_changed = text.split()
        measures[int(width)] = PageMeasures(*map(int, numbers), is_title_changed == "true")
    return measures
