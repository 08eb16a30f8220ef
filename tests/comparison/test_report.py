"""The report's page in a parser and in a real browser, and the files of its figures."""

import html
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hybrid_ir.comparison.comparison import Comparison, compare
from hybrid_ir.comparison.figures import draw_intervals
from hybrid_ir.comparison.style import choose_styles, save_report_figure
from tests.support.comparison_results import (
    PageContent,
    build_benchmark,
    build_card,
    build_training,
    write_result,
)

MARKUP = "<script>document.title='taken'</script><b>$x_1$"
LANGUAGES = ("ar", "de", "el", "en", "th", "zh")
NOISE = {"x_x_mono": 0.9, "x_y": 1.2, "hybrid": 0.7}
WIDTHS = (390, 1200)  # pixels: a phone and a desk
HEIGHT = 900  # pixels
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
# Shows the report in a frame of each width, and writes down what it measures there.
MEASURING_PAGE = """<!doctype html><body style="margin:0">
FRAMES
<script>onload = () => {
  for (const frame of document.querySelectorAll("iframe")) {
    const inside = frame.contentDocument;
    const width = Number(frame.width);
    inside.querySelectorAll("details").forEach(one => one.open = true);
    const parts = [...inside.querySelectorAll("svg, h1, h2, p, nav, figure, details, .scroll")];
    const wide = parts.filter(one => one.getBoundingClientRect().right > width + 1);
    document.getElementById("measured" + width).textContent = [
      inside.documentElement.scrollWidth, wide.length, inside.querySelectorAll("table").length,
      inside.querySelectorAll("script").length, inside.title.includes("taken")].join(" ");
  }
}</script>"""


def find_chromium() -> str | None:
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if shutil.which(name):
            return shutil.which(name)
    return None


CHROMIUM = find_chromium()
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH")


@pytest.fixture(scope="module")
def with_markup(tmp_path_factory) -> Comparison:
    """A comparison with markup in the name of a model, of a choice and in every question."""
    root = tmp_path_factory.mktemp("markup")
    benchmark = build_benchmark(6, languages=LANGUAGES)
    benchmark = replace(
        benchmark,
        queries=[f"{MARKUP} {text}" for text in benchmark.queries],
        source=replace(benchmark.source, choices={"queries": MARKUP}),
    )
    for sampler, noise in NOISE.items():
        for seed in (1, 2):
            card = build_card(benchmark, build_training(sampler, seed, model=f"e5 {MARKUP}"))
            write_result(root / f"{sampler}{seed}", benchmark, card, noise=noise, seed=seed)
    comparison = compare([root], benchmarks={"made_r": benchmark}, flips=100, resamples=100)
    return replace(comparison, job_notes=[f"note {MARKUP}"])


@pytest.fixture(scope="module")
def report(with_markup, tmp_path_factory) -> Path:
    """The page of that comparison."""
    folder = tmp_path_factory.mktemp("report")
    with_markup.save(folder)
    return folder / "report.html"


def test_the_page_needs_nothing_from_outside(report):
    page = PageContent(report.read_text())
    tags = {tag for tag, _ in page.tags}

    assert not {"script", "link", "iframe", "object", "img"} & tags
    for _, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes)
        for name in ("href", "xlink:href", "src"):
            # The pixels of big heat maps are in the page.
            assert attributes.get(name, "#").startswith(("#", "data:"))
    assert not re.search(r"url\((?!#)", report.read_text())


def test_markup_in_names_and_questions_is_text(report):
    page = PageContent(report.read_text())

    assert "b" not in {tag for tag, _ in page.tags}
    assert page.text.count(MARKUP) > 20


def test_links_of_the_page_lead_to_ids_that_are_unique(report):
    page = PageContent(report.read_text())
    targets = {attributes["href"][1:] for tag, attributes in page.tags if tag == "a"}

    assert len(page.ids) == len(set(page.ids))
    assert targets <= set(page.ids)


def test_every_figure_has_a_description_and_files(report):
    page = PageContent(report.read_text())
    figures = [attributes for tag, attributes in page.tags if tag == "svg"]
    names = {path.stem for path in (report.parent / "figures").iterdir()}

    # Intervals, two heat maps, distances, alpha and training curves.
    assert len(figures) == len(names) == 6
    for attributes in figures:
        assert len(attributes["aria-label"]) > 40
        assert attributes["role"] == "img"
    for name in names:
        path = report.parent / "figures" / name
        assert path.with_suffix(".pdf").read_bytes().startswith(b"%PDF")
        assert "<svg" in path.with_suffix(".svg").read_text()
        pixels = np.asarray(Image.open(path.with_suffix(".png")).convert("L"))
        assert pixels.std() > 5
        assert pixels.max() == 255


def test_a_figure_is_drawn_the_same_again(report, with_markup, tmp_path):
    benchmark = with_markup.benchmarks[0]
    styles = choose_styles(system.label for system in benchmark.section.systems)

    save_report_figure(draw_intervals(benchmark.macro, styles), tmp_path, "made_r_effects")

    for kind in ("svg", "pdf", "png"):
        file = f"made_r_effects.{kind}"
        first = report.parent / "figures" / file
        assert (tmp_path / file).read_bytes() == first.read_bytes()


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


@pytest.fixture(scope="module")
def measuring_page(report, tmp_path_factory) -> Path:
    """A page with the report in a frame of each width, one below the other."""
    source = html.escape(report.read_text())
    frames = ""
    for width in WIDTHS:
        frames += f"""<iframe style="border:0; display:block" width="{width}" height="{HEIGHT}"
          srcdoc="{source}"></iframe>"""
    for width in WIDTHS:
        frames += f'<p id="measured{width}"></p>'
    page = tmp_path_factory.mktemp("measuring") / "measure.html"
    page.write_text(MEASURING_PAGE.replace("FRAMES", frames))
    return page


@needs_chromium
def test_the_page_fits_a_phone_and_a_desk(report, measuring_page, tmp_path):
    dom = run_chromium(
        "--dump-dom", "--virtual-time-budget=4000", measuring_page.as_uri(), folder=tmp_path
    )

    for width in WIDTHS:
        measured = re.search(rf'<p id="measured{width}">([^<]*)</p>', dom).group(1)
        scroll_width, too_wide, tables, scripts, is_title_changed = measured.split()
        assert int(scroll_width) == width
        assert int(too_wide) == 0
        assert int(tables) == report.read_text().count("<table>") > 10
        assert int(scripts) == 0
        assert is_title_changed == "false"


@needs_chromium
def test_the_browser_draws_the_page_at_both_widths(measuring_page, tmp_path):
    screenshot = tmp_path / "screenshot.png"

    run_chromium(
        f"--screenshot={screenshot}",
        f"--window-size={max(WIDTHS)},{len(WIDTHS) * HEIGHT}",
        "--virtual-time-budget=4000",
        measuring_page.as_uri(),
        folder=tmp_path,
    )

    pixels = np.asarray(Image.open(screenshot).convert("L"))
    for place, width in enumerate(WIDTHS):
        frame = pixels[place * HEIGHT : (place + 1) * HEIGHT, :width]
        assert len(np.unique(frame)) > 20
        assert frame.std() > 10


@needs_chromium
def test_the_browser_reads_the_tables_as_written(report, tmp_path, with_markup):
    dom = run_chromium("--dump-dom", report.as_uri(), folder=tmp_path)

    page = PageContent(dom)
    assert "script" not in {tag for tag, _ in page.tags}
    for table in with_markup.overview:
        assert table.title in page.text
        for row in table.rows:
            assert all(cell.text in page.text for cell in row.cells)
